"""What lists are made of: scores by source, what users did, facts of items; and the fields that rules ask for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from rekindle.methods.filter_evaluation import Texts
from rekindle.methods.interactions import Users
from rekindle.methods.ragged import Ragged
from rekindle.methods.repurchase import Clocks, past_of


@dataclass(frozen=True, eq=False)
class Rung:
    """What one source says.

    Attributes:
        source: its name, for the table.
        scores: float64 [users, n_items], higher is better, −inf: nothing to say. It is not written to.
    """

    source: str
    scores: NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class ItemFacts:
    """What is known of items, each array [n_items]; None: the shop has no such table.

    Attributes:
        category: int64, a place in `categories`; −1: none.
        categories: names.
        listed_durable: bool [categories], those that conf lists as bought once in years.
        age_days: float64, days since the item was first seen; NaN: not known, and not new.
        price, stock, unseen_days, events, margin, sentiment: float64, NaN: not known.
        vectors: float64 [n_items, any], for likeness by cosine; a row of 0 is like nothing.
        ids: the shop's ids, for rules that name items.

    Raises:
        ValueError: an array of another length, a category beyond the names.
    """

    category: NDArray[np.int64]
    categories: Sequence[str]
    listed_durable: NDArray[np.bool_]
    age_days: NDArray[np.float64]
    price: NDArray[np.float64] | None = None
    stock: NDArray[np.float64] | None = None
    unseen_days: NDArray[np.float64] | None = None
    events: NDArray[np.float64] | None = None
    margin: NDArray[np.float64] | None = None
    sentiment: NDArray[np.float64] | None = None
    vectors: NDArray[np.float64] | None = None
    ids: Sequence[str] | None = None

    def __post_init__(self) -> None:
        for name in ("age_days", "price", "stock", "unseen_days", "events", "margin", "sentiment", "vectors", "ids"):
            found = getattr(self, name)
            if found is not None and len(found) != len(self):
                raise ValueError(f"ItemFacts: {name} of {len(found)} items, category of {len(self)}")
        if len(self.listed_durable) != len(self.categories):
            raise ValueError(f"ItemFacts: {len(self.categories)} categories, durable of {len(self.listed_durable)}")
        if len(self) and not -1 <= self.category.min() <= self.category.max() < len(self.categories):
            low, high = self.category.min(), self.category.max()
            raise ValueError(f"ItemFacts: category {low} to {high}, expected −1 to {len(self.categories) - 1}")

    def __len__(self) -> int:
        return len(self.category)

    def number(self, name: str) -> NDArray[np.float64]:
        """The numbers by that name, NaN where there is no such table."""
        found: NDArray[np.float64] | None = getattr(self, name)
        return np.full(len(self), np.nan) if found is None else found

    def of_category(self, by_category: NDArray[np.generic], otherwise: object) -> NDArray[np.generic]:
        """What is told of categories, for each item; `otherwise` without category."""
        return np.append(by_category, np.array(otherwise, dtype=by_category.dtype))[self.category]


@dataclass(frozen=True, eq=False)
class Batch:
    """Users whose lists are made together. Nobody's list depends on who else is in it.

    Attributes:
        ladder: what each source says, in order of preference.
        users: everything they did, with past.
        bought: what they bought, with past.
        shown: the items shown to them, values: nights since which they did not react; no values: one night each.
        seeds: uint64 [users], from which places for new items are drawn.
        items, clocks: as learnt.

    Raises:
        ValueError: another number of users or items in the parts, users without past, no source.
    """

    ladder: Sequence[Rung]
    users: Users
    bought: Users
    shown: Ragged
    seeds: NDArray[np.uint64]
    items: ItemFacts
    clocks: Clocks

    def __post_init__(self) -> None:
        shape = (len(self.users), len(self.items))
        if not self.ladder:
            raise ValueError("lists: no source; expected one score block or more")
        for rung in self.ladder:
            if rung.scores.shape != shape:
                raise ValueError(f"lists: scores of {rung.source} are {rung.scores.shape}, expected {shape}")
            if np.isnan(rung.scores).any():
                raise ValueError(f"lists: scores of {rung.source} are NaN; what it cannot say is −inf")
        many = [len(self.bought), len(self.shown), len(self.seeds)]
        if any(n != shape[0] for n in many):
            raise ValueError(f"lists: bought, shown and seeds of {many} users, expected {shape[0]}")
        if self.users.past is None or self.bought.past is None:
            raise ValueError("lists: users and what they bought come with the days on which (Users.past)")
        if len(self.clocks.item_days) != shape[1] or len(self.clocks.durable) != len(self.items.categories):
            raise ValueError("lists: the clocks were learnt of other items or categories")

    def __len__(self) -> int:
        return len(self.users)

    def between(self, start: int, stop: int) -> Batch:
        """Users start (in) to stop (out)."""
        return replace(
            self,
            ladder=[Rung(rung.source, rung.scores[start:stop]) for rung in self.ladder],
            users=self.users.between(start, stop),
            bought=self.bought.between(start, stop),
            shown=self.shown.between(start, stop),
            seeds=self.seeds[start:stop],
        )

    @cached_property
    def is_durable(self) -> NDArray[np.bool_]:
        """Items of a category that is bought once, listed or learnt: bool [n_items]."""
        return self.items.of_category(self.items.listed_durable | self.clocks.durable, False).astype(np.bool_)

    @cached_property
    def had_bought(self) -> NDArray[np.bool_]:
        """Bool [users, n_items]."""
        found = np.zeros((len(self), len(self.items)), dtype=np.bool_)
        found[self.bought.histories.rows(), self.bought.histories.items] = True
        return found

    @cached_property
    def due(self) -> NDArray[np.float64]:
        """Days since bought over the interval expected, float64 [users, n_items]; NaN: not bought, or no interval."""
        return self.dense(self.bought.histories, self.clocks.due(self.bought), np.nan)

    def dense(self, rows: Ragged, values: NDArray[np.float64], otherwise: float) -> NDArray[np.float64]:
        """Values of entries as float64 [users, n_items]."""
        found = np.full((len(self), len(self.items)), otherwise)
        found[rows.rows(), rows.items] = values
        return found


@dataclass(frozen=True, eq=False)
class BatchFields:
    """The fields of the filter language for a batch; each is made when first asked for."""

    batch: Batch
    _made: dict[str, NDArray[np.float64]] = field(default_factory=dict)

    def texts(self, name: str) -> Texts:
        """Of an item.

        Raises:
            ValueError: ids are asked for and were not handed over.
        """
        items = self.batch.items
        if name == "item.category":
            return Texts(items.category[None, :], items.categories)
        if items.ids is None:
            raise ValueError("lists: a rule asks for item.id, and the items came without ids")
        return Texts(np.arange(len(items), dtype=np.int64)[None, :], items.ids)

    def flag(self, name: str) -> NDArray[np.bool_]:
        """`item.durable`, the only one."""
        return self.batch.is_durable[None, :]

    def number(self, name: str) -> NDArray[np.float64]:
        """[1, n_items] of an item, [users, 1] of a user, [users, n_items] of what lies between them."""
        if name not in self._made:
            whose, what = name.split(".")
            made = {"item": self._of_item, "user": self._of_user, "history": self._of_history}[whose](what)
            self._made[name] = made
        return self._made[name]

    def _of_item(self, what: str) -> NDArray[np.float64]:
        return self.batch.items.number(what)[None, :]

    def _of_user(self, what: str) -> NDArray[np.float64]:
        users, bought = self.batch.users, self.batch.bought
        if what == "items":
            return users.histories.lengths().astype(np.float64)[:, None]
        if what == "active_days":
            return past_of(users).active_days[:, None]
        if what == "purchases":
            times = np.bincount(bought.histories.rows(), weights=past_of(bought).times, minlength=len(bought))
            return times.astype(np.float64)[:, None]
        some = users if what == "days_since_event" else bought
        return _least(some.histories.rows(), past_of(some).last_days, len(some))[:, None]

    def _of_history(self, what: str) -> NDArray[np.float64]:
        batch = self.batch
        if what == "due":
            return batch.due
        if what == "shown_nights":
            shown = batch.shown
            return batch.dense(shown, np.ones(len(shown.items)) if shown.values is None else shown.values, 0.0)
        if what == "category_bought_days":
            return self._category_days(past_of(batch.bought).last_days)
        some = batch.users if what.startswith("seen") else batch.bought
        if what.endswith("times"):
            return batch.dense(some.histories, past_of(some).times, 0.0)
        return batch.dense(some.histories, past_of(some).last_days, np.nan)

    def _category_days(self, last_days: NDArray[np.float64]) -> NDArray[np.float64]:
        items, rows = self.batch.items, self.batch.bought.histories
        many = len(items.categories) + 1
        category = items.category[rows.items]
        last = np.where(category < 0, np.nan, last_days)
        place = rows.rows() * many + np.where(category < 0, many - 1, category)
        found = _least(place, last, len(rows) * many).reshape(len(rows), many)
        return found[:, items.category]  # −1 finds the last, which is unknown


def _least(group: NDArray[np.int64], values: NDArray[np.float64], groups: int) -> NDArray[np.float64]:
    """The least known value of each group, NaN where there is none."""
    found = np.full(groups, np.inf)
    np.fmin.at(found, group, values)
    return np.where(np.isinf(found), np.nan, found)
