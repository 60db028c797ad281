"""From a model's raw margin to a probability, fitted on rows that the model has not seen.

Two calibrators: Platt's logistic (two numbers, fits few rows) and isotonic (any rising curve, needs many); either may
be moved to a base rate that is known of later days. Probabilities are always strictly inside (0, 1).
"""

from __future__ import annotations

import json
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

NEAREST = 1e-9  # no probability is nearer to 0 or 1: a sigmoid in float64 would reach 1.0 at a margin of 37
# Rows of each class. With 1,300 a day's new outcomes moved probabilities by 0.020 on average, and 312 of 3,153 users to
# another risk band; the logistic curve 0.004 and 47, with the same Brier score to 0.0005.
ISOTONIC_NEEDS = 10_000
FARTHEST_SHIFT = 42.0  # log-odds: from 1e-9 to 1 − 1e-9, so any base rate between is reached
MOST_STEPS = 100  # Newton on two convex parameters ends in about ten


@dataclass(frozen=True)
class Logistic:
    """probability = 1 / (1 + exp(−(slope · margin + intercept))), no nearer to 0 or 1 than 1e-9."""

    slope: float
    intercept: float

    def apply(self, margin: NDArray[np.float64]) -> NDArray[np.float64]:
        """Probabilities, float64, same shape, strictly inside (0, 1). Raises ValueError on NaN."""
        line = self.slope * _finite(margin) + self.intercept
        return np.clip(_sigmoid(line), NEAREST, 1 - NEAREST)

    def to_json(self) -> str:
        """One line of JSON; `from_json` gives an equal calibrator back."""
        return json.dumps({"kind": "logistic", "slope": self.slope, "intercept": self.intercept}, sort_keys=True)


@dataclass(frozen=True)
class Isotonic:
    """A rising piecewise-linear curve through (margins[j], probabilities[j]), flat beyond both ends.

    Attributes:
        margins: strictly rising.
        probabilities: never falling, each strictly inside (0, 1).
    """

    margins: tuple[float, ...]
    probabilities: tuple[float, ...]

    def __post_init__(self) -> None:
        x, y = np.array(self.margins), np.array(self.probabilities)
        if len(x) == 0 or len(x) != len(y):
            raise ValueError(f"isotonic: {len(x)} margins and {len(y)} probabilities; expected equal, at least one")
        if not (np.diff(x) > 0).all() or not (np.diff(y) >= 0).all():
            raise ValueError("isotonic: margins must rise and probabilities must never fall")
        if y[0] <= 0 or y[-1] >= 1:
            raise ValueError(f"isotonic: probabilities from {y[0]} to {y[-1]}, expected strictly between 0 and 1")

    def apply(self, margin: NDArray[np.float64]) -> NDArray[np.float64]:
        """Probabilities, float64, same shape, strictly inside (0, 1). Raises ValueError on NaN."""
        x, y, slope = self._knots()
        inside = np.clip(_finite(margin), x[0], x[-1])
        at = np.searchsorted(x, inside, side="right") - 1
        # Rounding may step over the next knot by one ulp; the curve must not.
        said: NDArray[np.float64] = np.minimum(y[at] + (inside - x[at]) * slope[at], y[-1])
        return said

    def to_json(self) -> str:
        """One line of JSON; `from_json` gives an equal calibrator back."""
        content = {"kind": "isotonic", "margins": self.margins, "probabilities": self.probabilities}
        return json.dumps(content, sort_keys=True)

    def _knots(self) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
        x, y = np.array(self.margins, dtype=np.float64), np.array(self.probabilities, dtype=np.float64)
        return x, y, np.append(np.diff(y) / np.diff(x), 0.0)


@dataclass(frozen=True)
class Shifted:
    """Another calibrator's log-odds plus `shift`: what it says, moved to another base rate (see `tracking`)."""

    calibrator: Logistic | Isotonic
    shift: float

    def apply(self, margin: NDArray[np.float64]) -> NDArray[np.float64]:
        """Probabilities, float64, same shape, strictly inside (0, 1). Raises ValueError on NaN."""
        return np.clip(_sigmoid(_logit(self.calibrator.apply(margin)) + self.shift), NEAREST, 1 - NEAREST)

    def to_json(self) -> str:
        """One line of JSON; `from_json` gives an equal calibrator back."""
        content = {"kind": "shifted", "shift": self.shift, "calibrator": json.loads(self.calibrator.to_json())}
        return json.dumps(content, sort_keys=True)


Calibrator = Logistic | Isotonic | Shifted


