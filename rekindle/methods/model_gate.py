"""Two models' lists for the same users, side by side: which is better, which shows more of the shop, what would change.

A model that takes over changes what people see. How much is told beside how much better it is: the share of items that
stay, and of users whose list, or whose first item, becomes another
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from rekindle.methods import bootstrap
from rekindle.methods.comparison import Comparison, Group

METRIC = "ndcg_at_10"
# A draw of so few users is no interval: of two equally good models one was "better" by a 95 % interval of one user's
# figures in 20 % of 3,000 trials, of two users' in 5 %, from thirty users on in 3 to 3.5 % (2.5 % is meant).
FEWEST_JUDGED = 30


class Judged(Protocol):
    """A model's lists for the judged users and how good each was; row n of all models is the same user."""

    @property
    def lists(self) -> NDArray[np.int64]:
        """[users, k] item indexes, best first, padded with −1 at the end."""

    @property
    def ndcg(self) -> NDArray[np.float64]:
        """[users]."""

    @property
    def metrics(self) -> Mapping[str, float]:
        """At least `ndcg_at_10` and `coverage`."""


def overlap(left: NDArray[np.int64], right: NDArray[np.int64]) -> NDArray[np.float64]:
    """Share of items that both lists of a user have, of the longer list's, 0 to 1, [users]; 1 where both are empty.

    Raises:
        ValueError: lists of another shape.
    """
    _check(left, right)
    common = np.zeros(len(left), dtype=np.int64)
    for place in range(left.shape[1]):
        item = left[:, place]
        common += (item >= 0) & (right == item[:, None]).any(axis=1)
    longer = np.maximum((left >= 0).sum(axis=1), (right >= 0).sum(axis=1))
    return np.where(longer > 0, common / np.maximum(longer, 1), 1.0)


def first_changed(left: NDArray[np.int64], right: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Whether a user's first item is another one, [users].

    Raises:
        ValueError: lists of another shape.
    """
    _check(left, right)
    return np.asarray(left[:, 0] != right[:, 0])


def list_changed(left: NDArray[np.int64], right: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Whether anything of a user's list is another, order included, [users].

    Raises:
        ValueError: lists of another shape.
    """
    _check(left, right)
    return np.asarray((left != right).any(axis=1))


def compare(
    other: str,
    other_name: str,
    candidate: Judged,
    standing: Judged,
    *,
    seed: int,
    draws: int,
    groups: Mapping[str, NDArray[np.bool_]] | None = None,
) -> Comparison:
    """The candidate's NDCG@10, coverage and lists against another model's, paired by user.

    `groups` are named masks [users]; those with fewer than 30 users have figures and no interval.

    Raises:
        ValueError: other users on both sides, no user, a figure that is not a number.
    """
    better = bootstrap.paired_mean_difference(candidate.ndcg, standing.ndcg, seed=seed, draws=draws)
    same = overlap(candidate.lists, standing.lists)
    first = first_changed(candidate.lists, standing.lists)
    changed = list_changed(candidate.lists, standing.lists)
    if len(same) != len(candidate.ndcg):
        raise ValueError(f"model gate: {len(same)} lists beside figures of {len(candidate.ndcg)} users")

    def of(name: str, member: NDArray[np.bool_]) -> Group:
        if len(member) != len(same):
            raise ValueError(f"model gate: group {name} tells of {len(member)} users, expected {len(same)}")
        mine, theirs = candidate.ndcg[member], standing.ndcg[member]
        low, high = None, None
        if len(mine) >= FEWEST_JUDGED:
            found = bootstrap.paired_mean_difference(mine, theirs, seed=seed, draws=draws)
            low, high = found.low, found.high
        return Group(
            name=name,
            rows=len(mine),
            candidate_value=float(mine.mean()),
            other_value=float(theirs.mean()),
            low=low,
            high=high,
            overlap=float(same[member].mean()),
            flip_rate=float(first[member].mean()),
            list_flip_rate=float(changed[member].mean()),
        )

    return Comparison(
        other=other,
        other_name=other_name,
        metric=METRIC,
        candidate_value=candidate.metrics[METRIC],
        other_value=standing.metrics[METRIC],
        difference=better.point,
        low=better.low,
        high=better.high,
        rows=len(candidate.ndcg),
        coverage=candidate.metrics["coverage"],
        other_coverage=standing.metrics["coverage"],
        overlap=float(same.mean()),
        flip_rate=float(first.mean()),
        list_flip_rate=float(changed.mean()),
        groups=tuple(of(name, member) for name, member in sorted((groups or {}).items()) if member.any()),
    )


def _check(left: NDArray[np.int64], right: NDArray[np.int64]) -> None:
    if left.shape != right.shape or left.ndim != 2 or left.shape[1] < 1:
        raise ValueError(f"model gate: lists of shapes {left.shape} and {right.shape}; expected equal, [users, k ≥ 1]")
