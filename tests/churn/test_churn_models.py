"""Churn models keep what they know in files and give the same answer whoever asks."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import LogisticRegression

from rekindle.methods import churn_models
from rekindle.methods.calibration import Isotonic, Logistic
from rekindle.methods.churn_models import ChurnModelError, RecencyModel, TreeModel, TreeParams

NAMES = ("recency_days", "views_30d", "stars_mean")
CALIBRATOR = Logistic(1.2, -0.1)
SMALL = TreeParams(n_estimators=12)


def examples(rows: int = 600) -> pd.DataFrame:
    generator = np.random.default_rng(8)
    recency = generator.uniform(0, 40, rows)
    views = generator.poisson(6, rows).astype(float)
    stars = np.where(generator.random(rows) < 0.5, np.nan, generator.integers(1, 6, rows))
    odds = 0.15 * recency - 0.3 * views - 1
    left = (generator.random(rows) < 1 / (1 + np.exp(-odds))).astype(float)
    keys = [f"u{n:04d}" for n in range(rows)]
    return pd.DataFrame(
        {"user_key": keys, "recency_days": recency, "views_30d": views, "stars_mean": stars, "is_churned": left}
    )


def trees() -> TreeModel:
    frame = examples()
    matrix = frame[list(NAMES)].to_numpy(dtype=np.float32)
    booster = churn_models.fit_trees_here(matrix, frame["is_churned"].to_numpy(), SMALL, 1)
    return TreeModel(booster, NAMES, Isotonic((-1.0, 1.0), (0.2, 0.8)), 21, 0)


@pytest.mark.parametrize("model", [RecencyModel(0.8, -2.0, CALIBRATOR, 21, 3), trees()])
def test_a_model_is_the_same_after_it_was_stored(model: churn_models.ChurnModel) -> None:
    back = churn_models.from_files(model.files())
    assert back == model
    assert (back.margins(examples()) == model.margins(examples())).all()


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"model.json": b"{}"}, "KeyError"),
        ({"model.json": b"not json"}, "JSONDecodeError"),
        ({"booster.ubj": b"garbage"}, "no XGBoost JSON or UBJ"),
        ({"model.json": trees().files()["model.json"].replace(b'"views_30d", ', b"")}, "trained on 3 features"),
        ({"model.json": trees().files()["model.json"].replace(b"xgboost", b"oracle")}, "'oracle', expected"),
    ],
)
def test_files_that_are_no_model_are_refused(changed: dict[str, bytes], message: str) -> None:
    with pytest.raises(ChurnModelError, match=message):
        churn_models.from_files(trees().files() | changed)


def test_the_recency_curve_is_the_logistic_regression_of_another_library() -> None:
    frame = examples(4000)
    recency, left = frame["recency_days"].to_numpy(), frame["is_churned"].to_numpy()
    slope, intercept = churn_models.fit_recency(recency, left)
    theirs = LogisticRegression(C=1e9, tol=1e-9).fit(np.log1p(recency)[:, None], left)
    assert slope == pytest.approx(theirs.coef_[0, 0], rel=5e-3)  # Platt's targets are pulled in by 1/N
    assert intercept == pytest.approx(theirs.intercept_[0], rel=5e-3)


def test_the_longer_ago_the_last_purchase_the_higher_the_margin() -> None:
    margins = RecencyModel(0.8, -2.0, CALIBRATOR, 21, 0).margins(pd.DataFrame({"recency_days": [0.0, 1.0, 30.0]}))
    assert (np.diff(margins) > 0).all()


def test_a_small_shop_trains_on_one_worker_and_a_large_one_on_no_more_than_there_are() -> None:
    assert [churn_models.workers_for(rows, 8) for rows in (0, 50_000, 50_001, 10_000_000)] == [1, 1, 2, 8]


def test_the_order_of_examples_does_not_change_a_byte_of_the_trees(spark: Any) -> None:
    workers = 2
    frame = examples().replace({np.nan: None})
    first = spark.createDataFrame(frame)
    second = spark.createDataFrame(frame.sample(frac=1, random_state=4)).repartition(5, "views_30d")
    found = [
        churn_models.fit_trees(churn_models.place(f, ("user_key",), workers), NAMES, "is_churned", SMALL, 1, workers)
        for f in (first, second)
    ]
    assert found[0] == found[1]
    model = TreeModel(found[0], NAMES, CALIBRATOR, 21, 0)
    margin = model.margins(examples())
    left = examples()["is_churned"] == 1
    assert margin[left].mean() > margin[~left].mean() + 0.3


def test_one_worker_grows_the_trees_that_xgboost_grows_alone(spark: Any) -> None:
    frame = examples()
    placed = churn_models.place(spark.createDataFrame(frame.replace({np.nan: None})), ("user_key",), 1)
    whole = TreeParams(n_estimators=12, subsample=1.0, colsample_bytree=1.0)
    there = churn_models.fit_trees(placed, NAMES, "is_churned", whole, 1, 1)
    matrix = frame[list(NAMES)].to_numpy(dtype=np.float32)
    here = churn_models.fit_trees_here(matrix, frame["is_churned"].to_numpy(), whole, 1)
    margins = [TreeModel(booster, NAMES, CALIBRATOR, 21, 0).margins(frame) for booster in (there, here)]
    assert margins[0] == pytest.approx(margins[1], abs=1e-4)
