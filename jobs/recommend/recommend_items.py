"""List twenty items for every user with tonight's champion and the conf's rules, each with a reason; and each item's
neighbours; and whose list begins with another item than the one served before.

Reads   events, item_features, item_measures, excluded_users, the run's champion,
        recommendations (of earlier nights: what was shown)
Writes  recommendations, item_similarities, list_changes
"""

from __future__ import annotations

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from rekindle import contract, night, registry
from rekindle.cli import Context, UsageError, main
from rekindle.methods.activity import activity
from rekindle.methods.list_changes import changes
from rekindle.methods.recommenders import Recommender
from rekindle.methods.serving import serve
from rekindle.methods.serving_frames import Night, numbered
from schemas.events import EVENTS
from schemas.excluded_users import EXCLUDED_USERS
from schemas.item_features import ITEM_FEATURES
from schemas.item_measures import ITEM_MEASURES
from schemas.item_similarities import ITEM_SIMILARITIES
from schemas.list_changes import LIST_CHANGES
from schemas.recommendations import RECOMMENDATIONS


def reason() -> Column:
    """Why, in words; of the columns of `with_items`."""
    buyers = F.col("buyers_28d")
    popular = (
        F.when(buyers > 1, F.concat(F.lit("popular: "), buyers, F.lit(" buyers in the last 28 days")))
        .when(buyers == 1, "popular: 1 buyer in the last 28 days")
        .otherwise("popular earlier this season")
    )

    def ago(days: str) -> Column:
        whole = F.round(days).cast("int")
        today = F.when(whole == 0, "today").when(whole == 1, "1 day ago")
        return today.otherwise(F.concat(whole, F.lit(" days ago")))

    history = F.concat(F.lit("“"), "because_title", F.lit("”, which this user looked at or bought"))
    return (
        F.when(F.col("place") == "new_item", F.concat(F.lit("new: in the shop since "), "first_seen_date"))
        .when(F.col("place") == "due_again", F.concat(F.lit("due again: last bought "), ago("bought_days")))
        .when(
            F.col("bought_days").isNotNull() & ((F.col("because") == F.col("item")) | (F.col("because") < 0)),
            F.concat(F.lit("again: last bought "), ago("bought_days")),
        )
        .when(
            F.col("seen_days").isNotNull() & (F.col("because") < 0) & (F.col("candidate_source") == "repeat_last"),
            F.concat(F.lit("again: looked at "), ago("seen_days")),
        )
        .when(F.col("because") == F.col("item"), "again: it weighs most in this user's own history")
        .when((F.col("because") >= 0) & (F.col("candidate_source") == "content"), F.concat(F.lit("like "), history))
        .when(F.col("because") >= 0, F.concat(F.lit("goes with "), history))
        .when(F.col("candidate_source") == "newcomers", "what first-time buyers take")
        .otherwise(popular)
    )


def with_items(listed: DataFrame, catalogue: DataFrame, items: DataFrame) -> DataFrame:
    """Lists with item ids, titles, prices and the reason in words; `catalogue` maps item indexes to item ids."""
    described = items.join(catalogue, "item_id")
    named = F.coalesce("title", F.concat(F.lit("item "), "item_id"))
    shown = described.select("item", "item_id", "title", "category", "last_price", "buyers_28d", "first_seen_date")
    cause = described.select(F.col("item").alias("because"), named.alias("because_title"))
    return (
        listed.join(F.broadcast(shown), "item")
        .join(F.broadcast(cause), "because", "left")
        .withColumn("reason", reason())
    )


def with_titles(similar: DataFrame, catalogue: DataFrame, items: DataFrame) -> DataFrame:
    """Neighbours with ids and titles; `similar` as `similarities.similar_items` gives them."""
    described = items.join(catalogue, "item_id")
    other = described.select(
        F.col("item").alias("other"), F.col("item_id").alias("similar_item_id"), F.col("title").alias("similar_title")
    )
    return similar.join(F.broadcast(described.select("item", "item_id")), "item").join(F.broadcast(other), "other")


def run(context: Context) -> None:
    """Fold every user in from tonight's events and store the lists, and each item's neighbours."""
    as_of = context.settings.as_of(context.business_date)
    champion = context.ledger.run_champions(context.run_id).get("recommender")
    if champion is None:
        raise UsageError(f"run {context.run_id} has no recommender yet; run judge_models before this")
    files = registry.load(context.settings.environment.lake.artefacts, champion.digest)
    items = night.read(context, ITEM_FEATURES).persist()
    conf = context.source.recommend
    events = night.read(context, EVENTS).persist()
    made = Night.of(
        Recommender.from_files(files),
        activity(events),
        night.read(context, EXCLUDED_USERS),
        items,
        night.read_if_any(context, ITEM_MEASURES),
        night.served_before(context, RECOMMENDATIONS, conf.shown_nights),
        as_of,
        context.source.zone,
        conf,
    )
    catalogue = numbered(context.spark, made.prepared.catalogue)
    of_night = {"business_date": F.lit(context.business_date)}
    night.store(context, ITEM_SIMILARITIES, with_titles(made.similar, catalogue, items).withColumns(of_night))
    listed = serve(made.users, made.served, context.settings.business.list_length)
    of_night["model_version"] = F.lit(champion.digest)
    night.store(context, RECOMMENDATIONS, with_items(listed, catalogue, items).withColumns(of_night))
    store_changes(context, events, champion.digest)


def store_changes(context: Context, events: DataFrame, digest: str) -> None:
    """Write whose list begins with another item than in the publication before; nobody on a source's first night."""
    last = night.last_served(context, RECOMMENDATIONS)
    if last is None:
        night.store(context, LIST_CHANGES, contract.frame(context.spark, LIST_CHANGES))
        return
    before = context.ledger.run_champions(last.run_id).get("recommender")
    found = changes(
        night.read(context, RECOMMENDATIONS),
        last.frame,
        events.where(F.col("landing_date") > last.business_date),
        before is None or before.digest != digest,
    )
    dates = {"compared_date": F.lit(last.business_date), "business_date": F.lit(context.business_date)}
    night.store(context, LIST_CHANGES, found.withColumns(dates))


if __name__ == "__main__":
    main(run, "recommend_items")
