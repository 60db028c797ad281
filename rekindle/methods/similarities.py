"""Which items the same users want: each item's nearest, counted on Spark, from sets of users.

Two items are as alike as

    common / √(users of one · users of the other)  ·  common / (common + shrinkage)

the cosine of their sets of users, taken down where few users are in common (Sarwar et al. 2001; the shrinkage as in
neighbours.py). Only the MOST_OF_A_USER items of a user with the largest weight are counted, of equals the lower index,
so a user costs at most MOST_OF_A_USER² pairs and the whole Σ over users of (items of the user)².
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from rekindle.methods.arrow_rows import ragged_of
from rekindle.methods.ragged import Ragged

if TYPE_CHECKING:
    import pyarrow as pa
    from pyspark.sql import DataFrame

KEPT = 50  # neighbours of an item
MOST_OF_A_USER = 200
SHRINKAGE = 10.0  # of the published table, in users
PAIRS = 10_000_000  # pairs counted at a time on a worker: about 240 MB
COUNTED = "item int, other int, common bigint"


def similar_items(tastes: DataFrame, n_items: int, keep: int, shrinkage: float) -> DataFrame:
    """At most `keep` neighbours of every item with any: item int, rank int (from 1), other int, similarity double,
    common_users bigint.

    `tastes` has item array<int> and weight array<double>, a row a user. Counts are whole numbers, so neither the order
    of users nor how they are parted changes a bit; equals are ranked by the lower index.
    """
    from pyspark.sql import Window
    from pyspark.sql import functions as F

    counted = (
        tastes.select("item", "weight")
        .mapInArrow(pair_counter(n_items), COUNTED)
        .groupBy("item", "other")
        .agg(F.sum("common").alias("common"))
    )
    users = counted.where("item = other").select(F.col("item").alias("of"), F.col("common").alias("users"))
    common = F.col("common")
    best_first = Window.partitionBy("item").orderBy(F.col("similarity").desc(), F.col("other").asc())
    return (
        counted.where("item <> other")
        .join(F.broadcast(users.withColumnsRenamed({"of": "item", "users": "mine"})), "item")
        .join(F.broadcast(users.withColumnsRenamed({"of": "other", "users": "theirs"})), "other")
        .withColumn(
            "similarity", common / F.sqrt(F.col("mine") * F.col("theirs")) * (common / (common + F.lit(shrinkage)))
        )
        .withColumn("rank", F.row_number().over(best_first))
        .where(F.col("rank") <= F.lit(keep))
        .select("item", "rank", "other", "similarity", F.col("common").alias("common_users"))
    )


def pair_counter(n_items: int) -> Callable[[Iterable[pa.RecordBatch]], Iterator[pa.RecordBatch]]:
    """The function for `mapInArrow` behind `similar_items`: users of both items of every pair, an item with itself
    included, in parts that are to be summed."""

    def count(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        import pyarrow as pa

        for batch in batches:
            kept = strongest(ragged_of(batch, "item", "weight"), MOST_OF_A_USER)
            total = np.concatenate([[0], np.cumsum(kept.lengths() ** 2)])
            start = 0
            while start < len(kept):
                stop = max(start + 1, int(np.searchsorted(total, total[start] + PAIRS, side="right")) - 1)
                some = kept.between(start, stop)
                ones = np.ones(len(some.items), dtype=np.int64)
                touched = sparse.csr_matrix((ones, some.items, some.offsets), shape=(len(some), n_items))
                both = (touched.T @ touched).tocoo()
                columns = [both.row.astype(np.int32), both.col.astype(np.int32), both.data.astype(np.int64)]
                yield pa.RecordBatch.from_arrays([pa.array(c) for c in columns], names=["item", "other", "common"])
                start = stop

    return count


def strongest(rows: Ragged, most: int) -> Ragged:
    """Each row's `most` items with the largest values, by item; of equals the lower index."""
    assert rows.values is not None  # noqa: S101 - a type for mypy: tastes always carry weights
    row = rows.rows()
    order = np.lexsort((rows.items, -rows.values, row))
    place = np.arange(len(row)) - rows.offsets[:-1][row]
    kept = np.sort(order[place < most])  # entries of a row stand by item already
    lengths = np.minimum(rows.lengths(), most)
    return Ragged(np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64), rows.items[kept], rows.values[kept])


def as_matrix(
    item: NDArray[np.int64], other: NDArray[np.int64], similarity: NDArray[np.float64], n_items: int
) -> sparse.csr_matrix:
    """The neighbours as `neighbours.FittedItemNeighbours` wants them: column n holds those of item n."""
    found = sparse.csr_matrix((similarity, (other, item)), shape=(n_items, n_items))
    found.sort_indices()
    return found
