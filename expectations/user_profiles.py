"""What must hold of the profiles, beyond their contract."""

from __future__ import annotations

from datetime import date

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from rekindle.methods.activity import activity
from rekindle.quality import Suite, always, row_count, suite_for
from schemas.user_profiles import USER_PROFILES

MOST_CATEGORIES = 3
ROUNDING = 1e-9  # of three shares added as doubles


def suite(business_date: date) -> Suite:
    """The checks on rows."""
    shares, names = F.col("top_category_shares"), F.col("top_categories")
    total = F.aggregate(shares, F.lit(0.0), lambda so_far, share: so_far + share)
    today = F.lit(business_date)
    bought = F.col("last_purchase_date").isNotNull()
    return suite_for(
        USER_PROFILES,
        always("of_this_night", f"rows of another business date than {business_date}", F.col("business_date") == today),
        # Dates in order are how a leak from the future or a mixed-up join shows first.
        always(
            "dates_in_order",
            "users whose first action, last action and business date are not in this order",
            (F.col("first_seen_date") <= F.col("last_activity_date")) & (F.col("last_activity_date") <= today),
        ),
        always(
            "purchase_is_activity",
            "users who bought before their first action or after their last",
            F.col("last_purchase_date").between(F.col("first_seen_date"), F.col("last_activity_date")),
            where=bought,
        ),
        # RFM is told for buyers and for buyers only: a segment by score must not hold people who never bought.
        *[
            always(
                f"{c}_for_buyers",
                f"users with {c} but no purchase, or the other way round",
                F.col(c).isNotNull() == bought,
            )
            for c in ("recency_days", "recency_score", "frequency_score", "monetary_score")
        ],
        always(
            "frequency_for_buyers",
            "users with orders but no purchase, or the other way round",
            (F.col("frequency") > 0) == bought,
        ),
        always(
            "shares_fit_names",
            f"users whose category shares are not as many as their categories, or more than {MOST_CATEGORIES}",
            F.coalesce(F.size(shares) == F.size(names), shares.isNull() & names.isNull())
            & F.coalesce(F.size(names) <= MOST_CATEGORIES, F.lit(True)),
        ),
        always(
            "shares_within_one",
            "users whose category shares add up to more than 1",
            total <= 1 + ROUNDING,
            where=shares.isNotNull(),
        ),
        always(
            "shares_are_shares",
            "users with a category share that is not above 0 or not at most 1",
            F.forall(shares, lambda share: (share > 0) & (share <= 1 + ROUNDING)),
            where=shares.isNotNull(),
        ),
    )


def by_user(profiles: DataFrame, events: DataFrame) -> DataFrame:
    """One row per user with a profile, an action or both, with `has_profile` and `has_events`, null where not."""
    seen = activity(events).select("user_key").distinct().withColumn("has_events", F.lit(True))
    return profiles.select("user_key", F.lit(True).alias("has_profile")).join(seen, "user_key", "full")


def suite_by_user() -> Suite:
    """The checks on who has a profile."""
    return Suite(
        USER_PROFILES.name,
        (
            row_count(1, what="users with events or a profile"),
            always(
                "has_profile",
                "users with events but without a profile",
                F.col("has_profile"),
                where=F.col("has_events"),
            ),
            always(
                "has_events", "users with a profile but without events", F.col("has_events"), where=F.col("has_profile")
            ),
        ),
        part="by_user",
    )
