"""What users did in the order in which they did it: windows for training, and the same for who is served.

An item stands in a history once, at its last time. So that training sees what serving sees, an event is visible from a
place in the sequence until the same item comes again: from each place the visible events are the history as of then.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from rekindle.methods.interactions import Interactions, Users

Kind = TypeVar("Kind", bound=np.generic)


@dataclass(frozen=True, eq=False)
class Windows:
    """Sequences of one length, oldest event first; what is shorter ends early.

    Attributes:
        item: int32 [windows, length], 0 after the end.
        until: int32 [windows, length], the place where the same item comes again, `length` if it does not; 0 after the
            end. Place t sees place j if j ≤ t < until[j].
        age_days: float32 [windows, length], of the event.
        strength: float32 [windows, length], the item's strength summed to here; 1 after the end.
    """

    item: NDArray[np.int32]
    until: NDArray[np.int32]
    age_days: NDArray[np.float32]
    strength: NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.item)

    def of(self, rows: slice | NDArray[np.int64]) -> Windows:
        """Some of them."""
        return Windows(self.item[rows], self.until[rows], self.age_days[rows], self.strength[rows])

    def arrays(self) -> tuple[NDArray[np.generic], ...]:
        """The four."""
        return self.item, self.until, self.age_days, self.strength


@dataclass(frozen=True, eq=False)
class Aim:
    """What each place is to foretell, beside `Windows`: item int32 and weight float32 [windows, length], weight 0 where
    there is nothing to foretell."""

    item: NDArray[np.int32]
    weight: NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Log:
    """Events by user, item and time, one a row of equals; what `windows` draws from.

    Attributes:
        known: int64 [m], the catalogue's items with an event, ascending; `item` counts in these.
        user, item: int64 [events].
        time: float64 [events], days since the oldest event.
        strength: float64 [events], the user's on the item up to here.
        again: bool [events], whether the next row is the same user's on the same item.
    """

    known: NDArray[np.int64]
    user: NDArray[np.int64]
    item: NDArray[np.int64]
    time: NDArray[np.float64]
    strength: NDArray[np.float64]
    again: NDArray[np.bool_]

    @classmethod
    def of(cls, interactions: Interactions, horizon_days: float = 0.0) -> Log:
        """The same for interactions in any order. For a horizon without end all happened at once: no order is there."""
        if horizon_days == np.inf:
            interactions = replace(interactions, age_days=np.zeros(len(interactions)))
        known, item = np.unique(interactions.item, return_inverse=True)
        order = np.lexsort((interactions.strength, -interactions.age_days, item, interactions.user))
        user, item, age = interactions.user[order], item[order].astype(np.int64), interactions.age_days[order]
        pair = np.ones(len(order), dtype=bool)
        pair[1:] = (np.diff(user) != 0) | (np.diff(item) != 0)
        # Summed pair by pair, so that one user's sum holds no rounding of another's.
        start = np.flatnonzero(pair)
        total = _running(interactions.strength[order], start)
        last = np.append(pair[1:] | (np.diff(age) != 0), True) if len(order) else pair
        again = ~np.append(pair[1:], True) if len(order) else pair
        time = (age.max() - age) if len(age) else age
        return cls(known, user[last], item[last], time[last], total[last], again[last])

    def foretells(self, horizon_days: float) -> bool:
        """Whether any event has a later one of the same user within the horizon."""
        near = np.diff(self.user) == 0
        if horizon_days > 0:
            order = np.lexsort((self.time, self.user))
            near = (np.diff(self.user[order]) == 0) & (np.diff(self.time[order]) <= horizon_days)
        return bool(near.any())

    def windows(self, length: int, horizon_days: float, made: np.random.Generator) -> tuple[Windows, Aim]:
        """Every user's sequence once, cut into windows; in random order.

        Events at one time are in an order drawn anew: a fixed one would be learnt, though it says nothing. A sequence
        longer than a window is cut at a drawn place. Who is nowhere to foretell anything is left out.

        Args:
            horizon_days: the aim is any later event of the user up to so many days later, drawn anew (Pancha et al.
                2022, "PinnerFormer", dense all action loss); 0: the next event.

        Raises:
            ValueError: there is nothing to foretell anywhere.
        """
        count = len(self.user)
        order = np.lexsort((made.random(count), self.time, self.user))
        user, item, time = self.user[order], self.item[order], self.time[order]
        place = np.arange(count)
        inverse = np.empty(count, dtype=np.int64)
        inverse[order] = place
        comes_again = np.full(count, count + length, dtype=np.int64)
        comes_again[self.again] = inverse[np.flatnonzero(self.again) + 1]
        comes_again = comes_again[order]

        per_user = np.bincount(user)
        end = np.cumsum(per_user)[user]
        first = end - per_user[user]
        if horizon_days > 0:
            # One axis for all users; they lie further apart than the horizon reaches.
            key = user * (time.max() + 2 * min(horizon_days, time.max() + 1.0)) + time
            stop = np.minimum(np.searchsorted(key, key + min(horizon_days, time.max() + 1.0), side="right"), end)
        else:
            stop = np.minimum(place + 2, end)
        choices = stop - place - 1
        aim = np.minimum(place + 1 + (made.random(count) * choices).astype(np.int64), count - 1)

        cut = np.where(per_user > length, made.integers(1, length + 1, len(per_user)), length)
        shift = length - cut[user]
        window, slot = np.divmod(place - first + shift, length)
        slot -= np.where(window == 0, shift, 0)
        starts = slot == 0
        row = np.cumsum(starts) - 1
        rows = int(starts.sum())
        until = np.clip(comes_again - (place - slot), 0, length)
        found = Windows(
            _filled((rows, length), row, slot, item, 0, np.int32),
            _filled((rows, length), row, slot, until, 0, np.int32),
            _filled((rows, length), row, slot, time.max() - time, 0, np.float32),
            _filled((rows, length), row, slot, self.strength[order], 1, np.float32),
        )
        weight = _filled((rows, length), row, slot, choices > 0, 0, np.float32)
        kept = made.permutation(rows)
        kept = kept[weight[kept].any(axis=1)]
        target = _filled((rows, length), row, slot, item[aim], 0, np.int32)
        return found.of(kept), Aim(target[kept], weight[kept])


def served(users: Users, known: NDArray[np.int64], n_items: int, length: int, *, timed: bool) -> Windows:
    """The last `length` entries of each history that have a strength above 0 and are of a known item.

    Their order is that of their last times, oldest first, of equals the lower item first; without `timed` that of
    items, all of age 0.

    Raises:
        ValueError: an item beyond the catalogue, or `timed` and the users' past is not told.
    """
    histories = users.histories
    if histories.items.max(initial=-1) >= n_items:
        raise ValueError(f"a history holds item {histories.items.max()}, expected 0 to {n_items - 1}")
    if timed and users.past is None:
        raise ValueError("Users.past is None: the order in which users did things is needed and nobody told it")
    strength = np.ones(len(histories.items)) if histories.values is None else histories.values
    age = np.zeros(len(histories.items)) if not timed or users.past is None else users.past.last_days
    place = np.full(n_items, -1, dtype=np.int64)
    place[known] = np.arange(len(known))
    kept = np.flatnonzero((place[histories.items] >= 0) & (strength > 0))
    row = histories.rows()[kept]
    order = np.lexsort((histories.items[kept], -age[kept], row))
    kept, row = kept[order], row[order]
    per_user = np.bincount(row, minlength=len(users))
    slot = np.arange(len(row)) - (np.cumsum(per_user) - np.minimum(per_user, length))[row]
    kept, row, slot = kept[slot >= 0], row[slot >= 0], slot[slot >= 0]
    shape = (len(users), length)
    return Windows(
        _filled(shape, row, slot, place[histories.items[kept]], 0, np.int32),
        _filled(shape, row, slot, np.full(len(row), length), 0, np.int32),
        _filled(shape, row, slot, age[kept], 0, np.float32),
        _filled(shape, row, slot, strength[kept], 1, np.float32),
    )


def _running(value: NDArray[np.float64], start: NDArray[np.int64]) -> NDArray[np.float64]:
    """Sums from each start to here, each run added up by itself."""
    found = value.copy()
    length = np.diff(np.append(start, len(value)))
    for step in range(1, int(length.max(initial=0))):
        at = start[length > step] + step
        found[at] += found[at - 1]
    return found


def _filled(
    shape: tuple[int, int],
    row: NDArray[np.int64],
    slot: NDArray[np.int64],
    value: NDArray[np.generic],
    empty: float,
    kind: type[Kind],
) -> NDArray[Kind]:
    found = np.full(shape, empty, dtype=kind)
    found[row, slot] = value
    return found


def batches(count: int, size: int) -> Iterator[slice]:
    """Slices of `size`, the last one shorter."""
    return (slice(start, min(start + size, count)) for start in range(0, count, size))
