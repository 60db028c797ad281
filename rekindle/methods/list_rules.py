"""Lists a shop can send: scores of several sources become one list a user, by rules.

The order before any rule: the items of the first source that is asked about the user and has something to say, best
first, then those that only the second speaks of, and so on; of equals the lower index first. From it are dropped what
a filter names, durables that were bought, and what was bought and is far from due. The first `candidates` of what is
left are put into the list by `reranking.listed`. Where a kept place or a cap would have to give way although there are
deeper items, four times as many are looked at, and so on to the last: the rules give way only where nothing else is
left. Then places for new items are drawn (`exploration`), of items that are not in that list, that no filter drops,
that the user has not bought, and for whose category there is room.

A user's list depends on nothing but the user's own rows and the facts of items.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rekindle.methods import exploration
from rekindle.methods.filter_evaluation import is_dropped
from rekindle.methods.interactions import best
from rekindle.methods.list_batch import Batch, BatchFields
from rekindle.methods.list_settings import Rules
from rekindle.methods.reranking import (
    CAP_GAVE_WAY,
    Candidates,
    Manner,
    listed,
    places_for_repeats,
    relevance_of,
    unit_rows,
)

# What a place holds: as the scores order it, something bought that is due again, a new item that was drawn.
KINDS = ("ranked", "due again", "new item")
RANKED, DUE_AGAIN, NEW_ITEM = range(len(KINDS))
DEEPER = 4  # times as many candidates where rules ran out
DEPTHS = 30  # fourfold steps, more than any catalogue has


@dataclass(frozen=True, eq=False)
class Lists:
    """One list a user, best first, each array [users, k].

    Attributes:
        item: int64, −1 where nothing is left.
        score: float64, as its source gave it; NaN without item, and for a new item of which no source speaks.
        source: int64, the place of its source in the ladder; −1 without item, and where none speaks.
        propensity: float64, in (0, 1]: 1.0 for what the scores and rules put there; of a drawn new item the chance with
            which it was drawn into this list; 1.0 without item.
        rank_before_rules: int64, from 1, in the order before any rule; 0 without item, and where no source speaks.
        kind: int64, a place in KINDS; −1 without item.
        gave_way: int64, 0, KIND_GAVE_WAY or CAP_GAVE_WAY of `reranking`: a rule that could not be kept here.
    """

    item: NDArray[np.int64]
    score: NDArray[np.float64]
    source: NDArray[np.int64]
    propensity: NDArray[np.float64]
    rank_before_rules: NDArray[np.int64]
    kind: NDArray[np.int64]
    gave_way: NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Ladder:
    """The order before any rule: for each user and item the first source asked that speaks of it, and its score.

    Attributes:
        first: int16 [users, n_items], a place in the ladder; the number of sources where none speaks.
        value: float64 [users, n_items]; −inf where none speaks.
        sources: how many there are.
    """

    first: NDArray[np.int16]
    value: NDArray[np.float64]
    sources: int

    @classmethod
    def of(cls, batch: Batch, rules: Rules) -> Ladder:
        """The order for each user of the batch."""
        many = len(batch.ladder)
        first = np.full((len(batch), len(batch.items)), many, dtype=np.int16)
        value = np.full(first.shape, -np.inf)
        had = batch.users.histories.lengths()
        for number, rung in enumerate(batch.ladder):
            asked = had >= rules.history_items.get(rung.source, 0)
            speaks = (rung.scores > -np.inf) & (first == many) & asked[:, None]
            np.copyto(first, number, where=speaks)
            np.copyto(value, rung.scores, where=speaks)
        return cls(first, value, many)

    def rank(self, row: NDArray[np.int64], item: NDArray[np.int64]) -> NDArray[np.int64]:
        """The rank, from 1, of items (int64 [rows, any], −1 none) of these users; 0 where no source speaks."""
        found = np.zeros(item.shape, dtype=np.int64)
        index = np.arange(self.first.shape[1])
        first, value = self.first[row], self.value[row]
        at = np.arange(len(row))
        for place in range(item.shape[1]):
            one = item[:, place]
            source, score = first[at, one][:, None], value[at, one][:, None]
            better = (value > score) | ((value == score) & (index <= one[:, None]))
            count = ((first < source) | ((first == source) & better)).sum(axis=1)
            found[:, place] = np.where((one >= 0) & (source[:, 0] < self.sources), count, 0)
        return found


def drops(batch: Batch, rules: Rules) -> Iterator[tuple[str, NDArray[np.bool_]]]:
    """(rule id, where it drops: bool, broadcasting to [users, n_items]) in the order in which rules are asked."""
    fields = BatchFields(batch)
    for one in rules.filters:
        yield one.id, is_dropped(one.drop, fields)
    yield "durable_bought", batch.had_bought & batch.is_durable
    if rules.repurchase.held_below:
        yield "not_due", batch.due < rules.repurchase.held_below


def make_lists(batch: Batch, rules: Rules, k: int) -> Lists:
    """The lists of a batch, k places each.

    Raises:
        ValueError: k below 1, conf caps a category by a name the shop has not, more places for new items than k, a
            rule that needs what was not handed over (ids, vectors).
    """
    if k < 1:
        raise ValueError(f"lists: k is {k}, expected 1 or more")
    ladder = Ladder.of(batch, rules)
    dropped = np.zeros(ladder.first.shape, dtype=np.bool_)
    for _, where in drops(batch, rules):
        dropped |= where
    manner = manner_of(batch, rules, k)
    item, gave_way = _filled(batch, rules, ladder, dropped, manner)
    propensity, is_new = np.ones(item.shape), np.zeros(item.shape, dtype=np.bool_)
    if rules.exploration.places:
        item, gave_way, propensity, is_new = _with_new(batch, rules, ladder, dropped, manner, item, gave_way)
    return _told(batch, rules, ladder, item, gave_way, propensity, is_new)


def manner_of(batch: Batch, rules: Rules, k: int) -> Manner:
    """How the list is made, in numbers of items."""
    names, facts = list(batch.items.categories), batch.items
    cap = np.full(len(names), rules.most_of_category or np.iinfo(np.int64).max, dtype=np.int64)
    # A category of conf that the shop does not have today caps nothing; it may have it tomorrow.
    place = {name: number for number, name in enumerate(names)}
    for name, most in rules.category_caps.items():
        if name in place:
            cap[place[name]] = most
    vectors = None
    if rules.diversity.by == "vectors" and rules.diversity.relevance < 1:
        if facts.vectors is None:
            raise ValueError("lists: diversity by vectors, and the items came without vectors")
        vectors = unit_rows(facts.vectors)
    share = rules.repurchase.repeat_places
    return Manner(
        k,
        rules.diversity.relevance,
        facts.category,
        facts.of_category(cap, np.iinfo(np.int64).max).astype(np.int64),
        None if share is None else places_for_repeats(share, k),
        vectors,
    )


def _filled(
    batch: Batch, rules: Rules, ladder: Ladder, dropped: NDArray[np.bool_], manner: Manner
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """(items, what gave way), int64 [users, k], before places for new items."""
    item = np.full((len(batch), manner.k), -1, dtype=np.int64)
    gave_way = np.zeros(item.shape, dtype=np.int64)
    rows, depth = np.arange(len(batch)), max(rules.candidates, manner.k)
    while len(rows):
        found, left = _candidates(batch, rules, ladder, dropped, manner, rows, depth)
        chosen, gave = listed(found, manner)
        at = np.arange(len(rows))[:, None]
        item[rows] = np.where(chosen >= 0, found.item[at, chosen], -1)
        gave_way[rows] = gave
        # A kind that has run out is no matter of depth; a cap is, whichever kind lies deeper.
        short = ((gave == CAP_GAVE_WAY) | (chosen < 0)).any(axis=1) & left.any(axis=1)
        if manner.repeat_at is not None:
            missing = (gave > 0) & (chosen >= 0)
            for kind in (True, False):
                short |= (missing & (manner.repeat_at == kind)).any(axis=1) & left[:, int(kind)]
        rows, depth = rows[short], depth * DEEPER
    return item, gave_way


def _candidates(
    batch: Batch,
    rules: Rules,
    ladder: Ladder,
    dropped: NDArray[np.bool_],
    manner: Manner,
    rows: NDArray[np.int64],
    depth: int,
) -> tuple[Candidates, NDArray[np.bool_]]:
    """The first `depth` of these users that nothing drops, of each kind where kinds have places of their own; and
    whether there are more, bool [rows, 2]: of what was not bought (all where kinds have no places), and of repeats."""
    some_of = slice(None) if len(rows) == len(batch) else rows  # no copies for everybody
    first, value, gone, repeat = (
        ladder.first[some_of],
        ladder.value[some_of],
        dropped[some_of],
        batch.had_bought[some_of],
    )
    parts, left = [], np.zeros((len(rows), 2), dtype=np.bool_)
    for kind, outside in enumerate([gone] if manner.repeat_at is None else [gone | repeat, gone | ~repeat]):
        some, more = _best(first, value, outside, ladder.sources, depth)
        left[:, kind] = more
        # Tiers: sources, and within each the depth at which an item is looked at, so that looking deeper changes
        # nothing of what was found before.
        steps = np.arange(some.shape[1]) // max(rules.candidates, manner.k)
        level = np.searchsorted(DEEPER ** np.arange(DEPTHS), steps, side="right")
        at = np.arange(len(rows))[:, None]
        tier = np.where(some >= 0, first[at, some].astype(np.int64) * DEPTHS + level, -1)
        parts.append((some, tier))
    item, tier = (np.concatenate(columns, axis=1) for columns in zip(*parts, strict=True))
    at = np.arange(len(rows))[:, None]
    score = np.where(item >= 0, value[at, item], -np.inf)
    if len(parts) > 1:
        last = np.where(tier < 0, np.iinfo(np.int64).max, tier)
        order = np.lexsort((item, -score, last), axis=1)
        item, tier, score = (np.take_along_axis(a, order, axis=1) for a in (item, tier, score))
    relevance = relevance_of(score, tier, *_terms(batch, rules, rows, item))
    return Candidates(item, tier, relevance, (item >= 0) & repeat[at, item]), left


def _best(
    first: NDArray[np.int16], value: NDArray[np.float64], gone: NDArray[np.bool_], sources: int, depth: int
) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """The first `depth` items of each row in the order of sources and scores, padded with −1, and whether there are
    more: source by source, each cut to its best, for whole rows are dear to sort."""
    width = min(depth, first.shape[1])
    found = np.full((len(first), width), -1, dtype=np.int64)
    have = np.zeros(len(first), dtype=np.int64)
    alive = np.where(gone, np.int16(sources), first)
    total = (alive < sources).sum(axis=1)
    for number in range(sources):
        rows = np.flatnonzero(have < np.minimum(total, width))
        if not len(rows):
            break
        some = best(np.where(alive[rows] == number, value[rows], -np.inf), width)
        row, place = np.nonzero((some >= 0) & (have[rows, None] + np.arange(width) < width))
        found[rows[row], have[rows[row]] + place] = some[row, place]
        have += np.bincount(rows[row], minlength=len(first))
    return found, total > have


def _terms(
    batch: Batch, rules: Rules, rows: NDArray[np.int64], item: NDArray[np.int64]
) -> tuple[list[tuple[float, NDArray[np.float64]]], NDArray[np.float64] | None]:
    """Weighted terms of the candidates, NaN for padding, and the boost of those that are due."""
    facts, weights = batch.items, rules.terms
    told = ((weights.margin, facts.margin), (weights.sentiment, facts.sentiment))
    terms = [(w, np.where(item >= 0, term[item], np.nan)) for w, term in told if w and term is not None]
    boost: NDArray[np.float64] | None = None
    if rules.repurchase.due_boost:
        boost = np.where(_is_due(batch, rules, rows[:, None], item), rules.repurchase.due_boost, 0.0)
    return terms, boost


def _is_due(batch: Batch, rules: Rules, row: NDArray[np.int64], item: NDArray[np.int64]) -> NDArray[np.bool_]:
    due = batch.due[row, item]
    return (item >= 0) & (due >= rules.repurchase.due_from) & (due <= rules.repurchase.due_until)


def _with_new(
    batch: Batch,
    rules: Rules,
    ladder: Ladder,
    dropped: NDArray[np.bool_],
    manner: Manner,
    item: NDArray[np.int64],
    gave_way: NDArray[np.int64],
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64], NDArray[np.bool_]]:
    """Items, what gave way, chances and which places are drawn, after new items took their places."""
    k, places = manner.k, rules.exploration.places
    rank = exploration.ranks(batch.seeds, k, rules.exploration)
    pool = new_items(batch, rules, ladder, dropped, manner, item)
    new, chance = exploration.drawn(pool, batch.seeds, rules.exploration)
    slot = np.full(item.shape, -1, dtype=np.int64)
    for place in range(places):
        row = np.flatnonzero(new[:, place] >= 0)
        slot[row, rank[row, place]] = place
    take = np.where(slot >= 0, k + slot, np.cumsum(slot < 0, axis=1) - 1)
    both = np.concatenate([item, new], axis=1)
    closed = np.argsort(np.take_along_axis(both, take, axis=1) < 0, axis=1, kind="stable")
    take = np.take_along_axis(take, closed, axis=1)  # where the list has gaps, what follows moves up
    chances = np.concatenate([np.ones(item.shape), chance], axis=1)
    gave = np.concatenate([gave_way, np.zeros(new.shape, dtype=np.int64)], axis=1)
    item, gave_way, propensity = (np.take_along_axis(a, take, axis=1) for a in (both, gave, chances))
    return item, gave_way, propensity, (take >= k) & (item >= 0)


def new_items(
    batch: Batch,
    rules: Rules,
    ladder: Ladder,
    dropped: NDArray[np.bool_],
    manner: Manner,
    item: NDArray[np.int64],
) -> NDArray[np.int64]:
    """The new items that may be drawn for each user, int64 [users, any], in the order before rules (those of which no
    source speaks last), padded with −1. `item` are the lists they would join: what is there is not drawn."""
    facts, told = batch.items, rules.exploration
    few = np.isnan(facts.number("events")) | (facts.number("events") <= told.most_events)
    column = np.flatnonzero((facts.age_days <= told.new_days) & few)
    many, row = len(facts.categories) + 1, np.arange(len(batch))[:, None]
    place = np.where(item >= 0, manner.category[item], -1) % many  # −1, none, is the last
    count = np.bincount((row * many + place).ravel(), minlength=len(batch) * many).reshape(len(batch), many)
    room = count[:, manner.category[column]] + told.places <= manner.cap[column]
    listed_already = np.zeros(dropped.shape, dtype=np.bool_)
    listed_already[np.nonzero(item >= 0)[0], item[item >= 0]] = True
    out = dropped[:, column] | batch.had_bought[:, column] | listed_already[:, column] | ~room
    first = np.where(out, np.iinfo(np.int16).max, ladder.first[:, column])
    order = np.lexsort((np.broadcast_to(column, out.shape), -ladder.value[:, column], first), axis=1)
    pool = np.where(np.take_along_axis(out, order, axis=1), -1, column[order])
    return pool[:, : int((pool >= 0).sum(axis=1).max(initial=0))]


def _told(
    batch: Batch,
    rules: Rules,
    ladder: Ladder,
    item: NDArray[np.int64],
    gave_way: NDArray[np.int64],
    propensity: NDArray[np.float64],
    is_new: NDArray[np.bool_],
) -> Lists:
    row = np.arange(len(batch))[:, None]
    source = ladder.first[row, item].astype(np.int64)
    speaks = (item >= 0) & (source < ladder.sources)
    kind = np.where(_is_due(batch, rules, row, item), DUE_AGAIN, RANKED)
    kind = np.where(is_new, NEW_ITEM, np.where(item >= 0, kind, -1))
    return Lists(
        item=item,
        score=np.where(speaks, ladder.value[row, item], np.nan),
        source=np.where(speaks, source, -1),
        propensity=propensity,
        rank_before_rules=ladder.rank(np.arange(len(batch)), item),
        kind=kind,
        gave_way=gave_way,
    )
