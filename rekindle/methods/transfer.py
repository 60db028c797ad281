"""Transfer from other domains: who is new to one part of a shop is scored by what he did in the others.

With θ_u what a user's histories in the source domains say, and φ_i what is known of an item of the target domain,

    R_ui = Σ_k θ_uk · v_ik + Σ_l φ_il · w_l

learnt from users who are in both. θ_u is 1 and, for each source, the user's row (1/√n for each of his n items there)
on the `rank` strongest right singular vectors of all such rows (PureSVD: Cremonesi et al. 2010). R_ui is 1 where the
user did something with the item, else 0; v and w are the ridge regression

    Σ_i |R_i − Θ v_i − 1·φ_i·w|² + λ Σ_i |v_i|² + λ |w|²

whose minimum is closed: with M = I − Θ (ΘᵀΘ + λI)⁻¹ Θᵀ and m = 1ᵀM1,

    (m ΦᵀΦ + λI) w = Φᵀ Rᵀ M 1,    v_i = (ΘᵀΘ + λI)⁻¹ Θᵀ (R_i − 1·φ_i·w)
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.sparse.linalg import svds

from rekindle.methods.exact_products import LONGEST, coarse, product
from rekindle.methods.interactions import Interactions, Users, matrix_of
from rekindle.methods.model_arrays import packed, unpacked
from rekindle.methods.ragged import Ragged


@dataclass(frozen=True, eq=False)
class Transfer:
    """Transfer and its settings. Items of all domains share one catalogue; strengths and ages do not take part.

    Attributes:
        domain: int64 [n_items], 0: the target, 1 and more: the sources.
        rank: singular vectors of each source, 1 or more; fewer where a source has fewer.
        regularisation: λ, above 0.
        item_features: float [n_items, features], φ; None: none.

    Raises:
        ValueError: a setting out of its bounds, or not both a target and a source.
    """

    domain: NDArray[np.int64]
    rank: int
    regularisation: float
    item_features: sparse.csr_matrix | None = None

    def __post_init__(self) -> None:
        if self.rank < 1 or not 0 < self.regularisation < np.inf:
            raise ValueError(f"Transfer: rank {self.rank}, λ {self.regularisation}; expected 1 or more, above 0")
        if not ((self.domain == 0).any() and (self.domain > 0).any()):
            raise ValueError("Transfer: expected items of domain 0 (the target) and of a source, 1 or more")

    @property
    def name(self) -> str:
        """What tables and records call it."""
        return "transfer"

    def fit(self, known: Interactions) -> FittedTransfer:
        """Coefficients. The same interactions in any order give the same bytes.

        Raises:
            ValueError: nobody is in the target and in a source, or arrays of another number of items.
        """
        if len(self.domain) != known.n_items:
            raise ValueError(f"Transfer: domains of {len(self.domain)} items for {known.n_items} items")
        features = self.item_features if self.item_features is not None else sparse.csr_matrix((known.n_items, 0))
        if features.shape[0] != known.n_items:
            raise ValueError(f"Transfer: features of {features.shape[0]} items for {known.n_items} items")
        whole = known.matrix()
        whole.data = np.ones(whole.nnz)
        bases = [_basis(_rows(whole, self.domain == n), self.rank) for n in np.unique(self.domain[self.domain > 0])]
        basis = np.concatenate(bases, axis=1)
        if basis.shape[1] >= LONGEST:
            raise ValueError(f"Transfer: {basis.shape[1]} singular vectors, expected fewer than {LONGEST}")
        target = self.domain == 0
        both = (whole @ target > 0) & (whole @ ~target > 0)
        if not both.any():
            raise ValueError(f"Transfer: none of {known.n_users} users is in the target and in a source")
        fitted = FittedTransfer(
            self.domain, basis, np.zeros((known.n_items, basis.shape[1] + 1)), np.zeros(len(target))
        )
        theta = fitted.user_features(whole[both])
        wanted, phi = whole[both][:, target], features[target].toarray()
        v, w = coefficients(theta, wanted, phi, self.regularisation)
        factors, offset = np.zeros((known.n_items, theta.shape[1])), np.zeros(known.n_items)
        factors[target], offset[target] = v, phi @ w
        return FittedTransfer(self.domain, basis, coarse(factors), offset)


@dataclass(frozen=True, eq=False)
class FittedTransfer:
    """What was learnt, of items alone.

    Attributes:
        domain: as `Transfer`.
        basis: float64 [n_items, singular vectors], zeros for items of the target.
        item_factors: float64 [n_items, 1 + singular vectors], v; zeros for items of a source.
        offset: float64 [n_items], Σ_l φ_il · w_l.
    """

    domain: NDArray[np.int64]
    basis: NDArray[np.float64]
    item_factors: NDArray[np.float64]
    offset: NDArray[np.float64]
    keeps_users: ClassVar[bool] = False

    @property
    def n_items(self) -> int:
        """Items of all domains."""
        return len(self.domain)

    def user_features(self, histories: sparse.csr_matrix) -> NDArray[np.float64]:
        """θ of the module of each row of items, float64 [rows, 1 + singular vectors]."""
        found = np.zeros((histories.shape[0], self.basis.shape[1]))
        for source in np.unique(self.domain[self.domain > 0]):
            found += _rows(histories, self.domain == source) @ self.basis
        return np.concatenate([np.ones((len(found), 1)), found], axis=1)

    def scores(self, users: Users) -> NDArray[np.float64]:
        """[users, n_items]: R of items of the target; −inf for items of a source, and for a user with nothing above
        0 in any source. What he did in the target takes no part."""
        bags = matrix_of(users.histories, self.n_items)
        bags.data = (bags.data > 0).astype(np.float64)
        bags.eliminate_zeros()
        found = product(self.user_features(bags), self.item_factors) + self.offset
        found[:, self.domain > 0] = -np.inf
        found[bags @ (self.domain > 0).astype(np.float64) == 0] = -np.inf
        return found

    def explain(self, history: Ragged, item: int) -> dict[int, float]:
        """Empty: a score holds terms of the item alone, so the history's parts do not sum to it."""
        return {}

    def to_files(self) -> dict[str, bytes]:
        """The four arrays."""
        arrays = packed(domain=self.domain, basis=self.basis, item_factors=self.item_factors, offset=self.offset)
        return {"model.json": json.dumps({"method": "transfer"}).encode(), "arrays.npz": arrays}

    @classmethod
    def from_files(cls, files: Mapping[str, bytes]) -> FittedTransfer:
        """The model that `to_files` wrote."""
        found = unpacked(files["arrays.npz"])
        basis, factors, offset = (found[name].astype(np.float64) for name in ("basis", "item_factors", "offset"))
        return cls(found["domain"].astype(np.int64), basis, factors, offset)


