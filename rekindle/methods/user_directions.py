"""Users as directions: the mean of the vectors of what they did something with, which word2vec makes of shared days.

Events are a frame with user_key, item_id, event_type and event_date, of what users did before `as_of`; nothing else is
assumed. The driver holds the sample that items are learnt from, which does not grow with the shop, and no user.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from rekindle.methods.interactions import Interactions, matrix_of
from rekindle.methods.item2vec import Item2Vec, baskets
from rekindle.methods.preferences import PARTS, faded_parts

if TYPE_CHECKING:
    import pyarrow as pa
    from pyspark.sql import DataFrame

# Of one user in the sample: a machine's days are no better baskets than a person's, and there are more of them.
MOST_OF_A_USER = 1_000
DIGITS = 6  # of a number of a vector: float32, as pgvector keeps it, has seven


@dataclass(frozen=True)
class Learnt:
    """Items and their vectors, float32 [items, dimension], of length 1."""

    items: tuple[str, ...]
    vectors: NDArray[np.float32]


def learn(
    events: DataFrame, as_of: date, weights: Mapping[str, float], days: int, actions: int, method: Item2Vec
) -> Learnt:
    """What `method` learns from at most `actions` actions of the last `days`; no item where no basket has two.

    An action is a user's doing anything of a weight with an item on a day. Users take part in the order of their keys'
    hashes, with all they did, so that the same events give the same sample on any cluster.
    """
    from pyspark.sql import Window
    from pyspark.sql import functions as F

    age = F.date_diff(F.lit(as_of), "event_date")
    done = (
        events.where(F.col("item_id").isNotNull() & F.col("event_type").isin(*weights) & (age <= days))
        .select("user_key", "item_id", age.alias("age"))
        .distinct()
    )
    latest = Window.partitionBy("user_key").orderBy("age", "item_id")
    kept = done.withColumn("place", F.row_number().over(latest)).where(F.col("place") <= MOST_OF_A_USER)
    drawn = kept.orderBy(F.xxhash64("user_key"), "user_key", "age", "item_id").limit(actions)
    rows = drawn.select("user_key", "item_id", "age").toArrow()
    user = np.unique(rows.column("user_key").to_numpy().astype(str), return_inverse=True)[1].astype(np.int64)
    names, item = np.unique(rows.column("item_id").to_numpy().astype(str), return_inverse=True)
    known = Interactions(
        user,
        item.astype(np.int64),
        np.ones(len(user)),
        rows.column("age").to_numpy().astype(np.float64),
        int(user.max(initial=-1)) + 1,
        len(names),
    )
    if not len(baskets(known)[0]):
        return Learnt((), np.zeros((0, method.rank), dtype=np.float32))
    vectors = method.fit(known).item_vectors
    has = (vectors != 0).any(axis=1)
    return Learnt(tuple(names[has].tolist()), vectors[has])


def user_vectors(
    events: DataFrame, as_of: date, weights: Mapping[str, float], half_life_days: float, learnt: Learnt
) -> DataFrame:
    """By user with any item that has a vector: vector array<double> of length 1, and items, how many it is made of."""
    from pyspark.sql import functions as F

    spark = events.sparkSession
    index = spark.createDataFrame([(name, n) for n, name in enumerate(learnt.items)], "item_id string, item int")
    parts = faded_parts(as_of, weights, half_life_days)
    tastes = (
        events.select("user_key", "item_id", parts.alias("parts"))
        .where("item_id IS NOT NULL AND parts IS NOT NULL")
        .join(F.broadcast(index), "item_id")
        .groupBy("user_key", "item")
        .agg(F.sum("parts").alias("parts"))
        .groupBy("user_key")
        .agg(F.array_sort(F.collect_list(F.struct("item", "parts"))).alias("taste"))
        .select("user_key", F.col("taste.item").alias("item"), F.col("taste.parts").alias("parts"))
    )
    told = tastes.mapInArrow(averager(learnt.vectors), "user_key string, vector array<double>, items bigint")
    return told.where("vector IS NOT NULL")


def averager(vectors: NDArray[np.float32]) -> Callable[[Iterable[pa.RecordBatch]], Iterator[pa.RecordBatch]]:
    """The function for `mapInArrow` behind `user_vectors`; a user whose vectors cancel out has a null one."""

    def average(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        import pyarrow as pa

        from rekindle.methods.arrow_rows import ragged_of

        exact = vectors.astype(np.float64)
        for batch in batches:
            tastes = matrix_of(ragged_of(batch, "item", "parts"), len(exact))
            tastes.data /= PARTS
            summed = np.asarray(tastes @ exact)
            lengths = np.linalg.norm(summed, axis=1)
            pointing = lengths > 1e-9 * np.asarray(tastes.sum(axis=1)).ravel()
            made = np.round(summed / np.where(pointing, lengths, 1.0)[:, None], DIGITS) + 0.0
            rows = pa.ListArray.from_arrays(
                pa.array(np.arange(len(made) + 1, dtype=np.int32) * exact.shape[1]),
                pa.array(made.ravel()),
                mask=pa.array(~pointing),
            )
            counts = pa.array(np.diff(tastes.indptr).astype(np.int64))
            yield pa.RecordBatch.from_arrays([batch.column("user_key"), rows, counts], ["user_key", "vector", "items"])

    return average
