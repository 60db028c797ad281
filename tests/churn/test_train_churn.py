"""A shop's people leave; the trees see it coming, and a leak or too little data stops training."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import date, timedelta
from typing import Any

import numpy as np
import pandas as pd
import pytest
from pydantic import ValidationError
from pyspark.sql import functions as F

from jobs.churn import score_churn, train_churn
from jobs.churn.train_churn import TooFewExamples
from rekindle import night, registry
from rekindle.churn_conf import BASELINE, settings_of
from rekindle.cli import DataRefused
from rekindle.methods import cutoffs
from rekindle.methods.churn_candidates import Slice
from rekindle.methods.churn_examples import Count, bring, count
from rekindle.methods.churn_labels import labels
from rekindle.methods.churn_models import RecencyModel, from_files
from rekindle.methods.not_customers import customers
from rekindle.settings import Churn
from schemas.at_risk_users import AT_RISK_USERS
from schemas.churn_changes import CHURN_CHANGES
from schemas.churn_health import CHURN_HEALTH
from schemas.events import EVENTS
from schemas.excluded_users import EXCLUDED_USERS
from schemas.user_features import MODEL_INPUTS, USER_FEATURES
from tests.churn.conftest import AS_OF, CHURN, FIRST, Night

SCORES = {"score:recency", "score:frequency", "score:monetary", "score:no_purchase_probability"}
PICTURES = {f"{n}.png" for n in ["confusion_matrix", "reliability", "roc", "precision_recall", "gain", "importance"]}
CUTS = cutoffs.plan(AS_OF, FIRST, CHURN.horizon_days, 0, CHURN.history_days, 7, 3)


@pytest.fixture(scope="module")
def trained(shop_night: Night) -> Night:
    train_churn.run(shop_night.once_more())
    return shop_night


def offers(there: Night) -> dict[str, tuple[str, registry.Record]]:
    models = there.ledger.models("churn_shop", "churn")
    return {m.method: (m.digest, registry.record_of(there.artefacts, m.digest)) for m in models}


def test_the_offered_models_come_with_all_that_judging_needs(trained: Night) -> None:
    found = offers(trained)
    assert set(found) == {"recency_logistic", "logistic", "random_forest", "xgboost"}
    baseline, standing = found["recency_logistic"]
    assert standing.is_baseline
    assert {m.status for m in trained.ledger.models("churn_shop", "churn")} == {"candidate"}
    for name in ("logistic", "random_forest", "xgboost"):
        digest, offered = found[name]
        assert settings_of(CHURN.methods[name]).items() <= offered.params.items()
        assert not offered.is_baseline
        assert {"roc_auc", "pr_auc", "brier", "ece", "f1", "regret_rate", "regulars_roc_auc"} <= set(offered.metrics)
        large = "calibration_in_the_large"
        assert {large, f"{large}_before", f"{large}_recalibrated"} <= set(offered.metrics)
        assert {"profit_per_1000", "profit_per_1000_contacting_all"} <= set(offered.metrics)
        assert {"permuted_labels_roc_auc", "resampled_excess"} <= set(offered.metrics)
        assert all(np.isfinite(value) for value in offered.metrics.values())
        against = {c.other_name: c for c in offered.comparisons}
        assert set(against) == {"recency_logistic", *SCORES}
        assert against["recency_logistic"].other == baseline
        assert 0 < against["recency_logistic"].flip_rate < 1  # type: ignore[operator]
        for other in against.values():
            assert other.candidate_value == pytest.approx(offered.metrics["roc_auc"], abs=1e-9)
            assert other.low <= other.difference <= other.high
        assert against["score:recency"].difference == pytest.approx(against["recency_logistic"].difference)
        assert set(offered.tables) == {"events", "user_features"}
        assert PICTURES | {registry.JUDGED} < set(registry.load(trained.artefacts, digest))
        from_files(registry.load(trained.artefacts, digest))


def test_one_table_tells_of_every_method_and_score_for_all_and_for_each_group(trained: Night) -> None:
    found = offers(trained)
    files = {name: registry.load(trained.artefacts, digest) for name, (digest, _) in found.items()}
    assert len({told[registry.JUDGED] for told in files.values()}) == 1
    told = json.loads(files["xgboost"][registry.JUDGED])
    rows = {(row["method"], row["group"]): row for row in told["methods"]}
    assert {method for method, _ in rows} == {"recency_logistic", *CHURN.methods, *SCORES}
    assert {group for _, group in rows} == {"all", "newcomers", "one_time_buyers", "regulars"}
    for name, (_, record) in found.items():
        row = rows[name, "all"]
        assert row["roc_auc_low"] < row["roc_auc"] == record.metrics["roc_auc"] < row["roc_auc_high"]
        assert row["pr_auc_low"] < row["pr_auc"] < row["pr_auc_high"]
        assert row["is_offered"]
    assert rows["majority", "all"]["roc_auc"] == 0.5
    assert rows["neighbours", "all"]["roc_auc"] > 0.6
    assert not rows["neighbours", "all"]["is_offered"]
    assert all(rows[method, "all"]["fit_seconds"] > 0 for method in ("spark_gbt", "aft", "xgboost"))
    parts = sum(rows["xgboost", group]["rows"] for group in ("newcomers", "one_time_buyers", "regulars"))
    assert parts == rows["xgboost", "all"]["rows"]


def test_the_points_of_two_curves_are_kept_for_whoever_draws_them(trained: Night) -> None:
    told = json.loads(registry.load(trained.artefacts, offers(trained)["xgboost"][0])[registry.JUDGED])
    row = next(r for r in told["methods"] if (r["method"], r["group"]) == ("xgboost", "all"))
    bins = told["curves"]["reliability"]["xgboost"]
    assert sum(size for size, _, _ in bins) == row["rows"]
    assert sum(size * left for size, _, left in bins) / row["rows"] == pytest.approx(row["base_rate"], abs=1e-3)
    called, found = (list(axis) for axis in zip(*told["curves"]["roc"]["xgboost"], strict=True))
    assert (called[0], found[0], called[-1], found[-1]) == (0.0, 0.0, 1.0, 1.0)
    under = sum((b - a) * (x + y) / 2 for a, b, x, y in zip(called, called[1:], found, found[1:], strict=False))
    assert under == pytest.approx(row["roc_auc"], abs=2e-3), "the area below the points is the ROC-AUC"


def test_the_threshold_is_where_a_contact_begins_to_pay(trained: Night) -> None:
    told = json.loads(registry.load(trained.artefacts, offers(trained)["xgboost"][0])[registry.JUDGED])
    offer, at = told["offer"], told["threshold"]
    assert at["pays"]
    assert at["probability"] == pytest.approx(offer["cost"] / at["gain"])
    stayers_spend = at["gain"] / offer["saves"] / offer["margin"]
    assert 10 < stayers_spend < 40, "one to four things of 10 in a fortnight"
    row = next(r for r in told["methods"] if (r["method"], r["group"]) == ("xgboost", "all"))
    assert row["threshold"] == at["probability"]
    brought = at["gain"] * row["tp"] - offer["cost"] * (row["tp"] + row["fp"])
    assert row["profit_per_1000"] == pytest.approx(1000 * brought / row["rows"])


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
    two = {name: CHURN.methods[name] for name in ("logistic", "xgboost")}  # whoever else competes changes no model
    again = trained.once_more()
    source = again.source.model_copy(update={"churn": CHURN.model_copy(update={"methods": two})})
    again = replace(again, settings=again.settings.model_copy(update={"source": source}))
    train_churn.run(again)
    assert {k: v[0] for k, v in offers(trained).items()} == {k: v[0] for k, v in before.items()}
    assert again.detail["candidates"]["xgboost"]["digest"] == digest
    told = {c.other: c for c in offers(trained)["logistic"][1].comparisons}
    assert told[digest].other_name == "xgboost"
    assert 0 < told[digest].flip_rate < 1  # type: ignore[operator]
    assert digest not in {c.other for c in offers(trained)["xgboost"][1].comparisons}


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
    known = AS_OF - timedelta(days=CHURN.horizon_days)
    assert {row.calibrated_as_of for row in rows} == {known}
    watched = {(row.kind, row.name): row.value for row in night.read(trained.context, CHURN_HEALTH).collect()}
    rates = [value for (_, name), value in watched.items() if name.startswith("left_as_of_")]
    said = np.mean([row.churn_probability for row in rows])
    assert said == pytest.approx(np.median(rates), abs=1e-6), "on average it says what the known weeks showed"
    assert watched["base_rate", "said_tonight"] == pytest.approx(said, abs=1e-6)
    assert {name for kind, name in watched if kind == "feature_drift"} == set(MODEL_INPUTS)
    assert night.read(trained.context, CHURN_CHANGES).count() == 0, "there is no publication before"


def test_a_night_without_a_champion_scores_nobody(trained: Night) -> None:
    other = replace(trained.context.this_run, run_id="r0000000000000c41")
    with pytest.raises(DataRefused, match="r0000000000000c41 has no churn champion"):
        score_churn.run(replace(trained.context, run=other))


def test_a_damaged_champion_does_not_stop_the_training_that_replaces_it(trained: Night) -> None:
    digest = offers(trained)["xgboost"][0]
    trained.ledger.set_champion("churn_shop", "churn", digest, trained.context.run_id, {"why": "test"})
    judging = slice_of(np.array([0.0, 1.0] * 20))
    whole = train_churn.champion(trained.once_more(), judging, judging)
    assert whole is not None
    assert (whole.digest, whole.method, len(whole.margin), len(whole.probability)) == (digest, "xgboost", 40, 40)
    kept = (trained.artefacts / digest / "booster.ubj").read_bytes()
    again = trained.once_more()
    try:
        (trained.artefacts / digest / "booster.ubj").write_bytes(kept[:-1] + b"?")
        assert train_churn.champion(again, judging, judging) is None
    finally:
        (trained.artefacts / digest / "booster.ubj").write_bytes(kept)
    assert f"model {digest}: its files have digest" in again.detail["champion_not_compared"]


def test_settings_are_searched_only_where_training_was_asked_for(shop_night: Night) -> None:
    events, features = (night.read(shop_night.context, table) for table in (EVENTS, USER_FEATURES))
    found = train_churn.examples(events, features, CUTS, CHURN, AS_OF).where(F.col("as_of") != F.lit(CUTS.judging))
    known = bring(found, 1, 2, MODEL_INPUTS)
    training, later = known.of_days(*CUTS.training), known.of_days(CUTS.calibration)
    usual = shop_night.once_more()
    assert train_churn.searched(usual, training, later, CUTS) == CHURN.methods
    assert usual.detail == {}
    asked = replace(usual, run=replace(usual.this_run, retrain=True), detail={})
    methods = train_churn.searched(asked, training, later, CUTS)
    search = asked.detail["search"]
    assert set(search) == {"logistic", "xgboost"}
    for name, told in search.items():
        assert len(told["trials"]) == CHURN.search_trials
        assert told["trials"][0]["settings"] == CHURN.methods[name].model_dump(exclude={"method", "offers"})
        best = min(told["trials"], key=lambda trial: trial["log_loss"])
        assert told["chosen"] == best["settings"] == methods[name].model_dump(exclude={"method", "offers"})
    assert {n: m for n, m in methods.items() if n not in search} == {
        n: m for n, m in CHURN.methods.items() if n not in search
    }


@pytest.mark.parametrize("method", ["neighbours", "majority", "spark_gbt"])
def test_what_keeps_people_ranks_nobody_or_has_no_reasons_cannot_be_told_to_serve(method: str) -> None:
    told = CHURN.model_dump() | {"methods": {"mine": {"method": method, "offers": True}}}
    with pytest.raises(ValidationError, match=f"methods.mine.{method}.offers"):
        Churn.model_validate(told)
    served = CHURN.model_dump() | {"methods": {"mine": {"method": "aft", "offers": True}}}
    assert Churn.model_validate(served).methods["mine"].offers


def test_no_method_may_take_the_baselines_name() -> None:
    assert RecencyModel.method == BASELINE
    told = CHURN.model_dump() | {"methods": {BASELINE: {"method": "xgboost"}}}
    with pytest.raises(ValidationError, match="recency_logistic is the baseline of every training"):
        Churn.model_validate(told)


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


def test_infinite_inputs_stop_training_by_name_and_rows(shop_night: Night) -> None:
    events, features = (night.read(shop_night.context, table) for table in (EVENTS, USER_FEATURES))
    some = F.col("user_key").endswith("7") & (F.col("as_of") == F.lit(CUTS.calibration))
    broken = features.withColumn("monetary", F.when(some, F.lit(float("inf"))).otherwise(F.col("monetary")))
    found = count(train_churn.examples(events, broken, CUTS, CHURN, AS_OF), MODEL_INPUTS)
    assert {name for one in found.values() for name in one.infinite} == {"monetary"}
    rows = found[CUTS.calibration].infinite["monetary"]
    with pytest.raises(DataRefused, match=f"found monetary in {rows} rows as of {CUTS.calibration};"):
        train_churn.check_counts(found, CUTS)


def test_features_that_saw_later_events_stop_training(shop_night: Night) -> None:
    events = night.read(shop_night.context, EVENTS)
    features = night.read(shop_night.context, USER_FEATURES)
    later = features.where(F.col("as_of") == F.lit(AS_OF)).withColumn("as_of", F.lit(CUTS.judging))
    leaky = features.where(F.col("as_of") != F.lit(CUTS.judging)).unionByName(later)
    honest = count(train_churn.examples(events, features, CUTS, CHURN, AS_OF), MODEL_INPUTS)
    assert {c.ahead_of_time for c in honest.values()} == {0}
    found = count(train_churn.examples(events, leaky, CUTS, CHURN, AS_OF), MODEL_INPUTS)
    with pytest.raises(DataRefused, match=f"expected 0 rows, found .* rows as of {CUTS.judging}"):
        train_churn.check_counts(found, CUTS)


def test_what_was_spent_and_when_somebody_came_back_is_counted_in_the_outcome_window_alone(frame: Any) -> None:
    def event(user: str, ahead: int, kind: str, price: float) -> dict[str, Any]:
        day = CUTS.judging + timedelta(days=ahead)
        return {"user_key": user, "event_type": kind, "event_date": day, "quantity": 2.0, "unit_price": price}

    log = frame(
        EVENTS,
        *[event(user, -3, "purchase", 50.0) for user in ("stays", "leaves", "returns")],
        event("stays", 1, "purchase", 7.0),  # in the gap
        *[event("stays", 4, "purchase", 0.1) for _ in range(3)],
        event("stays", 11, "purchase", 3.0),
        event("stays", 12, "purchase", 9.0),  # after the window
        event("returns", 2, "purchase", 5.0),
        event("returns", 5, "return", 5.0),
    )
    found = labels(log, [CUTS.judging], horizon_days=10, gap_days=2, known_before=AS_OF).collect()
    assert {row.user_key: (row.is_churned, row.days_to_purchase, row.spend) for row in found} == {
        "stays": (0.0, 5.0, 6.6),
        "leaves": (1.0, None, 0.0),
        "returns": (0.0, 3.0, 0.0),
    }


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
    return Slice(frame.assign(spend=10.0, **columns), label)


def test_a_feature_that_is_the_outcome_stops_training() -> None:
    label = (np.arange(400) % 3 == 0).astype(float)
    honest = train_churn.check_leaks(slice_of(label), slice_of(label[:300]), seed=1)
    assert honest["best_single_feature_roc_auc"] < 0.7
    leaky = slice_of(label[:300], stars_last=label[:300] * 2)
    with pytest.raises(DataRefused, match=r"the feature stars_last alone has ROC-AUC 1.000, expected at most 0.95"):
        train_churn.check_leaks(slice_of(label), leaky, seed=1)


def test_judging_on_the_leavers_that_were_learnt_from_stops_training() -> None:
    label = (np.arange(400) % 3 == 0).astype(float)
    training, judging = slice_of(label), slice_of(label[:300])
    left = judging.label == 1
    judging.frame.loc[left, MODEL_INPUTS] = training.frame[: left.sum()][list(MODEL_INPUTS)].to_numpy()
    with pytest.raises(DataRefused, match=r"100.0% of the judged who left and 0.0% of those who stayed are copies"):
        train_churn.check_leaks(training, judging, seed=1)


def test_the_driver_takes_the_same_bounded_share_of_users_each_time(frame: Any) -> None:
    rows = [{"user_key": f"u{n}", "as_of": AS_OF, "views_30d": float(n)} for n in range(400)]
    found = frame(USER_FEATURES, *rows).withColumn("is_churned", F.lit(1.0))
    first = bring(found, 400, 100, MODEL_INPUTS)
    second = bring(found.repartition(5, "views_30d"), 400, 100, MODEL_INPUTS)
    assert 60 < len(first.frame) < 140
    assert first.frame["user_key"].tolist() == second.frame["user_key"].tolist()
    assert len(bring(found, 400, 400, MODEL_INPUTS).frame) == 400
