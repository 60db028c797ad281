"""Splits: nothing of the future is known, no event is lost, and a core is what a plain loop leaves."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rekindle.methods.interactions import Interactions
from rekindle.methods.ragged import Ragged
from rekindle.methods.splits import GROUPS, Events, Split, at_instant, core, random_per_user, within

N_USERS, N_ITEMS = 6, 8
DRAWN = st.lists(
    st.tuples(st.integers(0, N_USERS - 1), st.integers(0, N_ITEMS - 1), st.integers(1, 3), st.integers(0, 39)),
    min_size=1,
    max_size=40,
)


def shop(*rows: tuple[int, int, float, float], purchase: list[bool] | None = None) -> Events:
    """Events of (user, item, strength, day)."""
    user, item, strength, day = (np.array(column) for column in zip(*rows, strict=True))
    bought = None if purchase is None else np.array(purchase)
    return Events(
        user.astype(np.int64), item.astype(np.int64), strength.astype(float), day.astype(float), N_USERS, N_ITEMS,
        bought,
    )  # fmt: skip


def rows_of(rows: Ragged) -> list[list[int]]:
    return [rows.between(r, r + 1).items.tolist() for r in range(len(rows))]


def assert_same(a: Split, b: Split) -> None:
    for name in ("user", "item", "strength", "age_days"):
        np.testing.assert_array_equal(getattr(a.known, name), getattr(b.known, name))
    for name in ("truth", "seen", "blocked"):
        assert rows_of(getattr(a, name)) == rows_of(getattr(b, name))
    np.testing.assert_array_equal(a.users.index, b.users.index)
    np.testing.assert_array_equal(a.users.histories.items, b.users.histories.items)
    np.testing.assert_array_equal(a.users.histories.values, b.users.histories.values)  # type: ignore[arg-type]
    np.testing.assert_array_equal(a.group, b.group)
    assert a.counts == b.counts


def made(count: int = 400, seed: int = 1) -> Events:
    drawn = np.random.default_rng(seed)
    return Events(
        drawn.integers(0, 30, count),
        drawn.integers(0, 25, count),
        drawn.integers(1, 4, count).astype(float),
        drawn.uniform(0, 100, count),
        30,
        25,
    )


def test_what_happens_after_the_instant_changes_nothing_that_is_known() -> None:
    events = made()
    later = events.day >= 60
    moved = replace(events, item=np.where(later, (events.item + 7) % 25, events.item), strength=events.strength + later)
    a, b = at_instant(events, 60), at_instant(moved, 60)
    for name in ("user", "item", "strength", "age_days"):
        np.testing.assert_array_equal(getattr(a.known, name), getattr(b.known, name))
    np.testing.assert_array_equal(a.eligible, b.eligible)
    of_a = dict(zip(a.users.index.tolist(), rows_of(a.seen), strict=True))
    of_b = dict(zip(b.users.index.tolist(), rows_of(b.seen), strict=True))
    shared = of_a.keys() & of_b.keys()
    assert shared
    assert all(of_a[user] == of_b[user] for user in shared)


def test_an_event_at_the_instant_is_not_known_and_one_just_before_it_is() -> None:
    split = at_instant(shop((0, 1, 1, 9.99), (0, 2, 1, 9.0), (0, 1, 1, 10.0)), 10)
    assert sorted(split.known.item.tolist()) == [1, 2]
    assert rows_of(split.truth) == [[1]]
    assert split.known.age_days.tolist() == pytest.approx([0.01, 1.0])


@settings(max_examples=50, deadline=None)
@given(DRAWN, st.integers(1, 3), st.booleans(), st.booleans())
def test_every_event_is_known_or_truth_or_left_out_for_a_reason(
    drawn: list[tuple[int, int, int, int]], least: int, with_new: bool, known_only: bool
) -> None:
    events = shop(*drawn, *[(0, 0, 1, 1), (0, 1, 1, 1), (0, 2, 1, 1), (1, 0, 1, 1), (2, 0, 1, 1), (0, 0, 1, 25)])
    split = at_instant(events, 20, truth_days=10, with_new=with_new, known_items_only=known_only, least_of_item=least)
    assert sum(split.counts.values()) == len(events)
    assert split.counts["known"] == len(split.known)
    assert (split.truth.lengths() > 0).all()
    repeat, explore = split.repeat(), split.explore()
    for whole, again, fresh in zip(rows_of(split.truth), rows_of(repeat.truth), rows_of(explore.truth), strict=True):
        assert sorted(again + fresh) == whole
    assert within(repeat.truth, split.seen).all()
    assert not within(explore.truth, split.seen).any()


@settings(max_examples=50, deadline=None)
@given(DRAWN, st.integers(1, 3), st.integers(1, 3))
def test_the_core_is_what_a_plain_loop_leaves(
    drawn: list[tuple[int, int, int, int]], least_of_user: int, least_of_item: int
) -> None:
    left = list(drawn)
    while True:
        items_of, users_of = defaultdict(set), defaultdict(set)
        for user, item, _, _ in left:
            items_of[user].add(item)
            users_of[item].add(user)
        kept = [r for r in left if len(items_of[r[0]]) >= least_of_user and len(users_of[r[1]]) >= least_of_item]
        if kept == left:
            break
        left = kept
    user, item, strength, age = (np.array(column) for column in zip(*drawn, strict=True))
    known = Interactions(user, item, strength.astype(float), age.astype(float), N_USERS, N_ITEMS)
    found = core(known, least_of_user, least_of_item)
    assert [row for row, inside in zip(drawn, found, strict=True) if inside] == left


def test_the_order_of_events_changes_no_split() -> None:
    events = made()
    order = np.random.default_rng(2).permutation(len(events))
    shuffled = replace(
        events, user=events.user[order], item=events.item[order], strength=events.strength[order], day=events.day[order]
    )
    assert_same(at_instant(events, 60, least_of_item=3), at_instant(shuffled, 60, least_of_item=3))
    assert_same(random_per_user(events, seed=4), random_per_user(shuffled, seed=4))


def test_the_random_split_keeps_three_quarters_of_each_users_items_and_no_item_on_both_sides() -> None:
    events = made()
    split = random_per_user(events, seed=4)
    had = {u: set(events.item[events.user == u].tolist()) for u in range(30)}
    for user, seen, truth in zip(split.users.index.tolist(), rows_of(split.seen), rows_of(split.truth), strict=True):
        assert len(seen) == round(0.75 * len(had[user]))
        assert set(seen) | set(truth) == had[user]
        assert not set(seen) & set(truth)
    assert rows_of(split.blocked) == rows_of(split.seen)
    assert sum(split.counts.values()) == len(events)


def test_another_seed_is_another_split() -> None:
    events = made()
    assert rows_of(random_per_user(events, seed=1).truth) != rows_of(random_per_user(events, seed=2).truth)


def test_a_user_outside_the_core_is_still_served_from_the_history() -> None:
    # Item 1 is bought by three, item 2 by one; user 3 has only item 2 and item 1 after the core is cut at two items.
    split = at_instant(
        shop((0, 1, 1, 1), (0, 3, 1, 1), (1, 1, 1, 1), (1, 3, 1, 1), (3, 1, 2, 2), (3, 1, 1, 30), (0, 3, 1, 30)),
        20,
        least_of_user=2,
    )
    assert split.users.index.tolist() == [0, -1]
    assert rows_of(split.users.histories) == [[1, 3], [1]]
    assert split.users.histories.values is not None
    assert split.users.histories.values.tolist() == [1, 1, 2]
    assert 3 not in split.known.user


def test_a_repeat_is_one_even_where_the_item_fell_out_of_the_catalogue() -> None:
    events = shop((0, 1, 1, 1), (1, 1, 1, 1), (0, 5, 1, 1), (0, 5, 1, 30))
    split = at_instant(events, 20, least_of_item=2, known_items_only=False)
    assert not split.eligible[5]
    assert rows_of(split.repeat().truth) == [[5]]
    assert rows_of(split.explore().truth) == [[]]


def test_truth_outside_the_catalogue_counts_only_where_it_is_asked_for() -> None:
    events = shop((0, 1, 1, 1), (0, 1, 1, 25), (0, 6, 1, 25))
    assert rows_of(at_instant(events, 20).truth) == [[1]]
    assert rows_of(at_instant(events, 20, known_items_only=False).truth) == [[1, 6]]


def test_users_are_new_one_time_or_regular_by_days_with_a_purchase() -> None:
    events = shop(
        *[(0, 1, 1, 3.1), (0, 2, 1, 3.9)],  # twice on one day
        *[(1, 1, 1, 3.1), (1, 2, 1, 4.0)],
        *[(2, 1, 1, 3.0), (2, 2, 1, 5.0)],  # looked twice and bought nothing
        *[(u, 1, 1, 12.0) for u in range(4)],
        purchase=[True] * 4 + [False] * 2 + [True] * 4,
    )
    split = at_instant(events, 10, with_new=True)
    assert [GROUPS[g] for g in split.group] == ["one-time", "regular", "new", "new"]
    assert rows_of(split.seen)[3] == []
    assert split.users.index.tolist() == [0, 1, 2, -1]


def test_a_faded_history_weighs_what_was_done_a_half_life_ago_by_half_and_nothing_else_changes() -> None:
    split = at_instant(shop((0, 1, 4, 0), (0, 2, 4, 5), (0, 2, 1, 25), (1, 4, 1, 1)), 10)
    faded = split.faded(5)
    assert faded.users.histories.values is not None
    assert faded.users.histories.values.tolist() == pytest.approx([1, 2])
    assert_same(faded.faded(None), split)
    assert rows_of(faded.users.histories) == rows_of(split.users.histories)


def test_who_is_served_comes_with_the_past_of_what_is_in_the_history() -> None:
    # Item 3 is known by one user alone, so the core leaves it out; user 0 is served without it.
    split = at_instant(shop((0, 1, 1, 2), (0, 1, 1, 8), (0, 3, 1, 9), (1, 1, 1, 1), (0, 1, 1, 12)), 10, least_of_item=2)
    past = split.users.past
    assert past is not None
    assert rows_of(split.users.histories) == [[1]]
    assert (past.last_days.tolist(), past.times.tolist(), past.interval_days.tolist()) == ([2], [2], [6])
    assert past.active_days.tolist() == [3]


def test_explore_blocks_what_the_user_has_and_repeat_blocks_nothing() -> None:
    split = at_instant(made(), 60)
    assert rows_of(split.explore().blocked) == rows_of(split.seen)
    assert len(split.repeat().blocked.items) == 0


@pytest.mark.parametrize(
    ("ask", "word"),
    [
        (lambda: at_instant(made(), -1), "nothing is known"),
        (lambda: at_instant(made(), 1000), "nobody"),
        (lambda: at_instant(made(), 60, least_of_item=31), "core is empty"),
        (lambda: random_per_user(made(), share=1, seed=1), "share is 1"),
        (lambda: replace(made(), day=np.full(400, np.nan)), "a day is not a number"),
        (lambda: replace(made(), day=np.zeros(3)), "not an array of 400 rows"),
        (lambda: replace(made(), n_items=5), "item 0 to 24, expected 0 to 4"),
    ],
)
def test_a_split_of_nothing_is_refused_with_its_reason(ask: object, word: str) -> None:
    with pytest.raises(ValueError, match=word):
        ask()  # type: ignore[operator]
