"""Implicit-feedback ALS in memory, without Spark: the equation at the top of als.py for users and items by turns.

Hu, Koren and Volinsky 2008 with the ridge of ALS-WR (Zhou et al. 2008). Both half-steps are `als.fold_in`: the items'
is the users' on the transposed strengths. Each half-step is the exact minimum over one side of

    Σ_all u,i  (1 + α·r_ui) · (p_ui − x_u·y_i)²  +  λ · ( Σ_u n_u·|x_u|² + Σ_i n_i·|y_i|² ),   p_ui = 1 where r_ui > 0

so that figure never rises (but for rounding to float32). An iteration costs O(nnz · rank² + (users + items) · rank³)
and holds, beside factors and strengths, about als.BLOCK_CELLS numbers, or twice the longest row · rank if that is more.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from rekindle.methods.als import fold_in
from rekindle.methods.factors import AlsFold, FactorModel
from rekindle.methods.interactions import Interactions, ragged_of


@dataclass(frozen=True)
class ImplicitAls:
    """Implicit ALS and its settings.

    Attributes:
        rank: length of a factor, 1 or more.
        regularisation: λ, above 0; the same number serves a small shop and a large one, for it is weighted by n.
        alpha: α, how much surer a strength of 1 makes us, 0 or more.
        iterations: of both half-steps, 1 or more.
        seed: of the random start, 0 or more.
        half_life_days: how strengths fade before they are learnt from; None: not. Histories that are served must be
            faded alike.

    Raises:
        ValueError: a setting out of its bounds.
    """

    rank: int
    regularisation: float
    alpha: float
    iterations: int
    seed: int
    half_life_days: float | None = None

    def __post_init__(self) -> None:
        if self.rank < 1 or self.iterations < 1 or self.seed < 0:
            raise ValueError(
                f"ImplicitAls: rank {self.rank}, iterations {self.iterations}, seed {self.seed};"
                " expected 1 or more, 1 or more, 0 or more"
            )
        if not (0 < self.regularisation < np.inf and 0 <= self.alpha < np.inf):
            raise ValueError(
                f"ImplicitAls: regularisation {self.regularisation}, alpha {self.alpha};"
                " expected above 0, and 0 or more"
            )
        if self.half_life_days is not None and not self.half_life_days > 0:
            raise ValueError(f"ImplicitAls: half-life {self.half_life_days} days, expected above 0")

    @property
    def name(self) -> str:
        """What tables and records call it."""
        return "implicit_als"

    def fit(self, known: Interactions) -> FactorModel:
        """Item factors alone: every user is folded in, so the artefact knows no user.

        The same interactions in any order give the same bytes.

        Raises:
            ValueError: no interactions, or all have faded to 0.
        """
        strengths = known.matrix(self.half_life_days)
        strengths.eliminate_zeros()
        if not strengths.nnz:
            raise ValueError(f"ImplicitAls: nothing to learn from in {len(known)} interactions")
        for _, items in half_steps(strengths, self):  # noqa: B007 (the last one is wanted)
            pass
        return FactorModel(items, AlsFold(self.regularisation, self.alpha))


def half_steps(
    strengths: sparse.csr_matrix, settings: ImplicitAls
) -> Iterator[tuple[NDArray[np.float32], NDArray[np.float32]]]:
    """(user factors [users, rank], item factors [items, rank]) after every half-step: users', items', users', ...

    `strengths` is float64 [users, items], every stored entry above 0. Users and items without an entry have zeros.
    """
    by_user, by_item = ragged_of(strengths), ragged_of(strengths.T.tocsr())
    start = np.random.default_rng(settings.seed).standard_normal((len(by_item), settings.rank))
    items = (start / np.sqrt(settings.rank)).astype(np.float32)
    items[by_item.lengths() == 0] = 0.0  # else the first half-step would hear of items that nobody touched
    for _ in range(settings.iterations):
        users = fold_in(by_user, items, regularisation=settings.regularisation, alpha=settings.alpha)
        yield users, items
        items = fold_in(by_item, users, regularisation=settings.regularisation, alpha=settings.alpha)
        yield users, items
