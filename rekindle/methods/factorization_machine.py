"""A factorization machine (Rendle 2010, "Factorization Machines") that ranks: what a user did before and what an item
is are features, so an item nobody touched yet and a user nobody knew yet are scored by what is known of them.

With x the features of a (user, item) pair, w and v_f their weights and factors, equation 1 and its form in O(k·n),
lemma 3.1:

    ŷ(x) = w0 + Σ_f w_f x_f + Σ_{f<g} (v_f·v_g) x_f x_g
         = w0 + Σ_f w_f x_f + ½ ( |Σ_f x_f v_f|² − Σ_f x_f² |v_f|² )

The features of a user are the n items of his history, each 1/√n (as in SVD++: Koren 2008), and activity: one of
BUCKETS for log2 of n, and one for log2 of his active days where they are told. Those of an item are its number and
whatever is given of it (category, price band, words). Learnt is, as in BPR
(Rendle et al. 2009), that a user's next item i is above an item j drawn as often as it is an i:

    −ln σ(ŷ_i − ŷ_j) + λ/2 · Σ (|v_f|² + w_f²) over the features of the example

by Adagrad (Duchi et al. 2011) on batches; ln of an item's share of the draws is then added to its w, as bpr.py
explains. w0 and the weights of users' features cancel out of that difference, so they are 0; the pairs of two user
features cancel too, but stand in the score.

Each event is an example twice: with all other items of the user as his history, which says what goes together, and
with what he had before that day, which says what is done again. The item is never in the history of the first.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from rekindle.methods.exact_products import coarse, product
from rekindle.methods.interactions import Interactions, Users, matrix_of
from rekindle.methods.model_arrays import matrix_packed, matrix_unpacked, packed, unpacked
from rekindle.methods.ragged import Ragged

BUCKETS = 16  # of each kind of activity: 1, 2 to 3, 4 to 7, …, 32,768 and more
BATCH = 2048  # examples
START = 0.05  # standard deviation of factors before the first step
SESSIONS = 50  # of a user, the last of which are examples: what came before each is held, so memory needs a bound


@dataclass(frozen=True, eq=False)
class Weights:
    """What is learnt.

    Attributes:
        history: float64 [n_items, rank], factors of "this item is in the history".
        activity: float64 [2 · BUCKETS, rank], factors of items and then of active days.
        item: float64 [n_items + item features, rank], factors of the item's number and then of its features.
        linear: float64 [n_items + item features], w of the same.
    """

    history: NDArray[np.float64]
    activity: NDArray[np.float64]
    item: NDArray[np.float64]
    linear: NDArray[np.float64]

    def arrays(self) -> tuple[NDArray[np.float64], ...]:
        """All four, in the order of the attributes."""
        return self.history, self.activity, self.item, self.linear


@dataclass(frozen=True, eq=False)
class Examples:
    """What is to be above what, one row an example.

    Attributes:
        bags: float64 [histories, n_items], 1 where the history holds the item.
        activity: float64 [histories, 2 · BUCKETS], 1 in one bucket of each kind.
        row: int64 [examples], a row of bags.
        item: int64 [examples], the item that was chosen.
        without: float64 [examples], 1 where that item is in the bag and is to be taken out of it, else 0.
        weight: float64 [examples], 2^(−age / half-life).
    """

    bags: sparse.csr_matrix
    activity: sparse.csr_matrix
    row: NDArray[np.int64]
    item: NDArray[np.int64]
    without: NDArray[np.float64]
    weight: NDArray[np.float64]

    def of_rows(self, first: NDArray[np.int64], chosen: NDArray[np.int64]) -> Examples:
        """The examples of the chosen rows; `first` says where each row's examples begin (they are sorted by row)."""
        lengths = first[chosen + 1] - first[chosen]
        row = np.repeat(np.arange(len(chosen)), lengths)
        place = np.arange(len(row)) - np.repeat(np.cumsum(lengths) - lengths, lengths) + first[chosen][row]
        return Examples(
            self.bags[chosen], self.activity[chosen], row, self.item[place], self.without[place], self.weight[place]
        )


