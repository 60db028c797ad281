"""What must hold of the means over cohorts, beyond their contract."""

from __future__ import annotations

from datetime import date

from pyspark.sql import functions as F

from expectations.cohort_retention import is_share, of_groups, of_this_night
from rekindle.quality import Suite, always, suite_for
from schemas.retention_curves import RETENTION_CURVES


def suite(business_date: date) -> Suite:
    """The checks."""
    n, later = F.col("active_users"), F.col("active_or_later_users")
    return suite_for(
        RETENTION_CURVES,
        of_this_night(business_date),
        *of_groups(),
        always("later_counts_more", "periods with more users than in them or later", (n <= later)),
        always("parts_within_whole", "periods with more users than their cohorts have", later <= F.col("cohort_users")),
        always(
            "shares_fit",
            "periods whose mean is not weighted by the cohorts' size",
            is_share("active_users", "retention") & is_share("active_or_later_users", "unbounded_retention"),
        ),
        may_be_empty=True,
    )
