"""What buyers will be worth over a horizon: expected, discounted, with an interval that holds for one buyer.

Expected value is purchases to come (buy_till_you_die.py) times what one is worth (gamma_gamma.py), purchase and value
taken as independent, as both papers do; a purchase t from now counts 1 / (1 + d)^t. The interval is of what a buyer
will do, not of a mean. With k known purchases of mean m he has ν ~ Gamma(q + p·k, V), V = v + k·m, and N purchases to
come are worth Gamma(p·N, ν): N given, value / V is beta prime of (p·N, q + p·k), so

    P(value > s) = Σ_N P(N) · [1 − I(p·N, q + p·k; s/(s + V))],

I the regularised incomplete beta. `Model.at_least` has P(N), so a bound is V times a root that depends on
(x, t_x, T, k) alone: it is searched for once for all who are alike there, and nothing is drawn. A buyer's interval is
the same wherever he stands and whoever is valued beside him, to the bit.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import special

from rekindle.methods.buy_till_you_die import Buyers, Model, alike
from rekindle.methods.gamma_gamma import GammaGamma

Array = NDArray[np.float64]

NODES = 12  # of Gauss and Legendre over the horizon: against 200, within 3e-5 for a year at 1 % a day
BLOCK = 4_096  # kinds of buyers beside each other: bounds memory
LOW, HIGH = 0.05, 0.95
MOST = 4_096  # purchases that a horizon is thought to hold
# Purchases are summed one by one to 16 and then in steps of a sixteenth, whose width is little beside the spread of
# what so many purchases are worth. Here stands the least number of each step.
EDGES = np.concatenate([np.arange(1.0, 17.0), np.unique(np.floor(16 * (17 / 16) ** np.arange(1, 92)))])
TOGETHER = 8  # steps asked for at once: half of all buyers are done after the first eight
CHANCE = 1e-6  # what is rarer is not summed
PRECISION = 1e-4  # of a bound, relative


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
    model: Model, worth: GammaGamma | float, buyers: Buyers, purchases: Array, mean: Array, terms: Terms
) -> Value:
    """Of every row of `buyers`, a buyer each.

    `mean` is the mean value of `purchases` known purchases of his (not looked at where there are none). `worth` is a
    number where every purchase of everybody is taken to be worth that; then nothing is asked of the mean.

    Raises:
        ValueError: rows that stand for several buyers, or another number of means.
    """
    if (buyers.count > 1).any() or not len(purchases) == len(mean) == len(buyers):
        raise ValueError(f"value: {len(mean)} means for {int(buyers.count.sum())} buyers in {len(buyers)} rows")
    known = purchases if isinstance(worth, GammaGamma) else np.zeros(len(buyers))
    first, row = alike(buyers.repeats, buyers.last, buyers.age, known)
    total, counted, low, high = (np.empty(len(first)) for _ in range(4))
    for start in range(0, len(first), BLOCK):
        part, some = slice(start, start + BLOCK), first[start : start + BLOCK]
        kinds = Buyers(buyers.repeats[some], buyers.last[some], buyers.age[some], buyers.count[some])
        total[part], counted[part] = _purchases(model, kinds, terms)
        low[part], high[part] = _bounds(model, worth, kinds, known[some], terms.horizon)
    if isinstance(worth, GammaGamma):
        each, scale = worth.mean(known, mean), worth.v + known * np.where(known > 0, mean, 0.0)
    else:
        each, scale = np.full(len(buyers), worth), np.full(len(buyers), worth)
    # Bounds are those of the sum, brought down by what discounting takes from its mean.
    kept = terms.margin * np.divide(counted, total, out=np.ones(len(total)), where=total > 0)
    return Value(total[row], terms.margin * counted[row] * each, (kept * low)[row] * scale, (kept * high)[row] * scale)


def _purchases(model: Model, kinds: Buyers, terms: Terms) -> tuple[Array, Array]:
    """Expected within the horizon h, as they are and discounted: with δ = ln(1+d), in parts and by quadrature,

    ∫ exp(−δt) dE(t) = exp(−δh)·E(h) + δ·∫ exp(−δt)·E(t) dt.
    """
    total = model.expected(kinds, terms.horizon)
    force = np.log1p(terms.discount)
    if force == 0:
        return total, total
    nodes, weights = np.polynomial.legendre.leggauss(NODES)
    counted = np.exp(-force * terms.horizon) * total
    for node, weight in zip(terms.horizon * (nodes + 1) / 2, terms.horizon * weights / 2, strict=True):
        counted += force * weight * np.exp(-force * node) * model.expected(kinds, float(node))
    return total, counted


def _bounds(
    model: Model, worth: GammaGamma | float, kinds: Buyers, known: Array, horizon: float
) -> tuple[Array, Array]:
    """What value stays below with the probabilities LOW and HIGH, in units of V, or of what each purchase is worth."""
    if not isinstance(worth, GammaGamma):
        return _most_purchases(LOW, model, kinds, horizon), _most_purchases(HIGH, model, kinds, horizon)
    kind, step, reached = _steps(model, kinds, horizon)
    edges = np.append(EDGES, EDGES[-1] + 1)
    following = np.append((kind[1:] == kind[:-1]), False)
    chance = reached - np.where(following, np.append(reached[1:], 0.0), 0.0)
    shape = worth.p * (edges[step] + edges[step + 1] - 1) / 2
    found = np.zeros((2, len(kinds)))
    for level, bound in zip((LOW, HIGH), found, strict=True):
        # Who buys nothing with that probability has 0; the others' first step is at the purchases that are exceeded.
        usual = np.bincount(kind[reached > 1 - level], minlength=len(kinds))
        searched = usual > 0
        if searched.any():
            place, here = np.cumsum(searched) - 1, searched[kind]
            spread = worth.q + worth.p * known[searched]
            start = worth.p * EDGES[usual[searched] - 1] / spread
            bound[searched] = _roots(1 - level, place[kind[here]], chance[here], shape[here], spread, start)
    return found[0], found[1]


def _steps(model: Model, kinds: Buyers, horizon: float) -> tuple[NDArray[np.int64], NDArray[np.int64], Array]:
    """(kind, step, probability of the step's least purchases or more), by kind and step, of all that come to CHANCE."""
    left, parts = np.arange(len(kinds)), []
    for start in range(0, len(EDGES), TOGETHER):
        some = Buyers(kinds.repeats[left], kinds.last[left], kinds.age[left], kinds.count[left])
        reached = model.at_least(some, EDGES[start : start + TOGETHER, None], horizon)
        step, place = np.nonzero(reached > CHANCE)
        parts.append((left[place], step + start, reached[step, place]))
        left = left[reached[-1] > CHANCE]
        if not len(left):
            break
    kind, step, chance = (np.concatenate(part) for part in zip(*parts, strict=True))
    order = np.lexsort((step, kind))
    return kind[order], step[order], chance[order]


def _roots(above: float, kind: NDArray[np.int64], chance: Array, shape: Array, spread: Array, start: Array) -> Array:
    """w by kind where Σ chance · P(BetaPrime(shape, spread) > w) is `above`, [kinds]; (chance, shape) of its `kind`.

    Newton's steps on ln w, within what is known to hold the root. A kind's steps do not depend on the others.
    """
    log_w, lowest, highest = np.log(start), np.full(len(start), -np.inf), np.full(len(start), np.inf)
    norm = special.betaln(shape, spread[kind])
    left = np.arange(len(start))
    for _ in range(60):
        here = np.flatnonzero(np.isin(kind, left)) if len(left) < len(start) else np.arange(len(kind))
        of, q = kind[here], spread[kind[here]]
        # 1 / (1 + w), and the density of ln w by logarithms: the beta of heavy buyers overflows.
        rest = special.expit(-log_w)[of]
        beyond = np.bincount(of, chance[here] * special.betainc(q, shape[here], rest), len(start))[left]
        logs = shape[here] * special.log_expit(log_w)[of] + q * special.log_expit(-log_w)[of] - norm[here]
        slope = np.bincount(of, chance[here] * np.exp(logs), len(start))[left]
        lowest[left] = np.where(beyond > above, log_w[left], lowest[left])
        highest[left] = np.where(beyond > above, highest[left], log_w[left])
        step = np.clip((beyond - above) / np.maximum(slope, 1e-12), -1.0, 1.0)
        after, done = log_w[left] + step, np.abs(step) < PRECISION
        outside = ~done & ((after <= lowest[left]) | (after >= highest[left]))
        log_w[left] = np.where(outside, (lowest[left] + highest[left]) / 2, after)
        left = left[~done]
        if not len(left):
            break
    return np.exp(log_w)


def _most_purchases(level: float, model: Model, kinds: Buyers, horizon: float) -> Array:
    """The fewest purchases that are not exceeded with probability `level`, [kinds], at most MOST."""
    few, many = np.full(len(kinds), -1.0), np.full(len(kinds), float(MOST))  # exceeded; not exceeded
    while (many - few > 1).any():
        middle = np.floor((few + many) / 2)
        exceeded = model.at_least(kinds, middle + 1, horizon) > 1 - level
        few, many = np.where(exceeded, middle, few), np.where(exceeded, many, middle)
    return many
