"""Places for new items: who may be drawn, where it stands, and whether the logged chance is the chance."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from rekindle.methods.exploration import drawn, ranks, uniform
from rekindle.methods.interactions import Interactions, Users
from rekindle.methods.list_batch import Batch, ItemFacts, Rung
from rekindle.methods.list_rules import KINDS, make_lists
from rekindle.methods.list_settings import Exploration, Rules
from rekindle.methods.ragged import Ragged
from rekindle.methods.repurchase import Clocks

NIGHTS = 20_000  # one seed each


def many_nights(n_items: int = 14, nights: int = NIGHTS) -> Batch:
    """One user without history on many nights: items 0 to 5 are old; 6 to 13 new, of which 13 is sold out, 12 has too
    many events and no source speaks of 10 and 11."""
    nothing = Interactions(*(np.zeros(0, dtype=np.int64),) * 2, *(np.zeros(0),) * 2, nights, n_items)
    users = Users(np.full(nights, -1, dtype=np.int64), nothing.histories(), nothing.past())
    scores = np.tile(np.arange(n_items, 0.0, -1), (nights, 1))
    scores[:, 10:12] = -np.inf
    facts = ItemFacts(
        np.zeros(n_items, dtype=np.int64),
        ["tea"],
        np.zeros(1, dtype=bool),
        np.where(np.arange(n_items) < 6, 300.0, 3.0),
        stock=np.where(np.arange(n_items) == 13, 0.0, np.nan),
        events=np.where(np.arange(n_items) == 12, 99.0, 5.0),
    )
    seeds = np.arange(nights, dtype=np.uint64)  # as alike as seeds can be
    return Batch(
        [Rung("popularity", scores)], users, users, Ragged.empty(nights), seeds, facts, Clocks.none(n_items, 1)
    )


@pytest.mark.parametrize(
    "told",
    [
        {"places": 1},
        {"places": 1, "choice": "softmax"},
        {"places": 2, "choice": "softmax", "temperature": 0.3, "ranks": [2, 4]},
        {"places": 3},
        {"places": 4},  # with 5 eligible items
    ],
)
def test_over_many_nights_each_new_item_is_shown_as_often_as_its_logged_chance_says(told: dict[str, Any]) -> None:
    rules = Rules.model_validate({"exploration": told})
    lists = make_lists(many_nights(), rules, 7)
    is_new = lists.kind == KINDS.index("new item")
    assert (is_new.sum(axis=1) == told["places"]).all()
    shown = lists.item[is_new]
    assert set(shown.tolist()) == {7, 8, 9, 10, 11}  # 6 is in the list without draws: it was ranked there
    sum_of_chances = 0.0
    for item in range(7, 12):
        logged = np.unique(lists.propensity[is_new & (lists.item == item)])
        assert len(logged) == 1  # the same user on every night
        share = float((shown == item).sum()) / NIGHTS
        assert abs(share - logged[0]) < 4 * np.sqrt(logged[0] * (1 - logged[0]) / NIGHTS) + 1e-12
        sum_of_chances += float(logged[0])
    assert sum_of_chances == pytest.approx(told["places"])
    # The rest of the list is what it was.
    without = make_lists(many_nights(nights=1), Rules(), 7).item[0]
    rest = [i for i in lists.item[0] if i < 7]
    assert rest == without[: len(rest)].tolist()


def test_the_better_ranked_are_drawn_more_often_by_softmax_and_e_to_one_over_the_temperature_is_the_most() -> None:
    pool = np.array([[4, 2, 9, -1], [7, -1, -1, -1], [-1, -1, -1, -1]])
    rules = Exploration(places=1, choice="softmax", temperature=0.5)
    chances = {}
    for seed in range(200):
        item, chance = drawn(pool, np.full(3, seed, dtype=np.uint64), rules)
        assert (item[1, 0], chance[1, 0], item[2, 0], chance[2, 0]) == (7, 1.0, -1, 1.0)
        chances[int(item[0, 0])] = float(chance[0, 0])
    assert chances[4] / chances[9] == pytest.approx(np.exp(2))
    assert chances[4] / chances[2] == pytest.approx(np.exp(1))
    assert sum(chances.values()) == pytest.approx(1)


def test_a_place_stands_on_its_rank_and_where_none_is_given_on_every_rank_alike() -> None:
    seeds = np.arange(6_000, dtype=np.uint64)
    assert ranks(seeds[:2], 20, Exploration(places=2, ranks=(5, 20))).tolist() == [[4, 19]] * 2
    found = ranks(seeds, 6, Exploration(places=2))
    assert (found[:, 0] != found[:, 1]).all()
    share = np.bincount(found.ravel(), minlength=6) / len(seeds)
    assert np.abs(share - 1 / 3).max() < 4 * np.sqrt(2 / 9 / len(seeds))


def test_draws_are_even_and_those_of_different_streams_and_seeds_are_unrelated() -> None:
    seeds = np.arange(50_000, dtype=np.uint64)
    one, other = uniform(seeds, 0), uniform(seeds, 1)
    for drawn_ in (one, other):
        assert (drawn_ >= 0).all()
        assert (drawn_ < 1).all()
        counts = np.bincount((drawn_ * 20).astype(int), minlength=20)
        assert float(((counts - 2500) ** 2 / 2500).sum()) < 45  # chi-squared of 19: 1 in 1,000 is above 43.8
    assert abs(np.corrcoef(one, other)[0, 1]) < 0.02
    assert abs(np.corrcoef(one[:-1], one[1:])[0, 1]) < 0.02


def test_a_category_that_is_full_gets_no_new_item_and_what_was_bought_is_none() -> None:
    rules = Rules.model_validate({"exploration": {"places": 1}, "most_of_category": 3})
    batch = many_nights(nights=50)
    assert not (make_lists(batch, rules, 3).kind == KINDS.index("new item")).any()
    few = Rules.model_validate({"exploration": {"places": 1}, "most_of_category": 8})
    assert (make_lists(batch, few, 3).kind == KINDS.index("new item")).sum() == 50
