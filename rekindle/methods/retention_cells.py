"""How many users each cell of a cohort counts, and how many buyers wait for a second order.

A user is in the cohort of the period of the first action (basis activity) or of the first purchase (basis purchase).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date, timedelta

from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as F

from rekindle.methods.retention_periods import BASES, UNITS, add_periods, between, period_start, starts

CELL = ("measure", "kind", "name", "start_date", "number")
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
    """The cells of cohorts, signed."""
    bought = F.col("purchase_ts").isNotNull()
    is_known = ~F.col("is_new")
    days = rows.groupBy("user_number", "event_date", "since").agg(
        F.bool_or(is_known).alias("activity_before"),
        F.bool_or(bought).alias("purchase_after"),
        F.bool_or(bought & is_known).alias("purchase_before"),
        F.lit(True).alias("activity_after"),
    )
    versions = [
        F.when(F.col(f"{basis}_{name}"), F.struct(F.lit(basis).alias("kind"), F.lit(sign).alias("sign")))
        for basis in BASES
        for sign, name in ((1, "after"), (-1, "before"))
    ]
    told = days.select("user_number", "event_date", "since", F.explode(F.array_compact(F.array(*versions))).alias("v"))
    in_order = Window.partitionBy("user_number", "kind", "sign").orderBy("event_date")
    placed = told.select("user_number", "event_date", "since", "v.*").withColumns(
        {
            "first": F.first("event_date").over(in_order),
            "previous": F.lag("event_date").over(in_order),
            "is_last": F.lead("event_date").over(in_order).isNull(),
        }
    )
    day, first, previous, since = (F.col(name) for name in ("event_date", "first", "previous", "since"))

    def cell(measure: str, unit: str, number: Column, condition: Column) -> Column:
        made = F.struct(
            F.lit(measure).alias("measure"),
            F.lit(unit).alias("name"),
            starts(unit, first).alias("start_date"),
            number.cast("int").alias("number"),
        )
        return F.when(condition, made)

    cells = []
    for unit in UNITS:
        here = starts(unit, day)
        number = between(unit, starts(unit, first), here)
        opens = previous.isNull() | (starts(unit, previous) != here)
        # A period before that of `since` has the same users as it had: a first day that moved is not before `since`.
        cells.append(cell("active", unit, number, opens & (here >= starts(unit, since))))
        cells.append(cell("last", unit, number, F.col("is_last")))
        for place, (low, high) in enumerate(windows):
            age, age_before = F.date_diff(day, first), F.date_diff(previous, first)
            seen_first = (age >= low) & (age <= high) & (previous.isNull() | (age_before < low))
            cells.append(cell("window", unit, F.lit(place), seen_first & (day >= since)))
    return (
        placed.select("kind", "sign", F.explode(F.array_compact(F.array(*cells))).alias("cell"))
        .select("kind", "cell.*", F.col("sign").cast("bigint").alias("users"))
        .select(*CELL, "users")
    )


def _second_orders(firsts: DataFrame) -> DataFrame:
    """Buyers by the days to their second order, or by the day of the only one, signed."""
    has_second = F.col("second_order").isNotNull()
    gap = F.date_diff("second_order", "first_order")
    return firsts.where("first_order IS NOT NULL").select(
        F.when(has_second, "repeat").otherwise("waiting").alias("measure"),
        F.col("group_kind").alias("kind"),
        F.col("group_name").alias("name"),
        F.when(has_second, F.lit(NO_DATE)).otherwise(F.col("first_order")).alias("start_date"),
        F.when(has_second, gap).otherwise(0).cast("int").alias("number"),
        F.col("sign").cast("bigint").alias("users"),
    )
