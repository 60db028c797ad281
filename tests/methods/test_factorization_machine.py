"""The factorization machine against equation 1 as a double sum and finite differences, and what must stay true."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy import sparse

from rekindle.methods.factorization_machine import (
    BUCKETS,
    FactorizationMachine,
    FittedFactorizationMachine,
    Weights,
    examples,
    gradient,
    loss,
)
from rekindle.methods.interactions import Interactions, Past, Users
from rekindle.methods.ragged import Ragged

N_ITEMS = 12
CATEGORY = sparse.csr_matrix(np.eye(3)[np.arange(N_ITEMS) % 3])
SMALL = FactorizationMachine(4, 0.1, 0.01, 30, 3, CATEGORY)


def shop(seed: int = 0) -> Interactions:
    """Thirty customers of two tastes on some days; nobody has touched items 10 and 11."""
    drawn = np.random.default_rng(seed)
    user = drawn.integers(0, 30, 400)
    item = (user % 2) * 5 + drawn.integers(0, 5, 400)
    return Interactions(user, item, np.ones(400), drawn.integers(0, 20, 400) / 1.0, 30, N_ITEMS)


def shuffled(known: Interactions) -> Interactions:
    order = np.random.default_rng(9).permutation(len(known))
    columns = (known.user[order], known.item[order], known.strength[order], known.age_days[order])
    return Interactions(*columns, known.n_users, known.n_items)


def everybody(known: Interactions) -> Users:
    return Users(np.full(known.n_users, -1), known.histories(), known.past())


def test_a_score_is_equation_1_as_a_double_sum() -> None:
    fitted = SMALL.fit(shop())
    users = Users(
        np.array([-1]), Ragged.from_lists([[1, 4, 7]]), Past(np.ones(3), np.ones(3), np.ones(3), np.full(1, 5.0))
    )
    w, item = fitted.weights, 8
    v = np.concatenate([w.history, w.activity, w.item])
    linear = np.concatenate([np.zeros(N_ITEMS + 2 * BUCKETS), w.linear])
    x = np.zeros(len(v))
    x[[1, 4, 7]] = 1 / np.sqrt(3)
    x[N_ITEMS + 1] = x[N_ITEMS + BUCKETS + 2] = 1.0  # 3 items: 2 to 3; 5 days: 4 to 7
    of_items = N_ITEMS + 2 * BUCKETS
    x[of_items + item] = x[of_items + N_ITEMS + item % 3] = 1.0
    want = float(linear @ x)
    for a in range(len(x)):
        for b in range(a + 1, len(x)):
            want += float(v[a] @ v[b]) * x[a] * x[b]
    assert fitted.scores(users)[0, item] == pytest.approx(want, abs=1e-6)


def test_the_slope_is_that_of_finite_differences() -> None:
    drawn = np.random.default_rng(1)
    batch = examples(shop(), 10.0)
    features = sparse.hstack([sparse.identity(N_ITEMS), 2 * CATEGORY], format="csr")
    shapes = ((N_ITEMS, 3), (2 * BUCKETS, 3), (N_ITEMS + 3, 3), (N_ITEMS + 3,))
    arrays = [drawn.normal(size=shape) for shape in shapes]
    other = drawn.integers(0, N_ITEMS, len(batch.item))
    slopes = gradient(Weights(*arrays), features, batch, other, 0.3).arrays()
    for array, slope in zip(arrays, slopes, strict=True):
        for place in drawn.choice(array.size, 12, replace=False):
            at, step = np.unravel_index(place, array.shape), 1e-5
            array[at] += step
            above = loss(Weights(*arrays), features, batch, other, 0.3)
            array[at] -= 2 * step
            below = loss(Weights(*arrays), features, batch, other, 0.3)
            array[at] += step
            assert slope[at] == pytest.approx((above - below) / (2 * step), rel=1e-5, abs=1e-5)


def test_two_tastes_are_told_apart_also_for_a_stranger() -> None:
    scores = (
        replace(SMALL, item_features=None)
        .fit(shop())
        .scores(Users(np.full(2, -1), Ragged.from_lists([[0, 1], [5, 6]])))
    )
    assert scores[0, :5].min() > scores[0, 5:10].max()
    assert scores[1, 5:10].min() > scores[1, :5].max()


def test_an_item_nobody_touched_is_scored_by_its_features_alone() -> None:
    people = everybody(shop())
    with_category, without = (
        SMALL.fit(shop()).scores(people),
        replace(SMALL, item_features=None).fit(shop()).scores(people),
    )
    assert np.isfinite(with_category[:, 10:]).all()
    assert (without[:, 10:] == -np.inf).all()
    assert np.isfinite(without[:, :10]).all()


def test_an_example_of_what_goes_together_takes_its_item_out_of_the_history() -> None:
    found = examples(shop(), None)
    held = np.asarray(found.bags[found.row, found.item]).ravel()
    assert (held[found.without > 0] == 1).all()
    assert found.weight.tolist() == [1.0] * len(found.item)


def test_what_came_before_a_day_is_all_that_an_example_of_that_day_knows() -> None:
    """Item 2 on day 9, items 0 and 1 on day 5, item 2 again and item 3 on day 1."""
    item, age = np.array([2, 0, 1, 2, 3]), np.array([9.0, 5.0, 5.0, 1.0, 1.0])
    found = examples(Interactions(np.zeros(5, dtype=np.int64), item, np.ones(5), age, 1, 4), 1.0)
    later = found.without == 0
    told = [(found.bags[r].indices.tolist(), int(i)) for r, i in zip(found.row[later], found.item[later], strict=True)]
    assert told == [([2], 0), ([2], 1), ([0, 1, 2], 2), ([0, 1, 2], 3)]
    assert found.weight[later].tolist() == [2.0**-5, 2.0**-5, 0.5, 0.5]


def test_order_changes_no_bit_and_storage_no_score() -> None:
    fitted, people = SMALL.fit(shop()), everybody(shop())
    assert fitted.to_files() == SMALL.fit(shuffled(shop())).to_files()
    again = FittedFactorizationMachine.from_files(fitted.to_files())
    assert (again.scores(people) == fitted.scores(people)).all()
    assert fitted.explain(people.histories.between(0, 1), 1) == {}


def test_a_user_is_served_alone_as_among_others_to_the_last_bit() -> None:
    fitted, people = SMALL.fit(shop()), everybody(shop())
    together = fitted.scores(people)
    for n in range(len(people)):
        assert (fitted.scores(people.between(n, n + 1))[0] == together[n]).all()


def test_who_has_no_history_is_offered_nothing() -> None:
    assert (SMALL.fit(shop()).scores(Users(np.array([-1]), Ragged.empty(1))) == -np.inf).all()


def test_what_cannot_be_learnt_from_is_refused() -> None:
    with pytest.raises(ValueError, match="features of 12 items for 4 items"):
        SMALL.fit(Interactions(np.zeros(1, dtype=int), np.zeros(1, dtype=int), np.ones(1), np.zeros(1), 1, 4))
    with pytest.raises(ValueError, match="no user with two items in 1 interactions"):
        SMALL.fit(Interactions(np.zeros(1, dtype=int), np.zeros(1, dtype=int), np.ones(1), np.zeros(1), 1, N_ITEMS))
    with pytest.raises(ValueError, match="rank 0"):
        replace(SMALL, rank=0)
    with pytest.raises(ValueError, match="learning rate 0"):
        replace(SMALL, learning_rate=0.0)
