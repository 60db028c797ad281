"""What must hold of what the shop told of its items, beyond their contract. A source's files may tell of none."""

from __future__ import annotations

from datetime import date

from expectations.events import landed_lines
from rekindle.quality import Suite, suite_for
from schemas.items import ITEMS


def suite(business_date: date, clean: int) -> Suite:
    """The checks; the frame is one of `expectations.events.with_fresh`."""
    return suite_for(
        ITEMS,
        *landed_lines("items", business_date, clean),
        may_be_empty=True,
    )
