"""What is summed over the members of a group for the metrics of a day, a week or a month."""

from __future__ import annotations

from collections.abc import Mapping
from functools import reduce

from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as F

from rekindle.methods.retention_counted import COUNTS, MONEYS
from rekindle.methods.retention_members import MEMBER, member_rows
from rekindle.methods.retention_periods import GROUP_KINDS, UNITS, by_unit, shifted, starts

PERIOD = ("period_unit", "period_start", "group_kind", "group_name")
MONEY = "decimal(38,6)"
WINDOWS = {"change_7d": 7, "change_30d": 30}
# A day of one category is a handful of users, and a shop has thousands of categories.
BY_DAY = tuple(kind for kind in GROUP_KINDS if kind != "category")


def period_parts(rows: DataFrame, firsts: DataFrame, funnel_days: int) -> DataFrame:
    """What tonight's rows add to each sum of COUNTS and MONEYS, by PERIOD and not yet summed.

    `rows` are of `retention_days.rows_of`, `firsts` of `retention_members.firsts`; both are read several times.
    """
    parts = [_by_period(rows, funnel_days), _entering_and_leaving(rows), _beginning(firsts)]
    return reduce(DataFrame.unionByName, parts)


def summed(parts: DataFrame) -> DataFrame:
    """By PERIOD the totals of frames of such sums, of the periods where any is not 0."""
    names = (*COUNTS, *MONEYS)
    totals = parts.groupBy(*PERIOD).agg(
        *[F.sum(name).alias(name) for name in COUNTS], *[F.sum(name).cast(MONEY).alias(name) for name in MONEYS]
    )
    return totals.where(reduce(Column.__or__, [F.col(name) != 0 for name in names]))


def _signed(cells: DataFrame, values: Mapping[str, Column]) -> DataFrame:
    """By PERIOD the values times the member's sign; what is not named is 0."""
    columns = []
    for name in (*COUNTS, *MONEYS):
        kind = MONEY if name in MONEYS else "bigint"
        value = values[name].cast(kind) if name in values else F.lit(0).cast(kind)
        signed = F.when(F.col("sign") < 0, -value).otherwise(value) if name in values else value
        columns.append(signed.cast(kind).alias(name))
    return cells.select(*PERIOD, *columns)


def _reach(funnel_days: int) -> Column:
    """The first day whose figures a row of the day `since` can change: a purchase ends funnels that began before."""
    return F.date_sub("since", funnel_days - 1)


def _by_period(rows: DataFrame, funnel_days: int) -> DataFrame:
    """Who acted, stayed, went through the funnel and spent."""
    # The month before is what retention compares with; weeks and days lie within.
    needed = F.add_months(F.trunc(_reach(funnel_days), "month"), -1)
    told = ("view_ts", "cart_s", "purchase_ts", "orders", "gross", "returned")
    days = (
        member_rows(rows, needed, GROUP_KINDS, *told)
        .groupBy(*MEMBER, "event_date")
        .agg(
            F.min("view_ts").cast("double").alias("view_s"),
            F.flatten(F.collect_list("cart_s")).alias("cart_s"),
            F.max("purchase_ts").cast("double").alias("purchase_s"),
            F.flatten(F.collect_list("orders")).alias("orders"),
            F.sum("gross").alias("gross"),
            F.sum("returned").alias("returned"),
        )
        .withColumn("day", F.unix_date("event_date"))
    )
    ahead = Window.partitionBy(*MEMBER).orderBy("day").rangeBetween(0, funnel_days - 1)
    carts, last_purchase = F.col("carts_ahead"), F.col("purchase_ahead")
    steps = days.withColumns(
        {
            "carts_ahead": F.flatten(F.collect_list("cart_s").over(ahead)),
            "purchase_ahead": F.max("purchase_s").over(ahead),
        }
    ).withColumns(
        {
            "carted": F.exists(carts, lambda at: at >= F.col("view_s")),
            "carted_bought": F.exists(carts, lambda at: (at >= F.col("view_s")) & (at <= last_purchase)),
            "viewed_bought": last_purchase >= F.col("view_s"),
        }
    )
    of_unit = {unit: starts(unit, F.col("event_date")) for unit in UNITS}
    is_told = {unit: F.col("group_kind").isin(*BY_DAY) if unit == "day" else F.lit(True) for unit in UNITS}
    units = [
        F.when(is_told[unit], F.struct(F.lit(unit).alias("period_unit"), start.alias("period_start")))
        for unit, start in of_unit.items()
    ]
    owned = ("view_s", "purchase_s", "orders", "gross", "returned", "carted", "carted_bought", "viewed_bought")
    of_member = (
        steps.select(*MEMBER, *owned, F.explode(F.array_compact(F.array(*units))).alias("period"))
        .select(*MEMBER, *owned, "period.*")
        .groupBy(*MEMBER, "period_unit", "period_start")
        .agg(
            F.count(F.lit(1)).alias("active_days"),
            F.count("view_s").alias("view_days"),
            F.count("purchase_s").alias("purchase_days"),
            F.size(F.array_distinct(F.flatten(F.collect_list("orders")))).alias("orders"),
            *[F.count_if(F.col(flag)).alias(flag) for flag in ("carted", "carted_bought", "viewed_bought")],
            F.coalesce(F.sum("gross"), F.lit(0)).cast(MONEY).alias("gross"),
            F.coalesce(F.sum("returned"), F.lit(0)).cast(MONEY).alias("returned"),
        )
        .withColumn("net", (F.col("gross") - F.col("returned")).cast(MONEY))
    )
    in_order = Window.partitionBy(*MEMBER, "period_unit").orderBy("period_start")
    before = by_unit(lambda unit: shifted(unit, F.col("period_start"), -1))
    after = by_unit(lambda unit: shifted(unit, F.col("period_start"), 1))
    stayed = of_member.withColumn("is_retained", F.lag("period_start").over(in_order) == before).withColumn(
        "net_before", F.when(F.col("is_retained"), F.lag("net").over(in_order))
    )
    # What a member spent here is the base of the period after, whether or not anything is done there.
    is_spender = F.col("net") > 0
    here = F.struct(F.col("period_start").alias("start"), F.lit(True).alias("is_here"))
    next_one = F.struct(after.alias("start"), F.lit(False).alias("is_here"))
    cells = (
        stayed.withColumn("cell", F.explode(F.array_compact(F.array(here, F.when(is_spender, next_one)))))
        .withColumns({"period_start": F.col("cell.start"), "is_here": F.col("cell.is_here")})
        .where(F.col("period_start") >= by_unit(lambda unit: starts(unit, _reach(funnel_days))))
    )
    here_only = F.col("is_here")
    was_spender = F.col("net_before") > 0

    def one(condition: Column) -> Column:
        return F.when(here_only & condition, 1).otherwise(0)

    def money(value: Column) -> Column:
        return F.coalesce(F.when(here_only, value), F.lit(0))

    return _signed(
        cells,
        {
            "active_users": one(F.lit(True)),
            "retained_users": one(F.col("is_retained")),
            "active_days": F.when(here_only, F.col("active_days")).otherwise(0),
            "viewers": one(F.col("view_days") > 0),
            "funnel_carters": one(F.col("carted") > 0),
            "funnel_buyers": one(F.col("carted_bought") > 0),
            "view_buyers": one(F.col("viewed_bought") > 0),
            "buyers": one(F.col("purchase_days") > 0),
            "orders": F.when(here_only, F.col("orders")).otherwise(0),
            "gross": money(F.col("gross")),
            "returned": money(F.col("returned")),
            "base": F.when(~here_only, F.col("net")).otherwise(0),
            # `least` passes over nulls, so who was no spender is left out first.
            "kept_capped": money(F.when(was_spender, F.least("net", "net_before"))),
            "kept": money(F.when(was_spender, F.col("net"))),
        },
    )


