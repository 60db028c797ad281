"""word2vec over baskets (item2vec: Barkan and Koenigstein 2016): items bought beside the same items get like vectors.

Skip-gram with negative sampling (Mikolov et al. 2013, "Distributed Representations of Words and Phrases", equation 4):
for every pair of items i, j of one basket (what one user did on one day), with `negatives` = k,

    ln σ(v_i·c_j) + k · E_n[ ln σ(−v_i·c_n) ],   n drawn as often as it is in baskets, to the power `smoothing`

which is largest at v_i·c_j = PMI(i, j) − ln k, were vectors long enough (Levy and Goldberg 2014). As in word2vec each
item of a basket has so many contexts however large the basket is, here `contexts` others drawn by chance an epoch: a
basket of 500 items weighs 500, not 250,000. A batch shares its SHARED draws of n, each counted k / SHARED times, which
has the same mean and makes the sum over n one matrix product. Adagrad (Duchi et al. 2011), an item at a time.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from rekindle.methods.exact_products import LONGEST, coarse, product
from rekindle.methods.interactions import Interactions, Users, matrix_of
from rekindle.methods.model_arrays import packed, unpacked
from rekindle.methods.ragged import Ragged

BATCH = 2048  # pairs
SHARED = 64  # draws of n a batch


@dataclass(frozen=True)
class Item2Vec:
    """Vectors of items and their settings. Strengths do not take part in learning: an item was in a basket or not.

    Attributes:
        rank: length of a vector, 1 to exact_products.LONGEST.
        learning_rate: of Adagrad, above 0.
        epochs: passes over all baskets, 1 or more.
        negatives: k, 1 or more.
        contexts: others of the basket that an item is paired with an epoch, 1 or more.
        seed: of the start, the order and the draws, 0 or more.
        smoothing: 0 (all items are drawn alike) to 1 (as often as they are in baskets); 0.75 in the paper.
        half_life_days: how histories that are served are to fade; nothing that is learnt fades. None: not.

    Raises:
        ValueError: a setting out of its bounds.
    """

    rank: int
    learning_rate: float
    epochs: int
    negatives: int
    contexts: int
    seed: int
    smoothing: float = 0.75
    half_life_days: float | None = None

    def __post_init__(self) -> None:
        if not 1 <= self.rank <= LONGEST or min(self.epochs, self.negatives, self.contexts) < 1 or self.seed < 0:
            told = f"rank {self.rank}, {self.epochs} epochs, {self.negatives} negatives, {self.contexts} contexts"
            raise ValueError(f"Item2Vec: {told}, seed {self.seed}; expected 1 to {LONGEST}, 1, 1, 1, 0 or more")
        if not (0 < self.learning_rate < np.inf and 0 <= self.smoothing <= 1):
            raise ValueError(
                f"Item2Vec: learning rate {self.learning_rate}, smoothing {self.smoothing}; expected above 0, 0 to 1"
            )
        if self.half_life_days is not None and not self.half_life_days > 0:
            raise ValueError(f"Item2Vec: half-life {self.half_life_days} days, expected above 0")

    @property
    def name(self) -> str:
        """What tables and records call it."""
        return "item2vec"

    def fit(self, known: Interactions) -> FittedItem2Vec:
        """Vectors of length 1. The same interactions in any order give the same bytes.

        Raises:
            ValueError: no basket of two items.
        """
        found, _ = self.vectors(known)
        lengths = np.linalg.norm(found, axis=1, keepdims=True)
        return FittedItem2Vec(coarse(found / np.where(lengths > 0, lengths, 1.0)).astype(np.float32))

    def vectors(self, known: Interactions) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """(v, c) of the module, float64 [n_items, rank] each; zeros for an item that was in no basket of two.

        Raises:
            ValueError: no basket of two items.
        """
        item, first, size = baskets(known)
        if not len(item):
            raise ValueError(f"Item2Vec: no basket of two items in {len(known)} interactions")
        times = np.bincount(item, minlength=known.n_items)
        drawn = np.random.default_rng(self.seed)
        start = drawn.uniform(-0.5, 0.5, (known.n_items, self.rank)) / self.rank  # as word2vec's
        mine = _Rows(start * (times > 0)[:, None], self.learning_rate)
        theirs = _Rows(np.zeros_like(start), self.learning_rate)
        chance = np.cumsum(np.where(times > 0, times.astype(np.float64) ** self.smoothing, 0.0))
        for _ in range(self.epochs * self.contexts):
            away = 1 + np.floor(drawn.random(len(item)) * (size - 1)).astype(np.int64)
            context = item[first + (np.arange(len(item)) - first + away) % size]
            order = drawn.permutation(len(item))
            for begin in range(0, len(order), BATCH):
                pairs = order[begin : begin + BATCH]
                other = np.searchsorted(chance, drawn.random(SHARED) * chance[-1], side="right")
                self._step(mine, theirs, item[pairs], context[pairs], other)
        return mine.values, theirs.values

    def _step(
        self, mine: _Rows, theirs: _Rows, item: NDArray[np.int64], context: NDArray[np.int64], other: NDArray[np.int64]
    ) -> None:
        v, c, n = mine.values[item], theirs.values[context], theirs.values[other]
        short = _sigmoid(-(v * c).sum(axis=1))[:, None]
        over = self.negatives / len(other) * _sigmoid(v @ n.T)
        mine.step(item, over @ n - short * c)
        theirs.step(np.concatenate([context, other]), np.concatenate([-short * v, over.T @ v]))


@dataclass(frozen=True, eq=False)
class FittedItem2Vec:
    """Each item's vector, float32 [n_items, rank], of length 1 and `exact_products.coarse`; zeros: nothing is known."""

    item_vectors: NDArray[np.float32]
    keeps_users: ClassVar[bool] = False

    @property
    def n_items(self) -> int:
        """Items of the catalogue it was fitted on."""
        return len(self.item_vectors)

    def scores(self, users: Users) -> NDArray[np.float64]:
        """[users, n_items]: cosine of an item and the strength-weighted mean of the history's vectors, −1 to 1.

        −inf for items without a vector and for users without an item that has one. The history alone counts; entries
        of it that are not above 0 take no part.
        """
        vectors = self.item_vectors.astype(np.float64)
        found = product(self._mean(users.histories), vectors)
        known = (self.item_vectors != 0).any(axis=1)
        found[:, ~known] = -np.inf
        heard = _wanted(users.histories, self.n_items) @ known.astype(np.float64)
        found[heard == 0] = -np.inf
        return found

    def explain(self, history: Ragged, item: int) -> dict[int, float]:
        """strength · cosine of the two items / length of the summed history, for each item of it (one row) with a
        vector; they sum to the score up to 2^-40. Empty where the score is −inf."""
        mine = _wanted(history, self.n_items)
        vectors = self.item_vectors.astype(np.float64)
        length = float(np.linalg.norm(mine @ vectors))
        if not length or not vectors[item].any():
            return {}
        heard = vectors[mine.indices].any(axis=1)
        added = mine.data * (vectors[mine.indices] @ vectors[item]) / length
        return {int(i): float(a) for i, a in zip(mine.indices[heard], added[heard], strict=True)}

    def to_files(self) -> dict[str, bytes]:
        """One array and the method's name."""
        return {
            "model.json": json.dumps({"method": "item2vec"}).encode(),
            "arrays.npz": packed(item_vectors=self.item_vectors),
        }

    @classmethod
    def from_files(cls, files: Mapping[str, bytes]) -> FittedItem2Vec:
        """The model that `to_files` wrote."""
        return cls(unpacked(files["arrays.npz"])["item_vectors"].astype(np.float32))

    def _mean(self, histories: Ragged) -> NDArray[np.float64]:
        """The direction of each history, float64 [histories, rank]; zeros where there is none."""
        summed = np.asarray(_wanted(histories, self.n_items) @ self.item_vectors.astype(np.float64))
        lengths = np.sqrt((summed**2).sum(axis=1, keepdims=True))
        return np.asarray(summed / np.where(lengths > 0, lengths, 1.0))


