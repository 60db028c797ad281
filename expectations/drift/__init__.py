"""Checks of drift: pure Python over `day_profiles`, so that a back-test over years starts no Spark."""
