"""Periods of time and groups of users in which retention is counted. A period is known by its first local day."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date, timedelta
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pyspark.sql import Column

UNITS = ("day", "week", "month")
BASES = ("activity", "purchase")
GROUP_KINDS = ("all", "segment", "channel", "category")
ALL = "all"
# Cohorts of groups are those of months: by week and day, a hundred groups of each kind would be millions of cells.
OF_GROUPS = "month"


def period_start(unit: str, day: date) -> date:
    """First day of the period that holds `day`; weeks begin on Monday."""
    if unit == "week":
        return day - timedelta(days=day.weekday())
    return day.replace(day=1) if unit == "month" else day


def add_periods(unit: str, start: date, periods: int) -> date:
    """First day of the period so many periods later, or earlier."""
    if unit == "month":
        months = start.year * 12 + start.month - 1 + periods
        return date(months // 12, months % 12 + 1, 1)
    return start + timedelta(days=periods * (7 if unit == "week" else 1))


def starts(unit: str, day: Column) -> Column:
    """`period_start` of a column of days."""
    from pyspark.sql import functions as F

    return day if unit == "day" else F.trunc(day, unit)


def shifted(unit: str, start: Column, periods: int) -> Column:
    """`add_periods` of a column of first days."""
    from pyspark.sql import functions as F

    if unit == "month":
        return F.add_months(start, periods)
    return F.date_add(start, periods * (7 if unit == "week" else 1))


def between(unit: str, first: Column, last: Column) -> Column:
    """How many periods the second first day lies after the first; int."""
    from pyspark.sql import functions as F

    if unit == "month":
        months = (F.year(last) - F.year(first)) * 12 + F.month(last) - F.month(first)
        return months.cast("int")
    days = F.date_diff(last, first)
    return (F.floor(days / 7) if unit == "week" else days).cast("int")


def by_unit(column: Callable[[str], Column]) -> Column:
    """The column that the function makes of the row's `period_unit`."""
    from pyspark.sql import functions as F

    return F.coalesce(*[F.when(F.col("period_unit") == unit, column(unit)) for unit in UNITS])
