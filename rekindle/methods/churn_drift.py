"""Whether a model can still be believed: how far users have moved from those whose outcomes are known.

PSI, the population stability index, is Σ (p − q) · ln(p / q) over ten equal-count bins of the reference and one for
missing values: Jeffreys' divergence of two shares (Siddiqi 2006, ch. 8). Usual reading: below 0.1 alike, above 0.25
another population. With n and m rows of one population it is about 10·(1/n + 1/m) by chance (Yurdakul 2018).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rekindle.methods import classification, value_figures

BINS = 10
LEAST_SHARE = 1e-4  # an empty bin of either side counts as one in ten thousand: ln 0 is no number


@dataclass(frozen=True)
class Figure:
    """A figure that is watched; `limit` None: only told."""

    kind: str
    name: str
    value: float
    limit: float | None = None

    @property
    def is_alarm(self) -> bool:
        """Whether the value, whatever its sign, is larger than the limit."""
        return self.limit is not None and abs(self.value) > self.limit


def psi(reference: NDArray[np.float64], current: NDArray[np.float64]) -> float:
    """PSI of two samples of one number, NaN for missing; 0 is alike. The order of values does not matter.

    Raises:
        ValueError: one side has no row.
    """
    if not len(reference) or not len(current):
        raise ValueError(f"PSI of {len(reference)} and {len(current)} rows; expected some of each")
    known = reference[~np.isnan(reference)]
    edges = np.unique(np.quantile(known, np.linspace(0, 1, BINS + 1)[1:-1])) if len(known) else np.zeros(0)

    def shares(values: NDArray[np.float64]) -> NDArray[np.float64]:
        missing = np.isnan(values)
        counts = np.bincount(np.searchsorted(edges, values[~missing], side="left"), minlength=len(edges) + 1)
        every = np.append(counts, missing.sum()) / len(values)
        return np.maximum(every, LEAST_SHARE)

    p, q = shares(current), shares(reference)
    return float(((p - q) * np.log(p / q)).sum())


def drift(
    reference: Mapping[str, NDArray[np.float64]],
    current: Mapping[str, NDArray[np.float64]],
    ageing: Sequence[str],
    limit: float,
) -> list[Figure]:
    """PSI of each feature of both sides; `ageing` ones grow with the log and are told without a limit."""
    return [
        Figure("feature_drift", name, psi(reference[name], current[name]), None if name in ageing else limit)
        for name in sorted(reference)
    ]


def calibration_figures(
    label: NDArray[np.float64], said: NDArray[np.float64], tracked: NDArray[np.float64], ece: float, in_the_large: float
) -> list[Figure]:
    """How far what the model said lay from what came; `said` is by training's calibration, `tracked` by the night's.

    The limits are on `said`: `tracked` was fitted on these very outcomes and is told beside it.
    """
    share = float(label.mean())
    return [
        Figure("base_rate", "share_that_left", share),
        Figure("calibration", "in_the_large", float(said.mean()) - share, in_the_large),
        Figure("calibration", "in_the_large_recalibrated", float(tracked.mean()) - share),
        Figure("calibration", "ece", classification.ece(label, said), ece),
        Figure("calibration", "ece_recalibrated", classification.ece(label, tracked)),
        Figure("calibration", "brier_skill", classification.brier_skill(label, said)),
        Figure("calibration", "roc_auc", classification.roc_auc(label, said)),
    ]


def value_watched(said: NDArray[np.float64], came: NDArray[np.float64]) -> list[Figure]:
    """How far what was expected of users in the outcome window lay from what they spent; nothing has a limit.

    Raises:
        ValueError: as `value_figures.figures`.
    """
    found = value_figures.figures(said, came)
    names = ("mean_said", "mean_came", "mae", "spearman", "normalised_gini", "top_share", "top_share_best")
    told = [Figure("value", name, getattr(found, name)) for name in names]
    for tenth, (_, expected, seen) in enumerate(found.deciles, 1):
        told += [Figure("value", f"tenth_{tenth:02d}_said", expected), Figure("value", f"tenth_{tenth:02d}_came", seen)]
    return told