def baskets(known: Interactions) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """What one user did on one day (floor of the age), as (item, place of the basket's first item, items in the
    basket), int64 [items of baskets] each; an item once a basket, baskets of one left out."""
    day = np.floor(known.age_days).astype(np.int64)
    user, day, item = np.unique(np.stack([known.user, day, known.item]), axis=1)
    new = np.append(True, (np.diff(user) != 0) | (np.diff(day) != 0))[: len(user)]
    size = np.bincount(np.cumsum(new) - 1)[np.cumsum(new) - 1] if len(user) else user
    kept = size > 1
    item, size, new = item[kept], size[kept], new[kept]
    return item, np.maximum.accumulate(np.where(new, np.arange(len(item)), 0)), size


class _Rows:
    """Vectors that take steps of Adagrad, only the rows that a step is about."""

    def __init__(self, values: NDArray[np.float64], learning_rate: float) -> None:
        self.values = values
        self._squares = np.zeros_like(values)
        self._rate = learning_rate

    def step(self, row: NDArray[np.int64], slope: NDArray[np.float64]) -> None:
        """Down the slopes, which are summed where a row is named several times."""
        order = np.argsort(row, kind="stable")
        sorted_rows = row[order]
        start = np.flatnonzero(np.append(True, np.diff(sorted_rows) != 0))
        found, summed = sorted_rows[start], np.add.reduceat(slope[order], start, axis=0)
        self._squares[found] += summed**2
        self.values[found] -= self._rate * summed / np.sqrt(self._squares[found] + 1e-12)


def _wanted(histories: Ragged, n_items: int) -> sparse.csr_matrix:
    """Strengths above 0, [histories, n_items]."""
    found = matrix_of(histories, n_items)
    found.data = np.maximum(found.data, 0.0)
    found.eliminate_zeros()
    return found


def _sigmoid(x: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(0.5 * (1.0 + np.tanh(0.5 * x)))
