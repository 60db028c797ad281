"""What every user did, by item, as of an instant: the frames that recommenders learn from and that lists are made of.

Events are a frame with user_key, item_id, event_type, event_ts, event_date and category; nothing else is assumed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

import numpy as np
from numpy.typing import NDArray

from rekindle.methods.decay import decayed_sum, event_weight
from rekindle.methods.dense_ids import dense_ids, sorted_keys
from rekindle.methods.interactions import Interactions
from rekindle.methods.popularity import popularity_frame

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame

# 2 million item ids of 20 characters are 40 MB on the driver, and their rank-64 factors 512 MB on each worker.
MOST_ITEMS = 2_000_000
# A user's taste, entry by entry, by item; `bought_…` are of purchases alone (0 and NaN where there was none).
ENTRIES = (
    *("item", "strength", "weight", "last_days", "times", "interval_days"),
    *("bought_last_days", "bought_times", "bought_interval_days"),
)


@dataclass(frozen=True)
class Counting:
    """How events count: weights of their types, how they age, and what is current. Windows in days."""

    event_weights: Mapping[str, float]
    half_life_days: float
    popularity_days: int
    catalogue_days: int
    durable_categories: Sequence[str]


@dataclass(frozen=True)
class Prepared:
    """Everything that lists are made of, as of an instant.

    Attributes:
        catalogue: item ids, sorted; an item's index is its place.
        events: one row an event with a weight: user_key, item int, event_type, weight, age_days.
        strengths: one row a (user_key, item int, strength double): faded sums above 0, what Spark's ALS learns from.
        tastes: one row a user seen: user_key, an array for each of ENTRIES (all of one length, by item; empty for a
            user without taste), active_days and purchase_days double (days with an event of weight, and with a
            purchase), blocked array<int> (durables already bought; null: none).
        eligible: bool [items], whether the item was seen within the catalogue window.
        popularity: float64 [items], decayed purchases within the popularity window; 0 without.
    """

    catalogue: list[str]
    events: DataFrame
    strengths: DataFrame
    tastes: DataFrame
    eligible: NDArray[np.bool_]
    popularity: NDArray[np.float64]


def prepare(
    events: DataFrame, as_of: date, zone: ZoneInfo, counting: Counting, heard: DataFrame | None = None
) -> Prepared:
    """What is known at `as_of`: events on that local day or later are not looked at.

    `heard` are those of the events that decide what is popular and what is current: all of them where it is None.
    The catalogue and two numbers an item reach the driver; users never do.
    """
    from pyspark.sql import functions as F

    instant = F.lit(datetime.combine(as_of, time(), tzinfo=zone).timestamp())

    def before(log: DataFrame) -> DataFrame:
        age = (instant - F.col("event_ts").cast("double")) / 86_400
        return log.where(F.col("event_date") < F.lit(as_of)).withColumn("age_days", age)

    seen = before(events)
    named = seen.where("item_id IS NOT NULL")
    counted = named if heard is None else before(heard).where("item_id IS NOT NULL")
    catalogue = sorted_keys(named, "item_id", MOST_ITEMS)
    spark = events.sparkSession
    index = F.broadcast(
        spark.createDataFrame([(k, n) for n, k in enumerate(catalogue)], "item_id string, item int").persist()
    )
    indexed = named.withColumn("weight", event_weight(F.col("event_type"), counting.event_weights)).join(
        index, "item_id"
    )
    weighted = indexed.where("weight IS NOT NULL").select("user_key", "item", "event_type", "weight", "age_days")
    pairs = pairs_of(weighted, counting.half_life_days)
    blocked = (
        indexed.where(
            (F.col("event_type") == "purchase")
            & F.coalesce(F.col("category").isin(*counting.durable_categories), F.lit(False))
        )
        .groupBy("user_key")
        .agg(F.array_sort(F.collect_set("item")).alias("blocked"))
    )
    taste = pairs.groupBy("user_key").agg(
        F.array_sort(F.collect_list(F.struct(*ENTRIES))).alias("taste"),
        *(
            F.size(F.array_distinct(F.flatten(F.collect_list(days)))).cast("double").alias(name)
            for name, days in (("active_days", "days"), ("purchase_days", "bought_days"))
        ),
    )
    types = dict.fromkeys(ENTRIES, "array<double>") | {"item": "array<int>"}
    tastes = (
        seen.select("user_key")
        .distinct()
        .join(taste, "user_key", "left")
        .join(blocked, "user_key", "left")
        .select(
            "user_key",
            *(F.coalesce(f"taste.{name}", F.array().cast(kind)).alias(name) for name, kind in types.items()),
            *(F.coalesce(name, F.lit(0.0)).alias(name) for name in ("active_days", "purchase_days")),
            "blocked",
        )
    )
    place = {item: n for n, item in enumerate(catalogue)}
    eligible = np.zeros(len(catalogue), dtype=np.bool_)
    first_day = as_of - timedelta(days=counting.catalogue_days)
    for row in counted.where(F.col("event_date") >= F.lit(first_day)).select("item_id").distinct().toLocalIterator():
        eligible[place[row.item_id]] = True
    popular = popularity_frame(
        counted.where("event_type = 'purchase'").withColumn("weight", F.lit(1.0)),
        item="item_id",
        age_days="age_days",
        weight="weight",
        window_days=counting.popularity_days,
        half_life_days=counting.half_life_days,
    )
    popularity = np.zeros(len(catalogue))
    for row in popular.toLocalIterator():
        popularity[place[row.item_id]] = row.popularity
    strengths = pairs.where("strength > 0").select("user_key", "item", "strength")
    return Prepared(catalogue, weighted, strengths, tastes, eligible, popularity)


def pairs_of(weighted: DataFrame, half_life_days: float) -> DataFrame:
    """One row a (user_key, item) of events with a weight: ENTRIES, and `days` and `bought_days` (those with an event
    and with a purchase, counted back).

    `strength` is the faded sum of weights and `weight` the plain one; the rest is what `interactions.Past` says of the
    pair: of all its events, and of its purchases alone.
    """
    from pyspark.sql import functions as F

    day = F.floor("age_days")
    bought = F.col("event_type") == "purchase"

    def interval(days: str) -> Column:
        gaps = F.size(days) - 1
        return F.when(gaps > 0, (F.array_max(days) - F.array_min(days)) / gaps).otherwise(F.lit(float("nan")))

    return (
        weighted.groupBy("user_key", "item")
        .agg(
            decayed_sum(F.col("weight"), F.col("age_days"), half_life_days).alias("strength"),
            decayed_sum(F.col("weight"), F.lit(0.0), 1.0).alias("weight"),
            F.min("age_days").alias("last_days"),
            F.count(F.lit(1)).cast("double").alias("times"),
            F.collect_set(day).alias("days"),
            F.coalesce(F.min(F.when(bought, F.col("age_days"))), F.lit(float("nan"))).alias("bought_last_days"),
            F.count_if(bought).cast("double").alias("bought_times"),
            F.collect_set(F.when(bought, day)).alias("bought_days"),
        )
        .where("weight > 0")
        .withColumn("interval_days", interval("days"))
        .withColumn("bought_interval_days", interval("bought_days"))
    )


def interactions(events: DataFrame, users: DataFrame, n_items: int) -> Interactions:
    """Events with a weight above 0 as arrays on the driver, for methods that learn in memory: 100 bytes a row while it
    is read, 32 afterwards. `users` is `numbered`. Who calls this has counted the rows against a stated budget.
    """
    from pyspark.sql import functions as F

    rows = (
        events.join(users, "user_key").select("user", "item", F.col("weight").alias("strength"), "age_days").toArrow()
    )
    found = {name: rows.column(name).to_numpy() for name in rows.column_names}
    user, item = found["user"].astype(np.int64), found["item"].astype(np.int64)
    # Rows come in the order of a shuffle: sorted, the same events are the same arrays.
    order = np.lexsort((found["strength"], found["age_days"], item, user))
    strength, age = found["strength"][order], found["age_days"][order]
    return Interactions(user[order], item[order], strength, age, int(user.max(initial=-1)) + 1, n_items)


def numbered(frame: DataFrame) -> DataFrame:
    """user_key and user: dense ids of the users of a frame."""
    return dense_ids(frame, "user_key", "user")
