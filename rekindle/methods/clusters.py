"""Groups of points around centres: k-means and bisecting k-means, how stable they are, and how many there should be.

scikit-learn does the iterations, on one thread, so that no order of adding changes a digit; centres are rounded.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from rekindle.methods.partitions import adjusted_rand, contingency

DECIMALS = 9
STARTS = 4  # of k-means++; the best by inertia is taken
WARM_GAIN = 0.02  # centres found afresh take the place of moved old ones if inertia is less by this share
SILHOUETTE_POINTS = 2000  # silhouettes compare every point with every other
RESAMPLE_POINTS = 5000
SILHOUETTE_GAIN = 0.02  # by so much another number of groups must be better than the one there was
FEWEST_OF_A_HALF = 10  # points below which a group is not halved


class Groups(Protocol):
    """Anything that puts points into groups numbered from 0."""

    @property
    def count(self) -> int:
        """How many groups."""
        ...

    def labels(self, points: NDArray[np.float64]) -> NDArray[np.int64]:
        """The group of each point."""
        ...


def squares(points: NDArray[np.float64], centres: NDArray[np.float64]) -> NDArray[np.float64]:
    """Squared distances, [points, centres], rounded. One centre after another: a row depends on its point alone."""
    each = [((points - centre) ** 2).sum(axis=1) for centre in centres]
    return np.asarray(np.round(np.stack(each, axis=1), DECIMALS))


@dataclass(frozen=True, eq=False)
class Centres:
    """A point belongs to the nearest centre (the first of equally near ones); float64 [centres, features]."""

    centres: NDArray[np.float64]

    @property
    def count(self) -> int:
        """How many centres."""
        return len(self.centres)

    def labels(self, points: NDArray[np.float64]) -> NDArray[np.int64]:
        """The nearest centre's number."""
        return np.asarray(squares(points, self.centres).argmin(axis=1), dtype=np.int64)

    def spread(self, points: NDArray[np.float64]) -> float:
        """Mean squared distance to the nearest centre."""
        return float(squares(points, self.centres).min(axis=1).mean())


@dataclass(frozen=True, eq=False)
class Halving:
    """One split of a group into two: its path ("" is all, "1" and "2" its halves, "12" the second half of the first)
    and the centres of the halves, float64 [2, features]."""

    path: str
    centres: NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Tree:
    """Groups that halvings, in their order, lead to; the leaves, in the order of their paths, are the groups."""

    halvings: tuple[Halving, ...]

    @property
    def paths(self) -> list[str]:
        """The leaves' paths; the whole, "", where nothing was halved."""
        split = {one.path for one in self.halvings}
        return sorted({"", *(one.path + half for one in self.halvings for half in "12")} - split)

    @property
    def count(self) -> int:
        """How many leaves."""
        return len(self.halvings) + 1

    def labels(self, points: NDArray[np.float64]) -> NDArray[np.int64]:
        """The number of the leaf to which the nearer centres lead."""
        at = np.full(len(points), "", dtype=f"<U{len(self.halvings) + 1}")
        for one in self.halvings:
            here = np.flatnonzero(at == one.path)
            nearer = squares(points[here], one.centres).argmin(axis=1)
            at[here] = np.where(nearer == 0, one.path + "1", one.path + "2")
        return np.searchsorted(np.array(self.paths), at).astype(np.int64)

    def cut(self, leaves: int) -> Tree:
        """The tree as it was with so many leaves."""
        return Tree(self.halvings[: leaves - 1])


def k_means(points: NDArray[np.float64], count: int, seed: int, warm: NDArray[np.float64] | None = None) -> Centres:
    """The best of several starts, largest group first; where `warm` centres are given, these moved to rest instead,
    in their order, unless fresh ones lie nearer to the points by WARM_GAIN.

    Lloyd's iterations from k-means++ (Arthur & Vassilvitskii, 2007), by scikit-learn.
    """
    from sklearn.cluster import KMeans  # here, so that executors, which fit nothing, do not load it

    with threadpool_limits(limits=1):
        fresh = KMeans(count, n_init=STARTS, random_state=seed).fit(points)
        if warm is not None and len(warm) == count:
            moved = KMeans(count, init=warm, n_init=1).fit(points)
            if moved.inertia_ <= fresh.inertia_ * (1 + WARM_GAIN):
                return Centres(np.round(moved.cluster_centers_, DECIMALS))
    centres = np.round(fresh.cluster_centers_, DECIMALS)
    sizes = np.bincount(fresh.labels_, minlength=count)
    return Centres(centres[np.lexsort((*centres.T[::-1], -sizes))])


