"""Session neighbours (Jannach and Ludewig 2017, "When recurrent neural networks meet the neighborhood for
session-based recommendation"): what else was in visits like this one.

A session is the distinct items of one user on one day; days are counted back from the instant as of which the
interactions are known. The session of a user to be served is his history. Candidates are the `sample` most recent
sessions with an item in common, the neighbours those with the highest cosine |s ∩ n| / √(|s|·|n|), and an item's
score is the sum of the similarities of the neighbours that hold it.

Only the `sample` most recent sessions of each item are kept (Kersbergen et al. 2022, "Serenade"): a session beyond them
in every item of its own is never among the `sample` most recent with an item in common, so no score changes.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from rekindle.methods.interactions import Interactions, Users, matrix_of
from rekindle.methods.model_arrays import packed, unpacked
from rekindle.methods.ragged import Ragged

CELLS = 2_000_000  # (user, candidate session) pairs held at a time, about 60 bytes each: 120 MB


@dataclass(frozen=True)
class SessionNeighbours:
    """Session neighbours and their settings. Strengths do not take part: an item was in a session or not.

    Attributes:
        neighbours: how many of the most similar sessions are summed, 1 or more.
        sample: how many of the most recent candidates are compared, 1 or more.

    Raises:
        ValueError: a setting out of its bounds.
    """

    neighbours: int
    sample: int

    def __post_init__(self) -> None:
        if self.neighbours < 1 or self.sample < 1:
            raise ValueError(f"SessionNeighbours: {self.neighbours} of {self.sample} sessions, expected 1 or more")

    @property
    def name(self) -> str:
        """What tables and records call it."""
        return "session_neighbours"

    def fit(self, known: Interactions) -> FittedSessionNeighbours:
        """Sort the sessions by recency and keep those that can be candidates.

        A session is as recent as its last event; of equals the one of the lower user index counts as more recent.

        Raises:
            ValueError: no interactions.
        """
        if not len(known):
            raise ValueError("SessionNeighbours: no interactions")
        day = np.floor(known.age_days)
        order = np.lexsort((known.age_days, day, known.user))
        user, age, day = known.user[order], known.age_days[order], day[order]
        first = np.concatenate([[True], (user[1:] != user[:-1]) | (day[1:] != day[:-1])])
        session = np.cumsum(first) - 1
        place = np.empty(int(session[-1]) + 1, dtype=np.int64)
        place[np.lexsort((user[first], age[first]))] = np.arange(len(place))
        sessions = _ones(place[session], known.item[order], (len(place), known.n_items))
        by_item = _first_of_row(sessions.T.tocsr(), self.sample)
        kept = np.unique(by_item.indices)
        return FittedSessionNeighbours(sessions[kept], self.neighbours, self.sample)


@dataclass(frozen=True, eq=False)
class FittedSessionNeighbours:
    """The sessions.

    Attributes:
        sessions: float64 [sessions, n_items], the most recent first; 1 where the session holds the item.
        neighbours, sample: as `SessionNeighbours`.
    """

    sessions: sparse.csr_matrix
    neighbours: int
    sample: int
    keeps_users: ClassVar[bool] = True

    @property
    def n_items(self) -> int:
        """Items of the catalogue it was fitted on."""
        return int(self.sessions.shape[1])

    @cached_property
    def _by_item(self) -> sparse.csr_matrix:
        """[n_items, sessions], the `sample` most recent of each item."""
        return _first_of_row(self.sessions.T.tocsr(), self.sample)

    def scores(self, users: Users) -> NDArray[np.float64]:
        """[users, n_items]: Σ similarity of the neighbours that hold the item; −inf where none does.

        The history alone counts: a user's own past sessions are neighbours like any other, so that what explains a
        score needs no more than the history. Entries of a history that are not above 0 take no part.

        Raises:
            ValueError: an item beyond the catalogue.
        """
        found = np.full((len(users), self.n_items), -np.inf)
        for start, stop, near in self._near(users.histories):
            scores = (near @ self.sessions).toarray()
            found[start:stop] = np.where(scores > 0, scores, -np.inf)
        return found

    def explain(self, history: Ragged, item: int) -> dict[int, float]:
        """What each item of the history (one row) adds: 1 / √(|s|·|n|) for each neighbour n that holds both it and
        the item. They sum to the score."""
        mine = _session(history, self.n_items).indices
        added: dict[int, float] = {}
        for _, _, near in self._near(history):
            theirs = self.sessions[near.indices]
            theirs = theirs[theirs[:, [item]].toarray().ravel() > 0]
            each = 1.0 / np.sqrt(len(mine) * np.diff(theirs.indptr))
            total = theirs.T @ each
            added |= {int(i): float(total[i]) for i in mine if total[i] > 0}
        return added

    def to_files(self) -> dict[str, bytes]:
        """The sessions as two arrays, and the settings."""
        settings = {"neighbours": self.neighbours, "sample": self.sample, "n_items": self.n_items}
        return {
            "model.json": json.dumps({"method": "session_neighbours", **settings}, sort_keys=True).encode(),
            "arrays.npz": packed(
                offsets=self.sessions.indptr.astype(np.int64), items=self.sessions.indices.astype(np.int64)
            ),
        }

    @classmethod
    def from_files(cls, files: Mapping[str, bytes]) -> FittedSessionNeighbours:
        """The model that `to_files` wrote."""
        settings, found = json.loads(files["model.json"]), unpacked(files["arrays.npz"])
        rows = Ragged(found["offsets"].astype(np.int64), found["items"].astype(np.int64))
        return cls(matrix_of(rows, int(settings["n_items"])), int(settings["neighbours"]), int(settings["sample"]))

    def _near(self, histories: Ragged) -> Iterator[tuple[int, int, sparse.csr_matrix]]:
        """(start, stop, similarities of their neighbours float64 [stop − start, sessions]) over blocks of users."""
        mine = _session(histories, self.n_items)
        candidates = mine @ np.diff(self._by_item.indptr)
        block = np.cumsum(np.minimum(candidates, self.sessions.shape[0])) // CELLS
        edges = np.append(np.flatnonzero(np.diff(block, prepend=-1)), len(block))
        sizes, lengths = np.diff(self.sessions.indptr), np.diff(mine.indptr)
        for start, stop in pairwise(edges.tolist()):
            common = mine[start:stop] @ self._by_item
            # A candidate's common items all count, though lists of sessions are cut: it is among the `sample` most
            # recent of the union, and so of each item's list that it is in.
            common = _first_of_row(common, self.sample)
            row = np.repeat(np.arange(start, stop), np.diff(common.indptr))
            common.data = common.data / np.sqrt(lengths[row] * sizes[common.indices])
            yield start, stop, _highest_of_row(common, self.neighbours)


def _session(histories: Ragged, n_items: int) -> sparse.csr_matrix:
    """The items of each history with a strength above 0 (or without strengths), as ones."""
    if histories.items.max(initial=-1) >= n_items:
        raise ValueError(f"SessionNeighbours: item {histories.items.max()} in a history, expected 0 to {n_items - 1}")
    wanted = np.ones(len(histories.items), dtype=bool) if histories.values is None else histories.values > 0
    return _ones(histories.rows()[wanted], histories.items[wanted], (len(histories), n_items))


def _ones(row: NDArray[np.int64], column: NDArray[np.int64], shape: tuple[int, int]) -> sparse.csr_matrix:
    """1 in each of these cells, however often it is named; columns sorted."""
    found = sparse.coo_matrix((np.ones(len(row)), (row, column)), shape=shape).tocsr()
    found.sum_duplicates()
    found.data = np.ones(found.nnz)
    return found


def _first_of_row(values: sparse.csr_matrix, keep: int) -> sparse.csr_matrix:
    """The first `keep` stored entries of every row, columns ascending."""
    values.sort_indices()
    lengths = np.diff(values.indptr)
    place = np.arange(values.nnz) - np.repeat(values.indptr[:-1], lengths)
    inside = place < keep
    offsets = np.concatenate([[0], np.cumsum(np.minimum(lengths, keep))])
    return sparse.csr_matrix((values.data[inside], values.indices[inside], offsets), shape=values.shape)


def _highest_of_row(values: sparse.csr_matrix, keep: int) -> sparse.csr_matrix:
    """The `keep` highest stored entries of every row (columns sorted); of equals the lower column."""
    row = np.repeat(np.arange(values.shape[0]), np.diff(values.indptr))
    order = np.lexsort((-values.data, row))  # stable: equals stay in the order of columns
    place = np.arange(len(row)) - values.indptr[:-1][row]  # rows keep their lengths, so places are found anew
    chosen = np.sort(order[place < keep])
    return sparse.csr_matrix((values.data[chosen], (row[chosen], values.indices[chosen])), shape=values.shape)
