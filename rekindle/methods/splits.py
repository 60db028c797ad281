"""What a recommender may know and what it is then asked about: splits of a shop's events, without a frame or Spark.

A time split has one instant for everybody: an event at or after it is in no history (leakage by a split a user is what
Ji et al. 2023, "A Critical Study on Data Leakage in Recommender System Offline Evaluation", measured). A random split
is there only to stand beside published figures. Events in any order give the same split.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from rekindle.methods.interactions import Interactions, Users, ragged_of
from rekindle.methods.ragged import Ragged, offsets_of

GROUPS = ("new", "one-time", "regular")
Task = Literal["all", "repeat", "explore"]


@dataclass(frozen=True, eq=False)
class Events:
    """What was done and when, one row an event.

    Attributes:
        user: int64 [rows], 0 … n_users − 1.
        item: int64 [rows], 0 … n_items − 1.
        strength: float64 [rows], above 0: the weight of what was done.
        day: float64 [rows], days since any one instant by the shop's clock; a whole number is a local midnight.
        purchase: bool [rows], whether it was a purchase; None: every event was.

    Raises:
        ValueError: arrays of unequal length, an index out of bounds, a strength not above 0, a day that is no number.
    """

    user: NDArray[np.int64]
    item: NDArray[np.int64]
    strength: NDArray[np.float64]
    day: NDArray[np.float64]
    n_users: int
    n_items: int
    purchase: NDArray[np.bool_] | None = None

    def __post_init__(self) -> None:
        rows = len(self.user)
        if len(self.day) != rows or (self.purchase is not None and len(self.purchase) != rows):
            raise ValueError(f"Events: day or purchase is not an array of {rows} rows")
        if not np.isfinite(self.day).all():
            raise ValueError("Events: a day is not a number")
        Interactions(self.user, self.item, self.strength, np.zeros(rows), self.n_users, self.n_items)

    def __len__(self) -> int:
        return len(self.user)


@dataclass(frozen=True, eq=False)
class Split:
    """What is known, who is served, and what they then did; users, histories, truth, seen and blocked are row by row.

    Attributes:
        known: what methods are fitted on: what of `past` is in the core.
        past: all that was done before the split.
        users: those who are served. The index is −1 for a user outside the core or without history; histories hold
            eligible items only, with strengths not decayed (see `faded`).
        served: int64 [users], their indexes in the events and in `past`.
        truth: distinct items of each user after the split; empty where the task asks nothing of a user.
        seen: distinct items of each user's whole history, also those that are not eligible.
        blocked: what lists must not show: `seen` where the policy filters it, else nothing.
        eligible: bool [n_items], the catalogue: items with a known interaction.
        group: int64 [users], an index into GROUPS: no day with a purchase before the split, one, more.
        counts: what became of each event; the counts sum to the events that were split.
        task: all; repeat: lists hold only items of the history; explore: only items outside it.
    """

    known: Interactions
    past: Interactions
    users: Users
    served: NDArray[np.int64]
    truth: Ragged
    seen: Ragged
    blocked: Ragged
    eligible: NDArray[np.bool_]
    group: NDArray[np.int64]
    counts: Mapping[str, int]
    task: Task = "all"

    def faded(self, half_life_days: float | None) -> Split:
        """The same split with histories aged as `Interactions.matrix` ages them; None: not aged. For methods that
        fade what they learn from and are to be served histories faded alike."""
        histories = ragged_of(self.past.matrix(half_life_days)[self.served])
        heard = np.bincount(self.known.item, minlength=self.known.n_items) > 0
        return replace(self, users=replace(self.users, histories=_kept(histories, heard[histories.items])))

    def repeat(self) -> Split:
        """The same split asked for what users did again: truth is the part of it that is in the history."""
        empty = Ragged.empty(len(self.users))
        return replace(self, truth=_kept(self.truth, within(self.truth, self.seen)), blocked=empty, task="repeat")

    def explore(self) -> Split:
        """The same split asked for what was new to users: truth outside the history, and the history is blocked."""
        fresh = _kept(self.truth, ~within(self.truth, self.seen))
        return replace(self, truth=fresh, blocked=self.seen, task="explore")


def at_instant(
    events: Events,
    day: float,
    *,
    truth_days: float | None = None,
    known_items_only: bool = True,
    block_seen: bool = False,
    with_new: bool = False,
    least_of_user: int = 1,
    least_of_item: int = 1,
) -> Split:
    """One split in time for everybody: before `day` is known, ages count from it, and what follows is the truth.

    Args:
        truth_days: how long after `day` the truth goes on; None: to the end.
        known_items_only: leave items outside the catalogue out of the truth. False: they count and cannot be found.
        block_seen: whether lists leave out what the user had before.
        with_new: whether users without any event before `day` are served and judged too.
        least_of_user, least_of_item: the core of `core`, on what is known alone.

    Raises:
        ValueError: nothing is known before `day`, or nobody served did anything after it.
    """
    before = events.day < day
    window = ~before if truth_days is None else ~before & (events.day < day + truth_days)
    return _split(events, before, window, day, known_items_only, block_seen, with_new, (least_of_user, least_of_item))


def random_per_user(events: Events, *, share: float = 0.25, seed: int, block_seen: bool = True) -> Split:
    """A share of every user's items, by chance: the protocol of figures published for ML-100k (75 % known, seen items
    removed). It sees the future: use it to compare with those figures and for nothing else.

    A user's items are divided whole, so that none is on both sides; round((1 − share) · items) are known. Ages count
    from the last event. Truth is kept where nobody else is known to have touched the item.

    Raises:
        ValueError: share is not between 0 and 1, or one side is empty.
    """
    if not 0 < share < 1:
        raise ValueError(f"splits: share is {share}, expected between 0 and 1")
    pair = events.user * events.n_items + events.item
    pairs = np.unique(pair)
    user = pairs // events.n_items
    order = np.lexsort((np.random.default_rng(seed).random(len(pairs)), user))
    known = np.rint((1 - share) * np.bincount(user, minlength=events.n_users))
    place = np.arange(len(pairs)) - np.searchsorted(user, user)  # user is sorted before and after
    is_known = np.zeros(len(pairs), dtype=bool)
    is_known[order] = place < known[user]
    before = is_known[np.searchsorted(pairs, pair)]
    as_of = float(events.day.max(initial=0.0))
    return _split(events, before, ~before, as_of, False, block_seen, False, (1, 1))


def cold_in_target(split: Split, target: NDArray[np.bool_], *, share: float = 0.5, seed: int) -> Split:
    """The same split asked what users who are new to one domain then do there; `target` bool [n_items] are its items.

    A share of all users, drawn by chance, loses what is known of them in the target; those of them with a history
    elsewhere and something in the target after the split are served. Lists and truth hold the target's items with a
    known interaction; histories hold the other domains'.

    Raises:
        ValueError: nobody is left who is served.
    """
    known = split.known
    cold = np.random.default_rng(seed).random(known.n_users) < share
    kept = ~(cold[known.user] & target[known.item])
    columns = (known.user[kept], known.item[kept], known.strength[kept], known.age_days[kept])
    left = Interactions(*columns, known.n_users, known.n_items)
    eligible = target & (np.bincount(left.item, minlength=known.n_items) > 0)
    truth = _kept(split.truth, eligible[split.truth.items])
    wanted = cold[split.served] & (truth.lengths() > 0)
    wanted &= np.bincount(left.user, minlength=known.n_users)[split.served] > 0
    if not wanted.any():
        raise ValueError("splits: nobody who is new to the target did anything in it after the split")
    served = split.served[wanted]
    whole = left.matrix()
    histories = ragged_of(whole[served])
    is_served = np.zeros(known.n_users, dtype=bool)
    is_served[served] = True
    when = left.past().of(served, is_served[whole.tocoo().row])
    asked = np.repeat(wanted, truth.lengths())
    return replace(
        split,
        known=left,
        past=left,
        users=Users(served, histories, when),
        served=served,
        truth=Ragged(offsets_of(truth.lengths()[wanted]), truth.items[asked]),
        seen=replace(histories, values=None),
        blocked=Ragged.empty(len(served)),
        eligible=eligible,
        group=split.group[wanted],
        counts={"known": len(left), "known, of the target and withheld": len(known) - len(left)},
    )


def core(known: Interactions, least_of_user: int, least_of_item: int) -> NDArray[np.bool_]:
    """Rows of the largest part in which every user has at least so many distinct items and every item so many users,
    bool [rows] (the k-core: Seidman 1983, by removing until nothing changes)."""
    shape = (known.n_users, known.n_items)
    pairs = sparse.coo_matrix((np.ones(len(known)), (known.user, known.item)), shape=shape).tocsr().tocoo()
    user, item = pairs.row.astype(np.int64), pairs.col.astype(np.int64)
    kept = np.ones(len(user), dtype=bool)
    while True:
        of_user = np.bincount(user[kept], minlength=known.n_users)
        of_item = np.bincount(item[kept], minlength=known.n_items)
        fine = kept & (of_user[user] >= least_of_user) & (of_item[item] >= least_of_item)
        if fine.sum() == kept.sum():
            break
        kept = fine
    left = np.sort(user[kept] * known.n_items + item[kept])
    return np.isin(known.user * known.n_items + known.item, left)


def within(rows: Ragged, others: Ragged) -> NDArray[np.bool_]:
    """Whether each entry of `rows` is in the same row of `others`, bool [entries].

    Raises:
        ValueError: another number of rows on both sides.
    """
    if len(rows) != len(others):
        raise ValueError(f"splits: {len(rows)} rows beside {len(others)}; expected equal")
    top = int(max(rows.items.max(initial=0), others.items.max(initial=0))) + 1
    return np.isin(rows.rows() * top + rows.items, others.rows() * top + others.items)


def groups(events: Events, before: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Each user's group by the days with a purchase among the rows `before`, int64 [n_users], an index into GROUPS."""
    bought = before if events.purchase is None else before & events.purchase
    days = np.unique(np.stack([events.user[bought], np.floor(events.day[bought]).astype(np.int64)]), axis=1)
    return np.minimum(np.bincount(days[0], minlength=events.n_users), 2).astype(np.int64)


