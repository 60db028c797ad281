"""Alarms for inputs that know the answer, and for judging on what was learnt from.

Public claims of 0.99 ROC-AUC for churn come from rows shared between training and judging or from features of the
outcome window; the alarms look for what such a leak leaves behind.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rekindle.methods import classification
from rekindle.methods.churn_inputs import fit_scaling
from rekindle.methods.churn_trees import TreeParams, fit_trees_here
from rekindle.methods.xgboost_scoring import load_booster, margins

# No honest feature comes near: recency, the best of them here, has 0.77 and 0.64 on this repository's two shops.
SINGLE_FEATURE_LIMIT = 0.95
PERMUTED_LIMIT = 0.60
# A model of noise leans one way or the other on the true labels, by 0.05 now and then; their mean does not.
PERMUTATIONS = 8
PERMUTED_TREES = TreeParams(n_estimators=30)
# A model of honest features stays below 0.9 on this repository's shops and on telco-churn.
MODEL_LIMIT = 0.98
# Judging rows that are looked at for each class, and the nearest training rows of each.
LOOKED_AT = 500
NEAREST_ROWS = 20
ROWS_AT_ONCE = 100  # 40 MB of distances to 50,000 training rows
# Two directions are opposite when their cosine is nearer to -1 than this: an angle of 0.0014. float32 inputs keep it.
OPPOSITE = 1e-6
# Coordinates that move by one amount are one: three ages of a user who came once, say. Below this many a line through
# three rows is no wonder.
FEWEST_DIRECTIONS = 4
RESAMPLED_LIMIT = 0.1


@dataclass(frozen=True)
class Alarm:
    """A sign that the inputs know the answer."""

    found: str
    limit: str


def single_feature_aucs(
    matrix: NDArray[np.float32], label: NDArray[np.float64], features: Sequence[str]
) -> dict[str, float]:
    """ROC-AUC of each feature alone in its better direction, 0.5 to 1, missing values below all others."""
    found = {}
    for place, name in enumerate(features):
        score = np.where(np.isnan(matrix[:, place]), -np.inf, matrix[:, place].astype(np.float64))
        auc = classification.roc_auc(label, score)
        found[name] = max(auc, 1 - auc)
    return found


def permuted_aucs(
    training: NDArray[np.float32],
    training_label: NDArray[np.float64],
    judging: NDArray[np.float32],
    judging_label: NDArray[np.float64],
    seed: int,
) -> NDArray[np.float64]:
    """ROC-AUC on the true judging labels of each of eight small models that learnt from shuffled training labels.

    Their mean is about 0.5 where training tells nothing of judging but what the labels teach; higher, and there is a
    path around the labels.
    """
    generator = np.random.default_rng(seed)
    features = [f"f{place}" for place in range(training.shape[1])]
    found = []
    for _ in range(PERMUTATIONS):
        shuffled = generator.permutation(training_label)
        booster = load_booster(fit_trees_here(training, shuffled, PERMUTED_TREES, seed), features)
        found.append(classification.roc_auc(judging_label, margins(booster, judging)))
    return np.array(found)


def alarms(single: dict[str, float], permuted: NDArray[np.float64]) -> list[Alarm]:
    """The alarms that the figures raise; none is the normal case.

    Shuffled labels alarm by their mean, and only if it is three standard errors above a coin: little data is noisy.
    """
    raised = [
        Alarm(f"the feature {name} alone has ROC-AUC {auc:.3f}", f"at most {SINGLE_FEATURE_LIMIT}")
        for name, auc in single.items()
        if auc > SINGLE_FEATURE_LIMIT
    ]
    mean, error = float(permuted.mean()), float(permuted.std(ddof=1)) / len(permuted) ** 0.5
    if mean > PERMUTED_LIMIT and mean - 0.5 > 3 * error:
        raised.append(Alarm(f"models of shuffled labels have ROC-AUC {mean:.3f}", f"at most {PERMUTED_LIMIT}"))
    return raised


def model_alarms(aucs: Mapping[str, float]) -> list[Alarm]:
    """The alarms of models by name that are too good to be true on the judging slice."""
    return [
        Alarm(f"the model {name} has ROC-AUC {auc:.3f}", f"at most {MODEL_LIMIT}")
        for name, auc in aucs.items()
        if auc > MODEL_LIMIT
    ]


@dataclass(frozen=True)
class Resampled:
    """Shares of judging rows of each class that look made from training rows."""

    left: float
    stayed: float

    @property
    def excess(self) -> float:
        """By how much one class has more of them, 0 to 1."""
        return abs(self.left - self.stayed)


def resampled(
    training: NDArray[np.float32],
    judging: NDArray[np.float32],
    judging_label: NDArray[np.float64],
    seed: int,
) -> Resampled:
    """How many judging rows are the same as a training row, or lie on the straight line between two.

    Oversampling before the split leaves that: copies have twins in training, and SMOTE's rows (Chawla et al. 2002) are
    points between two neighbours, most of which are in training. It is done to one class, so the classes differ; what
    few distinct values do to a line, they do to both. Distances are of standardised inputs, 500 rows of each class
    are looked at, each beside its 20 nearest training rows.
    """
    scaling = fit_scaling(training)
    known, asked = scaling.apply(training)[0], scaling.apply(judging)[0]
    generator = np.random.default_rng(seed)
    size, shares = (known**2).sum(axis=1), []
    for kind in (1, 0):
        rows = generator.permutation(np.flatnonzero(judging_label == kind))[:LOOKED_AT]
        made = 0
        for part in np.array_split(asked[rows], max(1, len(rows) // ROWS_AT_ONCE)):
            away = size - 2 * part @ known.T  # less each row's own size, which orders nothing
            nearest = np.argpartition(away, min(NEAREST_ROWS, len(known)) - 1, axis=1)[:, :NEAREST_ROWS]
            made += sum(_is_made(row, known[near]) for row, near in zip(part, nearest, strict=True))
        shares.append(made / len(rows))
    return Resampled(*shares)


def _is_made(row: NDArray[np.float64], nearest: NDArray[np.float64]) -> bool:
    """Whether the row is one of its nearest or lies between two of them."""
    steps = nearest - row
    length = np.sqrt((steps**2).sum(axis=1))
    same = length < OPPOSITE
    if same.any():
        return True
    towards = steps / length[:, None]
    for one, other in zip(*np.nonzero(towards @ towards.T < OPPOSITE - 1), strict=True):
        if one < other and len(np.unique(np.abs(steps[one]).round(6))) > FEWEST_DIRECTIONS:
            return True
    return False


def resampling_alarms(found: Resampled) -> list[Alarm]:
    """The alarm of rows that were made before the split, if there is one."""
    if found.excess <= RESAMPLED_LIMIT:
        return []
    told = (
        f"{found.left:.1%} of the judged who left and {found.stayed:.1%} of those who stayed are copies of training"
        " rows or lie between two: resampled before the split"
    )
    return [Alarm(told, f"a difference of at most {RESAMPLED_LIMIT:.0%}")]
