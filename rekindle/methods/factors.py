"""Users and items as vectors whose inner product is a score, and how a user becomes one from his history.

Two ways to fold a user in, both for fixed item factors and both without a look at any other user:

ALS: the exact solution of the equation in als.py.

BPR: Rendle et al. 2009 maximise Σ ln σ(z_ij) − λ/2 · |x|² over pairs of an item i of the history and an item j drawn by
chance, z_ij = x·(y_i − y_j) + b_i − b_j. For one user that is concave, and a step towards its maximum is a ridge
regression once ln σ is replaced by the parabola below it that touches it at ±ξ (Jaakkola and Jordan 2000):

    ln σ(z) ≥ ln σ(ξ) + (z − ξ)/2 − h(ξ)·(z² − ξ²),   h(ξ) = tanh(ξ/2)/(4ξ),   h(0) = 1/8

With the mean over j in closed form (d_i, e_i: y_i and b_i less their means over the draw of j; C, c, v: covariance of
y, of y with b, variance of b), h_i = h(ξ_i) and n items in the history, the parabola's maximum is

    ( Σ_i 2·h_i · (d_i d_iᵀ + C) + n·λ·I ) x  =  Σ_i (½ − 2·h_i·e_i) d_i − 2·h_i·c

and the best parabola for that x touches at ξ_i² = mean over j of z_ij² = (x·d_i + e_i)² + xᵀC x + 2·x·c + v. The first
step takes ξ = 0; no later step can lower the bound. One parabola for all j of an i is not tight, and j may here be an
item of the history, which training skips: so this is near the maximum, not on it. Measured on ML-100k with a quarter of
the users held out of training (75 % of their items as history): nDCG@10 0.458, 0.466, 0.469, 0.469 after 1, 2, 3, 5
steps, and 0.469 after 30; there popularity alone has 0.255 and ALS, folded in, 0.472.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from rekindle.methods.als import BLOCK_CELLS, fold_in, gram
from rekindle.methods.interactions import Users
from rekindle.methods.model_arrays import packed, unpacked
from rekindle.methods.ragged import Ragged

STEPS = 5  # see the module: more change nothing


@dataclass(frozen=True)
class AlsFold:
    """λ and α of the equation in als.py."""

    regularisation: float
    alpha: float


@dataclass(frozen=True, eq=False)
class BprFold:
    """What the module's BPR equation needs beside item factors.

    Attributes:
        regularisation: λ, above 0.
        drawn: float64 [n_items], how likely the item is to be drawn as the j of a pair; sums to 1.
        bias: float64 [n_items], b as it was learnt.
    """

    regularisation: float
    drawn: NDArray[np.float64]
    bias: NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class FactorModel:
    """A fitted factor model: score = x·y_j + bias_j.

    Attributes:
        item_factors: float32 [n_items, rank]; zeros for an item about which nothing is known.
        fold: how a user becomes a vector.
        item_bias: float64 [n_items], added to the inner product; None: 0.
        user_factors: float32 [users of the interactions, rank], zeros for one without interactions; None: everybody is
            folded in, so no user is in the artefact.

    Raises:
        ValueError: the arrays do not fit each other.
    """

    item_factors: NDArray[np.float32]
    fold: AlsFold | BprFold
    item_bias: NDArray[np.float64] | None = None
    user_factors: NDArray[np.float32] | None = None

    def __post_init__(self) -> None:
        items, rank = self.item_factors.shape
        biases = (
            [self.item_bias] if isinstance(self.fold, AlsFold) else [self.item_bias, self.fold.bias, self.fold.drawn]
        )
        for bias in biases:
            if bias is not None and bias.shape != (items,):
                raise ValueError(f"FactorModel: {bias.shape} numbers by item for {items} items")
        if self.user_factors is not None and self.user_factors.shape[1:] != (rank,):
            raise ValueError(f"FactorModel: user factors of shape {self.user_factors.shape}, expected rank {rank}")

    @property
    def keeps_users(self) -> bool:
        """Whether user factors lie in the artefact."""
        return self.user_factors is not None

    @property
    def n_items(self) -> int:
        """Items of the catalogue it was fitted on."""
        return len(self.item_factors)

    @cached_property
    def _known(self) -> NDArray[np.bool_]:
        """[n_items], the items that have factors."""
        known: NDArray[np.bool_] = (self.item_factors != 0).any(axis=1)
        return known

    @cached_property
    def _wide(self) -> NDArray[np.float64]:
        return self.item_factors.astype(np.float64)

    @cached_property
    def _gram(self) -> NDArray[np.float64]:
        return gram(self.item_factors)

    def scores(self, users: Users) -> NDArray[np.float64]:
        """[users, n_items]: by a known user's own factors where they are kept, by the history's elsewhere.

        −inf for items without factors, and everywhere for a user who has neither own factors nor a positive strength
        (strengths are 1 where the history has none) on an item with factors. A history must be faded as the
        interactions were. A row differs by no more than float64's rounding if others are served with it.

        Raises:
            ValueError: an item beyond the factors, or a user beyond the user factors.
        """
        mine = self.vectors(users)
        found = mine @ self._wide.T
        if self.item_bias is not None:
            found += self.item_bias
        found[:, ~self._known] = -np.inf
        found[~(mine != 0).any(axis=1)] = -np.inf
        return found

    def vectors(self, users: Users) -> NDArray[np.float64]:
        """The factors of `scores`, float64 [users, rank]; zeros for a user about whom nothing is known."""
        found = np.zeros((len(users), self.item_factors.shape[1]))
        if self.user_factors is not None:
            if users.index.max(initial=-1) >= len(self.user_factors):
                raise ValueError(f"FactorModel: user {users.index.max()}, expected below {len(self.user_factors)}")
            kept = users.index >= 0
            found[kept] = self.user_factors[users.index[kept]]
        unknown = np.flatnonzero(~(found != 0).any(axis=1))
        histories = _rows(_with_strengths(users.histories), unknown)
        if isinstance(self.fold, AlsFold):
            found[unknown] = self._folded_by_als(histories, self.fold)
        else:
            found[unknown] = fold_in_bpr(histories, self.item_factors, self.fold)
        return found

    def explain(self, history: Ragged, item: int) -> dict[int, float]:
        """ALS without user factors: what each item of the history (one row) adds, x being a sum over the history:

            x·y_j = Σ_i  y_jᵀ A⁻¹ (1 + α·r_i) y_i,   A the left side of the equation

        They sum to the score up to float32's rounding of x. Empty for BPR and for kept users, whose factors are no
        such sum, and for an item without factors.
        """
        if not self._known[item]:
            return {}
        items, added = self.shares(history, np.array([item]))
        return {int(i): float(a) for i, a in zip(items, added[0], strict=True)}

    def shares(self, history: Ragged, listed: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """`explain` for many items at the price of one: (items of the history int64 [n], what each adds to each of
        `listed` float64 [len(listed), n]). No columns where a score is no sum over the history."""
        nothing = np.zeros(0, dtype=np.int64), np.zeros((len(listed), 0))
        if not isinstance(self.fold, AlsFold) or self.user_factors is not None:
            return nothing
        strengths = _with_strengths(history).values
        assert strengths is not None  # noqa: S101 (for the type checker: `_with_strengths` gives them)
        heard = self._known[history.items]
        items, strength = history.items[heard], strengths[heard]
        wanted = strength > 0
        if not wanted.any():
            return nothing
        theirs = self._wide[items]
        left = self._gram + (theirs * (self.fold.alpha * np.abs(strength))[:, None]).T @ theirs
        left += self.fold.regularisation * wanted.sum() * np.eye(len(left))
        # A is symmetric, so one solve serves all items of the history.
        reach = np.linalg.solve(left, self._wide[listed].T).T @ theirs.T
        return items[wanted], (reach * (1 + self.fold.alpha * strength))[:, wanted]

    def to_files(self) -> dict[str, bytes]:
        """The arrays, and the settings of the fold."""
        arrays: dict[str, NDArray[np.generic]] = {"item_factors": self.item_factors}
        if self.item_bias is not None:
            arrays["item_bias"] = self.item_bias
        if self.user_factors is not None:
            arrays["user_factors"] = self.user_factors
        settings: dict[str, str | float] = {"regularisation": self.fold.regularisation}
        if isinstance(self.fold, AlsFold):
            settings |= {"method": "implicit_als", "alpha": self.fold.alpha}
        else:
            settings |= {"method": "bpr"}
            arrays |= {"drawn": self.fold.drawn, "learnt_bias": self.fold.bias}
        return {"model.json": json.dumps(settings, sort_keys=True).encode(), "arrays.npz": packed(**arrays)}

    @classmethod
    def from_files(cls, files: Mapping[str, bytes]) -> FactorModel:
        """The model that `to_files` wrote.

        Raises:
            ValueError: they are another method's.
        """
        settings, found = json.loads(files["model.json"]), unpacked(files["arrays.npz"])
        fold: AlsFold | BprFold
        if settings["method"] == "implicit_als":
            fold = AlsFold(float(settings["regularisation"]), float(settings["alpha"]))
        elif settings["method"] == "bpr":
            drawn, learnt = found["drawn"].astype(np.float64), found["learnt_bias"].astype(np.float64)
            fold = BprFold(float(settings["regularisation"]), drawn, learnt)
        else:
            raise ValueError(f"FactorModel: files of the method {settings['method']!r}, expected implicit_als or bpr")
        bias, users = found.get("item_bias"), found.get("user_factors")
        return cls(
            item_factors=found["item_factors"].astype(np.float32),
            fold=fold,
            item_bias=None if bias is None else bias.astype(np.float64),
            user_factors=None if users is None else users.astype(np.float32),
        )

    def _folded_by_als(self, histories: Ragged, fold: AlsFold) -> NDArray[np.float32]:
        return fold_in(
            histories,
            self.item_factors,
            regularisation=fold.regularisation,
            alpha=fold.alpha,
            shared=self._gram,
        )


def fold_in_bpr(
    histories: Ragged, item_factors: NDArray[np.float32], fold: BprFold, *, steps: int = STEPS
) -> NDArray[np.float64]:
    """User factors float64 [users, rank] after so many steps of the module's equation; only whether a strength is
    above 0 counts. Zeros for a user without such an item that has factors. A user's factors depend on no other user.
    A step costs O(n · rank² + rank³) for a user with n items.

    Raises:
        ValueError: an item beyond the factors, λ not above 0.
    """
    if not fold.regularisation > 0:
        raise ValueError(f"fold_in_bpr: regularisation {fold.regularisation}, expected above 0")
    if histories.items.max(initial=-1) >= len(item_factors):
        raise ValueError(f"fold_in_bpr: item {histories.items.max()}, expected 0 to {len(item_factors) - 1}")
    wanted = (item_factors != 0).any(axis=1)[histories.items]
    if histories.values is not None:
        wanted &= histories.values > 0
    liked, row = histories.items[wanted], histories.rows()[wanted]
    lengths = np.bincount(row, minlength=len(histories))
    first = np.cumsum(lengths) - lengths

    rank = item_factors.shape[1]
    factors = item_factors.astype(np.float64)
    centred, bias = factors - fold.drawn @ factors, fold.bias - fold.drawn @ fold.bias
    spread = (centred * fold.drawn[:, None]).T @ centred
    with_bias, bias_spread = (fold.drawn * bias) @ centred, float(fold.drawn @ bias**2)

    result = np.zeros((len(histories), rank))
    # As in als.fold_in: padded to a power of two, so that who shares a batch cannot change a bit.
    padded = np.where(lengths > 0, 2 ** np.ceil(np.log2(np.maximum(lengths, 1))), 0).astype(np.int64)
    for width in np.unique(padded[padded > 0]):
        members = np.flatnonzero(padded == width)
        batch = max(1, BLOCK_CELLS // int(rank * max(width, rank)))
        for start in range(0, len(members), batch):
            users = members[start : start + batch]
            inside = np.arange(width) < lengths[users][:, None]
            items = liked[np.where(inside, first[users][:, None] + np.arange(width), 0)]
            theirs, theirs_t, offset = centred[items], centred[items].transpose(0, 2, 1), bias[items]
            ridge = fold.regularisation * lengths[users][:, None, None] * np.eye(rank)
            touch = np.zeros(inside.shape)
            for _ in range(steps):
                bend = np.where(inside, 2 * _curvature(touch), 0.0)
                total = bend.sum(axis=1)[:, None]
                left = (theirs_t * bend[:, None, :]) @ theirs + total[:, :, None] * spread + ridge
                pull = np.where(inside, 0.5 - bend * offset, 0.0)
                right = (theirs_t @ pull[:, :, None])[:, :, 0] - total * with_bias
                mine = np.linalg.solve(left, right[:, :, None])
                ahead = (theirs @ mine)[:, :, 0] + offset
                around = ((spread @ mine)[:, :, 0] + 2 * with_bias) * mine[:, :, 0]
                touch = np.sqrt(np.maximum(ahead**2 + around.sum(axis=1)[:, None] + bias_spread, 0.0))
            result[users] = mine[:, :, 0]
    return result


def _curvature(touch: NDArray[np.float64]) -> NDArray[np.float64]:
    """h(ξ) of the module, of ξ ≥ 0."""
    small = touch < 1e-4  # where tanh(ξ/2)/(4ξ) is 1/8 to the eighth digit and ξ may be 0
    wide = np.where(small, 1.0, touch)
    return np.where(small, 0.125, np.tanh(wide / 2) / (4 * wide))


def _with_strengths(rows: Ragged) -> Ragged:
    return rows if rows.values is not None else Ragged(rows.offsets, rows.items, np.ones(len(rows.items)))


def _rows(rows: Ragged, chosen: NDArray[np.int64]) -> Ragged:
    """The chosen rows (ascending), in order."""
    kept = np.zeros(len(rows), dtype=bool)
    kept[chosen] = True
    inside = np.repeat(kept, rows.lengths())
    offsets = np.concatenate([np.zeros(1, dtype=np.int64), np.cumsum(rows.lengths()[chosen])])
    return Ragged(offsets, rows.items[inside], None if rows.values is None else rows.values[inside])
