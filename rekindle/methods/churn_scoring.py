"""Score users for churn inside `mapInPandas`: probability, band and reasons, row by row, on any worker."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from rekindle.methods.churn_models import ChurnModel, TreeModel
from rekindle.methods.reason_words import MOST_REASONS, PHRASES, reasons
from rekindle.methods.xgboost_scoring import contributions, feature_matrix, load_booster, top_contributions

if TYPE_CHECKING:
    import pandas as pd

SCORED = "churn_probability double, is_at_risk boolean, risk_band string, reasons array<string>"
# A phrase speaks of two features at most, so twice as many features are enough for that many phrases.
CANDIDATES = 2 * MOST_REASONS


@dataclass(frozen=True)
class Bands:
    """The lowest probability of each band, rising, named from the lowest band up; and where at risk begins."""

    names: tuple[str, ...]
    limits: tuple[float, ...]
    at_risk_from: float

    def __post_init__(self) -> None:
        if len(self.names) != len(self.limits) + 1 or list(self.limits) != sorted(set(self.limits)):
            raise ValueError(f"bands: {len(self.names)} names for the limits {self.limits}; expected one more, rising")

    def of(self, probability: NDArray[np.float64]) -> NDArray[np.str_]:
        """The band of each probability; a limit belongs to the band above it."""
        return np.array(self.names)[np.searchsorted(self.limits, probability, side="right")]


def scorer(
    model: ChurnModel, bands: Bands, currency: str, keys: Sequence[str]
) -> Callable[[Iterable[pd.DataFrame]], Iterable[pd.DataFrame]]:
    """A function for `mapInPandas(…, schema="<keys' DDL>, " + SCORED)`: one row a row.

    In: the keys and every input of the models (null is missing; the words may speak of two inputs). Reasons are the
    features that weigh most towards what is predicted: leaving for those at risk, staying for the others, as exact
    contributions to this user's margin; one to three phrases, heaviest first. Recency alone has one reason.
    """

    def score(frames: Iterable[pd.DataFrame]) -> Iterable[pd.DataFrame]:
        booster = load_booster(model.booster, model.features) if isinstance(model, TreeModel) else None
        for frame in frames:
            spoken_of = [name for name in PHRASES if name in frame.columns]
            probability = model.calibrator.apply(model.margins(frame))
            at_risk = probability >= bands.at_risk_from
            scored = frame[list(keys)].copy()
            scored["churn_probability"] = probability
            scored["is_at_risk"] = at_risk
            scored["risk_band"] = bands.of(probability)
            if booster is None:
                chosen = np.zeros((len(frame), 1), dtype=np.int64)
            else:
                added = contributions(booster, feature_matrix(frame, model.features))[:, :-1]
                towards = np.where(at_risk, 1.0, -1.0)[:, None]
                chosen = top_contributions(added * towards, CANDIDATES, "positive")
            rows = frame[spoken_of].to_dict("records")
            scored["reasons"] = [
                reasons((model.features[place] for place in picked if place >= 0), values, bool(leaving), currency)
                for picked, values, leaving in zip(chosen, rows, at_risk, strict=True)
            ]
            yield scored

    return score
