"""How good what was said of buyers' value (or purchases) is, once it is known what came.

`said` and `came` are float64 [buyers]; buyers of whom the same was said are one step, so their order never matters.
All raise ValueError for no buyers, unequal lengths, or numbers that are not finite.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

TOP = 0.1
BINS = 10


@dataclass(frozen=True)
class ValueFigures:
    """Of one prediction; what each means stands at the function of its name.

    Attributes:
        mean_said, mean_came: everybody's.
        top_share_best: `top_share` of who knew what came.
        deciles: (buyers, mean said, mean came), least first.
    """

    buyers: int
    mean_said: float
    mean_came: float
    mae: float
    correlation: float
    spearman: float
    normalised_gini: float
    top_share: float
    top_share_best: float
    deciles: tuple[tuple[int, float, float], ...]


def figures(said: Array, came: Array) -> ValueFigures:
    """All figures of one prediction.

    Raises:
        ValueError: as above, or what came is the same for everybody or adds up to 0 or less.
    """
    said, came = _checked(said, came)
    return ValueFigures(
        len(said),
        float(said.mean()),
        float(came.mean()),
        mae(said, came),
        correlation(said, came),
        spearman(said, came),
        normalised_gini(said, came),
        top_share(said, came),
        top_share(came, came),
        tuple(calibration_by_bin(said, came)),
    )


def mae(said: Array, came: Array) -> float:
    """Mean of |said − came|, in their unit, 0 is perfect."""
    said, came = _checked(said, came)
    return float(np.abs(said - came).mean())


def correlation(said: Array, came: Array) -> float:
    """Pearson's, −1 to 1; 0 is knowing nothing, as is to say the same of everybody.

    Raises:
        ValueError: the same came of everybody.
    """
    said, came = _checked(said, came)
    return _linear(said, came, came)


def spearman(said: Array, came: Array) -> float:
    """Pearson's of ranks, equal values sharing the mean of theirs; −1 to 1, 0 is knowing nothing (Spearman 1904).

    Raises:
        ValueError: the same came of everybody.
    """
    said, came = _checked(said, came)
    return _linear(_ranks(said), _ranks(came), came)


def normalised_gini(said: Array, came: Array) -> float:
    """Gini of what came in the order of what was said, over that in its own order: cov(came, rank of said) / cov(came,
    rank of came); −1 to 1, 1 is the right order, 0 knowing nothing.

    Either covariance is half the area between the diagonal and the curve of cumulated value, as a share of its mean
    (Lerman and Yitzhaki 1984); their ratio is the Gini correlation of Schechtman and Yitzhaki 1987 and, without equal
    predictions, the "normalized Gini" of contests and of Wang, Liu and Miao 2019. Unlike Spearman's it weighs a place
    by the money that stands there.

    Raises:
        ValueError: the same came of everybody.
    """
    said, came = _checked(said, came)
    _varied(came)
    about, middle = came - came.mean(), (len(came) + 1) / 2
    return float((about @ (_ranks(said) - middle)) / (about @ (_ranks(came) - middle)))


def top_share(said: Array, came: Array, share: float = TOP) -> float:
    """Share of what came that the top `share` of buyers by what was said brought, 0 to 1; knowing nothing: `share`.

    The top is exactly share · buyers long (fractions count in part); a step of equal predictions across its end counts
    with its mean. `top_share(came, came)` is the best there is. It exceeds 1 where returns outweigh others' purchases.

    Raises:
        ValueError: what came adds up to 0 or less, or a share outside (0, 1].
    """
    said, came = _checked(said, came)
    if not 0 < share <= 1:
        raise ValueError(f"top share: {share}, expected above 0 and at most 1")
    if came.sum() <= 0:
        raise ValueError(f"top share: what came adds up to {came.sum():g}; there is nothing to hold a share of")
    _, step, size = np.unique(-said, return_inverse=True, return_counts=True)
    taken = np.clip(share * len(said) - (np.cumsum(size) - size), 0.0, size) / size
    return float(taken @ np.bincount(step, came) / came.sum())


def calibration_by_bin(said: Array, came: Array, bins: int = BINS) -> list[tuple[int, float, float]]:
    """(buyers, mean said, mean came) of bins of equal count by what was said, least first.

    Sizes differ by one at most; buyers of whom the same was said each carry the mean of what came of them all. With
    fewer buyers than bins, a bin a buyer.
    """
    said, came = _checked(said, came)
    if bins < 1:
        raise ValueError(f"calibration: {bins} bins, expected 1 or more")
    values, step = np.unique(said, return_inverse=True)
    seen = (np.bincount(step, came) / np.bincount(step))[step]
    parts = np.array_split(np.argsort(step, kind="stable"), min(bins, len(step)))
    return [(len(part), float(values[step[part]].mean()), float(seen[part].mean())) for part in parts]


def _checked(said: Array, came: Array) -> tuple[Array, Array]:
    told, was = np.asarray(said, dtype=np.float64), np.asarray(came, dtype=np.float64)
    if len(told) != len(was) or not len(told):
        raise ValueError(f"{len(told)} predictions, {len(was)} outcomes; expected as many, and some")
    wrong = ~(np.isfinite(told) & np.isfinite(was))
    if wrong.any():
        raise ValueError(f"{int(wrong.sum())} of {len(told)} predictions or outcomes are no finite numbers")
    # Sums by rows in order: the same digits whatever the order in which buyers come.
    order = np.lexsort((was, told))
    return told[order], was[order]


def _ranks(values: Array) -> Array:
    """Places from 1, equal values sharing the mean of theirs."""
    _, step, size = np.unique(values, return_inverse=True, return_counts=True)
    found: Array = (np.cumsum(size) - (size - 1) / 2)[step]
    return found


def _varied(came: Array) -> None:
    if came.min() == came.max():
        raise ValueError(f"the same came of all {len(came)} buyers: {came[0]:g}; there is no order to find")


def _linear(one: Array, other: Array, came: Array) -> float:
    _varied(came)
    if one.min() == one.max():
        return 0.0
    return float(np.corrcoef(one, other)[0, 1])
