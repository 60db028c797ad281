"""What buyers will be worth over a horizon: expected, discounted, with an interval that holds for one buyer.

Expected value is purchases to come (buy_till_you_die.py) times what one is worth (gamma_gamma.py), purchase and value
taken as independent, as both papers do; a purchase t from now counts 1 / (1 + d)^t. The interval is of what a buyer
will do, not of a mean: futures are drawn from what is known of him,

    there ~ P(alive),  λ ~ Gamma(r+x, α+T),  p ~ Beta(a, b+n),  purchases = min(Poisson(λ·h), Geometric(p)),
    ν ~ Gamma(q + p_g·x, v + x·m),  value of N purchases ~ Gamma(p_g·N, ν),

for a purchase is followed by leaving with chance p whenever it happens. Buyers are drawn in blocks, each from a seed of
its own, and a buyer's draws depend on his place alone: so cost is linear and memory bounded.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rekindle.methods.buy_till_you_die import Buyers, Model
from rekindle.methods.gamma_gamma import GammaGamma

Array = NDArray[np.float64]

STEPS = 52  # parts of the horizon, each discounted from its middle: against 1,000 parts, 0.001 % off at d = 20 %
BLOCK = 4_096  # buyers drawn beside each other
LEVELS = (0.05, 0.95)


@dataclass(frozen=True, eq=False)
class Value:
    """By buyer; money is what `worth` was fitted on, times the margin.

    Attributes:
        purchases: float64 [buyers], expected within the horizon, not discounted.
        expected: float64 [buyers], discounted. NaN where the mean value of a purchase is not finite (`GammaGamma`).
        low, high: float64 [buyers], between which nine of ten such buyers' discounted values will be.
    """

    purchases: Array
    expected: Array
    low: Array
    high: Array


@dataclass(frozen=True)
class Terms:
    """Over what and how value counts.

    Attributes:
        horizon: in the time unit of the buyers, above 0.
        discount: of one time unit, 0 or more.
        margin: what of a purchase's value stays, above 0 to 1.
    """

    horizon: float
    discount: float
    margin: float

    def __post_init__(self) -> None:
        if not (0 < self.horizon < np.inf and 0 <= self.discount < np.inf and 0 < self.margin <= 1):
            raise ValueError(
                f"value over a horizon of {self.horizon} at a discount of {self.discount} and a margin of"
                f" {self.margin}; expected above 0, 0 or more, above 0 to 1"
            )


def value(
    model: Model, worth: GammaGamma, buyers: Buyers, mean: Array, terms: Terms, *, draws: int, seed: int
) -> Value:
    """Of every row of `buyers`, a buyer each; `mean` is the mean value of his repeat purchases (not looked at where he
    has none). `draws` futures a buyer, 20 or more.

    Raises:
        ValueError: rows that stand for several buyers, another number of means, too few draws.
    """
    if (buyers.count > 1).any() or len(mean) != len(buyers):
        raise ValueError(f"value: {len(mean)} means for {int(buyers.count.sum())} buyers in {len(buyers)} rows")
    if draws < 20:
        raise ValueError(f"value: {draws} draws, expected 20 or more for an interval of 90 %")
    ends = np.linspace(0, terms.horizon, STEPS + 1)
    factors = (1 + terms.discount) ** -((ends[1:] + ends[:-1]) / 2)
    purchases, discounted, bounds = np.empty(len(buyers)), np.empty(len(buyers)), np.empty((2, len(buyers)))
    for number, start in enumerate(range(0, len(buyers), BLOCK)):
        part = slice(start, start + BLOCK)
        made = np.random.default_rng([seed, number])
        some = Buyers(buyers.repeats[part], buyers.last[part], buyers.age[part], buyers.count[part])
        cumulated = np.stack([model.expected(some, float(end)) for end in ends])
        total, counted = cumulated[-1], (np.diff(cumulated, axis=0) * factors[:, None]).sum(axis=0)
        purchases[part], discounted[part] = total, counted
        ratio = np.where(total > 0, counted / np.where(total > 0, total, 1.0), 1.0)
        drawn = _drawn(made, model, worth, some, mean[part], terms.horizon, draws)
        bounds[:, part] = np.quantile(drawn, LEVELS, axis=0) * terms.margin * ratio
    return Value(purchases, discounted * terms.margin * worth.mean(buyers.repeats, mean), bounds[0], bounds[1])


def _drawn(
    made: np.random.Generator,
    model: Model,
    worth: GammaGamma,
    buyers: Buyers,
    mean: Array,
    horizon: float,
    draws: int,
) -> Array:
    """Values of the purchases within the horizon, not discounted, [draws, buyers]."""
    shape, x = (draws, len(buyers)), buyers.repeats
    rate = made.gamma(model.r + x, 1 / (model.alpha + buyers.age), shape)
    many = made.poisson(rate * horizon).astype(np.float64)
    if model.a is not None and model.b is not None:
        loss = made.beta(model.a, model.b + x + model.at_once, shape)
        many = np.minimum(many, made.geometric(np.maximum(loss, 1e-12), shape))
        many = np.where(made.random(shape) < model.alive(buyers), many, 0.0)
    spent = x * np.where(x > 0, mean, 0.0)
    own = made.gamma(worth.q + worth.p * x, 1 / (worth.v + spent), shape)
    found: Array = np.where(many > 0, made.gamma(np.maximum(worth.p * many, 1e-9)) / own, 0.0)
    return found
