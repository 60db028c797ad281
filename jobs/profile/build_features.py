"""Describe users and items as of the night, and users as of past cut-offs when training is due.

Reads   events, items, duplicates, quarantine, bronze (what the CRM wrote back),
        user_segments, segments, segment_models (of the publication before),
        user_days, period_counts, retention_counts (of the night this one builds on)
Writes  user_features, item_features, excluded_users, user_profiles, user_vectors, suppressed_users, outcomes,
        user_segments, segments, segment_movements, segment_models, retention_metrics, user_days, period_counts,
        retention_counts, period_metrics, cohort_retention, retention_curves, retention_windows, repurchase_curves
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from datetime import date, timedelta

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from rekindle import contract, lake, night
from rekindle.cli import Context, main
from rekindle.methods import cutoffs, retention, user_directions
from rekindle.methods.activity import activity
from rekindle.methods.item2vec import Item2Vec
from rekindle.methods.life_cycle import Rule, Silence
from rekindle.methods.not_customers import not_customers
from rekindle.methods.preferences import catalogue, described, faded_parts, keywords, shares
from rekindle.methods.prices import bought_prices
from rekindle.methods.retention_cohorts import cohort_retention, retention_curves, retention_windows
from rekindle.methods.retention_days import user_days
from rekindle.methods.retention_period_metrics import largest_groups, period_metrics
from rekindle.methods.retention_repurchase import repurchase_curves
from rekindle.methods.retention_weeks import retention_metrics
from rekindle.methods.rfm import rfm
from rekindle.methods.rhythm import rhythm, usual_channel
from rekindle.methods.segment_features import FEATURES
from rekindle.methods.segment_models import Model
from rekindle.methods.segment_night import Before, segmentation
from rekindle.methods.suppression import suppressed
from rekindle.methods.user_features import is_type, user_features
from rekindle.outcome_fates import outcome_fates
from rekindle.retention_version import retention_version
from rekindle.settings import Source
from rekindle.side_by_side import side_by_side
from rekindle.sources import INBOX_KIND
from schemas.cohort_retention import COHORT_RETENTION
from schemas.duplicates import DUPLICATES
from schemas.events import EVENTS
from schemas.excluded_users import EXCLUDED_USERS
from schemas.item_features import ITEM_FEATURES
from schemas.items import ITEMS
from schemas.outcomes import OUTCOMES
from schemas.period_counts import PERIOD_COUNTS
from schemas.period_metrics import PERIOD_METRICS
from schemas.quarantine import QUARANTINE
from schemas.repurchase_curves import REPURCHASE_CURVES
from schemas.retention_counts import RETENTION_COUNTS
from schemas.retention_curves import RETENTION_CURVES
from schemas.retention_metrics import RETENTION_METRICS
from schemas.retention_windows import RETENTION_WINDOWS
from schemas.segment_models import SEGMENT_MODELS
from schemas.segment_movements import SEGMENT_MOVEMENTS
from schemas.segments import SEGMENTS
from schemas.suppressed_users import SUPPRESSED_USERS
from schemas.user_days import USER_DAYS
from schemas.user_features import USER_FEATURES
from schemas.user_profiles import USER_PROFILES
from schemas.user_segments import USER_SEGMENTS
from schemas.user_vectors import USER_VECTORS

# What a night adds to.
COUNTED = (USER_DAYS, PERIOD_COUNTS, RETENTION_COUNTS)


def item_features(events: DataFrame, as_of: date, durable_categories: Sequence[str]) -> DataFrame:
    """One row per item named before `as_of`."""
    bought, days_ago = is_type("purchase"), F.date_diff(F.lit(as_of), "event_date")

    def last(column: str, condition: Column) -> Column:
        return F.max(F.when(condition, F.struct("event_ts", "event_id", column)))[column]

    named = activity(events, as_of).where("item_id IS NOT NULL")
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
    done = activity(events, as_of)
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
    done = activity(events, as_of)
    learnt = user_directions.learn(done, as_of, recommend.event_weights, conf.days, conf.actions, method)
    found = user_directions.user_vectors(done, as_of, recommend.event_weights, recommend.half_life_days, learnt)
    return found.withColumn("business_date", F.lit(business_date))


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
    last = night.last_served(context, USER_SEGMENTS, SEGMENTS, SEGMENT_MODELS)
    if last is None:
        return None
    kept = last.frames[SEGMENT_MODELS.name].collect()
    return Before(
        last.business_date,
        last.frames[USER_SEGMENTS.name],
        [row.asDict() for row in last.frames[SEGMENTS.name].collect()],
        {row["method"]: Model.from_json(row["method"], row["model"]) for row in kept},
        {row["method"]: row["fitted_date"] for row in kept},
        all(row["conf_digest"] == conf_digest for row in kept),
        last.business_date > context.business_date,
    )


def numbers_given(context: Context) -> dict[str, int]:
    """By method the highest number of a segment's id that a published night of the source gave, rolled back or not."""
    found: dict[str, int] = {}
    for told in context.ledger.published_details(context.source.name, "build_features", context.this_run.published_at):
        for method, number in told.get("segments", {}).get("highest", {}).items():
            found[method] = max(number, found.get(method, 0))
    return found