def tracking(calibrator: Logistic | Isotonic, margin: NDArray[np.float64], base_rate: float) -> Shifted:
    """The calibrator moved so that its mean over these margins is the base rate, by bisection.

    For margins whose outcomes nobody knows yet, with the base rate of the latest cut-off whose outcomes are known: a
    model's scores drift as the log behind them grows older (every count "ever" grows), the share that leaves much
    less. On Online Retail, eight weekly cut-offs, mean said less share seen was −0.034 to −0.101 calibrated on the
    latest known outcomes alone and +0.003 to −0.059 with this; the Brier score fell each time.

    Raises:
        ValueError: no margin, NaN, or a base rate not strictly between 0 and 1.
    """
    if not len(margin) or not 0 < base_rate < 1:
        raise ValueError(
            f"tracking: {len(margin)} margins, base rate {base_rate}; expected some, strictly within 0 to 1"
        )
    line = _logit(calibrator.apply(margin))
    low, high = -FARTHEST_SHIFT, FARTHEST_SHIFT
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if _sigmoid(line + middle).mean() < base_rate else (low, middle)
    return Shifted(calibrator, (low + high) / 2)


def from_json(text: str) -> Calibrator:
    """The calibrator that `to_json` wrote.

    Raises:
        ValueError: the text is not one; the message says what is wrong with it.
    """
    content = json.loads(text)
    kind = content.get("kind") if isinstance(content, dict) else None
    wanted = {
        "logistic": {"slope", "intercept"},
        "isotonic": {"margins", "probabilities"},
        "shifted": {"shift", "calibrator"},
    }
    if kind not in wanted:
        raise ValueError(f"calibrator: kind is {kind!r}, expected {', '.join(wanted)}")
    keys = set(content) - {"kind"}
    if keys != wanted[kind]:
        raise ValueError(f"calibrator: keys {sorted(keys)} found, expected {sorted(wanted[kind])}")
    if kind == "shifted":
        moved = from_json(json.dumps(content["calibrator"]))
        if isinstance(moved, Shifted):
            raise ValueError("calibrator: shifted twice, expected logistic or isotonic inside")
        return Shifted(moved, float(content["shift"]))
    if kind == "logistic":
        return Logistic(float(content["slope"]), float(content["intercept"]))
    return Isotonic(
        tuple(float(value) for value in content["margins"]), tuple(float(value) for value in content["probabilities"])
    )


def fit_logistic(margin: NDArray[np.float64], label: NDArray[np.generic]) -> Logistic:
    """Platt's logistic (Platt 1999), by Newton's method (Lin, Lin and Weng 2007).

    Targets are smoothed to (N₊ + 1)/(N₊ + 2) and 1/(N₋ + 2), so that even perfectly separated rows have a finite
    answer; with margins that do not vary, the slope is 0 and the probability the smoothed base rate.

    Raises:
        ValueError: one class only, NaN, or unequal lengths.
    """
    x, truth = _fitted_rows(margin, label)
    return Logistic(*newton_logistic(x, _smoothed(truth, truth)))


def fit_isotonic(margin: NDArray[np.float64], label: NDArray[np.generic]) -> Isotonic:
    """Centred isotonic regression: adjacent violators are pooled (Ayer et al. 1955), each pool stands at its mean
    margin, and lines are straight between (Oron and Flournoy 2017, "Centered isotonic regression").

    Without the steps of the plain form, on which 50 of 3,136 users lay beside a band's cut point and changed the band
    together when outcomes became known. Rows with one margin are one point. Targets are smoothed as in `fit_logistic`:
    no group is sure.

    Raises:
        ValueError: one class only, NaN, or unequal lengths.
    """
    x, truth = _fitted_rows(margin, label)
    points, place = np.unique(x, return_inverse=True)
    size = np.bincount(place)
    # Shares are pooled as whole counts, exact in any order; smoothing is a straight line over them.
    share, first = _pool(np.bincount(place, truth).astype(np.int64).tolist(), size.tolist())
    low, high = _smoothed(np.array([0.0, 1.0]), truth)
    rows = np.add.reduceat(size, first)
    centre = np.add.reduceat(points * size, first) / rows
    # A mean may be rounded past the ends of its pool.
    last = np.append(first[1:], len(points)) - 1
    centre = np.clip(centre, points[first], points[last])
    heights = low + (high - low) * share
    return Isotonic(tuple(centre.tolist()), tuple(heights.tolist()))


def choose(margin: NDArray[np.float64], label: NDArray[np.generic]) -> Logistic | Isotonic:
    """Isotonic with at least 10,000 rows of each class, else logistic; each fitted on these rows.

    Raises:
        ValueError: as `fit_logistic`.
    """
    _, truth = _fitted_rows(margin, label)
    positives = int(truth.sum())
    if min(positives, len(truth) - positives) >= ISOTONIC_NEEDS:
        return fit_isotonic(margin, label)
    return fit_logistic(margin, label)


