"""Tastes: what Spark learns, folding in users, and the lists that follow."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from rekindle.methods import als
from rekindle.methods.ragged import Ragged

N_USERS, N_ITEMS, RANK = 60, 40, 6
REGULARISATION, ALPHA = 0.08, 2.5


@dataclass(frozen=True)
class Carried:
    value: Any


def shop(seed: int = 1) -> list[tuple[int, int, float]]:
    """(user, item, strength): two tastes, and a few returns that outweigh what came before."""
    generator = np.random.default_rng(seed)
    rows = []
    for user in range(N_USERS):
        liked = np.arange(N_ITEMS) % 2 == user % 2
        chance = np.where(liked, 0.4, 0.05)
        for item in np.flatnonzero(generator.random(N_ITEMS) < chance):
            strength = float(np.float32(generator.gamma(2.0, 1.5)))
            rows.append((user, int(item), -strength if generator.random() < 0.06 else strength))
    return rows


def tastes(rows: list[tuple[int, int, float]], users: list[int]) -> Ragged:
    items = [[i for u, i, _ in rows if u == user] for user in users]
    return Ragged.from_lists(items, [[s for u, _, s in rows if u == user] for user in users])


def fit(spark: Any, rows: list[tuple[int, int, float]]) -> Any:
    """Spark ML's own."""
    from pyspark.ml.recommendation import ALS

    frame = spark.createDataFrame(rows, "user int, item int, strength float")
    settings = {
        "rank": RANK,
        "regParam": REGULARISATION,
        "alpha": ALPHA,
        "maxIter": 4,
        "seed": 7,
        "implicitPrefs": True,
    }
    return ALS(userCol="user", itemCol="item", ratingCol="strength", **settings).fit(frame)


def factors_of(seed: int = 0, users: int = 5, items: int = 30, rank: int = 4) -> tuple[Any, Any]:
    generator = np.random.default_rng(seed)
    return (
        generator.normal(0, 1, (users, rank)).astype(np.float32),
        generator.normal(0, 1, (items, rank)).astype(np.float32),
    )


def solved_alone(strengths: dict[int, float], items: NDArray[np.float32], lam: float, alpha: float) -> Any:
    """The module's equation for one user, written out over every item of the catalogue."""
    wide = items.astype(np.float64)
    given = np.zeros(len(items))
    for item, strength in strengths.items():
        given[item] = strength
    confidence = 1 + alpha * np.abs(given)
    preference = (given > 0).astype(float)
    left = wide.T @ np.diag(confidence) @ wide + lam * preference.sum() * np.eye(items.shape[1])
    return np.linalg.solve(left, wide.T @ (confidence * preference))


def test_folding_in_gives_the_users_that_spark_itself_learned(spark: Any) -> None:
    rows = shop()
    model = fit(spark, rows)
    items = np.zeros((N_ITEMS, RANK), dtype=np.float32)
    for row in model.itemFactors.collect():
        items[row.id] = row.features
    sparks = dict(model.userFactors.collect())
    users = sorted(sparks)
    folded = als.fold_in(tastes(rows, users), items, regularisation=REGULARISATION, alpha=ALPHA)
    expected = np.array([sparks[user] for user in users])
    assert np.abs(expected).max() > 0.3
    np.testing.assert_allclose(folded, expected, atol=1e-4)
    ours, _ = als.top_k(folded, items, 10)
    theirs, _ = als.top_k(expected.astype(np.float32), items, 10)
    overlap = np.mean([len(set(a) & set(b)) / 10 for a, b in zip(ours, theirs, strict=True)])
    assert overlap > 0.99


histories = st.lists(
    st.dictionaries(st.integers(0, 29), st.floats(-3, 9).filter(lambda s: abs(s) > 0.01), max_size=20),
    min_size=1,
    max_size=7,
)


