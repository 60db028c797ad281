"""Whose list begins with another item than in the publication before, and what did it."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pyspark.sql import DataFrame


def changes(tonight: DataFrame, before: DataFrame, active: DataFrame, is_another_model: bool) -> DataFrame:
    """One row a user who entered, left or moved: user_key, change, item_before, item_after, cause.

    `tonight` and `before` have user_key, rank and item_id of the lists; `active` has a user_key (or several of the
    same) of everybody of whom tonight knows events that the publication before could not know.

    The cause is the first of these that holds: `behaviour`, the user is active; `model`, `is_another_model`; `rules`,
    neither. Every model reads what a user does, so that is told first.
    """
    from pyspark.sql import functions as F

    def first(lists: DataFrame, name: str) -> DataFrame:
        return lists.where(F.col("rank") == 1).select("user_key", F.col("item_id").alias(name))

    entered, left = F.col("item_before").isNull(), F.col("item_after").isNull()
    acted = active.select("user_key").distinct().withColumn("acted", F.lit(True))
    return (
        first(tonight, "item_after")
        .join(first(before, "item_before"), "user_key", "full")
        .where(entered | left | (F.col("item_before") != F.col("item_after")))
        .join(acted, "user_key", "left")
        .select(
            "user_key",
            F.when(entered, F.lit("entered")).when(left, F.lit("left")).otherwise(F.lit("moved")).alias("change"),
            "item_before",
            "item_after",
            F.when(F.col("acted"), F.lit("behaviour"))
            .otherwise(F.lit("model" if is_another_model else "rules"))
            .alias("cause"),
        )
    )
