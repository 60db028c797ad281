"""Describe users and items as of the night, and users as of past cut-offs when training is due.

Reads   events, items, duplicates, quarantine, bronze (what the CRM wrote back),
        user_segments, segments, segment_models (of the publication before)
Writes  user_features, item_features, excluded_users, user_profiles, user_vectors, retention_metrics, suppressed_users,
        outcomes, user_segments, segments, segment_movements, segment_models
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from datetime import date, timedelta

from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as F

from rekindle import contract, night
from rekindle.cli import Context, main
from rekindle.methods import cutoffs, user_directions
from rekindle.methods.activity import activity
from rekindle.methods.item2vec import Item2Vec
from rekindle.methods.life_cycle import Rule, Silence
from rekindle.methods.not_customers import not_customers
from rekindle.methods.preferences import catalogue, described, faded_parts, keywords, shares
from rekindle.methods.prices import bought_prices
from rekindle.methods.rfm import rfm
from rekindle.methods.rhythm import rhythm, usual_channel
from rekindle.methods.segment_features import FEATURES
from rekindle.methods.segment_models import Model
from rekindle.methods.segment_night import Before, segmentation
from rekindle.methods.suppression import suppressed
from rekindle.methods.user_features import distinct, is_type, order_key, user_features
from rekindle.outcome_fates import outcome_fates
from rekindle.settings import Source
from rekindle.sources import INBOX_KIND
from schemas.duplicates import DUPLICATES
from schemas.events import EVENTS
from schemas.excluded_users import EXCLUDED_USERS
from schemas.item_features import ITEM_FEATURES
from schemas.items import ITEMS
from schemas.outcomes import OUTCOMES
from schemas.quarantine import QUARANTINE
from schemas.retention_metrics import RETENTION_METRICS
from schemas.segment_models import SEGMENT_MODELS
from schemas.segment_movements import SEGMENT_MOVEMENTS
from schemas.segments import SEGMENTS
from schemas.suppressed_users import SUPPRESSED_USERS
from schemas.user_features import USER_FEATURES
from schemas.user_profiles import USER_PROFILES
from schemas.user_segments import USER_SEGMENTS
from schemas.user_vectors import USER_VECTORS


def item_features(events: DataFrame, as_of: date, durable_categories: Sequence[str]) -> DataFrame:
    """One row per item named before `as_of`."""
    bought, days_ago = is_type("purchase"), F.date_diff(F.lit(as_of), "event_date")

    def last(column: str, condition: Column) -> Column:
        return F.max(F.when(condition, F.struct("event_ts", "event_id", column)))[column]

    named = activity(events).where(F.col("item_id").isNotNull() & (F.col("event_date") < F.lit(as_of)))
    priced, recent = F.col("unit_price").isNotNull(), days_ago <= 28
    return (
        named.groupBy("item_id")
        .agg(
            last("title", F.col("title").isNotNull()).alias("title"),
            last("category", F.col("category").isNotNull()).alias("category"),
            F.coalesce(last("unit_price", bought & priced), last("unit_price", priced)).alias("last_price"),
            F.min("event_date").alias("first_seen_date"),
            F.max("event_date").alias("last_seen_date"),
            F.count_if(is_type("view") & recent).alias("views_28d"),
            F.count_if(is_type("cart") & recent).alias("carts_28d"),
            F.count_distinct(F.when(bought & recent, F.col("user_key"))).alias("buyers_28d"),
            F.count_if(bought & recent).alias("purchases_28d"),
        )
        .withColumns(
            {
                "as_of": F.lit(as_of),
                "is_durable": F.coalesce(F.col("category").isin(*durable_categories), F.lit(False)),
            }
        )
    )


def user_profiles(
    features: DataFrame,
    events: DataFrame,
    excluded: DataFrame,
    as_of: date,
    business_date: date,
    source: Source,
    logged: DataFrame,
    told: DataFrame | None = None,
) -> DataFrame:
    """Tonight's profiles, of tonight's features, events and item features (`logged`), and of what the shop told of its
    items, if it does."""
    recommend, conf = source.recommend, source.profiles
    weights, half_life = recommend.event_weights, recommend.half_life_days
    done = activity(events).where(F.col("event_date") < F.lit(as_of))
    items = catalogue(logged, told, as_of).persist()
    known = described(done, items)
    faded, plain = faded_parts(as_of, weights, half_life), faded_parts(as_of, weights, None)
    rules = excluded.groupBy("user_key").agg(
        F.array_join(F.array_sort(F.collect_set("rule")), ",").alias("excluded_as")
    )
    dates = done.groupBy("user_key").agg(
        F.min("event_date").alias("first_seen_date"),
        F.max("event_date").alias("last_activity_date"),
        F.max(F.when(is_type("purchase"), F.col("event_date"))).alias("last_purchase_date"),
        F.count("stars").alias("stars_count"),
    )
    parts = (
        rfm(features),
        dates,
        rhythm(done, as_of, source.time_zone, life_cycle_rule(source)),
        usual_channel(done),
        shares(
            known,
            "category",
            {
                "top_categories": (plain, "top_category_shares"),
                "current_categories": (faded, "current_category_shares"),
            },
        ),
        shares(known, "brand", {"current_brands": (faded, "current_brand_shares")}),
        keywords(known, as_of, weights, half_life, conf.keyword_users),
        bought_prices(done, items, faded, conf.discount_from),
        rules,
    )
    whole = {c: F.col(c).cast("int") for c in ("active_days_7d", "active_days_30d", "active_days_90d")}
    profiles = features
    for part in parts:
        profiles = profiles.join(part, "user_key", "left")
    return profiles.withColumns(
        whole | {"frequency": F.col("frequency").cast("bigint"), "business_date": F.lit(business_date)}
    )


def life_cycle_rule(source: Source) -> Rule:
    """The source's rule of the stages of a user."""
    conf = source.profiles.life_cycle
    limits = {name: Silence(**getattr(conf, name).model_dump()) for name in ("slipping", "lapsed")}
    return Rule(new_days=conf.new_days, returned_days=conf.returned_days, **limits)