def bisecting(
    points: NDArray[np.float64], count: int, seed: int, warm: Tree | None = None, least: int = FEWEST_OF_A_HALF
) -> Tree:
    """Halvings by 2-means, each of the group with the largest squared distances to its centre, until there are `count`
    groups or none has `least` points in both halves. Half 1 is the larger, or goes on as half 1 of `warm`.

    Steinbach, Karypis & Kumar, A comparison of document clustering techniques, KDD workshop on text mining (2000).
    """
    before = {one.path: one.centres for one in warm.halvings} if warm else {}
    leaves = {"": np.arange(len(points))}
    inertia = {"": _inertia(points)}
    halvings: list[Halving] = []
    while len(leaves) < count and any(inertia.values()):
        path = max(sorted(inertia), key=lambda leaf: inertia[leaf])
        rows = leaves[path]
        halves = None
        if len(rows) >= 2 * least and len(np.unique(points[rows], axis=0)) > 1:
            halves = k_means(points[rows], 2, seed, before.get(path))
            sides = halves.labels(points[rows])
        if halves is None or np.bincount(sides, minlength=2).min() < least:
            inertia[path] = 0.0  # stays whole
            continue
        halvings.append(Halving(path, halves.centres))
        del leaves[path], inertia[path]
        for side in (0, 1):
            leaves[f"{path}{side + 1}"] = rows[sides == side]
            inertia[f"{path}{side + 1}"] = _inertia(points[rows[sides == side]])
    return Tree(tuple(halvings))


def _inertia(points: NDArray[np.float64]) -> float:
    return round(float(((points - points.mean(axis=0)) ** 2).sum()), DECIMALS)


@dataclass(frozen=True, eq=False)
class Judged:
    """Groups beside what is known of them. `silhouettes` is one a group, NaN without a point among those looked at."""

    groups: Any
    stability: float
    silhouette: float
    silhouettes: NDArray[np.float64]
    smallest_share: float


def resampled(points: Any, fit: Callable[[Any], Groups], seed: int, resamples: int) -> list[Groups]:
    """Groups fitted on bootstrap samples of the rows of `points`, of at most RESAMPLE_POINTS each."""
    drawn = np.random.default_rng(seed)
    size = min(len(points), RESAMPLE_POINTS)
    return [fit(points[drawn.integers(len(points), size=size)]) for _ in range(resamples)]


def stability(points: Any, labels: NDArray[np.int64], again: Sequence[Groups]) -> float:
    """Mean adjusted Rand index, over all points, between `labels` and groups fitted on bootstrap samples.

    After Hennig, Cluster-wise assessment of cluster stability, Computational Statistics & Data Analysis 52 (2007).
    """
    return float(np.mean([adjusted_rand(contingency(labels, one.labels(points))) for one in again]))


def judged(points: NDArray[np.float64], groups: Groups, again: Sequence[Groups]) -> Judged:
    """The groups with stability, the smallest group's share, and silhouettes of the first SILHOUETTE_POINTS points
    (Rousseeuw, J. Computational and Applied Mathematics 20, 1987); rows must be in no meaningful order."""
    from sklearn.metrics import silhouette_samples

    labels = groups.labels(points)
    some = labels[:SILHOUETTE_POINTS]
    each = np.zeros(len(some))
    if 1 < len(np.unique(some)) < len(some):
        with threadpool_limits(limits=1):
            each = silhouette_samples(points[:SILHOUETTE_POINTS], some)
    by_group = [each[some == n].mean() if (some == n).any() else np.nan for n in range(groups.count)]
    smallest = np.bincount(labels, minlength=groups.count).min() / len(labels)
    of_all = stability(points, labels, again)
    return Judged(groups, of_all, float(each.mean()), np.array(by_group), float(smallest))


def best(tried: Mapping[int, Judged], least_stability: float, least_share: float, before: int | None = None) -> int:
    """How many groups there should be: of the numbers whose groups are stable and not too small, that with the highest
    silhouette; the number there was `before` stays unless another's silhouette is higher by SILHOUETTE_GAIN.

    Where none is stable, the most stable of those not too small; where all have too small a group, the fewest groups.
    """
    large = {n: one for n, one in tried.items() if one.smallest_share >= least_share}
    if not large:
        return min(tried)
    stable = {n: one for n, one in large.items() if one.stability >= least_stability}
    if not stable:
        return max(large, key=lambda n: (large[n].stability, -n))
    first = max(stable, key=lambda n: (stable[n].silhouette, -n))
    if before in stable and stable[first].silhouette < stable[before].silhouette + SILHOUETTE_GAIN:
        return before
    return first


def numbers(fewest: int, most: int, points: int) -> Sequence[int]:
    """The numbers of groups worth trying for so many points: no more than one group for ten of them."""
    top = max(2, min(most, points // 10))
    return range(min(fewest, top), top + 1)
