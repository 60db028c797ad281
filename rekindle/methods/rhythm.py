"""When a user is there: runs of days, the silences between them, the time of day, the weekday, and by what they come.

Events are a frame with user_key, event_ts, event_date and channel, of what users did before `as_of`; nothing else is
assumed. `event_date` is the shop's local day.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from datetime import date, timedelta
from typing import TYPE_CHECKING

from rekindle.methods.life_cycle import Rule

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame

PARTS = 1_000_000_000  # of a unit vector: sums of whole parts are the same in every order
NOWHERE = 1e-6  # hours that cancel out to less point nowhere
HOURS = 24


def rhythm(events: DataFrame, as_of: date, zone: str, rule: Rule) -> DataFrame:
    """By user: usual_interval_days, current_streak_days, longest_streak_days, usual_hour, usual_hour_strength,
    usual_weekday, usual_weekday_share and life_cycle."""
    from pyspark.sql import functions as F

    hour = F.hour(F.from_utc_timestamp("event_ts", zone)) + 1
    by_hour = events.select("user_key", "event_date", hour.alias("hour")).distinct()
    east, north = _directions(math.sin), _directions(math.cos)
    weekdays = F.transform("days", F.weekday)
    days, yesterday = F.col("days"), F.lit(as_of - timedelta(days=1))
    seen = by_hour.groupBy("user_key").agg(
        F.array_sort(F.collect_set("event_date")).alias("days"),
        F.count(F.lit(1)).alias("hours"),
        F.sum(F.element_at(east, F.col("hour"))).alias("east"),
        F.sum(F.element_at(north, F.col("hour"))).alias("north"),
    )
    length = F.hypot(F.col("east").cast("double"), F.col("north").cast("double")) / (F.col("hours") * PARTS)
    angle = F.atan2(F.col("east").cast("double"), F.col("north").cast("double")) * (HOURS / (2 * math.pi))
    told = seen.withColumns(
        {
            "gaps": gaps(days),
            "weekdays": F.array(*[F.size(days) - F.size(F.array_remove(weekdays, day)) for day in range(7)]),
            "usual_hour_strength": F.least(F.round(length, 9), F.lit(1.0)),
            "silent_days": F.date_diff(yesterday, F.array_max(days)),
            "known_days": F.date_diff(yesterday, F.array_min(days)),
        }
    ).withColumns({"usual_interval_days": median(F.col("gaps")), "runs": runs(F.col("gaps"))})
    back = back_days(days, F.col("gaps"), rule.lapsed.limit(F.col("usual_interval_days")), yesterday)
    return told.select(
        "user_key",
        "usual_interval_days",
        F.when(F.col("silent_days") == 0, F.col("runs.last")).otherwise(0).cast("int").alias("current_streak_days"),
        F.col("runs.longest").cast("int").alias("longest_streak_days"),
        F.when(F.col("usual_hour_strength") > NOWHERE, F.pmod(F.round(angle, 6), F.lit(float(HOURS)))).alias(
            "usual_hour"
        ),
        "usual_hour_strength",
        F.array_position("weekdays", F.array_max("weekdays")).cast("int").alias("usual_weekday"),
        (F.array_max("weekdays") / F.size(days)).alias("usual_weekday_share"),
        rule.stage(F.col("silent_days"), F.col("known_days"), F.col("usual_interval_days"), back).alias("life_cycle"),
    )


def gaps(days: Column) -> Column:
    """Days from each active day to the next, of sorted distinct days; empty where there is one."""
    from pyspark.sql import functions as F

    earlier = F.slice(days, F.lit(1), F.size(days) - 1)
    later = F.slice(days, F.lit(2), F.size(days) - 1)
    return F.zip_with(later, earlier, lambda after, before: F.date_diff(after, before))


def median(values: Column) -> Column:
    """The median of an array, double: of an even number the mean of the middle two; null of none."""
    from pyspark.sql import functions as F

    ordered, count = F.array_sort(values), F.size(values)
    low = F.get(ordered, F.floor((count - 1) / 2).cast("int"))
    high = F.get(ordered, F.floor(count / 2).cast("int"))
    return F.when(count > 0, (low + high) / F.lit(2.0))


def runs(between: Column) -> Column:
    """`longest` and `last`: days of the longest and of the last run of days in a row, by the gaps between days."""
    from pyspark.sql import functions as F

    def longer(so_far: Column, gap: Column) -> Column:
        last = F.when(gap == 1, so_far["last"] + 1).otherwise(1)
        return F.struct(F.greatest(so_far["longest"], last).alias("longest"), last.alias("last"))

    return F.aggregate(between, F.struct(F.lit(1).alias("longest"), F.lit(1).alias("last")), longer)


def back_days(days: Column, between: Column, limit: Column, until: Column) -> Column:
    """Days from the latest return to `until`: of the last active day before which there was a silence of `limit` days
    or more, told as of the day before it; null where there was none."""
    from pyspark.sql import functions as F

    ended = F.zip_with(
        F.slice(days, F.lit(2), F.size(days) - 1), between, lambda day, gap: F.when(gap - 1 >= limit, day)
    )
    return F.date_diff(until, F.array_max(ended))


def usual_channel(events: DataFrame) -> DataFrame:
    """By user whose actions name any: usual_channel and usual_channel_share; of equals the first by name."""
    from pyspark.sql import functions as F

    counted = (
        events.where(F.col("channel").isNotNull()).groupBy("user_key", "channel").agg(F.count(F.lit(1)).alias("n"))
    )
    best = counted.groupBy("user_key").agg(
        F.min(F.struct((-F.col("n")).alias("less"), "channel")).alias("first"), F.sum("n").alias("all")
    )
    return best.select(
        "user_key",
        F.col("first.channel").alias("usual_channel"),
        (-F.col("first.less") / F.col("all")).alias("usual_channel_share"),
    )


def _directions(part: Callable[[float], float]) -> Column:
    """Where the middle of each hour points on a round dial, in whole parts of a unit vector."""
    from pyspark.sql import functions as F

    turn = [2 * math.pi * (hour + 0.5) / HOURS for hour in range(HOURS)]
    return F.array(*[F.lit(round(PARTS * part(angle))).cast("bigint") for angle in turn])