@dataclass(frozen=True, eq=False)
class FactorizationMachine:
    """The machine and its settings. Strengths do not take part: an item was chosen or not.

    Attributes:
        rank: length of a factor, 1 to 512.
        learning_rate: of Adagrad, above 0.
        regularisation: λ, 0 or more.
        epochs: passes over all examples, 1 or more.
        seed: of the start, the order and the draws, 0 or more.
        item_features: float [n_items, features], item n's features in row n, as `one_hot` makes them; None: none.

        half_life_days: how examples lose weight with age; None: not. Whether an item is in a history does not fade.

    Raises:
        ValueError: a setting out of its bounds.
    """

    rank: int
    learning_rate: float
    regularisation: float
    epochs: int
    seed: int
    item_features: sparse.csr_matrix | None = None
    half_life_days: float | None = None

    def __post_init__(self) -> None:
        if not 1 <= self.rank <= 512 or self.epochs < 1 or self.seed < 0:
            raise ValueError(
                f"FactorizationMachine: rank {self.rank}, epochs {self.epochs}, seed {self.seed};"
                " expected 1 to 512, 1 or more, 0 or more"
            )
        if not (0 < self.learning_rate < np.inf and 0 <= self.regularisation < np.inf):
            raise ValueError(
                f"FactorizationMachine: learning rate {self.learning_rate}, regularisation {self.regularisation};"
                " expected above 0, and 0 or more"
            )

    @property
    def name(self) -> str:
        """What tables and records call it."""
        return "factorization_machine"

    def fit(self, known: Interactions) -> FittedFactorizationMachine:
        """Weights and factors of features. The same interactions in any order give the same bytes.

        Raises:
            ValueError: nobody has two items, or features of another number of items.
        """
        features = _with_number(self.item_features, known.n_items)
        found = examples(known, self.half_life_days)
        if not len(found.item):
            raise ValueError(f"FactorizationMachine: no user with two items in {len(known)} interactions")
        share = np.bincount(found.item, weights=found.weight, minlength=known.n_items).astype(np.float64)
        chance = np.cumsum(share)
        drawn = np.random.default_rng(self.seed)
        weights = self._start(features, known.n_items, drawn)
        squares = [np.zeros(a.shape) for a in weights.arrays()]
        for batch in self._batches(found, drawn):
            other = np.searchsorted(chance, drawn.random(len(batch.item)) * chance[-1], side="right")
            slopes = gradient(weights, features, batch, other, self.regularisation).arrays()
            for array, slope, square in zip(weights.arrays(), slopes, squares, strict=True):
                square += slope**2
                array -= self.learning_rate * slope / np.sqrt(square + 1e-12)
        # What no example held is as it started: chance, not knowledge.
        unknown = np.flatnonzero(np.bincount(known.item, minlength=known.n_items) == 0)
        weights.history[unknown] = weights.item[unknown] = 0.0
        share = share / share.sum()
        weights.linear[: known.n_items] += np.log(np.maximum(share, share[share > 0].min()))
        known_items = share > 0
        if self.item_features is not None:
            known_items |= np.diff(self.item_features.indptr) > 0
        return FittedFactorizationMachine(weights, features, known_items)

    def _start(self, features: sparse.csr_matrix, n_items: int, drawn: np.random.Generator) -> Weights:
        shapes = ((n_items, self.rank), (2 * BUCKETS, self.rank), (features.shape[1], self.rank))
        history, activity, item = (START * drawn.standard_normal(shape) for shape in shapes)
        return Weights(history, activity, item, np.zeros(features.shape[1]))

    def _batches(self, found: Examples, drawn: np.random.Generator) -> Iterator[Examples]:
        """Every example once an epoch, those of a history together, histories in an order by chance."""
        rows = found.bags.shape[0]
        first = np.searchsorted(found.row, np.arange(rows + 1))
        for _ in range(self.epochs):
            order = drawn.permutation(rows)
            block = np.cumsum((first[1:] - first[:-1])[order]) // BATCH
            for chosen in np.split(order, np.flatnonzero(np.diff(block)) + 1):
                yield found.of_rows(first, chosen)


def examples(known: Interactions, half_life_days: float | None) -> Examples:
    """The examples of the module's last paragraph, sorted by history; in the order of users, not of rows."""
    whole = known.matrix()
    whole.data = np.ones(whole.nnz)
    past = known.past()
    size = np.diff(whole.indptr)
    user = np.repeat(np.arange(known.n_users), size)
    several = size[user] > 1
    days = _buckets(size, past.active_days)

    # A user's sessions (days), the oldest first; what is in a session's bag is older than it.
    day = np.floor(known.age_days).astype(np.int64)
    events = np.unique(np.stack([known.user, -day, known.item]), axis=1)
    new = np.concatenate([[True], (np.diff(events[0]) != 0) | (np.diff(events[1]) != 0)])
    session = np.cumsum(new) - 1
    owner = events[0][new]
    sessions = np.bincount(owner, minlength=known.n_users)
    place = np.arange(len(owner)) - np.searchsorted(owner, np.arange(known.n_users))[owner]
    asked = (place > 0) & (place >= sessions[owner] - SESSIONS)
    # [sessions, sessions]: 1 where the second is of the same user and earlier.
    asked_place, asked_at = place[asked], np.flatnonzero(asked)
    row = np.repeat(np.arange(len(asked_at)), asked_place)
    column = np.arange(len(row)) - np.repeat(np.cumsum(asked_place) - asked_place, asked_place)
    column += np.repeat(asked_at - asked_place, asked_place)
    earlier = sparse.csr_matrix((np.ones(len(row)), (row, column)), shape=(len(asked_at), len(owner)))
    held = sparse.csr_matrix((np.ones(len(session)), (session, events[2])), shape=(len(owner), known.n_items))
    before = (earlier @ held).tocsr()
    before.sort_indices()
    before.data = np.ones(before.nnz)
    numbered = np.full(len(owner), -1)
    numbered[asked_at] = np.arange(len(asked_at))
    inside = asked[session]
    ages = np.concatenate([past.last_days[several], -events[1][inside].astype(np.float64)])
    return Examples(
        sparse.vstack([whole, before], format="csr"),
        sparse.vstack([days, _buckets(np.diff(before.indptr), asked_place.astype(np.float64))], format="csr"),
        np.concatenate([user[several], known.n_users + numbered[session[inside]]]),
        np.concatenate([whole.indices[several].astype(np.int64), events[2][inside]]),
        np.concatenate([np.ones(int(several.sum())), np.zeros(int(inside.sum()))]),
        np.ones(len(ages)) if half_life_days is None else np.exp2(-ages / half_life_days),
    )


