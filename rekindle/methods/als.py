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
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

import numpy as np
from numpy.typing import NDArray

from rekindle.methods.decay import decayed_sum, event_weight
from rekindle.methods.ragged import Ragged

if TYPE_CHECKING:
    from pyspark.sql import Column

BLOCK_CELLS = 4_000_000  # numbers held at a time: 32 MB of float64 gathered factors
RANKED_USERS, RANKED_ITEMS = 256, 2048  # scored at a time: 2 MB of float32, which stay near the processor
PRUNED = 8  # candidates held, as a multiple of what is wanted, before those that are beaten are dropped

Number = TypeVar("Number", bound=np.generic)


def confidence_weights(event: Column, age_days: Column, weights: Mapping[str, float], half_life_days: float) -> Column:
    """Aggregate: the strength r = Σ weight(event) · 2^(−age / half-life) of a (user, item) group, double.

    Event types without a weight count nothing; a group of only such has null. Negative weights (a return) lower it.
    Rounded to a millionth an event, so the order of rows does not matter. A negative age stops the query.
    """
    return decayed_sum(event_weight(event, weights), age_days, half_life_days)


def gram(item_factors: NDArray[np.float32]) -> NDArray[np.float64]:
    """Σ_i y_i y_iᵀ, float64 [rank, rank]: the part of the equation that all users share."""
    wide = item_factors.astype(np.float64)
    return wide.T @ wide


def padded_lengths(lengths: NDArray[np.int64]) -> NDArray[np.int64]:
    """Each length rounded up to at most a quarter more, so that rows of like length make one array; 0 stays 0."""
    step = 2 ** np.maximum(np.floor(np.log2(np.maximum(lengths, 1))).astype(np.int64) - 2, 0)
    padded: NDArray[np.int64] = (lengths + step - 1) // step * step
    return padded


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
    eigenvalues, turn = np.linalg.eigh(base)
    spread: NDArray[np.float64] = np.maximum(eigenvalues, 0.0)
    rank = item_factors.shape[1]
    heard = (item_factors != 0).any(axis=1)[strengths.items]
    confidence = np.where(heard, alpha * np.abs(strengths.values), 0.0)
    pull = np.where(heard & (strengths.values > 0), 1.0 + alpha * strengths.values, 0.0)
    positives = np.bincount(strengths.rows()[pull > 0], minlength=len(strengths)).astype(np.float64)

    result = np.zeros((len(strengths), rank), dtype=np.float32)
    lengths = strengths.lengths()
    # Users are solved together with those of like length, padded alike: the padded shape depends on the user alone, so
    # who shares a batch cannot change a bit.
    padded = padded_lengths(lengths)
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
            wanted = np.where(inside, pull[place], 0.0)[:, :, None]
            ridge = regularisation * positives[users][:, None]
            if width < rank:
                solved = turn @ _by_items(gathered @ turn, extra, wanted, spread + ridge)
            else:
                left = base + (gathered * extra[:, :, None]).transpose(0, 2, 1) @ gathered
                left[:, np.arange(rank), np.arange(rank)] += ridge
                solved = np.linalg.solve(left, gathered.transpose(0, 2, 1) @ wanted).astype(np.float64, copy=False)
            result[users] = solved[:, :, 0]
    return result


def _by_items(
    gathered: NDArray[np.float64],
    extra: NDArray[np.float64],
    wanted: NDArray[np.float64],
    diagonal: NDArray[np.float64],
) -> NDArray[np.float64]:
    """(D + YᵀCY)⁻¹ Yᵀp as D⁻¹Yᵀ(I + C·Y D⁻¹Yᵀ)⁻¹ p: for fewer items than the rank, a smaller system.

    Y is in the basis where Σ y_i y_iᵀ is diagonal, and D is that diagonal with the ridge.
    """
    scaled = gathered / diagonal[:, None, :]
    left = extra[:, :, None] * (gathered @ scaled.transpose(0, 2, 1))
    left[:, np.arange(left.shape[1]), np.arange(left.shape[1])] += 1.0
    return scaled.transpose(0, 2, 1) @ np.linalg.solve(left, wanted)


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
    lengths = np.linalg.norm(item_factors, axis=1)
    order = np.argsort(-lengths, kind="stable")
    if eligible is not None:
        order = order[eligible[order]]
    # Items without factors tie for everybody: the lowest that are not blocked are all that can be listed.
    enough = k + int(blocked.lengths().max(initial=0) if blocked is not None else 0)
    order = order[: np.count_nonzero(lengths[order]) + enough]
    place = np.full(n_items, -1, dtype=np.int64)
    place[order] = np.arange(len(order))
    ranked = _Ranked(order, place, lengths[order], item_factors[order])
    for start in range(0, users, RANKED_USERS):
        mine = user_factors[start : start + RANKED_USERS]
        never = Ragged.empty(len(mine)) if blocked is None else blocked.between(start, start + len(mine))
        row, column = _candidates(mine, ranked, k, never)
        by_item = np.lexsort((column, row))  # so that ties go to the lower item
        row, column = row[by_item], column[by_item]
        exact = _inner_products(mine, item_factors, row, column)
        best = np.argsort(-_padded(row, exact, len(mine), -np.inf), axis=1, kind="stable")[:, :k]
        found = np.take_along_axis(_padded(row, column, len(mine), -1), best, axis=1)
        items[start : start + len(mine), : best.shape[1]] = found
        value = np.take_along_axis(_padded(row, exact, len(mine), np.nan), best, axis=1)
        scores[start : start + len(mine), : best.shape[1]] = value
    return items, scores


