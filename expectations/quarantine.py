"""What must hold of the lines that could not be used, beyond their contract."""

from __future__ import annotations

from pyspark.sql import functions as F

from expectations.events import FRESH, Landed
from rekindle.quality import Figure, Suite, suite_for
from schemas.quarantine import QUARANTINE


def suite(landed: Landed) -> Suite:
    """The checks; the frame is one of `expectations.events.with_fresh`. A night without dirt is legal."""
    return suite_for(
        QUARANTINE,
        Figure(
            "lines_add_up",
            "quarantined lines of this run's files",
            F.count_if(FRESH),
            landed.quarantined,
            landed.quarantined,
        ),
        may_be_empty=True,
    )
