"""Items whose texts are like those in the history: the only method that knows an item nobody has touched yet.

TF-IDF (Salton and Buckley 1988): a word's count · idf, idf = log((1 + n) / (1 + items with the word)) + 1 over the n
items that have a text, each item's vector divided by its l2 norm.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from rekindle.methods.interactions import Interactions, Users, matrix_of
from rekindle.methods.model_arrays import matrix_packed, matrix_unpacked
from rekindle.methods.ragged import Ragged, offsets_of
from rekindle.methods.words import words


@dataclass(frozen=True, eq=False)
class Content:
    """What reads like the history.

    Attributes:
        texts: title and category of each item of the catalogue, item n's at n; "" where there is none.
    """

    texts: Sequence[str]

    @property
    def name(self) -> str:
        """What tables and records call it."""
        return "content"

    def fit(self, known: Interactions) -> FittedContent:
        """Each item's vector. Of the interactions only the size of the catalogue takes part: texts need no buyers.

        Raises:
            ValueError: another number of texts than items, or no text holds a word.
        """
        if len(self.texts) != known.n_items:
            raise ValueError(f"Content: {len(self.texts)} texts for {known.n_items} items")
        counted = [Counter(words(text)) for text in self.texts]
        place = {word: n for n, word in enumerate(sorted(set().union(*counted)))}
        if not place:
            raise ValueError(f"Content: none of {len(self.texts)} texts holds a word")
        entries = [sorted((place[word], times) for word, times in found.items()) for found in counted]
        lengths = np.array([len(row) for row in entries], dtype=np.int64)
        word = np.array([word for row in entries for word, _ in row], dtype=np.int64)
        times = np.array([times for row in entries for _, times in row], dtype=np.float64)
        idf = np.log((1 + (lengths > 0).sum()) / (1 + np.bincount(word, minlength=len(place)))) + 1.0
        vectors = sparse.csr_matrix((times * idf[word], word, offsets_of(lengths)), shape=(len(counted), len(place)))
        return FittedContent(_divided(vectors, _norms(vectors)))


@dataclass(frozen=True, eq=False)
class FittedContent:
    """Each item's vector, float64 [n_items, words], of length 1; an empty row has no text."""

    vectors: sparse.csr_matrix
    keeps_users: ClassVar[bool] = False

    @property
    def n_items(self) -> int:
        """Items of the catalogue it was fitted on."""
        return int(self.vectors.shape[0])

    @cached_property
    def _by_word(self) -> sparse.csr_matrix:
        return self.vectors.T.tocsr()

    def scores(self, users: Users) -> NDArray[np.float64]:
        """[users, n_items]: cosine of an item and the strength-weighted mean of the history's vectors, −1 to 1.

        −inf for an item without text, without a word in common with the history, and for a user without a history
        that has a text.
        """
        profile = matrix_of(users.histories, self.n_items) @ self.vectors
        dense: NDArray[np.float64] = (_divided(profile, _norms(profile)) @ self._by_word).toarray()
        dense[dense == 0] = -np.inf
        return dense

    def explain(self, history: Ragged, item: int) -> dict[int, float]:
        """strength · cosine of the two items / length of the summed history, of each item of it (one row) that shares
        a word with this one."""
        mine = matrix_of(history, self.n_items)
        length = float(_norms(mine @ self.vectors)[0])
        if not length:
            return {}
        likeness = (self.vectors[mine.indices] @ self.vectors[[item]].T).toarray().ravel()
        added = mine.data * likeness / length
        return {int(mine.indices[n]): float(added[n]) for n in np.flatnonzero(added)}

    def to_files(self) -> dict[str, bytes]:
        """The vectors' three arrays."""
        return {
            "model.json": json.dumps({"method": "content"}).encode(),
            "vectors.npz": matrix_packed(self.vectors),
        }

    @classmethod
    def from_files(cls, files: Mapping[str, bytes]) -> FittedContent:
        """The model that `to_files` wrote."""
        return cls(matrix_unpacked(files["vectors.npz"]))


def _norms(rows: sparse.csr_matrix) -> NDArray[np.float64]:
    """The l2 norm of every row; taken of parts of the largest entry, so that no faded history's squares underflow."""
    row = np.repeat(np.arange(rows.shape[0]), np.diff(rows.indptr))
    largest = np.zeros(rows.shape[0])
    np.maximum.at(largest, row, np.abs(rows.data))
    part = rows.data / np.where(largest > 0, largest, 1.0)[row]
    return largest * np.sqrt(np.bincount(row, weights=part**2, minlength=rows.shape[0]))


def _divided(rows: sparse.csr_matrix, by: NDArray[np.float64]) -> sparse.csr_matrix:
    """Every row divided by its number; rows of number 0 stay."""
    each = np.repeat(np.where(by > 0, by, 1.0), np.diff(rows.indptr))
    return sparse.csr_matrix((rows.data / each, rows.indices, rows.indptr), shape=rows.shape)
