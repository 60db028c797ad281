"""Describe users and items as of the night, and users as of past cut-offs when training is due.

Reads   events
Writes  user_features, item_features, excluded_users, user_profiles, retention_metrics
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import date, timedelta

from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as F

from rekindle import night
from rekindle.cli import Context, main
from rekindle.methods import cutoffs
from rekindle.methods.not_customers import not_customers
from rekindle.settings import Source
from schemas.events import EVENTS
from schemas.excluded_users import EXCLUDED_USERS
from schemas.item_features import ITEM_FEATURES
from schemas.retention_metrics import RETENTION_METRICS
from schemas.user_features import USER_FEATURES
from schemas.user_profiles import USER_PROFILES

DAY_SECONDS = 86_400
# Sums of money are exact decimals, so that the order in which rows meet changes no digit.
MONEY = "decimal(28,4)"


def is_type(*kinds: str) -> Column:
    """Whether the event is of one of these types."""
    return F.col("event_type").isin(*kinds)


def amount() -> Column:
    """Money of the event: positive for a purchase, negative for a return, zero otherwise."""
    value = F.col("quantity").cast(MONEY) * F.col("unit_price").cast(MONEY)
    return F.when(is_type("purchase"), value).when(is_type("return"), -value).otherwise(F.lit(0).cast(MONEY))


def order_key() -> Column:
    """The order; a purchase without one is an order of its own."""
    return F.coalesce("order_id", "event_id")


def distinct(value: Column, condition: Column) -> Column:
    """How many distinct values there are where the condition holds; a group's own set is small."""
    return F.size(F.collect_set(F.when(condition, value)))


def user_days(events: DataFrame, zone: str) -> DataFrame:
    """One row per user and local day with any action: what every cut-off's features are summed from.

    The log is read once, however many cut-offs there are; a user's day is a few hundred bytes.
    """
    bought, starred = is_type("purchase"), F.col("stars").isNotNull()
    counts = {"views": "view", "carts": "cart", "favourites": "favourite", "searches": "search", "returns": "return"}
    return events.groupBy("user_key", "event_date").agg(
        F.count(F.lit(1)).alias("events"),
        F.count_if(F.hour(F.from_utc_timestamp("event_ts", zone)) >= 18).alias("evening_events"),
        F.min("event_ts").alias("first_ts"),
        F.max("event_ts").alias("last_ts"),
        F.max(F.when(bought, F.col("event_ts"))).alias("purchase_ts"),
        F.count_if(bought).alias("purchases"),
        *[F.count_if(is_type(kind)).alias(name) for name, kind in counts.items()],
        F.sum(amount()).alias("net"),
        F.sum(F.when(bought, amount())).alias("gross"),
        F.count_if(starred).alias("starred"),
        F.sum(F.col("stars").cast(MONEY)).alias("stars"),
        F.max(F.when(starred, F.struct("event_ts", "event_id", "stars"))).alias("last_stars"),
        F.collect_set(F.when(bought, order_key())).alias("orders"),
        F.collect_set(F.when(bought, F.col("item_id"))).alias("bought_items"),
        F.collect_set(F.when(is_type("cart"), F.col("item_id"))).alias("carted_items"),
        F.collect_set("category").alias("categories"),
    )