def store_segments(context: Context, events: DataFrame, features: DataFrame, items: DataFrame) -> None:
    """Write who is in which segment tonight, what the segments are, and who moved since the publication before."""
    conf, seed, spark = context.source.segments, context.settings.business.seed, context.spark
    digest = hashlib.sha256(f"{conf.model_dump_json()} {FEATURES} {seed}".encode()).hexdigest()[:16]
    before, given, day = segments_before(context, digest), numbers_given(context), context.business_date
    as_of, trains = context.settings.as_of(day), bool(context.this_run.plan["train"])
    excluded = night.read(context, EXCLUDED_USERS)
    made = segmentation(events, features, excluded, items, before, given, conf, as_of, day, trains, seed)
    of_night = {"business_date": F.lit(day)}
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
    made.release()
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


def store_retention(context: Context, events: DataFrame, as_of: date) -> None:
    """Write what users did by day, the sums over them, and what is told of these.

    A night that adds to the events of another adds to its days and sums, too, if that night made them by the same code
    and conf. Otherwise everything is counted, and the next night can add to it.
    """
    spark, name, conf, day = context.spark, context.source.name, context.source.retention, context.business_date
    made_by = {"retention_version": retention_version(context.settings)}
    base = night.grown_from(context, "build_features", (EVENTS, *COUNTED, USER_SEGMENTS), made_by)
    known = None
    if base is not None:
        before = base.snapshots
        tonight = context.ledger.tables(context.run_id)[EVENTS.name].snapshot_id
        events = lake.read_added(spark, name, EVENTS, before[EVENTS.name], tonight)
        rows, sums, cells = (lake.read(spark, name, table, before[table.name]) for table in COUNTED)
        known = retention.Known(rows, sums, cells, lake.read(spark, name, USER_SEGMENTS, before[USER_SEGMENTS.name]))
    start = before[USER_DAYS.name] if base else None
    days = night.store(context, USER_DAYS, user_days(events), start)
    if start is None:
        added = night.read(context, USER_DAYS)
    else:
        added = lake.read_added(spark, name, USER_DAYS, start, days.snapshot_id)
    cohorts = conf.cohorts.model_dump()
    counted = retention.count(
        added, known, night.read(context, USER_SEGMENTS), as_of, conf.funnel_days, conf.windows, cohorts
    )
    night.store(context, PERIOD_COUNTS, counted.sums)
    night.store(context, RETENTION_COUNTS, counted.cells)
    counted.release()
    sums, cells = night.read(context, PERIOD_COUNTS).persist(), night.read(context, RETENTION_COUNTS).persist()
    groups = largest_groups(sums, conf.groups).persist()

    def tell_periods() -> None:
        told = period_metrics(sums, groups, as_of, day, conf.funnel_days, conf.told.model_dump())
        night.store(context, PERIOD_METRICS, told)
        night.store(context, REPURCHASE_CURVES, repurchase_curves(cells, groups, as_of, day, conf.repurchase_days))

    def tell_cohorts() -> None:
        by_cohort = cohort_retention(cells, groups, as_of, day).persist()
        night.store(context, COHORT_RETENTION, by_cohort)
        night.store(context, RETENTION_CURVES, retention_curves(by_cohort))
        night.store(context, RETENTION_WINDOWS, retention_windows(cells, groups, as_of, day, conf.windows))

    side_by_side(tell_periods, tell_cohorts)
    context.detail.update(made_by, retention_base=base.run_id if base else None)


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

    def describe() -> None:
        features = user_features(events, days, source.time_zone, churn.gap_days, churn.horizon_days)
        night.store(context, USER_FEATURES, features)
        night.store(context, ITEM_FEATURES, item_features(events, as_of, source.recommend.durable_categories))
        night.store(context, EXCLUDED_USERS, excluded_users(events, as_of, source))

    def direct() -> None:
        vectors = user_vectors(events, as_of, context.business_date, source, settings.business.seed)
        night.store(context, USER_VECTORS, vectors)
        night.store(context, RETENTION_METRICS, retention_metrics(events, as_of, context.business_date))
        night.store(context, SUPPRESSED_USERS, suppressed_users(events, as_of, context.business_date, source))
        night.store(context, OUTCOMES, outcomes(context))

    side_by_side(describe, direct)
    tonight = night.read(context, USER_FEATURES).where(F.col("as_of") == F.lit(as_of))
    excluded, logged = night.read(context, EXCLUDED_USERS), night.read(context, ITEM_FEATURES)

    def profile() -> None:
        told = night.read_if_any(context, ITEMS)
        profiles = user_profiles(tonight, events, excluded, as_of, context.business_date, source, logged, told)
        night.store(context, USER_PROFILES, profiles)

    def divide() -> None:
        store_segments(context, events, tonight, logged)
        store_retention(context, events, as_of)

    side_by_side(profile, divide)
    context.detail["as_ofs"] = [day.isoformat() for day in days]
    context.detail["excluded"] = count_by_rule(excluded)
    context.log.info("excluded %s", json.dumps(context.detail["excluded"]))


if __name__ == "__main__":
    main(run, "build_features")
