"""Tonight's users, how likely they are to leave, and why."""

from __future__ import annotations

from datetime import date
from typing import Any

import numpy as np
import pandas as pd
import pytest

from jobs.churn.score_churn import at_risk_users, bands_of
from rekindle import settings
from rekindle.contract import conform
from rekindle.methods import churn_models
from rekindle.methods.calibration import Logistic
from rekindle.methods.churn_models import RecencyModel, TreeModel, TreeParams
from rekindle.methods.churn_scoring import Bands, scorer
from rekindle.methods.xgboost_scoring import contributions, feature_matrix, load_booster
from schemas.at_risk_users import AT_RISK_USERS, RISK_BANDS
from schemas.user_features import MODEL_INPUTS, USER_FEATURES

BANDS = Bands(("low", "medium", "high", "critical"), (0.35, 0.55, 0.75), 0.55)
D = date(2026, 4, 30)
RECENCY = RecencyModel(1.0, -2.5, Logistic(1.0, 0.0), 21, 0)
KEYS = ("user_key",)


def users(rows: int = 300) -> pd.DataFrame:
    generator = np.random.default_rng(6)
    frame = pd.DataFrame({name: generator.poisson(5, rows).astype(float) for name in MODEL_INPUTS})
    frame["recency_days"] = generator.uniform(0, 40, rows)
    frame["stars_mean"] = np.where(generator.random(rows) < 0.5, np.nan, 3.0)
    return frame.assign(user_key=[f"u{n:03d}" for n in range(rows)])


def trees() -> TreeModel:
    frame = users()
    generator = np.random.default_rng(1)
    odds = 0.2 * frame["recency_days"] - 0.6 * frame["views_30d"] - 1
    left = (generator.random(len(frame)) < 1 / (1 + np.exp(-odds))).astype(float).to_numpy()
    matrix = feature_matrix(frame, MODEL_INPUTS)
    booster = churn_models.fit_trees_here(matrix, left, TreeParams(n_estimators=30, min_child_weight=3), 1)
    return TreeModel(booster, MODEL_INPUTS, Logistic(1.0, 0.0), 21, 0)


def here(model: churn_models.ChurnModel, frame: pd.DataFrame) -> pd.DataFrame:
    return pd.concat(scorer(model, BANDS, "EUR", KEYS)([frame]))


def test_a_cut_point_belongs_to_the_band_above_it() -> None:
    assert BANDS.of(np.array([0.0, 0.349, 0.35, 0.55, 0.75, 1.0])).tolist() == [
        "low",
        "low",
        "medium",
        "high",
        "critical",
        "critical",
    ]


def test_bands_that_do_not_rise_are_refused() -> None:
    with pytest.raises(ValueError, match="expected one more, rising"):
        Bands(("low", "high"), (0.5, 0.4), 0.5)


def test_conf_says_where_the_bands_begin() -> None:
    conf = settings.load("simulated_shop").business.risk_bands
    limits = np.array([0.0, conf.medium, conf.high, conf.critical])
    assert tuple(bands_of(conf).of(limits)) == RISK_BANDS
    assert bands_of(conf).at_risk_from == conf.at_risk_from


def test_every_eligible_user_has_one_row_and_nobody_else_has(frame: Any, spark: Any) -> None:
    common = dict.fromkeys(MODEL_INPUTS, 3.0) | {"as_of": date(2026, 5, 1)}
    tonight = frame(
        USER_FEATURES,
        common | {"user_key": "buyer"},
        common | {"user_key": "looker", "frequency": 0.0, "recency_days": None},
        common | {"user_key": "silent", "days_since_activity": 46.0},
        common | {"user_key": "starless", "stars_mean": None, "recency_to_interval": None},
    )
    scored = at_risk_users(tonight, trees(), "d1g35t", BANDS, "EUR", eligibility_days=45, business_date=D)
    rows = conform(scored, AT_RISK_USERS).collect()
    assert sorted(row.user_key for row in rows) == ["buyer", "starless"]
    assert {(row.horizon_days, row.model_version, row.business_date) for row in rows} == {(21, "d1g35t", D)}
    assert {(row.frequency, row.monetary, row.recency_days) for row in rows} == {(3, 3.0, 3.0)}


def test_workers_say_what_the_driver_would_say(spark: Any) -> None:
    model, people = trees(), users()
    sent = spark.createDataFrame(people.assign(as_of=date(2026, 5, 1)).replace({np.nan: None})).repartition(3)
    chosen = at_risk_users(sent, model, "v", BANDS, "EUR", eligibility_days=10_000, business_date=D)
    found = {row.user_key: row for row in chosen.collect()}
    buyers = people[people["frequency"] > 0]
    expected = here(model, buyers)
    assert len(found) == len(buyers) > 250
    for row in expected.itertuples():
        there = found[row.user_key]
        assert (there.churn_probability, there.risk_band) == (row.churn_probability, row.risk_band)
        assert there.reasons == row.reasons


def test_reasons_are_what_pushes_this_user_where_the_model_sees_them() -> None:
    model, people = trees(), users()
    scored = here(model, people)
    added = contributions(load_booster(model.booster, model.features), feature_matrix(people, MODEL_INPUTS))[:, :-1]
    assert scored["is_at_risk"].nunique() == 2
    recency = MODEL_INPUTS.index("recency_days")
    for place, row in enumerate(scored.itertuples()):
        assert 1 <= len(row.reasons) == len(set(row.reasons)) <= 3
        sign = 1.0 if row.is_at_risk else -1.0
        if int(np.argmax(sign * added[place])) == recency and sign * added[place, recency] > 0:
            words = "no purchase for" if row.is_at_risk else "last purchase"
            assert row.reasons[0].startswith(words)
    assert scored["reasons"].str[0].str.startswith("no purchase for").any()


def test_recency_alone_has_a_single_reason() -> None:
    scored = here(RECENCY, users())
    assert set(scored["reasons"].map(len)) == {1}
    assert scored["reasons"].str[0].str.contains("purchase").all()
    assert scored.sort_values("churn_probability")["user_key"].tolist() == (
        users().sort_values("recency_days")["user_key"].tolist()
    )


def test_at_risk_begins_at_its_cut_point() -> None:
    scored = here(RECENCY, users())
    assert (scored["is_at_risk"] == (scored["churn_probability"] >= 0.55)).all()
    assert (scored["is_at_risk"] == scored["risk_band"].isin(["high", "critical"])).all()
