"""Judging on a later slice, and the alarms that a leak sets off."""

from __future__ import annotations

from datetime import date, timedelta

import numpy as np
import pandas as pd
import pytest

from rekindle.methods import (
    bootstrap,
    churn_figures,
    churn_judging,
    churn_leaks,
    churn_profit,
    churn_search,
    churn_table,
    classification,
    cutoffs,
)
from rekindle.methods.churn_candidates import Slice
from rekindle.methods.churn_comparing import Other, compare

PNG = b"\x89PNG\r\n\x1a\n"


def judged(rows: int = 400) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    generator = np.random.default_rng(2)
    margin = generator.normal(size=rows)
    probability = 1 / (1 + np.exp(-margin))
    return (generator.random(rows) < probability).astype(float), margin, probability


def test_the_figures_add_up() -> None:
    label, margin, probability = judged()
    told = churn_judging.figures(label, margin, probability, 0.6)
    assert told["tp"] + told["fp"] + told["fn"] + told["tn"] == told["rows"] == 400
    assert told["tp"] + told["fn"] == label.sum()
    assert told["accuracy"] == (told["tp"] + told["tn"]) / 400
    assert told["f1"] == pytest.approx(2 * told["precision"] * told["recall"] / (told["precision"] + told["recall"]))
    assert told["calibration_slope"] == pytest.approx(1, abs=0.3)
    assert 0.6 < told["roc_auc"] < 0.9
    assert told["calibration_in_the_large"] == pytest.approx(probability.mean() - label.mean())


def test_a_model_that_says_one_number_has_figures_but_no_calibration_line() -> None:
    label, margin, _ = judged()
    told = churn_judging.figures(label, margin * 0, np.full(400, label.mean()), 0.5)
    assert told["roc_auc"] == 0.5
    assert told["brier_skill"] == pytest.approx(0)
    assert "calibration_slope" not in told


def test_every_user_is_a_newcomer_a_one_time_buyer_or_a_regular() -> None:
    tenure, orders = np.array([3.0, 29.9, 30.0, 80.0, 80.0]), np.array([1.0, 4.0, 1.0, 1.0, 2.0])
    member = churn_judging.groups(tenure, orders)
    assert {name: rows.tolist() for name, rows in member.items()} == {
        "newcomers": [True, True, False, False, False],
        "one_time_buyers": [False, False, True, True, False],
        "regulars": [False, False, False, False, True],
    }


def test_a_group_too_small_to_rank_has_no_roc_auc() -> None:
    label, margin, _ = judged(60)
    everyone, few = np.ones(60, dtype=bool), np.arange(60) < 5
    told = churn_judging.figures_by_group(label, margin, {"all": everyone, "few": few, "none": ~everyone})
    assert told["all_roc_auc"] == classification.roc_auc(label, margin)
    assert (told["few_rows"], told["none_rows"]) == (5, 0)
    assert "few_roc_auc" not in told
    assert "none_base_rate" not in told


def test_a_feature_that_is_the_label_alarms_in_either_direction_and_honest_ones_do_not() -> None:
    label, margin, _ = judged()
    matrix = np.column_stack([margin, label, -label, np.full(400, np.nan)]).astype(np.float32)
    single = churn_leaks.single_feature_aucs(matrix, label, ["honest", "label", "mirrored", "empty"])
    assert single["empty"] == 0.5
    raised = churn_leaks.alarms(single, np.array([0.5, 0.52, 0.47]))
    assert [alarm.found for alarm in raised] == [
        "the feature label alone has ROC-AUC 1.000",
        "the feature mirrored alone has ROC-AUC 1.000",
    ]


def test_models_of_shuffled_labels_know_nothing() -> None:
    generator = np.random.default_rng(0)
    matrix = generator.normal(size=(1200, 6)).astype(np.float32)
    label = (generator.random(1200) < 1 / (1 + np.exp(-2 * matrix[:, 0]))).astype(float)
    found = churn_leaks.permuted_aucs(matrix[:800], label[:800], matrix[800:], label[800:], seed=1)
    assert found.mean() == pytest.approx(0.5, abs=0.1)
    assert churn_leaks.alarms({}, found) == []


def test_a_good_model_of_shuffled_labels_alarms_and_a_noisy_one_does_not() -> None:
    steady, noisy = np.array([0.68, 0.70, 0.72]), np.array([0.95, 0.30, 0.60])
    assert [a.limit for a in churn_leaks.alarms({}, steady)] == ["at most 0.6"]
    assert churn_leaks.alarms({}, noisy) == []