def user_vectors(events: DataFrame, as_of: date, business_date: date, source: Source, seed: int) -> DataFrame:
    """Tonight's direction of every user's taste; no row where the shop's days hold no two items."""
    recommend, conf = source.recommend, source.profiles.vectors
    method = Item2Vec(conf.dimension, conf.learning_rate, conf.epochs, conf.negatives, conf.contexts, seed)
    done = activity(events).where(F.col("event_date") < F.lit(as_of))
    learnt = user_directions.learn(done, as_of, recommend.event_weights, conf.days, conf.actions, method)
    found = user_directions.user_vectors(done, as_of, recommend.event_weights, recommend.half_life_days, learnt)
    return found.withColumn("business_date", F.lit(business_date))


def retention_metrics(events: DataFrame, as_of: date, business_date: date) -> DataFrame:
    """One row per whole week before `as_of`; every rate by the formula in its contract."""
    seen = activity(events.where(F.col("event_date") < F.lit(as_of))).withColumn(
        "week_start", F.date_sub("event_date", F.weekday("event_date"))
    )
    bought = is_type("purchase")
    first_view = F.min(F.when(is_type("view"), F.col("event_ts")))
    last_purchase = F.max(F.when(bought, F.col("event_ts")))
    weekly = seen.groupBy("user_key", "week_start").agg(
        distinct(order_key(), bought).alias("orders"), first_view.alias("viewed"), last_purchase.alias("bought")
    )
    by_user = Window.partitionBy("user_key").orderBy("week_start")
    placed = weekly.withColumns(
        {
            "is_new": F.row_number().over(by_user) == 1,
            "is_retained": F.coalesce(F.lag("week_start").over(by_user) == F.date_sub("week_start", 7), F.lit(False)),
            "orders_before": F.coalesce(
                F.sum("orders").over(by_user.rowsBetween(Window.unboundedPreceding, -1)), F.lit(0)
            ),
        }
    ).withColumn("orders_so_far", F.col("orders_before") + F.col("orders"))
    sums = placed.groupBy("week_start").agg(
        F.count(F.lit(1)).alias("active_users"),
        F.count_if("is_new").alias("new_users"),
        F.count_if(F.col("orders") > 0).alias("buyers"),
        F.sum("orders").cast("bigint").alias("orders"),
        F.count("viewed").alias("viewers"),
        F.count_if(F.col("bought") >= F.col("viewed")).alias("converted"),
        F.count_if("is_retained").alias("retained"),
        F.count_if((F.col("orders_before") == 0) & (F.col("orders_so_far") > 0)).alias("new_buyers"),
        F.count_if((F.col("orders_before") < 2) & (F.col("orders_so_far") >= 2)).alias("new_repeaters"),
    )
    # One row a week from here on, so windows over all of them are small; a week without events is a week too.
    whole_weeks = F.expr("CASE WHEN low <= high THEN sequence(low, high, interval 7 days) END")
    calendar = sums.agg(F.min("week_start").alias("low"), F.lit(as_of - timedelta(days=7)).alias("high")).select(
        F.explode(whole_weeks).alias("week_start")
    )
    weeks = calendar.join(sums, "week_start", "left").fillna(0)
    in_order = Window.partitionBy(F.lit(1)).orderBy("week_start")
    so_far = in_order.rowsBetween(Window.unboundedPreceding, 0)
    counted = weeks.withColumns(
        {
            "active_before": F.lag("active_users").over(in_order),
            "buyers_so_far": F.sum("new_buyers").over(so_far),
            "repeaters_so_far": F.sum("new_repeaters").over(so_far),
            "views_ever": F.max("viewers").over(Window.partitionBy(F.lit(1))),
        }
    )
    return counted.withColumns(
        {
            "business_date": F.lit(business_date),
            "conversion_rate": F.try_divide("converted", "viewers"),
            "repurchase_rate": F.try_divide("repeaters_so_far", "buyers_so_far"),
            "retained_users": F.when(F.col("active_before").isNotNull(), F.col("retained")),
            "churn_rate": F.lit(1.0) - F.try_divide("retained", "active_before"),
        }
    )