def _split(
    events: Events,
    before: NDArray[np.bool_],
    window: NDArray[np.bool_],
    as_of: float,
    known_items_only: bool,
    block_seen: bool,
    with_new: bool,
    least: tuple[int, int],
) -> Split:
    past = _interactions(events, before, as_of)
    kept = core(past, *least)
    known = replace(
        past, user=past.user[kept], item=past.item[kept], strength=past.strength[kept], age_days=past.age_days[kept]
    )
    if not len(known):
        raise ValueError("splits: nothing is known; the split is before all events or the core is empty")
    eligible = np.bincount(known.item, minlength=events.n_items) > 0
    has_history = np.bincount(past.user, minlength=events.n_users) > 0

    asked = window.copy()
    unknown_items = asked & ~eligible[events.item] & known_items_only
    asked &= ~unknown_items
    new_users = asked & ~has_history[events.user] & (not with_new)
    asked &= ~new_users
    served = np.unique(events.user[asked])
    if not len(served):
        raise ValueError("splits: nobody who is served did anything after the split")

    of_core = np.bincount(known.user, minlength=events.n_users) > 0
    whole = past.matrix()
    seen = ragged_of(whole[served])
    histories = _kept(seen, eligible[seen.items])
    is_served = np.zeros(events.n_users, dtype=bool)
    is_served[served] = True
    when = past.past().of(served, is_served[whole.tocoo().row] & eligible[whole.indices])
    shape = (events.n_users, events.n_items)
    after = sparse.coo_matrix((np.ones(int(asked.sum())), (events.user[asked], events.item[asked])), shape=shape)
    truth = replace(ragged_of(after.tocsr()[served]), values=None)
    seen = replace(seen, values=None)
    return Split(
        known=known,
        past=past,
        served=served,
        users=Users(np.where(of_core[served], served, -1), histories, when),
        truth=truth,
        seen=seen,
        blocked=seen if block_seen else Ragged.empty(len(served)),
        eligible=eligible,
        group=groups(events, before)[served],
        counts={
            "known": len(known),
            "known, outside the core": len(past) - len(known),
            "truth": int(asked.sum()),
            "after, of items outside the catalogue": int(unknown_items.sum()),
            "after, of users without history": int(new_users.sum()),
            "after the period that is judged": int((~before & ~window).sum()),
        },
    )


def _interactions(events: Events, rows: NDArray[np.bool_], as_of: float) -> Interactions:
    """Those rows in one order, whatever theirs was."""
    found = np.flatnonzero(rows)
    order = found[np.lexsort((events.strength[found], -events.day[found], events.item[found], events.user[found]))]
    return Interactions(
        events.user[order],
        events.item[order],
        events.strength[order],
        as_of - events.day[order],
        events.n_users,
        events.n_items,
    )


def _kept(rows: Ragged, entries: NDArray[np.bool_]) -> Ragged:
    """The same rows with only those entries."""
    lengths = np.bincount(rows.rows()[entries], minlength=len(rows)).astype(np.int64)
    values = None if rows.values is None else rows.values[entries]
    return Ragged(offsets_of(lengths), rows.items[entries], values)
