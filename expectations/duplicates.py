"""What must hold of the lines that repeat an event, beyond their contract."""

from __future__ import annotations

from pyspark.sql import functions as F

from expectations.events import FRESH, Landed
from rekindle.line_parsing import PLACE
from rekindle.quality import Figure, Suite, always, suite_for
from schemas.duplicates import DUPLICATES


def suite(landed: Landed) -> Suite:
    """The checks; the frame is one of `expectations.events.with_fresh`. A night without a duplicate is legal."""
    kept, own = (F.struct(*[F.col(f"{prefix}{c}").alias(c) for c in PLACE]) for prefix in ("kept_", ""))
    return suite_for(
        DUPLICATES,
        # Otherwise both lines could point at each other and the event be lost.
        always("kept_came_first", "duplicates that point at a later line", kept < own),
        Figure(
            "lines_add_up", "duplicate lines of this run's files", F.count_if(FRESH), landed.duplicate, landed.duplicate
        ),
        may_be_empty=True,
    )