def newton_logistic(x: NDArray[np.float64], target: NDArray[np.float64]) -> tuple[float, float]:
    """Slope and intercept that maximise the likelihood of targets in [0, 1] under sigmoid(slope · x + intercept).

    Newton's method with halved steps; x is centred and scaled first, so that margins of any size converge.

    Raises:
        ValueError: it does not converge (the rows are separated and the targets are not smoothed).
    """
    centre, scale = float(x.mean()), float(x.std())
    z = (x - centre) / scale if scale > 0 else np.zeros(len(x))
    slope, intercept = 0.0, float(np.log(target.mean()) - np.log1p(-target.mean()))
    loss = _loss(z, target, slope, intercept)
    for _ in range(MOST_STEPS):
        said = _sigmoid(slope * z + intercept)
        error, spread = said - target, said * (1 - said)
        gradient = np.array([error @ z, error.sum()])
        if np.abs(gradient).max() <= 1e-10 * len(z):
            return (slope / scale, intercept - slope * centre / scale) if scale > 0 else (0.0, intercept)
        # The ridge keeps the matrix invertible where x is constant or all rows are nearly certain.
        ridge = 1e-12 * len(z)
        off = spread @ z
        hessian = np.array([[spread @ z**2 + ridge, off], [off, spread.sum() + ridge]])
        step = np.linalg.solve(hessian, gradient)
        size, allowed = 1.0, loss + 1e-12 * abs(loss)
        while (tried := _loss(z, target, slope - size * step[0], intercept - size * step[1])) > allowed:
            size /= 2
            if size < 1e-10:
                raise ValueError("logistic fit: no step lowers the loss; the margins may be extreme")
        slope, intercept, loss = slope - size * step[0], intercept - size * step[1], tried
    raise ValueError(f"logistic fit: not converged after {MOST_STEPS} steps; are the outcomes separated by the margin?")


def _loss(z: NDArray[np.float64], target: NDArray[np.float64], slope: float, intercept: float) -> float:
    line = slope * z + intercept
    return float((np.logaddexp(0.0, line) - target * line).sum())


def _pool(positives: list[int], sizes: list[int]) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Share of positives of the pooled blocks, rising, and the first point of each."""
    blocks: list[tuple[int, int, int]] = []  # positives, size, first point
    for point, (found, size) in enumerate(zip(positives, sizes, strict=True)):
        first = point
        while blocks and blocks[-1][0] * size >= found * blocks[-1][1]:
            before, rows, first = blocks.pop()
            found, size = found + before, size + rows
        blocks.append((found, size, first))
    share = np.array([found / size for found, size, _ in blocks])
    return share, np.array([first for _, _, first in blocks], dtype=np.int64)


def _smoothed(truth: NDArray[np.float64], fitted: NDArray[np.float64]) -> NDArray[np.float64]:
    """Platt's targets for these labels, by the classes' counts in the fitted rows."""
    positives = fitted.sum()
    negatives = len(fitted) - positives
    target: NDArray[np.float64] = np.where(truth == 1, (positives + 1) / (positives + 2), 1 / (negatives + 2))
    return target


def _logit(probability: NDArray[np.float64]) -> NDArray[np.float64]:
    odds: NDArray[np.float64] = np.log(probability) - np.log1p(-probability)
    return odds


def _sigmoid(line: NDArray[np.float64]) -> NDArray[np.float64]:
    rare = np.exp(-np.abs(line))
    return np.where(line >= 0, 1.0 / (1.0 + rare), rare / (1.0 + rare))


def _finite(margin: NDArray[np.float64]) -> NDArray[np.float64]:
    values = np.asarray(margin, dtype=np.float64)
    if np.isnan(values).any():
        raise ValueError(f"calibrator: {int(np.isnan(values).sum())} margins are NaN")
    return values


def _fitted_rows(
    margin: NDArray[np.float64], label: NDArray[np.generic]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    x, truth = _finite(margin), np.asarray(label, dtype=np.float64)
    if len(x) != len(truth):
        raise ValueError(f"calibrator: {len(x)} margins and {len(truth)} labels; expected equal numbers")
    if not np.isfinite(x).all():
        raise ValueError(f"calibrator: {int((~np.isfinite(x)).sum())} margins are infinite")
    if not np.isin(truth, (0.0, 1.0)).all():
        raise ValueError("calibrator: labels other than 0 and 1 found")
    if not 0 < truth.sum() < len(truth):
        raise ValueError(f"calibrator: {int(truth.sum())} positives of {len(truth)} rows; expected both classes")
    return x, truth
