"""What a recommender learns from, and what it must be able to do: one interface for every method.

A method is fitted on what is known as of an instant; what comes out scores every item for a user with a history. Lists
are cut from scores by `lists` alone, so all methods are filtered, ranked and tied alike.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from rekindle.methods.ragged import Ragged, offsets_of

SCORED_CELLS = 4_000_000  # scores held at a time: 32 MB


@dataclass(frozen=True, eq=False)
class Interactions:
    """Who did what, and how long before the instant as of which it is known; one row an event or a sum of events.

    Attributes:
        user: int64 [rows], 0 … n_users − 1.
        item: int64 [rows], 0 … n_items − 1.
        strength: float64 [rows], above 0: the weight of what was done, not decayed.
        age_days: float64 [rows], 0 or more.

    Raises:
        ValueError: arrays of unequal length, an index out of bounds, a strength not above 0, an age below 0 (the
            future), NaN; the message says which.
    """

    user: NDArray[np.int64]
    item: NDArray[np.int64]
    strength: NDArray[np.float64]
    age_days: NDArray[np.float64]
    n_users: int
    n_items: int

    def __post_init__(self) -> None:
        lengths = {len(self.user), len(self.item), len(self.strength), len(self.age_days)}
        if len(lengths) > 1:
            raise ValueError(f"Interactions: arrays of {sorted(lengths)} rows; expected equal")
        for name, index, count in (("user", self.user, self.n_users), ("item", self.item, self.n_items)):
            if len(index) and (index.min() < 0 or index.max() >= count):
                raise ValueError(f"Interactions: {name} {index.min()} to {index.max()}, expected 0 to {count - 1}")
        if not (np.isfinite(self.strength).all() and (self.strength > 0).all()):
            raise ValueError("Interactions: a strength is not a number above 0")
        if not (np.isfinite(self.age_days).all() and (self.age_days >= 0).all()):
            raise ValueError("Interactions: an age is not a number of days of 0 or more; the future is not known")

    def __len__(self) -> int:
        return len(self.user)

    def matrix(self, half_life_days: float | None = None) -> sparse.csr_matrix:
        """Strengths summed by user and item, float64 [n_users, n_items], indexes sorted; aged where there is a
        half-life: strength · 2^(−age / half-life)."""
        value = self.strength
        if half_life_days is not None:
            value = value * np.exp2(-self.age_days / half_life_days)
        # Summed in the order of age, so that the order of rows changes no bit.
        order = np.lexsort((self.strength, self.age_days, self.item, self.user))
        shape = (self.n_users, self.n_items)
        found = sparse.coo_matrix((value[order], (self.user[order], self.item[order])), shape=shape).tocsr()
        found.sum_duplicates()
        return found

    def histories(self, half_life_days: float | None = None) -> Ragged:
        """Each user's items and strengths, a row a user; an item once."""
        return ragged_of(self.matrix(half_life_days))

    def past(self) -> Past:
        """When each user did what is in `histories`, entry by entry; the order of rows changes nothing."""
        order = np.lexsort((self.age_days, self.item, self.user))
        age, user = self.age_days[order], self.user[order]
        key = user * self.n_items + self.item[order]
        day = np.floor(age).astype(np.int64)
        _, start, times = np.unique(key, return_index=True, return_counts=True)
        end = start + times - 1
        another_day = (np.diff(key) == 0) & (np.diff(day) > 0)
        gaps = np.add.reduceat(np.append(another_day, False).astype(np.int64), start) if len(key) else start
        interval = np.where(gaps > 0, (day[end] - day[start]) / np.maximum(gaps, 1), np.nan)
        active = np.unique(np.stack([user, day]), axis=1)[0]
        days = np.bincount(active, minlength=self.n_users).astype(np.float64)
        return Past(age[start], times.astype(np.float64), interval, days)


def ragged_of(matrix: sparse.csr_matrix) -> Ragged:
    """The stored entries of each row."""
    return Ragged(offsets_of(np.diff(matrix.indptr).astype(np.int64)), matrix.indices.astype(np.int64), matrix.data)


def matrix_of(rows: Ragged, n_items: int) -> sparse.csr_matrix:
    """The same rows as a sparse matrix float64 [rows, n_items] of its own memory, 1 where the rows have no values.

    Items ascend, so the order of a history changes no bit.

    Raises:
        ValueError: an item at or beyond n_items (scipy would read whatever lies there in memory).
    """
    if len(rows.items) and rows.items.max() >= n_items:
        raise ValueError(f"histories: item index {rows.items.max()} found, expected 0 to {n_items - 1}")
    values = np.ones(len(rows.items)) if rows.values is None else rows.values
    found = sparse.csr_matrix((values, rows.items, rows.offsets), shape=(len(rows), n_items), copy=True)
    found.sum_duplicates()
    return found