@dataclass(frozen=True)
class _Ranked:
    """Items that may be listed, the longest factors first: their indexes, where each item stands among them (−1: not),
    the lengths, the factors."""

    items: NDArray[np.int64]
    place: NDArray[np.int64]
    lengths: NDArray[np.float32]
    factors: NDArray[np.float32]


def _candidates(
    mine: NDArray[np.float32], ranked: _Ranked, k: int, never: Ragged
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """(row, item) of every score that may be among the k best once rounding is taken away.

    Scores are float32, a slice of items at a time. The first slice, of the longest factors, tells nearly what the k-th
    best will be: what is below is dropped as soon as it is computed, and a user to whom |u| · |y| says that nothing can
    follow is done (Teflioudi, Gemulla and Mykytiuk 2015).
    """
    reach = np.linalg.norm(mine, axis=1)
    # An inner product of rank terms in float32 errs by at most about rank · 2^-24 · |u| · |y|; two of them, doubled.
    slack = np.float32(4.0 * mine.shape[1] * 2.0**-24) * reach * ranked.lengths.max(initial=0.0)
    floor = np.full(len(mine), np.finfo(np.float32).min)
    never_row, never_place = never.rows(), ranked.place[never.items]
    row, item, value = np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.float32)
    for first in range(0, len(ranked.items), RANKED_ITEMS):
        open_rows = np.flatnonzero(reach * ranked.lengths[first] >= floor)
        if not len(open_rows):
            break
        rough = mine[open_rows] @ ranked.factors[first : first + RANKED_ITEMS].T
        width = rough.shape[1]
        seat = np.full(len(mine), -1, dtype=np.int64)
        seat[open_rows] = np.arange(len(open_rows))
        here = (never_place >= first) & (never_place < first + width) & (seat[never_row] >= 0)
        rough[seat[never_row[here]], never_place[here] - first] = -np.inf
        if not first and width > k:
            floor = np.maximum(floor, np.partition(rough, width - k, axis=1)[:, width - k] - slack)
        found = np.flatnonzero(rough >= floor[open_rows, None])
        found_row, found_place = np.divmod(found, width)
        row = np.concatenate([row, open_rows[found_row]])
        item = np.concatenate([item, ranked.items[first + found_place]])
        value = np.concatenate([value, rough.ravel()[found]])
        if len(row) > PRUNED * k * len(mine):
            row, item, value, floor = _pruned(row, item, value, floor, slack, k)
    row, item, *_ = _pruned(row, item, value, floor, slack, k)
    return row, item


def _pruned(
    row: NDArray[np.int64],
    item: NDArray[np.int64],
    value: NDArray[np.float32],
    floor: NDArray[np.float32],
    slack: NDArray[np.float32],
    k: int,
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float32], NDArray[np.float32]]:
    """Candidates without those that k others beat for certain, and the floors that this tells."""
    padded = _padded(row, value, len(floor), -np.inf)
    if padded.shape[1] > k:
        kth = np.partition(padded, padded.shape[1] - k, axis=1)[:, padded.shape[1] - k]
        floor = np.maximum(floor, kth - slack)
        kept = value >= floor[row]
        row, item, value = row[kept], item[kept], value[kept]
    return row, item, value, floor


def _padded(row: NDArray[np.int64], value: NDArray[Number], rows: int, empty: float) -> NDArray[Number]:
    """[rows, most values a row]: the values of each row in their order, then `empty`."""
    order = np.argsort(row, kind="stable")
    lengths = np.bincount(row, minlength=rows)
    first = np.cumsum(lengths) - lengths
    padded = np.full((rows, int(lengths.max(initial=0))), empty, dtype=value.dtype)
    padded[row[order], np.arange(len(row)) - first[row[order]]] = value[order]
    return padded


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
