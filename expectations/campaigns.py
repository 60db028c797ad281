"""What must hold of the shop's campaigns, beyond their contract. A source's files may tell of none."""

from __future__ import annotations

from datetime import date

from pyspark.sql import functions as F

from expectations.events import landed_lines
from rekindle.quality import Suite, always, suite_for
from schemas.campaigns import CAMPAIGNS


def suite(business_date: date, clean: int) -> Suite:
    """The checks; the frame is one of `expectations.events.with_fresh`."""
    return suite_for(
        CAMPAIGNS,
        # A slip in the shop's calendar: no model reads the days, so it is told and stops nothing.
        always(
            "ends_after_start",
            "campaigns that end before they start",
            F.col("end_date") >= F.col("start_date"),
            where=F.col("start_date").isNotNull() & F.col("end_date").isNotNull(),
            severity="warning",
        ),
        *landed_lines("campaigns", business_date, clean),
        may_be_empty=True,
    )
