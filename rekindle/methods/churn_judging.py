"""How well a churn model does on a later slice, in figures: for all, and for groups of users."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from rekindle.methods import classification

NEWCOMER_DAYS = 30
FEWEST_TO_JUDGE = 10  # of each class: below it a bootstrap draw without the class is no longer rare


def figures(
    label: NDArray[np.float64], margin: NDArray[np.float64], probability: NDArray[np.float64], threshold: float
) -> dict[str, float]:
    """Every figure of a model on its judging slice. `threshold` is the probability from which "leaves" is said.

    ROC-AUC, PR-AUC and lift rank by the raw margin, which isotonic calibration's ties do not blur. The calibration
    slope and intercept are absent where the probabilities do not vary or separate the classes: no line exists then.
    Calibration in the large is the mean of what was said less the share that left.

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
        "calibration_in_the_large": float(probability.mean() - label.mean()),
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


def _has_line(label: NDArray[np.float64], probability: NDArray[np.float64]) -> bool:
    left, stayed = probability[label == 1], probability[label == 0]
    return bool(left.min() < stayed.max() and stayed.min() < left.max())
