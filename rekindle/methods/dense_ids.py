"""Dense integer ids, 0 to n − 1, by the order of sorted distinct keys, without collecting the keys.

The id of a key is its rank among the keys, a function of the set of keys and of nothing else: not of partitions,
row order or retries. Spark's range partitioning samples by RDD number, so two runs of a plan may cut elsewhere;
here the cuts are themselves chosen from the keys (those with the smallest hashes), so every pass cuts alike.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame

LARGEST = 2**31 - 1  # Spark's ALS takes 32-bit ids
SAMPLED_A_RANGE = 32  # keys sampled for each range: ranges then differ in size by about a fifth


def dense_ids(frame: DataFrame, key: str, id_name: str = "id", ranges: int = 16) -> DataFrame:
    """One row a distinct key: `key`, `id_name` (int, 0 to n − 1, in the key's order).

    Two small jobs run now (a sample of at most 32 keys a range, and one count a range, reach the driver); the ids
    are computed when the result is. Persist `frame` first if it is dear: it is read three times.

    Raises:
        ValueError: a key is null, or there are more keys than a 32-bit id can number.
    """
    from pyspark.sql import Window
    from pyspark.sql import functions as F

    if ranges < 1:
        raise ValueError(f"dense_ids: {ranges} ranges, expected 1 or more")
    keys = frame.select(key).distinct()
    sampled = keys.where(F.col(key).isNotNull()).orderBy(F.xxhash64(key), key).limit(ranges * SAMPLED_A_RANGE)
    sample = sorted(row[0] for row in sampled.collect())
    cuts = sorted({sample[len(sample) * part // ranges] for part in range(1, ranges)}) if sample else []
    ranged = keys.withColumn("_range", _range_of(F.col(key), cuts, frame.schema[key].dataType.simpleString()))
    counts = {row["_range"]: row["count"] for row in ranged.groupBy("_range").count().collect()}
    if None in counts:
        raise ValueError(f"dense_ids: {key} is null in some rows, expected a key in each")
    total, starts = 0, {}
    for part in range(len(cuts) + 1):
        starts[part] = total
        total += counts.get(part, 0)
    if total > LARGEST:
        raise ValueError(f"dense_ids: {total} distinct values of {key}, at most {LARGEST} can be numbered")
    start = F.element_at(F.array(*[F.lit(starts[part]).cast("bigint") for part in sorted(starts)]), F.col("_range") + 1)
    place = F.row_number().over(Window.partitionBy("_range").orderBy(key)) - F.lit(1)
    return ranged.select(key, (start + place).cast("int").alias(id_name))


def sorted_keys(frame: DataFrame, key: str, at_most: int) -> list[str]:
    """The distinct keys, sorted; the id of a key is its place. For catalogues, which fit on the driver; never users.

    Equal to `dense_ids` where both can be had.

    Raises:
        ValueError: a key is null, or there are more than `at_most`.
    """
    found = [row[0] for row in frame.select(key).distinct().limit(at_most + 1).collect()]
    if None in found:
        raise ValueError(f"sorted_keys: {key} is null in some rows, expected a key in each")
    if len(found) > at_most:
        raise ValueError(f"sorted_keys: more than {at_most} distinct values of {key}; number them with dense_ids")
    return sorted(found)


def _range_of(key: Column, cuts: list[object], type_name: str) -> Column:
    """How many cuts are at or below the key (0 … len(cuts)); null for a null key."""
    from pyspark.sql import functions as F

    if not cuts:
        return F.when(key.isNotNull(), F.lit(0))
    limits = F.array(*[F.lit(cut).cast(type_name) for cut in cuts])
    return F.when(key.isNotNull(), F.size(F.filter(limits, lambda cut: cut <= key)))
