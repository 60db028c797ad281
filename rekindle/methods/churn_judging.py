"""How well a churn model does on a later slice, and the alarms for features that know the answer.

Public claims of 0.99 ROC-AUC for churn come from rows shared between training and judging or from features of the
outcome window; the alarms look for what such a leak leaves behind.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rekindle.methods import classification
from rekindle.methods.churn_models import TreeParams, fit_trees_here
from rekindle.methods.xgboost_scoring import load_booster, margins

NEWCOMER_DAYS = 30
# No honest feature comes near: recency, the best of them here, has 0.77 and 0.64 on this repository's two shops.
SINGLE_FEATURE_LIMIT = 0.95
PERMUTED_LIMIT = 0.60
# A model of noise leans one way or the other on the true labels, by 0.05 now and then; their mean does not.
PERMUTATIONS = 8
PERMUTED_TREES = TreeParams(n_estimators=30)
FEWEST_TO_JUDGE = 10  # of each class: below it a bootstrap draw without the class is no longer rare


def figures(
    label: NDArray[np.float64], margin: NDArray[np.float64], probability: NDArray[np.float64], threshold: float
) -> dict[str, float]:
    """Every figure of a model on its judging slice. `threshold` is the probability from which "leaves" is said.

    ROC-AUC, PR-AUC and lift rank by the raw margin, which isotonic calibration's ties do not blur. The calibration
    slope and intercept are absent where the probabilities do not vary or separate the classes: no line exists then.

    Raises:
        ValueError: one class only.
    """
    told = classification.confusion(label, probability, threshold)
    found = {
        "rows": float(len(label)),
        "base_rate": float(label.mean()),
        "roc_auc": classification.roc_auc(label, margin),
        "pr_auc": classification.pr_auc(label, margin),
        "lift_top_decile": classification.lift(label, margin, 0.1),
        "brier": classification.brier(label, probability),
        "brier_skill": classification.brier_skill(label, probability),
        "ece": classification.ece(label, probability),
        "threshold": threshold,
        "accuracy": told.accuracy,
        "precision": told.precision,
        "recall": told.recall,
        "f1": told.f1,
        "tp": told.tp,
        "fp": told.fp,
        "fn": told.fn,
        "tn": told.tn,
    }
    if _has_line(label, probability):
        line = classification.calibration_line(label, probability)
        found |= {"calibration_slope": line.slope, "calibration_intercept": line.intercept}
    return found


def groups(tenure_days: NDArray[np.float64], frequency: NDArray[np.float64]) -> dict[str, NDArray[np.bool_]]:
    """Newcomers (first seen less than 30 days ago), other one-time buyers, and regulars: each row is in one."""
    newcomer = tenure_days < NEWCOMER_DAYS
    once = ~newcomer & (frequency <= 1)
    return {"newcomers": newcomer, "one_time_buyers": once, "regulars": ~newcomer & ~once}


def figures_by_group(
    label: NDArray[np.float64], margin: NDArray[np.float64], member: dict[str, NDArray[np.bool_]]
) -> dict[str, float]:
    """Rows and base rate of each group, and ROC-AUC where the group has at least 10 of each class."""
    found = {}
    for name, rows in member.items():
        found[f"{name}_rows"] = float(rows.sum())
        if not rows.any():
            continue
        found[f"{name}_base_rate"] = float(label[rows].mean())
        if fewest_of_a_class(label[rows]) >= FEWEST_TO_JUDGE:
            found[f"{name}_roc_auc"] = classification.roc_auc(label[rows], margin[rows])
    return found


def fewest_of_a_class(label: NDArray[np.float64]) -> int:
    """Rows of the smaller class."""
    positives = int(label.sum())
    return min(positives, len(label) - positives)


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


def _has_line(label: NDArray[np.float64], probability: NDArray[np.float64]) -> bool:
    left, stayed = probability[label == 1], probability[label == 0]
    return bool(left.min() < stayed.max() and stayed.min() < left.max())