def excluded_users(events: DataFrame, as_of: date, source: Source) -> DataFrame:
    """Who is left out of the models tonight, a row for each rule that was met."""
    return not_customers(activity(events), as_of, **source.not_customers.model_dump()).withColumn("as_of", F.lit(as_of))


def count_by_rule(excluded: DataFrame) -> dict[str, int]:
    """How many users each rule excludes, and `users`, all of them; a row a rule reaches the driver."""
    counted = excluded.rollup("rule").agg(F.count_distinct("user_key").alias("users")).collect()
    found = {row["rule"] or "users": row["users"] for row in counted}
    return {"users": 0} | dict(sorted(found.items()))  # a rollup of no rows has no total


def suppressed_users(events: DataFrame, as_of: date, business_date: date, source: Source) -> DataFrame:
    """Whom nobody may contact as of tonight."""
    days = source.win_back.model_dump(include={"complaint_days", "quiet_days"})
    return suppressed(events, as_of, **days).withColumn("business_date", F.lit(business_date))


def outcomes(context: Context) -> DataFrame:
    """What became of what the CRM wrote back, of the landing dates that are told."""
    days = timedelta(days=context.settings.business.inbox.outcome_days)
    written_back = [
        file
        for file in context.ledger.run_files(context.run_id)
        if file.kind == INBOX_KIND and file.landing_date > context.business_date - days
    ]
    if not written_back:
        return context.spark.createDataFrame([], OUTCOMES.spark_schema())
    bronze = str(context.settings.environment.lake.bronze)
    told_again, unusable = night.read(context, DUPLICATES), night.read(context, QUARANTINE)
    return outcome_fates(context.spark, written_back, bronze, told_again, unusable)


def segments_before(context: Context, conf_digest: str) -> Before | None:
    """The segments of the publication before; None without one."""
    users = night.last_served(context, USER_SEGMENTS)
    rows, models = night.last_served(context, SEGMENTS), night.last_served(context, SEGMENT_MODELS)
    if users is None or rows is None or models is None:
        return None
    kept = models.frame.collect()
    return Before(
        users.business_date,
        users.frame,
        [row.asDict() for row in rows.frame.collect()],
        {row["method"]: Model.from_json(row["method"], row["model"]) for row in kept},
        {row["method"]: row["fitted_date"] for row in kept},
        all(row["conf_digest"] == conf_digest for row in kept),
        users.business_date > context.business_date,
    )


