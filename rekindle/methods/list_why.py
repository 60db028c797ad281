"""Why an item is, or is not, in a user's list: made again for that user alone, which gives the list of the night."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np

from rekindle.methods.list_batch import Batch
from rekindle.methods.list_rules import KINDS, NEW_ITEM, Ladder, Lists, drops, make_lists, manner_of
from rekindle.methods.list_settings import OWN_RULES, Rules

State = Literal["listed", "removed", "outranked", "no candidate"]


@dataclass(frozen=True)
class Why:
    """What became of an item on its way into a user's list.

    Attributes:
        state: `listed`; `removed` by a rule; `outranked`: no rule removed it, others have the places; `no candidate`:
            no source that is asked about the user speaks of it (and no draw took it).
        removed_by: the id of the first rule that drops it, in the order in which they are asked; None unless removed.
        ranks: of each source, the rank from 1 of the item among all that the source speaks of for the user; 0 where it
            says nothing of the item. Sources that are not asked about this user are in it too.
        scores: likewise; NaN where it says nothing.
        asked: the sources that are asked about a user with so many distinct items.
        rank_before_rules: from 1, in the order of all sources before any rule; 0 if no candidate.
        rank_after_filters: the same among what no rule drops; 0 if none or removed.
        place: from 1; 0 unless listed.
        kind: one of KINDS; None unless listed.
        propensity: chance with which it came into the list; NaN unless listed.
        text: all of it in words.
    """

    state: State
    removed_by: str | None
    ranks: Mapping[str, int]
    scores: Mapping[str, float]
    asked: tuple[str, ...]
    rank_before_rules: int
    rank_after_filters: int
    place: int
    kind: str | None
    propensity: float
    text: str


def why(batch: Batch, rules: Rules, k: int, item: int, names: tuple[str, str] = ("the user", "the item")) -> Why:
    """Why for the one user of the batch; `names` are the user's and the item's in the text.

    Raises:
        ValueError: the batch is not of one user, the item is none of the catalogue.
    """
    if len(batch) != 1 or not 0 <= item < len(batch.items):
        raise ValueError(f"why: {len(batch)} users and item {item}; expected 1 and 0 to {len(batch.items) - 1}")
    ladder, lists = Ladder.of(batch, rules), make_lists(batch, rules, k)
    one = np.array([[item]])
    row = np.zeros(1, dtype=np.int64)
    ranks, scores = {}, {}
    for rung in batch.ladder:
        score, index = rung.scores[0], np.arange(len(batch.items))
        speaks = score[item] > -np.inf
        better = (score > score[item]) | ((score == score[item]) & (index <= item))
        ranks[rung.source] = int(better.sum()) if speaks else 0
        scores[rung.source] = float(score[item]) if speaks else float("nan")
    removed_by, gone = None, np.zeros((1, len(batch.items)), dtype=np.bool_)
    for id_, where in drops(batch, rules):
        there = np.broadcast_to(where, gone.shape)
        if removed_by is None and there[0, item]:
            removed_by = id_
        gone |= there
    kept = Ladder(np.where(gone, np.int16(ladder.sources), ladder.first), ladder.value, ladder.sources)
    places = np.flatnonzero(lists.item[0] == item)
    place = int(places[0]) + 1 if len(places) else 0
    had = int(batch.users.histories.lengths()[0])
    found = Why(
        state=_state(place, removed_by, int(ladder.rank(row, one)[0, 0])),
        removed_by=removed_by,
        ranks=ranks,
        scores=scores,
        asked=tuple(r.source for r in batch.ladder if had >= rules.history_items.get(r.source, 0)),
        rank_before_rules=int(ladder.rank(row, one)[0, 0]),
        rank_after_filters=int(kept.rank(row, one)[0, 0]),
        place=place,
        kind=KINDS[lists.kind[0, place - 1]] if place else None,
        propensity=float(lists.propensity[0, place - 1]) if place else float("nan"),
        text="",
    )
    told = " ".join([_standing(found, names), _outcome(found, batch, rules, lists, item)])
    return Why(**{**vars(found), "text": told})


def _state(place: int, removed_by: str | None, rank: int) -> State:
    if place:
        return "listed"
    if removed_by is not None:
        return "removed"
    return "outranked" if rank else "no candidate"


def _standing(found: Why, names: tuple[str, str]) -> str:
    """What the sources say."""
    said = [
        f"{source} ranks it {found.ranks[source]} (score {found.scores[source]:.6g})"
        for source in found.asked
        if found.ranks[source]
    ]
    silent = [source for source in found.asked if not found.ranks[source]]
    unasked = [source for source in found.ranks if source not in found.asked]
    parts = [f"{'; '.join(said)}" if said else "no source that is asked speaks of it"]
    if silent and said:
        parts.append(f"{', '.join(silent)} {'says' if len(silent) == 1 else 'say'} nothing of it")
    if unasked:
        parts.append(f"{', '.join(unasked)} {'is' if len(unasked) == 1 else 'are'} not asked about so short a history")
    rank = f", so it has rank {found.rank_before_rules} before rules" if found.rank_before_rules else ""
    return f"Of {names[1]} for {names[0]}: {'; '.join(parts)}{rank}."


def _outcome(found: Why, batch: Batch, rules: Rules, lists: Lists, item: int) -> str:
    length = int((lists.item[0] >= 0).sum())
    if found.state == "listed":
        said = f"It has place {found.place} of {length}"
        if found.kind == KINDS[NEW_ITEM]:
            return f"{said}, drawn as a new item with a chance of {found.propensity:.4g}."
        return f"{said}, as due again." if found.kind == "due again" else f"{said}."
    if found.state == "removed":
        return f"The rule {found.removed_by} removed it{_condition(found, batch, rules, item)}."
    if found.state == "no candidate":
        return "So it is no candidate, and no draw for new items took it."
    after = f"After the filters it has rank {found.rank_after_filters}"
    if found.rank_after_filters > length:
        return f"{after}, and the list has {length} places."
    manner, category = manner_of(batch, rules, length), batch.items.category
    same = int(((category[lists.item[0]] == category[item]) & (lists.item[0] >= 0)).sum())
    if category[item] >= 0 and same >= manner.cap[item]:
        cap = int(manner.cap[item])
        return f"{after}, but the list has {same} of its category, of which {cap} may be in it."
    causes = [
        *(["diversity"] if rules.diversity.relevance < 1 else []),
        *(["margin or sentiment"] if rules.terms.margin or rules.terms.sentiment else []),
        *(["what is due"] if rules.repurchase.due_boost else []),
        *(["places kept for repeats"] if rules.repurchase.repeat_places is not None else []),
        *(["a place for new items"] if (lists.kind[0] == NEW_ITEM).any() else []),
    ]
    return f"{after}, and its place went to others for {' or '.join(causes) or 'the caps of categories'}."


def _condition(found: Why, batch: Batch, rules: Rules, item: int) -> str:
    """What the rule says, with the numbers of this item where it is one of our own."""
    if found.removed_by == OWN_RULES[0]:
        return ": it was bought, and its category is bought once"
    if found.removed_by == OWN_RULES[1]:
        return (
            f": it is at {batch.due[0, item]:.2f} of the days until it is expected again, below"
            f" {rules.repurchase.held_below:g}"
        )
    return f": {next(one.drop for one in rules.filters if one.id == found.removed_by)}"
