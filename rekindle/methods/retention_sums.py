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
# What a member is counted for once a period, however often it is so there.
ONCE = {
    "active_users": "true",
    "viewers": "view_s IS NOT NULL",
    "funnel_carters": "carted",
    "funnel_buyers": "carted_bought",
    "view_buyers": "viewed_bought",
    "buyers": "purchase_s IS NOT NULL",
}


def period_parts(rows: DataFrame, firsts: DataFrame, funnel_days: int) -> DataFrame:
    """What tonight's rows add to each sum of COUNTS and MONEYS, by PERIOD; a period may come several times.

    `rows` are of `retention_days.rows_of`, `firsts` of `retention_members.firsts`; both are read several times.
    """
    parts = [
        _acting(rows, funnel_days),
        _ordering(rows, funnel_days),
        _spending(rows, funnel_days),
        _beginning(firsts),
    ]
    return reduce(DataFrame.unionByName, parts)


def summed(parts: DataFrame) -> DataFrame:
    """By PERIOD the totals of frames of such sums, of the periods where any is not 0."""
    names = (*COUNTS, *MONEYS)
    totals = parts.groupBy(*PERIOD).agg(
        *[F.sum(name).alias(name) for name in COUNTS], *[F.sum(name).cast(MONEY).alias(name) for name in MONEYS]
    )
    return totals.where(reduce(Column.__or__, [F.col(name) != 0 for name in names]))


def _added(cells: DataFrame, values: Mapping[str, Column]) -> DataFrame:
    """By PERIOD the sums of values times the member's sign; what is not named is 0.

    The other columns come after the sum, when few rows are left: decimals are slow.
    """

    def kind(name: str) -> str:
        return MONEY if name in MONEYS else "bigint"

    signed = {n: F.when(F.col("sign") < 0, -value).otherwise(value).cast(kind(n)) for n, value in values.items()}
    totals = cells.groupBy(*PERIOD).agg(*[F.sum(value).cast(kind(name)).alias(name) for name, value in signed.items()])
    others = {name: F.lit(0).cast(kind(name)) for name in (*COUNTS, *MONEYS) if name not in values}
    return totals.withColumns(others).select(*PERIOD, *COUNTS, *MONEYS)


def _reach(funnel_days: int) -> Column:
    """The first day whose figures a row of the day `since` can change: a purchase ends funnels that began before."""
    return F.date_sub("since", funnel_days - 1)


def _first_needed(funnel_days: int) -> Column:
    """The first day of which rows are needed: retention compares with the month before, in which weeks and days lie."""
    month_before = F.add_months(F.trunc(_reach(funnel_days), "month"), -1)
    return F.least(month_before, F.date_sub("since", max(WINDOWS.values())))


def _in_reach(funnel_days: int) -> Column:
    """Whether the row's period is one whose sums can change; days of categories are not told."""
    has_days = (F.col("period_unit") != "day") | F.col("group_kind").isin(*BY_DAY)
    return has_days & (F.col("period_start") >= by_unit(lambda unit: starts(unit, _reach(funnel_days))))


def _acting(rows: DataFrame, funnel_days: int) -> DataFrame:
    """Who acted, stayed and went through the funnel; how many users the windows of 7 and 30 days win and lose.

    A member counts once a period: on the first day in it on which something is so. That needs the day on which it was
    so before, and no gathering of periods. A day of activity keeps a user in a window for its length; the days on
    which the user enters and leaves say that with two cells where a count a day would take thirty.
    """
    day = F.col("event_date")
    in_order = Window.partitionBy(*MEMBER).orderBy("day")
    before = in_order.rowsBetween(Window.unboundedPreceding, -1)
    placed = (
        _funnel_days(rows, funnel_days)
        .withColumns(
            {f"{n}_before": F.last(F.when(F.expr(is_so), day), True).over(before) for n, is_so in ONCE.items()}
        )
        .withColumn("next_day", F.lead("event_date").over(in_order))
    )

    def cell(unit: str, later: int) -> Column:
        return F.struct(F.lit(unit).alias("period_unit"), F.lit(later).alias("later"))

    until_next = F.date_diff("next_day", day)
    leaving = [F.when(until_next.isNull() | (until_next > length), cell("day", length)) for length in WINDOWS.values()]
    cells = (
        placed.withColumn("cell", F.explode(F.array(*[cell(unit, 0) for unit in UNITS], *leaving)))
        .where("cell IS NOT NULL")
        .withColumns({"period_unit": F.col("cell.period_unit"), "later": F.col("cell.later")})
        .withColumn("period_start", F.date_add(by_unit(lambda unit: starts(unit, day)), F.col("later")))
        .where(_in_reach(funnel_days))
    )
    is_here, start = F.col("later") == 0, F.col("period_start")

    def period_of(name: str) -> Column:
        return by_unit(lambda unit: starts(unit, F.col(name)))

    def one(condition: Column) -> Column:
        return F.when(condition, 1).otherwise(0)

    once = {n: one(is_here & F.expr(is_so) & ~period_of(f"{n}_before").eqNullSafe(start)) for n, is_so in ONCE.items()}
    last = period_of("active_users_before")
    follows = last == by_unit(lambda unit: shifted(unit, start, -1))
    idle = F.date_diff(day, "active_users_before")
    comes = is_here & (F.col("period_unit") == "day")
    changes = {
        name: F.when(F.col("later") == length, -1).otherwise(one(comes & (idle.isNull() | (idle > length))))
        for name, length in WINDOWS.items()
    }
    return _added(
        cells,
        once
        | {"retained_users": one(is_here & follows), "active_days": one(is_here)}
        | {name: F.when(start >= F.col("since"), change).otherwise(0) for name, change in changes.items()},
    )


