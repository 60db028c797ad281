"""The people of the simulated shop: who they are, how their tastes drift, and when and why they leave.

Nothing in here is visible to a job: jobs see the events that people with these traits make. A person's way out has
two steps. A daily hazard, higher for flighty, bargain-hunting and new people and raised by bad experiences, starts a
**fade**: visits become rarer, carts are abandoned, the range of categories narrows. At the end of the fade the person
is gone for good, unless it was one of the fades that people recover from. Some leave without much of a fade.
"""

from dataclasses import dataclass, fields

import numpy as np

from rekindle.methods.shop_catalogue import (
    CATEGORIES,
    CLOCK_DAYS,
    CONSUMABLES,
    STYLES,
    Bools,
    Catalogue,
    Floats,
    Ints,
)

NEVER = 10_000_000
"""A day that does not come: no need due, no departure known."""
LONG_AGO = -10_000
"""A day before anything: never bought, not fading."""
DEVICES = ("phone", "desktop", "tablet")
REMEMBERED = 6
"""How many recently viewed durables a person keeps in mind when wanting to buy something."""

TASTE_SPREAD = 1.3  # standard deviation of a person's log-interest over categories: about three favourites each
UPSET_KEPT = 0.965  # share of a bad experience still felt a day later: half of it after three weeks
UPSET_WEIGHT = 1.0  # one full bad experience makes leaving exp(1.0) = 2.7 times as likely while it is fresh
NEWCOMER_DAYS, NEWCOMER_FACTOR = 30, 2.0  # the first month is when most newcomers are lost
SHARE_RECOVERING, SHARE_ABRUPT = 0.15, 0.15  # of fades: those that end well, and those with hardly a forerunner
BREAK_HAZARD = 1 / 200  # holidays: a week or two without a trace, which means nothing
ENGAGEMENT_AT_LEAVING = 0.1  # what is left of someone's interest on the last day of a fade


@dataclass
class People:
    """One entry a person ever arrived, in order of arrival. Days count from the shop's first day (0).

    `taste` (people, categories) and `style` (people, STYLES) are what drifts. `habit`, `due` and `favourite` are
    (people, consumable categories): whether they use it up at all, the day it runs out, and the item they rebuy
    (-1: none yet). `last_bought` (people, categories) is for durables, `owned` is (people, items) and `in_mind` is
    (people, REMEMBERED), -1 where empty. `left` is the first day without the person, NEVER while it is not known.
    """

    arrived: Ints
    taste: Floats
    style: Floats
    device: Ints
    hour: Floats
    pace: Floats
    browse_rate: Floats
    want_every: Floats
    thrift: Floats
    flightiness: Floats
    habit: Bools
    due: Floats
    favourite: Ints
    next_want: Floats
    last_bought: Ints
    owned: Bools
    in_mind: Ints
    upset: Floats
    away_until: Ints
    fade_start: Ints
    fade_days: Ints
    recovers: Bools
    left: Ints

    def __len__(self) -> int:
        return len(self.arrived)

    def joined_by(self, newcomers: "People") -> "People":
        """These people followed by `newcomers`."""
        return People(
            **{f.name: np.concatenate([getattr(self, f.name), getattr(newcomers, f.name)]) for f in fields(People)}
        )


