"""How good scores and probabilities of a yes-or-no outcome are; every figure states what knowing nothing gives.

`label` is 0/1 or bool, `score` any real number (higher: more likely 1), `probability` within [0, 1]; `weight` counts
a row that many times (None: once). Rows with equal scores are one step: their order never matters.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

EDGE = 1e-15  # a probability of exactly 0 or 1 has no logit; it is moved by this much


@dataclass(frozen=True)
class Confusion:
    """Weighted counts at a threshold: said yes and was (tp), said yes and was not (fp), and so on."""

    tp: float
    fp: float
    fn: float
    tn: float

    @property
    def accuracy(self) -> float:
        """Share of rows that were called right, 0 to 1. Knowing nothing: the larger class's share."""
        return (self.tp + self.tn) / (self.tp + self.fp + self.fn + self.tn)

    @property
    def precision(self) -> float:
        """Share of the yes-calls that were right, 0 to 1; 0 if none was made. Knowing nothing: the base rate."""
        called = self.tp + self.fp
        return self.tp / called if called else 0.0

    @property
    def recall(self) -> float:
        """Share of the positives that were called, 0 to 1; 0 without positives. Calling all: 1."""
        there = self.tp + self.fn
        return self.tp / there if there else 0.0

    @property
    def f1(self) -> float:
        """2PR/(P + R), 0 to 1; 0 where precision and recall are. Calling all: 2b/(1 + b) at base rate b."""
        both = 2 * self.tp + self.fp + self.fn
        return 2 * self.tp / both if both else 0.0


@dataclass(frozen=True)
class CalibrationLine:
    """The line logit(observed) = slope · logit(said) + intercept; (1, 0) is perfect (Cox 1958).

    A slope below 1 means that what was said is too extreme, above 1 too timid.
    """

    slope: float
    intercept: float


def roc_auc(label: NDArray[np.generic], score: NDArray[np.float64], weight: NDArray[np.float64] | None = None) -> float:
    """Chance that a random positive scores above a random negative, ties half; 0 to 1, 0.5 is knowing nothing.

    Raises:
        ValueError: one class only, NaN, or unequal lengths.
    """
    positive, negative = _steps(label, score, weight)
    _both_classes(positive, negative, "ROC-AUC")
    below = np.cumsum(negative[::-1])[::-1] - negative  # steps are best first: what stands after is below
    return float((positive * (below + 0.5 * negative)).sum() / (positive.sum() * negative.sum()))


def pr_auc(label: NDArray[np.generic], score: NDArray[np.float64], weight: NDArray[np.float64] | None = None) -> float:
    """Average precision Σ (recall step) · precision, 0 to 1, higher is better; knowing nothing: the base rate.

    No interpolation, which would flatter (Davis and Goadrich 2006).

    Raises:
        ValueError: one class only, NaN, or unequal lengths.
    """
    positive, negative = _steps(label, score, weight)
    _both_classes(positive, negative, "PR-AUC")
    found = np.cumsum(positive)
    called = found + np.cumsum(negative)
    precision = np.divide(found, called, out=np.zeros(len(called)), where=called > 0)
    return float((positive * precision).sum() / found[-1])


def brier(
    label: NDArray[np.generic], probability: NDArray[np.float64], weight: NDArray[np.float64] | None = None
) -> float:
    """Mean squared error of the probability, 0 (perfect) to 1, lower is better; saying the base rate b: b(1 − b)."""
    truth, said, mass = _probabilities(label, probability, weight)
    return float((mass * (said - truth) ** 2).sum() / mass.sum())


def brier_skill(
    label: NDArray[np.generic], probability: NDArray[np.float64], weight: NDArray[np.float64] | None = None
) -> float:
    """1 − Brier / Brier of these rows' own base rate: 1 perfect, 0 knowing nothing, negative worse than that.

    Raises:
        ValueError: one class only (the reference is then perfect).
    """
    truth, _, mass = _probabilities(label, probability, weight)
    base = float((mass * truth).sum() / mass.sum())
    if base in (0.0, 1.0):
        raise ValueError("Brier skill: one class only; expected rows of both")
    return 1.0 - brier(label, probability, weight) / (base * (1 - base))


def ece(label: NDArray[np.generic], probability: NDArray[np.float64], bins: int = 10) -> float:
    """Expected calibration error: mean over equal-count bins of |mean said − share observed|, weighted by bin size.

    0 to 1, lower is better; saying the base rate gives 0, so read it beside Brier skill. Bin sizes differ by
    one at most (Nguyen and O'Connor 2015, "Posterior calibration": equal-count bins).
    """
    points = reliability(label, probability, bins)
    return float(sum(size * abs(said - seen) for size, said, seen in points) / len(label))


def reliability(
    label: NDArray[np.generic], probability: NDArray[np.float64], bins: int = 10
) -> list[tuple[int, float, float]]:
    """(rows, mean probability said, share observed) of each equal-count bin, lowest first: a reliability plot's points.

    Rows with equal probabilities each carry the mean outcome of all of them: where a bin ends among them, neither
    side is favoured and the order of rows does not matter. With fewer rows than bins, a bin a row.
    """
    if bins < 1:
        raise ValueError(f"reliability: {bins} bins, expected 1 or more")
    truth, said, _ = _probabilities(label, probability, None)
    values, step = np.unique(said, return_inverse=True)
    seen = (np.bincount(step, truth) / np.bincount(step))[step]
    parts = np.array_split(np.argsort(step, kind="stable"), min(bins, len(step)))
    return [(len(part), float(values[step[part]].mean()), float(seen[part].mean())) for part in parts]


