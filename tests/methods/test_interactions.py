"""What recommenders learn from is checked as it comes in, and lists are cut alike whatever the method."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from rekindle.methods.interactions import Interactions, Users, best, lists, matrix_of, ragged_of
from rekindle.methods.ragged import Ragged

TWO_VISITS = Interactions(
    user=np.array([0, 0, 1]),
    item=np.array([2, 2, 0]),
    strength=np.array([1.0, 3.0, 2.0]),
    age_days=np.array([0.0, 10.0, 20.0]),
    n_users=2,
    n_items=4,
)


class Shelf:
    """Scores every item the same for everybody."""

    def __init__(self, scores: list[float]) -> None:
        self.row = np.array(scores)
        self.n_items = len(scores)

    def scores(self, users: Users) -> NDArray[np.float64]:
        return np.tile(self.row, (len(users), 1))

    def explain(self, history: Ragged, item: int) -> dict[int, float]:
        return {}

    def to_files(self) -> dict[str, bytes]:
        return {}


def test_what_was_done_twice_counts_together_and_fades_by_half_in_a_half_life() -> None:
    assert TWO_VISITS.matrix().toarray().tolist() == [[0, 0, 4, 0], [2, 0, 0, 0]]
    assert TWO_VISITS.matrix(10.0).toarray().tolist() == [[0, 0, 2.5, 0], [0.5, 0, 0, 0]]
    histories = TWO_VISITS.histories()
    assert (histories.offsets.tolist(), histories.items.tolist()) == ([0, 1, 2], [2, 0])
    assert (matrix_of(histories, 4) != TWO_VISITS.matrix()).nnz == 0


def test_a_past_says_when_and_how_often_and_goes_with_its_users() -> None:
    past = TWO_VISITS.past()
    assert (past.last_days.tolist(), past.times.tolist(), past.active_days.tolist()) == ([0, 20], [2, 1], [2, 1])
    assert past.interval_days[0] == 10
    assert np.isnan(past.interval_days[1])
    second = Users(np.array([0, 1]), TWO_VISITS.histories(), past).between(1, 2)
    assert second.past is not None
    assert (second.past.last_days.tolist(), second.past.active_days.tolist()) == ([20], [1])
    with pytest.raises(ValueError, match="a past of 2 users and 2 entries beside histories of 1 and 1"):
        Users(np.array([1]), TWO_VISITS.histories().between(1, 2), past)


def test_the_order_of_events_changes_no_bit() -> None:
    made = np.random.default_rng(7)
    some = Interactions(
        made.integers(0, 5, 200), made.integers(0, 6, 200), made.uniform(0.1, 3, 200), made.uniform(0, 90, 200), 5, 6
    )
    order = made.permutation(200)
    other = Interactions(some.user[order], some.item[order], some.strength[order], some.age_days[order], 5, 6)
    assert some.matrix(13.0).data.tobytes() == other.matrix(13.0).data.tobytes()
    assert some.past().interval_days.tobytes() == other.past().interval_days.tobytes()
    assert len(some.past().times) == some.matrix().nnz


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"user": np.array([0, 0, 2])}, "user 0 to 2, expected 0 to 1"),
        ({"item": np.array([-1, 0, 0])}, "item -1 to 0, expected 0 to 3"),
        ({"strength": np.array([1.0, 0.0, 1.0])}, "a strength is not a number above 0"),
        ({"strength": np.array([1.0, np.nan, 1.0])}, "a strength is not a number above 0"),
        ({"age_days": np.array([1.0, -0.5, 1.0])}, "the future is not known"),
        ({"age_days": np.array([1.0])}, r"arrays of \[1, 3\] rows"),
    ],
)
def test_what_cannot_have_happened_is_refused(wrong: dict[str, NDArray[np.float64]], told: str) -> None:
    with pytest.raises(ValueError, match=told):
        replace(TWO_VISITS, **wrong)  # type: ignore[arg-type]


def test_a_list_leaves_out_what_is_blocked_not_eligible_or_unheard_of_and_ties_go_to_the_lower_index() -> None:
    shelf = Shelf([1.0, 3.0, 3.0, -np.inf, 2.0])
    two = Users(np.array([0, -1]), Ragged.empty(2))
    blocked = Ragged.from_lists([[1], []])
    eligible = np.array([True, True, True, True, False])
    assert lists(shelf, two, 4).tolist() == [[1, 2, 4, 0]] * 2
    assert lists(shelf, two, 3, blocked=blocked, eligible=eligible).tolist() == [[2, 0, -1], [1, 2, 0]]


@given(st.lists(st.lists(st.integers(0, 3), min_size=5, max_size=5), min_size=1, max_size=4), st.integers(1, 7))
def test_the_best_are_what_a_full_sort_finds(rows: list[list[int]], k: int) -> None:
    scores = np.where(np.array(rows) == 0, -np.inf, np.array(rows, dtype=np.float64))
    expected = []
    for row in scores:
        order = [n for n in sorted(range(5), key=lambda n: (-row[n], n)) if row[n] > -np.inf]
        expected.append((order + [-1] * k)[:k])
    assert best(scores, k).tolist() == expected


def test_a_history_of_unknown_items_is_refused_and_a_matrix_does_not_reorder_the_history_it_came_from() -> None:
    history = Ragged.from_lists([[3, 1]], [[1.0, 2.0]])
    with pytest.raises(ValueError, match="histories: item index 3 found, expected 0 to 2"):
        matrix_of(history, 3)
    matrix_of(history, 4).sort_indices()
    assert history.values is not None
    assert (history.items.tolist(), history.values.tolist()) == ([3, 1], [1.0, 2.0])


def test_an_empty_shop_has_empty_lists() -> None:
    assert lists(Shelf([]), Users(np.array([0]), Ragged.empty(1)), 2).tolist() == [[-1, -1]]
    assert len(ragged_of(TWO_VISITS.matrix()[:0])) == 0
