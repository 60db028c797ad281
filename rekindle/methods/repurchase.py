"""Clocks of buying again: how many days after buying an item a user is expected to buy it once more.

What is seen of an interval is weighed with what is believed without it, n observed gaps against k imaginary ones:
n / (n + k) · observed mean + k / (n + k) · believed mean (Bühlmann 1967, "Experience rating and credibility"; for gaps
that are exponential with an inverse gamma prior it is the posterior mean, the reciprocal of the rate of the
Poisson-gamma model of Bhagat et al. 2018, "Buy it again"). The chain is: the shop's interval, the category's, the
item's, and with the user's pace (how much faster or slower he buys again than others, over all his items) the user's
own with that item. The sample is of gaps that were closed: who never came back has no gap, so an interval is that of
those who do. A category whose items nobody rebought has no interval. Items without category are one category.

Kept are sums by item and category, of nobody. A user's part comes from the history he is served with.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rekindle.methods.interactions import Past, Users
from rekindle.methods.list_settings import Repurchase
from rekindle.methods.model_arrays import packed, unpacked

DIGITS = 6  # of days: 0.1 s; what rounding leaves of other ways to sum is far below


@dataclass(frozen=True, eq=False)
class GapSums:
    """What clocks are learnt from, each float64 [n_items]; sums of parts of the users add up.

    Attributes:
        days: days between the first and the last purchase, of users who bought the item on two days or more.
        gaps: gaps between their purchases.
        watched: users who rebought it or bought it long enough ago that they might have.
        rebought: users who bought it on two days or more.
    """

    days: NDArray[np.float64]
    gaps: NDArray[np.float64]
    watched: NDArray[np.float64]
    rebought: NDArray[np.float64]

    @classmethod
    def of(cls, bought: Users, n_items: int, watch_days: float) -> GapSums:
        """The sums over these users' purchases. Past tells no gaps, so times − 1 stand for them where there is an
        interval; several purchases on one day then count for more than one.

        Raises:
            ValueError: the users come without past.
        """
        item, (interval, gaps) = bought.histories.items, _gaps(bought)
        again = gaps > 0
        watched = again | (past_of(bought).last_days >= watch_days)

        def by_item(values: NDArray[np.generic]) -> NDArray[np.float64]:
            return _sums(item, values, n_items)

        # Whole days and counts, so the order of users changes no bit.
        days = np.round(np.where(again, interval * gaps, 0.0))
        return cls(by_item(days), by_item(gaps), by_item(watched), by_item(again))

    def __add__(self, other: GapSums) -> GapSums:
        """The sums over both groups of users."""
        return GapSums(
            self.days + other.days,
            self.gaps + other.gaps,
            self.watched + other.watched,
            self.rebought + other.rebought,
        )


@dataclass(frozen=True, eq=False)
class Clocks:
    """What is known of buying again.

    Attributes:
        item_days: float64 [n_items], the interval expected of an item; NaN where none is known.
        durable: bool [n_categories], categories learnt to be bought once; none where conf lists them all.
        person_gaps, pace_gaps: as in `Repurchase`.
    """

    item_days: NDArray[np.float64]
    durable: NDArray[np.bool_]
    person_gaps: float
    pace_gaps: float

    @classmethod
    def learn(cls, sums: GapSums, category: NDArray[np.int64], n_categories: int, rules: Repurchase) -> Clocks:
        """Clocks from sums; `category` is int64 [n_items], −1 without."""
        place = np.where(category < 0, n_categories, category)

        def by_category(values: NDArray[np.float64]) -> NDArray[np.float64]:
            return _sums(place, values, n_categories + 1)

        days, gaps = by_category(sums.days), by_category(sums.gaps)
        with np.errstate(all="ignore"):
            shop = sums.days.sum() / sums.gaps.sum()
            usual = np.where(gaps > 0, (days + rules.category_gaps * shop) / (gaps + rules.category_gaps), np.nan)[
                place
            ]
        item_days = (sums.days + rules.item_gaps * usual) / (sums.gaps + rules.item_gaps)
        watched, rebought = by_category(sums.watched), by_category(sums.rebought)
        durable = (watched >= rules.learn_buyers) & (rebought <= rules.learn_rebought * watched)
        durable &= rules.durables == "learn"
        return cls(np.round(item_days, DIGITS), durable[:n_categories], rules.person_gaps, rules.pace_gaps)

    @classmethod
    def none(cls, n_items: int, n_categories: int) -> Clocks:
        """Nothing is known: nothing is due, nothing is held back."""
        return cls(np.full(n_items, np.nan), np.zeros(n_categories, dtype=np.bool_), 1.0, 1.0)

    def expected(self, bought: Users) -> NDArray[np.float64]:
        """Days after which each entry of what users bought is expected again, float64 [entries]; NaN: not known.

        A user's pace is exp(Σ n ln(own interval / the item's) / (Σ n + pace_gaps)) over his entries with n gaps.
        """
        interval, gaps = _gaps(bought)
        row, usual = bought.histories.rows(), self.item_days[bought.histories.items]
        told = (gaps > 0) & np.isfinite(usual)
        weight = np.where(told, gaps, 0.0)
        logs = weight * np.log(np.where(told, interval, 1.0) / np.where(told, usual, 1.0))
        pace = np.exp(_sums(row, logs, len(bought)) / (_sums(row, weight, len(bought)) + self.pace_gaps))
        believed = usual * pace[row]
        own = np.where(gaps > 0, interval, 0.0)
        shrunk = (gaps * own + self.person_gaps * believed) / (gaps + self.person_gaps)
        found = np.where(np.isnan(usual), np.where(gaps > 0, interval, np.nan), shrunk)
        return np.asarray(np.round(found, DIGITS), dtype=np.float64)

    def due(self, bought: Users) -> NDArray[np.float64]:
        """Days since each entry was bought, over the days expected; 1 is due today. NaN: not known."""
        return np.round(past_of(bought).last_days / self.expected(bought), DIGITS)

    def to_files(self) -> dict[str, bytes]:
        """The artefact, without pickle."""
        told = {"method": "repurchase_clocks", "person_gaps": self.person_gaps, "pace_gaps": self.pace_gaps}
        return {
            "model.json": json.dumps(told, sort_keys=True).encode(),
            "clocks.npz": packed(item_days=self.item_days, durable=self.durable),
        }

    @classmethod
    def from_files(cls, files: Mapping[str, bytes]) -> Clocks:
        """What `to_files` wrote."""
        told, arrays = json.loads(files["model.json"]), unpacked(files["clocks.npz"])
        item_days, durable = arrays["item_days"].astype(np.float64), arrays["durable"].astype(np.bool_)
        return cls(item_days, durable, float(told["person_gaps"]), float(told["pace_gaps"]))


def past_of(users: Users) -> Past:
    """When they did it.

    Raises:
        ValueError: nobody told.
    """
    if users.past is None:
        raise ValueError("lists: what users did comes without the days on which they did it (Users.past)")
    return users.past


def _gaps(bought: Users) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """(interval, number of gaps) of each entry; NaN and 0 where it was bought on one day."""
    past = past_of(bought)
    return past.interval_days, np.where(past.interval_days > 0, np.maximum(past.times - 1, 1), 0.0)


def _sums(group: NDArray[np.int64], values: NDArray[np.generic], groups: int) -> NDArray[np.float64]:
    return np.bincount(group, weights=values, minlength=groups).astype(np.float64)
