"""What a second stage may know of a (user, item) beside what its sources say of it.

Of items the facts of one instant are stored; of users nothing is: all that is said of them and of their pairs comes
from the histories and the past that they are served with, so a user is the same whether training saw him or not.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from rekindle.methods.interactions import Interactions, Users
from rekindle.methods.popularity import popularity

HALF_LIVES = {"popularity 7 days": 7.0, "popularity 28 days": 28.0, "popularity 90 days": 90.0}
OF_USER = ("user items", "user events", "user active days", "user days since last")
OF_ITEM = tuple(
    f"item {what}" for what in (*HALF_LIVES, "users", "days since first", "days since last", "trend", "users again")
)
OF_PAIR = ("pair times", "pair days since last", "pair due", "pair had", "pair last visit")
NAMES = (*OF_USER, *OF_ITEM, *OF_PAIR)
HAD = NAMES.index("pair had")


@dataclass(frozen=True, eq=False)
class ItemFacts:
    """What is known of items at one instant; days are counted back from it, rows are events.

    Attributes:
        item: float64 [n_items, 8]: Σ strength · 2^(−age / half-life) for each of HALF_LIVES, users, days since the
            first and the last event, trend (the first of HALF_LIVES' sums over the last's), and the share of users
            who had it on more than one day; 0 and NaN for an item without events.
        usual: float64 [n_items], days: the median over users of the mean interval between a user's days with the
            item; NaN if nobody had it on two.
    """

    item: NDArray[np.float64]
    usual: NDArray[np.float64]

    @classmethod
    def of(cls, known: Interactions) -> ItemFacts:
        """The facts as of the instant from which ages count; the order of rows changes nothing."""
        n_items, matrix, past = known.n_items, known.matrix(), known.past()
        of_item = matrix.indices.astype(np.int64)
        popular = [
            popularity(
                known.item, known.age_days, known.strength, n_items=n_items, window_days=np.inf, half_life_days=h
            )
            for h in HALF_LIVES.values()
        ]
        users = np.bincount(of_item, minlength=n_items)
        again = np.bincount(of_item[~np.isnan(past.interval_days)], minlength=n_items)
        ages = [_by(known.item, known.age_days, "max", n_items), _by(known.item, known.age_days, "min", n_items)]
        told = np.where(users > 0, users, np.nan)
        trend = popular[0] / np.where(popular[-1] > 0, popular[-1], np.nan)
        item = np.stack([*popular, users, *ages, trend, again / told], axis=1)
        return cls(item, _by(of_item, past.interval_days, "median", n_items))

    def features(self, users: Users, row: NDArray[np.int64], item: NDArray[np.int64]) -> NDArray[np.float64]:
        """The features called NAMES of the pairs (users[row], item), float64 [pairs, 17].

        Of the user: distinct items, events, active days and days since the last event (NaN: no history). Of the pair:
        events (0: never had), days since the last (NaN: never), those over the user's own mean interval for the item
        or, where he had it on one day, over the item's usual one ("due"; NaN: neither is known), 1 where he had it,
        and how many days before his last event of all he last had it.

        Raises:
            ValueError: users come without their past.
        """
        past, own = users.told_past("two_stage"), users.histories
        entry = own.rows()
        size = len(users)
        lengths = own.lengths().astype(np.float64)
        last = np.full(size, np.inf)
        np.minimum.at(last, entry, past.last_days)
        of_user = np.stack([lengths, np.bincount(entry, past.times, size), past.active_days, last], axis=1)
        of_user[lengths == 0] = np.nan

        place, had = _places(entry * self.n_items + own.items, row * self.n_items + item)
        nothing = np.full(len(row), np.nan)
        times, since, interval = np.zeros(len(row)), nothing.copy(), nothing
        times[had], since[had] = past.times[place], past.last_days[place]
        interval = self.usual[item]
        personal = past.interval_days[place]
        interval[had] = np.where(np.isnan(personal), interval[had], personal)
        pair = np.stack([times, since, since / interval, had, since - of_user[row, 3]], axis=1)
        return np.concatenate([of_user[row], self.item[item], pair], axis=1)

    @property
    def n_items(self) -> int:
        """Items of the catalogue."""
        return len(self.item)


def _places(keys: NDArray[np.int64], asked: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Where each asked key that is among the (distinct) keys stands, and which are: bool [asked]."""
    if not len(keys):
        return np.zeros(0, dtype=np.int64), np.zeros(len(asked), dtype=bool)
    order = np.argsort(keys, kind="stable")
    place = order[np.minimum(np.searchsorted(keys, asked, sorter=order), len(keys) - 1)]
    found = keys[place] == asked
    return place[found], found


def _by(place: NDArray[np.int64], value: NDArray[np.float64], what: str, size: int) -> NDArray[np.float64]:
    """The min, max or median of the values at each place without NaN, float64 [size]; NaN where there is none."""
    return pd.Series(value).groupby(place).agg(what).reindex(range(size)).to_numpy(dtype=np.float64)
