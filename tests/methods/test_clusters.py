"""Planted groups of users are found, their number too, and nothing moves without a reason."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.cluster import BisectingKMeans
from sklearn.metrics import adjusted_rand_score

from rekindle.methods import clusters
from rekindle.methods.clusters import Centres, Judged


@pytest.fixture(scope="module")
def planted() -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """500 points around five centres, two pairs of which are neighbours, in no meaningful order."""
    dice = np.random.default_rng(5)
    centres = np.array([[0.0, 0, 0], [8, 0, 0], [8, 4, 0], [0, 9, 0], [0, 9, 4]])
    truth = dice.permutation(np.repeat(np.arange(5), 100))
    return centres[truth] + dice.normal(0, 0.4, (500, 3)), truth


def test_as_many_groups_are_found_as_were_planted(planted: tuple[NDArray[np.float64], NDArray[np.int64]]) -> None:
    points, truth = planted
    tried = {}
    for count in clusters.numbers(3, 7, len(points)):
        groups = clusters.k_means(points, count, 1)
        again = clusters.resampled(points, lambda p, n=count: clusters.k_means(p, n, 1), 1, 3)  # type: ignore[misc]
        tried[count] = clusters.judged(points, groups, again)
    assert clusters.best(tried, 0.7, 0.02) == 5
    assert adjusted_rand_score(tried[5].groups.labels(points), truth) == 1.0
    assert tried[5].stability == 1.0
    assert tried[5].silhouettes.min() > 0.6


def test_halving_finds_the_same_groups_as_scikit_learn_and_says_which_split_from_which(
    planted: tuple[NDArray[np.float64], NDArray[np.int64]],
) -> None:
    points, truth = planted
    tree = clusters.bisecting(points, 5, 1)
    theirs = BisectingKMeans(5, random_state=0, n_init=4).fit_predict(points)
    assert adjusted_rand_score(tree.labels(points), theirs) == 1.0
    assert adjusted_rand_score(tree.labels(points), truth) == 1.0
    leaf = {int(truth[n]): tree.paths[label] for n, label in enumerate(tree.labels(points))}
    assert leaf[1][:-1] == leaf[2][:-1], "neighbours are halves of one group"
    assert leaf[3][:-1] == leaf[4][:-1]
    assert tree.cut(3).count == 3
    assert len(np.unique(tree.cut(3).labels(points))) == 3


def test_a_group_that_cannot_be_halved_stays_whole() -> None:
    same = np.ones((50, 2))
    whole = clusters.bisecting(same, 4, 1)
    assert (whole.count, whole.paths, set(whole.labels(same))) == (1, [""], {0})
    few = np.concatenate([same, np.full((3, 2), 9.0)])
    assert clusters.bisecting(few, 4, 1).count == 1, "three users are no segment"


def test_old_centres_move_on_in_their_order_and_rows_in_any_order_are_put_alike(
    planted: tuple[NDArray[np.float64], NDArray[np.int64]],
) -> None:
    points, _ = planted
    first = clusters.k_means(points, 5, 1)
    turned = Centres(first.centres[[3, 1, 4, 0, 2]] + 0.05)
    moved = clusters.k_means(points, 5, 2, warm=turned.centres)
    assert np.abs(moved.centres - first.centres[[3, 1, 4, 0, 2]]).max() < 1e-9
    # Centres that are far worse than fresh ones are given up.
    stuck = clusters.k_means(points, 5, 1, warm=np.tile(points[:1], (5, 1)) + np.arange(5)[:, None] * 1e-3)
    assert stuck.spread(points) == pytest.approx(first.spread(points))
    backwards = first.labels(points[::-1])[::-1]
    assert (backwards == first.labels(points)).all()
    assert (first.labels(points[7:8]) == first.labels(points)[7:8]).all()


def test_the_number_of_groups_is_decided_by_stability_then_silhouette_then_what_there_was() -> None:
    def one(stability: float, silhouette: float, smallest: float = 0.1) -> Judged:
        return Judged(None, stability, silhouette, np.zeros(1), smallest)

    tried = {4: one(0.95, 0.30), 5: one(0.9, 0.31), 6: one(0.5, 0.60), 7: one(0.9, 0.50, smallest=0.001)}
    assert clusters.best(tried, 0.7, 0.02) == 5
    assert clusters.best(tried, 0.7, 0.02, before=4) == 4, "0.01 of silhouette is no reason to draw all anew"
    assert clusters.best(tried | {5: one(0.9, 0.33)}, 0.7, 0.02, before=4) == 5
    assert clusters.best(tried, 0.99, 0.02) == 4, "none is stable: the most stable"
    assert clusters.best(tried, 0.7, 0.5) == 4, "all have too small a group: the fewest"