def store_segments(context: Context, events: DataFrame, features: DataFrame, items: DataFrame) -> None:
    """Write who is in which segment tonight, what the segments are, and who moved since the publication before."""
    conf, seed, spark = context.source.segments, context.settings.business.seed, context.spark
    digest = hashlib.sha256(f"{conf.model_dump_json()} {FEATURES} {seed}".encode()).hexdigest()[:16]
    before = segments_before(context, digest)
    as_of, trains = context.settings.as_of(context.business_date), bool(context.this_run.plan["train"])
    excluded = night.read(context, EXCLUDED_USERS)
    made = segmentation(events, features, excluded, items, before, conf, as_of, context.business_date, trains, seed)
    of_night = {"business_date": F.lit(context.business_date)}
    compared = {"compared_date": F.lit(before.business_date if before else None).cast("date")}
    night.store(context, USER_SEGMENTS, made.members.withColumns(of_night))
    rows = contract.frame(spark, SEGMENTS, *made.segments).withColumns(of_night | compared)
    night.store(context, SEGMENTS, rows)
    moved = contract.frame(spark, SEGMENT_MOVEMENTS) if made.movements is None else made.movements
    night.store(context, SEGMENT_MOVEMENTS, moved.withColumns(of_night | compared))
    models = [
        {"method": m, "model": k.to_json(), "conf_digest": digest, "fitted_date": made.fitted[m]}
        for m, k in made.models.items()
    ]
    night.store(context, SEGMENT_MODELS, contract.frame(spark, SEGMENT_MODELS, *models).withColumns(of_night))
    context.detail["segments"] = made.told
    context.log.info("segments %s", json.dumps(made.told))


def past_cutoffs(context: Context, as_of: date) -> tuple[date, ...]:
    """The cut-offs that training the churn model needs; none where the log is too short (train_churn says so)."""
    churn = context.source.churn
    try:
        return cutoffs.plan(
            as_of,
            context.source.first_date,
            churn.horizon_days,
            churn.gap_days,
            churn.history_days,
            churn.cutoff_step_days,
            churn.training_cutoffs,
        ).all
    except cutoffs.TooLittleHistory as error:
        context.log.warning("no past cut-offs: %s", error)
        return ()


def run(context: Context) -> None:
    """Write tonight's descriptions, with past cut-offs of the users when training is due."""
    source, settings = context.source, context.settings
    as_of = settings.as_of(context.business_date)
    events = night.read(context, EVENTS).persist()
    churn = source.churn
    # The newest cut-off whose outcomes are known is looked at every night: probabilities are calibrated on it.
    as_ofs = {as_of, as_of - timedelta(days=churn.gap_days + churn.horizon_days)}
    if context.this_run.plan["train"]:
        as_ofs |= set(past_cutoffs(context, as_of))
    days = sorted(as_ofs, reverse=True)
    features = user_features(events, days, source.time_zone, churn.gap_days, churn.horizon_days)
    night.store(context, USER_FEATURES, features)
    tonight = night.read(context, USER_FEATURES).where(F.col("as_of") == F.lit(as_of))
    night.store(context, ITEM_FEATURES, item_features(events, as_of, source.recommend.durable_categories))
    night.store(context, EXCLUDED_USERS, excluded_users(events, as_of, source))
    excluded = night.read(context, EXCLUDED_USERS)
    logged, told = night.read(context, ITEM_FEATURES), night.read_if_any(context, ITEMS)
    profiles = user_profiles(tonight, events, excluded, as_of, context.business_date, source, logged, told)
    night.store(context, USER_PROFILES, profiles)
    vectors = user_vectors(events, as_of, context.business_date, source, settings.business.seed)
    night.store(context, USER_VECTORS, vectors)
    night.store(context, RETENTION_METRICS, retention_metrics(events, as_of, context.business_date))
    night.store(context, SUPPRESSED_USERS, suppressed_users(events, as_of, context.business_date, source))
    night.store(context, OUTCOMES, outcomes(context))
    store_segments(context, events, tonight, night.read(context, ITEM_FEATURES))
    context.detail["as_ofs"] = [day.isoformat() for day in days]
    context.detail["excluded"] = count_by_rule(excluded)
    context.log.info("excluded %s", json.dumps(context.detail["excluded"]))


if __name__ == "__main__":
    main(run, "build_features")
