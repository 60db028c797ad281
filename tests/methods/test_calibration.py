"""Margins become probabilities, in numpy and in Spark alike."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.optimize import minimize
from sklearn.isotonic import IsotonicRegression

from rekindle.methods import calibration, classification
from rekindle.methods.calibration import Isotonic, Logistic


def shop(size: int, seed: int = 3) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Margins that exaggerate, and who left."""
    generator = np.random.default_rng(seed)
    truth = generator.normal(-0.8, 1.3, size)
    return 2.5 * truth + 1, generator.random(size) < 1 / (1 + np.exp(-truth))


def test_the_logistic_fit_is_the_optimum_that_another_optimiser_finds() -> None:
    margin, left = shop(800)
    found = calibration.fit_logistic(margin, left)
    positives, negatives = left.sum(), (~left).sum()
    target = np.where(left, (positives + 1) / (positives + 2), 1 / (negatives + 2))

    def loss(line: NDArray[np.float64]) -> float:
        z = line[0] * margin + line[1]
        return float((np.logaddexp(0, z) - target * z).sum())

    best = minimize(loss, [0.0, 0.0], method="BFGS", options={"gtol": 1e-8}).x
    assert (found.slope, found.intercept) == pytest.approx(tuple(best), abs=1e-5)


def test_exaggerated_margins_become_honest_on_later_users() -> None:
    for size, kind in ((1500, Logistic), (40_000, Isotonic)):
        calibrator = calibration.choose(*shop(size))
        later, left = shop(20_000, seed=99)
        said = calibrator.apply(later)
        raw = 1 / (1 + np.exp(-later))
        assert isinstance(calibrator, kind)
        assert classification.ece(left, said) < 0.03 < classification.ece(left, raw)


def test_isotonic_needs_ten_thousand_of_each_class() -> None:
    margin = np.linspace(-3, 3, 29_999)
    few = np.arange(29_999) < 9_999
    enough = np.arange(29_999) < 10_000
    assert isinstance(calibration.choose(margin, few), Logistic)
    assert isinstance(calibration.choose(margin, ~few), Logistic)
    assert isinstance(calibration.choose(margin, enough), Isotonic)


@settings(max_examples=100, deadline=None)
@given(
    st.lists(st.tuples(st.integers(-5, 5), st.booleans()), min_size=2, max_size=60).filter(
        lambda rows: len({label for _, label in rows}) == 2
    )
)
def test_the_isotonic_curve_goes_through_the_middle_of_scikit_learns_steps(rows: list[tuple[int, bool]]) -> None:
    margin = np.array([m for m, _ in rows], dtype=float)
    left = np.array([label for _, label in rows])
    positives, negatives = left.sum(), (~left).sum()
    target = np.where(left, (positives + 1) / (positives + 2), 1 / (negatives + 2))
    reference = IsotonicRegression(out_of_bounds="clip").fit(margin, target)
    steps = reference.predict(margin).round(12)  # its sums of doubles give equal steps last digits of their own
    found = calibration.fit_isotonic(margin, left)
    middles = {float(height): float(margin[steps == height].mean()) for height in np.unique(steps)}
    for height, middle in middles.items():
        assert found.apply(np.array([middle]))[0] == pytest.approx(height, abs=1e-9)
    asked = np.linspace(min(middles.values()), max(middles.values()), 50)[1:-1]  # the ends may be rounded beyond
    if len(middles) > 1:
        assert (np.diff(found.apply(asked)) > 0).all(), "no two users between the ends are told the same for nothing"


def test_separated_users_still_have_a_finite_probability() -> None:
    margin, left = np.arange(20.0), np.arange(20) >= 10
    for fit in (calibration.fit_logistic, calibration.fit_isotonic):
        said = fit(margin, left).apply(np.array([-1e6, -50.0, 9.5, 50.0, 1e6]))
        assert ((said > 0) & (said < 1)).all()
        assert (np.diff(said) >= 0).all()


def test_margins_that_do_not_vary_give_the_base_rate() -> None:
    left = np.arange(100) < 30
    said = calibration.fit_logistic(np.full(100, 7.0), left).apply(np.array([7.0, 8.0]))
    np.testing.assert_allclose(said, [0.3, 0.3], atol=0.01)
    np.testing.assert_allclose(calibration.fit_isotonic(np.full(100, 7.0), left).apply(np.array([7.0])), 0.3, atol=0.01)


def test_the_order_of_users_does_not_matter() -> None:
    margin, left = shop(5000)
    order = np.random.default_rng(2).permutation(5000)
    for fit in (calibration.fit_logistic, calibration.fit_isotonic):
        here, there = fit(margin, left).apply(margin), fit(margin[order], left[order]).apply(margin)
        np.testing.assert_allclose(here, there, atol=1e-9)


def test_a_calibrator_survives_json() -> None:
    margin, left = shop(4000)
    for calibrator in (calibration.fit_logistic(margin, left), calibration.fit_isotonic(margin, left)):
        assert calibration.from_json(calibrator.to_json()) == calibrator


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ('{"kind": "beta"}', "expected logistic, isotonic, shifted"),
        ("[1]", "kind is None"),
        ('{"kind": "logistic", "slope": 1}', r"keys \['slope'\] found"),
        ('{"kind": "isotonic", "margins": [1, 0], "probabilities": [0.1, 0.2]}', "margins must rise"),
        ('{"kind": "isotonic", "margins": [0, 1], "probabilities": [0.1, 1.0]}', "strictly between"),
    ],
)
def test_another_text_is_no_calibrator(text: str, fault: str) -> None:
    with pytest.raises(ValueError, match=fault):
        calibration.from_json(text)


def test_no_margin_gives_no_probability() -> None:
    for calibrator in (Logistic(1.0, 0.0), Isotonic((0.0, 1.0), (0.2, 0.8))):
        with pytest.raises(ValueError, match="1 margins are NaN"):
            calibrator.apply(np.array([np.nan]))


def test_users_of_one_kind_cannot_calibrate() -> None:
    with pytest.raises(ValueError, match="0 positives of 3 rows"):
        calibration.choose(np.arange(3.0), np.zeros(3))


def test_a_calibrator_that_tracks_the_base_rate_says_it_on_average_and_keeps_the_order() -> None:
    generator = np.random.default_rng(3)
    known, later = generator.normal(0, 1, 2000), generator.normal(-0.8, 1.2, 3000)
    label = (generator.random(2000) < 1 / (1 + np.exp(-known))).astype(float)
    for fitted in (calibration.fit_logistic(known, label), calibration.fit_isotonic(known, label)):
        moved = calibration.tracking(fitted, later, float(label.mean()))
        said = moved.apply(later)
        assert said.mean() == pytest.approx(label.mean(), abs=1e-9)
        assert abs(fitted.apply(later).mean() - label.mean()) > 0.05
        assert (np.diff(said[np.argsort(later)]) >= 0).all()
        assert calibration.from_json(moved.to_json()) == moved


def test_no_base_rate_can_be_tracked_that_is_none() -> None:
    fitted = Logistic(1.0, 0.0)
    for margin, base_rate in ((np.zeros(0), 0.5), (np.zeros(3), 0.0), (np.zeros(3), 1.0)):
        with pytest.raises(ValueError, match="expected some, strictly within 0 to 1"):
            calibration.tracking(fitted, margin, base_rate)
