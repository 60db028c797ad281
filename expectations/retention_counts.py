"""What must hold of the counts of cohorts and second orders: their contract says that no cell is below 1."""

from __future__ import annotations

from pyspark.sql import functions as F

from rekindle.methods.retention_cells import OF_COHORTS
from rekindle.methods.retention_periods import ALL, OF_GROUPS
from rekindle.quality import Suite, always, suite_for
from schemas.retention_counts import RETENTION_COUNTS


def suite() -> Suite:
    """The checks."""
    return suite_for(
        RETENTION_COUNTS,
        # What is told of a cohort begins with its own period, and no second order comes before the first.
        always(
            "not_before_first",
            "cells of a period before the cohort's or of a day before the order",
            F.col("number") >= 0,
        ),
        always(
            "groups_by_month",
            f"cohorts of groups with another period than a {OF_GROUPS}",
            (F.col("group_kind") == ALL) | (F.col("name") == OF_GROUPS),
            where=F.col("measure").isin(*OF_COHORTS),
        ),
        may_be_empty=True,
    )
