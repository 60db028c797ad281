"""What is known of a user at an instant from the events of before: counts, money, habits, and what is to be expected.

Events are a frame with the columns of the contract `events`; what each feature means is told by that of
`user_features`. The log is read once for all cut-offs: it is first summed by user and local day.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date

import numpy as np
import pandas as pd  # not for type checking alone: Spark reads the hints of a pandas function
from numpy.typing import NDArray
from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as F
from pyspark.sql.pandas.functions import pandas_udf

from rekindle.methods import activity, purchase_summaries
from rekindle.methods.buy_till_you_die import Buyers, Model

DAY_SECONDS = 86_400
# Sums of money are exact decimals, so that the order in which rows meet changes no digit.
MONEY = "decimal(28,4)"
SUMMARY = purchase_summaries.TIMES


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
    """One row per user and local day with any event: what every cut-off's features are summed from.

    The log is read once, however many cut-offs there are; a user's day is a few hundred bytes.
    """
    # What passes between shop and user neither makes a user active nor keeps one; of it the last contact alone counts.
    acted = activity.acted()
    events = events.withColumns({name: F.when(acted, F.col(name)) for name in ("stars", "category", "session_id")})
    bought, starred = is_type("purchase"), F.col("stars").isNotNull()
    counts = {
        "views": ("view",),
        "carts": ("cart",),
        "favourites": ("favourite",),
        "searches": ("search",),
        "returns": ("return",),
        "reviews": ("review", "rating"),
    }
    hour = F.hour(F.from_utc_timestamp("event_ts", zone))
    return events.groupBy("user_key", "event_date").agg(
        F.count_if(acted).alias("events"),
        F.count_if(acted & (hour >= 18)).alias("evening_events"),
        F.count_if(acted & (hour < 6)).alias("night_events"),
        F.count_if(acted & (hour >= 6) & (hour < 12)).alias("morning_events"),
        F.min(F.when(acted, F.col("event_ts"))).alias("first_ts"),
        F.max(F.when(acted, F.col("event_ts"))).alias("last_ts"),
        F.max(F.when(bought, F.col("event_ts"))).alias("purchase_ts"),
        F.count_if(bought).alias("purchases"),
        *[F.count_if(is_type(*kinds)).alias(name) for name, kinds in counts.items()],
        F.max(F.when(is_type("contact"), F.col("event_ts"))).alias("contact_ts"),
        F.sum(amount()).alias("net"),
        F.sum(F.when(bought, amount())).alias("gross"),
        F.count_if(starred).alias("starred"),
        F.sum(F.col("stars").cast(MONEY)).alias("stars"),
        F.max(F.when(starred, F.struct("event_ts", "event_id", "stars"))).alias("last_stars"),
        F.collect_set(F.when(bought, order_key())).alias("orders"),
        F.collect_set(F.when(bought, F.col("item_id"))).alias("bought_items"),
        F.collect_set(F.when(is_type("cart"), F.col("item_id"))).alias("carted_items"),
        F.collect_set("category").alias("categories"),
        F.collect_set("session_id").alias("sessions"),
        F.count("session_id").alias("session_events"),
    )


def discounts(events: DataFrame) -> DataFrame:
    """By user and local day with a priced purchase: `discount`, summed over its `priced` lines.

    A line's discount is the part by which its price lies below the highest that anybody paid for the item on or before
    that day, 0 to 1: what the shop asks for its items is not logged, and a later, higher price is not known yet.
    """
    priced = events.where(is_type("purchase") & (F.col("unit_price") > 0) & F.col("item_id").isNotNull())
    so_far = Window.partitionBy("item_id").orderBy("event_date").rowsBetween(Window.unboundedPreceding, 0)
    highest = (
        priced.groupBy("item_id", "event_date")
        .agg(F.max("unit_price").alias("of_day"))
        .select("item_id", "event_date", F.max("of_day").over(so_far).alias("highest"))
    )
    below = (F.lit(1.0) - F.col("unit_price") / F.col("highest")).cast(MONEY)
    return (
        priced.select("user_key", "item_id", "event_date", "unit_price")
        .join(highest, ["item_id", "event_date"])
        .groupBy("user_key", "event_date")
        .agg(F.sum(below).alias("discount"), F.count(F.lit(1)).alias("priced"))
    )


def observed_features(events: DataFrame, as_ofs: Sequence[date], zone: str) -> DataFrame:
    """One row per `as_of` and user seen before it: every feature that is counted from the user's own events."""
    end = F.to_utc_timestamp(F.col("as_of").cast("timestamp"), zone).cast("double")
    aged = (
        user_days(events, zone)
        .join(discounts(events), ["user_key", "event_date"], "left")
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

    bought, active = F.col("is_purchase_day"), F.col("events") > 0
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
        size(union("orders", within(90))).alias("orders_90d"),
        total("net", within(30)).alias("spend_30d"),
        total("net", within(60)).alias("spend_60d"),
        total("net", within(90)).alias("spend_90d"),
        days(bought).alias("purchase_days"),
        F.max(F.when(bought, F.col("days_ago"))).alias("first_purchase_days_ago"),
        F.min(F.when(bought, F.col("days_ago"))).alias("last_purchase_days_ago"),
        F.sort_array(F.collect_list(F.when(bought, F.col("days_ago")))).alias("purchase_days_ago"),
        days(active & within(7)).alias("active_days_7d"),
        days(active & within(15)).alias("active_days_15d"),
        days(active & within(30)).alias("active_days_30d"),
        days(active & within(90)).alias("active_days_90d"),
        *[total(name, within(30)).alias(f"{name}_30d") for name in ("views", "carts", "favourites", "searches")],
        total("views", within(60)).alias("views_60d"),
        total("reviews", within(90)).alias("reviews_90d"),
        union("carted_items", within(30)).alias("carted"),
        union("bought_items", within(30)).alias("bought"),
        size(union("categories", within(30))).alias("categories_30d"),
        size(union("categories")).alias("categories_ever"),
        size(union("sessions")).alias("sessions"),
        size(union("sessions", within(30))).alias("sessions_30d"),
        total("session_events", within(30)).alias("session_events_30d"),
        F.try_divide(total("discount", within(90)), total("priced", within(90))).alias("discount_mean_90d"),
        size(union("bought_items")).alias("items_bought"),
        total("returns", within(60)).alias("returns_60d"),
        total("returns").alias("return_lines"),
        total("purchases").alias("purchase_lines"),
        F.try_divide(total("stars"), total("starred")).alias("stars_mean"),
        F.max("last_stars")["stars"].alias("stars_last"),
        total("events", F.weekday("event_date") >= 5).alias("weekend_events"),
        *[total(f"{part}_events").alias(f"{part}_events") for part in ("evening", "night", "morning")],
        F.max("contact_ts").cast("double").alias("contact_s"),
        total("events").alias("all_events"),
    )
    span = (F.col("first_purchase_days_ago") - F.col("last_purchase_days_ago")).cast("double")
    repeats = F.when(F.col("purchase_days") > 0, F.col("purchase_days") - 1)
    has_visits = F.col("sessions") > 0
    ago = F.col("purchase_days_ago")
    # The shorter array ends first, and what stands against nothing is no interval.
    steps = F.zip_with(F.slice(ago, F.lit(2), F.size(ago)), ago, lambda far, near: far - near)
    squares = F.aggregate("intervals", F.lit(0), lambda so_far, days: so_far + days * days)
    mean = F.try_divide(span, repeats)
    spread = F.sqrt(F.greatest(F.lit(0.0), F.try_divide(squares, repeats) - mean * mean))
    seen = summed.where("last_s IS NOT NULL").withColumn("intervals", F.filter(steps, lambda days: days.isNotNull()))
    return seen.withColumns(
        {
            "days_since_activity": (end - F.col("last_s")) / DAY_SECONDS,
            "recency_days": (end - F.col("purchase_s")) / DAY_SECONDS,
            "tenure_days": (end - F.col("first_s")) / DAY_SECONDS,
            "order_value_mean": F.try_divide("gross", "frequency"),
            "orders_trend": F.lit(2.0) * F.col("orders_30d") - F.col("orders_60d"),
            "purchase_interval_days": F.when(repeats >= 1, mean),
            "interval_deviation_days": F.when(repeats >= 2, spread),
            "interval_longest_days": F.array_max("intervals").cast("double"),
            "repeat_purchase_days": repeats,
            "repeat_span_days": span,
            "customer_age_days": F.col("first_purchase_days_ago").cast("double"),
            "purchase_value_mean": F.when(repeats.isNotNull(), F.try_divide("monetary", "purchase_days")),
            "spend_trend": F.lit(2.0) * F.col("spend_30d") - F.col("spend_60d"),
            "views_trend": F.lit(2.0) * F.col("views_30d") - F.col("views_60d"),
            "sessions_30d": F.when(has_visits, F.col("sessions_30d")),
            "session_actions_30d": F.try_divide("session_events_30d", "sessions_30d"),
            "return_value_share": F.try_divide(
                F.col("gross") - F.col("monetary"), F.when(F.col("gross") > 0, F.col("gross"))
            ),
            "activity_trend": F.lit(2.0) * F.col("active_days_15d") - F.col("active_days_30d"),
            "cart_abandonment_30d": F.try_divide(size(F.array_except("carted", "bought")), size(F.col("carted"))),
            "return_rate": F.try_divide("return_lines", "purchase_lines"),
            "weekend_share": F.col("weekend_events") / F.col("all_events"),
            **{
                f"{part}_share": F.col(f"{part}_events") / F.col("all_events")
                for part in ("evening", "night", "morning")
            },
            "days_since_contact": (end - F.col("contact_s")) / DAY_SECONDS,
        }
    ).withColumns(
        {
            "recency_to_interval": F.try_divide("recency_days", "purchase_interval_days"),
            "recency_to_longest": F.try_divide("recency_days", "interval_longest_days"),
        }
    )


