"""Buyers who live as a model tells it: what tests and benches of value are about."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from rekindle.methods.buy_till_you_die import Buyers, Model
from rekindle.methods.gamma_gamma import GammaGamma

BG = Model(0.5, 8.0, 0.8, 2.5, False, 0.0)
MBG = Model(0.5, 8.0, 0.8, 2.5, True, 0.0)
NBD = Model(0.5, 8.0, None, None, False, 0.0)
WORTH = GammaGamma(3.0, 4.0, 30.0, 0.0)


@dataclass(frozen=True, eq=False)
class Lives:
    """Buyers as they are known at their age, and each purchase that they made after it.

    Attributes:
        mean: [buyers], mean value of their repeat purchases; NaN where there is none.
        who, after, paid: [purchases], row of the buyer, time since he was known, value.
    """

    buyers: Buyers
    mean: np.ndarray
    who: np.ndarray
    after: np.ndarray
    paid: np.ndarray

    def within(self, start: float, end: float) -> np.ndarray:
        """Purchases of each buyer in (start, end]."""
        return np.bincount(self.who[(self.after > start) & (self.after <= end)], minlength=len(self.buyers))

    def spent(self, discount: float) -> np.ndarray:
        """What each buyer's later purchases are worth, a purchase t from now 1 / (1 + discount)^t of it."""
        return np.bincount(self.who, self.paid * (1 + discount) ** -self.after, len(self.buyers))

    def wait(self) -> np.ndarray:
        """Time to each buyer's next purchase; infinite where there was none."""
        found = np.full(len(self.buyers), np.inf)
        np.minimum.at(found, self.who, self.after)
        return found


def lived(seed: int, n: int, model: Model, ages: tuple[float, float], until: float, worth: GammaGamma = WORTH) -> Lives:
    """`n` buyers known at an age drawn from `ages`, and what they bought up to `until` after it."""
    made = np.random.default_rng(seed)
    rate, own, age = (
        made.gamma(model.r, 1 / model.alpha, n),
        made.gamma(worth.q, 1 / worth.v, n),
        made.uniform(*ages, n),
    )
    loss = np.zeros(n) if model.a is None else made.beta(model.a, model.b, n)
    there = np.flatnonzero(made.random(n) >= loss if model.at_once else np.ones(n, dtype=bool))
    at, repeats, last, spent = np.zeros(n), np.zeros(n), np.zeros(n), np.zeros(n)
    later: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []
    while len(there):
        at[there] += made.exponential(1 / np.maximum(rate[there], 1e-12))
        there = there[at[there] <= age[there] + until]
        paid = made.gamma(worth.p, 1, len(there)) / own[there]
        before = at[there] <= age[there]
        known = there[before]
        repeats[known] += 1
        last[known] = at[known]
        spent[known] += paid[before]
        coming = there[~before]
        later.append((coming, at[coming] - age[coming], paid[~before]))
        there = there[made.random(len(there)) >= loss[there]]
    mean = np.where(repeats > 0, spent / np.maximum(repeats, 1), np.nan)
    who, after, paid = (np.concatenate(part) for part in zip(*later, strict=True))
    return Lives(Buyers(repeats, last, age, np.ones(n)), mean, who, after, paid)
