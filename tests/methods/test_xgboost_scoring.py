"""Scores on workers are the model's own, and their reasons add up."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import pytest
import xgboost
from numpy.typing import NDArray

from rekindle.methods import xgboost_scoring as scoring

FEATURES = ["recency_days", "orders_90d", "is_member", "basket_eur"]


@dataclass(frozen=True)
class Carried:
    value: bytes


def users(rows: int = 600, seed: int = 1) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    generator = np.random.default_rng(seed)
    matrix = generator.normal(0, 1, (rows, len(FEATURES))).astype(np.float32)
    left = generator.random(rows) < 1 / (1 + np.exp(-(2 * matrix[:, 0] - matrix[:, 1])))
    matrix[generator.random(matrix.shape) < 0.1] = np.nan
    return matrix, left


@pytest.fixture(scope="module")
def trained() -> xgboost.Booster:
    matrix, left = users()
    data = xgboost.DMatrix(matrix, left, feature_names=FEATURES)
    return xgboost.train({"objective": "binary:logistic", "max_depth": 3, "seed": 1}, data, 20)


@pytest.mark.parametrize("kind", ["ubj", "json"])
def test_margins_are_the_models_own(trained: xgboost.Booster, kind: str) -> None:
    matrix, _ = users(seed=2)
    booster = scoring.load_booster(bytes(trained.save_raw(kind)), FEATURES)
    own = trained.predict(xgboost.DMatrix(matrix, feature_names=FEATURES))
    found = scoring.margins(booster, matrix)
    np.testing.assert_allclose(1 / (1 + np.exp(-found)), own, atol=1e-6)
    assert found.std() > 0.5


def test_contributions_add_up_to_the_margin(trained: xgboost.Booster) -> None:
    matrix, _ = users(seed=3)
    booster = scoring.load_booster(bytes(trained.save_raw("ubj")), FEATURES)
    added = scoring.contributions(booster, matrix)
    assert added.shape == (len(matrix), len(FEATURES) + 1)
    np.testing.assert_allclose(added.sum(axis=1), scoring.margins(booster, matrix), atol=2e-5)


def test_what_weighs_most_comes_first() -> None:
    added = np.array([[0.1, -3.0, 0.0, 2.0], [0.0, 0.0, 0.0, 0.0], [1.0, 1.0, -1.0, 0.5]])
    assert scoring.top_contributions(added, 3).tolist() == [[1, 3, 0], [-1, -1, -1], [0, 1, 2]]
    assert scoring.top_contributions(added, 3, "positive").tolist() == [[3, 0, -1], [-1, -1, -1], [0, 1, 3]]
    assert scoring.top_contributions(added[:, :2], 3).tolist() == [[1, 0, -1], [-1, -1, -1], [0, 1, -1]]


def test_missing_is_missing_however_it_arrives(trained: xgboost.Booster) -> None:
    frame = pd.DataFrame(
        {
            "recency_days": pd.array([3, None], dtype="Int32"),
            "orders_90d": [1.5, None],
            "is_member": pd.array([True, None], dtype="boolean"),
            "basket_eur": [np.nan, 2.0],
        }
    )
    matrix = scoring.feature_matrix(frame, FEATURES)
    np.testing.assert_array_equal(matrix, np.array([[3, 1.5, 1, np.nan], [np.nan, np.nan, np.nan, 2]], np.float32))
    objects = pd.DataFrame({name: pd.Series([None, 1], dtype=object) for name in FEATURES})
    assert np.isnan(scoring.feature_matrix(objects, FEATURES)[0]).all()


def test_spark_scores_every_user_once_with_the_models_own_margin(spark: Any, trained: xgboost.Booster) -> None:
    matrix, _ = users(60, seed=5)
    rows = [(f"u{n:03d}", *[None if np.isnan(v) else float(v) for v in row]) for n, row in enumerate(matrix)]
    frame = spark.createDataFrame(rows, "user_key string, " + ", ".join(f"{name} double" for name in FEATURES))
    content = bytes(trained.save_raw("ubj"))
    score = scoring.scorer(spark.sparkContext.broadcast(content), FEATURES, ["user_key"])
    found = frame.repartition(3, "user_key").mapInPandas(score, "user_key string, " + scoring.SCORED)
    scored = found.orderBy("user_key").collect()
    booster = scoring.load_booster(content, FEATURES)
    assert [row["user_key"] for row in scored] == [row[0] for row in rows]
    np.testing.assert_array_equal([row["margin"] for row in scored], scoring.margins(booster, matrix))
    added = scoring.contributions(booster, matrix)
    for row, values, own in zip(scored, matrix, added, strict=True):
        places = [FEATURES.index(name) for name in row["features"]]
        assert row["contributions"] == [own[place] for place in places]
        assert np.abs(own[:-1]).max() == abs(row["contributions"][0])
        np.testing.assert_array_equal(np.array(row["feature_values"], dtype=float), values[places].astype(float))


def test_a_frame_without_rows_is_scored(trained: xgboost.Booster) -> None:
    score = scoring.scorer(Carried(bytes(trained.save_raw("ubj"))), FEATURES, ["user_key"])
    empty = pd.DataFrame({"user_key": pd.Series(dtype=str), **{name: pd.Series(dtype=float) for name in FEATURES}})
    (found,) = score(iter([empty]))
    assert len(found) == 0
    assert list(found.columns) == ["user_key", "margin", "features", "feature_values", "contributions"]


def test_another_model_is_refused(trained: xgboost.Booster) -> None:
    content = bytes(trained.save_raw("ubj"))
    with pytest.raises(ValueError, match="order matters"):
        scoring.load_booster(content, FEATURES[::-1])
    with pytest.raises(ValueError, match="4 features, 3 given"):
        scoring.load_booster(content, FEATURES[:3])
    with pytest.raises(ValueError, match="no XGBoost JSON or UBJ"):
        scoring.load_booster(b"not a model", FEATURES)
    with pytest.raises(ValueError, match="are not among the columns"):
        scoring.feature_matrix(pd.DataFrame({"user_key": ["a"]}), FEATURES)
