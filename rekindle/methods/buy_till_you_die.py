"""When buyers come back and whether they are gone, from three numbers each: BG/NBD, MBG/NBD and NBD.

A buyer buys at a rate of his own, λ ~ Gamma(r, α), and is lost after each purchase with a chance of his own,
p ~ Beta(a, b). BG/NBD (Fader, Hardie and Lee 2005) asks after repeat purchases only, so who bought once is alive for
certain; MBG/NBD (Batislam, Denizel and Filiztekin 2007) asks after the first purchase too; NBD loses nobody. With x
repeat purchases, the last at t_x, of T units of time since the first, and n = x (BG/NBD) or x + 1 (MBG/NBD), the
likelihood of one buyer is (equation 6 of the former; the latter's differs in n alone)

    Γ(r+x) αʳ / Γ(r) · { B(a, b+n) / B(a, b) / (α+T)^(r+x)  +  [n > 0] B(a+1, b+n−1) / B(a, b) / (α+t_x)^(r+x) }

The first term is that of a buyer who is still there. Everything here depends on (x, t_x, T) alone, so equal buyers are
one row with a count. A likelihood costs O(rows).

P(alive) is not risk: under BG/NBD everybody who bought once has 1. `none_within` is what ranks who will not buy.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy import special

from rekindle.methods.likelihood import FARTHEST, most_likely

Array = NDArray[np.float64]

# On its way to a or b without end the search stops somewhere in the flat part, 1e-6 above an NBD; with an optimum that
# is barely one (5,000 buyers whom nothing takes away, by chance) it gained 0.6.
LEAST_GAIN = 0.01
STARTS = ((1.0, 1.0, 0.5, 1.5), (0.3, 0.3, 1.0, 4.0))


@dataclass(frozen=True, eq=False)
class Buyers:
    """Summaries, a row a group of buyers with the same three numbers; time in any one unit.

    Attributes:
        repeats: float64 [rows], x: days with a purchase after the first.
        last: float64 [rows], t_x: time of the last of them since the first purchase; 0 where there is none.
        age: float64 [rows], T: time since the first purchase.
        count: float64 [rows], how many buyers the row stands for.

    Raises:
        ValueError: arrays of unequal length, x below 0 or no whole number, t_x not within 0 … T or not 0 exactly where
            x is 0, a count below 1, NaN; the message counts the rows.
    """

    repeats: Array
    last: Array
    age: Array
    count: Array

    def __post_init__(self) -> None:
        if len({len(self.repeats), len(self.last), len(self.age), len(self.count)}) > 1:
            raise ValueError("Buyers: arrays of unequal length")
        faults = {
            "repeats that are no whole number of 0 or more": ~(self.repeats >= 0) | (self.repeats % 1 != 0),
            "a last purchase outside 0 to the age": ~((self.last >= 0) & (self.last <= self.age)),
            "a last repeat purchase without repeats, or the other way round": (self.last > 0) != (self.repeats > 0),
            "an age that is no number": ~np.isfinite(self.age),
            "a count below 1": ~(self.count >= 1),
        }
        told = [f"{int(rows.sum())} of {len(rows)} rows have {name}" for name, rows in faults.items() if rows.any()]
        if told:
            raise ValueError("Buyers: " + "; ".join(told))

    @classmethod
    def grouped(cls, repeats: Array, last: Array, age: Array) -> tuple[Buyers, NDArray[np.int64]]:
        """Equal buyers as one row, and the row of each: what is told of rows, `[row]` tells of buyers."""
        first, row = alike(repeats, last, age)
        count = np.bincount(row, minlength=len(first)).astype(np.float64)
        return cls(repeats[first], last[first], age[first], count), row

    def __len__(self) -> int:
        return len(self.repeats)


@dataclass(frozen=True)
class Model:
    """A fitted model of buyers, in the time unit of the buyers it was fitted on.

    Attributes:
        a, b: of the Beta of being lost; both None: nobody is (NBD).
        at_once: whether the first purchase may be the last (MBG/NBD).
        log_likelihood: of all buyers.
        degraded: why this is an NBD although one with losses was asked for; None where it is what was asked for.
    """

    r: float
    alpha: float
    a: float | None
    b: float | None
    at_once: bool
    log_likelihood: float
    degraded: str | None = None

    def alive(self, buyers: Buyers) -> Array:
        """P(alive) at T, [rows]: that the buyer has not been lost."""
        if self.a is None or self.b is None:
            return np.ones(len(buyers))
        return 1 - _lost(_terms(buyers, self.r, self.alpha, self.a, self.b, self.at_once))

    def none_within(self, buyers: Buyers, horizon: float, gap: float = 0.0) -> Array:
        """Probability of no purchase in (gap, gap + horizon] from now, [rows]: lost by then, or there and not buying.

        Who is there has λ ~ Gamma(r+x, R), R = α+T, and p ~ Beta(a, b+n). He makes Poisson(λ·gap) purchases in the gap
        and survives all of them with exp(−λ·p·gap); then he buys nothing with exp(−λ·horizon). Over λ and p

            P(some) = P(alive) · [K(R) − (R/(R+horizon))^(r+x) · K(R+horizon)],
            K(R) = E exp(−λ·p·gap) = (R/(R+gap))^(r+x) · ₂F₁(r+x, b+n; a+b+n; gap/(R+gap)), 1 without a gap.
        """
        now, then = self._kept(buyers, gap, 0.0), self._kept(buyers, gap, horizon)
        return 1 - self.alive(buyers) * (now - self._silent(buyers, horizon) * then)

    def at_least(self, buyers: Buyers, purchases: Array | float, horizon: float) -> Array:
        """Probability of so many purchases (1 or more) or more in the next `horizon`, [rows]; of [n, 1], [n, rows].

        k purchases are made where a Poisson process reaches k and the first k − 1 lost nobody:
        P(alive) · I(k, r+x; horizon/(α+T+horizon)) · B(a, b+n+k−1)/B(a, b+n), I the regularised incomplete beta.
        """
        rate = self.alpha + buyers.age
        reached: Array = special.betainc(purchases, self.r + buyers.repeats, horizon / (rate + horizon))
        if self.a is None or self.b is None:
            return reached
        left = self.b + buyers.repeats + self.at_once
        kept = np.exp(special.betaln(self.a, left + purchases - 1) - special.betaln(self.a, left))
        found: Array = self.alive(buyers) * reached * kept
        return found

    def wait(self, buyers: Buyers) -> Array:
        """Median time to the next purchase, [rows]: `none_within` it is a half. Infinite where P(alive) is a half or
        less, for then there is more likely none.

        R·((1 − 1/(2·P(alive)))^(−1/(r+x)) − 1) with R = α+T.
        """
        rate, alive = self.alpha + buyers.age, self.alive(buyers)
        silent = np.where(alive > 0.5, 1 - 0.5 / np.maximum(alive, 0.5), 0.0)
        with np.errstate(divide="ignore", over="ignore"):  # past what a double holds is for ever too
            found: Array = rate * (silent ** (-1 / (self.r + buyers.repeats)) - 1)
        return found

    def expected(self, buyers: Buyers, horizon: float) -> Array:
        """Expected purchases in the next `horizon`, [rows] (Fader, Hardie and Lee 2005, equation 10).

        With losses: P(alive) · (a+b+n−1)/(a−1) · [1 − ((α+T)/(α+T+t))^(r+x) · ₂F₁(r+x, b+n; a+b+n−1; t/(α+T+t))].
        """
        shape, rate = self.r + buyers.repeats, self.alpha + buyers.age
        if self.a is None or self.b is None:
            return shape * horizon / rate
        # At a = 1 the fraction is 0/0 and the limit is what stands to either side.
        a = self.a if abs(self.a - 1) > 1e-6 else 1 + 1e-6
        n = buyers.repeats + self.at_once
        series = special.hyp2f1(shape, self.b + n, a + self.b + n - 1, horizon / (rate + horizon))
        found: Array = (a + self.b + n - 1) / (a - 1) * (1 - self._silent(buyers, horizon) * series)
        return self.alive(buyers) * found

    def _kept(self, buyers: Buyers, gap: float, older: float) -> Array:
        """K of `none_within`: that who is there outlasts the gap, seen from an age `older` than the buyers'."""
        if not gap >= 0:
            raise ValueError(f"a gap of {gap}, expected 0 or more")
        if self.a is None or self.b is None or gap == 0:
            return np.ones(len(buyers))
        rate, shape = self.alpha + buyers.age + older, self.r + buyers.repeats
        left = self.b + buyers.repeats + self.at_once
        series = special.hyp2f1(shape, left, self.a + left, gap / (rate + gap))
        found: Array = (rate / (rate + gap)) ** shape * series
        return found

    def _silent(self, buyers: Buyers, horizon: float) -> Array:
        if not horizon >= 0:
            raise ValueError(f"a horizon of {horizon}, expected 0 or more")
        rate = self.alpha + buyers.age
        found: Array = (rate / (rate + horizon)) ** (self.r + buyers.repeats)
        return found


