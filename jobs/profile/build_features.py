"""Describe users and items as of the night, and users as of past cut-offs when training is due.

Reads   events, duplicates, quarantine, bronze (what the CRM wrote back), and of the night this one builds on
        user_days, period_counts, retention_counts
Writes  user_features, item_features, excluded_users, user_profiles, suppressed_users, outcomes, retention_metrics,
        user_days, period_counts, retention_counts, period_metrics, cohort_retention, retention_curves,
        retention_windows, repurchase_curves
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import date, timedelta

from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as F

from rekindle import lake, night
from rekindle.cli import Context, main
from rekindle.methods import cutoffs, retention
from rekindle.methods.activity import activity
from rekindle.methods.not_customers import not_customers
from rekindle.methods.retention_cohorts import cohort_retention, retention_curves, retention_windows
from rekindle.methods.retention_days import user_days
from rekindle.methods.retention_period_metrics import largest_groups, period_metrics
from rekindle.methods.retention_repurchase import repurchase_curves
from rekindle.methods.retention_weeks import retention_metrics
from rekindle.methods.suppression import suppressed
from rekindle.methods.user_features import MONEY, is_type, user_features
from rekindle.outcome_fates import outcome_fates
from rekindle.settings import Source
from rekindle.sources import INBOX_KIND
from schemas.cohort_retention import COHORT_RETENTION
from schemas.duplicates import DUPLICATES
from schemas.events import EVENTS
from schemas.excluded_users import EXCLUDED_USERS
from schemas.item_features import ITEM_FEATURES
from schemas.outcomes import OUTCOMES
from schemas.period_counts import PERIOD_COUNTS
from schemas.period_metrics import PERIOD_METRICS
from schemas.quarantine import QUARANTINE
from schemas.repurchase_curves import REPURCHASE_CURVES
from schemas.retention_counts import RETENTION_COUNTS
from schemas.retention_curves import RETENTION_CURVES
from schemas.retention_metrics import RETENTION_METRICS
from schemas.retention_windows import RETENTION_WINDOWS
from schemas.suppressed_users import SUPPRESSED_USERS
from schemas.user_days import USER_DAYS
from schemas.user_features import USER_FEATURES
from schemas.user_profiles import USER_PROFILES

# What a night adds to.
COUNTED = (USER_DAYS, PERIOD_COUNTS, RETENTION_COUNTS)


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


def top_categories(events: DataFrame, as_of: date, weights: dict[str, float]) -> DataFrame:
    """For each user with any categorised action: up to three categories and their shares, largest first."""
    weight = F.coalesce(*[F.when(is_type(k), F.lit(v).cast(MONEY)) for k, v in weights.items()])
    per_user = Window.partitionBy("user_key")
    ranked = per_user.orderBy(F.desc("weight"), "category")
    return (
        events.where((F.col("event_date") < F.lit(as_of)) & F.col("category").isNotNull() & weight.isNotNull())
        .groupBy("user_key", "category")
        .agg(F.sum(weight).alias("weight"))
        .withColumns(
            {
                # Doubles of exact sums: decimal quotients keep six digits, and three rounded up exceed 1.
                "share": F.col("weight").cast("double") / F.sum("weight").over(per_user).cast("double"),
                "place": F.row_number().over(ranked),
            }
        )
        .where("place <= 3")
        .groupBy("user_key")
        .agg(F.array_sort(F.collect_list(F.struct("place", "category", "share"))).alias("top"))
        .select(
            "user_key",
            F.col("top.category").alias("top_categories"),
            F.col("top.share").alias("top_category_shares"),
        )
    )


def quintile(value: str, thresholds: Column) -> Column:
    """1 to 5: one more for each of the four quintile limits that the value lies above; null for a null value."""
    above = F.size(F.filter(thresholds, lambda limit: F.col(value) > limit))
    return F.when(F.col(value).isNotNull(), 1 + above).cast("int")


def user_profiles(
    features: DataFrame, events: DataFrame, excluded: DataFrame, as_of: date, business_date: date, source: Source
) -> DataFrame:
    """Tonight's profiles from tonight's features; quintile limits are exact percentiles over the buyers."""
    rules = excluded.groupBy("user_key").agg(
        F.array_join(F.array_sort(F.collect_set("rule")), ",").alias("excluded_as")
    )
    fifths = F.array(*[F.lit(q) for q in (0.2, 0.4, 0.6, 0.8)])
    # Recency scores count the other way round: the fewer days, the higher.
    buyers = features.where("frequency > 0").select(
        "user_key", (-F.col("recency_days")).alias("freshness"), "frequency", "monetary"
    )
    limits = buyers.agg(
        *[F.percentile(F.col(c), fifths).alias(f"{c}_limits") for c in ("freshness", "frequency", "monetary")]
    )
    scores = buyers.crossJoin(F.broadcast(limits)).select(
        "user_key",
        quintile("freshness", F.col("freshness_limits")).alias("recency_score"),
        quintile("frequency", F.col("frequency_limits")).alias("frequency_score"),
        quintile("monetary", F.col("monetary_limits")).alias("monetary_score"),
    )
    dates = (
        activity(events)
        .where(F.col("event_date") < F.lit(as_of))
        .groupBy("user_key")
        .agg(
            F.min("event_date").alias("first_seen_date"),
            F.max("event_date").alias("last_activity_date"),
            F.max(F.when(is_type("purchase"), F.col("event_date"))).alias("last_purchase_date"),
        )
    )
    whole = {c: F.col(c).cast("int") for c in ("active_days_7d", "active_days_30d", "active_days_90d")}
    return (
        features.join(scores, "user_key", "left")
        .join(dates, "user_key")
        .join(top_categories(events, as_of, source.recommend.event_weights), "user_key", "left")
        .join(rules, "user_key", "left")
        .withColumns(whole | {"frequency": F.col("frequency").cast("bigint"), "business_date": F.lit(business_date)})
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
    made_by = {"retention_version": context.settings.retention_version}
    base = night.grown_from(context, "build_features", (EVENTS, *COUNTED), made_by)
    known = None
    if base is not None:
        before = base.snapshots
        tonight = context.ledger.tables(context.run_id)[EVENTS.name].snapshot_id
        events = lake.read_added(spark, name, EVENTS, before[EVENTS.name], tonight)
        rows, sums, cells = (lake.read(spark, name, table, before[table.name]) for table in COUNTED)
        known = retention.Known(rows, sums, cells, segments=None)
    start = before[USER_DAYS.name] if base else None
    days = night.store(context, USER_DAYS, user_days(events), start)
    if start is None:
        added = night.read(context, USER_DAYS)
    else:
        added = lake.read_added(spark, name, USER_DAYS, start, days.snapshot_id)
    cohorts = conf.cohorts.model_dump()
    counted = retention.count(added, known, None, as_of, conf.funnel_days, conf.windows, cohorts)
    night.store(context, PERIOD_COUNTS, counted.sums)
    night.store(context, RETENTION_COUNTS, counted.cells)
    counted.release()
    sums, cells = night.read(context, PERIOD_COUNTS).persist(), night.read(context, RETENTION_COUNTS).persist()
    told = period_metrics(sums, as_of, day, conf.funnel_days, conf.told.model_dump(), conf.groups)
    night.store(context, PERIOD_METRICS, told)
    night.store(context, COHORT_RETENTION, cohort_retention(cells, as_of, day))
    night.store(context, RETENTION_CURVES, retention_curves(cohort_retention(cells, as_of, day)))
    night.store(context, RETENTION_WINDOWS, retention_windows(cells, as_of, day, conf.windows))
    groups = largest_groups(sums, conf.groups)
    night.store(context, REPURCHASE_CURVES, repurchase_curves(cells, groups, as_of, day, conf.repurchase_days))
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
    features = user_features(events, days, source.time_zone, churn.gap_days, churn.horizon_days)
    night.store(context, USER_FEATURES, features)
    tonight = night.read(context, USER_FEATURES).where(F.col("as_of") == F.lit(as_of))
    night.store(context, ITEM_FEATURES, item_features(events, as_of, source.recommend.durable_categories))
    night.store(context, EXCLUDED_USERS, excluded_users(events, as_of, source))
    excluded = night.read(context, EXCLUDED_USERS)
    profiles = user_profiles(tonight, events, excluded, as_of, context.business_date, source)
    night.store(context, USER_PROFILES, profiles)
    night.store(context, RETENTION_METRICS, retention_metrics(events, as_of, context.business_date))
    store_retention(context, events, as_of)
    night.store(context, SUPPRESSED_USERS, suppressed_users(events, as_of, context.business_date, source))
    night.store(context, OUTCOMES, outcomes(context))
    context.detail["as_ofs"] = [day.isoformat() for day in days]
    context.detail["excluded"] = count_by_rule(excluded)
    context.log.info("excluded %s", json.dumps(context.detail["excluded"]))


if __name__ == "__main__":
    main(run, "build_features")
