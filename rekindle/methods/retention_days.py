"""What a user did on a day, as sums to which later events only add rows; and whose sums a night has to take again.

An event belongs to one row, by its user, local day, channel, category and landing date, whenever it is cleaned. So the
rows of a night are those of the night it builds on and those of the events it adds, and none of them changes.
"""

from __future__ import annotations

from datetime import date

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from rekindle.methods.activity import activity
from rekindle.methods.user_features import amount, is_type, order_key

KEY = ("user_number", "event_date", "channel", "category", "landing_date")
NONE = ""
# Before any shop's log: everything of a user is taken.
EVER = date(1000, 1, 1)
# After it: nothing of the user's own has changed.
NEVER = date(9000, 1, 1)


def user_number(user_key: str = "user_key") -> Column:
    """The user as 64 bits of the pseudonym."""
    return F.xxhash64(user_key)


def user_days(events: DataFrame) -> DataFrame:
    """One row per KEY with any activity; the meaning of each column is in its contract."""
    bought, money = is_type("purchase"), amount()
    carts = F.array_sort(F.collect_set(F.when(is_type("cart"), F.col("event_ts").cast("double"))))
    orders = F.array_sort(F.collect_set(F.when(bought, order_key())))
    return (
        activity(events)
        .withColumns(
            {
                "user_number": user_number(),
                "channel": F.coalesce("channel", F.lit(NONE)),
                "category": F.coalesce("category", F.lit(NONE)),
            }
        )
        .groupBy(*KEY)
        .agg(
            F.min("event_ts").alias("first_ts"),
            F.min(F.when(bought, F.col("event_ts"))).alias("first_purchase_ts"),
            F.min(F.when(is_type("view"), F.col("event_ts"))).alias("view_ts"),
            carts.alias("cart_s"),
            F.max(F.when(bought, F.col("event_ts"))).alias("purchase_ts"),
            orders.alias("orders"),
            F.sum(F.when(bought, money)).cast("decimal(38,6)").alias("gross"),
            F.sum(F.when(is_type("return"), -money)).cast("decimal(38,6)").alias("returned"),
        )
        .withColumns({name: F.when(F.size(name) > 0, F.col(name)) for name in ("cart_s", "orders")})
    )


def segments_of(users: DataFrame) -> DataFrame:
    """`user_number` and `segment` of a frame of `user_key` and `segment_id`, a row a number."""
    numbered = users.where("segment_id IS NOT NULL").select(
        user_number().alias("user_number"), F.col("segment_id").cast("string").alias("segment")
    )
    return numbered.groupBy("user_number").agg(F.min("segment").alias("segment"))


def affected(added: DataFrame, before: DataFrame | None, after: DataFrame | None) -> DataFrame:
    """Users whose sums may differ from those of the night before: who has new rows, or is in another segment.

    `since` is the first day on which the user has a new row; `is_moved` whether the segment differs, of which
    `segment_before` and `segment_after` are null where there is none.

    Args:
        added: new rows of user_days.
        before: `user_number` and `segment` of the night before; None where users had no segments.
        after: the same of tonight.
    """
    touched = added.groupBy("user_number").agg(F.min("event_date").alias("since"))
    for name, segments in (("segment_before", before), ("segment_after", after)):
        if segments is None:
            touched = touched.withColumn(name, F.lit(None).cast("string"))
        else:
            named = segments.select("user_number", F.col("segment").alias(name))
            touched = touched.join(named, "user_number", "full")
    return (
        touched.withColumn("is_moved", ~F.col("segment_before").eqNullSafe(F.col("segment_after")))
        .where("since IS NOT NULL OR is_moved")
        .withColumn("since", F.coalesce("since", F.lit(NEVER)))
    )


def rows_of(affected: DataFrame, known: DataFrame | None, added: DataFrame, as_of: date) -> DataFrame:
    """All rows before `as_of` of the affected users, with what `affected` says of them and `is_new`.

    Rows of one user are in one partition.
    """
    rows = added.withColumn("is_new", F.lit(True))
    if known is None:
        # Nothing was told before: a day without a floor, and no version to take away.
        affected = affected.withColumns({"since": F.lit(EVER), "is_moved": F.lit(False)})
    else:
        rows = rows.unionByName(known.withColumn("is_new", F.lit(False)))
    return rows.where(F.col("event_date") < F.lit(as_of)).join(affected, "user_number").repartition("user_number")
