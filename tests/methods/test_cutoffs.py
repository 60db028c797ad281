"""No outcome of training is seen by calibration, and none of calibration by judging."""

from __future__ import annotations

from datetime import date, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rekindle.methods.cutoffs import Cutoffs, TooLittleHistory, plan

FIRST = date(2026, 1, 1)


def test_the_cutoffs_of_the_simulated_shop() -> None:
    found = plan(date(2026, 5, 1), FIRST, 21, 0, 30, 7, 5)
    training = (date(2026, 2, 27), date(2026, 2, 20), date(2026, 2, 13), date(2026, 2, 6))
    assert found == Cutoffs(training, date(2026, 3, 20), date(2026, 4, 10))
    assert found.all == (date(2026, 4, 10), date(2026, 3, 20), *training)


@given(
    days=st.integers(1, 400),
    horizon=st.integers(1, 60),
    gap=st.integers(0, 20),
    history=st.integers(1, 60),
    step=st.integers(1, 30),
    count=st.integers(1, 8),
)
def test_windows_never_overlap_and_history_is_never_short(
    days: int, horizon: int, gap: int, history: int, step: int, count: int
) -> None:
    as_of, window = FIRST + timedelta(days=days), timedelta(days=gap + horizon)
    if 3 * window.days + history > days:
        with pytest.raises(TooLittleHistory, match="training needs a cut-off of"):
            plan(as_of, FIRST, horizon, gap, history, step, count)
        return
    found = plan(as_of, FIRST, horizon, gap, history, step, count)
    assert found.judging + window == as_of
    assert found.calibration + window <= found.judging
    assert max(found.training) + window <= found.calibration
    assert min(found.training) >= FIRST + timedelta(days=history)
    assert 1 <= len(found.training) <= count
    assert {(a - b).days for a, b in zip(found.training, found.training[1:], strict=False)} <= {step}