def gradient(
    weights: Weights, features: sparse.csr_matrix, batch: Examples, other: NDArray[np.int64], regularisation: float
) -> Weights:
    """The slope of `loss` by each weight."""
    mine, scale, theirs, _ = _parts(weights, features, batch)
    apart = theirs[batch.item] - theirs[other]
    pull = -batch.weight * _sigmoid(-_margins(weights, features, batch, other))
    n_items, count = len(theirs), len(other)
    of_row = sparse.csc_matrix((np.ones(count), batch.row, np.arange(count + 1)), shape=(batch.bags.shape[0], count))
    both = np.stack([batch.item, other], axis=1).ravel()
    signs = np.stack([pull, -pull], axis=1).ravel()
    edges = np.arange(0, 2 * count + 1, 2)
    signed = sparse.csc_matrix((signs, both, edges), shape=(n_items, count))
    times = np.bincount(both, minlength=n_items).astype(np.float64)
    taken = sparse.csc_matrix((batch.without, batch.item, np.arange(count + 1)), shape=(n_items, count))

    on_user = pull[:, None] * apart
    on_bag = scale[:, None] * on_user
    history = batch.bags.T @ (of_row @ on_bag) - taken @ on_bag
    seen = np.bincount(batch.row, minlength=batch.bags.shape[0]).astype(np.float64)
    history += regularisation * (batch.bags.T @ seen - taken @ np.ones(count))[:, None] * weights.history
    activity = batch.activity.T @ (of_row @ on_user)
    activity += regularisation * (batch.activity.T @ seen)[:, None] * weights.activity

    on_linear = signed @ np.ones(count)
    on_item = signed @ mine + on_linear[:, None] * theirs
    present = _ones(features)
    often = present.T @ times
    item = features.T @ on_item - (features.power(2).T @ on_linear)[:, None] * weights.item
    item += regularisation * often[:, None] * weights.item
    linear = features.T @ on_linear + regularisation * often * weights.linear
    return Weights(history, activity, item, linear)


def loss(
    weights: Weights, features: sparse.csr_matrix, batch: Examples, other: NDArray[np.int64], regularisation: float
) -> float:
    """The module's loss, summed over the batch; `other` int64 [examples] are the items drawn."""
    margin = _margins(weights, features, batch, other)
    often = np.bincount(np.concatenate([batch.item, other]), minlength=features.shape[0]) @ _ones(features)
    seen = np.bincount(batch.row, minlength=batch.bags.shape[0])
    bags = batch.bags.T @ seen - np.bincount(batch.item, weights=batch.without, minlength=features.shape[0])
    size = float(
        bags @ (weights.history**2).sum(axis=1) + (batch.activity.T @ seen) @ (weights.activity**2).sum(axis=1)
    )
    size += float(often @ ((weights.item**2).sum(axis=1) + weights.linear**2))
    return float(batch.weight @ np.logaddexp(0.0, -margin)) + regularisation / 2 * size


