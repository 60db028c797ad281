"""Ranking figures against plain definitions written a second time, scikit-learn, and worked examples."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from sklearn.metrics import ndcg_score

from rekindle.methods import ranking
from rekindle.methods.ragged import Ragged

N_ITEMS = 12


def lists_of(*rows: list[int], width: int = 5) -> NDArray[np.int64]:
    return np.array([row + [-1] * (width - len(row)) for row in rows], dtype=np.int64)


users = st.lists(
    st.tuples(
        st.lists(st.integers(0, N_ITEMS - 1), unique=True, max_size=6),
        st.lists(st.integers(0, N_ITEMS - 1), unique=True, max_size=9),
    ),
    min_size=1,
    max_size=6,
)


def by_definition(shown: list[int], wanted: set[int], k: int) -> dict[str, float]:
    shown = shown[:k]
    if not wanted:
        return dict.fromkeys(
            ("ndcg", "recall", "precision", "f1", "average_precision", "reciprocal_rank", "hit"), math.nan
        )
    right = [item in wanted for item in shown]
    gain = sum(1 / math.log2(place + 2) for place, good in enumerate(right) if good)
    best = sum(1 / math.log2(place + 2) for place in range(min(k, len(wanted))))
    precision, recall = sum(right) / k, sum(right) / len(wanted)
    precisions = [sum(right[: place + 1]) / (place + 1) for place, good in enumerate(right) if good]
    return {
        "ndcg": gain / best,
        "recall": recall,
        "precision": precision,
        "f1": 2 * precision * recall / (precision + recall) if any(right) else 0.0,
        "average_precision": sum(precisions) / min(k, len(wanted)),
        "reciprocal_rank": 1 / (right.index(True) + 1) if any(right) else 0.0,
        "hit": float(any(right)),
    }


@settings(max_examples=150, deadline=None)
@given(users, st.integers(1, 8))
def test_every_figure_is_its_definition(drawn: list[tuple[list[int], list[int]]], k: int) -> None:
    judged = ranking.judge(
        lists_of(*[shown for shown, _ in drawn], width=6), Ragged.from_lists([wanted for _, wanted in drawn]), k
    )
    expected = [by_definition(shown, set(wanted), k) for shown, wanted in drawn]
    for name in expected[0]:
        found = getattr(ranking, name)(judged)
        np.testing.assert_allclose(found, [row[name] for row in expected], rtol=1e-12, atol=1e-15, err_msg=name)


def test_ndcg_is_scikit_learns() -> None:
    generator = np.random.default_rng(1)
    truth = generator.random((40, 30)) < 0.2
    truth[:, 0] = True  # scikit-learn gives 0 where nothing is relevant; we say NaN
    score = generator.random((40, 30))
    lists = np.argsort(-score, axis=1)
    relevance = Ragged.from_lists([np.flatnonzero(row).tolist() for row in truth])
    ours = ranking.mean_over_users(ranking.ndcg(ranking.judge(lists, relevance, 10)))
    assert ours == pytest.approx(ndcg_score(truth, score, k=10), abs=1e-12)


def test_a_perfect_list_has_one_and_an_empty_list_zero() -> None:
    judged = ranking.judge(lists_of([4, 2, 9], []), Ragged.from_lists([[2, 4, 9], [1]]), 3)
    for figure in (ranking.ndcg, ranking.recall, ranking.precision, ranking.average_precision, ranking.f1):
        np.testing.assert_allclose(figure(judged), [1.0, 0.0], atol=1e-12)


def test_a_user_who_wanted_nothing_is_left_out_of_the_mean() -> None:
    judged = ranking.judge(lists_of([1], [1]), Ragged.from_lists([[1], []]), 1)
    assert np.isnan(ranking.recall(judged)).tolist() == [False, True]
    assert ranking.mean_over_users(ranking.recall(judged)) == 1.0
    with pytest.raises(ValueError, match="none of 1 users"):
        ranking.mean_over_users(np.array([np.nan]))


def test_buying_an_item_twice_makes_it_relevant_once() -> None:
    judged = ranking.judge(lists_of([1]), Ragged.from_lists([[1, 1, 1]]), 1)
    assert judged.relevant.tolist() == [1]


@pytest.mark.parametrize(
    ("lists", "fault"),
    [(lists_of([1, 1]), "item twice"), (np.array([[-1, 3]]), "padding"), (np.array([[-2, -1]]), "-2 found")],
)
def test_broken_lists_are_refused(lists: NDArray[np.int64], fault: str) -> None:
    with pytest.raises(ValueError, match=fault):
        ranking.judge(lists, Ragged.from_lists([[1]]), 5)


def test_lists_for_other_users_are_refused() -> None:
    with pytest.raises(ValueError, match="for 2 users"):
        ranking.judge(lists_of([1]), Ragged.from_lists([[1], [2]]), 5)


def test_coverage_counts_each_item_once() -> None:
    assert ranking.coverage(lists_of([0, 1], [1, 2], []), 10) == pytest.approx(0.3)


def test_gini_is_the_mean_difference_of_exposure() -> None:
    generator = np.random.default_rng(3)
    lists = np.array([generator.permutation(20)[:5] for _ in range(15)])
    shown = ranking.exposure(lists, 25)
    differences = sum(abs(int(a) - int(b)) for a, b in itertools.product(shown, shown))
    assert ranking.gini(lists, 25) == pytest.approx(differences / (2 * 25 * shown.sum()), abs=1e-12)
    assert ranking.gini(lists_of([0], [1], [2], [3]), 4) == pytest.approx(0.0)
    assert ranking.gini(lists_of([2], [2], [2]), 4) == pytest.approx(1 - 1 / 4)
    with pytest.raises(ValueError, match="every list is empty"):
        ranking.gini(lists_of([]), 4)


def test_novelty_is_bits_of_surprise() -> None:
    found = ranking.novelty(lists_of([0, 1], [2], []), np.array([8, 2, 0]), 8)
    np.testing.assert_allclose(found, [(0 + 2) / 2, 3.0, np.nan])


@settings(max_examples=60, deadline=None)
@given(users)
def test_diversity_is_the_share_of_unlike_pairs(drawn: list[tuple[list[int], list[int]]]) -> None:
    category = np.array([item % 4 for item in range(N_ITEMS)])
    expected = []
    for shown, _ in drawn:
        pairs = list(itertools.combinations(shown, 2))
        unlike = sum(category[a] != category[b] for a, b in pairs)
        expected.append(unlike / len(pairs) if pairs else math.nan)
    found = ranking.intra_list_diversity(lists_of(*[shown for shown, _ in drawn], width=6), category)
    np.testing.assert_allclose(found, expected)


def test_an_item_outside_the_catalogue_is_refused() -> None:
    with pytest.raises(ValueError, match="expected 0 to 2"):
        ranking.coverage(lists_of([3]), 3)
