"""Two ways of grouping the same users are compared as scikit-learn does it, and groups go on as who they were."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import adjusted_rand_score

from rekindle.methods.partitions import adjusted_rand, contingency, jaccard, matched

GROUPS = st.lists(st.tuples(st.integers(0, 4), st.integers(0, 3)), min_size=2, max_size=60)


@given(GROUPS)
def test_the_adjusted_rand_index_is_scikit_learn_s(users: list[tuple[int, int]]) -> None:
    first, second = np.array(users, dtype=np.int64).T
    table = contingency(first, second)
    assert table.sum() == len(users)
    assert adjusted_rand(table) == pytest.approx(adjusted_rand_score(first, second), abs=1e-12)


def test_users_nobody_and_one_group_have_an_index() -> None:
    assert adjusted_rand(np.zeros((3, 2), dtype=np.int64)) == 1.0
    assert adjusted_rand(np.array([[7]])) == 1.0
    assert adjusted_rand(np.array([[1000, 0], [0, 1000]])) == 1.0
    # So many users that products of pairs need more than 64 bits.
    assert adjusted_rand(np.array([[10**9, 10**9], [10**9, 10**9]])) == pytest.approx(0.0, abs=1e-8)


def test_a_group_goes_on_as_the_one_whose_users_it_has_whatever_the_order_of_groups() -> None:
    table = np.array([[90, 0, 5], [0, 0, 40], [3, 20, 0]])
    assert matched(table, 0.3) == {0: 0, 2: 1, 1: 2}
    shuffled = table[:, [2, 0, 1]]
    assert matched(shuffled, 0.3) == {1: 0, 0: 1, 2: 2}


def test_what_shares_too_few_users_is_another_group() -> None:
    # The old group fell apart into three alike parts: none is the same segment as before.
    assert matched(np.array([[30, 30, 30]]), 0.4) == {}
    assert list(matched(np.array([[30, 30, 30]]), 0.3).values()) == [0]
    assert jaccard(np.array([[30, 30, 30]])).tolist() == [[1 / 3] * 3]
    assert matched(np.zeros((2, 0), dtype=np.int64), 0.3) == {}