def alike(*columns: Array) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """(a row of each kind, the kind of each row), rows being of a kind where all their columns are equal.

    Kinds are in the order of the columns' values, the first column's first.
    """
    order = np.lexsort(columns[::-1])  # a fifth of the time that np.unique takes for whole rows
    another = np.zeros(len(order), dtype=bool)
    another[:1] = True
    for column in columns:
        another[1:] |= column[order[1:]] != column[order[:-1]]
    row = np.empty(len(order), dtype=np.int64)
    row[order] = np.cumsum(another) - 1
    return order[another], row


def fit(buyers: Buyers, *, at_once: bool = False) -> Model:
    """The most likely BG/NBD (or MBG/NBD: `at_once`); an NBD that says so where that has no finite optimum.

    All buyers belong in, those of one purchase too.

    Raises:
        ValueError: no buyer, or none with a repeat purchase or with any time since the first: nothing to learn from.
    """
    if not len(buyers) or not (buyers.repeats > 0).any():
        raise ValueError(f"{int(buyers.count.sum())} buyers, none with a repeat purchase: no rate can be learnt")
    unit = float((buyers.age * buyers.count).sum() / buyers.count.sum())
    scaled = Buyers(buyers.repeats, buyers.last / unit, buyers.age / unit, buyers.count)
    # A density over time: in the buyers' own unit every repeat purchase is 1/unit as dense.
    shift = float((buyers.repeats * buyers.count).sum()) * math.log(unit)
    everybody = float(buyers.count.sum())

    def search(starts: Sequence[Sequence[float]]) -> tuple[Array, float]:
        return most_likely(lambda at: log_likelihood(scaled, at, at_once), starts, everybody)

    (r, alpha), plain = search([STARTS[0][:2]])
    lossless = Model(float(r), float(alpha) * unit, None, None, at_once, plain - shift)
    best, highest = search(STARTS)
    r, alpha, a, b = (float(one) for one in best)
    at_edge = bool((np.abs(np.log(best)) > FARTHEST - 0.01).any())
    if at_edge or highest < plain + LEAST_GAIN:
        name = "MBG/NBD" if at_once else "BG/NBD"
        reason = (
            f"{name} has no finite optimum on these {everybody:.0f} buyers (r {r:.3g}, α {alpha * unit:.3g},"
            f" a {a:.3g}, b {b:.3g}): NBD, which loses nobody, stands in"
        )
        return replace(lossless, degraded=reason)
    return Model(r, alpha * unit, a, b, at_once, highest - shift)


