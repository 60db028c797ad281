"""Parts of a job at the same time."""

from __future__ import annotations

from threading import Barrier, Event

import pytest

from rekindle.side_by_side import side_by_side


def test_the_parts_run_at_the_same_time() -> None:
    together, met = Barrier(2, timeout=10), []
    side_by_side(lambda: met.append(together.wait()), lambda: met.append(together.wait()))
    assert sorted(met) == [0, 1]


def test_the_error_of_a_part_is_raised_once_the_others_have_ended() -> None:
    begun, ended = Event(), Event()

    def fails() -> None:
        begun.wait(10)
        raise ValueError("no such table")

    def goes_on() -> None:
        begun.set()
        ended.set()

    with pytest.raises(ValueError, match="no such table"):
        side_by_side(fails, goes_on)
    assert ended.is_set()
