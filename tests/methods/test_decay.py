"""What old events weigh, and what everybody wants."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from pyspark.errors import PySparkException

from rekindle.methods import als, decay, popularity

EVENTS = [
    ("soap", "view", 0.0),
    ("soap", "purchase", 10.0),
    ("lamp", "view", 5.0),
    ("lamp", "yawn", 5.0),
    ("vase", "view", 40.0),
    ("tea", "view", 0.0),
    ("tea", "return", 1.0),
]
WEIGHTS = {"view": 1.0, "purchase": 5.0, "return": -3.0}


def ranked(items: NDArray[np.int64], ages: NDArray[np.float64], weights: NDArray[np.float64]) -> NDArray[np.float64]:
    return popularity.popularity(items, ages, weights, n_items=5, window_days=30, half_life_days=7)


def test_a_half_life_halves() -> None:
    found = decay.decayed_micro(np.array([4.0, 4.0, 4.0]), np.array([0.0, 7.0, 14.0]), 7)
    assert found.tolist() == [4_000_000, 2_000_000, 1_000_000]


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 4), st.floats(0, 60), st.floats(-3, 9)), max_size=30), st.randoms())
def test_popularity_does_not_depend_on_the_order_of_events(rows: list[tuple[int, float, float]], chance: Any) -> None:
    def of(drawn: list[tuple[int, float, float]]) -> NDArray[np.float64]:
        columns = np.array(drawn, dtype=float).reshape(len(drawn), 3).T
        return ranked(columns[0].astype(np.int64), columns[1], columns[2])

    shuffled = rows.copy()
    chance.shuffle(shuffled)
    np.testing.assert_array_equal(of(rows), of(shuffled))
    by_hand = [sum(w * 2 ** (-a / 7) for i, a, w in rows if i == item and a < 30) for item in range(5)]
    np.testing.assert_allclose(of(rows), by_hand, atol=1e-6 * (len(rows) + 1))


def test_the_future_is_refused(spark: Any) -> None:
    with pytest.raises(ValueError, match="1 ages are negative"):
        ranked(np.array([0]), np.array([-0.1]), np.array([1.0]))
    tomorrow = spark.createDataFrame([("soap", -1.0, 1.0)], "item string, age double, weight double")
    rows = popularity.popularity_frame(
        tomorrow, item="item", age_days="age", weight="weight", window_days=30, half_life_days=7
    )
    with pytest.raises(PySparkException, match=r"age_days is -1\.0, expected 0 or more"):
        rows.collect()


def test_strengths_in_spark_are_weights_decayed_and_summed(spark: Any) -> None:
    from pyspark.sql import functions as F

    events = spark.createDataFrame(EVENTS, "item string, event string, age double")
    strength = als.confidence_weights(F.col("event"), F.col("age"), WEIGHTS, 7)
    found = dict(events.groupBy("item").agg(strength).collect())
    assert found == pytest.approx(
        {
            "soap": 1 + 5 * 2 ** (-10 / 7),
            "lamp": 2 ** (-5 / 7),
            "vase": 2 ** (-40 / 7),
            "tea": 1 - 3 * 2 ** (-1 / 7),
        },
        abs=2e-6,
    )


def test_popularity_in_spark_is_popularity_in_numpy(spark: Any) -> None:
    generator = np.random.default_rng(6)
    items, ages = generator.integers(0, 5, 300), generator.uniform(0, 60, 300)
    weights = generator.choice([1.0, 3.0, 5.0], 300)
    rows = list(zip(items.tolist(), ages.tolist(), weights.tolist(), strict=True))
    events = spark.createDataFrame(rows, "item int, age double, weight double")
    found = popularity.popularity_frame(
        events, item="item", age_days="age", weight="weight", window_days=30, half_life_days=7
    )
    expected = dict(enumerate(ranked(items, ages, weights)))
    assert dict(found.collect()) == pytest.approx(expected, abs=2e-6)


def test_nonsense_is_refused() -> None:
    with pytest.raises(ValueError, match="half_life_days is 0"):
        decay.decayed_micro(np.ones(1), np.ones(1), 0)
    with pytest.raises(ValueError, match="1 weights are NaN"):
        ranked(np.array([0]), np.array([1.0]), np.array([np.nan]))
    with pytest.raises(ValueError, match="expected 0 to 4"):
        ranked(np.array([5]), np.array([1.0]), np.array([1.0]))
    with pytest.raises(ValueError, match="expected equal"):
        ranked(np.array([0]), np.array([1.0, 2.0]), np.array([1.0]))
