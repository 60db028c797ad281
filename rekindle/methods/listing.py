"""Top-N lists from tastes, in blocks of users on Spark's workers: as a model orders them, for judging.

What a shop sends is made of the same scores by `serving`, with the rules of its conf.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from rekindle.methods.arrow_rows import ragged_of
from rekindle.methods.carried import HasValue, broadcast
from rekindle.methods.interactions import SCORED_CELLS, Past, Users, best
from rekindle.methods.ragged import Ragged, offsets_of
from rekindle.methods.recommenders import POPULARITY, Recommender
from rekindle.methods.tastes import Prepared

if TYPE_CHECKING:
    import pyarrow as pa
    from pyspark.sql import DataFrame

RANKED = "user_key string, model string, rank int, item int"


@dataclass(frozen=True, eq=False)
class Tastes:
    """What some users did, a row each, items as places in the night's catalogue.

    Attributes:
        faded: users with strengths faded by the source's half-life, and their past.
        plain: the same with strengths that are not.
        bought: the same of purchases alone; strengths are how many.
        blocked: durables already bought.
    """

    faded: Users
    plain: Users
    bought: Users
    blocked: Ragged

    def __len__(self) -> int:
        return len(self.plain)

    def of(self, model: Recommender) -> Users:
        """As the model is served them."""
        return self.faded if model.fades else self.plain

    def between(self, start: int, stop: int) -> Tastes:
        """Users start (in) to stop (out)."""
        parts = (self.faded, self.plain, self.bought, self.blocked)
        return Tastes(*(part.between(start, stop) for part in parts))  # type: ignore[arg-type]

    def blocks(self, n_items: int) -> Iterator[Tastes]:
        """All users in order, so many at a time that their scores are about SCORED_CELLS."""
        step = max(1, SCORED_CELLS // max(n_items, 1))
        for start in range(0, len(self), step):
            yield self.between(start, min(start + step, len(self)))


def tastes_of(batch: pa.RecordBatch) -> Tastes:
    """The users of a batch of `tastes.Prepared.tastes`."""
    faded = ragged_of(batch, "item", "strength")
    unknown = np.full(len(faded), -1, dtype=np.int64)

    def entries(name: str) -> NDArray[np.float64]:
        values = ragged_of(batch, "item", name) if not name.endswith("interval_days") else None
        if values is not None and values.values is not None:
            return values.values
        flat: NDArray[np.float64] = batch.column(name).flatten().to_numpy(zero_copy_only=False).astype(np.float64)
        return flat

    active = batch.column("active_days").to_numpy(zero_copy_only=False).astype(np.float64)
    past = Past(entries("last_days"), entries("times"), entries("interval_days"), active)
    plain = Ragged(faded.offsets, faded.items, entries("weight"))
    times = entries("bought_times")
    kept = times > 0
    lengths = np.bincount(faded.rows()[kept], minlength=len(faded)).astype(np.int64)
    last = batch.column("bought_last_days").flatten().to_numpy(zero_copy_only=False).astype(np.float64)
    of_purchases = Past(last[kept], times[kept], entries("bought_interval_days")[kept], active)
    return Tastes(
        Users(unknown, faded, past),
        Users(unknown, plain, past),
        Users(unknown, Ragged(offsets_of(lengths), faded.items[kept], times[kept]), of_purchases),
        ragged_of(batch, "blocked"),
    )


def scores_of(
    model: Recommender, tastes: Tastes, place: NDArray[np.int64], popularity: NDArray[np.float64]
) -> NDArray[np.float64]:
    """[users, items of the night's catalogue]; −inf where the model has nothing to say. What is popular is tonight's.

    `place` is the model's `place_in` of the night's catalogue.
    """
    if model.name == POPULARITY:
        return np.tile(np.where(popularity > 0, popularity, -np.inf), (len(tastes), 1))
    return model.scores(tastes.of(model), place)


def best_by_scores(
    model: Recommender,
    tastes: Tastes,
    place: NDArray[np.int64],
    popularity: NDArray[np.float64],
    eligible: NDArray[np.bool_],
    k: int,
) -> NDArray[np.int64]:
    """As `Recommender.best_by_factors`, of any model: every item is scored, for a block of users at a time."""
    found, start = np.full((len(tastes), k), -1, dtype=np.int64), 0
    for some in tastes.blocks(len(eligible)):
        scores = scores_of(model, some, place, popularity)
        scores[:, ~eligible] = -np.inf
        scores[some.blocked.rows(), some.blocked.items] = -np.inf
        found[start : start + len(some)] = best(scores, k)
        start += len(some)
    return found


def ranked(prepared: Prepared, users: DataFrame, k: int, models: Mapping[str, Recommender]) -> DataFrame:
    """The k best items of each model for each row of `users` (columns as `Prepared.tastes`), one row each, as RANKED.

    Items are eligible and not blocked; fewer than k only where the model has nothing to say of more. Models are by any
    key; `model` is that key. All are read in one pass over the users.
    """
    spark = users.sparkSession
    placed = {key: (model, model.place_in(prepared.catalogue)) for key, model in models.items()}
    carried = broadcast(spark.sparkContext, (placed, prepared.eligible, prepared.popularity))
    return users.mapInArrow(ranker(carried, k), RANKED)


def ranker(carried: HasValue[Any], k: int) -> Callable[[Iterable[pa.RecordBatch]], Iterator[pa.RecordBatch]]:
    """The function for `mapInArrow` behind `ranked`; `carried` holds (models with places, eligible, popularity)."""

    def make(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        import pyarrow as pa

        models, eligible, popularity = carried.value
        for batch in batches:
            tastes, keys = tastes_of(batch), batch.column("user_key")
            for name, (model, place) in models.items():
                items = model.best_by_factors(tastes.of(model), place, k, tastes.blocked, eligible)
                if items is None:
                    items = best_by_scores(model, tastes, place, popularity, eligible, k)
                row, rank = np.nonzero(items >= 0)
                yield pa.RecordBatch.from_arrays(
                    [
                        keys.take(pa.array(row)).cast(pa.string()),
                        pa.array([name] * len(row), pa.string()),
                        pa.array(rank + 1, pa.int32()),
                        pa.array(items[row, rank], pa.int32()),
                    ],
                    names=["user_key", "model", "rank", "item"],
                )

    return make
