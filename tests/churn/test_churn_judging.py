"""Judging on a later slice, and the alarms that a leak sets off."""

from __future__ import annotations

import numpy as np
import pytest

from rekindle.methods import churn_figures, churn_judging, classification

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
    single = churn_judging.single_feature_aucs(matrix, label, ["honest", "label", "mirrored", "empty"])
    assert single["empty"] == 0.5
    raised = churn_judging.alarms(single, np.array([0.5, 0.52, 0.47]))
    assert [alarm.found for alarm in raised] == [
        "the feature label alone has ROC-AUC 1.000",
        "the feature mirrored alone has ROC-AUC 1.000",
    ]


def test_models_of_shuffled_labels_know_nothing() -> None:
    generator = np.random.default_rng(0)
    matrix = generator.normal(size=(1200, 6)).astype(np.float32)
    label = (generator.random(1200) < 1 / (1 + np.exp(-2 * matrix[:, 0]))).astype(float)
    found = churn_judging.permuted_aucs(matrix[:800], label[:800], matrix[800:], label[800:], seed=1)
    assert found.mean() == pytest.approx(0.5, abs=0.1)
    assert churn_judging.alarms({}, found) == []


def test_a_good_model_of_shuffled_labels_alarms_and_a_noisy_one_does_not() -> None:
    steady, noisy = np.array([0.68, 0.70, 0.72]), np.array([0.95, 0.30, 0.60])
    assert [a.limit for a in churn_judging.alarms({}, steady)] == ["at most 0.6"]
    assert churn_judging.alarms({}, noisy) == []


def test_the_pictures_are_drawn_and_show_their_numbers() -> None:
    label, margin, probability = judged()
    told = churn_judging.figures(label, margin, probability, 0.5)
    other = churn_judging.figures(label, margin, probability, 0.9)
    pictures = [churn_figures.confusion_matrix(told, "a"), churn_figures.confusion_matrix(other, "a")]
    points = {"model": classification.reliability(label, probability)}
    assert all(p.startswith(PNG) for p in [*pictures, churn_figures.reliability_plot(points, "b")])
    assert pictures[0] != pictures[1]
