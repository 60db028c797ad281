"""Sequences for training and serving against plain loops over events."""

from __future__ import annotations

import numpy as np
import pytest

from rekindle.methods.interactions import Interactions, Past, Users
from rekindle.methods.ragged import Ragged
from rekindle.methods.sequences import Log, served


def some_shop(seed: int, rows: int = 300) -> Interactions:
    """Ten users, nine items of which 4 is never touched; whole days, so that much happens at once and again."""
    made = np.random.default_rng(seed)
    item = made.choice([0, 1, 2, 3, 5, 6, 7, 8], rows)
    age = made.integers(0, 40, rows).astype(float)
    return Interactions(made.integers(0, 10, rows), item, made.integers(1, 4, rows).astype(float), age, 10, 9)


def shuffled(known: Interactions) -> Interactions:
    order = np.random.default_rng(5).permutation(len(known))
    columns = (known.user, known.item, known.strength, known.age_days)
    return Interactions(*(column[order] for column in columns), known.n_users, known.n_items)


@pytest.mark.parametrize("length", [8, 100])
def test_from_each_place_the_visible_events_are_the_history_as_of_then(length: int) -> None:
    """Every item once, at its last time, with its strengths summed; whole sequences where the window is long enough."""
    known = some_shop(0)
    windows, aim = Log.of(known).windows(length, 7.0, np.random.default_rng(1))
    age = known.age_days - known.age_days.min()  # windows count from the latest event
    for row in range(len(windows)):
        filled = int((windows.until[row] > 0).sum())
        days = windows.age_days[row, :filled]
        assert (np.diff(days) <= 0).all()
        for t in range(filled):
            seen = [j for j in range(filled) if j <= t < windows.until[row, j]]
            items = windows.item[row, seen].tolist()
            assert sorted(items) == sorted(set(windows.item[row, : t + 1].tolist()))
            for j in seen:
                assert windows.item[row, j] not in windows.item[row, j + 1 : t + 1]
        if length == 100:
            user = same_sequence(known, days, Log.of(known).known[windows.item[row, :filled]])
            for j in range(filled):
                item = Log.of(known).known[windows.item[row, j]]
                mine = (known.user == user) & (known.item == item) & (age >= days[j])
                assert windows.strength[row, j] == known.strength[mine].sum()
            for t in np.flatnonzero(aim.weight[row]):
                item = Log.of(known).known[aim.item[row, t]]
                mine = (known.user == user) & (known.item == item)
                assert ((age[mine] <= days[t]) & (age[mine] >= days[t] - 7)).any()


def same_sequence(known: Interactions, days: np.ndarray, items: np.ndarray) -> int:
    """The user who did exactly this."""
    told = set(zip(items.tolist(), (days + known.age_days.min()).tolist(), strict=True))
    for user in range(known.n_users):
        own = known.user == user
        if set(zip(known.item[own].tolist(), known.age_days[own].tolist(), strict=True)) == told:
            return user
    raise AssertionError("nobody did this")


def test_without_a_horizon_the_next_event_is_foretold() -> None:
    known = Interactions(np.zeros(4, int), np.array([2, 0, 1, 0]), np.ones(4), np.array([4.0, 3.0, 2.0, 1.0]), 1, 3)
    windows, aim = Log.of(known).windows(4, 0.0, np.random.default_rng(0))
    assert windows.item.tolist() == [[2, 0, 1, 0]]
    assert windows.until.tolist() == [[4, 3, 4, 4]]
    assert aim.item[0, :3].tolist() == [0, 1, 0]
    assert aim.weight.tolist() == [[1, 1, 1, 0]]


def test_the_order_of_rows_changes_nothing_and_events_at_once_come_in_any_order() -> None:
    known = some_shop(1)
    one, two = (Log.of(k).windows(8, 7.0, np.random.default_rng(3)) for k in (known, shuffled(known)))
    assert [a.tobytes() for a in one[0].arrays()] == [a.tobytes() for a in two[0].arrays()]
    at_once = Interactions(np.zeros(6, int), np.arange(6), np.ones(6), np.ones(6), 1, 6)
    orders = {tuple(Log.of(at_once).windows(6, 7.0, np.random.default_rng(n))[0].item[0].tolist()) for n in range(20)}
    assert len(orders) > 10


def test_who_is_served_comes_in_the_order_of_his_last_times() -> None:
    """The newest two of three; what was given back or is unknown takes no part."""
    histories = Ragged.from_lists([[0, 1, 3, 4, 5], []], [[1, 2, 3, -1, 1], []])
    past = Past(np.array([1.0, 9.0, 5.0, 0.5, 0.1]), np.ones(5), np.full(5, np.nan), np.ones(2))
    users = Users(np.array([-1, -1]), histories, past)
    found = served(users, np.array([0, 1, 3, 4]), 6, 2, timed=True)
    assert found.item.tolist() == [[2, 0], [0, 0]]
    assert found.until.tolist() == [[2, 2], [0, 0]]
    assert found.strength.tolist() == [[3, 1], [1, 1]]
    with pytest.raises(ValueError, match=r"Users\.past is None"):
        served(Users(users.index, histories), np.array([0]), 6, 2, timed=True)
    with pytest.raises(ValueError, match="holds item 5, expected 0 to 4"):
        served(users, np.array([0]), 5, 2, timed=False)
