"""What must hold of the weekly metrics, beyond their contract."""

from __future__ import annotations

from datetime import date, timedelta

from pyspark.sql import functions as F

from rekindle.quality import Figure, Suite, always, suite_for
from schemas.retention_metrics import RETENTION_METRICS


def whole_weeks(first_event: date, as_of: date) -> int:
    """Weeks from the Monday of the first event's week to `as_of` that have ended; none in a shop's first days."""
    monday = first_event - timedelta(days=first_event.weekday())
    return max(0, (as_of - monday).days // 7)


def suite(business_date: date, weeks: int) -> Suite:
    """The checks; `weeks` is how many there must be."""
    active = F.col("active_users")
    week_end = F.date_add("week_start", 6)
    return suite_for(
        RETENTION_METRICS,
        # A curve with a missing week joins its neighbours by a line that nobody measured.
        Figure("weeks_counted", "weeks", F.count(F.lit(1)), weeks, weeks),
        Figure(
            "weeks_without_gap",
            "weeks missing between the first and the last",
            F.coalesce(
                F.date_diff(F.max("week_start"), F.min("week_start")) / 7 + 1 - F.count_distinct("week_start"), F.lit(0)
            ),
            0,
            0,
        ),
        always("starts_on_monday", "weeks that do not start on a Monday", F.weekday("week_start") == 0),
        always("has_ended", "weeks that had not ended by the business date", week_end <= F.lit(business_date)),
        always(
            "of_this_night",
            f"rows of another business date than {business_date}",
            F.col("business_date") == F.lit(business_date),
        ),
        always(
            "parts_within_whole",
            "weeks with more new users, buyers or retained users than active users",
            F.greatest(F.col("new_users"), F.col("buyers"), F.coalesce("retained_users", F.lit(0))) <= active,
        ),
        always("orders_fit_buyers", "weeks with fewer orders than buyers", F.col("orders") >= F.col("buyers")),
        always(
            "first_week_has_no_before",
            "weeks with a churn rate but without retained users",
            F.col("churn_rate").isNull() | F.col("retained_users").isNotNull(),
        ),
        may_be_empty=weeks == 0,
    )
