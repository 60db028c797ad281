"""How cohorts stay, told from exact counts: bounded, unbounded, in windows, and the means over cohorts.

L(t) = N(t) / N(0); p(t) = N(t) / N(t-1); L(t) is the product of p(1) to p(t), as docs/definitions.md says.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date

from pyspark.sql import DataFrame, Window
from pyspark.sql import functions as F

from rekindle.methods.retention_periods import between, by_unit, period_start, shifted

GROUP = ("group_kind", "group_name")
COHORT = ("basis", "period_unit", *GROUP, "cohort_start")


def _cohorts(counts: DataFrame, groups: DataFrame, as_of: date) -> DataFrame:
    """The ended cohorts of `groups` with `cohort_users` and `periods`, the ended ones after the cohort's own."""
    ended = by_unit(lambda u: between(u, F.col("cohort_start"), F.lit(period_start(u, as_of))) - 1)
    return (
        _named(counts.where("measure = 'active' AND number = 0"))
        .join(F.broadcast(groups.select(*GROUP)), list(GROUP))
        .select(*COHORT, F.col("users").alias("cohort_users"), ended.alias("periods"))
        .where("periods >= 0")
    )


def _named(counts: DataFrame) -> DataFrame:
    return counts.withColumnsRenamed({"kind": "basis", "name": "period_unit", "start_date": "cohort_start"})


def cohort_retention(counts: DataFrame, groups: DataFrame, as_of: date, business_date: date) -> DataFrame:
    """One row per ended cohort of `groups` and ended period since its first, and `active_before`, N(t-1), beside the
    contract's."""
    seen = _named(counts.where("measure IN ('active', 'last')"))
    cells = seen.groupBy(*COHORT, F.col("number").alias("period_number")).agg(
        F.sum(F.when(F.col("measure") == "active", F.col("users"))).alias("active"),
        F.sum(F.when(F.col("measure") == "last", F.col("users"))).alias("last"),
    )
    grid = _cohorts(counts, groups, as_of).withColumn("period_number", F.explode(F.sequence(F.lit(0), "periods")))
    in_order = Window.partitionBy(*COHORT).orderBy("period_number")
    before = in_order.rowsBetween(Window.unboundedPreceding, -1)
    told = grid.join(cells, [*COHORT, "period_number"], "left").withColumns(
        {
            "active_users": F.coalesce("active", F.lit(0)).cast("bigint"),
            "gone": F.coalesce("last", F.lit(0)),
        }
    )
    placed = told.withColumns(
        {
            "active_before": F.lag("active_users").over(in_order),
            "fewest_before": F.min("active_users").over(before),
            "active_or_later_users": F.col("cohort_users") - F.coalesce(F.sum("gone").over(before), F.lit(0)),
        }
    ).withColumn("period_over_period", F.try_divide("active_users", "active_before"))
    product = F.coalesce(F.product("period_over_period").over(in_order), F.lit(1.0))
    return placed.withColumns(
        {
            "business_date": F.lit(business_date),
            "retention": F.col("active_users") / F.col("cohort_users"),
            "unbounded_retention": F.col("active_or_later_users") / F.col("cohort_users"),
            "attrition": F.lit(1.0) - F.col("period_over_period"),
            "product_retention": F.when(F.col("fewest_before").isNull() | (F.col("fewest_before") > 0), product),
        }
    )


def retention_curves(cohorts: DataFrame) -> DataFrame:
    """The means over the cohorts of `cohort_retention` by group, weighted by their size."""
    totals = cohorts.groupBy("basis", "period_unit", *GROUP, "period_number", "business_date").agg(
        F.count(F.lit(1)).alias("cohorts"),
        *[F.sum(name).alias(name) for name in ("cohort_users", "active_users", "active_or_later_users")],
        F.sum("active_before").alias("active_before"),
    )
    return totals.withColumns(
        {
            "retention": F.col("active_users") / F.col("cohort_users"),
            "unbounded_retention": F.col("active_or_later_users") / F.col("cohort_users"),
            "period_over_period": F.try_divide("active_users", "active_before"),
        }
    )


def retention_windows(
    counts: DataFrame, groups: DataFrame, as_of: date, business_date: date, windows: Sequence[tuple[int, int]]
) -> DataFrame:
    """One row per cohort of `groups` and window that has ended for all of the cohort's users."""
    seen = _named(counts.where("measure = 'window'")).select(
        *COHORT, F.col("number").alias("place"), F.col("users").alias("active")
    )
    asked = F.array(
        *[
            F.struct(F.lit(n).alias("place"), F.lit(low).alias("first_day"), F.lit(high).alias("last_day"))
            for n, (low, high) in enumerate(windows)
        ]
    )
    whole = F.date_add(by_unit(lambda u: shifted(u, F.col("cohort_start"), 1)), F.col("last_day") - 1)
    return (
        _cohorts(counts, groups, as_of)
        .withColumn("window", F.explode(asked))
        .select(*COHORT, "cohort_users", "window.*")
        .where(whole < F.lit(as_of))
        .join(seen, [*COHORT, "place"], "left")
        .withColumn("active_users", F.coalesce("active", F.lit(0)).cast("bigint"))
        .withColumns(
            {"business_date": F.lit(business_date), "retention": F.col("active_users") / F.col("cohort_users")}
        )
    )
