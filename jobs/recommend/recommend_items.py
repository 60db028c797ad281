"""List twenty items for every user with tonight's champion, each with a reason.

Reads   events, item_features, excluded_users
Writes  recommendations
"""

from __future__ import annotations

from datetime import date

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from rekindle import night, registry
from rekindle.cli import Context, UsageError, main
from rekindle.methods import listing
from rekindle.methods.not_customers import customers
from rekindle.methods.recommenders import Recommender
from schemas.events import EVENTS
from schemas.excluded_users import EXCLUDED_USERS
from schemas.item_features import ITEM_FEATURES
from schemas.recommendations import RECOMMENDATIONS


def with_items(listed: DataFrame, catalogue: DataFrame, items: DataFrame) -> DataFrame:
    """Lists with item ids, titles, prices and the reason in words; `catalogue` maps item indexes to item ids."""
    described = items.join(catalogue, "item_id")
    named = F.coalesce("title", F.concat(F.lit("item "), "item_id"))
    shown = described.select("item", "item_id", "title", "category", "last_price", "buyers_28d")
    cause = described.select(F.col("item").alias("because"), named.alias("because_title"))
    buyers = F.col("buyers_28d")
    popular = (
        F.when(buyers > 1, F.concat(F.lit("popular: "), buyers, F.lit(" buyers in the last 28 days")))
        .when(buyers == 1, "popular: 1 buyer in the last 28 days")
        .otherwise("popular earlier this season")
    )
    reason = F.when(F.col("because") < 0, popular).when(
        F.col("because") == F.col("item"), "again: it weighs most in this user's own history"
    )
    personal = F.concat(F.lit("goes with “"), "because_title", F.lit("”, which this user looked at or bought"))
    return (
        listed.join(F.broadcast(shown), "item")
        .join(F.broadcast(cause), "because", "left")
        .withColumn("reason", F.coalesce(reason, personal))
    )


def recommend(
    prepared: listing.Prepared, model: Recommender, items: DataFrame, length: int, business_date: date, digest: str
) -> DataFrame:
    """The night's recommendations for every user seen."""
    listed = listing.lists(prepared, prepared.tastes, length, model)
    spark = items.sparkSession
    catalogue = spark.createDataFrame([(i, n) for n, i in enumerate(prepared.catalogue)], "item_id string, item int")
    return with_items(listed, catalogue, items).withColumns(
        {"model_version": F.lit(digest), "business_date": F.lit(business_date)}
    )


def run(context: Context) -> None:
    """Fold every user in from tonight's events and store the lists; what is popular or current, customers decide."""
    source, conf = context.source, context.source.recommend
    as_of = context.settings.as_of(context.business_date)
    champion = context.ledger.run_champions(context.run_id).get("recommender")
    if champion is None:
        raise UsageError(f"run {context.run_id} has no recommender yet; run judge_models before this")
    files = registry.load(context.settings.environment.lake.artefacts, champion.digest)
    counting = listing.Counting(**conf.model_dump(include=set(listing.Counting.__annotations__)))
    events = night.read(context, EVENTS).persist()
    heard = customers(events, night.read(context, EXCLUDED_USERS))
    prepared = listing.prepare(events, as_of, source.zone, counting, heard)
    rows = recommend(
        prepared,
        Recommender.from_files(files),
        night.read(context, ITEM_FEATURES),
        context.settings.business.list_length,
        context.business_date,
        champion.digest,
    )
    night.store(context, RECOMMENDATIONS, rows)


if __name__ == "__main__":
    main(run, "recommend_items")
