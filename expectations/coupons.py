"""What must hold of the shop's coupons, beyond their contract. A source's files may tell of none."""

from __future__ import annotations

from datetime import date

from expectations.events import landed_lines
from rekindle.quality import Suite, suite_for
from schemas.coupons import COUPONS


def suite(business_date: date, clean: int) -> Suite:
    """The checks; the frame is one of `expectations.events.with_fresh`."""
    return suite_for(
        COUPONS,
        *landed_lines("coupons", business_date, clean),
        may_be_empty=True,
    )
