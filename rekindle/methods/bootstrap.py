"""Paired bootstrap intervals: is one model better than another on the same users, or was it luck?

Each draw gives every row a weight from Poisson(1), the large-sample form of drawing rows with replacement
(Hanley and MacGibbon 2006, "Creating non-parametric bootstrap samples using Poisson frequencies"), and both models
are measured with the same weights: what makes a row hard for both cancels. Intervals are percentiles of the draws
(Efron and Tibshirani 1993, ch. 13). Weights are drawn in blocks, so memory does not grow with draws; the result
depends on the seed and not on the block.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

BLOCK_CELLS = 2_000_000  # weights held at a time: 16 MB, and a few times that for their sums
LEAST_OF_A_CLASS = 10  # below this a draw without the class is no longer rare (e^-10 = 0.00005 a draw)


@dataclass(frozen=True)
class Interval:
    """A figure with its 95 % percentile interval.

    Attributes:
        point: the figure on all rows, unweighted.
        low, high: the 2.5 and 97.5 percentiles of the draws (or what `confidence` said).
        draws: draws in which the figure existed; the interval rests on these.
    """

    point: float
    low: float
    high: float
    draws: int

    @property
    def excludes_zero(self) -> bool:
        """Whether zero lies outside the interval: the claim "better" (or "worse") may be made."""
        return self.low > 0 or self.high < 0


def paired_mean_difference(
    left: NDArray[np.float64], right: NDArray[np.float64], *, seed: int, draws: int = 2000, confidence: float = 0.95
) -> Interval:
    """Interval of mean(left) − mean(right), where row i of both is the same user. Above 0: left is larger.

    Raises:
        ValueError: unequal lengths, no rows, NaN in either (leave out the same users on both sides first),
            or a number of draws or a confidence without meaning.
    """
    if len(left) != len(right):
        raise ValueError(f"paired bootstrap: {len(left)} rows on the left, {len(right)} on the right; expected equal")
    _check(len(left), draws, confidence)
    difference = np.asarray(left, dtype=np.float64) - np.asarray(right, dtype=np.float64)
    if not np.isfinite(difference).all():
        raise ValueError(f"paired bootstrap: {int((~np.isfinite(difference)).sum())} rows are NaN or infinite")
    found: list[NDArray[np.float64]] = []
    for weights in _poisson_blocks(len(difference), draws, seed):
        total = weights.sum(axis=1)
        drawn = total > 0  # a draw of no row at all has no mean
        found.append((weights[drawn] @ difference) / total[drawn])
    return _interval(float(difference.mean()), np.concatenate(found), confidence)


def paired_auc_difference(
    label: NDArray[np.bool_],
    left: NDArray[np.float64],
    right: NDArray[np.float64],
    *,
    seed: int,
    draws: int = 1000,
    confidence: float = 0.95,
) -> Interval:
    """Interval of ROC-AUC(left) − ROC-AUC(right) of two score vectors over the same rows. Above 0: left is better.

    Raises:
        ValueError: as `auc_draws`, or unequal lengths.
    """
    if not len(label) == len(left) == len(right):
        raise ValueError(
            f"paired bootstrap: {len(label)} labels, {len(left)} left and {len(right)} right scores; expected equal"
        )
    found = auc_draws(label, {"left": left, "right": right}, seed=seed, draws=draws)
    return auc_difference(found["left"], found["right"], confidence)


@dataclass(frozen=True)
class AucDraws:
    """ROC-AUC of one score vector: on all rows, and in each draw, float64 [draws], NaN where a class was not drawn."""

    point: float
    drawn: NDArray[np.float64]


def auc_draws(
    label: NDArray[np.bool_], scores: Mapping[str, NDArray[np.float64]], *, seed: int, draws: int = 1000
) -> dict[str, AucDraws]:
    """ROC-AUC of several score vectors over the same rows, in the same draws, by name: any two of them are paired.

    Each score is sorted once; a draw costs one weighted pass over each.

    Raises:
        ValueError: unequal lengths, NaN scores, labels other than 0 and 1, or fewer than 10 rows of either class.
    """
    truth = np.asarray(label)
    _check(len(truth), draws, 0.95)
    wrong = {name: len(score) for name, score in scores.items() if len(score) != len(truth)}
    if wrong:
        raise ValueError(f"paired bootstrap: {len(truth)} labels and scores of {wrong} rows; expected equal numbers")
    if not np.isin(truth, (0, 1)).all():
        raise ValueError("paired bootstrap: labels other than 0 and 1 found")
    truth = truth.astype(bool)
    positives = int(truth.sum())
    fewest = min(positives, len(truth) - positives)
    if fewest < LEAST_OF_A_CLASS:
        raise ValueError(
            f"paired bootstrap: {positives} positives of {len(truth)} rows, "
            f"expected at least {LEAST_OF_A_CLASS} of either class; judge on a longer period"
        )
    ordered = {name: _SortedScores(truth, score) for name, score in scores.items()}
    found: dict[str, list[NDArray[np.float64]]] = {name: [] for name in scores}
    for weights in _poisson_blocks(len(truth), draws, seed):
        for name, one in ordered.items():
            found[name].append(one.auc(weights))
    ones = np.ones((1, len(truth)))
    return {name: AucDraws(float(one.auc(ones)[0]), np.concatenate(found[name])) for name, one in ordered.items()}


def auc_difference(left: AucDraws, right: AucDraws, confidence: float = 0.95) -> Interval:
    """Interval of left − right, both from one call of `auc_draws`. Above 0: left is better."""
    _check(1, len(left.drawn), confidence)
    difference = left.drawn - right.drawn
    return _interval(left.point - right.point, difference[np.isfinite(difference)], confidence)


class _SortedScores:
    """One score vector sorted once; its weighted AUC for many weight vectors."""

    def __init__(self, truth: NDArray[np.bool_], score: NDArray[np.float64]) -> None:
        values = np.asarray(score, dtype=np.float64)
        if np.isnan(values).any():
            raise ValueError(f"paired bootstrap: {int(np.isnan(values).sum())} scores are NaN")
        self.order = np.argsort(values, kind="stable")
        ordered = values[self.order]
        # Rows with one score are one step of the curve: a pair inside it counts half.
        self.starts = np.flatnonzero(np.concatenate([[True], ordered[1:] != ordered[:-1]]))
        self.positive = truth[self.order].astype(np.float64)

    def auc(self, weights: NDArray[np.float64]) -> NDArray[np.float64]:
        """Weighted AUC of each row of `weights` [draws, rows]; NaN where a class has no weight."""
        ordered = weights[:, self.order]
        step_positive = np.add.reduceat(ordered * self.positive, self.starts, axis=1)
        step_all = np.add.reduceat(ordered, self.starts, axis=1)
        step_negative = step_all - step_positive
        below = np.cumsum(step_negative, axis=1) - step_negative
        won = (step_positive * (below + 0.5 * step_negative)).sum(axis=1)
        pairs = step_positive.sum(axis=1) * step_negative.sum(axis=1)
        auc: NDArray[np.float64] = np.divide(won, pairs, out=np.full(len(won), np.nan), where=pairs > 0)
        return auc


def _poisson_blocks(rows: int, draws: int, seed: int) -> Iterator[NDArray[np.float64]]:
    generator = np.random.default_rng(seed)
    block = max(1, BLOCK_CELLS // rows)
    for start in range(0, draws, block):
        yield generator.poisson(1.0, size=(min(block, draws - start), rows)).astype(np.float64)


def _interval(point: float, found: NDArray[np.float64], confidence: float) -> Interval:
    if not len(found):
        raise ValueError("paired bootstrap: the figure existed in no draw; there are too few rows")
    tail = (1 - confidence) / 2
    low, high = np.quantile(found, [tail, 1 - tail])
    return Interval(point, float(low), float(high), len(found))


def _check(rows: int, draws: int, confidence: float) -> None:
    if rows == 0:
        raise ValueError("paired bootstrap: no rows")
    if draws < 100:
        raise ValueError(f"paired bootstrap: {draws} draws, expected at least 100 (the tails rest on 2.5 % of them)")
    if not 0 < confidence < 1:
        raise ValueError(f"paired bootstrap: confidence {confidence}, expected between 0 and 1")
