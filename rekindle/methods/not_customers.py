"""Who is taken for a machine or a test account: found by declared rules, and left out of what models learn from.

Nothing is deleted: events, lists and scores of such users stay. Events are a frame with user_key, item_id, event_ts,
event_date and flags; nothing else is assumed.
"""

from __future__ import annotations

from datetime import date, timedelta
from functools import reduce
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

BUSIEST_HOUR, SHARE, ONE_ITEM = RULES = ("events_in_an_hour", "share_of_events", "events_of_one_item")
# Before a flag's own id, so that no flag is taken for one of the rules.
FLAG = "flag_"
HOUR = 3_600_000_000  # microseconds


def not_customers(
    events: DataFrame,
    as_of: date,
    *,
    days: int,
    events_in_an_hour: int | None = None,
    share_of_events: float | None = None,
    events_of_one_item: int | None = None,
) -> DataFrame:
    """One row a user and rule met: user_key, rule, value, threshold (doubles; null for a flag).

    The three rules look at the last `days` local days before `as_of`; a rule that is None is not asked. A flag holds
    for good: one event before `as_of` that bears it is enough. Persist `events` first: they are read once a rule.
    """
    from pyspark.sql import functions as F

    seen = events.where(F.col("event_date") < F.lit(as_of))
    recent = seen.where(F.col("event_date") >= F.lit(as_of - timedelta(days=days)))
    found = [flagged(seen)]
    if events_in_an_hour is not None:
        found.append(busy(recent, events_in_an_hour))
    if share_of_events is not None:
        found.append(dominant(recent, share_of_events))
    if events_of_one_item is not None:
        found.append(monotonous(recent, events_of_one_item))
    return reduce(lambda so_far, more: so_far.unionByName(more), found)


def flagged(events: DataFrame) -> DataFrame:
    """Users with an event that bears a flag, a row for each flag; the value counts the events that bear it."""
    from pyspark.sql import functions as F

    return (
        events.where("flags IS NOT NULL")
        .select("user_key", F.explode(F.split("flags", ",")).alias("flag"))
        .groupBy("user_key", F.concat(F.lit(FLAG), "flag").alias("rule"))
        .agg(F.count(F.lit(1)).cast("double").alias("value"))
        .withColumn("threshold", F.lit(None).cast("double"))
    )


def busy(events: DataFrame, least: int) -> DataFrame:
    """Users with at least `least` events in some sixty minutes, wherever these begin; the value is the most of any.

    Each event adds one at its instant and takes it away an hour later, so the largest running sum is the fullest
    hour. Only users with so many events at all are summed, instants first: a machine's million events of 28 days are
    at most 40,000 rows where it logs whole minutes, and never more rows than events.
    """
    from pyspark.sql import Window
    from pyspark.sql import functions as F

    many = events.groupBy("user_key").agg(F.count(F.lit(1)).alias("events")).where(F.col("events") >= least)
    instants = (
        events.select("user_key", F.unix_micros("event_ts").alias("at"))
        .join(many.select("user_key"), "user_key", "left_semi")
        .groupBy("user_key", "at")
        .agg(F.count(F.lit(1)).alias("events"))
    )
    begins = F.struct("at", F.col("events").alias("change"))
    ends = F.struct((F.col("at") + HOUR).alias("at"), (-F.col("events")).alias("change"))
    # What ends at an instant goes before what begins there: events exactly an hour apart are not within one hour.
    in_order = Window.partitionBy("user_key").orderBy("at", "change").rowsBetween(Window.unboundedPreceding, 0)
    return (
        instants.select("user_key", F.inline(F.array(begins, ends)))
        .withColumn("within", F.sum("change").over(in_order))
        .groupBy("user_key")
        .agg(F.max("within").cast("double").alias("value"))
        .transform(met, BUSIEST_HOUR, least)
    )


def dominant(events: DataFrame, least: float) -> DataFrame:
    """Users who made at least the share `least` of all these events; the value is the share."""
    from pyspark.sql import functions as F

    whole = events.agg(F.count(F.lit(1)).cast("double").alias("whole"))
    return (
        events.groupBy("user_key")
        .agg(F.count(F.lit(1)).cast("double").alias("events"))
        .crossJoin(F.broadcast(whole))
        .select("user_key", (F.col("events") / F.col("whole")).alias("value"))
        .transform(met, SHARE, least)
    )


def monotonous(events: DataFrame, least: int) -> DataFrame:
    """Users with at least `least` events, all of them of one item; the value counts them."""
    from pyspark.sql import functions as F

    return (
        events.groupBy("user_key")
        .agg(
            F.count(F.lit(1)).cast("double").alias("value"),
            F.count("item_id").alias("named"),
            (F.min("item_id") == F.max("item_id")).alias("is_one_item"),
        )
        .where("is_one_item AND named = value")
        .transform(met, ONE_ITEM, least)
    )


def met(found: DataFrame, rule: str, least: float) -> DataFrame:
    """The users whose value reaches the threshold, as rows of `not_customers`."""
    from pyspark.sql import functions as F

    threshold = F.lit(float(least))
    return found.where(F.col("value") >= threshold).select(
        "user_key", F.lit(rule).alias("rule"), "value", threshold.alias("threshold")
    )


def customers(frame: DataFrame, excluded: DataFrame) -> DataFrame:
    """The rows of everybody but the users of `excluded`; both frames have user_key, and columns keep their order.

    A few excluded users are joined by broadcast, so that rows keep their places too: training on a shop without any
    gives the very same model, bit for bit.
    """
    return frame.join(excluded.select("user_key"), "user_key", "left_anti").select(*frame.columns)
