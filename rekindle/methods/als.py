"""Implicit-feedback matrix factorisation (Hu, Koren and Volinsky 2008): train on Spark, fold in and rank in numpy.

What Spark ML's ALS solves with `implicitPrefs` (read in its source, `ALS.computeFactors`; version 4.1), for each user
u with strengths r_ui over item factors y_i, is not quite the paper's equation: the ridge is weighted as in ALS-WR
(Zhou et al. 2008) by n_u, the number of u's items with r_ui > 0:

    ( Σ_all i  y_i y_iᵀ  +  Σ_i  α·|r_ui| · y_i y_iᵀ  +  λ · n_u · I ) x_u  =  Σ_{i: r_ui > 0} (1 + α·r_ui) · y_i

that is confidence 1 + α·|r| with preference 1 where r > 0 and 0 elsewhere. The last half-step of Spark's loop is the
users', so Spark's own user factors are exactly this solution for its final item factors; `fold_in` solves the same.

Factors are stored in float32 and every system is solved in float64.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from rekindle.methods.decay import decayed_sum, event_weight
from rekindle.methods.ragged import Ragged

if TYPE_CHECKING:
    from pyspark.ml.recommendation import ALSModel
    from pyspark.sql import Column, DataFrame

BLOCK_CELLS = 4_000_000  # numbers held at a time: 16 MB of float32 scores, 32 MB of float64 gathered factors


def confidence_weights(event: Column, age_days: Column, weights: Mapping[str, float], half_life_days: float) -> Column:
    """Aggregate: the strength r = Σ weight(event) · 2^(−age / half-life) of a (user, item) group, double.

    Event types without a weight count nothing; a group of only such has null. Negative weights (a return) lower it.
    Rounded to a millionth an event, so the order of rows does not matter. A negative age stops the query.
    """
    return decayed_sum(event_weight(event, weights), age_days, half_life_days)


def fit(
    interactions: DataFrame,
    *,
    rank: int,
    regularisation: float,
    alpha: float,
    iterations: int,
    seed: int,
    blocks: int = 4,
) -> ALSModel:
    """Spark's ALS model of (user int, item int, strength float or double), one row a pair, strength not null or NaN.

    `regularisation` is λ and `alpha` α of the module's equation. `blocks` splits users and items for the cluster;
    it takes part in the random start, so another number gives other (equally good) factors.

    Raises:
        ValueError: no rows, fewer than two users or items, a pair twice (Spark would count its confidence twice),
            or strengths that are null, NaN or infinite; all faults in one message with their counts.
    """
    from pyspark.ml.recommendation import ALS

    _check_interactions(interactions)
    return ALS(
        userCol="user",
        itemCol="item",
        ratingCol="strength",
        implicitPrefs=True,
        rank=rank,
        regParam=regularisation,
        alpha=alpha,
        maxIter=iterations,
        seed=seed,
        numUserBlocks=blocks,
        numItemBlocks=blocks,
    ).fit(interactions)


def item_factor_array(model: ALSModel, n_items: int) -> NDArray[np.float32]:
    """The model's item factors as float32 [n_items, rank], row i for item i; zeros for an item without interactions.

    Grows with the catalogue, not with users.

    Raises:
        ValueError: the model knows an item outside 0 … n_items − 1.
    """
    table = model.itemFactors.toArrow()
    index = table.column("id").to_numpy().astype(np.int64)
    if len(index) and (index.min() < 0 or index.max() >= n_items):
        raise ValueError(f"ALS: item indexes {index.min()} to {index.max()} found, expected 0 to {n_items - 1}")
    flat = table.column("features").combine_chunks().flatten().to_numpy(zero_copy_only=False)
    factors = np.zeros((n_items, model.rank), dtype=np.float32)
    factors[index] = flat.reshape(len(index), model.rank)
    return factors


def fit_item_factors(
    interactions: DataFrame,
    *,
    n_items: int,
    rank: int,
    regularisation: float,
    alpha: float,
    iterations: int,
    seed: int,
    blocks: int = 4,
) -> NDArray[np.float32]:
    """Item factors float32 [n_items, rank] of `fit` on the same arguments: all that is stored of a model.

    No user's factors leave Spark: users are folded in when they are scored. Raises as `fit` and `item_factor_array`.
    """
    model = fit(
        interactions,
        rank=rank,
        regularisation=regularisation,
        alpha=alpha,
        iterations=iterations,
        seed=seed,
        blocks=blocks,
    )
    return item_factor_array(model, n_items)


def gram(item_factors: NDArray[np.float32]) -> NDArray[np.float64]:
    """Σ_i y_i y_iᵀ, float64 [rank, rank]: the part of the equation that all users share."""
    wide = item_factors.astype(np.float64)
    return wide.T @ wide


def fold_in(
    strengths: Ragged,
    item_factors: NDArray[np.float32],
    *,
    regularisation: float,
    alpha: float,
    shared: NDArray[np.float64] | None = None,
) -> NDArray[np.float32]:
    """User factors float32 [users, rank]: the exact solution of the module's equation for fixed item factors.

    A user's factors depend on no other user, to the last bit. Zeros for a user without a positive strength on a
    known item. Items that the model does not know (zero factors) are left out, of n_u too. `shared` is `gram` of the
    same item factors where the caller has it already.

    Raises:
        ValueError: strengths without values, an item beyond the factors, λ not above 0, α below 0.
    """
    if strengths.values is None:
        raise ValueError("fold_in: the interactions carry no strengths")
    if not (regularisation > 0 and alpha >= 0):
        raise ValueError(f"fold_in: regularisation {regularisation} and alpha {alpha}, expected above 0, and 0 or more")
    _check_items(strengths, len(item_factors), "fold_in")
    wide = item_factors.astype(np.float64)
    base = gram(item_factors) if shared is None else shared
    rank = item_factors.shape[1]
    heard = (item_factors != 0).any(axis=1)[strengths.items]
    confidence = np.where(heard, alpha * np.abs(strengths.values), 0.0)
    pull = np.where(heard & (strengths.values > 0), 1.0 + alpha * strengths.values, 0.0)
    positives = np.bincount(strengths.rows()[pull > 0], minlength=len(strengths)).astype(np.float64)

    result = np.zeros((len(strengths), rank), dtype=np.float32)
    lengths = strengths.lengths()
    # Users are solved together with those of like length, padded to the next power of two: the padded shape depends
    # on the user alone, so who shares a batch cannot change a bit.
    padded = np.where(lengths > 0, 2 ** np.ceil(np.log2(np.maximum(lengths, 1))), 0).astype(np.int64)
    for width in np.unique(padded[positives > 0]):
        members = np.flatnonzero((padded == width) & (positives > 0))
        batch = max(1, BLOCK_CELLS // int(rank * max(width, rank)))
        for start in range(0, len(members), batch):
            users = members[start : start + batch]
            place = strengths.offsets[users][:, None] + np.arange(width)
            inside = np.arange(width) < lengths[users][:, None]
            place = np.where(inside, place, 0)
            gathered = wide[strengths.items[place]]
            extra = np.where(inside, confidence[place], 0.0)
            left = base + (gathered * extra[:, :, None]).transpose(0, 2, 1) @ gathered
            left[:, np.arange(rank), np.arange(rank)] += regularisation * positives[users][:, None]
            right = np.where(inside, pull[place], 0.0)[:, None, :] @ gathered
            result[users] = np.linalg.solve(left, right.transpose(0, 2, 1))[:, :, 0]
    return result


def top_k(
    user_factors: NDArray[np.float32],
    item_factors: NDArray[np.float32],
    k: int,
    *,
    blocked: Ragged | None = None,
    eligible: NDArray[np.bool_] | None = None,
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """(items int64 [users, k], scores float64 [users, k]) of the k best items a user, best first.

    Padded with −1 and NaN where fewer are left. A user's `blocked` items never appear, nor items whose `eligible`
    (bool [items]) is false. A score is the inner product, summed in float64 in a fixed order; ties go to the lower
    item index. So a list does not depend on which users share a block.

    Raises:
        ValueError: shapes that do not fit, or an item beyond the factors.
    """
    users, n_items = len(user_factors), len(item_factors)
    if k < 1 or user_factors.shape[1] != item_factors.shape[1]:
        raise ValueError(f"top_k: k {k}, factors of rank {user_factors.shape[1]} and {item_factors.shape[1]}")
    if blocked is not None:
        if len(blocked) != users:
            raise ValueError(f"top_k: {len(blocked)} rows of blocked items for {users} users")
        _check_items(blocked, n_items, "top_k")
    if eligible is not None and len(eligible) != n_items:
        raise ValueError(f"top_k: eligible has {len(eligible)} items, expected {n_items}")
    items = np.full((users, k), -1, dtype=np.int64)
    scores = np.full((users, k), np.nan)
    block = max(1, BLOCK_CELLS // max(n_items, 1))
    longest = float(np.linalg.norm(item_factors, axis=1).max(initial=0.0))
    for start in range(0, users, block):
        mine = user_factors[start : start + block]
        rough = mine @ item_factors.T
        if eligible is not None:
            rough[:, ~eligible] = -np.inf
        if blocked is not None:
            some = blocked.between(start, start + len(mine))
            rough[some.rows(), some.items] = -np.inf
        row, column = _candidates(rough, mine, longest, k)
        exact = _inner_products(mine, item_factors, row, column)
        order = np.lexsort((column, -exact, row))
        row, column, exact = row[order], column[order], exact[order]
        first = np.searchsorted(row, np.arange(len(mine)))
        place = np.arange(len(row)) - first[row]
        kept = place < k
        items[start + row[kept], place[kept]] = column[kept]
        scores[start + row[kept], place[kept]] = exact[kept]
    return items, scores


def _candidates(
    rough: NDArray[np.float32], mine: NDArray[np.float32], longest: float, k: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """(row, column) of every score that may be among the k best once rounding is taken away."""
    n_items = rough.shape[1]
    if n_items <= k:
        return _places(rough > -np.inf)
    kth = np.partition(rough, n_items - k, axis=1)[:, n_items - k]
    # An inner product of rank terms in float32 errs by at most about rank · 2^-24 · |u| · |y|; two of them, doubled.
    slack = 4.0 * mine.shape[1] * 2.0**-24 * np.linalg.norm(mine, axis=1) * longest
    floor = np.maximum(kth - slack, np.finfo(np.float32).min)
    return _places(rough >= floor[:, None])


def _places(wanted: NDArray[np.bool_]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    row, column = np.nonzero(wanted)
    return row.astype(np.int64), column.astype(np.int64)


def _inner_products(
    left: NDArray[np.float32], right: NDArray[np.float32], row: NDArray[np.int64], column: NDArray[np.int64]
) -> NDArray[np.float64]:
    """left[row] · right[column] in float64, each summed in the same order whatever stands beside it."""
    result = np.empty(len(row))
    step = max(1, BLOCK_CELLS // left.shape[1])
    for start in range(0, len(row), step):
        part = slice(start, start + step)
        result[part] = (left[row[part]].astype(np.float64) * right[column[part]]).sum(axis=1)
    return result


def _check_items(rows: Ragged, n_items: int, what: str) -> None:
    if len(rows.items) and rows.items.max() >= n_items:
        raise ValueError(f"{what}: item index {rows.items.max()} found, expected 0 to {n_items - 1}")


def _check_interactions(interactions: DataFrame) -> None:
    from pyspark.sql import functions as F

    strength = F.col("strength").cast("double")
    unusable = strength.isNull() | F.isnan(strength) | (F.abs(strength) == F.lit(float("inf")))
    pairs = interactions.groupBy("user", "item").agg(
        F.count(F.lit(1)).alias("rows"), F.sum(unusable.cast("int")).alias("unusable")
    )
    found = pairs.agg(
        F.count_if(F.col("rows") > 1).alias("twice"),
        F.coalesce(F.sum("unusable"), F.lit(0)).alias("unusable"),
        # min ≠ max says "at least two" without the memory of a distinct count
        (F.min("user") < F.max("user")).alias("users"),
        (F.min("item") < F.max("item")).alias("items"),
    ).first()
    if found is None:
        raise ValueError("ALS: the interactions gave no summary row")
    faults = []
    if found["twice"]:
        faults.append(f"{found['twice']} (user, item) pairs stand in more than one row; sum their strengths first")
    if found["unusable"]:
        faults.append(f"{found['unusable']} strengths are null, NaN or infinite")
    if not found["users"] or not found["items"]:
        faults.append("fewer than two users or two items; there is nothing to factorise, use popularity")
    if faults:
        raise ValueError("ALS interactions: " + "; ".join(faults))
