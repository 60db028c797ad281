"""What must hold of what the shop told of its users, beyond their contract. A source's files may tell of none."""

from __future__ import annotations

from datetime import date

from pyspark.sql import functions as F

from expectations.events import landed_lines, one_key
from rekindle.quality import Suite, always, suite_for
from schemas.users import USERS


def suite(business_date: date, key_version: int, clean: int) -> Suite:
    """The checks; the frame is one of `expectations.events.with_fresh`."""
    return suite_for(
        USERS,
        one_key("users", key_version),
        # The shop's own slip: no model reads the day, so it is told and stops nothing.
        always(
            "registered_before_told",
            "users registered after their file landed",
            F.col("registered_date") <= F.col("landing_date"),
            where=F.col("registered_date").isNotNull(),
            severity="warning",
        ),
        *landed_lines("users", business_date, clean),
        may_be_empty=True,
    )