def test_the_pictures_are_drawn_and_show_their_numbers() -> None:
    label, margin, probability = judged()
    told = churn_judging.figures(label, margin, probability, 0.5)
    other = churn_judging.figures(label, margin, probability, 0.9)
    pictures = [churn_figures.confusion_matrix(told, "a"), churn_figures.confusion_matrix(other, "a")]
    scores = {"model": margin, "said in tenths": margin.round(1)}
    curves = [
        plot(label, scores, "c")
        for plot in (churn_figures.roc_plot, churn_figures.precision_recall_plot, churn_figures.gain_plot)
    ]
    bars = churn_figures.importance_plot({f"feature {n}": 1 / (n + 1) for n in range(20)}, "d")
    assert all(p.startswith(PNG) for p in [*curves, bars])
    assert len(set(curves)) == 3
    points = {"model": classification.reliability(label, probability)}
    assert all(p.startswith(PNG) for p in [*pictures, churn_figures.reliability_plot(points, "b")])
    assert pictures[0] != pictures[1]


def test_a_model_that_is_never_wrong_alarms() -> None:
    assert churn_leaks.model_alarms({"honest": 0.9, "limit": 0.98}) == []
    assert [a.found for a in churn_leaks.model_alarms({"x": 0.985})] == ["the model x has ROC-AUC 0.985"]


def shares(made: str, rows: int = 900, seed: int = 4) -> churn_leaks.Resampled:
    """Users of whom a third leave; half of the judged leavers are `made` from training rows."""
    generator = np.random.default_rng(seed)
    training = generator.normal(size=(2 * rows, 8)).astype(np.float32)
    judging = generator.normal(size=(rows, 8)).astype(np.float32)
    left = (np.arange(rows) % 3 == 0).astype(float)
    chosen = np.flatnonzero(left)[::2]
    if made == "copies":
        judging[chosen] = training[chosen]
    if made == "between":  # SMOTE: a point on the line from a row to a near one
        away = ((training[chosen][:, None] - training[None]) ** 2).sum(axis=2)
        near = np.argsort(away, axis=1)[:, 1 + generator.integers(0, 5)]
        part = generator.random((len(chosen), 1)).astype(np.float32)
        judging[chosen] = training[chosen] + part * (training[near] - training[chosen])
    return churn_leaks.resampled(training, judging, left, seed)


def test_rows_made_from_training_rows_are_found_and_honest_ones_are_not() -> None:
    honest, copied, between = (shares(made) for made in ("", "copies", "between"))
    assert (honest.left, honest.stayed) == (0, 0)
    assert churn_leaks.resampling_alarms(honest) == []
    for found in (copied, between):
        assert found.left == pytest.approx(0.5, abs=0.03)
        assert found.stayed == 0
        (alarm,) = churn_leaks.resampling_alarms(found)
        assert "resampled before the split" in alarm.found


def test_a_shop_whose_inputs_have_few_values_is_full_of_twins_and_raises_no_alarm() -> None:
    generator = np.random.default_rng(1)
    coarse = generator.integers(0, 3, size=(900, 4)).astype(np.float32)
    label = (generator.random(900) < 0.3).astype(float)
    found = churn_leaks.resampled(coarse[:600], coarse[600:], label[600:], 1)
    assert min(found.left, found.stayed) > 0.9
    assert churn_leaks.resampling_alarms(found) == []


def test_a_contact_pays_from_the_threshold_on_and_not_below() -> None:
    at = churn_profit.threshold(cost=2.0, saves=0.1, margin=0.5, stayers_spend=100.0)
    assert (at.probability, at.gain, at.pays) == (pytest.approx(0.4), pytest.approx(5.0), True)
    for probability in (0.39, 0.41):
        many = np.arange(1000) < probability * 1000
        gained = churn_profit.profit_per_1000(many.astype(float), np.ones(1000, dtype=bool), at)
        assert (gained > 0) == (probability > at.probability)


def test_the_threshold_is_the_best_of_all_for_probabilities_that_hold() -> None:
    generator = np.random.default_rng(7)
    probability = generator.uniform(size=200_000)
    label = (generator.random(200_000) < probability).astype(float)
    at = churn_profit.threshold(cost=1.0, saves=0.2, margin=0.25, stayers_spend=50.0)
    gained = {
        round(limit, 2): churn_profit.profit_per_1000(label, probability >= limit, at)
        for limit in np.arange(0.05, 1.0, 0.05)
    }
    assert max(gained, key=lambda limit: gained[limit]) == pytest.approx(at.probability, abs=0.051)
    told = churn_profit.profits(label, probability, at)
    assert told["profit_per_1000"] > max(0.0, told["profit_per_1000_contacting_all"])


@pytest.mark.parametrize("spend", [20.0, 0.0, -3.0])
def test_where_no_contact_pays_nobody_is_worth_one_and_it_is_said(spend: float) -> None:
    at = churn_profit.threshold(cost=1.0, saves=0.2, margin=0.25, stayers_spend=spend)
    assert not at.pays
    assert 0.999 < at.probability < 1


