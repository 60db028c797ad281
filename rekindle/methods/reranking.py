"""From a user's candidates to a list, place by place: the most relevant one that is least like what the list has.

Maximal marginal relevance (Carbonell and Goldstein 1998, section 2): the next is the candidate d with the largest
w · relevance(d) − (1 − w) · max over the list's d' of likeness(d, d'). Relevance lies within 0 and 1. Candidates stand
in tiers, and a tier is asked only when those before it have nothing left that may be taken: what a list's first source
says is never mixed with what fills it up. At each place are asked, in this order: candidates of the kind that the
place is kept for and of a category that is not full; the other kind (the kept place gives way first); anything at all
(then the cap gives way).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rekindle.methods import bootstrap, ranking
from rekindle.methods.bootstrap import Interval
from rekindle.methods.ragged import Ragged

VECTOR_CELLS = 4_000_000  # numbers of candidates' vectors held at a time: 32 MB
SEED = 20260101
LIKENESS_DIGITS = 9  # what the order of summing a dot product may change is far below
KIND_GAVE_WAY, CAP_GAVE_WAY = 1, 2


@dataclass(frozen=True, eq=False)
class Candidates:
    """Items that may be listed, a row a user, each row in the order of sources and scores, padded with −1.

    Attributes:
        item: int64 [users, width].
        tier: int64 [users, width], never falling along a row.
        relevance: float64 [users, width], 0 to 1.
        is_repeat: bool [users, width].
    """

    item: NDArray[np.int64]
    tier: NDArray[np.int64]
    relevance: NDArray[np.float64]
    is_repeat: NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Manner:
    """How lists are made: `relevance` is w; `category` int64 [n_items], −1 none; `cap` int64 [n_items], at most so
    many of the item's category; `repeat_at` bool [k], places kept for repeats and, where False, for the rest, None:
    no place is kept; `vectors` float64 [n_items, any] of length 1 or 0, None: likeness is by category."""

    k: int
    relevance: float
    category: NDArray[np.int64]
    cap: NDArray[np.int64]
    repeat_at: NDArray[np.bool_] | None = None
    vectors: NDArray[np.float64] | None = None


def listed(candidates: Candidates, manner: Manner) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """(place among the candidates, what gave way) of each place in the lists, int64 [users, k].

    The place is −1 where no candidate is left; what gave way is 0, KIND_GAVE_WAY or CAP_GAVE_WAY.
    """
    users, width = candidates.item.shape
    chosen = np.full((users, manner.k), -1, dtype=np.int64)
    gave_way = np.zeros((users, manner.k), dtype=np.int64)
    step = max(1, users)
    if manner.vectors is not None and manner.relevance < 1:
        step = max(1, VECTOR_CELLS // max(1, width * manner.vectors.shape[1]))
    for start in range(0, users, step):
        rows = slice(start, start + step)
        some = Candidates(
            candidates.item[rows], candidates.tier[rows], candidates.relevance[rows], candidates.is_repeat[rows]
        )
        chosen[rows], gave_way[rows] = _listed(some, manner)
    return chosen, gave_way


def _listed(candidates: Candidates, manner: Manner) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    item = candidates.item
    users, width = item.shape
    row = np.arange(users)
    category, cap = manner.category[item], manner.cap[item]
    free, of_category = item >= 0, np.zeros((users, width), dtype=np.int64)
    likeness = _Likeness(item, category, manner)
    chosen = np.full((users, manner.k), -1, dtype=np.int64)
    gave_way = np.zeros((users, manner.k), dtype=np.int64)
    for place in range(min(manner.k, width)):
        allowed = free & (of_category < cap)
        if manner.repeat_at is not None:
            kept = allowed & (candidates.is_repeat == manner.repeat_at[place])
            other = np.asarray(~kept.any(axis=1))
            gave_way[other, place] = KIND_GAVE_WAY
            allowed = np.where(other[:, None], allowed, kept)
        full = np.asarray(~allowed.any(axis=1))
        if full.any():
            allowed[full] = free[full]
            gave_way[full, place] = CAP_GAVE_WAY
        any_left = np.asarray(allowed.any(axis=1))
        tier = candidates.tier[row, allowed.argmax(axis=1)]
        best = np.where(allowed & (candidates.tier == tier[:, None]), likeness.marginal(candidates.relevance), -np.inf)
        taken = best.argmax(axis=1)  # of equals the first
        chosen[:, place] = np.where(any_left, taken, -1)
        gave_way[~any_left, place] = 0
        free[row, taken] &= ~any_left
        same = (category == category[row, taken][:, None]) & (category >= 0) & any_left[:, None]
        of_category += same
        likeness.add(taken, same)
    return chosen, gave_way


class _Likeness:
    """The largest likeness of each candidate to what its user's list has."""

    def __init__(self, item: NDArray[np.int64], category: NDArray[np.int64], manner: Manner) -> None:
        self._weight = manner.relevance
        self._vectors = None
        self._largest: NDArray[np.float64] | None = None
        if manner.vectors is not None and manner.relevance < 1:
            self._vectors = manner.vectors[item]

    def marginal(self, relevance: NDArray[np.float64]) -> NDArray[np.float64]:
        if self._weight == 1 or self._largest is None:
            return relevance * self._weight
        return self._weight * relevance - (1 - self._weight) * self._largest

    def add(self, taken: NDArray[np.int64], same: NDArray[np.bool_]) -> None:
        if self._weight == 1:
            return
        like = same.astype(np.float64)
        if self._vectors is not None:
            one = self._vectors[np.arange(len(taken)), taken][:, None, :]
            like = np.round((self._vectors * one).sum(axis=2), LIKENESS_DIGITS)
        self._largest = like if self._largest is None else np.maximum(self._largest, like)