def _entering_and_leaving(rows: DataFrame) -> DataFrame:
    """How many users the windows of 7 and 30 days win and lose, day by day.

    A day of activity keeps a user in a window for its length; the days on which the user enters and leaves say that
    with two cells where a count a day would take thirty.
    """
    days = member_rows(rows, F.date_sub("since", max(WINDOWS.values())), BY_DAY).select(*MEMBER, "event_date")
    in_order = Window.partitionBy(*MEMBER).orderBy("event_date")
    gaps = days.distinct().withColumns(
        {
            "idle": F.date_diff("event_date", F.lag("event_date").over(in_order)),
            "until_next": F.date_diff(F.lead("event_date").over(in_order), "event_date"),
        }
    )
    moves = []
    for name, length in WINDOWS.items():
        enters = F.col("idle").isNull() | (F.col("idle") > length)
        leaves = F.col("until_next").isNull() | (F.col("until_next") > length)
        for condition, day, change in (
            (enters, F.col("event_date"), 1),
            (leaves, F.date_add("event_date", length), -1),
        ):
            move = F.struct(day.alias("day"), *[F.lit(change if n == name else 0).alias(n) for n in WINDOWS])
            moves.append(F.when(condition, move))
    changes = (
        gaps.select(*MEMBER, F.explode(F.array_compact(F.array(*moves))).alias("move"))
        .select("*", "move.*")
        .where("day >= since")
        .withColumns({"period_unit": F.lit("day"), "period_start": F.col("day")})
    )
    return _signed(changes, {name: F.col(name) for name in WINDOWS})


def _beginning(firsts: DataFrame) -> DataFrame:
    """Who begins to act, to buy and to buy again."""
    begun = {"new_users": "first_day", "new_buyers": "first_order", "new_repeaters": "second_order"}
    cells = []
    for unit in UNITS:
        for name, day in begun.items():
            told = F.col(day).isNotNull()
            if unit == "day":
                told = told & F.col("group_kind").isin(*BY_DAY)
            cell = F.struct(
                F.lit(unit).alias("period_unit"),
                starts(unit, F.col(day)).alias("period_start"),
                *[F.lit(int(n == name)).alias(n) for n in begun],
            )
            cells.append(F.when(told, cell))
    begins = firsts.select(
        "sign", "group_kind", "group_name", F.explode(F.array_compact(F.array(*cells))).alias("cell")
    )
    return _signed(begins.select("*", "cell.*"), {name: F.col(name) for name in begun})