def with_outlook(observed: DataFrame, as_ofs: Sequence[date], gap_days: int, horizon_days: int) -> DataFrame:
    """The features with `expected_purchases` and `no_purchase_probability` of the outcome window.

    Each cut-off has a model of its own, fitted on what was known then. Persist `observed`: it is read once a cut-off.
    """
    models = {day: purchase_summaries.rhythm(observed.where(F.col("as_of") == F.lit(day))) for day in as_ofs}

    def outlook(as_of: pd.Series, repeats: pd.Series, last: pd.Series, age: pd.Series) -> pd.DataFrame:
        said = pd.DataFrame(np.nan, index=as_of.index, columns=["expected_purchases", "no_purchase_probability"])
        for day, model in models.items():
            rows = ((as_of == day) & repeats.notna()).to_numpy()
            if model is None or not rows.any():
                continue
            summaries = pd.DataFrame(dict(zip(SUMMARY, (repeats[rows], last[rows], age[rows]), strict=True)))
            said.loc[rows] = np.stack(expected(model, summaries, gap_days, horizon_days), axis=1)
        return said

    names = ("expected_purchases", "no_purchase_probability")
    said = pandas_udf(outlook, ", ".join(f"{name} double" for name in names))  # type: ignore[call-overload]
    told = observed.withColumn("outlook", said("as_of", *SUMMARY))
    # What pandas gives as NaN is null in a table.
    return told.withColumns({n: F.nanvl(F.col(f"outlook.{n}"), F.lit(None).cast("double")) for n in names})


def expected(
    model: Model, frame: pd.DataFrame, gap_days: int, horizon_days: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """(purchase days expected in (gap, gap + horizon], probability of none there), each [users].

    The frame has the columns of SUMMARY, without nulls.
    """
    kinds, row = Buyers.grouped(*(frame[name].to_numpy(dtype=np.float64) for name in SUMMARY))
    within = model.expected(kinds, gap_days + horizon_days) - model.expected(kinds, gap_days)
    return within[row], np.clip(model.none_within(kinds, horizon_days, gap_days), 0.0, 1.0)[row]


def user_features(events: DataFrame, as_ofs: Sequence[date], zone: str, gap_days: int, horizon_days: int) -> DataFrame:
    """One row per `as_of` and user seen before it; the meaning of each column is in its contract."""
    observed = observed_features(events, as_ofs, zone).persist()
    return with_outlook(observed, as_ofs, gap_days, horizon_days)