def unit_rows(vectors: NDArray[np.float64]) -> NDArray[np.float64]:
    """Vectors of length 1 in the same directions; rows of 0 stay."""
    length = np.sqrt((vectors * vectors).sum(axis=1, keepdims=True))
    found: NDArray[np.float64] = np.divide(vectors, length, out=np.zeros(vectors.shape), where=length > 0)
    return found


def places_for_repeats(share: float, k: int) -> NDArray[np.bool_]:
    """Which of k places are kept for repeats: bool [k], round(share · k) of them, spread evenly."""
    many = round(share * k)
    place = np.arange(k + 1)
    return np.diff(place * many // k) > 0


def relevance_of(
    score: NDArray[np.float64],
    tier: NDArray[np.int64],
    terms: Sequence[tuple[float, NDArray[np.float64]]] = (),
    added: NDArray[np.float64] | None = None,
) -> NDArray[np.float64]:
    """Scores with optional terms on one scale: float64 [users, width], 0 to 1 within each user's tier, 0 for padding.

    `score` is −inf and `tier` −1 for padding. With terms, the score in standard deviations from its mean over the
    user's tier, plus each weight times the term, likewise standardised over those whose term is known (not NaN; the
    others get 0), plus what is `added`, in standard deviations. Then the least of the tier is 0 and the greatest 1;
    where all are equal, 1. No step turns an order round, so without terms it is that of the scores, and equal ones
    stay equal.
    """
    found = np.zeros(score.shape)
    for number in np.unique(tier[tier >= 0]):
        within = tier == number
        value = np.where(within, score, 0.0)
        if terms or added is not None:
            value = _standardised(value, within) + (0.0 if added is None else added)
            for weight, term in terms:
                value = value + weight * _standardised(term, within & ~np.isnan(term))
        least = np.where(within, value, np.inf).min(axis=1, keepdims=True)
        span = np.where(within, value, -np.inf).max(axis=1, keepdims=True) - least
        with np.errstate(invalid="ignore", divide="ignore"):
            share = np.where(span > 0, (value - least) / span, 1.0)
        found[within] = share[within]
    return found


def _standardised(values: NDArray[np.float64], known: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Standard deviations from the mean of those known in the row; 0 for the others, and where all are equal.

    Summed from left to right, so that what pads a row changes no bit.
    """
    count = np.maximum(known.sum(axis=1, keepdims=True), 1)
    mean = np.cumsum(np.where(known, values, 0.0), axis=1)[:, -1:] / count
    away = np.where(known, values - mean, 0.0)
    deviation = np.sqrt(np.cumsum(away * away, axis=1)[:, -1:] / count)
    found: NDArray[np.float64] = np.divide(away, deviation, out=np.zeros(away.shape), where=deviation > 0)
    return found


@dataclass(frozen=True)
class Cost:
    """What rules cost on users with something relevant: mean nDCG at k before and after, and after − before with its
    95 % interval over the same users."""

    users: int
    before: float
    after: float
    difference: Interval


def cost(before: NDArray[np.int64], after: NDArray[np.int64], truth: Ragged, k: int) -> Cost:
    """How much nDCG at k the lists `after` rules have lost (below 0) or won on those `before`, given what users did.

    Raises:
        ValueError: nothing was relevant to anybody, or the lists are not of these users.
    """
    left, right = (ranking.ndcg(ranking.judge(lists, truth, k)) for lists in (after, before))
    known = ~np.isnan(left)
    if not known.any():
        raise ValueError("rules: nobody had anything relevant, so their cost is not known")
    difference = bootstrap.paired_mean_difference(left[known], right[known], seed=SEED)
    return Cost(int(known.sum()), float(right[known].mean()), float(left[known].mean()), difference)
