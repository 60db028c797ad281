"""Neighbourhoods: items that the same users want are alike, and so are users who want the same items.

Items: Sarwar et al. 2001, "Item-based collaborative filtering recommendation algorithms". With r the strengths, an item
(or, for users, a user) is a document and those who want it (or what they want) its terms; document a's weights w_a are

    cosine   r, divided by the document's l2 norm
    tfidf    √r · idf, divided by the document's l2 norm
    bm25     idf · r(K1 + 1) / (r + K1(1 − B + B · length / mean length)), length = Σ r of the document (Robertson)
    jaccard  1

with idf = log((1 + documents) / (1 + documents with the term)) + 1, so that whoever wants everything says little.
Similarity is w_a · w_b; for jaccard, common / union (the similarity of SAR, Microsoft's Recommenders). A shrinkage s
takes it down to sim · c / (c + s), c the number of common terms, so that one user in common proves little.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar, Literal, get_args

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from rekindle.methods.interactions import Interactions, Users, matrix_of
from rekindle.methods.model_arrays import matrix_packed, matrix_unpacked
from rekindle.methods.ragged import Ragged

Weighting = Literal["cosine", "tfidf", "bm25", "jaccard"]
SIMILARITY_CELLS = 2_000_000  # similarities held at a time; with what sorting takes 80 bytes each were measured: 160 MB
K1, B = 1.2, 0.75  # the usual values of BM25
FADED = 1e-100  # what has decayed below this takes no part: its square would underflow


@dataclass(frozen=True)
class _Neighbourhood:
    """Settings that both methods share.

    Attributes:
        neighbours: how many of the most similar are kept, 1 or more; of equals the lower index.
        weighting: see the module.
        shrinkage: s of the module, in common terms, 0 or more.
        half_life_days: how interactions fade before they are compared; None: not. Jaccard asks only who wanted what,
            so there it changes nothing among items.

    Raises:
        ValueError: a setting out of its bounds; the message says which.
    """

    neighbours: int
    weighting: Weighting
    shrinkage: float = 0.0
    half_life_days: float | None = None

    def __post_init__(self) -> None:
        what = type(self).__name__
        if self.neighbours < 1:
            raise ValueError(f"{what}: {self.neighbours} neighbours, expected 1 or more")
        if self.weighting not in get_args(Weighting):
            raise ValueError(f"{what}: weighting {self.weighting!r}, expected one of {', '.join(get_args(Weighting))}")
        if not (np.isfinite(self.shrinkage) and self.shrinkage >= 0):
            raise ValueError(f"{what}: shrinkage {self.shrinkage}, expected 0 or more")
        if self.half_life_days is not None and not self.half_life_days > 0:
            raise ValueError(f"{what}: half-life {self.half_life_days} days, expected above 0")

    def _strengths(self, known: Interactions) -> sparse.csr_matrix:
        """float64 [n_users, n_items], without what has faded."""
        found = _unfaded(known.matrix(self.half_life_days))
        if not found.nnz:
            raise ValueError(f"{type(self).__name__}: nothing to learn from in {len(known)} interactions")
        return found


class ItemNeighbours(_Neighbourhood):
    """Items like those in the history; an item is not its own neighbour (bought again is another method's task).

    The neighbours kept are those of the item that is offered, not those of the item in the history (Deshpande and
    Karypis 2004): on MovieLens-100k NDCG@10 was 0.445 against 0.432 (bm25, 300 neighbours, histories of ones).
    """

    @property
    def name(self) -> str:
        """What tables and records call it."""
        return "item_neighbours"

    def fit(self, known: Interactions) -> FittedItemNeighbours:
        """Each item's neighbours. Memory: the interactions, neighbours · n_items, and SIMILARITY_CELLS.

        Raises:
            ValueError: no interactions, or all have faded.
        """
        items = _Documents(self._strengths(known).T.tocsr(), self.weighting)
        itself = np.arange(known.n_items, dtype=np.int64)
        of_offered = items.nearest(items.strengths, itself, self.neighbours, self.shrinkage)
        return FittedItemNeighbours(of_offered.T.tocsr())


@dataclass(frozen=True, eq=False)
class FittedItemNeighbours:
    """How alike the items are.

    Attributes:
        similarity: float64 [n_items of the history, n_items offered], above 0 where stored: column n holds the
            neighbours of item n.
    """

    similarity: sparse.csr_matrix
    keeps_users: ClassVar[bool] = False

    @property
    def n_items(self) -> int:
        """Items of the catalogue it was fitted on."""
        return int(self.similarity.shape[0])

    def scores(self, users: Users) -> NDArray[np.float64]:
        """[users, n_items]: Σ strength · similarity over the history (1 where it has no strengths); −inf where 0.

        The history alone counts: a user unknown when it was fitted is served as a known one with that history.
        """
        return _or_nothing(matrix_of(users.histories, self.n_items) @ self.similarity)

    def explain(self, history: Ragged, item: int) -> dict[int, float]:
        """strength · similarity of each item of the history (one row) that is a neighbour of this one."""
        mine = matrix_of(history, self.n_items)
        if not mine.nnz:
            return {}
        likeness = np.asarray(self.similarity[mine.indices, np.full(mine.nnz, item)]).ravel()
        added = mine.data * likeness
        return {int(mine.indices[n]): float(added[n]) for n in np.flatnonzero(added)}

    def to_files(self) -> dict[str, bytes]:
        """The similarities' three arrays."""
        return {
            "model.json": json.dumps({"method": "item_neighbours"}).encode(),
            "similarity.npz": matrix_packed(self.similarity),
        }

    @classmethod
    def from_files(cls, files: Mapping[str, bytes]) -> FittedItemNeighbours:
        """The model that `to_files` wrote."""
        return cls(matrix_unpacked(files["similarity.npz"]))


class UserNeighbours(_Neighbourhood):
    """What the users with the most similar histories wanted (Herlocker et al. 1999, without ratings)."""

    @property
    def name(self) -> str:
        """What tables and records call it."""
        return "user_neighbours"

    def fit(self, known: Interactions) -> FittedUserNeighbours:
        """The interactions themselves: neighbours are looked for when a user is served.

        Raises:
            ValueError: no interactions, or all have faded.
        """
        return FittedUserNeighbours(self._strengths(known), self.neighbours, self.weighting, self.shrinkage)


@dataclass(frozen=True, eq=False)
class FittedUserNeighbours:
    """All users' strengths, float64 [n_users, n_items], and how to compare with them."""

    strengths: sparse.csr_matrix
    neighbours: int
    weighting: Weighting
    shrinkage: float
    keeps_users: ClassVar[bool] = True

    @property
    def n_items(self) -> int:
        """Items of the catalogue it was fitted on."""
        return int(self.strengths.shape[1])

    @cached_property
    def _users(self) -> _Documents:
        return _Documents(self.strengths, self.weighting)

    def scores(self, users: Users) -> NDArray[np.float64]:
        """[users, n_items]: Σ similarity · strength over the most similar users; −inf where 0.

        A known user (index ≥ 0) is not its own neighbour. Entries of a history that are not above 0 take no part.
        """
        mine = _unfaded(matrix_of(users.histories, self.n_items))
        near = self._users.nearest(mine, users.index, self.neighbours, self.shrinkage)
        return _or_nothing(near @ self.strengths)

    def explain(self, history: Ragged, item: int) -> dict[int, float]:
        """Empty: a history does not say whose it is, and so not which user is no neighbour."""
        return {}

    def to_files(self) -> dict[str, bytes]:
        """The strengths' three arrays and the settings."""
        settings = {"neighbours": self.neighbours, "weighting": self.weighting, "shrinkage": self.shrinkage}
        return {
            "model.json": json.dumps({"method": "user_neighbours", **settings}).encode(),
            "strengths.npz": matrix_packed(self.strengths),
        }

    @classmethod
    def from_files(cls, files: Mapping[str, bytes]) -> FittedUserNeighbours:
        """The model that `to_files` wrote."""
        settings = json.loads(files["model.json"])
        return cls(
            matrix_unpacked(files["strengths.npz"]),
            int(settings["neighbours"]),
            settings["weighting"],
            float(settings["shrinkage"]),
        )


class _Documents:
    """Those that can be neighbours, prepared for comparison.

    Attributes:
        strengths: float64 [documents, terms], above 0 where stored.
    """

    def __init__(self, strengths: sparse.csr_matrix, weighting: Weighting) -> None:
        count = strengths.shape[0]
        self.strengths = strengths
        self.weighting = weighting
        self.sizes = np.diff(strengths.indptr)
        with_term = np.bincount(strengths.indices, minlength=strengths.shape[1])
        self.idf = np.log((1 + count) / (1 + with_term)) + 1.0
        self.mean_length = strengths.data.sum() / max(1, int((self.sizes > 0).sum()))
        self.by_term = self.weighted(strengths).T.tocsr()
        self.ones_by_term = _ones(self.by_term)

    def weighted(self, strengths: sparse.csr_matrix) -> sparse.csr_matrix:
        """Weights of documents (these or others over the same terms), as the module defines them; the same cells."""
        value, term, lengths = strengths.data, strengths.indices, np.diff(strengths.indptr)
        row = np.repeat(np.arange(strengths.shape[0]), lengths)
        if self.weighting == "jaccard":
            value = np.ones(len(value))
        elif self.weighting == "bm25":
            length = np.bincount(row, weights=value, minlength=strengths.shape[0]) / self.mean_length
            value = self.idf[term] * value * (K1 + 1) / (value + K1 * (1 - B + B * length[row]))
        else:
            value = np.sqrt(value) * self.idf[term] if self.weighting == "tfidf" else value
            value = value / np.sqrt(np.bincount(row, weights=value**2, minlength=strengths.shape[0]))[row]
        return _like(strengths, value)

    def nearest(
        self, strengths: sparse.csr_matrix, own: NDArray[np.int64], keep: int, shrinkage: float
    ) -> sparse.csr_matrix:
        """Similarities float64 [rows, documents] of the `keep` nearest documents of each row of `strengths`, sorted.

        Document own[row] is the row itself and no neighbour of it; −1: the row is none of the documents.
        At most SIMILARITY_CELLS similarities are held at a time, or one row's if those are more.
        """
        weighted, counts, sizes = self.weighted(strengths), _ones(strengths), np.diff(strengths.indptr)
        cells = np.minimum(counts @ np.diff(self.by_term.indptr), len(self.sizes))
        found = [sparse.csr_matrix((0, len(self.sizes)))]
        for start, stop in _blocks(cells, SIMILARITY_CELLS):
            block = weighted[start:stop] @ self.by_term
            block.sort_indices()
            if self.weighting == "jaccard" or shrinkage > 0:
                # Both products hold the same cells, zeros included: scipy stores whatever met.
                common = counts[start:stop] @ self.ones_by_term
                common.sort_indices()
                if self.weighting == "jaccard":
                    here = np.repeat(sizes[start:stop], np.diff(block.indptr))
                    block.data = common.data / (here + self.sizes[block.indices] - common.data)
                block.data = block.data * (common.data / (common.data + shrinkage))
            found.append(_highest(block, own[start:stop], keep))
        return sparse.vstack(found, format="csr")


def _highest(values: sparse.csr_matrix, own: NDArray[np.int64], keep: int) -> sparse.csr_matrix:
    """The `keep` highest entries above 0 of every row (columns sorted), `own` columns left out; the lower column of
    equals."""
    row = np.repeat(np.arange(values.shape[0]), np.diff(values.indptr))
    wanted = (values.data > 0) & (values.indices != own[row])
    row, column, value = row[wanted], values.indices[wanted], values.data[wanted]
    order = np.lexsort((-value, row))  # stable, and columns ascend: so equals stay in their order
    place = np.arange(len(row)) - np.searchsorted(row, np.arange(values.shape[0]))[row]
    chosen = order[place < keep]
    found = sparse.csr_matrix((value[chosen], (row[chosen], column[chosen])), shape=values.shape)
    found.sort_indices()
    return found


def _blocks(cells: NDArray[np.float64], most: int) -> Iterator[tuple[int, int]]:
    """Neighbouring rows (start in, stop out) that hold `most` cells together, or one row that holds more."""
    total = np.concatenate([[0.0], np.cumsum(cells)])
    start = 0
    while start < len(cells):
        stop = max(start + 1, int(np.searchsorted(total, total[start] + most, side="right")) - 1)
        yield start, stop
        start = stop


def _unfaded(strengths: sparse.csr_matrix) -> sparse.csr_matrix:
    found = _like(strengths, np.where(strengths.data > FADED, strengths.data, 0.0))
    found.eliminate_zeros()
    return found


def _like(matrix: sparse.csr_matrix, values: NDArray[np.float64]) -> sparse.csr_matrix:
    """The same cells with other values, as a matrix that shares nothing that is ever changed in place."""
    return sparse.csr_matrix((values, matrix.indices.copy(), matrix.indptr.copy()), shape=matrix.shape)


def _ones(matrix: sparse.csr_matrix) -> sparse.csr_matrix:
    return _like(matrix, np.ones(matrix.nnz))


def _or_nothing(scores: sparse.csr_matrix) -> NDArray[np.float64]:
    """Dense, −inf where nothing met."""
    dense: NDArray[np.float64] = scores.toarray()
    dense[dense == 0] = -np.inf
    return dense