@settings(max_examples=60, deadline=None)
@given(histories)
def test_folding_in_solves_the_stated_equation(drawn: list[dict[int, float]]) -> None:
    _, items = factors_of()
    rows = Ragged.from_lists([list(one) for one in drawn], [list(one.values()) for one in drawn])
    found = als.fold_in(rows, items, regularisation=0.3, alpha=1.7)
    expected = [
        solved_alone(one, items, 0.3, 1.7) if max(one.values(), default=0) > 0 else np.zeros(4) for one in drawn
    ]
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_a_users_factors_depend_on_nobody_else(monkeypatch: pytest.MonkeyPatch) -> None:
    generator = np.random.default_rng(4)
    _, items = factors_of(items=200, rank=16)
    drawn = [generator.choice(200, generator.integers(1, 60), replace=False).tolist() for _ in range(90)]
    rows = Ragged.from_lists(drawn, [[1.0 + i % 3 for i in one] for one in drawn])
    together = als.fold_in(rows, items, regularisation=0.1, alpha=2.0)
    alone = [als.fold_in(rows.between(n, n + 1), items, regularisation=0.1, alpha=2.0)[0] for n in range(90)]
    np.testing.assert_array_equal(together, alone)
    monkeypatch.setattr(als, "BLOCK_CELLS", 3000)
    np.testing.assert_array_equal(together, als.fold_in(rows, items, regularisation=0.1, alpha=2.0))


def test_items_that_the_model_does_not_know_change_nothing() -> None:
    _, items = factors_of()
    items[7] = 0
    known = Ragged.from_lists([[1, 2]], [[1.0, 2.0]])
    more = Ragged.from_lists([[1, 7, 2]], [[1.0, 5.0, 2.0]])
    np.testing.assert_allclose(
        als.fold_in(known, items, regularisation=0.2, alpha=1.0),
        als.fold_in(more, items, regularisation=0.2, alpha=1.0),
        rtol=1e-6,
    )


def test_strangers_and_those_who_only_returned_have_no_taste() -> None:
    _, items = factors_of()
    found = als.fold_in(Ragged.from_lists([[], [3]], [[], [-2.0]]), items, regularisation=0.2, alpha=1.0)
    assert (found == 0).all()


@settings(max_examples=60, deadline=None)
@given(
    st.integers(0, 1000),
    st.integers(1, 35),
    st.lists(st.lists(st.integers(0, 29), max_size=30, unique=True), min_size=5, max_size=5),
)
def test_lists_are_those_of_a_full_sort(seed: int, k: int, never: list[list[int]]) -> None:
    users, items = factors_of(seed)
    items[20:] *= 0.01
    items[27:] = 0
    items[5] = items[11]  # two items that nobody can tell apart
    eligible = np.arange(30) % 4 != 1
    found, scores = als.top_k(users, items, k, blocked=Ragged.from_lists(never), eligible=eligible)
    for user in range(5):
        exact = items.astype(np.float64) @ users[user].astype(np.float64)
        left = [i for i in range(30) if eligible[i] and i not in never[user]]
        # Rounded: the items' products are summed in another order here.
        expected = sorted(left, key=lambda i: (-round(float(exact[i]), 12), i))[:k]
        assert found[user, : len(expected)].tolist() == expected
        assert (found[user, len(expected) :] == -1).all()
        np.testing.assert_allclose(scores[user, : len(expected)], exact[expected], atol=1e-12)
        assert np.isnan(scores[user, len(expected) :]).all()


def test_a_list_depends_on_no_other_user_and_on_no_block(monkeypatch: pytest.MonkeyPatch) -> None:
    users, items = factors_of(users=80, items=500, rank=24)
    together, scores = als.top_k(users, items, 20)
    for n in range(0, 80, 9):
        alone, score = als.top_k(users[n : n + 1], items, 20)
        np.testing.assert_array_equal(alone[0], together[n])
        np.testing.assert_array_equal(score[0], scores[n])
    monkeypatch.setattr(als, "RANKED_USERS", 7)
    monkeypatch.setattr(als, "RANKED_ITEMS", 90)
    np.testing.assert_array_equal(als.top_k(users, items, 20)[0], together)


def test_where_all_items_tie_the_first_are_taken() -> None:
    found, _ = als.top_k(np.ones((2, 3), np.float32), np.ones((50, 3), np.float32), 4)
    assert found.tolist() == [[0, 1, 2, 3]] * 2


def test_arrays_that_do_not_belong_together_are_refused() -> None:
    _, items = factors_of()
    users, _ = factors_of()
    with pytest.raises(ValueError, match="expected 0 to 29"):
        als.top_k(users, items, 3, blocked=Ragged.from_lists([[30], [], [], [], []]))
    with pytest.raises(ValueError, match="carry no strengths"):
        als.fold_in(Ragged.from_lists([[1]]), items, regularisation=0.1, alpha=1.0)
    with pytest.raises(ValueError, match="regularisation 0"):
        als.fold_in(Ragged.from_lists([[1]], [[1.0]]), items, regularisation=0, alpha=1.0)
