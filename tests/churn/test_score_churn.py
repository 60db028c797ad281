"""Tonight's users, how likely they are to leave, and why."""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from typing import Any

import numpy as np
import pandas as pd
import pytest

from jobs.churn.score_churn import at_risk_users, bands_of, suggested_action
from rekindle import contract, settings
from rekindle.contract import conform
from rekindle.methods import churn_models
from rekindle.methods.calibration import Logistic
from rekindle.methods.churn_models import RecencyModel, TreeModel, TreeParams
from rekindle.methods.churn_scoring import Bands, Before, Words, scorer
from rekindle.methods.lifetime_value import Terms
from rekindle.methods.xgboost_scoring import feature_matrix
from rekindle.settings import Action, WinBack
from schemas.at_risk_users import AT_RISK_USERS, RISK_BANDS
from schemas.suppressed_users import SUPPRESSED_USERS
from schemas.user_features import MODEL_INPUTS, USER_FEATURES

BANDS = Bands(("low", "medium", "high", "critical"), (0.35, 0.55, 0.75), 0.55)
D = date(2026, 4, 30)
RECENCY = RecencyModel(1.0, -2.5, Logistic(1.0, 0.0), 21, 0)
KEYS = ("user_key",)
EUROS = Words("EUR")


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
    return pd.concat(scorer(model, BANDS, EUROS, KEYS)([frame]))


def scored_by_spark(tonight: Any, model: churn_models.ChurnModel, eligibility_days: int, **more: Any) -> Any:
    told: dict[str, Any] = {"model_version": "d1g35t", "bands": BANDS, "words": EUROS, "win_back": WinBack()}
    told |= {"terms": Terms(365, 0.0, 0.3), "fits": None, "before": None, "calibrated_as_of": None}
    suppressed = contract.frame(tonight.sparkSession, SUPPRESSED_USERS, {"user_key": "buyer", "reason": "complaint"})
    return at_risk_users(tonight, suppressed, model, eligibility_days=eligibility_days, business_date=D, **told | more)


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
    scored = scored_by_spark(tonight, trees(), 45)
    rows = conform(scored, AT_RISK_USERS).collect()
    assert {row.user_key: row.suppressed_by for row in rows} == {"buyer": "complaint", "starless": None}
    assert {(row.horizon_days, row.model_version, row.business_date) for row in rows} == {(21, "d1g35t", D)}
    assert {(row.frequency, row.monetary, row.recency_days) for row in rows} == {(3, 3.0, 3.0)}
    assert {(row.value_at_stake, row.expected_days_to_purchase, row.calibrated_as_of) for row in rows} == {
        (None, None, None)
    }, "without a model of rhythms nothing is told of value"


def test_workers_say_what_the_driver_would_say(spark: Any) -> None:
    model, people = trees(), users()
    dated = people.assign(as_of=date(2026, 5, 1), days_since_contact=np.nan)
    sent = spark.createDataFrame(dated.replace({np.nan: None})).repartition(3)
    chosen = scored_by_spark(sent, model, 10_000)
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
    added = model.contributions(people)
    assert scored["is_at_risk"].nunique() == 2
    recency = MODEL_INPUTS.index("recency_days")
    for place, row in enumerate(scored.itertuples()):
        assert 1 <= len(row.reasons) == len(set(row.reasons)) <= 3
        sign = 1.0 if row.is_at_risk else -1.0
        if int(np.argmax(sign * added[place])) == recency and sign * added[place, recency] > 0:
            words = "no purchase for" if row.is_at_risk else "last purchase"
            assert row.reasons[0].startswith(words)
    assert scored["reasons"].str[0].str.startswith("no purchase for").any()


