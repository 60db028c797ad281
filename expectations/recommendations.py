"""What must hold of the lists of items, beyond their contract."""

from __future__ import annotations

from datetime import date

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from rekindle.quality import Figure, Suite, always, row_count, suite_for
from schemas.recommendations import RECOMMENDATIONS


def with_known(recommendations: DataFrame, items: DataFrame) -> DataFrame:
    """The lists with `known`: whether the night's catalogue (item_features) has the item."""
    catalogue = items.select("item_id").distinct().withColumn("known", F.lit(True))
    return recommendations.join(F.broadcast(catalogue), "item_id", "left")


def suite(business_date: date) -> Suite:
    """The checks on rows; the frame is one of `with_known`."""
    return suite_for(
        RECOMMENDATIONS,
        always("item_known", "recommended items that item_features does not have", F.col("known")),
        always(
            "of_this_night",
            f"rows of another business date than {business_date}",
            F.col("business_date") == F.lit(business_date),
        ),
        # Scores and ranks of two models do not make one list.
        Figure("one_model", "models that made the lists", F.count_distinct("model_version"), 1, 1),
        # All lists alike means that nobody's own events reached the model; seen when folding-in got no tastes.
        Figure(
            "not_all_alike",
            "different items on rank 1",
            F.count_distinct(F.when(F.col("rank") == 1, F.col("item_id"))),
            2,
            severity="warning",
        ),
    )


def by_user(recommendations: DataFrame, profiles: DataFrame) -> DataFrame:
    """One row per user of either table: the list's rows, lowest and highest rank and distinct items; null if absent."""
    lists = recommendations.groupBy("user_key").agg(
        F.count(F.lit(1)).alias("rows"),
        F.min("rank").alias("lowest"),
        F.max("rank").alias("highest"),
        F.count_distinct("rank").alias("ranks"),
        F.size(F.collect_set("item_id")).alias("items"),  # a user's list is short
    )
    users = profiles.select("user_key", F.lit(True).alias("has_profile"))
    return users.join(lists, "user_key", "full")


def suite_by_user(users: int, length: int) -> Suite:
    """The checks on whole lists; `users` is the number of profiles, `length` what a list must have."""
    listed = F.col("rows").isNotNull()
    return Suite(
        RECOMMENDATIONS.name,
        (
            row_count(users, users, "users with a profile or a list"),
            # The CRM looks every known user up; a missing list is an empty e-mail.
            always("has_list", "users of user_profiles without a list", listed, where=F.col("has_profile")),
            always("has_profile", "users with a list who are not in user_profiles", F.col("has_profile"), where=listed),
            always("is_whole", f"users whose list has not {length} items", F.col("rows") == length, where=listed),
            always(
                "has_no_gap",
                "users whose ranks do not run from 1 without gap or repetition",
                (F.col("lowest") == 1) & (F.col("highest") == F.col("rows")) & (F.col("ranks") == F.col("rows")),
                where=listed,
            ),
            always(
                "has_no_item_twice", "users whose list has an item twice", F.col("items") == F.col("rows"), where=listed
            ),
        ),
        part="by_user",
    )
