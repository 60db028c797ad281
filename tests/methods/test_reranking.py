"""Relevance on one scale, places kept for repeats, and what rules cost. Lists themselves: test_list_rules.py."""

from __future__ import annotations

import numpy as np
import pytest

from rekindle.methods.ragged import Ragged
from rekindle.methods.reranking import Candidates, Manner, cost, listed, places_for_repeats, relevance_of


def test_relevance_is_0_to_1_within_a_source_and_keeps_its_order_and_its_equals() -> None:
    score = np.array([[9.0, 5.0, 5.0, 1.0, 0.2, 0.1, -np.inf]])
    tier = np.array([[0, 0, 0, 0, 1, 1, -1]])
    assert relevance_of(score, tier).tolist() == [[1.0, 0.5, 0.5, 0.0, 1.0, 0.0, 0.0]]


def test_a_term_counts_in_standard_deviations_of_those_whose_term_is_known() -> None:
    score, tier = np.array([[3.0, 1.0, -1.0, -3.0]]), np.zeros((1, 4), dtype=np.int64)
    term = np.array([[np.nan, 20.0, 10.0, np.nan]])
    value = score[0] / np.sqrt(5) + 0.5 * np.array([0, 1, -1, 0])
    expected = (value - value.min()) / (value.max() - value.min())
    assert relevance_of(score, tier, [(0.5, term)])[0] == pytest.approx(expected)


def test_the_second_place_goes_to_something_else_where_likeness_outweighs_relevance() -> None:
    """Published example in words: of near equals the one unlike what was chosen comes first."""
    candidates = Candidates(
        np.array([[0, 1, 2]]),
        np.zeros((1, 3), dtype=np.int64),
        np.array([[1.0, 0.9, 0.5]]),
        np.zeros((1, 3), dtype=bool),
    )
    category, cap = np.array([0, 0, 1]), np.full(3, 9)
    assert listed(candidates, Manner(3, 0.8, category, cap))[0].tolist() == [[0, 1, 2]]  # 0.72 − 0.2 > 0.40
    assert listed(candidates, Manner(3, 0.5, category, cap))[0].tolist() == [[0, 2, 1]]  # 0.45 − 0.5 < 0.25


@pytest.mark.parametrize(
    ("share", "k", "kept"), [(0.0, 4, []), (0.25, 8, [3, 7]), (1.0, 3, [0, 1, 2]), (0.3, 5, [2, 4])]
)
def test_places_for_repeats_are_spread_evenly(share: float, k: int, kept: list[int]) -> None:
    assert np.flatnonzero(places_for_repeats(share, k)).tolist() == kept


def test_the_cost_of_rules_is_the_ndcg_they_lose_on_the_same_users() -> None:
    before = np.array([[1, 2], [3, 4], [5, 6]])
    after = np.array([[2, 1], [3, 4], [6, 5]])
    found = cost(before, after, Ragged.from_lists([[1], [4], []]), 2)
    second = 1 / np.log2(3)
    assert (found.users, found.before, found.after) == (2, pytest.approx((1 + second) / 2), pytest.approx(second))
    assert found.difference.point == pytest.approx((second - 1) / 2)
    with pytest.raises(ValueError, match="nobody had anything relevant"):
        cost(before, after, Ragged.empty(3), 2)
