"""Score users for churn inside `mapInPandas`, on any worker: probability, band, reasons, what would lower the risk."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from rekindle.methods import churn_counterfactuals
from rekindle.methods.churn_models import ChurnModel
from rekindle.methods.reason_words import MOST_REASONS, NOTHING_STANDS_OUT, PHRASES, associated, spoken
from rekindle.methods.xgboost_scoring import top_contributions

if TYPE_CHECKING:
    import pandas as pd

    from rekindle.methods.churn_counterfactuals import Outlook

SCORED = (
    "churn_probability double, is_at_risk boolean, risk_band string, reasons array<string>, lowers_risk array<string>,"
    " band_by_behaviour string, band_by_labels string"
)
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


@dataclass(frozen=True)
class Before:
    """The model that scored the publication before: as it was calibrated then, and as known outcomes do it tonight."""

    then: ChurnModel
    now: ChurnModel


@dataclass(frozen=True)
class Words:
    """What reasons and changes need to know of the shop.

    Attributes:
        outlook: what a model of rhythms expects of users, by feature; None where none was fitted.
        has_visits: whether the log tells of visits, and not of purchases alone.
    """

    currency: str
    has_visits: bool = True
    outlook: Outlook | None = None


def scorer(
    model: ChurnModel, bands: Bands, words: Words, keys: Sequence[str], before: Before | None = None
) -> Callable[[Iterable[pd.DataFrame]], Iterable[pd.DataFrame]]:
    """A function for `mapInPandas(…, schema="<keys' DDL>, " + SCORED)`: one row a row.

    In: the keys and every input of the models (null is missing; the words may speak of two inputs). Reasons are the
    inputs that weigh most towards what is predicted: leaving for those at risk, staying for the others, by exact
    contributions to this user's margin; one to three phrases, heaviest first. `lowers_risk` is null for who is not at
    risk. `band_by_behaviour` and `band_by_labels` are the bands that the model of `before` gives tonight, calibrated
    as it was then and as it would be now; null without one.
    """

    def score(frames: Iterable[pd.DataFrame]) -> Iterable[pd.DataFrame]:
        import pandas as pd

        for given in frames:
            frame = given.reset_index(drop=True)
            margin = model.margins(frame)
            probability = model.calibrator.apply(margin)
            at_risk = probability >= bands.at_risk_from
            scored = frame[list(keys)].copy()
            scored["churn_probability"] = probability
            scored["is_at_risk"] = at_risk
            scored["risk_band"] = bands.of(probability)
            scored["reasons"] = reasons(model, frame, margin, at_risk, words.currency)
            scored["lowers_risk"] = pd.Series(lowers_risk(model, frame, probability, at_risk, words), dtype=object)
            for name, other in (("band_by_behaviour", "then"), ("band_by_labels", "now")):
                past = getattr(before, other) if before else None
                scored[name] = bands.of(past.calibrator.apply(past.margins(frame))) if past else None
            yield scored

    return score


def reasons(
    model: ChurnModel, frame: pd.DataFrame, margin: NDArray[np.float64], at_risk: NDArray[np.bool_], currency: str
) -> list[list[str]]:
    """One to three reasons for each row of the frame, heaviest first."""
    added = model.contributions(frame)
    towards = np.where(at_risk, 1.0, -1.0)[:, None]
    chosen = top_contributions(added * towards, CANDIDATES, "positive")
    spoken_of = [name for name in PHRASES if name in frame.columns]
    place_of = {name: place for place, name in enumerate(model.features)}
    phrases: list[dict[str, list[str]]] = [
        spoken((model.features[place] for place in picked if place >= 0), values, bool(leaving), currency)
        for picked, values, leaving in zip(chosen, frame[spoken_of].to_dict("records"), at_risk, strict=True)
    ]
    # One call of the calibrator for all phrases of all rows: what the probability were without each.
    rows = [row for row, said in enumerate(phrases) for _ in said]
    weight = [
        added[row, [place_of[n] for n in names]].sum() for row, said in enumerate(phrases) for names in said.values()
    ]
    if not rows:
        return [[NOTHING_STANDS_OUT] for _ in phrases]
    without = model.calibrator.apply(margin[rows] - np.array(weight))
    points = iter(100 * (model.calibrator.apply(margin[rows]) - without))
    return [
        [associated(phrase, bool(leaving), next(points)) for phrase in said] or [NOTHING_STANDS_OUT]
        for said, leaving in zip(phrases, at_risk, strict=True)
    ]


def lowers_risk(
    model: ChurnModel,
    frame: pd.DataFrame,
    probability: NDArray[np.float64],
    at_risk: NDArray[np.bool_],
    words: Words,
) -> list[list[str] | None]:
    """For each user at risk what goes with a lower risk, in words; None for the others."""
    told: list[list[str] | None] = [None] * len(frame)
    if not at_risk.any():
        return told
    some = frame[at_risk].reset_index(drop=True)
    then = {
        name: model.calibrator.apply(model.margins(changed))
        for name, changed in churn_counterfactuals.changes(some, words.outlook, words.has_visits).items()
    }
    for row, said in zip(
        np.flatnonzero(at_risk), churn_counterfactuals.sentences(probability[at_risk], then), strict=True
    ):
        told[row] = said
    return told