def calibration_line(label: NDArray[np.generic], probability: NDArray[np.float64]) -> CalibrationLine:
    """Slope and intercept of a logistic regression of the outcome on logit(probability); (1, 0) is perfect.

    Raises:
        ValueError: one class only, probabilities that do not vary, or outcomes that they separate (infinite slope).
    """
    from rekindle.methods.calibration import newton_logistic

    truth, said, _ = _probabilities(label, probability, None)
    if truth.min() == truth.max():
        raise ValueError("calibration line: one class only; expected rows of both")
    inside = np.clip(said, EDGE, 1 - EDGE)
    logit = np.log(inside) - np.log1p(-inside)
    if logit.min() == logit.max():
        raise ValueError("calibration line: every probability is the same; a slope needs them to vary")
    highest_negative, lowest_positive = logit[truth == 0].max(), logit[truth == 1].min()
    if highest_negative <= lowest_positive or logit[truth == 1].max() <= logit[truth == 0].min():
        raise ValueError("calibration line: the probabilities separate the outcomes, the slope is infinite")
    slope, intercept = newton_logistic(logit, truth)
    return CalibrationLine(slope, intercept)


def lift(label: NDArray[np.generic], score: NDArray[np.float64], share: float = 0.1) -> float:
    """Base rate among the top `share` of rows over the base rate of all: 1 is knowing nothing, at most 1/max(share, b).

    The top is exactly share · rows long (fractional rows count in part); a step of equal scores that straddles
    its end counts with its mean, so the order of rows never matters.

    Raises:
        ValueError: one class only, NaN, unequal lengths, or a share outside (0, 1].
    """
    if not 0 < share <= 1:
        raise ValueError(f"lift: share {share}, expected above 0 and at most 1")
    positive, negative = _steps(label, score, None)
    _both_classes(positive, negative, "lift")
    size = positive + negative
    room = share * size.sum()
    before = np.cumsum(size) - size
    taken = np.clip(room - before, 0.0, size) / size
    return float((taken * positive).sum() / room * (size.sum() / positive.sum()))


def confusion(
    label: NDArray[np.generic],
    score: NDArray[np.float64],
    threshold: float,
    weight: NDArray[np.float64] | None = None,
) -> Confusion:
    """Counts when yes is said at score ≥ threshold."""
    truth, values, mass = _checked(label, score, weight)
    yes, was = values >= threshold, truth == 1
    return Confusion(
        tp=float(mass[yes & was].sum()),
        fp=float(mass[yes & ~was].sum()),
        fn=float(mass[~yes & was].sum()),
        tn=float(mass[~yes & ~was].sum()),
    )


def _steps(
    label: NDArray[np.generic], score: NDArray[np.float64], weight: NDArray[np.float64] | None
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Positive and negative weight of each distinct score, highest score first."""
    truth, values, mass = _checked(label, score, weight)
    counted = mass > 0  # a row that counts zero times is no step
    truth, values, mass = truth[counted], values[counted], mass[counted]
    _, step = np.unique(-values, return_inverse=True)
    positive = np.bincount(step, mass * truth).astype(np.float64)
    return positive, np.bincount(step, mass * (1 - truth)).astype(np.float64)


def _checked(
    label: NDArray[np.generic], score: NDArray[np.float64], weight: NDArray[np.float64] | None
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    truth, values = np.asarray(label, dtype=np.float64), np.asarray(score, dtype=np.float64)
    mass = np.ones(len(truth)) if weight is None else np.asarray(weight, dtype=np.float64)
    if not len(truth) == len(values) == len(mass):
        raise ValueError(f"{len(truth)} labels, {len(values)} scores, {len(mass)} weights; expected equal numbers")
    if not len(truth):
        raise ValueError("no rows to judge")
    if not np.isin(truth, (0.0, 1.0)).all():
        raise ValueError("labels other than 0 and 1 found")
    if np.isnan(values).any():
        raise ValueError(f"{int(np.isnan(values).sum())} of {len(values)} scores are NaN")
    if not (np.isfinite(mass).all() and (mass >= 0).all() and mass.sum() > 0):
        raise ValueError("weights must be finite, 0 or more, and not all 0")
    return truth, values, mass


def _probabilities(
    label: NDArray[np.generic], probability: NDArray[np.float64], weight: NDArray[np.float64] | None
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    truth, said, mass = _checked(label, probability, weight)
    if said.min() < 0 or said.max() > 1:
        raise ValueError(f"probabilities from {said.min()} to {said.max()} found, expected 0 to 1")
    return truth, said, mass


def _both_classes(positive: NDArray[np.float64], negative: NDArray[np.float64], what: str) -> None:
    if positive.sum() == 0 or negative.sum() == 0:
        raise ValueError(f"{what}: one class only; expected rows of both")
