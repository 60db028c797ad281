"""What must hold of whom campaigns were to reach, beyond their contract. A source's files may tell of none."""

from __future__ import annotations

from datetime import date

from expectations.events import landed_lines, one_key
from rekindle.quality import Suite, suite_for
from schemas.campaign_targets import CAMPAIGN_TARGETS


def suite(business_date: date, key_version: int, clean: int) -> Suite:
    """The checks; the frame is one of `expectations.events.with_fresh`."""
    return suite_for(
        CAMPAIGN_TARGETS,
        one_key("targets of campaigns", key_version),
        *landed_lines("targets of campaigns", business_date, clean),
        may_be_empty=True,
    )
