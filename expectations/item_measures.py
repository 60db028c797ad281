"""What must hold of the shop's own figures of its items, beyond their contract. A source's files may tell of none."""

from __future__ import annotations

from datetime import date

from pyspark.sql import functions as F

from expectations.events import landed_lines
from rekindle.quality import Suite, always, suite_for
from schemas.item_measures import ITEM_MEASURES


def suite(business_date: date, clean: int) -> Suite:
    """The checks; the frame is one of `expectations.events.with_fresh`."""
    return suite_for(
        ITEM_MEASURES,
        # A figure of a later day would be the future, whoever comes to read it.
        always(
            "measured_before_told",
            "figures of items of a day after their file landed",
            F.col("measured_date") <= F.col("landing_date"),
        ),
        *landed_lines("figures of items", business_date, clean),
        may_be_empty=True,
    )