def test_the_tables_intervals_are_those_of_drawing_each_user() -> None:
    label, margin, _ = judged(1500)
    merged = churn_table.intervals(label, margin, seed=3, draws=2000)
    alone = bootstrap.auc_draws(label.astype(bool), {"model": margin}, seed=4, draws=2000)["model"].drawn
    assert merged["roc_auc_low"] == pytest.approx(np.quantile(alone, 0.025), abs=0.003)
    assert merged["roc_auc_high"] == pytest.approx(np.quantile(alone, 0.975), abs=0.003)
    generator = np.random.default_rng(5)
    weights = generator.poisson(1.0, size=(400, 1500)).astype(float)
    drawn = [classification.pr_auc(label, margin, weight) for weight in weights]
    assert merged["pr_auc_low"] == pytest.approx(np.quantile(drawn, 0.025), abs=0.012)
    assert merged["pr_auc_high"] == pytest.approx(np.quantile(drawn, 0.975), abs=0.012)
    assert merged == churn_table.intervals(label, margin, seed=3, draws=2000)
    assert merged == churn_table.intervals(label[::-1], margin[::-1], seed=3, draws=2000), "order tells nothing"


def test_a_group_with_few_leavers_has_a_row_without_figures() -> None:
    label, margin, probability = judged()
    said = [churn_table.Said("model", margin, probability, 1.5, 0.5, True)]
    at = churn_profit.threshold(1.0, 0.1, 0.5, 50.0)
    member = {"few": np.arange(400) < 12, "none": np.zeros(400, dtype=bool)}
    everybody, few, none = churn_table.rows(label, member, said, at, seed=1, draws=100)
    assert (everybody["group"], everybody["rows"], everybody["fit_seconds"]) == ("all", 400, 1.5)
    assert (few["rows"], few["base_rate"]) == (12, pytest.approx(label[:12].mean()))
    assert (none["rows"], none["base_rate"]) == (0, None)
    assert "roc_auc" not in few


def test_a_comparison_is_the_paired_bootstraps_and_counts_whose_band_differs() -> None:
    label, margin, probability = judged()
    other = margin + np.random.default_rng(3).normal(size=400)
    aucs = bootstrap.auc_draws(label.astype(bool), {"mine": margin, "theirs": other}, seed=9, draws=300)
    theirs = np.where(np.arange(400) < 100, 0.999, probability)
    found = compare(probability, aucs["mine"], Other("d1", "als", aucs["theirs"], theirs), (0.4, 0.8))
    alone = bootstrap.paired_auc_difference(label.astype(bool), margin, other, seed=9, draws=300)
    assert (found.difference, found.low, found.high) == (alone.point, alone.low, alone.high)
    assert found.flip_rate == pytest.approx((probability[:100] < 0.8).mean() / 4)
    assert compare(probability, aucs["mine"], Other("score:x", "x", aucs["theirs"]), (0.4,)).flip_rate is None


def test_a_search_validates_on_later_days_only_and_never_on_the_judged() -> None:
    day = date(2026, 6, 1)
    cuts = cutoffs.plan(day, date(2025, 1, 1), 21, 7, 60, 14, 6)
    folds = cutoffs.time_folds(cuts, 21, 7, most=9)
    assert folds[0] == cutoffs.TimeFold(cuts.training, cuts.calibration)
    assert len(folds) == 5
    for fold in folds:
        assert fold.learn
        assert max(fold.learn) + timedelta(days=28) <= fold.validate < cuts.judging
    assert cutoffs.time_folds(cuts, 21, 7, most=2) == folds[:2]


def test_a_search_finds_better_settings_the_same_ones_each_time_and_begins_with_the_confs() -> None:
    generator = np.random.default_rng(2)
    days = [date(2026, 3, 1), date(2026, 4, 1), date(2026, 5, 1)]
    times = [cutoffs.TimeFold(tuple(days[:2]), days[2]), cutoffs.TimeFold((days[0],), days[1])]

    def users(rows: int, *as_of: date) -> Slice:
        frame = pd.DataFrame(generator.normal(size=(rows, 12)), columns=list("abcdefghijkl"))
        label = (generator.random(rows) < 1 / (1 + np.exp(-frame["a"].to_numpy()))).astype(float)
        return Slice(frame.assign(as_of=[as_of[n % len(as_of)] for n in range(rows)]), label)

    folds = churn_search.folds(times, users(200, *days[:2]), users(300, days[2]), list("abcdefghijkl"), 150)
    assert [(len(f.label), len(f.later_label)) for f in folds] == [(200, 150), (100, 100)]
    default = {"penalty": 1.0, "log_above": None}
    best, tried = churn_search.search("logistic", default, folds, seed=5, trials=12)
    assert tried[0].settings == default
    assert len(tried) == 12
    assert min(t.log_loss for t in tried) < tried[0].log_loss - 0.01, "200 users and 12 features want a penalty"
    assert best["penalty"] > 10
    assert churn_search.search("logistic", default, folds, seed=5, trials=12) == (best, tried)
