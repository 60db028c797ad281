"""What another model would change for the same users, beside how much better it is."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
from numpy.typing import NDArray

from rekindle.methods import bootstrap
from rekindle.methods.comparison import Comparison
from rekindle.methods.model_gate import compare, first_changed, list_changed, overlap


@dataclass
class Lists:
    lists: NDArray[np.int64]
    ndcg: NDArray[np.float64]

    @property
    def metrics(self) -> dict[str, float]:
        shown = np.unique(self.lists[self.lists >= 0])
        return {"ndcg_at_10": float(self.ndcg.mean()), "coverage": len(shown) / 100}


def drawn(seed: int, users: int = 80, k: int = 10, items: int = 30) -> Lists:
    """Random lists of different lengths."""
    dice = np.random.default_rng(seed)
    lists = np.stack([dice.permutation(items)[:k] for _ in range(users)]).astype(np.int64)
    for row, length in enumerate(dice.integers(0, k + 1, users)):
        lists[row, length:] = -1
    return Lists(lists, dice.random(users))


def versus(left: Lists, right: Lists, **groups: NDArray[np.bool_]) -> Comparison:
    return compare("d0", "popularity", left, right, seed=3, draws=200, groups=groups)


LEFT = np.array([[1, 2, 3], [1, 2, 3], [1, 2, 3], [1, 2, -1], [-1, -1, -1], [-1, -1, -1]])
RIGHT = np.array([[1, 2, 3], [3, 2, 1], [4, 5, 1], [1, -1, -1], [1, 2, 3], [-1, -1, -1]])


def test_overlap_and_flips_are_those_counted_by_hand() -> None:
    assert overlap(LEFT, RIGHT).tolist() == pytest.approx([1, 1, 1 / 3, 1 / 2, 0, 1])
    assert first_changed(LEFT, RIGHT).tolist() == [False, True, True, False, True, False]
    assert list_changed(LEFT, RIGHT).tolist() == [False, True, True, True, True, False]


def test_overlap_is_that_of_sets_and_the_same_from_either_side() -> None:
    left, right = drawn(1).lists, drawn(2).lists
    for a, b, found in zip(left, right, overlap(left, right), strict=True):
        one, two = set(a) - {-1}, set(b) - {-1}
        assert found == pytest.approx(len(one & two) / max(len(one), len(two)) if one or two else 1.0)
    assert overlap(left, right).tolist() == overlap(right, left).tolist()


def test_a_comparison_tells_interval_coverage_and_what_would_change() -> None:
    left, right = drawn(1), drawn(2)
    found = versus(left, right)
    better = bootstrap.paired_mean_difference(left.ndcg, right.ndcg, seed=3, draws=200)
    assert (found.difference, found.low, found.high, found.rows) == (better.point, better.low, better.high, 80)
    assert found.difference == pytest.approx(found.candidate_value - found.other_value)
    assert (found.coverage, found.other_coverage) == (left.metrics["coverage"], right.metrics["coverage"])
    assert found.overlap == overlap(left.lists, right.lists).mean()
    assert found.flip_rate == first_changed(left.lists, right.lists).mean()
    assert found.list_flip_rate == list_changed(left.lists, right.lists).mean()


def test_a_model_beside_itself_changes_nothing_and_is_not_better() -> None:
    same = drawn(1)
    found = versus(same, same)
    assert (found.overlap, found.flip_rate, found.list_flip_rate) == (1, 0, 0)
    assert (found.difference, found.is_better) == (0, False)


def test_groups_that_part_the_users_add_up_and_a_small_one_has_no_interval() -> None:
    left, right = drawn(1), drawn(2)
    new = np.arange(80) < 20
    found = versus(left, right, new=new, regular=~new, nobody=np.zeros(80, dtype=np.bool_))
    assert [(g.name, g.rows) for g in found.groups] == [("new", 20), ("regular", 60)]
    small, large = found.groups
    assert (small.low, small.high) == (None, None)
    only = bootstrap.paired_mean_difference(left.ndcg[~new], right.ndcg[~new], seed=3, draws=200)
    assert (large.low, large.high) == (only.low, only.high)
    for name in ("candidate_value", "other_value", "overlap", "flip_rate", "list_flip_rate"):
        parts = sum(g.rows * getattr(g, name) for g in found.groups)
        assert parts == pytest.approx(80 * getattr(found, name)), name


@pytest.mark.parametrize(
    ("other", "told"),
    [
        (Lists(LEFT[:3], np.zeros(3)), "80 rows on the left, 3 on the right"),
        (Lists(drawn(1).lists[:, :5], drawn(1).ndcg), r"lists of shapes \(80, 10\) and \(80, 5\)"),
        (Lists(drawn(1).lists, np.full(80, np.nan)), "80 rows are NaN"),
    ],
)
def test_lists_of_other_users_or_figures_that_are_none_are_refused(other: Lists, told: str) -> None:
    with pytest.raises(ValueError, match=told):
        versus(drawn(1), other)


def test_a_group_of_other_users_is_refused() -> None:
    with pytest.raises(ValueError, match="group new tells of 3 users, expected 80"):
        versus(drawn(1), drawn(2), new=np.ones(3, dtype=np.bool_))
