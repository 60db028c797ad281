"""What must hold of the users' features, beyond their contract."""

from __future__ import annotations

from datetime import date

from pyspark.sql import functions as F

from rekindle.quality import Figure, Suite, always, suite_for
from schemas.user_features import USER_FEATURES


def suite(as_of: date, users: int) -> Suite:
    """The checks; `users` is how many profiles tonight has."""
    return suite_for(
        USER_FEATURES,
        always("not_of_the_future", f"rows as of a day after {as_of}", F.col("as_of") <= F.lit(as_of)),
        Figure("tonight_is_whole", f"users as of {as_of}", F.count_if(F.col("as_of") == F.lit(as_of)), users, users),
        # A part cannot exceed the whole; where it does, two windows were mixed up.
        always(
            "windows_nest",
            "users with more orders in a short window than in a longer one",
            (F.col("orders_14d") <= F.col("orders_30d"))
            & (F.col("orders_30d") <= F.col("orders_60d"))
            & (F.col("orders_60d") <= F.col("frequency")),
        ),
        always(
            "recency_fits",
            "users whose last purchase came after their last action or before their first",
            F.col("recency_days").between(F.col("days_since_activity"), F.col("tenure_days")),
            where=F.col("recency_days").isNotNull(),
        ),
    )
