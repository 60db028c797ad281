"""F80, F81 and F94: from a set that teaches nothing no candidate is made, and everybody still has a list."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from rekindle.methods import training_faults
from rekindle.methods.baselines import Popularity
from rekindle.methods.interactions import Interactions, Users, lists
from rekindle.methods.ragged import Ragged
from rekindle.methods.training_faults import Counts

DAYS = "2026-04-24 to 2026-04-30"
ALL = np.ones(4, dtype=np.bool_)


def counts(*pairs: tuple[int, int], strength: float = 1.0, age: float = 1.0, eligible: Any = ALL) -> Counts:
    """The counts of (user, item) rows."""
    user, item = np.array(pairs, dtype=np.int64).reshape(-1, 2).T
    every = np.ones(len(user))
    return training_faults.count(user, item, strength * every, age * every, eligible)


def faults(found: Counts, judged: int = 100) -> training_faults.Faults:
    return training_faults.find(found, judged, DAYS)


USUAL = [(user, item) for user in range(5) for item in range(4) if user != item]


def test_a_usual_set_has_no_fault() -> None:
    found = faults(counts(*USUAL, *USUAL))
    assert (found.night, found.training, found.judging, found.fallback) == ((), (), (), "")


@pytest.mark.parametrize(
    ("found", "told"),
    [
        (counts(), "nobody did anything that counts with an item (F94)"),
        (counts((0, 1), (0, 2)), "1 users and 2 items (F94), expected at least two of each"),
        (counts((0, 1), (1, 1), (2, 1)), "3 users and 1 items (F94), expected at least two of each"),
        (counts(*[(u, i) for u in range(6) for i in (0, 2, 2)]), "all 6 users know the same 2 items (F94)"),
        (counts((0, 0), (1, 1), strength=np.nan), "2 strengths or ages are no usable number (F94)"),
        (counts((0, 0), (1, 1), strength=np.inf), "2 strengths or ages are no usable number (F94)"),
        (counts((0, 0), (1, 1), strength=0.0), "2 strengths or ages are no usable number (F94)"),
        (counts((0, 0), (1, 1), age=-1.0), "2 strengths or ages are no usable number (F94)"),
        (Counts(50, 5000, 5040, 4900, 0, 5000, 5000), "one of 50 users has 4900 of 5040 interactions (F94)"),
        (
            Counts(50, 500, 900, 40, 0, 300, 2),
            "of 300 items that may be listed 2 were seen before the judging days (F81)",
        ),
    ],
)
def test_from_a_set_that_teaches_nothing_no_candidate_is_made_and_the_reason_is_told(found: Counts, told: str) -> None:
    says = faults(found)
    assert told in says.fallback
    assert says.night == (), "the night goes on with popularity or the champion"


@pytest.mark.parametrize("judged", [0, 1, 29])
def test_where_too_few_bought_later_nothing_is_judged_and_the_night_goes_on(judged: int) -> None:
    says = faults(counts(*USUAL), judged)
    assert says.fallback == (
        f"{judged} users seen before bought something known on the judging days {DAYS}, expected at least 30"
    )
    assert (says.night, says.training) == ((), ())


def test_only_a_shop_without_any_item_has_a_night_without_lists() -> None:
    says = faults(counts(eligible=np.zeros(4, dtype=np.bool_)))
    assert says.night == ("no item may be listed: expected at least one with an event within catalogue_days",)


def test_the_order_of_rows_and_how_often_they_come_change_no_count() -> None:
    assert counts(*USUAL) == counts(*USUAL[::-1], *USUAL[:3])


def test_a_frame_is_counted_like_its_rows_on_the_driver(spark: Any) -> None:
    eligible = np.array([True, False, True, False, True])
    rows = [(f"user {u}", i, 1.0) for u, i in USUAL] + [
        ("user 0", 4, s) for s in (None, float("nan"), float("inf"), -1.0)
    ]
    frame = spark.createDataFrame(rows, "user_key string, item int, strength double")
    user, item = np.array([*USUAL, *[(0, 4)] * 4]).T
    strength = np.array([*[1.0] * len(USUAL), np.nan, np.nan, np.inf, -1.0])
    by_hand = training_faults.count(user, item, strength, np.zeros(len(user)), eligible)
    assert training_faults.count_frame(frame, eligible) == by_hand
    assert training_faults.count_frame(frame.where("item > 9"), eligible) == counts(eligible=eligible)


@dataclass
class Says:
    """A model that gives every user a row of these scores."""

    row: list[float]

    @property
    def n_items(self) -> int:
        return len(self.row)

    def scores(self, users: Users) -> NDArray[np.float64]:
        return np.tile(np.array(self.row), (len(users), 1))

    def explain(self, history: Ragged, item: int) -> dict[int, float]:
        return {}

    def to_files(self) -> dict[str, bytes]:
        return {}


@pytest.mark.parametrize(
    ("row", "told"),
    [
        ([1.0, 2.0, -np.inf], []),
        ([1.0, -np.inf, -np.inf], []),
        ([1.0, np.nan, 0.0], ["scores of 3 of 3 users are not numbers (F94)"]),
        ([1.0, np.inf, 0.0], ["scores of 3 of 3 users are not numbers (F94)"]),
        ([2.0, 2.0, 2.0], ["it scores all items alike for each of 3 users (F94)"]),
        ([-np.inf] * 3, ["it says nothing of any item for any of 3 users (F80)"]),
    ],
)
def test_a_model_that_says_nothing_is_not_offered(row: list[float], told: list[str]) -> None:
    strangers = Users(np.full(3, -1), Ragged.from_lists([[], [], []]))
    assert training_faults.of_scores(Says(row), strangers) == told


def test_lists_with_a_user_left_out_or_an_item_that_is_gone_are_told() -> None:
    made = np.array([[0, 1], [2, -1], [-1, -1], [9, 1]])
    eligible = np.array([True, True, False])
    assert training_faults.of_lists(made, eligible, 5) == [
        "2 of 5 users have no list (F80)", "2 items are listed that are not in the current catalogue (F81)",
    ]  # fmt: skip
    assert training_faults.of_lists(made[:1], eligible, 1) == []


def test_a_hundred_thousand_users_whom_no_model_ever_saw_all_have_a_full_list_of_what_there_is() -> None:
    """F80 and F81: popularity needs no history, and what is gone is not listed."""
    users, items = 100_000, 40
    eligible = np.arange(items) % 2 == 0
    rows = np.arange(items)
    bought = Interactions(rows, rows, rows + 1.0, np.ones(items), items, items)
    strangers = Users(np.full(users, -1), Ragged(np.zeros(users + 1, dtype=np.int64), np.zeros(0, dtype=np.int64)))
    found = lists(Popularity(half_life_days=30.0, window_days=28.0).fit(bought), strangers, 10, eligible=eligible)
    assert training_faults.of_lists(found, eligible, users) == []
    assert (found >= 0).all()
