"""Matrix factorisation that minimises the error of ratings: the trap, kept here so that its figure stands in the table.

min Σ over ratings (r − x_u · y_i)² + λ(Σ n_u |x_u|² + Σ n_i |y_i|²) by alternating ridges (Zhou et al. 2008, ALS-WR,
what Spark's ALS does with implicitPrefs off). It learns nothing from what was not rated, so films that few rated, but
those few highly, come first. Not a method of the pipeline.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from rekindle.methods.interactions import Interactions, Users
from rekindle.methods.ragged import Ragged


@dataclass(frozen=True)
class ExplicitAls:
    """Settings; the defaults are those of the published figure. Strengths of the interactions are ratings."""

    rank: int = 10
    regularisation: float = 0.05
    iterations: int = 15
    seed: int = 42

    @property
    def name(self) -> str:
        """What tables call it."""
        return "explicit_als"

    def fit(self, known: Interactions) -> FittedExplicitAls:
        """Factors of users and items.

        Raises:
            ValueError: there are no ratings.
        """
        if not len(known):
            raise ValueError("ExplicitAls: no ratings")
        by_user = known.matrix()
        by_item = by_user.T.tocsr()
        items = np.random.default_rng(self.seed).normal(size=(known.n_items, self.rank))
        items /= np.linalg.norm(items, axis=1, keepdims=True)
        users = np.zeros((known.n_users, self.rank))
        for _ in range(self.iterations):
            users = self._ridges(by_user, items)
            items = self._ridges(by_item, users)
        return FittedExplicitAls(users, items, np.diff(by_item.indptr) > 0)

    def _ridges(self, ratings: sparse.csr_matrix, others: NDArray[np.float64]) -> NDArray[np.float64]:
        """Each row's best factors given those of the other side, [rows, rank]; zeros for a row without ratings."""
        found = np.zeros((ratings.shape[0], self.rank))
        ridge = self.regularisation * np.eye(self.rank)
        for row in np.flatnonzero(np.diff(ratings.indptr)):
            own = slice(ratings.indptr[row], ratings.indptr[row + 1])
            y = others[ratings.indices[own]]
            found[row] = np.linalg.solve(y.T @ y + len(y) * ridge, ratings.data[own] @ y)
        return found


@dataclass(frozen=True, eq=False)
class FittedExplicitAls:
    """Factors float64 [users, rank] and [items, rank], and which items were rated."""

    users: NDArray[np.float64]
    items: NDArray[np.float64]
    rated: NDArray[np.bool_]

    @property
    def n_items(self) -> int:
        """Items of the catalogue it was fitted on."""
        return len(self.items)

    def scores(self, users: Users) -> NDArray[np.float64]:
        """[users, n_items]: the expected rating; −inf for items nobody rated, and for users who rated nothing."""
        found = self.users[users.index] @ self.items.T
        found[:, ~self.rated] = -np.inf
        found[users.index < 0] = -np.inf
        return found

    def explain(self, history: Ragged, item: int) -> dict[int, float]:
        """Empty: the user's factors were fitted, not summed."""
        return {}

    def to_files(self) -> dict[str, bytes]:
        """Nothing: it is never stored."""
        return {}
