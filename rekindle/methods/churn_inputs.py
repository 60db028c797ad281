"""The inputs of churn models as matrices: infinite values refused, and made even for models that need it.

Trees take values as they are. What measures distances or weighs sums needs them standardised and none missing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from rekindle.methods.xgboost_scoring import feature_matrix

if TYPE_CHECKING:
    import pandas as pd


def finite_matrix(frame: pd.DataFrame, features: Sequence[str]) -> NDArray[np.float32]:
    """The features as float32 [rows, features]; NaN is missing.

    Raises:
        ValueError: a feature is no column of the frame or is infinite; every column with its number of rows.
    """
    matrix = feature_matrix(frame, features)
    # One sum tells whether any is: a look at each value costs a tenth of a model's scoring.
    with np.errstate(invalid="ignore"):  # infinities of both signs
        total = np.nansum(matrix, dtype=np.float64)
    if not np.isfinite(total):
        rows = np.isinf(matrix).sum(axis=0)
        told = ", ".join(f"{name} in {n} rows" for name, n in zip(features, rows, strict=True) if n)
        raise ValueError(f"features: infinite values of {told} of {len(frame)}; expected finite numbers or null")
    return matrix


@dataclass(frozen=True)
class Scaling:
    """How each feature is made even, learnt on training rows; one entry a feature.

    value = (f(x) − mean)/scale, where f is sign(x) · log(1 + |x|) for the skewed (`logged`) and x for the others, and
    `fill` (the median of f) stands in for missing ones. Scale 0: training saw one value only, and the value is 0.
    Absence is is_missing − `absent`, and 0 where training saw none missing, or all.
    """

    logged: tuple[bool, ...]
    fill: tuple[float, ...]
    mean: tuple[float, ...]
    scale: tuple[float, ...]
    absent: tuple[float, ...]

    def __post_init__(self) -> None:
        if len({len(column) for column in asdict(self).values()}) != 1:
            raise ValueError("scaling: columns of unequal length")

    def __len__(self) -> int:
        return len(self.mean)

    def apply(self, matrix: NDArray[np.float32]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Values and absences, each float64 [rows, features], finite, with mean 0 on the training rows."""
        missing = np.isnan(matrix)
        values = np.where(missing, np.array(self.fill), _evened(matrix, np.array(self.logged)))
        scale, absent = np.array(self.scale), np.array(self.absent)
        values = np.divide(values - np.array(self.mean), scale, out=np.zeros(matrix.shape), where=scale > 0)
        seen_both = (absent > 0) & (absent < 1)
        return values, np.where(seen_both, missing - absent, 0.0)

    def told(self) -> dict[str, list[Any]]:
        """As JSON takes it; `from_told` gives an equal one back."""
        return {name: list(column) for name, column in asdict(self).items()}

    @classmethod
    def from_told(cls, told: dict[str, list[Any]]) -> Scaling:
        """What `told` gave. Raises KeyError or TypeError."""
        numbers = {name: tuple(float(x) for x in told[name]) for name in ("fill", "mean", "scale", "absent")}
        return cls(logged=tuple(bool(x) for x in told["logged"]), **numbers)


def fit_scaling(matrix: NDArray[np.float32], log_above: float | None = None) -> Scaling:
    """The scaling of these training rows [rows, features], NaN is missing; a feature of NaN alone has scale 0.

    Of features with a skewness beyond ±`log_above` the logarithm is taken (a normal's is 0, an exponential's 2).
    """
    values = matrix.astype(np.float64)
    missing = np.isnan(values)
    seen = ~missing.all(axis=0)
    logged = np.zeros(matrix.shape[1], dtype=bool)
    if log_above is not None:
        logged[seen] = np.abs(_skewness(values[:, seen])) > log_above
    evened = _evened(matrix, logged)
    fill = np.zeros(matrix.shape[1])
    fill[seen] = np.nanmedian(evened[:, seen], axis=0)
    filled = np.where(missing, fill, evened)
    mean, scale = filled.mean(axis=0), filled.std(axis=0)
    # The mean of equal numbers may miss them by an ulp, and their scale is then not 0 but 1e-16.
    scale = np.where(np.ptp(filled, axis=0) > 0, scale, 0.0)
    columns = (logged.tolist(), fill.tolist(), mean.tolist(), scale.tolist(), missing.mean(axis=0).tolist())
    return Scaling(*(tuple(column) for column in columns))


def _evened(matrix: NDArray[np.float32], logged: NDArray[np.bool_]) -> NDArray[np.float64]:
    values = matrix.astype(np.float64)
    values[:, logged] = np.sign(values[:, logged]) * np.log1p(np.abs(values[:, logged]))
    return values


def _skewness(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Third standardised moment of each column's known values; 0 where they do not vary."""
    centred = values - np.nanmean(values, axis=0)
    spread = np.nanstd(values, axis=0)
    third = np.nanmean(centred**3, axis=0)
    skewness: NDArray[np.float64] = np.divide(third, spread**3, out=np.zeros(len(spread)), where=spread > 1e-9)
    return skewness
