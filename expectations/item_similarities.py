"""What must hold of items' neighbours, beyond their contract."""

from __future__ import annotations

from datetime import date

from pyspark.sql import DataFrame, Window
from pyspark.sql import functions as F

from rekindle.quality import Suite, always, suite_for
from schemas.item_similarities import ITEM_SIMILARITIES


def with_known(similarities: DataFrame, items: DataFrame) -> DataFrame:
    """The neighbours with `known`, whether the night's catalogue (item_features) has both items, and `place`, the rank
    that the similarities give (from 1; equals in the order of `rank`)."""
    catalogue = items.select("item_id").distinct()
    named = catalogue.withColumn("has_item", F.lit(True))
    other = catalogue.select(F.col("item_id").alias("similar_item_id"), F.lit(True).alias("has_similar"))
    return (
        similarities.join(F.broadcast(named), "item_id", "left")
        .join(F.broadcast(other), "similar_item_id", "left")
        .withColumn("known", F.col("has_item") & F.col("has_similar"))
        .withColumn("place", F.row_number().over(Window.partitionBy("item_id").orderBy(F.desc("similarity"), "rank")))
        .drop("has_item", "has_similar")
    )


def suite(business_date: date) -> Suite:
    """The checks on rows; the frame is one of `with_known`. A shop whose users share no item has no row."""
    return suite_for(
        ITEM_SIMILARITIES,
        always("item_known", "items or neighbours that item_features does not have", F.coalesce("known", F.lit(False))),
        always("not_itself", "items that are their own neighbour", F.col("item_id") != F.col("similar_item_id")),
        always(
            "of_this_night",
            f"rows of another business date than {business_date}",
            F.col("business_date") == F.lit(business_date),
        ),
        # A lost neighbour leaves a gap, and then the first is no longer sure to be the nearest.
        always("nearest_first", "neighbours whose rank is not the place of their similarity", F.expr("rank = place")),
        may_be_empty=True,
    )
