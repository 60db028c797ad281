"""What must hold of what users did by day, beyond the contract."""

from __future__ import annotations

from datetime import date

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from rekindle.quality import Suite, always, suite_for
from schemas.user_days import USER_DAYS


def landed(days: DataFrame, business_date: date) -> DataFrame:
    """The rows of what landed on the business date: older ones were checked by their own night."""
    return days.where(F.col("landing_date") == F.lit(business_date))


def suite(business_date: date) -> Suite:
    """The checks on `landed` rows; a day may have brought nothing."""
    return suite_for(
        USER_DAYS,
        # A line is quarantined where it tells of a day after its landing.
        always("not_of_the_future", "days after the business date", F.col("event_date") <= F.lit(business_date)),
        may_be_empty=True,
    )
