"""What must hold of the sums of periods, beyond their contract."""

from __future__ import annotations

from pyspark.sql import functions as F

from rekindle.methods.retention_counted import COUNTS
from rekindle.quality import Suite, always, suite_for
from schemas.period_counts import PERIOD_COUNTS


def suite() -> Suite:
    """The checks. What is taken away of a user must have been told before: no sum falls below 0."""
    told = [name for name in COUNTS if not name.startswith("change_")]
    return suite_for(
        PERIOD_COUNTS,
        always("not_below_zero", "periods with a count below 0", F.least(*told) >= 0),
        may_be_empty=True,
    )
