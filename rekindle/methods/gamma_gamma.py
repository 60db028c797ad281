"""What a buyer's purchases are worth on average, from how many there were and their mean: gamma-gamma.

A purchase is worth z ~ Gamma(p, ν) with ν ~ Gamma(q, v) of the buyer's own (Fader and Hardie 2013, "The gamma-gamma
model of monetary value"). With x purchases of mean m (their equation 1a)

    f(m | x) = Γ(px+q) / (Γ(px) Γ(q)) · v^q · m^(px−1) · x^(px) / (v + m·x)^(px+q)

and the mean expected of his purchases to come is p·(v + m·x) / (px + q − 1) (equation 5): his own mean, drawn towards
everybody's p·v/(q − 1) the more, the less is known of him.

Values are above 0 and x is 1 or more; who has no such purchase has the mean of everybody.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import special

from rekindle.methods.likelihood import most_likely

Array = NDArray[np.float64]

FEWEST = 3  # as many parameters
STARTS = ((1.0, 2.0, 1.0), (5.0, 4.0, 3.0))


@dataclass(frozen=True)
class GammaGamma:
    """A fitted model; `v` in the money of the values."""

    p: float
    q: float
    v: float
    log_likelihood: float

    def mean(self, purchases: Array, mean: Array) -> Array:
        """Expected value of a purchase to come, [buyers]; with 0 purchases (their mean is not looked at) everybody's.

        NaN where q is 1 or less and nothing is known of the buyer: the mean of everybody is not finite then.
        """
        known = purchases * np.where(purchases > 0, mean, 0.0)
        below = self.p * purchases + self.q - 1
        found: Array = np.where(below > 0, self.p * (self.v + known) / np.where(below > 0, below, 1.0), np.nan)
        return found


def fit(purchases: Array, mean: Array) -> GammaGamma:
    """The most likely model of buyers with `purchases` (1 or more) of `mean` value (above 0).

    Raises:
        ValueError: arrays of unequal length, fewer than FEWEST buyers, values out of bounds, means all alike (the most
            likely spread is then none, which no parameters give).
    """
    if len(purchases) != len(mean) or len(mean) < FEWEST:
        raise ValueError(
            f"gamma-gamma: {len(purchases)} counts and {len(mean)} means, expected {FEWEST} or more of each"
        )
    wrong = ~(purchases >= 1) | ~((mean > 0) & np.isfinite(mean))
    if wrong.any():
        raise ValueError(f"gamma-gamma: {int(wrong.sum())} buyers have no purchase, or a mean that is not above 0")
    if mean.max() - mean.min() <= 1e-9 * mean.max():
        raise ValueError(f"gamma-gamma: all {len(mean)} means are {mean[0]:g}; there is no spread to learn")
    unit = float(mean.mean())
    shift = len(mean) * math.log(unit)
    best, highest = most_likely(lambda at: log_likelihood(purchases, mean / unit, at), STARTS, len(mean))
    p, q, v = (float(one) for one in best)
    return GammaGamma(p, q, v * unit, highest - shift)


def log_likelihood(purchases: Array, mean: Array, parameters: Array) -> tuple[float, Array]:
    """(of all buyers, its gradient) at (p, q, v)."""
    p, q, v = (float(one) for one in parameters)
    x = purchases
    shape, spent = p * x, mean * x
    value = special.gammaln(shape + q) - special.gammaln(shape) - special.gammaln(q) + q * np.log(v)
    value += (shape - 1) * np.log(mean) + shape * np.log(x) - (shape + q) * np.log(v + spent)
    both = special.digamma(shape + q)
    slopes = [
        x * (both - special.digamma(shape) + np.log(spent) - np.log(v + spent)),
        both - special.digamma(q) + np.log(v) - np.log(v + spent),
        q / v - (shape + q) / (v + spent),
    ]
    return float(value.sum()), np.array([one.sum() for one in slopes])
