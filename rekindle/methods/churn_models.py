"""Churn models as they are stored and as they score: a raw margin, a calibrator, and why.

Each kind is a frozen dataclass that keeps what it knows in JSON and XGBoost's own UBJ, never pickle, and gives exact
contributions in the unit of its margin. How they are fitted is in `churn_fitting` and `churn_trees`; what has no exact
contributions, or would keep people (nearest neighbours), is only compared there and has no place here.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

import numpy as np
from numpy.typing import NDArray

from rekindle.methods import calibration
from rekindle.methods.calibration import Calibrator
from rekindle.methods.churn_inputs import Scaling, finite_matrix
from rekindle.methods.churn_trees import TreeParams, fit_trees_here
from rekindle.methods.xgboost_scoring import contributions, load_booster, margins

if TYPE_CHECKING:
    import pandas as pd

__all__ = [
    "BOOSTER", "LINEAR", "MODEL", "TREES", "ChurnModel", "ChurnModelError", "LinearModel", "RecencyModel",
    "SurvivalModel", "TreeModel", "TreeParams", "fit_trees_here", "from_files",
]  # fmt: skip

MODEL, BOOSTER = "model.json", "booster.ubj"
LINEAR, TREES = ("logistic", "linear_svm"), ("xgboost", "random_forest")


class ChurnModelError(Exception):
    """The files are no churn model; the message says what was found."""


class ChurnModel(Protocol):
    """What scores users: the higher the margin, the likelier to leave; `calibrator` makes it a probability.

    A frozen dataclass, so that `dataclasses.replace(model, calibrator=…)` gives the same model calibrated anew.
    """

    __dataclass_fields__: ClassVar[dict[str, Any]]

    @property
    def method(self) -> str:
        """The kind of model."""

    @property
    def features(self) -> tuple[str, ...]:
        """The inputs, in the order of `contributions`' columns."""

    @property
    def calibrator(self) -> Calibrator:
        """From margin to probability."""

    @property
    def horizon_days(self) -> int:
        """Length of the outcome window."""

    @property
    def gap_days(self) -> int:
        """Days between the cut-off and the outcome window."""

    def margins(self, frame: pd.DataFrame) -> NDArray[np.float64]:
        """Raw scores float64 [rows]; the frame needs every feature, null is missing.

        Raises:
            ValueError: a feature is no column of the frame, or holds infinite values.
        """

    def contributions(self, frame: pd.DataFrame) -> NDArray[np.float64]:
        """What each feature adds to the margin, float64 [rows, features], in the margin's unit.

        A row and a bias that is the same for all rows add up to the margin. Raises as `margins`.
        """

    def files(self) -> dict[str, bytes]:
        """The model as named files."""


@dataclass(frozen=True)
class RecencyModel:
    """margin = slope · log(1 + days since the last purchase) + intercept, in log-odds of leaving.

    `centre` is the mean of log(1 + days) that contributions are counted from.
    """

    slope: float
    intercept: float
    calibrator: Calibrator
    horizon_days: int
    gap_days: int
    centre: float = 0.0

    method = "recency_logistic"
    features = ("recency_days",)

    def margins(self, frame: pd.DataFrame) -> NDArray[np.float64]:
        """Raw log-odds float64 [rows]; the frame needs `recency_days`, without nulls."""
        recency = frame["recency_days"].to_numpy(dtype=np.float64, na_value=np.nan)
        margin: NDArray[np.float64] = self.slope * np.log1p(recency) + self.intercept
        return margin

    def contributions(self, frame: pd.DataFrame) -> NDArray[np.float64]:
        """Recency's, in log-odds, float64 [rows, 1]."""
        recency = frame["recency_days"].to_numpy(dtype=np.float64, na_value=np.nan)
        added: NDArray[np.float64] = self.slope * (np.log1p(recency) - self.centre)
        return added[:, None]

    def files(self) -> dict[str, bytes]:
        """The model as named files."""
        return {MODEL: _described(self, slope=self.slope, intercept=self.intercept, centre=self.centre)}


