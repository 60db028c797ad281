"""What a training has to learn from, and what each method then says of later users, calibrated: all methods alike."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray

from rekindle.methods import calibration
from rekindle.methods.calibration import Calibrator
from rekindle.methods.churn_fitting import UNCALIBRATED, Column, fit_recency
from rekindle.methods.churn_inputs import finite_matrix
from rekindle.methods.churn_models import ChurnModel, RecencyModel
from rekindle.methods.churn_table import Said

if TYPE_CHECKING:
    import pandas as pd
    from pyspark.sql import DataFrame

CHALLENGER = "challenger"
# Scores without a model of ours: the column, and the direction in which it speaks for leaving.
PLAIN_SCORES = {"recency": ("recency_days", 1.0), "frequency": ("frequency", -1.0), "monetary": ("monetary", -1.0),
                "no_purchase_probability": ("no_purchase_probability", 1.0)}  # fmt: skip


@dataclass(frozen=True)
class Slice:
    """Examples on the driver: inputs as float32 columns by name (NaN is null), and the label.

    `base_rate`: to which calibrators fitted on it are moved among later users; None: they are not moved.
    """

    frame: pd.DataFrame
    label: NDArray[np.float64]
    base_rate: float | None = None

    def of_days(self, *days: object) -> Slice:
        """The examples of these cut-offs."""
        inside = self.frame["as_of"].isin(days).to_numpy()
        return Slice(self.frame[inside].reset_index(drop=True), self.label[inside])


class Ranker(Protocol):
    """What gives users a margin; a `ChurnModel` is one."""

    def margins(self, frame: pd.DataFrame) -> NDArray[np.float64]:
        """Float64 [rows], the higher the likelier to leave."""


@dataclass(frozen=True)
class Material:
    """What methods learn from: a bounded sample on the driver, and all examples on the workers.

    Attributes:
        training: the sample; its frame has `as_of`, every feature, and `days_to_purchase` (NaN: not seen to return).
        placed: all examples (see `churn_trees.place`), with `is_churned`.
    """

    training: Slice
    placed: DataFrame
    features: tuple[str, ...]
    horizon_days: int
    gap_days: int
    seed: int
    workers: int

    @cached_property
    def matrix(self) -> NDArray[np.float32]:
        """The sample's features, float32 [rows, features]. Raises ValueError on infinite values."""
        return finite_matrix(self.training.frame, self.features)


@dataclass(frozen=True)
class Candidate:
    """A method with its margins on the two later slices, calibrated on the earlier of them.

    Attributes:
        model: calibrated; None for what cannot be stored.
        probability: on the judging slice.
        before: what a calibrator of the newest training cut-off would say on the judging slice instead; None where
            that cut-off has one class only, or for plain scores.
        unmoved: the probability by the same calibrator without following the base rate.
    """

    name: str
    model: ChurnModel | None
    later: NDArray[np.float64]
    judging: NDArray[np.float64]
    probability: NDArray[np.float64]
    before: NDArray[np.float64] | None = None
    unmoved: NDArray[np.float64] | None = None
    fit_seconds: float | None = None
    score_seconds: float | None = None
    is_offered: bool = False

    @property
    def said(self) -> Said:
        """Its place in the table."""
        return Said(self.name, self.judging, self.probability, self.fit_seconds, self.score_seconds, self.is_offered)


def calibrated(
    name: str,
    ranker: Ranker,
    later: Slice,
    judging: Slice,
    newest: Slice | None = None,
    fit_seconds: float | None = None,
) -> tuple[Candidate, Calibrator]:
    """What a fitted method says of the later slices, and its calibrator; `newest` is the newest training cut-off."""
    started = time.monotonic()
    margin = ranker.margins(judging.frame)
    seconds = time.monotonic() - started
    earlier = ranker.margins(later.frame)
    fitted = calibration.choose(earlier, later.label)
    calibrator = calibration.tracking(fitted, margin, later.base_rate) if later.base_rate is not None else fitted
    before = None
    if newest is not None and 0 < newest.label.sum() < len(newest.label):
        old = ranker.margins(newest.frame)
        before = calibration.choose(old, newest.label).apply(margin)
    said, unmoved = calibrator.apply(margin), fitted.apply(margin)
    return Candidate(name, None, earlier, margin, said, before, unmoved, fit_seconds, seconds), calibrator


def stored(
    name: str,
    model: ChurnModel,
    later: Slice,
    judging: Slice,
    newest: Slice,
    fit_seconds: float,
    is_offered: bool,
) -> Candidate:
    """The same for a model that can be stored, with the model calibrated."""
    made, calibrator = calibrated(name, model, later, judging, newest, fit_seconds)
    return replace(made, model=replace(model, calibrator=calibrator), is_offered=is_offered)


def recency_model(training: Slice, horizon_days: int, gap_days: int) -> RecencyModel:
    """The baseline: a logistic curve of recency alone, uncalibrated."""
    recency = training.frame["recency_days"].to_numpy(dtype=np.float64)
    slope, intercept = fit_recency(recency, training.label)
    centre = float(np.log1p(recency).mean())
    return RecencyModel(slope, intercept, UNCALIBRATED, horizon_days, gap_days, centre)


def plain_scores(later: Slice, judging: Slice) -> dict[str, Candidate]:
    """Recency, frequency, monetary and the buy-till-you-die model's probability as rankings of their own, by name;
    without those that the frames do not have."""
    return {
        name: calibrated(f"score:{name}", Column(column, sign), later, judging)[0]
        for name, (column, sign) in PLAIN_SCORES.items()
        if column in judging.frame.columns
    }
