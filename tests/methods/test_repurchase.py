"""Clocks of buying again: whose interval is believed, and how far."""

from __future__ import annotations

import math

import numpy as np
import pytest

from rekindle.methods.interactions import Interactions, Users
from rekindle.methods.list_settings import Repurchase
from rekindle.methods.repurchase import Clocks, GapSums

RULES = Repurchase(item_gaps=10, category_gaps=30, person_gaps=2, pace_gaps=5, learn_buyers=3, learn_rebought=0.01)


def buyers(*bought: tuple[int, int, float], users: int, items: int) -> Users:
    """(user, item, days ago), in any order."""
    user, item, age = (np.array(column) for column in zip(*bought, strict=True))
    done = Interactions(user, item, np.ones(len(user)), age.astype(float), users, items)
    return Users(np.full(users, -1, dtype=np.int64), done.histories(), done.past())


# Tea (items 0 and 1, category 0): user 0 buys 0 every 10 days, four times; user 1 every 20, twice. Lamps (item 2,
# category 1): three bought one each, long ago. Item 3: a category of its own that one bought yesterday.
SHOP = buyers(
    *((0, 0, day) for day in (5, 15, 25, 35)), (1, 0, 2), (1, 0, 22), (1, 1, 8),
    (0, 2, 80), (1, 2, 90), (2, 2, 100), (2, 3, 1), users=3, items=4,
)  # fmt: skip
CATEGORY = np.array([0, 0, 1, 2])


def test_an_item_is_expected_as_its_buyers_rebuy_it_and_a_rare_one_as_its_category() -> None:
    clocks = Clocks.learn(GapSums.of(SHOP, 4, 60), CATEGORY, 3, RULES)
    tea = 50 / 4  # four gaps of 50 days; the shop has no other gaps
    assert clocks.item_days[:2] == pytest.approx([(50 + 10 * tea) / 14, tea])
    assert np.isnan(clocks.item_days[2:]).all()  # nobody rebought of these categories


def test_shrinkage_goes_from_the_category_to_the_item_with_what_is_seen_of_it() -> None:
    sums = GapSums(np.array([800.0, 0, 40]), np.array([40.0, 0, 10]), np.full(3, 50.0), np.full(3, 20.0))
    clocks = Clocks.learn(sums, np.array([0, 0, 1]), 2, RULES)
    shop = 840 / 50
    first, second = (800 + 30 * shop) / 70, (40 + 30 * shop) / 40
    assert clocks.item_days == pytest.approx([(800 + 10 * first) / 50, first, (40 + 10 * second) / 20], abs=1e-6)


def test_a_users_own_interval_counts_by_its_gaps_and_his_pace_speaks_for_the_rest() -> None:
    clocks = Clocks(np.array([14.0, 20.0]), np.zeros(1, dtype=bool), person_gaps=2, pace_gaps=5)
    user = buyers(*((0, 0, day) for day in (3, 10, 17, 24)), (0, 1, 12), (1, 1, 12), users=2, items=2)
    pace = math.exp(3 * math.log(7 / 14) / (3 + 5))  # three gaps of 7 days where 14 are usual
    assert clocks.expected(user) == pytest.approx([(3 * 7 + 2 * 14 * pace) / 5, 20 * pace, 20], abs=1e-6)
    assert clocks.due(user)[2] == pytest.approx(12 / 20)


def test_an_item_that_nobody_else_rebought_goes_by_the_users_own_interval_or_by_none() -> None:
    clocks = Clocks.none(2, 1)
    user = buyers((0, 0, 4), (0, 0, 34), (0, 1, 9), users=1, items=2)
    assert clocks.expected(user)[0] == 30
    assert np.isnan(clocks.due(user)[1])


def test_a_category_that_many_bought_long_ago_and_nobody_again_is_learnt_to_be_bought_once() -> None:
    sums = GapSums.of(SHOP, 4, 60)
    learning = RULES.model_copy(update={"durables": "learn"})
    # Lamps: three had the time. Item 3 was bought yesterday: nobody knows yet.
    assert Clocks.learn(sums, CATEGORY, 3, learning).durable.tolist() == [False, True, False]
    assert not Clocks.learn(sums, CATEGORY, 3, RULES).durable.any()
    more = learning.model_copy(update={"learn_buyers": 4})
    assert not Clocks.learn(sums, CATEGORY, 3, more).durable.any()


def test_sums_of_parts_of_the_users_are_the_sums_of_all_in_whatever_order() -> None:
    whole = GapSums.of(SHOP, 4, 60)
    parts = GapSums.of(SHOP.between(2, 3), 4, 60) + GapSums.of(SHOP.between(0, 2), 4, 60)
    for name in ("days", "gaps", "watched", "rebought"):
        assert getattr(parts, name).tolist() == getattr(whole, name).tolist()


def test_a_kept_clock_is_the_same_clock() -> None:
    clocks = Clocks.learn(GapSums.of(SHOP, 4, 60), CATEGORY, 3, RULES.model_copy(update={"durables": "learn"}))
    back = Clocks.from_files(clocks.to_files())
    assert back.to_files() == clocks.to_files()
    np.testing.assert_array_equal(back.due(SHOP), clocks.due(SHOP))


def test_purchases_without_days_are_refused() -> None:
    with pytest.raises(ValueError, match="without the days"):
        GapSums.of(Users(SHOP.index, SHOP.histories), 4, 60)