@dataclass(frozen=True, eq=False)
class Past:
    """When users did what is in their histories; the first three have a number for each entry of the histories.

    Attributes:
        last_days: float64 [entries], days since the user's last event on the item.
        times: float64 [entries], the user's events on the item, 1 or more.
        interval_days: float64 [entries], mean days between the days with such an event; NaN where there was one day.
        active_days: float64 [users], days (of 24 hours, counted back from the instant) with any event.

    Raises:
        ValueError: the first three are not of one length.
    """

    last_days: NDArray[np.float64]
    times: NDArray[np.float64]
    interval_days: NDArray[np.float64]
    active_days: NDArray[np.float64]

    def __post_init__(self) -> None:
        if not len(self.last_days) == len(self.times) == len(self.interval_days):
            lengths = [len(self.last_days), len(self.times), len(self.interval_days)]
            raise ValueError(f"Past: {lengths} entries; expected equal")

    def of(self, users: slice | NDArray[np.int64], entries: slice | NDArray[np.generic]) -> Past:
        """The same of some users and of the entries of theirs that are kept."""
        return Past(self.last_days[entries], self.times[entries], self.interval_days[entries], self.active_days[users])


@dataclass(frozen=True, eq=False)
class Users:
    """Those who are to be served: what each did, by item.

    Attributes:
        index: int64 [users], the user's index in the interactions that the method was fitted on; −1 if not in them.
        histories: a row a user: items, each once, and strengths; none for a user without history. A method that fades
            what it learns from is served histories faded alike.
        past: when they did it; None where nobody told. A method that needs it says so.

    Raises:
        ValueError: another number of users or entries in the parts.
    """

    index: NDArray[np.int64]
    histories: Ragged
    past: Past | None = None

    def __post_init__(self) -> None:
        if len(self.index) != len(self.histories):
            raise ValueError(f"Users: {len(self.histories)} histories for {len(self.index)} users")
        told = self.past
        if told is not None and (
            len(told.active_days) != len(self.index) or len(told.times) != len(self.histories.items)
        ):
            raise ValueError(
                f"Users: a past of {len(told.active_days)} users and {len(told.times)} entries beside histories of"
                f" {len(self.index)} and {len(self.histories.items)}"
            )

    def __len__(self) -> int:
        return len(self.index)

    def told_past(self, method: str) -> Past:
        """Their past; of nobody, nobody need tell it.

        Raises:
            ValueError: nobody told it; the message names the method that needs it.
        """
        if not len(self):
            return Past(*(np.zeros(0),) * 4)
        if self.past is None:
            raise ValueError(
                f"{method}: {len(self)} users come without their past; serve it with their histories (Users.past)"
            )
        return self.past

    def between(self, start: int, stop: int) -> Users:
        """Users start (in) to stop (out)."""
        entries = slice(int(self.histories.offsets[start]), int(self.histories.offsets[stop]))
        past = None if self.past is None else self.past.of(slice(start, stop), entries)
        return Users(self.index[start:stop], self.histories.between(start, stop), past)

    def blocks(self, n_items: int) -> Iterator[tuple[int, Users]]:
        """All users in order, as (place of the first, users), so many that their scores are about SCORED_CELLS."""
        step = max(1, SCORED_CELLS // max(n_items, 1))
        for start in range(0, len(self), step):
            yield start, self.between(start, min(start + step, len(self)))


class Fitted(Protocol):
    """A method that has learnt."""

    @property
    def n_items(self) -> int:
        """Items of the catalogue it was fitted on."""

    def scores(self, users: Users) -> NDArray[np.float64]:
        """[users, n_items], higher is better; −inf where the method has nothing to say of the item for that user.

        The array is the caller's to write into. A user's scores depend on nobody served beside them.
        """

    def explain(self, history: Ragged, item: int) -> dict[int, float]:
        """What each item of the history (one row) adds to that item's score; they sum to it. Empty where a score is
        no such sum."""

    def to_files(self) -> dict[str, bytes]:
        """The artefact, without pickle."""


class Method(Protocol):
    """A way to learn, with its settings."""

    @property
    def name(self) -> str:
        """What tables and records call it."""

    def fit(self, known: Interactions) -> Fitted:
        """Learn. The same interactions in any order give the same model.

        Raises:
            ValueError: there is nothing to learn from.
        """


def lists(
    fitted: Fitted, users: Users, k: int, *, blocked: Ragged | None = None, eligible: NDArray[np.bool_] | None = None
) -> NDArray[np.int64]:
    """The k best items of every user, int64 [users, k], best first, padded with −1; ties go to the lower index.

    A user's `blocked` items never appear, nor items that are not `eligible` (bool [n_items]).
    """
    found = np.full((len(users), k), -1, dtype=np.int64)
    for start, some in users.blocks(fitted.n_items):
        scores = fitted.scores(some)
        if eligible is not None:
            scores[:, ~eligible] = -np.inf
        if blocked is not None:
            taken = blocked.between(start, start + len(some))
            scores[taken.rows(), taken.items] = -np.inf
        found[start : start + len(some)] = best(scores, k)
    return found


def best(scores: NDArray[np.floating[Any]], k: int) -> NDArray[np.int64]:
    """The columns of the k highest scores of every row, best first, −1 where fewer are above −inf."""
    rows, items = scores.shape
    found = np.full((rows, k), -1, dtype=np.int64)
    kept = min(k, items)
    if not kept:
        return found
    # Everything that ties with the k-th takes part, so that of equals the lower index wins.
    floor = np.partition(scores, items - kept, axis=1)[:, items - kept, None]
    row, column = np.nonzero((scores >= floor) & (scores > -np.inf))
    order = np.lexsort((column, -scores[row, column], row))
    row, column = row[order], column[order]
    place = np.arange(len(row)) - np.searchsorted(row, np.arange(rows))[row]
    inside = place < kept
    found[row[inside], place[inside]] = column[inside]
    return found
