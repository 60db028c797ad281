"""Every usable line ends as clean or duplicate, or as quarantined where it contradicts the line that is kept.

Among lines of one row id the smallest place (landing date, file, line) is clean. Only the ids told more than once are
looked at with all their lines: ids travel as 8-byte hashes first, and a collision of hashes only means that a few lines
more are compared exactly. So the cost of a night is one narrow shuffle, whatever the width of a line.
"""

from __future__ import annotations

from collections.abc import Sequence

from pyspark import StorageLevel
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from rekindle.line_parsing import PLACE
from rekindle.line_rules import OUT_OF_WINDOW

# What makes two lines of one event id tell the same: everything canonical but where the lines stand.
PAYLOAD = (
    "event_type", "event_ts", "user_key", "item_id", "title", "category", "brand", "order_id", "quantity", "unit_price",
    "stars", "text", "session_id", "channel",
)  # fmt: skip
HELD = "held"
CONFLICT = "id_conflict"


def payload() -> Column:
    """64 bits of an event's content; a null is told from the absence of the column beside it."""
    return F.xxhash64(*PAYLOAD, *[F.isnull(name) for name in PAYLOAD])


def out_of_window_files(ruled: DataFrame, limit: float) -> list[str]:
    """The files of which more than `limit` of the lines lie out of the window; normally none."""
    late = F.count_if(F.col("rule").isin(*OUT_OF_WINDOW))
    shares = ruled.groupBy("file_sha256").agg((late / F.count(F.lit(1))).alias("share")).where(F.col("share") > limit)
    return sorted(row["file_sha256"] for row in shares.toLocalIterator())


def held(ruled: DataFrame, files: Sequence[str]) -> DataFrame:
    """The lines, those of the files that are held no longer usable."""
    if not files:
        return ruled
    return ruled.withColumn(
        "rule", F.when(F.col("rule").isNull() & F.col("file_sha256").isin(*files), HELD).otherwise(F.col("rule"))
    )


def verdicts(ruled: DataFrame, told_before: DataFrame | None) -> DataFrame:
    """One row for every usable line that is not kept: its place, the place of the line kept, and `is_conflict`.

    `told_before` holds `row_id`, `payload` and place of the rows of the night this one builds on; all of them come
    before every line here.
    """
    narrow = ("row_id", "payload", *PLACE, F.xxhash64("row_id").alias("id_hash"))
    lines = ruled.where(F.col("rule").isNull()).select(*narrow, F.lit(True).alias("is_new"))
    twice = lines.groupBy("id_hash").count().where("count > 1").select("id_hash")
    if told_before is not None:
        known = told_before.join(lines.select("row_id").distinct(), "row_id", "left_semi")
        again = known.select(*narrow, F.lit(False).alias("is_new"))
        twice = twice.union(again.select("id_hash")).distinct()
        lines = lines.unionByName(again)
    twice = twice.persist(StorageLevel.MEMORY_AND_DISK)
    twice.count()  # known to be small, it is sent to the lines, and they need no second shuffle
    compared = lines.join(twice, "id_hash", "left_semi")
    order = F.struct("is_new", *PLACE)
    first = compared.groupBy("row_id").agg(F.min_by(F.struct(*PLACE, "payload"), order).alias("first"))
    kept = F.struct(*[F.col(f"first.{c}").alias(c) for c in PLACE])
    return (
        compared.where("is_new")
        .join(first, "row_id")
        .where(F.struct(*PLACE) != kept)
        .select(
            "file_sha256",
            "line_number",
            kept.alias("kept"),
            (F.col("payload") != F.col("first.payload")).alias("is_conflict"),
        )
    )


def with_fates(ruled: DataFrame, decided: DataFrame) -> DataFrame:
    """The lines with `fate`, the final `rule`, and for a line that is not kept the place of the one that is."""
    conflict = F.coalesce("is_conflict", F.lit(False))
    fate = (
        F.when(F.col("rule").isNotNull() | conflict, "quarantined")
        .when(F.col("kept").isNotNull(), "duplicate")
        .otherwise("clean")
    )
    return (
        ruled.join(decided, ["file_sha256", "line_number"], "left")
        .withColumn("fate", fate)
        .withColumn("rule", F.coalesce("rule", F.when(conflict, F.lit(CONFLICT))))
        .drop("is_conflict")
    )
