"""How long buyers take to buy again, and what horizon and eligibility that proposes.

A spell begins with a purchase day and lasts to the buyer's next one; what has not ended by `as_of` is censored. Days
are whole local days counted from any fixed one, and `as_of` is the first that is not looked at. A buyer's silence at
`as_of` is the number of days since his last purchase on which he is known to have bought nothing: 0 where he bought the
day before. So S(k), the share of spells longer than k days, is that of buyers who reach a silence of k.

S is estimated by Kaplan and Meier (1958): Π over j = 1 … k of (1 − ended on day j / at risk on day j). Mean or quantile
of the spells that ended alone would be those of buyers who came back. A buyer has as many spells as purchases, so those
who buy often weigh more in the curve of all; at long silences it is that of those who rarely buy.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta

import numpy as np
from numpy.typing import NDArray

from rekindle.methods import cutoffs

Array = NDArray[np.float64]
Days = NDArray[np.int64]
Flags = NDArray[np.bool_]

# Spells that a day of the curve rests on: the standard error of a share of them is then 9 points at most.
LEAST_AT_RISK = 30
NUMBERS = (1, 2, 3, 5, 10)  # purchases so far, from which a curve of its own begins
STILL_COME = 0.05
LEAST_TO_FOLLOW = 200  # buyers so long silent of whom to say whether STILL_COME of them do: 10, give or take 3
WEEK = 7
RANGES = (1.0, 0.75, 0.5)  # of the curve, over which its knee is looked for: a knee depends on where one stops looking


@dataclass(frozen=True, eq=False)
class PurchaseDays:
    """Who bought on which days.

    Attributes:
        start: int64 [buyers + 1], where each buyer's days begin in `day`; everybody has one or more.
        day: int64 [purchase days], rising within a buyer, each once.
    """

    start: Days
    day: Days

    @classmethod
    def of(cls, buyer: Days, day: Days) -> PurchaseDays:
        """From a row a purchase, in any order; several on a day are one. Buyers are in the order of their numbers."""
        order = np.lexsort((day, buyer))
        buyer, day = buyer[order], day[order]
        new = np.append(True, (buyer[1:] != buyer[:-1]) | (day[1:] != day[:-1]))[: len(day)]
        buyer, day = buyer[new], day[new]
        first = np.flatnonzero(np.append(True, buyer[1:] != buyer[:-1])[: len(day)])
        return cls(np.append(first, len(day)).astype(np.int64), day.astype(np.int64))

    def __len__(self) -> int:
        return len(self.start) - 1

    @property
    def buyer(self) -> Days:
        """The place of each purchase day's buyer, int64 [purchase days]."""
        return np.repeat(np.arange(len(self), dtype=np.int64), np.diff(self.start))

    def before(self, t: int) -> Days:
        """Purchase days before `t` of each buyer, int64 [buyers]."""
        return np.add.reduceat((self.day < t).astype(np.int64), self.start[:-1]) if len(self) else np.zeros(0, np.int64)

    def last(self, t: int) -> Days:
        """The last purchase day before `t`, int64 [buyers]; the first ever of buyers who have none."""
        return self.day[self.start[:-1] + np.maximum(self.before(t) - 1, 0)]

    def bought(self, since: int, until: int) -> Flags:
        """Who bought on a day of `since` or later and before `until`, bool [buyers]."""
        return self.before(until) > self.before(since)

    def spells(self, t: int) -> Spells:
        """The spells that begin before `t`, as they are known then."""
        buyer, known = self.buyer, self.day < t
        number = np.arange(len(self.day)) - self.start[buyer] + 1
        ended = np.append((buyer[1:] == buyer[:-1]) & known[1:], False)[: len(self.day)]
        until = np.where(ended, np.append(self.day[1:], 0)[: len(self.day)], t - 1)
        return Spells(buyer[known], number[known], (until - self.day)[known], ended[known])


@dataclass(frozen=True, eq=False)
class Spells:
    """A row a purchase day: its buyer's place, its number in his life (from 1), the days to the next purchase or, where
    none is known yet (`ended` is false), the silence so far."""

    buyer: Days
    number: Days
    days: Days
    ended: Flags

    def where(self, chosen: Flags) -> Spells:
        """The chosen rows."""
        return Spells(self.buyer[chosen], self.number[chosen], self.days[chosen], self.ended[chosen])


