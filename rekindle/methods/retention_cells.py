"""How many users each cell of a cohort counts, and how many buyers wait for a second order.

A user is in the cohort of the period of the first action (basis activity) or of the first purchase (basis purchase).
Of each kind of group a cohort's user is in one group at most: tonight's segment, and the channel and the category by
which the user came. These are those of the first action, or purchase, of the user's first day that names one; of
several at one instant the first by name.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date, timedelta

from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as F

from rekindle.methods.retention_days import NONE
from rekindle.methods.retention_periods import ALL, BASES, OF_GROUPS, UNITS, add_periods, between, period_start, starts

CELL = ("measure", "kind", "name", "group_kind", "group_name", "start_date", "number")
CAME_BY = ("channel", "category")
OF_COHORTS = ("active", "last", "window")
NO_DATE = date(1970, 1, 1)


def cell_parts(rows: DataFrame, firsts: DataFrame, windows: Sequence[tuple[int, int]]) -> DataFrame:
    """How many `users` tonight's rows add, by CELL and not yet summed.

    `rows` are of `retention_days.rows_of`, `firsts` of `retention_members.firsts`.
    """
    return _cohort_cells(rows, windows).unionByName(_second_orders(firsts))


def summed(parts: DataFrame) -> DataFrame:
    """By CELL the total of `users`, where it is not 0."""
    return parts.groupBy(*CELL).agg(F.sum("users").alias("users")).where("users <> 0")


def first_followed(unit: str, as_of: date, cohorts: Mapping[str, int]) -> date:
    """The oldest cohort that is followed: `cohorts` of them, that of the night's last day the newest."""
    return add_periods(unit, period_start(unit, as_of - timedelta(days=1)), 1 - cohorts[unit])


def followed(cells: DataFrame, as_of: date, cohorts: Mapping[str, int]) -> DataFrame:
    """The cells without those of cohorts that are too old to be followed."""
    too_old = F.lit(False)
    for unit in UNITS:
        too_old = too_old | (
            (F.col("name") == unit) & (F.col("start_date") < F.lit(first_followed(unit, as_of, cohorts)))
        )
    return cells.where(~(F.col("measure").isin(*OF_COHORTS) & too_old))


def _cohort_cells(rows: DataFrame, windows: Sequence[tuple[int, int]]) -> DataFrame:
    """The cells of cohorts, signed.

    A period before that of `since` keeps its users: a first day that changed, or how the user came on it, is not before
    `since`. Only who moved to another segment takes all of the past along.
    """
    told = _active_days(rows)
    in_order = Window.partitionBy("user_number", "kind", "sign").orderBy("event_date")
    placed = told.withColumns(
        {
            "first": F.first("event_date").over(in_order),
            "previous": F.lag("event_date").over(in_order),
            "is_last": F.lead("event_date").over(in_order).isNull(),
            **{name: F.first(name).over(in_order) for name in CAME_BY},
        }
    )
    day, first, previous, since = (F.col(name) for name in ("event_date", "first", "previous", "since"))

    def cell(measure: str, unit: str, number: Column, condition: Column, is_near: Column) -> Column:
        made = F.struct(
            F.lit(measure).alias("measure"),
            F.lit(unit).alias("name"),
            starts(unit, first).alias("start_date"),
            number.cast("int").alias("number"),
            is_near.alias("is_near"),
        )
        is_told = is_near | F.col("is_moved") if unit == OF_GROUPS else is_near
        return F.when(condition & is_told, made)

    cells = []
    for unit in UNITS:
        here = starts(unit, day)
        number = between(unit, starts(unit, first), here)
        opens = previous.isNull() | (starts(unit, previous) != here)
        cells.append(cell("active", unit, number, opens, here >= starts(unit, since)))
        cells.append(cell("last", unit, number, F.col("is_last"), F.lit(True)))
        for place, (low, high) in enumerate(windows):
            age, age_before = F.date_diff(day, first), F.date_diff(previous, first)
            seen_first = (age >= low) & (age <= high) & (previous.isNull() | (age_before < low))
            cells.append(cell("window", unit, F.lit(place), seen_first, day >= since))
    own = ("segment", *CAME_BY)
    found = placed.select("kind", "sign", "is_moved", *own, F.explode(F.array_compact(F.array(*cells))).alias("cell"))
    near, is_grouped = F.col("cell.is_near"), F.col("cell.name") == OF_GROUPS

    def group(kind: str, name: Column, condition: Column) -> Column:
        made = F.struct(F.lit(kind).alias("group_kind"), name.alias("group_name"))
        return F.when(condition & name.isNotNull(), made)

    groups = [
        group(ALL, F.lit(ALL), near),
        group("segment", F.col("segment"), is_grouped & (near | F.col("is_moved"))),
        *[group(name, F.col(name), is_grouped & near) for name in CAME_BY],
    ]
    return (
        found.select("kind", "sign", "cell", F.explode(F.array_compact(F.array(*groups))).alias("of"))
        .select("kind", "cell.*", "of.*", F.col("sign").cast("bigint").alias("users"))
        .select(*CELL, "users")
    )


def _active_days(rows: DataFrame) -> DataFrame:
    """The days on which users acted, by basis (`kind`) and version (`sign`), with what user and day say of groups:
    `segment`, and by which channel and category the user would have come if this were the first day."""
    bought, is_known = F.col("purchase_ts").isNotNull(), ~F.col("is_new")
    done = {"activity": (F.lit(True), "first_ts"), "purchase": (bought, "first_purchase_ts")}
    counted = {"after": F.lit(True), "before": is_known}
    columns = []
    for basis in BASES:
        acted, at = done[basis]
        for version, is_told in counted.items():
            columns.append(F.bool_or(acted & is_told).alias(f"{basis}_{version}"))
            for name in CAME_BY:
                named = F.when(acted & is_told & (F.col(name) != NONE), F.struct(at, name))
                columns.append(F.min(named)[name].alias(f"{basis}_{version}_{name}"))
    users = ("user_number", "since", "is_moved")
    columns += [F.max(f"segment_{version}").alias(f"segment_{version}") for version in counted]
    days = rows.groupBy(*users, "event_date").agg(*columns)
    versions = []
    for basis in BASES:
        for sign, version in ((1, "after"), (-1, "before")):
            own = [F.col(f"{basis}_{version}_{name}").alias(name) for name in CAME_BY]
            segment = F.col(f"segment_{version}").alias("segment")
            told = F.struct(F.lit(basis).alias("kind"), F.lit(sign).alias("sign"), segment, *own)
            versions.append(F.when(F.col(f"{basis}_{version}"), told))
    kept = ("user_number", "since", "is_moved", "event_date")
    return days.select(*kept, F.explode(F.array_compact(F.array(*versions))).alias("v")).select(*kept, "v.*")


def _second_orders(firsts: DataFrame) -> DataFrame:
    """Buyers by the days to their second order, or by the day of the only one, signed."""
    has_second = F.col("second_order").isNotNull()
    gap = F.date_diff("second_order", "first_order")
    return firsts.where("first_order IS NOT NULL").select(
        F.when(has_second, "repeat").otherwise("waiting").alias("measure"),
        F.lit("purchase").alias("kind"),
        F.lit("day").alias("name"),
        "group_kind",
        "group_name",
        F.when(has_second, F.lit(NO_DATE)).otherwise(F.col("first_order")).alias("start_date"),
        F.when(has_second, gap).otherwise(0).cast("int").alias("number"),
        F.col("sign").cast("bigint").alias("users"),
    )
