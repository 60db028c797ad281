"""Why an item is or is not in a list."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from rekindle.methods.interactions import Interactions, Users
from rekindle.methods.list_batch import Batch, ItemFacts, Rung
from rekindle.methods.list_rules import make_lists
from rekindle.methods.list_settings import Rules
from rekindle.methods.list_why import Why, why
from rekindle.methods.ragged import Ragged
from rekindle.methods.repurchase import Clocks


def a_user(**facts: Any) -> Batch:
    """He bought tea (item 0) 3 days ago and a lamp (item 1) 50 days ago; item 2 is sold out, of item 6 nobody speaks;
    the neighbours speak of 3 alone, and are asked about those with 3 items."""
    done = Interactions(np.zeros(2, dtype=np.int64), np.array([0, 1]), np.ones(2), np.array([3.0, 50.0]), 1, 7)
    users = Users(np.full(1, -1, dtype=np.int64), done.histories(), done.past())
    neighbours, als = np.full((1, 7), -np.inf), np.array([[6.0, 5, 4, 3, 2, 1, -np.inf]])
    neighbours[0, 3] = 0.25
    items = ItemFacts(
        np.array([0, 1, 0, 0, 0, 1, -1]),
        ("tea", "lamps"),
        np.array([False, True]),
        np.where(np.arange(7) == 6, 2.0, 90.0),
        stock=np.array([9, 9, 0, 9, 9, 9, 9.0]),
    )
    ladder = [Rung("item_neighbours", neighbours), Rung("als", als)]
    clocks = Clocks(np.full(7, 10.0), np.zeros(2, dtype=bool), 2.0, 5.0)
    return Batch(ladder, users, users, Ragged.empty(1), np.zeros(1, dtype=np.uint64), items, clocks)


def asked(item: int, k: int = 2, **rules: Any) -> Why:
    told = {"history_items": {"item_neighbours": 3}, "repurchase": {"held_below": 0.7}, **rules}
    return why(a_user(), Rules.model_validate(told), k, item, ("U1", "tea 7"))


def test_a_listed_item_has_its_ranks_by_source_and_its_place() -> None:
    found = asked(3)
    assert (found.state, found.place, found.rank_before_rules, found.rank_after_filters) == ("listed", 1, 4, 1)
    assert (found.ranks, found.asked) == ({"item_neighbours": 1, "als": 4}, ("als",))
    assert found.text == (
        "Of tea 7 for U1: als ranks it 4 (score 3); item_neighbours is not asked about so short a history, so it has"
        " rank 4 before rules. It has place 1 of 2."
    )


@pytest.mark.parametrize(
    ("item", "rule", "because"),
    [
        (0, "not_due", "The rule not_due removed it: it is at 0.30 of the days until it is expected again, below 0.7."),
        (1, "durable_bought", "The rule durable_bought removed it: it was bought, and its category is bought once."),
        (2, "sold_out", "The rule sold_out removed it: item.stock <= 0."),
    ],
)
def test_a_removed_item_names_the_first_rule_that_drops_it(item: int, rule: str, because: str) -> None:
    found = asked(item)
    assert (found.state, found.removed_by, found.rank_before_rules, found.place) == ("removed", rule, item + 1, 0)
    assert found.text.endswith(because)


def test_the_first_rule_in_the_order_of_conf_is_the_one_that_is_named() -> None:
    rules = [{"id": "cheap", "drop": "item.stock < 1"}, {"id": "sold_out", "drop": "item.stock <= 0"}]
    assert asked(2, filters=rules).removed_by == "cheap"
    assert asked(2, filters=rules[::-1]).removed_by == "sold_out"


def test_an_outranked_item_says_how_far_down_it_is_and_what_kept_it_out() -> None:
    assert asked(5).text.endswith("After the filters it has rank 3, and the list has 2 places.")
    capped = asked(4, most_of_category=1)
    assert (capped.state, capped.rank_after_filters) == ("outranked", 2)
    assert capped.text.endswith("but the list has 1 of its category, of which 1 may be in it.")
    unlike = asked(4, diversity={"relevance": 0.1})
    assert unlike.text.endswith("After the filters it has rank 2, and its place went to others for diversity.")


def test_an_item_of_which_nobody_speaks_is_no_candidate_unless_it_is_drawn() -> None:
    found = asked(6)
    assert (found.state, found.ranks, found.rank_before_rules) == ("no candidate", {"item_neighbours": 0, "als": 0}, 0)
    assert "no source that is asked speaks of it" in found.text
    drawn = asked(6, exploration={"places": 1, "ranks": [2]})
    assert (drawn.state, drawn.kind, drawn.place, drawn.propensity) == ("listed", "new item", 2, 1.0)
    assert drawn.text.endswith("It has place 2 of 2, drawn as a new item with a chance of 1.")


def test_what_is_told_of_a_list_is_the_list_of_the_night() -> None:
    rules = Rules.model_validate({"exploration": {"places": 1}, "most_of_category": 1})
    item = make_lists(a_user(), rules, 3).item[0].tolist()
    for one in range(7):
        assert why(a_user(), rules, 3, one).place == (item.index(one) + 1 if one in item else 0)


def test_one_user_and_an_item_of_the_catalogue_are_asked_about() -> None:
    with pytest.raises(ValueError, match="1 users and item 7; expected 1 and 0 to 6"):
        asked(7)
