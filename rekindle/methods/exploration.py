"""Places of a list for new items, drawn for each user and night, each with its exact chance.

The eligible items of a user, in the order in which his sources rank them, are dealt out to the places in turn; each
place draws one of its own items. So no item can be drawn twice, and the chance that an item is in the list is its
weight over the weights of its place: known exactly, which a draw without replacement by weights would not give.
Draws come from SplitMix64 (Steele, Lea and Flood 2014, "Fast splittable pseudorandom number generators") of the user's
seed and the place: the same night draws the same, whoever is served beside.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from rekindle.methods.list_settings import Exploration

GOLDEN = 0x9E3779B97F4A7C15
RANKS = 1_000  # streams from here on draw ranks; those before, items


def uniform(seeds: NDArray[np.uint64], stream: int) -> NDArray[np.float64]:
    """One number in [0, 1) a seed, of 53 random bits; streams of one seed are independent."""
    with np.errstate(over="ignore"):
        z = _mixed(seeds + np.uint64(GOLDEN)) + np.uint64((stream + 1) * GOLDEN % 2**64)
        return (_mixed(z) >> np.uint64(11)).astype(np.float64) * 2.0**-53


def _mixed(z: NDArray[np.uint64]) -> NDArray[np.uint64]:
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))


def weights(pool: NDArray[np.int64], rules: Exploration) -> NDArray[np.float64]:
    """The weight of each item of `pool` (int64 [users, width], best first, padded with −1), float64; 0 for padding.

    Uniform: 1. Softmax: e^(r / temperature), r being 1 for the first and falling evenly to 0 for the last.
    """
    inside = pool >= 0
    if rules.choice == "uniform":
        return inside.astype(np.float64)
    count = inside.sum(axis=1, keepdims=True)
    place = np.arange(pool.shape[1])
    # Less 1, so that nothing overflows: the first has weight 1.
    return np.where(inside, np.exp(-place / np.maximum(count - 1, 1) / rules.temperature), 0.0)


def drawn(
    pool: NDArray[np.int64], seeds: NDArray[np.uint64], rules: Exploration
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """(items, chances) of the places for new items, [users, places]; −1 and 1.0 where a place has no item to draw.

    The chance is that of this item being drawn into this user's list at all, not of its rank.
    """
    users = len(pool)
    items, chance = np.full((users, rules.places), -1, dtype=np.int64), np.ones((users, rules.places))
    weight = weights(pool, rules)
    for place in range(rules.places):
        own, mine = pool[:, place :: rules.places], weight[:, place :: rules.places]
        if not own.shape[1]:
            continue
        reached = np.cumsum(mine, axis=1)  # from left to right: padding, at the end, changes no bit
        total = reached[:, -1]
        target = uniform(seeds, place) * total
        last = np.maximum((own >= 0).sum(axis=1) - 1, 0)
        at = np.minimum((reached <= target[:, None]).sum(axis=1), last)
        row = np.flatnonzero(total > 0)
        items[row, place] = own[row, at[row]]
        chance[row, place] = mine[row, at[row]] / total[row]
    return items, chance


def ranks(seeds: NDArray[np.uint64], k: int, rules: Exploration) -> NDArray[np.int64]:
    """On which ranks (from 0) the places stand, int64 [users, places]: those of conf, or a draw of different ones.

    Raises:
        ValueError: a list has fewer ranks than places, or a rank beyond its end.
    """
    if rules.places > k or max(rules.ranks or (0,)) > k:
        raise ValueError(
            f"exploration: {rules.places} places on ranks {list(rules.ranks or ['drawn'])} of a list of {k}"
        )
    if rules.ranks is not None:
        return np.tile(np.array(rules.ranks, dtype=np.int64) - 1, (len(seeds), 1))
    lots = np.stack([uniform(seeds, RANKS + rank) for rank in range(k)], axis=1)
    return np.argsort(lots, axis=1, kind="stable")[:, : rules.places]