def test_a_reason_has_the_sign_of_what_is_predicted_and_the_points_that_it_makes() -> None:
    model, people = trees(), users()
    scored, margin, added = here(model, people), model.margins(people), model.contributions(people)
    recency = MODEL_INPUTS.index("recency_days")
    told = 0
    for place, row in enumerate(scored.itertuples()):
        word, sign = ("leaving", "+") if row.is_at_risk else ("staying", "−")
        for reason in row.reasons:
            assert f"is associated with {word} (" in reason
            assert "points)" not in reason or f"({sign}" in reason
        first = row.reasons[0]
        if row.is_at_risk and first.startswith("no purchase for") and first.endswith("points)"):
            without = 1 / (1 + np.exp(-(margin[place] - added[place, recency])))
            alone = 100 * (row.churn_probability - without)
            ratio = MODEL_INPUTS.index("recency_to_interval")
            both = 100 * (
                row.churn_probability - 1 / (1 + np.exp(-(margin[place] - added[place, [recency, ratio]].sum())))
            )
            assert int(first.rsplit("+", 1)[1].split()[0]) in (round(alone), round(both))
            told += 1
    assert told > 20


def test_recency_alone_has_a_single_reason() -> None:
    scored = here(replace(RECENCY, centre=float(np.log1p(20.0))), users())
    assert set(scored["reasons"].map(len)) == {1}
    assert scored["reasons"].str[0].str.contains("purchase").sum() > 200
    assert scored.sort_values("churn_probability")["user_key"].tolist() == (
        users().sort_values("recency_days")["user_key"].tolist()
    )


def test_only_who_is_at_risk_is_told_what_would_lower_it() -> None:
    scored = here(trees(), users())
    assert (scored["lowers_risk"].notna() == scored["is_at_risk"]).all()
    told = [sentence for said in scored["lowers_risk"].dropna() for sentence in said]
    assert any(sentence.startswith("an order today is associated with") for sentence in told)
    for row in scored[scored["is_at_risk"]].itertuples():
        for sentence in row.lowers_risk:
            then, now = (int(part.split("%")[0].split()[-1]) for part in sentence.split(" instead of "))
            assert then < now == round(100 * row.churn_probability)


def test_what_the_model_of_before_would_say_is_told_beside_and_only_if_there_is_one() -> None:
    people = users()
    assert here(RECENCY, people)[["band_by_behaviour", "band_by_labels"]].isna().all(axis=None)
    then, now = replace(RECENCY, calibrator=Logistic(1.0, 3.0)), replace(RECENCY, calibrator=Logistic(1.0, -3.0))
    (told,) = scorer(RECENCY, BANDS, EUROS, KEYS, Before(then, now))([people])
    assert told["band_by_behaviour"].tolist() == BANDS.of(then.calibrator.apply(then.margins(people))).tolist()
    assert told["band_by_labels"].tolist() == BANDS.of(now.calibrator.apply(now.margins(people))).tolist()
    assert (told["band_by_behaviour"] != told["band_by_labels"]).any()


def test_the_first_action_that_fits_is_suggested_and_nobody_is_bothered_twice(spark: Any) -> None:
    conf = WinBack(
        quiet_days=14,
        actions=(
            Action(action="call", bands=("critical",), least_value=100),
            Action(action="voucher", bands=("high", "critical"), least_value=20),
        ),
    )
    rows = [
        ("critical", 150.0, None, "call"),
        ("critical", 50.0, 14.0, "voucher"),
        ("high", 150.0, None, "voucher"),
        ("high", 5.0, None, "do_nothing"),
        ("low", 900.0, None, "do_nothing"),
        ("critical", None, None, "do_nothing"),
        ("critical", 150.0, 13.9, "do_nothing"),
    ]
    told = [(*row, None) for row in rows] + [("critical", 150.0, None, "do_nothing", "consent")]
    schema = "risk_band string, value_at_stake double, days_since_contact double, expected string, suppressed_by string"
    found = spark.createDataFrame(told, schema).withColumn("found", suggested_action(conf)).collect()
    assert [row.found for row in found] == [row.expected for row in found]


def test_at_risk_begins_at_its_cut_point() -> None:
    scored = here(RECENCY, users())
    assert (scored["is_at_risk"] == (scored["churn_probability"] >= 0.55)).all()
    assert (scored["is_at_risk"] == scored["risk_band"].isin(["high", "critical"])).all()