@dataclass(frozen=True, eq=False)
class Curve:
    """Kaplan and Meier's curve by day, from 0.

    Attributes:
        survival: float64 [days + 1], share of spells longer than so many days; 1 at 0.
        at_risk: int64 [days + 1], spells that reached the day.
        ended: int64 [days + 1], those that ended on it.
    """

    survival: Array
    at_risk: Days
    ended: Days

    @classmethod
    def of(cls, spells: Spells) -> Curve:
        """The curve to the last day that any spell reached."""
        length = int(spells.days.max(initial=0)) + 1
        ended = np.bincount(spells.days[spells.ended], minlength=length)
        reached = np.bincount(spells.days, minlength=length)[::-1].cumsum()[::-1]
        return cls._by_day(reached, ended)

    @classmethod
    def _by_day(cls, at_risk: Days, ended: Days) -> Curve:
        survival = np.cumprod(1 - ended / np.maximum(at_risk, 1), dtype=np.float64)
        return cls(survival, at_risk, ended)

    def then(self, other: Curve) -> Curve:
        """This curve up to its `last` day, and from there on at the hazards of `other`."""
        end = self.last + 1
        at_risk, ended = (
            np.append(own[:end], more[end:]) for own, more in ((self.at_risk, other.at_risk), (self.ended, other.ended))
        )
        return Curve._by_day(at_risk, ended)

    @property
    def last(self) -> int:
        """The last day that rests on enough spells; 0 where none does."""
        return max(int(np.flatnonzero(self.at_risk >= LEAST_AT_RISK).max(initial=0)), 0)

    def silent(self, days: Days) -> Array:
        """Share of spells longer than `days`. Beyond `last` the curve goes on at the hazard of its last half."""
        last = self.last
        tail = slice(last // 2 + 1, last + 1)
        at_risk = int(self.at_risk[tail].sum())
        hazard = float(self.ended[tail].sum()) / at_risk if at_risk else 0.0
        found: Array = self.survival[np.minimum(days, last)] * (1 - hazard) ** np.maximum(days - last, 0)
        return found

    def none_within(self, silence: Days, horizon: int) -> Array:
        """Probability that a buyer silent for so long buys nothing in the next `horizon` days; 1 where no spell known
        was longer."""
        now, then = self.silent(silence), self.silent(silence + horizon)
        return np.where(now > 0, then / np.where(now > 0, now, 1.0), 1.0)


def groups_of(number: Days) -> Days:
    """The group of each number of purchases (1 or more): its place in NUMBERS."""
    return np.asarray(np.searchsorted(NUMBERS, number, side="right") - 1, dtype=np.int64)


def curves_by_number(spells: Spells) -> dict[str, Curve]:
    """The curve of intervals after the first purchase, the second and so on, of groups with enough that ended."""
    group, ends = groups_of(spells.number), (*NUMBERS[1:], None)
    curves = {}
    for place, (first, end) in enumerate(zip(NUMBERS, ends, strict=True)):
        some = spells.where(group == place)
        if some.ended.sum() >= LEAST_AT_RISK:
            name = f"{first} or more" if end is None else f"{first}" if end == first + 1 else f"{first} to {end - 1}"
            curves[name] = Curve.of(some)
    return curves


def knee(curve: Array) -> int | None:
    """Where a curve bends most: the place farthest beyond the chord of the curve scaled to the unit square.

    Satopää, Albrecht, Irwin and Raghavan 2011, "Finding a 'Kneedle' in a haystack", for one knee and without smoothing.
    The curve is monotone and bends towards its beginning (concave if it rises); None where it nowhere does.
    """
    if len(curve) < 3 or curve[-1] == curve[0]:
        return None
    beyond = (curve - curve[0]) / (curve[-1] - curve[0]) - np.linspace(0, 1, len(curve))
    place = int(beyond.argmax())
    return place if beyond[place] > 1e-9 else None


@dataclass(frozen=True)
class Proposal:
    """What the curve says about conf, in days.

    Attributes:
        knee: of the curve over all its days; None where it has none.
        knees: the knee over each of `RANGES` of its days.
        range_days: the days the curve holds.
        horizon_days, gap_days, eligibility_days: for conf.
        reached: whether the chance to come back falls below STILL_COME within the curve and stays there. If not,
            `eligibility_days` is the longest silence that the log can tell of, or conf's own where it tells of none.
        why: a sentence for each of the three, by its key.
    """

    knee: int | None
    knees: tuple[int | None, ...]
    range_days: int
    horizon_days: int
    gap_days: int
    eligibility_days: int
    reached: bool
    why: dict[str, str]

    @property
    def fragment(self) -> str:
        """The three lines of a source's conf, as YAML with the reasons as comments."""
        lines = [(f"  {key}: {getattr(self, key)}", self.why[key]) for key in self.why]
        return "churn:\n" + "".join(f"{line:<27}# {why}\n" for line, why in lines)


def come_back(curve: Curve, horizon: int) -> Array:
    """Chance to buy within `horizon` days by silence, float64 [days], for silences that enough spells reached and whose
    horizon the curve holds; none, where there are none."""
    reached = int(np.count_nonzero(curve.at_risk >= LEAST_TO_FOLLOW))  # fewer reach a day than the day before
    return 1 - curve.none_within(np.arange(max(min(curve.last - horizon + 1, reached), 0)), horizon)


def silence_without_return(chance: Array, share: float = STILL_COME) -> int | None:
    """The shortest silence from which on fewer than `share` buy, by `come_back`; None: it holds none."""
    found = int(np.flatnonzero(chance >= share).max(initial=-1)) + 1
    return found if found < len(chance) else None


def longest_trained(
    as_of: date, first: date, gap_days: int, history_days: int, step_days: int, horizons: Sequence[int]
) -> int | None:
    """The longest of `horizons` with which churn models find a training cut-off in the log; None: no one does."""

    def fits(horizon: int) -> bool:
        try:
            cutoffs.plan(as_of, first, horizon, gap_days, history_days, step_days, 1)
        except cutoffs.TooLittleHistory:
            return False
        return True

    return max(filter(fits, horizons), default=None)


def propose(
    curve: Curve,
    as_of: date,
    first: date,
    horizon_days: int,
    gap_days: int,
    eligibility_days: int,
    history_days: int,
    step_days: int,
) -> Proposal:
    """What the curve proposes; the days given are conf's own.

    The horizon is the knee in whole weeks, so that every weekday counts alike, but no longer than the log can train on.
    """
    last = curve.last
    knees = tuple(knee(curve.survival[: int(last * part) + 1]) for part in RANGES)
    bend = knees[0]
    if bend is None:
        horizon, why = horizon_days, "kept: the curve of buying again has no knee"
    else:
        weeks = max(round(bend / WEEK), 1) * WEEK
        fitting = longest_trained(as_of, first, gap_days, history_days, step_days, range(WEEK, weeks + 1, WEEK))
        horizon, why = weeks, f"buying again bends at {bend} days; in whole weeks"
        if fitting is None:
            horizon, why = horizon_days, f"kept: it bends at {bend} days, and the log trains no whole week"
        elif fitting < weeks:
            horizon, why = fitting, f"buying again bends at {bend} days; the log is too short to train on more"
    chance = come_back(curve, horizon)
    silence = silence_without_return(chance)
    if silence is not None:
        eligibility, told = (
            max(silence, 1),
            f"of buyers silent for longer fewer than {STILL_COME:.0%} buy within {horizon} days",
        )
    elif len(chance):
        eligibility = max(len(chance) - 1, 1)
        told = f"the log tells of no longer silence, and {chance[-1]:.0%} still buy within {horizon} days after it"
    else:
        eligibility, told = eligibility_days, f"kept: the log is too short to follow a silence for {horizon} days"
    reasons = {
        "horizon_days": why,
        "gap_days": "kept: how long acting takes is the shop's to say",
        "eligibility_days": told,
    }
    return Proposal(bend, knees, last, horizon, gap_days, eligibility, silence is not None, reasons)


def as_date(day: int) -> date:
    """The calendar day of a day number (days since 1970-01-01, as Spark's unix_date and NumPy count them)."""
    return date(1970, 1, 1) + timedelta(days=int(day))
