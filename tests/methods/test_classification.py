"""Figures of scores and probabilities against scikit-learn."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from sklearn import metrics
from sklearn.linear_model import LogisticRegression

from rekindle.methods import classification as judge

rows = st.lists(st.tuples(st.integers(0, 1), st.integers(0, 6), st.integers(0, 3)), min_size=4, max_size=40).filter(
    lambda drawn: {label for label, _, weight in drawn if weight} == {0, 1}
)


def shop(size: int = 3000, seed: int = 4) -> tuple[NDArray[np.bool_], NDArray[np.float64]]:
    """Users with a true probability of leaving, and whether they left."""
    generator = np.random.default_rng(seed)
    probability = 1 / (1 + np.exp(-generator.normal(-1, 1.2, size)))
    return generator.random(size) < probability, probability


@settings(max_examples=150, deadline=None)
@given(rows)
def test_weighted_ties_are_scikit_learns(drawn: list[tuple[int, int, int]]) -> None:
    label, score, weight = (np.array(column, dtype=float) for column in zip(*drawn, strict=True))
    assert judge.roc_auc(label, score, weight) == pytest.approx(
        metrics.roc_auc_score(label, score, sample_weight=weight), abs=1e-12
    )
    assert judge.pr_auc(label, score, weight) == pytest.approx(
        metrics.average_precision_score(label, score, sample_weight=weight), abs=1e-12
    )
    assert judge.brier(label, score / 6, weight) == pytest.approx(
        metrics.brier_score_loss(label, score / 6, sample_weight=weight), abs=1e-12
    )


@settings(max_examples=60, deadline=None)
@given(rows)
def test_a_weight_of_three_is_three_rows(drawn: list[tuple[int, int, int]]) -> None:
    label, score, weight = (np.array(column, dtype=float) for column in zip(*drawn, strict=True))
    times = weight.astype(int)
    assert judge.roc_auc(label, score, weight) == pytest.approx(
        judge.roc_auc(np.repeat(label, times), np.repeat(score, times)), abs=1e-12
    )


def test_the_confusion_figures_are_scikit_learns() -> None:
    left, probability = shop()
    said = probability >= 0.4
    found = judge.confusion(left, probability, 0.4)
    tn, fp, fn, tp = metrics.confusion_matrix(left, said).ravel()
    assert (found.tn, found.fp, found.fn, found.tp) == (tn, fp, fn, tp)
    assert found.accuracy == pytest.approx(metrics.accuracy_score(left, said))
    assert found.precision == pytest.approx(metrics.precision_score(left, said))
    assert found.recall == pytest.approx(metrics.recall_score(left, said))
    assert found.f1 == pytest.approx(metrics.f1_score(left, said))


def test_calling_nobody_is_not_a_division_by_zero() -> None:
    found = judge.confusion(np.array([0, 1]), np.array([0.1, 0.2]), 0.5)
    assert (found.precision, found.recall, found.f1, found.accuracy) == (0, 0, 0, 0.5)


def test_saying_the_base_rate_to_everybody_has_no_skill_and_no_calibration_error() -> None:
    left, _ = shop()
    base = np.full(len(left), left.mean())
    assert judge.brier_skill(left, base) == pytest.approx(0, abs=1e-12)
    assert judge.ece(left, base) == pytest.approx(0, abs=1e-12)
    assert judge.roc_auc(left, base) == 0.5
    assert judge.pr_auc(left, base) == pytest.approx(left.mean())
    assert judge.lift(left, base) == pytest.approx(1)


def test_calibration_error_is_its_definition_where_no_probability_repeats() -> None:
    left, probability = shop(1000)
    order = np.argsort(probability)
    gaps = [
        abs(probability[order[start : start + 100]].mean() - left[order[start : start + 100]].mean())
        for start in range(0, 1000, 100)
    ]
    assert judge.ece(left, probability) == pytest.approx(np.mean(gaps), abs=1e-12)


def test_the_reliability_points_hold_every_row_and_every_outcome() -> None:
    left, probability = shop(997)
    points = judge.reliability(left, np.round(probability, 1))
    sizes = [size for size, _, _ in points]
    assert sum(sizes) == 997
    assert max(sizes) - min(sizes) <= 1
    assert sum(size * seen for size, _, seen in points) == pytest.approx(left.sum())


def test_the_order_of_rows_changes_no_figure() -> None:
    left, probability = shop(500)
    said = np.round(probability, 1)  # ties across bins and across the top decile
    order = np.random.default_rng(1).permutation(500)
    for figure in (judge.roc_auc, judge.pr_auc, judge.brier, judge.brier_skill, judge.ece, judge.lift):
        assert figure(left[order], said[order]) == pytest.approx(figure(left, said), abs=1e-12), figure.__name__


def test_honest_probabilities_have_slope_one_and_exaggerated_ones_less() -> None:
    left, probability = shop(20_000)
    honest = judge.calibration_line(left, probability)
    assert (honest.slope, honest.intercept) == pytest.approx((1, 0), abs=0.08)
    logit = np.log(probability / (1 - probability))
    exaggerated = judge.calibration_line(left, 1 / (1 + np.exp(-2 * logit)))
    assert exaggerated.slope == pytest.approx(honest.slope / 2, rel=1e-6)
    reference = LogisticRegression(C=np.inf, tol=1e-10, max_iter=1000).fit(logit[:, None], left)
    assert honest.slope == pytest.approx(reference.coef_[0, 0], abs=1e-4)
    assert honest.intercept == pytest.approx(reference.intercept_[0], abs=1e-4)


def test_separated_outcomes_have_no_calibration_line() -> None:
    with pytest.raises(ValueError, match="slope is infinite"):
        judge.calibration_line(np.array([0, 0, 1, 1]), np.array([0.1, 0.2, 0.7, 0.9]))


def test_lift_of_the_top_decile_counts_its_churners() -> None:
    left, probability = shop(1000)
    top = np.argsort(-probability)[:100]
    assert judge.lift(left, probability) == pytest.approx(left[top].mean() / left.mean())
    assert judge.lift(left, left.astype(float)) == pytest.approx(1 / max(0.1, left.mean()))
    assert judge.lift(left, probability, share=1.0) == pytest.approx(1)


@pytest.mark.parametrize("figure", [judge.roc_auc, judge.pr_auc, judge.brier_skill, judge.lift])
def test_one_class_only_is_refused(figure: object) -> None:
    with pytest.raises(ValueError, match="one class only"):
        figure(np.zeros(5), np.linspace(0, 1, 5))  # type: ignore[operator]


def test_nonsense_is_refused() -> None:
    with pytest.raises(ValueError, match="scores are NaN"):
        judge.roc_auc(np.array([0, 1]), np.array([np.nan, 1]))
    with pytest.raises(ValueError, match=r"expected 0 to 1"):
        judge.brier(np.array([0, 1]), np.array([0.5, 1.5]))
    with pytest.raises(ValueError, match="2 labels, 1 scores"):
        judge.roc_auc(np.array([0, 1]), np.array([1.0]))
    with pytest.raises(ValueError, match="other than 0 and 1"):
        judge.roc_auc(np.array([0, 2]), np.array([1.0, 2.0]))