def arrive(rng: np.random.Generator, day: int, count: int, catalogue: Catalogue, hour_weights: Floats) -> People:
    """`count` new people on `day`, with their traits, habits and the days on which their needs fall due.

    Purchase habits differ strongly: the typical days between two orders lie between about 3 and 30. `hour_weights`
    (24) is the shop's hour-of-day shape, from which each person's own favourite hour is drawn.
    """
    heaviness = rng.standard_normal(count)
    taste = TASTE_SPREAD * rng.standard_normal((count, len(CATEGORIES)))
    pace = np.exp(0.35 * rng.standard_normal(count) - 0.3 * heaviness)
    want_every = np.clip(np.exp(np.log(18) - 0.8 * heaviness + 0.35 * rng.standard_normal(count)), 3, 60)
    # Habits are the consumables one likes best; how many is a matter of heaviness.
    habits = np.clip(np.round(1.2 + 1.2 * heaviness + 0.5 * rng.standard_normal(count)), 0, 5)
    liking = taste[:, CONSUMABLES] + np.array([CATEGORIES[c].demand for c in CONSUMABLES])
    rank = np.argsort(np.argsort(-liking - 0.5 * rng.gumbel(size=liking.shape), axis=1), axis=1)
    habit = rank < habits[:, None]
    first_due = day + rng.random(habit.shape) * CLOCK_DAYS[CONSUMABLES] * pace[:, None]
    thrift = rng.standard_normal(count)
    return People(
        arrived=np.full(count, day, dtype=np.int64),
        taste=taste,
        style=rng.standard_normal((count, STYLES)),
        device=rng.choice(len(DEVICES), size=count, p=[0.6, 0.32, 0.08]),
        hour=rng.choice(24, size=count, p=hour_weights) + rng.random(count),
        pace=pace,
        browse_rate=np.clip(np.exp(np.log(0.07) + 0.5 * heaviness + 0.45 * rng.standard_normal(count)), 0.015, 0.6),
        want_every=want_every,
        thrift=thrift,
        flightiness=np.exp(0.7 * rng.standard_normal(count) + 0.3 * thrift - 0.29),
        habit=habit,
        due=np.where(habit, first_due, NEVER).astype(np.float64),
        favourite=np.full(habit.shape, -1, dtype=np.int64),
        next_want=day + rng.random(count) * want_every,
        last_bought=np.full((count, len(CATEGORIES)), LONG_AGO, dtype=np.int64),
        owned=np.zeros((count, len(catalogue)), dtype=np.bool_),
        in_mind=np.full((count, REMEMBERED), -1, dtype=np.int64),
        upset=np.zeros(count),
        away_until=np.full(count, LONG_AGO, dtype=np.int64),
        fade_start=np.full(count, NEVER, dtype=np.int64),
        fade_days=np.ones(count, dtype=np.int64),
        recovers=np.zeros(count, dtype=np.bool_),
        left=np.full(count, NEVER, dtype=np.int64),
    )


def live_on(people: People, rng: np.random.Generator, day: int, drift: float, leave_hazard: float) -> None:
    """One night passes, in place: tastes drift, upsets heal, breaks begin, fades begin and end.

    `drift` is the share of a taste's standard deviation that a day renews (0.05: after four months the old and the new
    taste correlate by 0.86); the spread of tastes over people stays. `leave_hazard` is a calm, average, settled
    person's probability of starting to fade on one day. Every person draws the same numbers whatever befalls others.
    """
    count = len(people)
    kept = np.sqrt(1 - drift**2)
    people.style = kept * people.style + drift * rng.standard_normal(people.style.shape)
    people.taste = kept * people.taste + drift * TASTE_SPREAD * rng.standard_normal(people.taste.shape)
    people.upset *= UPSET_KEPT
    luck = rng.random((count, 4))
    length = rng.random((count, 2))

    here = (people.left > day) & (people.arrived < day)
    takes_break = here & (luck[:, 0] < BREAK_HAZARD)
    people.away_until[takes_break] = day + 5 + (10 * length[takes_break, 0]).astype(np.int64)

    over = here & (day >= people.fade_start + people.fade_days)
    people.left[over & ~people.recovers] = day
    people.fade_start[over & people.recovers] = NEVER

    hazard = leave_hazard * people.flightiness * np.exp(UPSET_WEIGHT * people.upset)
    hazard = np.where(day - people.arrived < NEWCOMER_DAYS, NEWCOMER_FACTOR * hazard, hazard)
    starts = here & ~over & (people.fade_start == NEVER) & (luck[:, 1] < hazard)
    abrupt = luck[:, 2] < SHARE_ABRUPT
    days = np.where(abrupt, 1 + 3 * length[:, 1], 12 + 24 * length[:, 1]).astype(np.int64)
    people.fade_start[starts] = day
    people.fade_days[starts] = days[starts]
    people.recovers[starts] = luck[starts, 3] < SHARE_RECOVERING


def engagement(people: People, day: int) -> Floats:
    """How much of each person's interest is left on `day`: 1 when settled, falling along a fade, 0 when not here."""
    gone = np.clip((day - people.fade_start) / people.fade_days, 0, 1)
    here = (people.arrived <= day) & (people.left > day) & (people.away_until <= day)
    return np.where(here, 1 - (1 - ENGAGEMENT_AT_LEAVING) * gone, 0.0)