def _funnel_days(rows: DataFrame, funnel_days: int) -> DataFrame:
    """A row per member and day with `view_s`, `purchase_s`, and whether a cart (`carted`), a purchase after it
    (`carted_bought`) or any purchase (`viewed_bought`) followed the day's first view within the funnel's days."""
    days = (
        member_rows(rows, _first_needed(funnel_days), GROUP_KINDS, "view_ts", "cart_s", "purchase_ts")
        .groupBy(*MEMBER, "event_date")
        .agg(
            F.min("view_ts").cast("double").alias("view_s"),
            F.collect_list("cart_s").alias("carts"),
            F.max("purchase_ts").cast("double").alias("purchase_s"),
        )
        .withColumn("day", F.unix_date("event_date"))
    )
    # No day is later where the funnel ends with the view's day: the frame is then unused.
    later = Window.partitionBy(*MEMBER).orderBy("day").rangeBetween(1, max(funnel_days - 1, 1))
    has_later = F.lit(funnel_days > 1)
    carts = F.when(F.size("carts") > 0, F.flatten("carts"))
    view = F.col("view_s")
    steps = days.withColumn("first_cart_s", F.array_min(carts)).withColumns(
        {
            "later_cart_s": F.when(has_later, F.min("first_cart_s").over(later)),
            "later_purchase_s": F.when(has_later, F.max("purchase_s").over(later)),
        }
    )
    # Of later days every cart is after the view.
    cart_today = F.array_min(F.filter(carts, lambda at: at >= view))
    cart = F.when(view.isNotNull(), F.coalesce(cart_today, "later_cart_s"))
    bought = F.greatest("purchase_s", "later_purchase_s")  # of the one that is not null
    return steps.select(
        *MEMBER, "event_date", "day", "view_s", "purchase_s",
        cart.isNotNull().alias("carted"),
        (cart <= bought).alias("carted_bought"),
        (view <= bought).alias("viewed_bought"),
    )  # fmt: skip


def _in_periods(days: DataFrame) -> DataFrame:
    """Each row once for the day, the week and the month in which it lies."""
    return days.withColumn("period_unit", F.explode(F.array(*[F.lit(unit) for unit in UNITS]))).withColumn(
        "period_start", by_unit(lambda unit: starts(unit, F.col("event_date")))
    )


def _ordering(rows: DataFrame, funnel_days: int) -> DataFrame:
    """How many orders had a line in the period."""
    lines = rows.where("orders IS NOT NULL").withColumn("order", F.explode("orders"))
    orders = _in_periods(member_rows(lines, _first_needed(funnel_days), GROUP_KINDS, "order")).where(
        _in_reach(funnel_days)
    )
    return _added(orders.select(*MEMBER, *PERIOD[:2], "order").distinct(), {"orders": F.lit(1)})


def _spending(rows: DataFrame, funnel_days: int) -> DataFrame:
    """What was earned, and what those who spent in the period before spent here."""
    money = rows.where("gross IS NOT NULL OR returned IS NOT NULL")
    of_member = (
        _in_periods(member_rows(money, _first_needed(funnel_days), GROUP_KINDS, "gross", "returned"))
        .groupBy(*MEMBER, "period_unit", "period_start")
        .agg(
            F.coalesce(F.sum("gross"), F.lit(0)).cast(MONEY).alias("gross"),
            F.coalesce(F.sum("returned"), F.lit(0)).cast(MONEY).alias("returned"),
        )
        .withColumn("net", (F.col("gross") - F.col("returned")).cast(MONEY))
    )
    in_order = Window.partitionBy(*MEMBER, "period_unit").orderBy("period_start")
    follows = F.lag("period_start").over(in_order) == by_unit(lambda unit: shifted(unit, F.col("period_start"), -1))
    stayed = of_member.withColumn("net_before", F.when(follows, F.lag("net").over(in_order)))
    # What a member spent here is the base of the period after, whether or not anything is done there.
    here = F.struct(F.col("period_start").alias("start"), F.lit(True).alias("is_here"))
    after = by_unit(lambda unit: shifted(unit, F.col("period_start"), 1))
    next_one = F.when(F.col("net") > 0, F.struct(after.alias("start"), F.lit(False).alias("is_here")))
    cells = (
        stayed.withColumn("cell", F.explode(F.array(here, next_one)))
        .where("cell IS NOT NULL")
        .withColumns({"period_start": F.col("cell.start"), "is_here": F.col("cell.is_here")})
        .where(_in_reach(funnel_days))
    )
    is_here, was_spender = F.col("is_here"), F.col("is_here") & (F.col("net_before") > 0)
    nothing = F.lit(0).cast(MONEY)
    return _added(
        cells,
        {
            "gross": F.when(is_here, F.col("gross")).otherwise(nothing),
            "returned": F.when(is_here, F.col("returned")).otherwise(nothing),
            "base": F.when(~is_here, F.col("net")).otherwise(nothing),
            # `least` passes over nulls, so who was no spender is left out first.
            "kept_capped": F.when(was_spender, F.least("net", "net_before")).otherwise(nothing),
            "kept": F.when(was_spender, F.col("net")).otherwise(nothing),
        },
    )


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
    return _added(begins.select("*", "cell.*"), {name: F.col(name) for name in begun})