def _parts(
    weights: Weights, features: sparse.csr_matrix, batch: Examples
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """(Σ x v of each example's user features, its 1/√n, Σ x v of every item's features, every item's own terms)."""
    size = np.diff(batch.bags.indptr)[batch.row] - batch.without
    scale = 1.0 / np.sqrt(np.maximum(size, 1.0))
    bags, activity = batch.bags @ weights.history, batch.activity @ weights.activity
    mine = scale[:, None] * (bags[batch.row] - batch.without[:, None] * weights.history[batch.item])
    mine += activity[batch.row]
    theirs, own = _of_items(weights, features)
    return mine, scale, theirs, own


def _of_items(weights: Weights, features: sparse.csr_matrix) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    theirs = features @ weights.item
    own = features @ weights.linear + ((theirs**2).sum(axis=1) - features.power(2) @ (weights.item**2).sum(axis=1)) / 2
    return theirs, own


def _margins(
    weights: Weights, features: sparse.csr_matrix, batch: Examples, other: NDArray[np.int64]
) -> NDArray[np.float64]:
    """ŷ of the chosen item less that of the drawn one."""
    mine, _, theirs, own = _parts(weights, features, batch)
    apart = theirs[batch.item] - theirs[other]
    return np.asarray(own[batch.item] - own[other] + (mine * apart).sum(axis=1))


def _buckets(items: NDArray[np.integer], days: NDArray[np.float64]) -> sparse.csr_matrix:
    """Activity, [histories, 2 · BUCKETS]; no entry where a number is below 1 (nothing known)."""
    numbers = np.stack([items.astype(np.float64), days], axis=1)
    told = numbers >= 1
    bucket = np.minimum(np.log2(np.where(told, numbers, 1.0)).astype(np.int64), BUCKETS - 1) + np.array([0, BUCKETS])
    row = np.nonzero(told)[0]
    return sparse.csr_matrix((np.ones(len(row)), (row, bucket[told])), shape=(len(items), 2 * BUCKETS))


def _with_number(features: sparse.csr_matrix | None, n_items: int) -> sparse.csr_matrix:
    numbers = sparse.identity(n_items, format="csr")
    if features is None:
        return numbers
    if features.shape[0] != n_items:
        raise ValueError(f"FactorizationMachine: features of {features.shape[0]} items for {n_items} items")
    return sparse.hstack([numbers, features], format="csr").astype(np.float64)


def _ones(matrix: sparse.csr_matrix) -> sparse.csr_matrix:
    return sparse.csr_matrix((np.ones(matrix.nnz), matrix.indices, matrix.indptr), shape=matrix.shape)


def _sigmoid(x: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(0.5 * (1.0 + np.tanh(0.5 * x)))


@dataclass(frozen=True, eq=False)
class FittedFactorizationMachine:
    """What was learnt, of features alone: no user is in it.

    Attributes:
        weights: w and v of the module.
        features: float64 [n_items, n_items + item features], each item's number and features.
        known: bool [n_items], items with an interaction or a feature given.
    """

    weights: Weights
    features: sparse.csr_matrix
    known: NDArray[np.bool_]
    keeps_users: ClassVar[bool] = False

    @property
    def n_items(self) -> int:
        """Items of the catalogue it was fitted on."""
        return len(self.weights.history)

    def scores(self, users: Users) -> NDArray[np.float64]:
        """[users, n_items]: equation 1, w0 = 0; −inf for an item of which nothing is known and for a user whose
        history has no strength above 0. The factors enter rounded as `exact_products` says."""
        bags = matrix_of(users.histories, self.n_items)
        bags.data = (bags.data > 0).astype(np.float64)
        bags.eliminate_zeros()
        size = np.diff(bags.indptr)
        activity = _buckets(size, np.zeros(len(users)) if users.past is None else users.past.active_days)
        scale = 1.0 / np.sqrt(np.maximum(size, 1))[:, None]
        mine = scale * (bags @ self.weights.history) + activity @ self.weights.activity
        squares = scale[:, 0] ** 2 * (bags @ (self.weights.history**2).sum(axis=1))
        squares += activity @ (self.weights.activity**2).sum(axis=1)
        theirs, own = _of_items(self.weights, self.features)
        found = product(mine, coarse(theirs)) + own + (((mine**2).sum(axis=1) - squares) / 2)[:, None]
        found[:, ~self.known] = -np.inf
        found[size == 0] = -np.inf
        return np.asarray(found)

    def explain(self, history: Ragged, item: int) -> dict[int, float]:
        """Empty: a score holds terms of the item alone, so the history's parts do not sum to it."""
        return {}

    def to_files(self) -> dict[str, bytes]:
        """Weights and the items' features."""
        w = self.weights
        arrays = packed(history=w.history, activity=w.activity, item=w.item, linear=w.linear, known=self.known)
        return {
            "model.json": json.dumps({"method": "factorization_machine"}).encode(),
            "arrays.npz": arrays,
            "features.npz": matrix_packed(self.features),
        }

    @classmethod
    def from_files(cls, files: Mapping[str, bytes]) -> FittedFactorizationMachine:
        """The model that `to_files` wrote."""
        found = unpacked(files["arrays.npz"])
        weights = Weights(*(found[n].astype(np.float64) for n in ("history", "activity", "item", "linear")))
        return cls(weights, matrix_unpacked(files["features.npz"]), found["known"].astype(bool))
