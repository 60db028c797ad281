"""Churn models keep what they know in files and give the same answer whoever asks."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import LogisticRegression

from rekindle import registry
from rekindle.methods import churn_fitting, churn_models, churn_trees
from rekindle.methods.calibration import Isotonic, Logistic
from rekindle.methods.churn_inputs import finite_matrix, fit_scaling
from rekindle.methods.churn_models import (
    ChurnModel,
    ChurnModelError,
    LinearModel,
    RecencyModel,
    SurvivalModel,
    TreeModel,
)
from rekindle.methods.churn_trees import ForestParams, SurvivalParams, TreeParams
from rekindle.methods.classification import roc_auc

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


def arrays(frame: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    return frame[list(NAMES)].to_numpy(dtype=np.float32), frame["is_churned"].to_numpy()


def trees(params: TreeParams | ForestParams = SMALL, method: str = "xgboost") -> TreeModel:
    booster = churn_trees.fit_trees_here(*arrays(examples()), params, 1)
    return TreeModel(booster, NAMES, Isotonic((-1.0, 1.0), (0.2, 0.8)), 21, 0, method)


def survival(frame: pd.DataFrame) -> SurvivalModel:
    """Who stayed is back the later the longer ago the last purchase is; who left was not seen in 21 days."""
    back = np.clip(1 + 0.4 * frame["recency_days"].to_numpy(), 1, 21)
    days = np.where(frame["is_churned"] == 1, np.nan, back)
    params = SurvivalParams(n_estimators=30, learning_rate=0.2)
    booster = churn_trees.fit_survival(arrays(frame)[0], days, 21.0, params, 1)
    return SurvivalModel(booster, NAMES, CALIBRATOR, 21, 0)


def linear(fit: Any = churn_fitting.fit_logistic, **more: Any) -> LinearModel:
    found = fit(*arrays(examples()), NAMES, 21, 0, **more)
    assert isinstance(found, LinearModel)
    return found


def every_model() -> list[ChurnModel]:
    return [
        RecencyModel(0.8, -2.0, CALIBRATOR, 21, 3, 2.5),
        linear(log_above=0.5),
        linear(churn_fitting.fit_svm, penalty=10.0),
        trees(),
        trees(ForestParams(num_parallel_tree=10), "random_forest"),
        survival(examples()),
    ]


@pytest.mark.parametrize("model", every_model(), ids=lambda model: model.method)
def test_a_model_is_the_same_after_it_was_stored(model: ChurnModel) -> None:
    back = churn_models.from_files(model.files())
    assert back == model
    assert (back.margins(examples()) == model.margins(examples())).all()
    anew = replace(back, calibrator=Logistic(2.0, 0.5))
    assert (anew.margins(examples()) == model.margins(examples())).all()
    assert churn_models.from_files(anew.files()).calibrator == Logistic(2.0, 0.5)


@pytest.mark.parametrize("model", every_model(), ids=lambda model: model.method)
def test_what_the_features_add_and_a_bias_are_the_margin(model: ChurnModel) -> None:
    frame = examples()
    added = model.contributions(frame)
    assert added.shape == (len(frame), len(model.features))
    bias = model.margins(frame) - added.sum(axis=1)
    assert bias == pytest.approx(bias[0], abs=1e-5)
    alone = model.contributions(frame.iloc[7:8])
    assert (alone == added[7:8]).all(), "a user's reasons do not depend on who else is scored"


def test_the_same_examples_give_the_same_bytes_of_every_model() -> None:
    digests = [[registry.digest_of(model.files()) for model in every_model()] for _ in range(2)]
    assert digests[0] == digests[1]
    assert len(set(digests[0])) == 6


def test_every_model_that_is_not_recency_alone_sees_what_was_put_into_the_shop() -> None:
    frame = examples()
    for model in every_model()[1:]:
        assert roc_auc(frame["is_churned"].to_numpy(), model.margins(frame)) > 0.83, model.method
        towards = model.contributions(frame)[:, 0]
        assert np.corrcoef(towards, frame["recency_days"])[0, 1] > 0.7, model.method


def test_the_logistic_regression_is_that_of_another_solver_on_inputs_made_by_hand() -> None:
    frame = examples()
    stars = frame["stars_mean"]
    made = np.column_stack([frame["recency_days"], frame["views_30d"], stars.fillna(stars.median())]).astype(np.float32)
    made = np.column_stack([(made - made.mean(axis=0)) / made.std(axis=0), stars.isna() - stars.isna().mean()])
    theirs = LogisticRegression(C=0.1, solver="lbfgs", tol=1e-10).fit(made, frame["is_churned"])
    model = linear(penalty=10.0)
    assert model.margins(frame) == pytest.approx(made @ theirs.coef_[0] + theirs.intercept_[0], abs=1e-4)
    assert model.absence_weights[2] == pytest.approx(theirs.coef_[0][3], abs=1e-4)


def test_constant_and_empty_features_weigh_nothing_and_hurt_no_model() -> None:
    frame = examples().assign(constant=0.1, empty=np.nan, sometimes=np.where(np.arange(600) % 3, 0.1, np.nan))
    names = (*NAMES, "constant", "empty", "sometimes")
    matrix, left = frame[list(names)].to_numpy(dtype=np.float32), frame["is_churned"].to_numpy()
    for fit in (churn_fitting.fit_logistic, churn_fitting.fit_svm):
        model = fit(matrix, left, names, 21, 0, penalty=10.0)
        assert model.weights[3:] == (0.0, 0.0, 0.0)
        assert model.absence_weights[:2] == model.absence_weights[3:5] == (0.0, 0.0)
        assert model.absence_weights[5] != 0.0, "that it is missing may tell something"
        later = frame.assign(constant=7.0, empty=3.0)
        assert (model.margins(later) == model.margins(frame)).all()
    near = churn_fitting.Neighbours(matrix, left, names, 20).margins(frame)
    assert roc_auc(left, near) > 0.8
    booster = churn_trees.fit_trees_here(matrix, left, SMALL, 1)
    added = TreeModel(booster, names, CALIBRATOR, 21, 0).contributions(frame)
    assert (added[:, 3:5] == 0).all()


def test_infinite_values_are_refused_by_column_and_rows() -> None:
    frame = examples()
    frame.loc[3:5, "views_30d"] = np.inf
    frame.loc[9, "stars_mean"] = -np.inf
    for model in every_model()[1:]:
        with pytest.raises(ValueError, match=r"infinite values of views_30d in 3 rows, stars_mean in 1 rows of 600"):
            model.margins(frame)


def test_users_of_one_kind_alone_teach_no_model() -> None:
    matrix, left = arrays(examples())
    for fit in (churn_fitting.fit_logistic, churn_fitting.fit_svm):
        with pytest.raises(ValueError, match="class"):
            fit(matrix, np.ones(len(left)), NAMES, 21, 0)
    with pytest.raises(ValueError, match="0 of 600 came back"):
        churn_trees.fit_survival(matrix, np.full(600, np.nan), 21.0, SurvivalParams(), 1)


def test_survival_recovers_after_how_many_days_users_come_back_although_only_three_weeks_are_seen() -> None:
    generator = np.random.default_rng(3)
    recency = generator.uniform(0, 40, 4000)
    truth = np.exp(1.0 + 0.06 * recency)  # half are back after 3 to 30 days
    days = truth * np.exp(generator.normal(size=4000))
    seen = np.where(days <= 21, days, np.nan)
    assert 0.2 < np.isnan(seen).mean() < 0.3
    booster = churn_trees.fit_survival(recency[:, None].astype(np.float32), seen, 21.0, SurvivalParams(), 1)
    model = SurvivalModel(booster, ("recency_days",), CALIBRATOR, 21, 0)
    said = model.days_to_purchase(pd.DataFrame({"recency_days": recency}))
    assert np.median(np.abs(np.log(said / truth))) < 0.15


def test_long_tails_are_shortened_where_asked_for_and_the_scaling_is_even() -> None:
    generator = np.random.default_rng(2)
    matrix = np.column_stack(
        [generator.lognormal(3, 1.5, 900), -generator.lognormal(3, 1.5, 900), generator.normal(size=900)]
    )
    matrix[::5, 0] = np.nan
    even = fit_scaling(matrix.astype(np.float32), log_above=1.0)
    assert even.logged == (True, True, False)
    assert fit_scaling(matrix.astype(np.float32)).logged == (False, False, False)
    values, absent = even.apply(matrix.astype(np.float32))
    assert values.mean(axis=0) == pytest.approx([0, 0, 0], abs=1e-9)
    assert values.std(axis=0) == pytest.approx([1, 1, 1])
    assert np.abs(values).max() < 6, "raw, the largest is 20 standard deviations out"
    assert absent[:, 0].mean() == pytest.approx(0, abs=1e-9)
    assert (absent[:, 1:] == 0).all()


def test_nearest_neighbours_are_those_of_a_sort() -> None:
    frame = examples()
    matrix, left = arrays(frame)
    made = churn_fitting.Neighbours(matrix, left, NAMES, 25).margins(frame)
    design = np.column_stack(fit_scaling(matrix).apply(finite_matrix(frame, NAMES)))
    for user in range(0, 600, 97):
        near = np.argsort(((design - design[user]) ** 2).sum(axis=1), kind="stable")[:25]
        share = left[near].sum()
        assert made[user] == pytest.approx(np.log((share + 0.5) / (25 - share + 0.5)))


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
    slope, intercept = churn_fitting.fit_recency(recency, left)
    theirs = LogisticRegression(C=1e9, tol=1e-9).fit(np.log1p(recency)[:, None], left)
    assert slope == pytest.approx(theirs.coef_[0, 0], rel=5e-3)  # Platt's targets are pulled in by 1/N
    assert intercept == pytest.approx(theirs.intercept_[0], rel=5e-3)


def test_the_longer_ago_the_last_purchase_the_higher_the_margin() -> None:
    margins = RecencyModel(0.8, -2.0, CALIBRATOR, 21, 0).margins(pd.DataFrame({"recency_days": [0.0, 1.0, 30.0]}))
    assert (np.diff(margins) > 0).all()


def test_a_small_shop_trains_on_one_worker_and_a_large_one_on_no_more_than_there_are() -> None:
    assert [churn_trees.workers_for(rows, 8) for rows in (0, 50_000, 50_001, 10_000_000)] == [1, 1, 2, 8]


def test_the_order_of_examples_does_not_change_a_byte_of_the_trees(spark: Any) -> None:
    workers = 2
    frame = examples().replace({np.nan: None})
    first = spark.createDataFrame(frame)
    second = spark.createDataFrame(frame.sample(frac=1, random_state=4)).repartition(5, "views_30d")
    found = [
        churn_trees.fit_trees(churn_trees.place(f, ("user_key",), workers), NAMES, "is_churned", SMALL, 1, workers)
        for f in (first, second)
    ]
    assert found[0] == found[1]
    model = TreeModel(found[0], NAMES, CALIBRATOR, 21, 0)
    margin = model.margins(examples())
    left = examples()["is_churned"] == 1
    assert margin[left].mean() > margin[~left].mean() + 0.3


def test_one_worker_grows_the_trees_that_xgboost_grows_alone(spark: Any) -> None:
    frame = examples()
    placed = churn_trees.place(spark.createDataFrame(frame.replace({np.nan: None})), ("user_key",), 1)
    whole = TreeParams(n_estimators=12, subsample=1.0, colsample_bytree=1.0)
    there = churn_trees.fit_trees(placed, NAMES, "is_churned", whole, 1, 1)
    matrix = frame[list(NAMES)].to_numpy(dtype=np.float32)
    here = churn_trees.fit_trees_here(matrix, frame["is_churned"].to_numpy(), whole, 1)
    margins = [TreeModel(booster, NAMES, CALIBRATOR, 21, 0).margins(frame) for booster in (there, here)]
    assert margins[0] == pytest.approx(margins[1], abs=1e-4)
