"""A shop's people leave; the trees see it coming, and a leak or too little data stops training."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, timedelta
from typing import Any

import numpy as np
import pandas as pd
import pytest
from pyspark.sql import functions as F

from jobs.churn import score_churn, train_churn
from jobs.churn.train_churn import Count, Slice, TooFewExamples
from rekindle import night, registry
from rekindle.cli import DataRefused
from rekindle.methods import cutoffs
from rekindle.methods.churn_models import from_files
from rekindle.methods.not_customers import customers
from schemas.at_risk_users import AT_RISK_USERS
from schemas.events import EVENTS
from schemas.excluded_users import EXCLUDED_USERS
from schemas.user_features import MODEL_INPUTS, USER_FEATURES
from tests.churn.conftest import AS_OF, CHURN, FIRST, Night

CUTS = cutoffs.plan(AS_OF, FIRST, CHURN.horizon_days, 0, CHURN.history_days, 7, 3)


@pytest.fixture(scope="module")
def trained(shop_night: Night) -> Night:
    train_churn.run(shop_night.once_more())
    return shop_night


def offers(there: Night) -> dict[str, tuple[str, registry.Record]]:
    models = there.ledger.models("churn_shop", "churn")
    return {m.method: (m.digest, registry.record_of(there.artefacts, m.digest)) for m in models}


def test_baseline_and_trees_are_offered_with_all_that_judging_needs(trained: Night) -> None:
    found = offers(trained)
    assert set(found) == {"recency_logistic", "xgboost"}
    (baseline, standing), (trees, offered) = found["recency_logistic"], found["xgboost"]
    assert (standing.is_baseline, offered.is_baseline) == (True, False)
    assert {m.status for m in trained.ledger.models("churn_shop", "churn")} == {"candidate"}
    assert set(standing.metrics) < set(offered.metrics)
    assert {"roc_auc", "pr_auc", "brier", "ece", "f1", "regret_rate", "regulars_roc_auc"} <= set(standing.metrics)
    assert {"spark_gbt_roc_auc", "permuted_labels_roc_auc"} <= set(offered.metrics)
    assert all(np.isfinite(value) for value in offered.metrics.values())
    (against,) = offered.comparisons
    assert (against.other, against.other_name) == (baseline, "recency_logistic")
    assert against.difference == pytest.approx(offered.metrics["roc_auc"] - standing.metrics["roc_auc"])
    assert against.low <= against.difference <= against.high
    assert set(offered.tables) == {"events", "user_features"}
    files = registry.load(trained.artefacts, trees)
    assert {"confusion_matrix.png", "reliability.png"} < set(files)


def test_the_trees_see_what_recency_alone_does_not(trained: Night) -> None:
    record = offers(trained)["xgboost"][1]
    assert record.metrics["roc_auc"] > 0.7
    assert record.comparisons[0].difference > 0


def test_the_models_learnt_nothing_of_the_days_they_are_judged_on(trained: Night) -> None:
    record = offers(trained)["xgboost"][1]
    window = timedelta(days=CHURN.horizon_days)
    assert record.trained_through < CUTS.judging == AS_OF - window
    assert max(CUTS.training) + window <= CUTS.calibration
    assert record.judged_on == f"{CUTS.judging} to {AS_OF - timedelta(days=1)}"


def test_twice_is_once_and_the_champion_is_judged_on_the_same_users(trained: Night) -> None:
    before = offers(trained)
    digest = before["xgboost"][0]
    run = trained.context.run_id
    trained.ledger.set_champion("churn_shop", "churn", digest, run, {"why": "test"})
    again = trained.once_more()
    train_churn.run(again)
    assert {k: v[0] for k, v in offers(trained).items()} == {k: v[0] for k, v in before.items()}
    assert again.detail["candidate"] == digest


def test_every_eligible_user_is_scored_by_the_runs_champion(trained: Night) -> None:
    digest = offers(trained)["xgboost"][0]
    trained.ledger.record_run_champion(trained.context.run_id, "churn", digest)
    score_churn.run(trained.once_more())
    tonight = night.read(trained.context, USER_FEATURES).where(F.col("as_of") == F.lit(AS_OF))
    eligible = {
        row.user_key
        for row in tonight.collect()
        if row.frequency > 0 and row.days_since_activity <= CHURN.eligibility_days
    }
    rows = night.read(trained.context, AT_RISK_USERS).collect()
    assert sorted(row.user_key for row in rows) == sorted(eligible)
    assert {row.model_version for row in rows} == {digest}
    assert from_files(registry.load(trained.artefacts, digest)).horizon_days == rows[0].horizon_days


def test_a_night_without_a_champion_scores_nobody(trained: Night) -> None:
    other = replace(trained.context.this_run, run_id="r0000000000000c41")
    with pytest.raises(DataRefused, match="r0000000000000c41 has no churn champion"):
        score_churn.run(replace(trained.context, run=other))


def test_a_damaged_champion_does_not_stop_the_training_that_replaces_it(trained: Night) -> None:
    digest = offers(trained)["xgboost"][0]
    trained.ledger.set_champion("churn_shop", "churn", digest, trained.context.run_id, {"why": "test"})
    judging = slice_of(np.array([0.0, 1.0] * 20))
    whole = train_churn.champion_margins(trained.once_more(), judging)
    assert {name: (method, len(margin)) for name, (method, margin) in whole.items()} == {digest: ("xgboost", 40)}
    kept = (trained.artefacts / digest / "booster.ubj").read_bytes()
    again = trained.once_more()
    try:
        (trained.artefacts / digest / "booster.ubj").write_bytes(kept[:-1] + b"?")
        assert train_churn.champion_margins(again, judging) == {}
    finally:
        (trained.artefacts / digest / "booster.ubj").write_bytes(kept)
    assert f"model {digest}: its files have digest" in again.detail["champion_not_compared"]


def test_nothing_is_trained_when_training_is_not_due(shop_night: Night) -> None:
    quiet = shop_night.once_more(train=False)
    train_churn.run(quiet)
    assert quiet.detail == {}


def test_a_log_too_short_to_train_keeps_the_champion_and_refuses_the_first_model(trained: Night) -> None:
    digest = offers(trained)["xgboost"][0]
    trained.ledger.set_champion("churn_shop", "churn", digest, trained.context.run_id, {"why": "test"})
    early = trained.once_more(business_date=FIRST + timedelta(days=20))
    train_churn.run(early)
    assert "training needs a cut-off" in early.detail["not_trained"]
    named = early.settings.model_copy(update={"source": early.source.model_copy(update={"name": "new_shop"})})
    with pytest.raises(DataRefused, match=r"too little to train the first churn model: .* as of 2026-01-22"):
        train_churn.run(replace(early, settings=named))


def counts(**changed: Count) -> dict[date, Count]:
    plain = {day: Count(300, 100, 0, None) for day in CUTS.all}
    return plain | {getattr(CUTS, name): value for name, value in changed.items()}


def test_enough_of_both_kinds_may_train() -> None:
    train_churn.check_counts(counts(), CUTS)
    assert len(CUTS.training) == 3


@pytest.mark.parametrize(
    ("found", "message"),
    [
        ({day: Count(300, 0, 0, None) for day in CUTS.training}, "training has 0 who left and 900 who stayed"),
        ({CUTS.calibration: Count(300, 300, 0, None)}, "calibration as of .* 300 who left and 0 who stayed"),
        ({CUTS.judging: Count(300, 9, 0, None)}, "judging as of .* has 9 who left and 291 who stayed, expected 10"),
    ],
)
def test_one_kind_of_user_alone_teaches_nothing(found: dict[date, Count], message: str) -> None:
    with pytest.raises(TooFewExamples, match=message):
        train_churn.check_counts(counts() | found, CUTS)


def test_features_that_saw_later_events_stop_training(shop_night: Night) -> None:
    events = night.read(shop_night.context, EVENTS)
    features = night.read(shop_night.context, USER_FEATURES)
    later = features.where(F.col("as_of") == F.lit(AS_OF)).withColumn("as_of", F.lit(CUTS.judging))
    leaky = features.where(F.col("as_of") != F.lit(CUTS.judging)).unionByName(later)
    honest = train_churn.count(train_churn.examples(events, features, CUTS, CHURN, AS_OF))
    assert {c.ahead_of_time for c in honest.values()} == {0}
    found = train_churn.count(train_churn.examples(events, leaky, CUTS, CHURN, AS_OF))
    with pytest.raises(DataRefused, match=f"expected 0 rows, found .* rows as of {CUTS.judging}"):
        train_churn.check_counts(found, CUTS)


def test_examples_do_not_change_when_later_days_are_added(shop_night: Night, frame: Any) -> None:
    events = night.read(shop_night.context, EVENTS)
    features = night.read(shop_night.context, USER_FEATURES)
    later = frame(EVENTS, {"user_key": "u0001", "event_type": "purchase", "event_date": AS_OF, "event_id": "future"})

    def seen(log: Any) -> list[Any]:
        found = train_churn.examples(log, features, CUTS, CHURN, AS_OF)
        return sorted(found.select("as_of", "user_key", "is_churned", "bought_again").collect())

    assert seen(events.unionByName(later)) == seen(events)


def test_excluded_users_teach_nothing_and_without_any_the_very_same_is_learnt(shop_night: Night, frame: Any) -> None:
    events = night.read(shop_night.context, EVENTS)
    features = night.read(shop_night.context, USER_FEATURES)

    def learnt(from_features: Any) -> list[Any]:
        return train_churn.examples(events, from_features, CUTS, CHURN, AS_OF).collect()

    everybody = learnt(features)
    nobody = night.read(shop_night.context, EXCLUDED_USERS)
    assert nobody.count() == 0
    assert learnt(customers(features, nobody)) == everybody
    some = sorted({row.user_key for row in everybody})[::7]
    excluded = frame(EXCLUDED_USERS, *[{"user_key": user, "rule": "share_of_events"} for user in some])
    rest = sorted(learnt(customers(features, excluded)))
    assert rest == sorted(row for row in everybody if row.user_key not in some)
    assert 0 < len(rest) < len(everybody)
    assert {row.user_key for row in features.collect()} >= set(some), "their features stay, and they are scored"


def slice_of(label: np.ndarray, **columns: np.ndarray) -> Slice:
    generator = np.random.default_rng(len(label))
    frame = pd.DataFrame({name: generator.normal(size=len(label)) for name in MODEL_INPUTS})
    return Slice(frame.assign(**columns), label)


def test_a_feature_that_is_the_outcome_stops_training() -> None:
    label = (np.arange(400) % 3 == 0).astype(float)
    honest = train_churn.check_leaks(slice_of(label), slice_of(label[:300]), seed=1)
    assert honest["best_single_feature_roc_auc"] < 0.7
    leaky = slice_of(label[:300], stars_last=label[:300] * 2)
    with pytest.raises(DataRefused, match=r"the feature stars_last alone has ROC-AUC 1.000, expected at most 0.95"):
        train_churn.check_leaks(slice_of(label), leaky, seed=1)


def test_the_driver_takes_the_same_bounded_share_of_users_each_time(frame: Any) -> None:
    rows = [{"user_key": f"u{n}", "as_of": AS_OF, "views_30d": float(n)} for n in range(400)]
    found = frame(USER_FEATURES, *rows).withColumn("is_churned", F.lit(1.0))
    first = train_churn.bring(found, 400, 100)
    second = train_churn.bring(found.repartition(5, "views_30d"), 400, 100)
    assert 60 < len(first.frame) < 140
    assert first.frame["user_key"].tolist() == second.frame["user_key"].tolist()
    assert len(train_churn.bring(found, 400, 400).frame) == 400
