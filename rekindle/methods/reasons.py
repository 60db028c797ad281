"""Why an item is in a list: the method that put it there, and the item of the user's own history that weighs most."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from rekindle.methods.baselines import FittedPopularity, FittedRepeatLast
from rekindle.methods.content import FittedContent
from rekindle.methods.factors import FactorModel
from rekindle.methods.faded import FittedFaded
from rekindle.methods.interactions import Fitted, Users
from rekindle.methods.neighbours import FittedItemNeighbours
from rekindle.methods.ragged import Ragged
from rekindle.methods.two_stage import FittedTwoStage

# What tables call the methods that a night may serve.
NAMES: tuple[tuple[type, str], ...] = (
    (FactorModel, "als"),
    (FittedItemNeighbours, "item_neighbours"),
    (FittedContent, "content"),
    (FittedRepeatLast, "repeat_last"),
    (FittedPopularity, "popularity"),
)


def method_of(fitted: Fitted) -> str:
    """The name in tables; of what fades, the method inside.

    Raises:
        ValueError: a method of several sources, or none that a night may serve.
    """
    if isinstance(fitted, FittedFaded):
        return method_of(fitted.fitted)
    for kind, name in NAMES:
        if isinstance(fitted, kind):
            return name
    raise ValueError(f"{type(fitted).__name__}: no single method; expected one of {', '.join(n for _, n in NAMES)}")


def inside(fitted: Fitted, users: Users) -> tuple[Fitted, Users]:
    """The method whose scores are sums over a history, and the users as it is served: of what fades, the method inside
    and the faded histories."""
    if not isinstance(fitted, FittedFaded):
        return fitted, users
    past, own = users.told_past("faded"), users.histories
    weight = np.ones(len(own.items)) if own.values is None else own.values
    values = weight * np.exp2(-past.last_days / fitted.last_half_life_days)
    return inside(fitted.fitted, replace(users, histories=replace(own, values=values)))


def sources_of(fitted: Fitted) -> list[Fitted]:
    """The methods that propose items: those of two stages, else the method itself."""
    return list(fitted.stage.sources) if isinstance(fitted, FittedTwoStage) else [fitted]


def proposers(fitted: Fitted, users: Users, items: NDArray[np.int64]) -> NDArray[np.int64]:
    """Which of `sources_of` ranks each item best among those that the user has, or has not, done something with:
    int64 [users, k] for items [users, k] (−1: padding, −1 too in the result); of equals the first source.

    A user's row depends on nobody else's.
    """
    sources = sources_of(fitted)
    if len(sources) == 1:
        return np.where(items >= 0, 0, -1)
    had = np.zeros((len(users), fitted.n_items), dtype=np.bool_)
    had[users.histories.rows(), users.histories.items] = True
    best = np.full(items.shape, np.inf)
    found = np.where(items >= 0, 0, -1)
    asked = np.maximum(items, 0)
    for number, source in enumerate(sources):
        scores = source.scores(users).astype(np.float32)
        own = np.take_along_axis(scores, asked, axis=1)
        own_had = np.take_along_axis(had, asked, axis=1)
        for place in range(items.shape[1]):
            rival = (scores > own[:, place, None]) & (had == own_had[:, place, None])
            rank = np.where(np.isfinite(own[:, place]), rival.sum(axis=1), np.inf)
            better = (rank < best[:, place]) & (items[:, place] >= 0)
            best[better, place] = rank[better]
            found[better, place] = number
    return found


def heaviest(fitted: Fitted, history: Ragged, listed: NDArray[np.int64]) -> NDArray[np.int64]:
    """For each listed item the item of the history (one row) that adds most to its score, of equals the first.

    −1 for padding and where a score is no sum over the history. An item is no reason for itself, unless it is all
    there is; then it is named.
    """
    if isinstance(fitted, FactorModel):
        items, added = fitted.shares(history, np.maximum(listed, 0))
    else:
        told = [fitted.explain(history, int(item)) if item >= 0 else {} for item in listed]
        items = np.array(sorted(set().union(*told)), dtype=np.int64) if told else np.zeros(0, dtype=np.int64)
        added = np.array([[one.get(int(item), -np.inf) for item in items] for one in told])
    if not len(items):
        return np.full(len(listed), -1, dtype=np.int64)
    itself = items[None, :] == listed[:, None]
    others = np.where(itself, -np.inf, added)
    found = np.where(np.isfinite(others).any(axis=1), items[np.argmax(others, axis=1)], -1)
    alone = (itself & np.isfinite(added)).any(axis=1) & (found < 0)
    return np.where(listed < 0, -1, np.where(alone, listed, found))
