"""Users as members of groups, before tonight's rows and after them.

Every sum is taken over members: a user is one of `all`, of a segment, and of each channel and category where something
was done. A member has two versions: what was told before (`sign` -1) is taken away, what is known tonight (`sign` 1) is
added. Both are made by the same code from the same rows, so what did not change cancels exactly; rows that cannot
matter are left out early, by `since`, to be quick.
"""

from __future__ import annotations

from collections.abc import Sequence

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from rekindle.methods.retention_days import EVER, NONE
from rekindle.methods.retention_periods import ALL

MEMBER = ("user_number", "sign", "group_kind", "group_name", "since")
OWN = {"channel": "channel", "category": "category"}


def member_rows(rows: DataFrame, first_needed: Column, kinds: Sequence[str], *columns: str) -> DataFrame:
    """A row per member and row from `first_needed` on: MEMBER, event_date and `columns`.

    A user who moved to another segment takes all of the past along: `since` is then EVER, of the segment's member.
    """

    def member(sign: int, kind: str) -> Column:
        name = {ALL: F.lit(ALL), "segment": F.col("segment_after" if sign > 0 else "segment_before")}
        own = F.nullif(F.col(OWN[kind]), F.lit(NONE)) if kind in OWN else name[kind]
        in_reach = F.col("event_date") >= first_needed
        since = F.col("since")
        if kind == "segment":
            in_reach = in_reach | F.col("is_moved")
            since = F.when(F.col("is_moved"), F.lit(EVER)).otherwise(since)
        told = own.isNotNull() & in_reach
        if sign < 0:
            told = told & ~F.col("is_new")
        made = F.struct(
            F.lit(sign).alias("sign"), F.lit(kind).alias("group_kind"), own.alias("group_name"), since.alias("since")
        )
        return F.when(told, made)

    members = F.array_compact(F.array(*[member(sign, kind) for sign in (1, -1) for kind in kinds]))
    return rows.select("user_number", "event_date", *columns, F.explode(members).alias("member")).select(
        "user_number", "member.*", "event_date", *columns
    )


def firsts(rows: DataFrame) -> DataFrame:
    """Of members whose firsts are not what they were: MEMBER without `since`, `first_day`, `first_order` and
    `second_order`, the days of the first action and of the two first orders, null where there are none.

    An order's day is that of its first line.
    """

    def group(kind: str, name: Column) -> Column:
        return F.struct(F.lit(kind).alias("group_kind"), name.alias("group_name"))

    own = [F.when(F.col(column) != NONE, group(kind, F.col(column))) for kind, column in OWN.items()]
    of = F.explode(F.array_compact(F.array(group(ALL, F.lit(ALL)), *own))).alias("of")
    key = ("user_number", "group_kind", "group_name")
    known = F.when(~F.col("is_new"), F.col("event_date"))
    users = ("segment_before", "segment_after", "is_moved")
    days = (
        rows.select("user_number", of, "event_date", "is_new", *users)
        .groupBy("user_number", "of")
        .agg(
            F.min("event_date").alias("day_after"),
            F.min(known).alias("day_before"),
            *[F.max(name).alias(name) for name in users],
        )
        .select("user_number", "of.*", "day_after", "day_before", *users)
    )
    ordered = (
        rows.where("orders IS NOT NULL")
        .select("user_number", of, "event_date", "is_new", F.explode("orders").alias("order"))
        .groupBy("user_number", "of", "order")
        .agg(F.min("event_date").alias("after"), F.min(known).alias("before"))
        .groupBy("user_number", "of")
        .agg(*[F.array_sort(F.collect_list(v)).alias(f"orders_{v}") for v in ("after", "before")])
        .select("user_number", "of.*", "orders_after", "orders_before")
    )

    def version(sign: int, name: str, kind: Column, group_name: Column) -> Column:
        orders = F.col(f"orders_{name}")
        told = (F.col(f"day_{name}").isNotNull()) & group_name.isNotNull()
        return F.when(
            told,
            F.struct(
                F.lit(sign).alias("sign"),
                kind.alias("group_kind"),
                group_name.alias("group_name"),
                F.col(f"day_{name}").alias("first_day"),
                F.get(orders, F.lit(0)).alias("first_order"),
                F.get(orders, F.lit(1)).alias("second_order"),
            ),
        )

    versions = []
    for sign, name in ((1, "after"), (-1, "before")):
        versions.append(version(sign, name, F.col("group_kind"), F.col("group_name")))
        segment = F.when(F.col("group_kind") == ALL, F.col(f"segment_{name}"))
        versions.append(version(sign, name, F.lit("segment"), segment))
    same_orders = F.slice("orders_after", 1, 2).eqNullSafe(F.slice("orders_before", 1, 2))
    is_same = F.col("day_after").eqNullSafe(F.col("day_before")) & same_orders
    return (
        days.join(ordered, list(key), "left")
        .where(~is_same | (F.col("is_moved") & (F.col("group_kind") == ALL)))
        .select("user_number", F.explode(F.array_compact(F.array(*versions))).alias("member"))
        .select("user_number", "member.*")
    )
