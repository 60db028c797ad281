"""What must hold of the curves of second orders, beyond their contract."""

from __future__ import annotations

from datetime import date

from pyspark.sql import functions as F

from expectations.cohort_retention import of_this_night
from expectations.period_metrics import rising
from rekindle.quality import Suite, always, suite_for
from schemas.repurchase_curves import REPURCHASE_CURVES


def suite(business_date: date) -> Suite:
    """The checks."""
    share, at_risk = F.col("repurchased"), F.col("at_risk")
    return suite_for(
        REPURCHASE_CURVES,
        of_this_night(business_date),
        always(
            "parts_within_whole",
            "days with more repeats than buyers at risk, or more of these than buyers",
            rising(F.col("repeats"), at_risk, F.col("buyers")),
        ),
        always(
            "all_at_risk_first",
            "groups not all of whose buyers are followed from day 0",
            at_risk == F.col("buyers"),
            where=F.col("day_number") == 0,
        ),
        always(
            "within_interval",
            "days whose share lies outside of its interval",
            rising(F.col("repurchased_low"), share, F.col("repurchased_high")),
        ),
        always(
            "half_at_median",
            "days before the median by which half had ordered again, or the other way round",
            F.coalesce(F.col("day_number") >= F.col("median_days"), F.lit(False)) == (share >= 0.5 - 1e-9),
        ),
        may_be_empty=True,  # a shop without buyers
    )
