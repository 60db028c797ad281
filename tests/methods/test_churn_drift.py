"""Users who are others than those whose outcomes are known are told apart, and alike ones are not."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rekindle.methods import churn_drift
from rekindle.methods.churn_drift import Figure, psi


def literal(reference: list[float], current: list[float]) -> float:
    """PSI by its formula, a bin at a time, for samples without missing values and ten different edges."""
    edges = np.quantile(reference, [k / 10 for k in range(1, 10)])
    total = 0.0
    for low, high in zip([-np.inf, *edges], [*edges, np.inf], strict=True):
        p, q = (max(sum(low < v <= high for v in side) / len(side), 1e-4) for side in (current, reference))
        total += (p - q) * float(np.log(p / q))
    return total


def test_the_index_is_its_formula() -> None:
    made = np.random.default_rng(5)
    reference, current = made.normal(0, 1, 700), made.normal(0.4, 1.3, 500)
    assert psi(reference, current) == pytest.approx(literal(list(reference), list(current)), abs=1e-12)


def test_users_of_one_kind_do_not_alarm_and_a_shift_of_half_a_deviation_nearly_does() -> None:
    made = np.random.default_rng(6)
    one, same, other = made.normal(0, 1, 4000), made.normal(0, 1, 4000), made.normal(1.0, 1, 4000)
    assert psi(one, same) < 0.02
    assert psi(one, other) > 0.25


def test_a_feature_that_is_suddenly_missing_has_drifted() -> None:
    there = np.arange(1000.0)
    gone = np.where(np.arange(1000) % 2 == 0, np.nan, there)
    assert psi(there, gone) > 0.25
    assert psi(np.full(10, np.nan), np.full(20, np.nan)) == 0
    assert psi(np.full(50, 3.0), np.full(80, 3.0)) == 0


@given(st.lists(st.floats(-1e6, 1e6) | st.just(float("nan")), min_size=1, max_size=60), st.randoms())
def test_the_index_is_never_negative_and_no_order_matters(values: list[float], dice: object) -> None:
    current = values[: len(values) // 2 + 1]
    shuffled = sorted(values, key=str)
    found = psi(np.array(values), np.array(current))
    assert found >= 0
    assert found == psi(np.array(shuffled), np.array(sorted(current, key=str)))


def test_nobody_cannot_have_drifted() -> None:
    with pytest.raises(ValueError, match="PSI of 0 and 1 rows"):
        psi(np.zeros(0), np.zeros(1))


def test_what_grows_with_the_log_is_told_and_alarms_nobody() -> None:
    young, old = {"tenure": np.arange(100.0), "views": np.arange(100.0)}, {"tenure": np.arange(300.0, 400.0)}
    tenure, views = churn_drift.drift(young, old | {"views": np.arange(300.0, 400.0)}, ["tenure"], 0.25)
    assert tenure.value == views.value > 0.25
    assert (tenure.is_alarm, views.is_alarm) == (False, True)


def test_probabilities_that_are_off_by_a_tenth_alarm_and_good_ones_do_not() -> None:
    made = np.random.default_rng(7)
    truth = made.uniform(0.05, 0.85, 5000)
    label = (made.random(5000) < truth).astype(float)

    def alarms(said: np.ndarray) -> set[str]:
        return {f.name for f in churn_drift.calibration_figures(label, said, truth, 0.08, 0.05) if f.is_alarm}

    assert alarms(truth) == set()
    assert alarms(truth + 0.1) == {"in_the_large", "ece"}
    told = {f.name: f.value for f in churn_drift.calibration_figures(label, truth + 0.1, truth, 0.08, 0.05)}
    assert told["in_the_large"] == pytest.approx(0.1, abs=0.02)
    assert told["in_the_large_recalibrated"] == pytest.approx(0, abs=0.02)
    assert told["share_that_left"] == label.mean()


def test_a_limit_holds_in_both_directions() -> None:
    assert [Figure("calibration", "x", v, 0.1).is_alarm for v in (-0.2, -0.1, 0.0, 0.1, 0.2)] == [
        True, False, False, False, True,
    ]  # fmt: skip


def test_value_is_watched_by_what_came_and_by_tenths() -> None:
    made = np.random.default_rng(8)
    came = made.gamma(1.0, 30.0, 2000)
    told = {f.name: f for f in churn_drift.value_watched(came * made.uniform(0.5, 1.5, 2000), came)}
    assert not any(f.is_alarm for f in told.values())
    assert told["mean_came"].value == pytest.approx(came.mean())
    assert 0.8 < told["spearman"].value < 1
    assert told["top_share"].value < told["top_share_best"].value
    tenths = [told[f"tenth_{n:02d}_came"].value for n in range(1, 11)]
    assert tenths == sorted(tenths)
    with pytest.raises(ValueError, match="there is no order to find"):
        churn_drift.value_watched(came, came * 0)
