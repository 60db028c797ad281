"""How long until buyers buy a second time: the estimate of Kaplan and Meier (1958) with Greenwood's variance.

A buyer is followed from the day of the first order to the night's last day; who has not ordered again by then is
censored, and still counts among those at risk on that day. S(t) = product over i <= t of (1 - d(i) / n(i)), with d(i)
second orders on day i among n(i) at risk. Greenwood (1926): Var S(t) = S(t)^2 · G(t), G(t) = sum of d / (n (n - d)).
The interval is that of log(-log S), which stays within 0 and 1 (Kalbfleisch and Prentice 1980):
S(t)^exp(± z √G(t) / log S(t)).
"""

from __future__ import annotations

from datetime import date

from pyspark.sql import DataFrame, Window
from pyspark.sql import functions as F

Z_95 = 1.959963984540054
HALF = 0.5 + 1e-12  # a product of shares that is a half may end in other last digits
GROUP = ("group_kind", "group_name")


def repurchase_curves(
    counts: DataFrame, groups: DataFrame, as_of: date, business_date: date, longest: int
) -> DataFrame:
    """One row per group of `groups` and day from 0 to `longest`, as far as any buyer has been followed.

    `counts` are those of second orders, as the contract of retention_counts says.
    """
    is_repeat = F.col("measure") == "repeat"
    followed = F.date_diff(F.lit(as_of), "start_date") - 1
    ends = (
        counts.where("measure IN ('repeat', 'waiting')")
        .join(F.broadcast(groups.select(*GROUP)), list(GROUP))
        .groupBy(*GROUP, F.when(is_repeat, F.col("number")).otherwise(followed).alias("day_number"))
        .agg(
            F.sum(F.when(is_repeat, F.col("users")).otherwise(0)).alias("repeats"),
            F.sum("users").alias("ended"),
        )
    )
    days = F.sequence(F.lit(0), F.least(F.col("longest"), F.lit(longest)))
    grid = (
        ends.groupBy(*GROUP)
        .agg(F.max("day_number").alias("longest"), F.sum("ended").alias("buyers"))
        .select(*GROUP, "buyers", F.explode(days).alias("day_number"))
    )
    in_order = Window.partitionBy(*GROUP).orderBy("day_number")
    before = in_order.rowsBetween(Window.unboundedPreceding, -1)
    at_risk = F.col("buyers") - F.coalesce(F.sum("ended").over(before), F.lit(0))
    placed = (
        grid.join(ends, [*GROUP, "day_number"], "left").fillna(0, ["repeats", "ended"]).withColumn("at_risk", at_risk)
    )
    left = F.col("at_risk") - F.col("repeats")
    curve = placed.withColumns(
        {
            "survival": F.product(left / F.col("at_risk")).over(in_order),
            "greenwood": F.sum(F.try_divide(F.col("repeats"), F.col("at_risk") * left)).over(in_order),
        }
    )
    survival = F.col("survival")
    has_interval = (survival > 0) & (survival < 1)
    spread = F.exp(F.lit(Z_95) * F.sqrt("greenwood") / F.abs(F.log(survival)))
    half = F.min(F.when(survival <= HALF, F.col("day_number"))).over(Window.partitionBy(*GROUP))
    return curve.withColumns(
        {
            "business_date": F.lit(business_date),
            "repurchased": F.lit(1.0) - survival,
            "repurchased_low": F.when(has_interval, F.lit(1.0) - F.pow(survival, F.lit(1.0) / spread)),
            "repurchased_high": F.when(has_interval, F.lit(1.0) - F.pow(survival, spread)),
            "median_days": half,
        }
    )
