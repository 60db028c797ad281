"""What must hold of what retention is counted from: tonight's rows of user_days, and the sums over all of them."""

from __future__ import annotations

from datetime import date

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from rekindle.methods.retention_sums import COUNTS
from rekindle.quality import Suite, always, suite_for
from schemas.period_counts import PERIOD_COUNTS
from schemas.retention_counts import RETENTION_COUNTS
from schemas.user_days import USER_DAYS


def landed(days: DataFrame, business_date: date) -> DataFrame:
    """The rows of what landed on the business date: older ones were checked by their own night."""
    return days.where(F.col("landing_date") == F.lit(business_date))


def suite_of_days(business_date: date) -> Suite:
    """The checks on `landed` rows of user_days; a day may have brought nothing."""
    return suite_for(
        USER_DAYS,
        # A line is quarantined where it tells of a day after its landing.
        always("not_of_the_future", "days after the business date", F.col("event_date") <= F.lit(business_date)),
        may_be_empty=True,
    )


def suite_of_periods() -> Suite:
    """The checks on period_counts. What is taken away of a user must have been told before: no sum falls below 0."""
    told = [name for name in COUNTS if not name.startswith("change_")]
    return suite_for(
        PERIOD_COUNTS,
        always("not_below_zero", "periods with a count below 0", F.least(*told) >= 0),
        may_be_empty=True,
    )


def suite_of_cells() -> Suite:
    """The checks on retention_counts: its contract says that no cell is below 1."""
    return suite_for(RETENTION_COUNTS, may_be_empty=True)
