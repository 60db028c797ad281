"""Fits the churn models that learn in this process, on a bounded sample: linear ones, and nearest neighbours.

The sample is 50,000 rows: fifty coefficients gain little from more. A logistic regression on 3,000, 6,000 and 11,400
rows of the simulated shop has ROC-AUC 0.823, 0.824 and 0.823, on Online Retail 0.758, 0.761 and 0.761. Equal inputs
give equal models. What grows trees is in `churn_trees`. What only ranks, beside the models that can be stored, has
`margins` alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from rekindle.methods import calibration
from rekindle.methods.churn_inputs import Scaling, finite_matrix, fit_scaling
from rekindle.methods.churn_models import LinearModel

if TYPE_CHECKING:
    import pandas as pd

UNCALIBRATED = calibration.Logistic(1.0, 0.0)
# Every user to score is measured against each of these: 200,000 users take 15 s.
MOST_NEIGHBOURS_KNOWN = 5_000


def fit_recency(recency_days: NDArray[np.float64], is_churned: NDArray[np.float64]) -> tuple[float, float]:
    """Slope and intercept of the logistic on log(1 + recency), with Platt's smoothed targets.

    Raises:
        ValueError: one class only, or NaN.
    """
    fitted = calibration.fit_logistic(np.log1p(recency_days), is_churned)
    return fitted.slope, fitted.intercept


def fit_logistic(
    matrix: NDArray[np.float32],
    label: NDArray[np.float64],
    features: Sequence[str],
    horizon_days: int,
    gap_days: int,
    penalty: float = 1.0,
    log_above: float | None = None,
) -> LinearModel:
    """L2-penalised logistic regression by scikit-learn, uncalibrated; `penalty` is 1/C.

    Raises:
        ValueError: one class only.
    """
    from sklearn.linear_model import LogisticRegression

    made = LogisticRegression(C=1.0 / penalty, solver="newton-cholesky", tol=1e-8, max_iter=200)
    return _linear(made, "logistic", matrix, label, features, horizon_days, gap_days, log_above)


def fit_svm(
    matrix: NDArray[np.float32],
    label: NDArray[np.float64],
    features: Sequence[str],
    horizon_days: int,
    gap_days: int,
    penalty: float = 1.0,
    log_above: float | None = None,
) -> LinearModel:
    """Linear support vector machine with squared hinge by scikit-learn (liblinear's primal), uncalibrated.

    Raises:
        ValueError: one class only.
    """
    from sklearn.svm import LinearSVC

    made = LinearSVC(C=1.0 / penalty, dual=False, tol=1e-6, max_iter=2000, random_state=0)
    return _linear(made, "linear_svm", matrix, label, features, horizon_days, gap_days, log_above)


def _linear(
    made: Any,
    method: str,
    matrix: NDArray[np.float32],
    label: NDArray[np.float64],
    features: Sequence[str],
    horizon_days: int,
    gap_days: int,
    log_above: float | None,
) -> LinearModel:
    scaling = fit_scaling(matrix, log_above)
    design, kept = _design(scaling, matrix)
    weights = np.zeros(2 * len(features))
    with _one_thread():
        made.fit(design, label)
    weights[kept] = made.coef_[0]
    values, absences = (tuple(half.tolist()) for half in np.split(weights, 2))
    intercept = float(made.intercept_[0])
    names = tuple(features)
    return LinearModel(scaling, values, absences, intercept, names, UNCALIBRATED, horizon_days, gap_days, method)


def _design(scaling: Scaling, matrix: NDArray[np.float32]) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Values beside absences [rows, kept], without what never varies; and which of the 2 · features are kept."""
    whole = np.hstack(scaling.apply(matrix))
    absent = np.array(scaling.absent)
    kept = np.flatnonzero(np.append(np.array(scaling.scale) > 0, (absent > 0) & (absent < 1)))
    return whole[:, kept], kept


def _one_thread() -> Any:
    """Sums of one thread only: several would add in another order on another machine."""
    from threadpoolctl import threadpool_limits

    return threadpool_limits(1)


@dataclass(frozen=True)
class Majority:
    """The same margin for everybody: what knowing nothing gives."""

    def margins(self, frame: pd.DataFrame) -> NDArray[np.float64]:
        """Zeros, float64 [rows]; a calibrator makes them the base rate."""
        return np.zeros(len(frame))


@dataclass(frozen=True)
class Column:
    """A score that the frame already has: `sign` times the column, what is missing as the mean of the others."""

    name: str
    sign: float = 1.0

    def margins(self, frame: pd.DataFrame) -> NDArray[np.float64]:
        """The score, float64 [rows]; zeros where all are missing."""
        values = self.sign * frame[self.name].to_numpy(dtype=np.float64, na_value=np.nan)
        missing = np.isnan(values)
        return np.where(missing, values[~missing].mean() if not missing.all() else 0.0, values)


class Neighbours:
    """Log-odds of leaving among each user's `count` nearest training rows (all, where there are fewer).

    At most 5,000 training rows are known, evenly taken. It is compared and never stored: its artefact would be people,
    and one who was erased would live on in it.
    """

    def __init__(
        self, matrix: NDArray[np.float32], label: NDArray[np.float64], features: Sequence[str], count: int
    ) -> None:
        from sklearn.neighbors import KNeighborsClassifier

        known = np.linspace(0, len(label) - 1, min(len(label), MOST_NEIGHBOURS_KNOWN)).astype(np.int64)
        self._features, self._count, self._left = tuple(features), min(count, len(known)), label[known]
        self._scaling = fit_scaling(matrix)
        design, _ = _design(self._scaling, matrix[known])
        self._fitted = KNeighborsClassifier(self._count, algorithm="brute").fit(design, self._left)

    def margins(self, frame: pd.DataFrame) -> NDArray[np.float64]:
        """Log-odds with half a leaver and half a stayer added, float64 [rows]."""
        design, _ = _design(self._scaling, finite_matrix(frame, self._features))
        with _one_thread():
            near = self._fitted.kneighbors(design, return_distance=False)
        left = self._left[near].sum(axis=1)
        odds: NDArray[np.float64] = np.log(left + 0.5) - np.log(self._count - left + 0.5)
        return odds
