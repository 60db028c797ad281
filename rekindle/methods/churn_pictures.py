"""Which pictures lie beside the churn models of a training."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from rekindle.methods import churn_figures
from rekindle.methods.churn_candidates import Candidate, Slice
from rekindle.methods.classification import reliability

SEEN = 2_000
DIGITS = 4  # of a curve's points: finer than a pixel


def shared(offered: Sequence[Candidate], label: NDArray[np.float64], title: str) -> dict[str, bytes]:
    """PNGs by name that show all offered models beside each other; drawn once."""
    scores = {one.name: one.judging for one in offered}
    return {
        "reliability.png": churn_figures.reliability_plot(
            {one.name: reliability(label, one.probability) for one in offered}, title
        ),
        "roc.png": churn_figures.roc_plot(label, scores, title),
        "precision_recall.png": churn_figures.precision_recall_plot(label, scores, title),
        "gain.png": churn_figures.gain_plot(label, scores, title),
    }


def curves(offered: Sequence[Candidate], label: NDArray[np.float64]) -> dict[str, dict[str, list[list[float]]]]:
    """Points of two curves by model, for whoever draws them: `reliability` has (users, mean probability said, share
    that left) of ten equal-count bins; `roc` (share of the stayers called, share of the leavers found)."""

    def rounded(points: Iterable[Sequence[float]]) -> list[list[float]]:
        return [[round(float(one), DIGITS) for one in point] for point in points]

    roc = {}
    for one in offered:
        left, stayed = churn_figures.called(label, one.judging)
        roc[one.name] = rounded(zip(stayed / stayed[-1], left / left[-1], strict=True))
    return {"reliability": {one.name: rounded(reliability(label, one.probability)) for one in offered}, "roc": roc}


def own(one: Candidate, metrics: dict[str, float], judging: Slice, title: str) -> dict[str, bytes]:
    """PNGs by name of one model: its confusion matrix, and what weighs most in it."""
    assert one.model is not None  # noqa: S101 - for mypy: only what can be stored is offered
    # Means of 2,000 users are drawn as those of all would be; TreeSHAP of a forest takes 0.7 ms a user.
    some = judging.frame.iloc[np.unique(np.linspace(0, len(judging.label) - 1, SEEN).astype(np.int64))]
    weights = np.abs(one.model.contributions(some)).mean(axis=0)
    importance = dict(zip(one.model.features, weights.tolist(), strict=True))
    return {
        "confusion_matrix.png": churn_figures.confusion_matrix(metrics, f"{one.name}: {title}"),
        "importance.png": churn_figures.importance_plot(importance, f"{one.name}: {title}"),
    }
