"""How users stay, by week: what the contract of retention_metrics says."""

from __future__ import annotations

from datetime import date, timedelta

from pyspark.sql import DataFrame, Window
from pyspark.sql import functions as F

from rekindle.methods.activity import activity
from rekindle.methods.user_features import distinct, is_type, order_key


def retention_metrics(events: DataFrame, as_of: date, business_date: date) -> DataFrame:
    """One row per whole week before `as_of`; every rate by the formula in its contract."""
    seen = activity(events, as_of).withColumn("week_start", F.date_sub("event_date", F.weekday("event_date")))
    bought = is_type("purchase")
    first_view = F.min(F.when(is_type("view"), F.col("event_ts")))
    last_purchase = F.max(F.when(bought, F.col("event_ts")))
    weekly = seen.groupBy("user_key", "week_start").agg(
        distinct(order_key(), bought).alias("orders"), first_view.alias("viewed"), last_purchase.alias("bought")
    )
    by_user = Window.partitionBy("user_key").orderBy("week_start")
    placed = weekly.withColumns(
        {
            "is_new": F.row_number().over(by_user) == 1,
            "is_retained": F.coalesce(F.lag("week_start").over(by_user) == F.date_sub("week_start", 7), F.lit(False)),
            "orders_before": F.coalesce(
                F.sum("orders").over(by_user.rowsBetween(Window.unboundedPreceding, -1)), F.lit(0)
            ),
        }
    ).withColumn("orders_so_far", F.col("orders_before") + F.col("orders"))
    sums = placed.groupBy("week_start").agg(
        F.count(F.lit(1)).alias("active_users"),
        F.count_if("is_new").alias("new_users"),
        F.count_if(F.col("orders") > 0).alias("buyers"),
        F.sum("orders").cast("bigint").alias("orders"),
        F.count("viewed").alias("viewers"),
        F.count_if(F.col("bought") >= F.col("viewed")).alias("converted"),
        F.count_if("is_retained").alias("retained"),
        F.count_if((F.col("orders_before") == 0) & (F.col("orders_so_far") > 0)).alias("new_buyers"),
        F.count_if((F.col("orders_before") < 2) & (F.col("orders_so_far") >= 2)).alias("new_repeaters"),
    )
    # One row a week from here on, so windows over all of them are small; a week without events is a week too.
    whole_weeks = F.expr("CASE WHEN low <= high THEN sequence(low, high, interval 7 days) END")
    calendar = sums.agg(F.min("week_start").alias("low"), F.lit(as_of - timedelta(days=7)).alias("high")).select(
        F.explode(whole_weeks).alias("week_start")
    )
    weeks = calendar.join(sums, "week_start", "left").fillna(0)
    in_order = Window.partitionBy(F.lit(1)).orderBy("week_start")
    so_far = in_order.rowsBetween(Window.unboundedPreceding, 0)
    counted = weeks.withColumns(
        {
            "active_before": F.lag("active_users").over(in_order),
            "buyers_so_far": F.sum("new_buyers").over(so_far),
            "repeaters_so_far": F.sum("new_repeaters").over(so_far),
            "views_ever": F.max("viewers").over(Window.partitionBy(F.lit(1))),
        }
    )
    return counted.withColumns(
        {
            "business_date": F.lit(business_date),
            "conversion_rate": F.try_divide("converted", "viewers"),
            "repurchase_rate": F.try_divide("repeaters_so_far", "buyers_so_far"),
            "retained_users": F.when(F.col("active_before").isNotNull(), F.col("retained")),
            "churn_rate": F.lit(1.0) - F.try_divide("retained", "active_before"),
        }
    )