def user_features(events: DataFrame, as_ofs: Sequence[date], zone: str) -> DataFrame:
    """One row per `as_of` and user seen before it; the meaning of each column is in its contract."""
    end = F.to_utc_timestamp(F.col("as_of").cast("timestamp"), zone).cast("double")
    aged = (
        user_days(events, zone)
        .withColumn("as_of", F.explode(F.array(*[F.lit(day) for day in as_ofs])))
        .where("event_date < as_of")
        .withColumns({"days_ago": F.date_diff("as_of", "event_date"), "is_purchase_day": F.col("purchases") > 0})
    )

    def within(last: int) -> Column:
        return F.col("days_ago") <= last

    def days(condition: Column) -> Column:
        return F.count_if(condition).cast("double")

    def total(column: str, condition: Column | None = None) -> Column:
        chosen = F.col(column) if condition is None else F.when(condition, F.col(column))
        return F.coalesce(F.sum(chosen), F.lit(0)).cast("double")

    def union(column: str, condition: Column | None = None) -> Column:
        chosen = F.col(column) if condition is None else F.when(condition, F.col(column))
        return F.array_distinct(F.flatten(F.collect_list(chosen)))

    def size(array: Column) -> Column:
        return F.size(array).cast("double")

    bought = F.col("is_purchase_day")
    summed = aged.groupBy("as_of", "user_key").agg(
        F.max("last_ts").cast("double").alias("last_s"),
        F.max("purchase_ts").cast("double").alias("purchase_s"),
        F.min("first_ts").cast("double").alias("first_s"),
        size(union("orders")).alias("frequency"),
        total("net").alias("monetary"),
        total("gross").alias("gross"),
        size(union("orders", within(14))).alias("orders_14d"),
        size(union("orders", within(30))).alias("orders_30d"),
        size(union("orders", within(60))).alias("orders_60d"),
        total("net", within(30)).alias("spend_30d"),
        days(bought).alias("purchase_days"),
        F.max(F.when(bought, F.col("days_ago"))).alias("first_purchase_days_ago"),
        F.min(F.when(bought, F.col("days_ago"))).alias("last_purchase_days_ago"),
        days(within(7)).alias("active_days_7d"),
        days(within(15)).alias("active_days_15d"),
        days(within(30)).alias("active_days_30d"),
        days(within(90)).alias("active_days_90d"),
        *[total(name, within(30)).alias(f"{name}_30d") for name in ("views", "carts", "favourites", "searches")],
        union("carted_items", within(30)).alias("carted"),
        union("bought_items", within(30)).alias("bought"),
        size(union("categories", within(30))).alias("categories_30d"),
        size(union("bought_items")).alias("items_bought"),
        total("returns", within(60)).alias("returns_60d"),
        total("returns").alias("return_lines"),
        total("purchases").alias("purchase_lines"),
        F.try_divide(total("stars"), total("starred")).alias("stars_mean"),
        F.max("last_stars")["stars"].alias("stars_last"),
        total("events", F.weekday("event_date") >= 5).alias("weekend_events"),
        total("evening_events").alias("evening_events"),
        total("events").alias("all_events"),
    )
    interval = (F.col("first_purchase_days_ago") - F.col("last_purchase_days_ago")) / (F.col("purchase_days") - 1)
    return summed.withColumns(
        {
            "days_since_activity": (end - F.col("last_s")) / DAY_SECONDS,
            "recency_days": (end - F.col("purchase_s")) / DAY_SECONDS,
            "tenure_days": (end - F.col("first_s")) / DAY_SECONDS,
            "order_value_mean": F.try_divide("gross", "frequency"),
            "orders_trend": F.lit(2.0) * F.col("orders_30d") - F.col("orders_60d"),
            "purchase_interval_days": F.when(F.col("purchase_days") >= 2, interval),
            "activity_trend": F.lit(2.0) * F.col("active_days_15d") - F.col("active_days_30d"),
            "cart_abandonment_30d": F.try_divide(size(F.array_except("carted", "bought")), size(F.col("carted"))),
            "return_rate": F.try_divide("return_lines", "purchase_lines"),
            "weekend_share": F.col("weekend_events") / F.col("all_events"),
            "evening_share": F.col("evening_events") / F.col("all_events"),
        }
    ).withColumn("recency_to_interval", F.try_divide("recency_days", "purchase_interval_days"))


def item_features(events: DataFrame, as_of: date, durable_categories: Sequence[str]) -> DataFrame:
    """One row per item named before `as_of`."""
    bought, days_ago = is_type("purchase"), F.date_diff(F.lit(as_of), "event_date")

    def last(column: str, condition: Column) -> Column:
        return F.max(F.when(condition, F.struct("event_ts", "event_id", column)))[column]

    named = events.where(F.col("item_id").isNotNull() & (F.col("event_date") < F.lit(as_of)))
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
        events.where(F.col("event_date") < F.lit(as_of))
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


def retention_metrics(events: DataFrame, as_of: date, business_date: date) -> DataFrame:
    """One row per whole week before `as_of`; every rate by the formula in its contract."""
    seen = events.where(F.col("event_date") < F.lit(as_of)).withColumn(
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
    return not_customers(events, as_of, **source.not_customers.model_dump()).withColumn("as_of", F.lit(as_of))


def count_by_rule(excluded: DataFrame) -> dict[str, int]:
    """How many users each rule excludes, and `users`, all of them; a row a rule reaches the driver."""
    counted = excluded.rollup("rule").agg(F.count_distinct("user_key").alias("users")).collect()
    found = {row["rule"] or "users": row["users"] for row in counted}
    return {"users": 0} | dict(sorted(found.items()))  # a rollup of no rows has no total


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
    as_ofs = [as_of]
    if context.this_run.plan["train"]:
        as_ofs += past_cutoffs(context, as_of)
    night.store(context, USER_FEATURES, user_features(events, as_ofs, source.time_zone))
    tonight = night.read(context, USER_FEATURES).where(F.col("as_of") == F.lit(as_of))
    night.store(context, ITEM_FEATURES, item_features(events, as_of, source.recommend.durable_categories))
    night.store(context, EXCLUDED_USERS, excluded_users(events, as_of, source))
    excluded = night.read(context, EXCLUDED_USERS)
    profiles = user_profiles(tonight, events, excluded, as_of, context.business_date, source)
    night.store(context, USER_PROFILES, profiles)
    night.store(context, RETENTION_METRICS, retention_metrics(events, as_of, context.business_date))
    context.detail["as_ofs"] = [day.isoformat() for day in as_ofs]
    context.detail["excluded"] = count_by_rule(excluded)
    context.log.info("excluded %s", json.dumps(context.detail["excluded"]))


if __name__ == "__main__":
    main(run, "build_features")