@dataclass(frozen=True)
class LinearModel:
    """margin = intercept + Σ weight · (value − mean)/scale + absence's weight · (is missing − share missing).

    Values are as `scaling` makes them. The margin is log-odds for `logistic`, and the distance from the separating
    plane in units of the margin's width for `linear_svm`.

    Attributes:
        weights, absence_weights: one a feature; 0 where training saw one value only.
    """

    scaling: Scaling
    weights: tuple[float, ...]
    absence_weights: tuple[float, ...]
    intercept: float
    features: tuple[str, ...]
    calibrator: Calibrator
    horizon_days: int
    gap_days: int
    method: str = "logistic"

    def __post_init__(self) -> None:
        lengths = {len(self.features), len(self.weights), len(self.absence_weights), len(self.scaling)}
        if len(lengths) != 1:
            raise ValueError(f"linear model: {sorted(lengths)} features, weights and scales; expected equal numbers")

    def margins(self, frame: pd.DataFrame) -> NDArray[np.float64]:
        """Raw scores float64 [rows]; the frame needs every feature."""
        return self.of_matrix(finite_matrix(frame, self.features))

    def of_matrix(self, matrix: NDArray[np.float32]) -> NDArray[np.float64]:
        """Raw scores of the features as a matrix [rows, features], NaN is missing."""
        margin: NDArray[np.float64] = self._added(matrix).sum(axis=1) + self.intercept
        return margin

    def contributions(self, frame: pd.DataFrame) -> NDArray[np.float64]:
        """Weight · distance from the mean, float64 [rows, features]; what being missing adds is in its feature."""
        return self._added(finite_matrix(frame, self.features))

    def _added(self, matrix: NDArray[np.float32]) -> NDArray[np.float64]:
        values, absent = self.scaling.apply(matrix)
        # No matrix product: its sums depend on the number of rows, and a row's margin must not.
        added: NDArray[np.float64] = values * np.array(self.weights) + absent * np.array(self.absence_weights)
        return added

    def files(self) -> dict[str, bytes]:
        """The model as named files."""
        told = {
            "scaling": self.scaling.told(),
            "weights": list(self.weights),
            "absence_weights": list(self.absence_weights),
            "intercept": self.intercept,
        }
        return {MODEL: _described(self, **told)}


@dataclass(frozen=True)
class TreeModel:
    """XGBoost's trees on named features, in this order; missing values take each split's default way.

    `xgboost` are boosted trees, the margin is log-odds. `random_forest` is one round of many trees: a margin of 4
    times the mean over trees of (a leaf's share of leavers − 1/2), shrunk.
    """

    booster: bytes
    features: tuple[str, ...]
    calibrator: Calibrator
    horizon_days: int
    gap_days: int
    method: str = "xgboost"

    @cached_property
    def loaded(self) -> Any:
        """The `xgboost.Booster`, read from its bytes once."""
        return load_booster(self.booster, self.features)

    def __getstate__(self) -> dict[str, Any]:
        """What travels to a worker: the bytes, and no booster of this process."""
        return {name: value for name, value in self.__dict__.items() if name != "loaded"}

    def margins(self, frame: pd.DataFrame) -> NDArray[np.float64]:
        """Raw scores float64 [rows]; the frame needs every feature."""
        return margins(self.loaded, finite_matrix(frame, self.features))

    def contributions(self, frame: pd.DataFrame) -> NDArray[np.float64]:
        """TreeSHAP values, float64 [rows, features]; exact within float32's rounding."""
        return contributions(self.loaded, finite_matrix(frame, self.features))[:, :-1]

    def files(self) -> dict[str, bytes]:
        """The model as named files."""
        return {MODEL: _described(self), BOOSTER: self.booster}


@dataclass(frozen=True)
class SurvivalModel(TreeModel):
    """Accelerated failure time (Wei 1992) by boosted trees: the margin is log(days to the next purchase)."""

    method: str = "aft"

    def days_to_purchase(self, frame: pd.DataFrame) -> NDArray[np.float64]:
        """The median of the days from the cut-off to the next purchase, float64 [rows]: half of such users are back."""
        days: NDArray[np.float64] = np.exp(self.margins(frame))
        return days


def from_files(files: Mapping[str, bytes]) -> ChurnModel:
    """The model that `files()` gave.

    Raises:
        ChurnModelError: a file is missing or says something else.
    """
    try:
        told = json.loads(files[MODEL])
        method, features = told["method"], tuple(told["features"])
        about: dict[str, Any] = {
            "calibrator": calibration.from_json(json.dumps(told["calibrator"])),
            "horizon_days": int(told["horizon_days"]),
            "gap_days": int(told["gap_days"]),
        }
        if method == RecencyModel.method:
            # Artefacts of before contributions were told have no centre.
            centre = float(told.get("centre", 0.0))
            return RecencyModel(float(told["slope"]), float(told["intercept"]), **about, centre=centre)
        if method in LINEAR:
            return LinearModel(
                scaling=Scaling.from_told(told["scaling"]),
                weights=tuple(float(w) for w in told["weights"]),
                absence_weights=tuple(float(w) for w in told["absence_weights"]),
                intercept=float(told["intercept"]),
                features=features,
                method=method,
                **about,
            )
        if method in (*TREES, SurvivalModel.method):
            load_booster(files[BOOSTER], features)
            if method == SurvivalModel.method:
                return SurvivalModel(files[BOOSTER], features, **about)
            return TreeModel(files[BOOSTER], features, **about, method=method)
        known = ", ".join((RecencyModel.method, *LINEAR, *TREES, SurvivalModel.method))
        raise ChurnModelError(f"churn model: method {method!r}, expected one of {known}")
    except (KeyError, TypeError, ValueError) as error:
        raise ChurnModelError(f"churn model: {type(error).__name__} {error} in files {sorted(files)}") from error


def _described(model: ChurnModel, **more: Any) -> bytes:
    told = {
        "method": model.method,
        "features": list(model.features),
        "horizon_days": model.horizon_days,
        "gap_days": model.gap_days,
        "calibrator": json.loads(model.calibrator.to_json()),
        **more,
    }
    return json.dumps(told, sort_keys=True).encode()
