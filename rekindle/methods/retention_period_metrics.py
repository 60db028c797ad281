"""The metrics of days, weeks and months, told from exact sums."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date

from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as F

from rekindle.methods.retention_counted import COUNTS, MONEYS
from rekindle.methods.retention_periods import UNITS, add_periods, by_unit, period_start, shifted
from rekindle.methods.retention_sums import PERIOD

GROUP = ("period_unit", "group_kind", "group_name")


def largest_groups(sums: DataFrame, most: int) -> DataFrame:
    """Of each kind the groups with the most users in a month, summed over months; at most so many."""
    sized = (
        sums.where("period_unit = 'month'").groupBy("group_kind", "group_name").agg(F.sum("active_users").alias("size"))
    )
    place = Window.partitionBy("group_kind").orderBy(F.desc("size"), "group_name")
    return sized.withColumn("place", F.row_number().over(place)).where(F.col("place") <= most)


def period_metrics(
    sums: DataFrame, groups: DataFrame, as_of: date, business_date: date, funnel_days: int, told: Mapping[str, int]
) -> DataFrame:
    """One row per ended period and group of `groups` from the group's first action on, of the last `told` periods.

    `sums` are by PERIOD, as the contract of period_counts says.
    """
    ended = {unit: add_periods(unit, period_start(unit, as_of), -1) for unit in UNITS}
    step = {"day": "1 day", "week": "7 days", "month": "1 month"}
    ranges = by_unit(lambda u: F.sequence(F.col("first"), F.lit(ended[u]), F.expr(f"interval {step[u]}")))
    chosen = groups.select("group_kind", "group_name")
    calendar = (
        sums.where("active_users > 0")
        .join(F.broadcast(chosen), ["group_kind", "group_name"])
        .groupBy(*GROUP)
        .agg(F.min("period_start").alias("first"))
        .where(F.col("first") <= by_unit(lambda u: F.lit(ended[u])))
        .select(*GROUP, F.explode(ranges).alias("period_start"))
    )
    filled = calendar.join(sums, list(PERIOD), "left").fillna(0, list(COUNTS))
    in_order = Window.partitionBy(*GROUP).orderBy("period_start")
    so_far = in_order.rowsBetween(Window.unboundedPreceding, 0)
    counted = filled.withColumns(
        {
            "active_before": F.coalesce(F.lag("active_users").over(in_order), F.lit(0)),
            "users_7d": F.sum("change_7d").over(so_far),
            "users_30d": F.sum("change_30d").over(so_far),
            "buyers_so_far": F.sum("new_buyers").over(so_far),
            "repeat_buyers_so_far": F.sum("new_repeaters").over(so_far),
            "days": F.date_diff(by_unit(lambda u: shifted(u, F.col("period_start"), 1)), "period_start"),
            **{name: F.coalesce(name, F.lit(0)).cast("double") for name in MONEYS},
        }
    ).where(F.col("period_start") >= by_unit(lambda u: F.lit(add_periods(u, ended[u], 1 - told[u]))))
    is_day = F.col("period_unit") == "day"
    last_start = F.date_add("period_start", F.col("days") - 1)
    # The last day's funnel ends so many days later, that day counted.
    has_ended = F.date_add(last_start, funnel_days - 1) < F.lit(as_of)

    def after(name: str) -> Column:
        return F.when(has_ended, F.col(name))

    lost = F.col("active_before") - F.col("retained_users")
    stickiness = F.when(is_day, F.try_divide("active_users", "users_30d")).otherwise(
        F.try_divide(F.col("active_days") / F.col("days"), F.col("active_users"))
    )
    return counted.withColumns(
        {
            "business_date": F.lit(business_date),
            "resurrected_users": F.col("active_users") - F.col("new_users") - F.col("retained_users"),
            "lost_users": lost,
            "churn_rate": F.try_divide(lost, F.col("active_before")),
            "retention_rate": F.try_divide("retained_users", "active_before"),
            "users_7d": F.when(is_day, F.col("users_7d")),
            "users_30d": F.when(is_day, F.col("users_30d")),
            "stickiness": F.when(F.col("active_users") > 0, stickiness),
            **{name: after(name) for name in ("funnel_carters", "funnel_buyers", "view_buyers")},
            "view_to_cart": after("funnel_carters") / F.nullif(F.col("viewers"), F.lit(0)),
            "cart_to_purchase": after("funnel_buyers") / F.nullif(F.col("funnel_carters"), F.lit(0)),
            "view_to_purchase": after("view_buyers") / F.nullif(F.col("viewers"), F.lit(0)),
            "gross_revenue": F.col("gross"),
            "returned_revenue": F.col("returned"),
            "net_revenue": (F.col("gross") - F.col("returned")),
            "repurchase_rate": F.try_divide("repeat_buyers_so_far", "buyers_so_far"),
            "base_revenue": F.col("base"),
            "gross_revenue_retention": F.when(F.col("base") > 0, F.col("kept_capped") / F.col("base")),
            "net_revenue_retention": F.when(F.col("base") > 0, F.col("kept") / F.col("base")),
        }
    )