def coefficients(
    theta: NDArray[np.float64], wanted: sparse.csr_matrix, phi: NDArray[np.float64], regularisation: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """(v [items, k], w [l]) of the module's closed form, of θ [users, k], R [users, items] and φ [items, l]."""
    left = theta.T @ theta + regularisation * np.eye(theta.shape[1])
    ones = theta.sum(axis=0)
    of_items = np.asarray(wanted.T @ theta)
    turned = np.linalg.solve(left, ones)
    m = len(theta) - float(ones @ turned)
    pull = np.asarray(wanted.sum(axis=0)).ravel() - of_items @ turned
    w = np.linalg.solve(m * phi.T @ phi + regularisation * np.eye(phi.shape[1]), phi.T @ pull)
    return np.linalg.solve(left, (of_items - np.outer(phi @ w, ones)).T).T, w


def _rows(whole: sparse.csr_matrix, inside: NDArray[np.bool_]) -> sparse.csr_matrix:
    """The items of one domain, 1/√n each."""
    found = whole @ sparse.diags(inside.astype(np.float64), format="csr")
    found.eliminate_zeros()
    size = np.diff(found.indptr)
    found.data = np.repeat(1.0 / np.sqrt(np.maximum(size, 1)), size)
    return found


def _basis(rows: sparse.csr_matrix, rank: int) -> NDArray[np.float64]:
    """The strongest right singular vectors, float64 [n_items, rank or fewer], from a fixed start."""
    heard = np.flatnonzero(np.diff(rows.tocsc().indptr))
    found = np.zeros((rows.shape[1], max(0, min(rank, len(heard) - 1, rows.shape[0] - 1))))
    if found.shape[1] > 0:
        some = rows[:, heard]
        found[heard] = svds(some, found.shape[1], v0=np.ones(min(some.shape)), solver="arpack")[2].T
    return found
