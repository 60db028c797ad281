"""The comparison table of a training: every method and plain score, on all judged users and on groups of them.

It is kept beside the models as JSON. Seconds are in it, so it is no part of any digest.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rekindle.methods import churn_judging
from rekindle.methods.bootstrap import LEAST_OF_A_CLASS
from rekindle.methods.churn_profit import Threshold, profits

EVERYBODY = "all"
# The table's intervals are drawn on steps of users of nearly one score, at most so many: a step's positives that are
# drawn are Poisson(their number), as if each were drawn. 200,000 users cost what 200 do (40 ms), and the ends of
# an interval move no more than another seed moves them (0.001 of 5,000 users).
MOST_STEPS = 200


@dataclass(frozen=True)
class Said:
    """What one method or score says of the judged users: the margin ranks them. Seconds are null where not measured."""

    name: str
    margin: NDArray[np.float64]
    probability: NDArray[np.float64]
    fit_seconds: float | None = None
    score_seconds: float | None = None
    is_offered: bool = False


def rows(
    label: NDArray[np.float64],
    member: Mapping[str, NDArray[np.bool_]],
    said: Sequence[Said],
    at: Threshold,
    seed: int,
    draws: int,
) -> list[dict[str, Any]]:
    """One row a method and group ("all" first), figures by name; a group with few of a class has rows and base rate."""
    groups = {EVERYBODY: np.ones(len(label), dtype=bool), **member}
    found = []
    for one in said:
        times = {"fit_seconds": one.fit_seconds, "score_seconds": one.score_seconds}
        for name, inside in groups.items():
            truth = label[inside]
            told: dict[str, Any] = {"method": one.name, "group": name, "is_offered": one.is_offered}
            told["rows"] = len(truth)
            told["base_rate"] = float(truth.mean()) if len(truth) else None
            if churn_judging.fewest_of_a_class(truth) >= churn_judging.FEWEST_TO_JUDGE:
                margin, probability = one.margin[inside], one.probability[inside]
                figures = churn_judging.figures(truth, margin, probability, at.probability)
                told |= figures | intervals(truth, margin, seed, draws) | profits(truth, probability, at)
                told["rows"] = len(truth)
            found.append(told | (times if name == EVERYBODY else {}))
    return found


def intervals(label: NDArray[np.float64], score: NDArray[np.float64], seed: int, draws: int) -> dict[str, float]:
    """95 % percentile bootstrap intervals of ROC-AUC and PR-AUC (see `rekindle.methods.bootstrap`), by name.

    Raises:
        ValueError: fewer than 10 rows of either class.
    """
    positives = int(label.sum())
    if min(positives, len(label) - positives) < LEAST_OF_A_CLASS:
        raise ValueError(f"intervals: {positives} positives of {len(label)} rows, expected 10 of either class")
    left, stayed = _steps(label, score, MOST_STEPS)
    generator = np.random.default_rng(seed)
    drawn = np.array([generator.poisson((left, stayed)) for _ in range(draws)], dtype=np.float64)
    merged = (left[None].astype(np.float64), stayed[None].astype(np.float64))
    whole = tuple(counts[None].astype(np.float64) for counts in _steps(label, score, len(label)))
    told: dict[str, float] = {}
    for name, figure in (("roc_auc", _roc_aucs), ("pr_auc", _pr_aucs)):
        # What merging users into steps does to the figure is taken out again.
        moved = figure(*whole)[0] - figure(*merged)[0]
        found = figure(drawn[:, 0], drawn[:, 1])
        low, high = np.quantile(found[np.isfinite(found)], [0.025, 0.975])
        told |= {f"{name}_low": float(low + moved), f"{name}_high": float(high + moved)}
    return told


def to_json(table: Sequence[Mapping[str, Any]], **about: Any) -> bytes:
    """The table as JSON, with what else there is to say of the training."""
    return json.dumps({**about, "methods": list(table)}, sort_keys=True, indent=1, default=str).encode()


def _steps(label: NDArray[np.float64], score: NDArray[np.float64], most: int) -> NDArray[np.int64]:
    """Positives and negatives of each step of equal or neighbouring scores, highest first: int64 [2, steps]."""
    values, step = np.unique(-score, return_inverse=True)
    if len(values) > most:
        # Equal scores stay together; a step is full when so many users are in it.
        before = np.cumsum(np.bincount(step)) - 1
        step = (before * most // len(score))[step]
        _, step = np.unique(step, return_inverse=True)
    every = np.bincount(step)
    positive = np.bincount(step, label).astype(np.int64)
    return np.stack([positive, every - positive])


def _roc_aucs(positive: NDArray[np.float64], negative: NDArray[np.float64]) -> NDArray[np.float64]:
    """ROC-AUC of each row of counts [draws, steps], highest score first; NaN where a class was not drawn."""
    total = negative.sum(axis=1, keepdims=True)
    below = total - np.cumsum(negative, axis=1)
    won = (positive * (below + 0.5 * negative)).sum(axis=1)
    return _share(won, positive.sum(axis=1) * total[:, 0])


def _pr_aucs(positive: NDArray[np.float64], negative: NDArray[np.float64]) -> NDArray[np.float64]:
    """Average precision of each row of counts, as `classification.pr_auc` counts it; NaN without a positive."""
    found = np.cumsum(positive, axis=1)
    called = found + np.cumsum(negative, axis=1)
    precision = np.divide(found, called, out=np.zeros(found.shape), where=called > 0)
    return _share((positive * precision).sum(axis=1), found[:, -1])


def _share(part: NDArray[np.float64], whole: NDArray[np.float64]) -> NDArray[np.float64]:
    share: NDArray[np.float64] = np.divide(part, whole, out=np.full(len(whole), np.nan), where=whole > 0)
    return share
