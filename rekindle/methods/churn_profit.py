"""From which probability of leaving a contact is worth its cost, and what it would have gained.

A contact costs `cost`. With a would-be leaver it succeeds with chance `saves`, and then gains `margin` of what a user
who stays spends, V. So it pays from p* = cost / (saves · margin · V) on (Elkan 2001, "The foundations of cost-sensitive
learning"), whatever the model, as long as its probabilities are calibrated.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rekindle.methods.calibration import NEAREST


@dataclass(frozen=True)
class Threshold:
    """Contact from this probability on, strictly inside (0, 1).

    Attributes:
        gain: what a leaver who is contacted brings on average before the cost, shop currency; not above 0 where those
            who stay spend nothing net.
        pays: whether any probability below 1 is worth a contact; if not, `probability` is as near to 1 as there is.
    """

    probability: float
    cost: float
    gain: float
    pays: bool


def threshold(cost: float, saves: float, margin: float, stayers_spend: float) -> Threshold:
    """The threshold of an offer, where users who stay spend `stayers_spend` on average in the outcome window."""
    gain = saves * margin * stayers_spend
    pays = gain > cost
    probability = cost / gain if pays else 1.0
    return Threshold(min(max(probability, NEAREST), 1 - NEAREST), cost, gain, pays)


def profit_per_1000(label: NDArray[np.float64], contacted: NDArray[np.bool_], at: Threshold) -> float:
    """What contacting these users would have brought on average for each 1,000 of all, shop currency; nobody: 0.

    Each leaver (label 1) who is contacted brings the gain, each contact its cost.
    """
    brought = at.gain * float(label[contacted].sum()) - at.cost * float(contacted.sum())
    return 1000 * brought / len(label)


def profits(label: NDArray[np.float64], probability: NDArray[np.float64], at: Threshold) -> dict[str, float]:
    """Profit per 1,000 users at the threshold, and of contacting all; of contacting none it is 0."""
    return {
        "profit_per_1000": profit_per_1000(label, probability >= at.probability, at),
        "profit_per_1000_contacting_all": profit_per_1000(label, np.ones(len(label), dtype=bool), at),
    }