def log_likelihood(buyers: Buyers, parameters: Array, at_once: bool) -> tuple[float, Array]:
    """(of all buyers, its gradient) at (r, α, a, b), or at (r, α) of an NBD."""
    r, alpha, *losses = (float(one) for one in parameters)
    x, count = buyers.repeats, buyers.count
    common = special.gammaln(r + x) - special.gammaln(r) + r * np.log(alpha)
    by_r = special.digamma(r + x) - special.digamma(r) + np.log(alpha)
    if not losses:
        total = common - (r + x) * np.log(alpha + buyers.age)
        slopes = [by_r - np.log(alpha + buyers.age), r / alpha - (r + x) / (alpha + buyers.age)]
        return float(total @ count), np.array([one @ count for one in slopes])
    a, b = losses
    there, gone = _terms(buyers, r, alpha, a, b, at_once)
    lost, n = _lost((there, gone)), x + at_once
    there_n, gone_n = special.digamma(b + n), special.digamma(np.maximum(b + n - 1, np.finfo(np.float64).tiny))
    gone_n = np.where(lost > 0, gone_n, 0.0)
    both = special.digamma(a + b) - special.digamma(a + b + n)
    slopes = [
        by_r - (1 - lost) * np.log(alpha + buyers.age) - lost * np.log(alpha + buyers.last),
        r / alpha - (r + x) * ((1 - lost) / (alpha + buyers.age) + lost / (alpha + buyers.last)),
        both + lost / a,  # ψ(a+1) − ψ(a) = 1/a
        both + (1 - lost) * there_n + lost * gone_n - special.digamma(b),
    ]
    return float((common + np.logaddexp(there, gone)) @ count), np.array([one @ count for one in slopes])


def _terms(buyers: Buyers, r: float, alpha: float, a: float, b: float, at_once: bool) -> tuple[Array, Array]:
    """Logarithms of the two terms in braces; −inf where there is no second."""
    x, n = buyers.repeats, buyers.repeats + at_once
    there = special.betaln(a, b + n) - special.betaln(a, b) - (r + x) * np.log(alpha + buyers.age)
    before = np.maximum(b + n - 1, np.finfo(np.float64).tiny)
    gone = special.betaln(a + 1, before) - special.betaln(a, b) - (r + x) * np.log(alpha + buyers.last)
    return there, np.where(n > 0, gone, -np.inf)


def _lost(terms: tuple[Array, Array]) -> Array:
    found: Array = special.expit(terms[1] - terms[0])
    return found
