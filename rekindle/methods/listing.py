"""Top-N lists for users from frames: tastes, catalogue and popularity as of an instant, then lists with reasons.

Events are a frame with user_key, item_id, event_type, event_ts, event_date and category; nothing else is assumed.
A list is the factor model's best items for the user's own taste as of tonight, filled up with what is popular; a
user without taste on a known item gets the popular list alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

import numpy as np
from numpy.typing import NDArray

from rekindle.methods import als
from rekindle.methods.carried import HasValue
from rekindle.methods.dense_ids import sorted_keys
from rekindle.methods.popularity import popularity_frame
from rekindle.methods.ragged import Ragged, offsets_of
from rekindle.methods.recommenders import Recommender

if TYPE_CHECKING:
    import pyarrow as pa
    from pyspark.sql import DataFrame

# 2 million item ids of 20 characters are 40 MB on the driver, and their rank-64 factors 512 MB on each worker.
MOST_ITEMS = 2_000_000
# A reason names one item of the user's history; beyond the strongest hundred none ever weighs most.
EXPLAINED_HISTORY = 100
LISTED = "user_key string, rank int, item int, score double, candidate_source string, because int"


@dataclass(frozen=True)
class Counting:
    """How events count: weights of their types, how they age, and what is current. Windows in days."""

    event_weights: Mapping[str, float]
    half_life_days: float
    popularity_days: int
    catalogue_days: int
    durable_categories: Sequence[str]


@dataclass(frozen=True)
class Prepared:
    """Everything that lists are made of, as of an instant.

    Attributes:
        catalogue: item ids, sorted; an item's index is its place.
        tastes: one row a user seen: user_key, items array<int>, strengths array<double> (both empty without taste),
            blocked array<int> (durables already bought).
        strengths: one row a (user_key, item int, strength double): the training input.
        eligible: bool [items], whether the item was seen within the catalogue window.
        popularity: float64 [items], decayed purchases within the popularity window; 0 without.
    """

    catalogue: list[str]
    tastes: DataFrame
    strengths: DataFrame
    eligible: NDArray[np.bool_]
    popularity: NDArray[np.float64]


def prepare(
    events: DataFrame, as_of: date, zone: ZoneInfo, counting: Counting, heard: DataFrame | None = None
) -> Prepared:
    """What is known at `as_of`: events on that local day or later are not looked at.

    `heard` are those of the events that decide what is popular and what is current: all of them where it is None.
    The catalogue and two numbers an item reach the driver; users never do.
    """
    from pyspark.sql import functions as F

    instant = F.lit(datetime.combine(as_of, time(), tzinfo=zone).timestamp())

    def before(log: DataFrame) -> DataFrame:
        age = (instant - F.col("event_ts").cast("double")) / 86_400
        return log.where(F.col("event_date") < F.lit(as_of)).withColumn("age_days", age)

    seen = before(events)
    named = seen.where("item_id IS NOT NULL")
    counted = named if heard is None else before(heard).where("item_id IS NOT NULL")
    catalogue = sorted_keys(named, "item_id", MOST_ITEMS)
    spark = events.sparkSession
    index = F.broadcast(
        spark.createDataFrame([(k, n) for n, k in enumerate(catalogue)], "item_id string, item int").persist()
    )
    strengths = (
        named.groupBy("user_key", "item_id")
        .agg(
            als.confidence_weights(
                F.col("event_type"), F.col("age_days"), counting.event_weights, counting.half_life_days
            ).alias("strength")
        )
        .where("strength > 0")
        .join(index, "item_id")
        .select("user_key", "item", "strength")
    )
    durable = F.coalesce(F.col("category").isin(*counting.durable_categories), F.lit(False))
    blocked = (
        named.where((F.col("event_type") == "purchase") & durable)
        .join(index, "item_id")
        .groupBy("user_key")
        .agg(F.array_sort(F.collect_set("item")).alias("blocked"))
    )
    taste = strengths.groupBy("user_key").agg(F.array_sort(F.collect_list(F.struct("item", "strength"))).alias("taste"))
    tastes = (
        seen.select("user_key")
        .distinct()
        .join(taste, "user_key", "left")
        .join(blocked, "user_key", "left")
        .select(
            "user_key",
            F.coalesce("taste.item", F.array().cast("array<int>")).alias("items"),
            F.coalesce("taste.strength", F.array().cast("array<double>")).alias("strengths"),
            "blocked",
        )
    )
    place = {item: n for n, item in enumerate(catalogue)}
    eligible = np.zeros(len(catalogue), dtype=np.bool_)
    first_day = as_of - timedelta(days=counting.catalogue_days)
    for row in counted.where(F.col("event_date") >= F.lit(first_day)).select("item_id").distinct().toLocalIterator():
        eligible[place[row.item_id]] = True
    popular = popularity_frame(
        counted.where("event_type = 'purchase'").withColumn("weight", F.lit(1.0)),
        item="item_id",
        age_days="age_days",
        weight="weight",
        window_days=counting.popularity_days,
        half_life_days=counting.half_life_days,
    )
    popularity = np.zeros(len(catalogue))
    for row in popular.toLocalIterator():
        popularity[place[row.item_id]] = row.popularity
    return Prepared(catalogue, tastes, strengths, eligible, popularity)


def lists(prepared: Prepared, users: DataFrame, k: int, model: Recommender) -> DataFrame:
    """One row a user and rank, as LISTED: k items for each row of `users` (columns as `Prepared.tastes`).

    `because` is the index of the item in the user's own history that weighs most in the score (Hu, Koren and
    Volinsky 2008, section 5), -1 where there is none. Fewer than k rows only where fewer than k eligible items are
    left for the user.
    """
    factors = None if model.factors is None else model.on(prepared.catalogue)
    carried = users.sparkSession.sparkContext.broadcast((factors, prepared.eligible, prepared.popularity))
    columns = users.select("user_key", "items", "strengths", "blocked")
    return columns.mapInArrow(lister(carried, k, model.regularisation, model.alpha), LISTED)


def lister(
    carried: HasValue[Any], k: int, regularisation: float, alpha: float
) -> Callable[[Iterable[pa.RecordBatch]], Iterator[pa.RecordBatch]]:
    """The function for `mapInArrow` behind `lists`; `carried` holds (factors or None, eligible, popularity)."""

    def make(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        factors, eligible, popularity = carried.value
        for batch in batches:
            taste = ragged_of(batch, "items", "strengths")
            blocked = ragged_of(batch, "blocked")
            fallback = popular_lists(popularity, eligible, blocked, k)
            if factors is None:
                chosen = np.full_like(fallback[0], -1)
                scores, because = np.full(chosen.shape, np.nan), np.full(chosen.shape, -1)
            else:
                chosen, scores, because = factor_lists(factors, taste, blocked, eligible, k, regularisation, alpha)
            yield emit(batch, filled(chosen, scores, because, *fallback))

    return make


def popular_lists(
    popularity: NDArray[np.float64], eligible: NDArray[np.bool_], blocked: Ragged, k: int
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """(items, scores) [users, k] of the most popular eligible items that are not blocked for the user, padded."""
    ones = np.ones((len(blocked), 1), dtype=np.float32)
    return als.top_k(ones, popularity.astype(np.float32)[:, None], k, blocked=blocked, eligible=eligible)


def factor_lists(
    factors: NDArray[np.float32],
    taste: Ragged,
    blocked: Ragged,
    eligible: NDArray[np.bool_],
    k: int,
    regularisation: float,
    alpha: float,
) -> tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.int64]]:
    """(items, scores, because) [users, k] by folding each user in; padded where the user has no known taste."""
    shared = als.gram(factors)
    users = als.fold_in(taste, factors, regularisation=regularisation, alpha=alpha, shared=shared)
    known = (factors != 0).any(axis=1)
    items, scores = als.top_k(users, factors, k, blocked=blocked, eligible=eligible & known)
    stranger = ~(users != 0).any(axis=1)
    items[stranger], scores[stranger] = -1, np.nan
    because = np.full(items.shape, -1, dtype=np.int64)
    wide = factors.astype(np.float64)
    for row in np.flatnonzero(~stranger):
        history = slice(taste.offsets[row], taste.offsets[row + 1])
        because[row] = heaviest(wide, shared, taste, history, items[row], regularisation, alpha)
    return items, scores, because


def heaviest(
    wide: NDArray[np.float64],
    shared: NDArray[np.float64],
    taste: Ragged,
    history: slice,
    listed: NDArray[np.int64],
    regularisation: float,
    alpha: float,
) -> NDArray[np.int64]:
    """For each listed item: the history item with the largest share of its score, -1 for padding.

    With A the user's matrix of the normal equation, the score of i is the sum over history items j of
    (1 + alpha r_j) y_i' A^-1 y_j (equation 7 of the paper in this project's notation): each term is j's share. Only
    the strongest hundred of a history are compared; the sum over all of them is the score.
    """
    assert taste.values is not None  # noqa: S101 - a type for mypy: tastes always carry strengths
    items, strengths = taste.items[history], taste.values[history]
    known = (wide[items] != 0).any(axis=1)
    items, strengths = items[known], strengths[known]
    vectors = wide[items]
    matrix = shared + (vectors.T * (alpha * strengths)) @ vectors
    matrix[np.diag_indices_from(matrix)] += regularisation * len(items)
    strongest = np.argsort(-strengths, kind="stable")[:EXPLAINED_HISTORY]
    reach = np.linalg.solve(matrix, vectors[strongest].T)
    shares = (wide[np.maximum(listed, 0)] @ reach) * (1.0 + alpha * strengths[strongest])
    # An item is no reason for itself, unless it is all there is.
    itself = items[strongest][None, :] == listed[:, None]
    best = items[strongest][np.argmax(np.where(itself, -np.inf, shares), axis=1)]
    best = np.where(itself.all(axis=1), listed, best)
    return np.where(listed >= 0, best, -1)


def filled(
    chosen: NDArray[np.int64],
    scores: NDArray[np.float64],
    because: NDArray[np.int64],
    popular: NDArray[np.int64],
    popular_scores: NDArray[np.float64],
) -> tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.int64], NDArray[np.bool_]]:
    """Lists whose empty places are filled with the popular items they lack: (items, scores, because, is_popular)."""
    is_popular = np.zeros(chosen.shape, dtype=np.bool_)
    for row in np.flatnonzero((chosen < 0).any(axis=1)):
        empty = np.flatnonzero(chosen[row] < 0)
        fresh = (popular[row] >= 0) & ~np.isin(popular[row], chosen[row])
        places = np.flatnonzero(fresh)[: len(empty)]
        target = empty[: len(places)]
        chosen[row, target], scores[row, target] = popular[row, places], popular_scores[row, places]
        is_popular[row, target] = True
    return chosen, scores, because, is_popular


def emit(
    batch: pa.RecordBatch,
    made: tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.int64], NDArray[np.bool_]],
) -> pa.RecordBatch:
    """The lists as rows of LISTED."""
    import pyarrow as pa

    items, scores, because, is_popular = made
    row, place = np.nonzero(items >= 0)
    source = np.where(is_popular[row, place], "popularity", "als")
    return pa.RecordBatch.from_arrays(
        [
            batch.column("user_key").take(pa.array(row)).cast(pa.string()),
            pa.array(place + 1, pa.int32()),
            pa.array(items[row, place], pa.int32()),
            pa.array(scores[row, place], pa.float64()),
            pa.array(source, pa.string()),
            pa.array(because[row, place], pa.int32()),
        ],
        names=["user_key", "rank", "item", "score", "candidate_source", "because"],
    )


def ragged_of(batch: pa.RecordBatch, items: str, values: str | None = None) -> Ragged:
    """A column of arrays (null: an empty row), with the values beside them where `values` names their column."""
    column = batch.column(items)
    offsets = offsets_of(column.value_lengths().fill_null(0).to_numpy(zero_copy_only=False).astype(np.int64))
    flat = column.flatten()
    if flat.null_count:
        raise ValueError(f"lists: {flat.null_count} entries of {items} are null")
    weights = None
    if values is not None:
        numbers = batch.column(values)
        if numbers.null_count or not numbers.value_lengths().equals(column.value_lengths()):
            raise ValueError(f"lists: {items} and {values} must be arrays of equal length in every row")
        weights = numbers.flatten().to_numpy(zero_copy_only=False).astype(np.float64)
    return Ragged(offsets, flat.to_numpy(zero_copy_only=False).astype(np.int64), weights)
