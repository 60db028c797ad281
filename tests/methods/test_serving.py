"""What a shop sends: the champion's items first, what stands below where it is silent, and why each item is there."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from scipy import sparse

from rekindle.methods import serving
from rekindle.methods.factors import AlsFold, FactorModel
from rekindle.methods.interactions import Interactions
from rekindle.methods.list_batch import ItemFacts
from rekindle.methods.list_settings import Exploration, Rules
from rekindle.methods.listing import tastes_of
from rekindle.methods.neighbours import FittedItemNeighbours, ItemNeighbours
from rekindle.methods.recommenders import POPULARITY, Recommender
from rekindle.methods.repurchase import Clocks
from rekindle.methods.serving import LISTED, Served, server
from rekindle.methods.tastes import ENTRIES
from rekindle.methods.two_stage import TwoStage

ITEMS = 8  # 0 to 3 are one taste, 4 and 5 another; 6 is new, 7 is gone
NAN = float("nan")


def served(model: Recommender, **changes: Any) -> Served:
    catalogue = [f"i{n}" for n in range(ITEMS)]
    near = sparse.csr_matrix(([0.9, 0.8], ([4, 5], [6, 4])), shape=(ITEMS, ITEMS))  # 6 goes with 4, and 4 with 5
    made = Served(
        model=model,
        place=model.place_in(catalogue),
        neighbours=FittedItemNeighbours(near),
        content=None,
        newcomers=np.array([0, 0, 0, 2.0, 0, 0, 0, 0]),
        popularity=np.array([5.0, 4, 3, 2, 1, 0, 0, 9]),
        eligible=np.arange(ITEMS) < 7,
        items=ItemFacts(
            category=np.zeros(ITEMS, dtype=np.int64),
            categories=["tea"],
            listed_durable=np.array([False]),
            age_days=np.array([90.0] * 6 + [3.0, 90.0]),
        ),
        clocks=Clocks.none(ITEMS, 1),
        rules=Rules(),
    )
    return replace(made, **changes)


def users(*histories: dict[int, float]) -> pa.RecordBatch:
    """Users with these items and strengths; each item was bought once, as many days ago as its number."""
    columns: dict[str, list[Any]] = {name: [] for name in ENTRIES}
    for history in histories:
        items = sorted(history)
        for name in ENTRIES:
            told = {
                "item": items,
                "strength": [history[i] for i in items],
                "weight": [history[i] for i in items],
                "last_days": [float(i) for i in items],
                "bought_last_days": [float(i) for i in items],
            }
            columns[name].append(told.get(name, [NAN if "interval" in name else 1.0 for _ in items]))
    rows = len(histories)
    more = {
        "user_key": [f"u{n}" for n in range(rows)],
        "active_days": [3.0] * rows,
        "blocked": [None] * rows,
        "shown": [None] * rows,
        "shown_nights": [None] * rows,
        "seed": list(range(rows)),
    }
    types = {"item": pa.list_(pa.int32()), "blocked": pa.list_(pa.int32()), "shown": pa.list_(pa.int32())}
    types["shown_nights"] = pa.list_(pa.float64())
    arrays = {
        name: pa.array(values, types.get(name, pa.list_(pa.float64()) if name in ENTRIES else None))
        for name, values in (columns | more).items()
    }
    return pa.RecordBatch.from_pydict(arrays)


def lists(made: Served, batch: pa.RecordBatch, k: int) -> dict[str, list[dict[str, Any]]]:
    class Carried:
        value = made

    found: dict[str, list[dict[str, Any]]] = {}
    for part in server(Carried(), k)([batch]):
        assert part.schema.names == [column.split()[0] for column in LISTED.split(", ")]
        for row in part.to_pylist():
            found.setdefault(row["user_key"], []).append(row)
            assert row["rank"] == len(found[row["user_key"]])
    return found


def als() -> Recommender:
    """Two tastes in two factors; the model knows neither the new item nor the last one."""
    factors = np.array([[2, 0.1], [1.8, 0.1], [1.6, 0.1], [1.4, 0.1], [0.1, 2], [0.1, 1.5]], dtype=np.float32)
    fitted = FactorModel(factors, AlsFold(0.1, 2.0))
    return Recommender("als", {}, [f"i{n}" for n in range(6)], fitted, fades=True)


def test_the_champion_comes_first_then_what_goes_with_the_history_then_what_is_popular() -> None:
    found = lists(served(als()), users({0: 3.0, 1: 1.0}, {4: 2.0}, {}), 7)
    assert [row["item"] for row in found["u0"]][:4] == [0, 1, 2, 3]
    assert {row["candidate_source"] for row in found["u0"][:6]} == {"als"}
    assert [(row["item"], row["candidate_source"]) for row in found["u0"][6:]] == [(6, "popularity")]
    assert [row["item"] for row in found["u1"]][:2] == [4, 5]
    assert (found["u1"][6]["item"], found["u1"][6]["candidate_source"], found["u1"][6]["because"]) == (
        6, "item_neighbours", 4,
    )  # fmt: skip
    assert [(row["item"], row["candidate_source"]) for row in found["u2"]][:3] == [
        (3, "newcomers"), (0, "popularity"), (1, "popularity"),
    ]  # fmt: skip
    for rows in found.values():
        assert 7 not in {row["item"] for row in rows}, "it is not in the shop any more"
        assert len({row["item"] for row in rows}) == 7
        assert [row["rank_before_rules"] for row in rows] == list(range(1, 8))
        assert {(row["propensity"], row["place"]) for row in rows} == {(1.0, "by_score")}


def test_the_reason_is_the_item_of_the_history_that_weighs_most_and_never_the_item_itself_if_there_is_another() -> None:
    found = lists(served(als()), users({0: 3.0, 1: 1.0}, {4: 2.0}), 7)
    assert {row["item"]: row["because"] for row in found["u0"][:4]} == {0: 1, 1: 0, 2: 0, 3: 0}
    assert {row["item"]: row["because"] for row in found["u1"][:2]} == {4: 4, 5: 4}
    assert {row["item"]: row["bought_days"] for row in found["u0"][:3]} == {0: 0.0, 1: 1.0, 2: None}


def test_a_users_list_depends_on_nobody_served_beside(monkeypatch: pytest.MonkeyPatch) -> None:
    dice = np.random.default_rng(3)
    many = [{int(i): float(dice.uniform(1, 5)) for i in np.flatnonzero(dice.random(6) < 0.4)} for _ in range(20)]
    together = lists(served(als()), users(*many), 5)
    monkeypatch.setattr("rekindle.methods.listing.SCORED_CELLS", 3 * ITEMS)
    assert lists(served(als()), users(*many), 5) == together
    for n, history in enumerate(many[:5]):
        [alone] = lists(served(als()), users(history), 5).values()
        assert [{**row, "user_key": f"u{n}"} for row in alone] == together[f"u{n}"]


def test_a_place_kept_for_a_new_item_says_with_which_chance_it_was_drawn() -> None:
    rules = Rules(exploration=Exploration(places=1, ranks=(2,), new_days=14))
    found = lists(served(als(), rules=rules), users({0: 3.0}), 3)["u0"]
    assert [(row["item"], row["place"], row["propensity"]) for row in found] == [
        (0, "by_score", 1.0), (6, "new_item", 1.0), (1, "by_score", 1.0),
    ]  # fmt: skip
    assert found[1]["candidate_source"] == "new_item"


def test_items_of_two_stages_are_told_by_the_source_that_ranks_them_best() -> None:
    dice = np.random.default_rng(5)
    user = np.repeat(np.arange(40), 6)
    item = (user % 2) * 4 + dice.integers(0, 4, len(user))
    known = Interactions(user, item, np.ones(len(user)), dice.uniform(0, 30, len(user)), 40, ITEMS)
    fitted = TwoStage([ItemNeighbours(5, "cosine")], 8, 10.0, 5, 1).fit(known)
    model = Recommender("two_stages", {}, [f"i{n}" for n in range(ITEMS)], fitted)
    found = lists(served(model), users({0: 3.0, 1: 1.0}), 4)["u0"]
    told = {row["candidate_source"] for row in found}
    assert told <= {"item_neighbours", POPULARITY}
    mine = [row for row in found if row["candidate_source"] == "item_neighbours"]
    assert mine
    assert {row["because"] for row in mine} <= {0, 1}


def test_scores_are_told_with_five_digits() -> None:
    told = serving.five_digits(np.array([0.123456789, -1234567.0, 0.0, NAN, 1e-9]))
    assert told[:3].tolist() == [0.12346, -1234600.0, 0.0]
    assert np.isnan(told[3])
    assert told[4] == pytest.approx(1e-9)


def test_tastes_come_as_they_were_told() -> None:
    made = tastes_of(users({2: 3.0, 5: 1.0}, {}))
    assert made.plain.histories.items.tolist() == [2, 5]
    assert made.bought.past is not None
    assert made.bought.past.last_days.tolist() == [2.0, 5.0]
    assert [len(part) for part in made.blocks(ITEMS)] == [2]
