"""What must hold of windows after the first day, beyond their contract."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date

from pyspark.sql import functions as F

from expectations.cohort_retention import is_share, of_groups, of_this_night
from rekindle.methods.retention_periods import by_unit, shifted
from rekindle.quality import Suite, always, suite_for
from schemas.retention_windows import RETENTION_WINDOWS


def suite(business_date: date, windows: Sequence[tuple[int, int]]) -> Suite:
    """The checks; `windows` are those of conf."""
    next_cohort = by_unit(lambda unit: shifted(unit, F.col("cohort_start"), 1))
    declared = F.concat_ws(" ", "first_day", "last_day").isin(*[f"{low} {high}" for low, high in windows])
    return suite_for(
        RETENTION_WINDOWS,
        of_this_night(business_date),
        *of_groups(),
        always("of_conf", "windows that conf does not name", declared),
        always(
            "has_ended",
            "windows that had not ended for all users of the cohort",
            F.date_add(next_cohort, F.col("last_day") - 1) <= F.lit(business_date),
        ),
        always(
            "parts_within_whole",
            "windows with more users than their cohort has",
            F.col("active_users") <= F.col("cohort_users"),
        ),
        always(
            "shares_fit", "windows whose retention is not that of their users", is_share("active_users", "retention")
        ),
        may_be_empty=True,
    )
