"""A churn candidate in figures of its own, and beside another model or score on the same users."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rekindle.methods import churn_judging, churn_profit
from rekindle.methods.bootstrap import AucDraws, auc_difference
from rekindle.methods.churn_candidates import Candidate, Slice
from rekindle.methods.churn_profit import Threshold
from rekindle.methods.comparison import Comparison


def figures(one: Candidate, judging: Slice, member: dict[str, NDArray[np.bool_]], at: Threshold) -> dict[str, float]:
    """A candidate's own figures on the judging slice, for all and for newcomers, one-time buyers and regulars apart.

    Calibration in the large three times: `_before`, by the newest training cut-off; `_recalibrated`, by the calibration
    slice; and as it is, moved to the base rate of late as well.
    """
    told = churn_judging.figures(judging.label, one.judging, one.probability, at.probability)
    told |= churn_judging.figures_by_group(judging.label, one.judging, member)
    told |= churn_profit.profits(judging.label, one.probability, at)
    for name, said in (("before", one.before), ("recalibrated", one.unmoved)):
        if said is not None:
            told[f"calibration_in_the_large_{name}"] = float(said.mean() - judging.label.mean())
    return told


@dataclass(frozen=True)
class Other:
    """What a candidate is compared with: its digest or `score:<name>`, its name, and its probabilities where it has a
    risk band."""

    key: str
    name: str
    aucs: AucDraws
    probability: NDArray[np.float64] | None = None


def compare(probability: NDArray[np.float64], aucs: AucDraws, other: Other, bands: Sequence[float]) -> Comparison:
    """A candidate's ROC-AUC against another's on the same users, by paired bootstrap; and whose risk band differs.

    `bands` are the lowest probabilities of the risk bands above the first, rising. Both draws are of one `auc_draws`.
    """
    found = auc_difference(aucs, other.aucs)
    flips = None
    if other.probability is not None:
        mine, theirs = (np.searchsorted(bands, p, side="right") for p in (probability, other.probability))
        flips = float((mine != theirs).mean())
    return Comparison(
        other=other.key,
        other_name=other.name,
        metric="roc_auc",
        candidate_value=aucs.point,
        other_value=other.aucs.point,
        difference=found.point,
        low=found.low,
        high=found.high,
        rows=len(probability),
        flip_rate=flips,
    )
