"""What must hold of the profiles, beyond their contract."""

from __future__ import annotations

from datetime import date

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from rekindle.methods.activity import activity
from rekindle.methods.rfm import class_of
from rekindle.quality import Check, Suite, always, row_count, suite_for
from schemas.user_profiles import USER_PROFILES

MOST_CATEGORIES = 3
MOST_KEYWORDS = 10
ROUNDING = 1e-9  # of three shares added as doubles


def suite(business_date: date) -> Suite:
    """The checks on rows."""
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
            for c in ("recency_days", "recency_score", "frequency_score", "monetary_score", "rfm_class")
        ],
        always(
            "frequency_for_buyers",
            "users with orders but no purchase, or the other way round",
            (F.col("frequency") > 0) == bought,
        ),
        always(
            "class_of_scores",
            "users whose class is not that of their scores",
            F.col("rfm_class") == class_of(F.col("recency_score"), F.col("frequency_score"), F.col("monetary_score")),
            where=bought,
        ),
        # The habits are told of everybody, by the same days as the dates.
        always(
            "streaks_fit_dates",
            "users whose streaks do not fit their first and last day",
            (F.col("current_streak_days") <= F.col("longest_streak_days"))
            & (F.col("longest_streak_days") <= F.date_diff("last_activity_date", "first_seen_date") + 1)
            & ((F.col("current_streak_days") > 0) == (F.col("last_activity_date") == today)),
        ),
        always(
            "interval_of_two_days",
            "users with one active day and an interval, or the other way round",
            F.col("usual_interval_days").isNull() == (F.col("first_seen_date") == F.col("last_activity_date")),
        ),
        *_list("top_category_shares", "top_categories", MOST_CATEGORIES),
        *_list("current_category_shares", "current_categories", MOST_CATEGORIES),
        *_list("current_brand_shares", "current_brands", MOST_CATEGORIES),
        _fit("keyword_weights", "keywords", MOST_KEYWORDS),
        always(
            "strongest_first",
            "users whose keywords do not stand by their weights, or with one that weighs nothing",
            (F.sort_array("keyword_weights", asc=False) == F.col("keyword_weights"))
            & (F.array_min("keyword_weights") >= 0)
            & (F.array_max("keyword_weights") <= 1 + ROUNDING),
            where=F.col("keyword_weights").isNotNull(),
        ),
        *[
            always(
                f"{one}_with_{other}",
                f"users with {one} and without {other}, or the other way round",
                F.col(one).isNull() == F.col(other).isNull(),
            )
            for one, other in (("usual_channel", "usual_channel_share"), ("price_band", "price_level"))
        ],
        always(
            "stars_of_reviews",
            "users with stars and without a review of any, or the other way round",
            (F.col("stars_count") > 0) == F.col("stars_mean").isNotNull(),
        ),
        always(
            "bought_to_tell",
            "users who never bought and have a price level, a share of discounts or a rate of returns",
            F.coalesce("price_level", "discount_line_share", "discount_spend_share", "return_rate").isNull(),
            where=~bought,
        ),
    )


def _list(shares: str, names: str, most: int) -> tuple[Check, Check, Check]:
    """The checks on an array of names and the shares beside it, of which a lost or doubled part is the usual fault."""
    total = F.aggregate(F.col(shares), F.lit(0.0), lambda so_far, share: so_far + share)
    return (
        _fit(shares, names, most),
        always(
            f"{shares}_within_one",
            f"users whose {shares} add up to more than 1",
            total <= 1 + ROUNDING,
            where=F.col(shares).isNotNull(),
        ),
        always(
            f"{shares}_are_shares",
            f"users with one of {shares} that is not above 0 or not at most 1",
            F.forall(F.col(shares), lambda share: (share > 0) & (share <= 1 + ROUNDING)),
            where=F.col(shares).isNotNull(),
        ),
    )


def _fit(numbers: str, names: str, most: int) -> Check:
    told, named = F.col(numbers), F.col(names)
    return always(
        f"{numbers}_fit_names",
        f"users whose {numbers} are not as many as their {names}, or more than {most}",
        F.coalesce(F.size(told) == F.size(named), told.isNull() & named.isNull())
        & F.coalesce(F.size(named) <= most, F.lit(True)),
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
