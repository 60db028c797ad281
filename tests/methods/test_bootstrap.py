"""Intervals: cover what they should, do not depend on blocks, and agree with textbook errors."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from rekindle.methods import bootstrap, classification
from rekindle.methods.bootstrap import paired_auc_difference, paired_mean_difference


def test_the_interval_of_a_mean_has_the_width_of_its_standard_error() -> None:
    generator = np.random.default_rng(5)
    left, right = generator.normal(0.3, 1, 4000), generator.normal(0, 1, 4000)
    found = paired_mean_difference(left, right, seed=1, draws=4000)
    error = (left - right).std() / np.sqrt(4000)
    assert found.point == pytest.approx((left - right).mean())
    assert (found.high - found.low) / (2 * 1.96 * error) == pytest.approx(1, abs=0.06)
    assert found.excludes_zero


def test_a_model_against_itself_is_not_better() -> None:
    values = np.random.default_rng(0).random(200)
    found = paired_mean_difference(values, values, seed=1)
    assert (found.point, found.low, found.high) == (0, 0, 0)
    assert not found.excludes_zero


def test_ninety_five_of_a_hundred_intervals_hold_the_truth() -> None:
    generator = np.random.default_rng(11)
    held = 0
    for trial in range(200):
        left, right = generator.exponential(1.0, 150), generator.exponential(0.8, 150)
        found = paired_mean_difference(left, right, seed=trial, draws=400)
        held += found.low <= 0.2 <= found.high
    assert 180 <= held <= 199  # 190 expected; three standard errors are 9


def test_pairing_sees_a_small_steady_gain_that_users_hide() -> None:
    generator = np.random.default_rng(2)
    hard = generator.random(500)
    found = paired_mean_difference(hard + generator.normal(0.02, 0.05, 500), hard, seed=4)
    assert found.low > 0
    shuffled = paired_mean_difference(hard + 0.02, generator.permutation(hard), seed=4)
    assert not shuffled.excludes_zero


def test_swapping_the_models_mirrors_the_interval() -> None:
    generator = np.random.default_rng(8)
    left, right = generator.random(300), generator.random(300)
    there, back = paired_mean_difference(left, right, seed=3), paired_mean_difference(right, left, seed=3)
    np.testing.assert_allclose((there.point, there.low, there.high), (-back.point, -back.high, -back.low), atol=1e-12)


def test_blocks_change_nothing_and_a_seed_changes_something(monkeypatch: pytest.MonkeyPatch) -> None:
    generator = np.random.default_rng(9)
    truth, left, right = generator.random(120) < 0.4, generator.random(120), generator.random(120)
    whole = paired_auc_difference(truth, left, right, seed=7, draws=300)
    monkeypatch.setattr(bootstrap, "BLOCK_CELLS", 1000)
    assert paired_auc_difference(truth, left, right, seed=7, draws=300) == whole
    assert paired_auc_difference(truth, left, right, seed=8, draws=300) != whole


def test_a_weighted_auc_is_scikit_learns_on_the_same_weights() -> None:
    generator = np.random.default_rng(13)
    truth = generator.random(400) < 0.3
    score = np.round(truth * 0.4 + generator.random(400), 1)  # many ties
    weights = generator.poisson(1.0, (6, 400)).astype(np.float64)
    found = bootstrap._SortedScores(truth, score).auc(weights)
    expected = [roc_auc_score(truth, score, sample_weight=row) for row in weights]
    np.testing.assert_allclose(found, expected, atol=1e-12)


def test_the_auc_interval_has_the_width_that_delong_gives() -> None:
    generator = np.random.default_rng(17)
    truth = generator.random(1500) < 0.35
    taste = truth + generator.normal(0, 1, 1500)
    left, right = taste + generator.normal(0, 0.3, 1500), taste + generator.normal(0, 1.2, 1500)
    found = paired_auc_difference(truth, left, right, seed=1, draws=1500)
    assert found.point == pytest.approx(
        classification.roc_auc(truth, left) - classification.roc_auc(truth, right), abs=1e-12
    )
    # DeLong, DeLong and Clarke-Pearson (1988): variances of the placements of each row among the other class.
    placed = []
    for score in (left, right):
        wins = (score[truth][:, None] > score[~truth][None, :]).astype(float)
        placed.append((wins.mean(axis=1), wins.mean(axis=0)))
    error = np.sqrt(sum((placed[0][c] - placed[1][c]).var() / len(placed[0][c]) for c in (0, 1)))
    assert (found.high - found.low) / (2 * 1.96 * error) == pytest.approx(1, abs=0.08)
    assert found.low > 0


def test_the_order_of_rows_moves_only_the_draws() -> None:
    generator = np.random.default_rng(21)
    truth, left, right = generator.random(600) < 0.5, generator.random(600), generator.random(600)
    order = generator.permutation(600)
    here = paired_auc_difference(truth, left, right, seed=1)
    there = paired_auc_difference(truth[order], left[order], right[order], seed=1)
    assert there.point == pytest.approx(here.point, abs=1e-12)
    assert there.low == pytest.approx(here.low, abs=0.01)


def test_too_few_churners_give_no_interval() -> None:
    truth = np.arange(100) < 5
    with pytest.raises(ValueError, match="5 positives of 100 rows, expected at least 10"):
        paired_auc_difference(truth, np.arange(100.0), np.arange(100.0), seed=1)


def test_missing_figures_are_refused() -> None:
    with pytest.raises(ValueError, match="1 rows are NaN"):
        paired_mean_difference(np.array([1.0, np.nan]), np.array([1.0, 2.0]), seed=1)
    with pytest.raises(ValueError, match="2 rows on the left, 1"):
        paired_mean_difference(np.array([1.0, 2.0]), np.array([1.0]), seed=1)
    with pytest.raises(ValueError, match="no rows"):
        paired_mean_difference(np.zeros(0), np.zeros(0), seed=1)
