"""What every user did, by item, as of an instant: nothing later, weighted by action and age, and when they did it."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pytest

from rekindle.contract import frame
from rekindle.methods import tastes
from rekindle.methods.interactions import Interactions
from schemas.events import EVENTS

AS_OF = date(2026, 4, 20)
COUNTING = tastes.Counting({"view": 1.0, "cart": 3.0, "purchase": 5.0}, 30.0, 28, 60, ("sofa",))


def did(user: str, kind: str, item: str | None, days_ago: float, category: str = "tea") -> dict[str, Any]:
    at = datetime(2026, 4, 20, tzinfo=UTC) - timedelta(days=days_ago)
    return {
        "event_id": f"{user} {kind} {item} {days_ago}",
        "user_key": user,
        "event_type": kind,
        "event_ts": at,
        "event_date": at.date(),
        "item_id": item,
        "category": category,
    }


def some_rows() -> list[dict[str, Any]]:
    """Eight users who do this and that with ten items, some of it again and again; `searcher` only searched."""
    dice = np.random.default_rng(4)
    rows = [
        did(f"u{dice.integers(8)}", str(dice.choice(["view", "cart", "purchase", "review"])), f"i{dice.integers(10)}",
            float(dice.uniform(0.01, 50)), "sofa" if dice.random() < 0.1 else "tea")
        for _ in range(300)
    ]  # fmt: skip
    return [*rows, did("searcher", "search", None, 2.0)]


def prepared(spark: Any, rows: list[dict[str, Any]]) -> tastes.Prepared:
    return tastes.prepare(frame(spark, EVENTS, *rows), AS_OF, ZoneInfo("UTC"), COUNTING)


def test_what_is_known_is_what_happened_before_the_instant(spark: Any) -> None:
    later = [did("u1", "purchase", f"i{n}", -0.5 * (n + 1), "sofa") for n in range(4)]
    later += [did("newcomer", "view", "new item", 0.0)]
    before, again = prepared(spark, some_rows()), prepared(spark, [*reversed(some_rows()), *later])
    assert again.catalogue == before.catalogue
    assert again.popularity.tolist() == before.popularity.tolist()
    assert again.eligible.tolist() == before.eligible.tolist()
    assert sorted(map(str, again.tastes.collect())) == sorted(map(str, before.tastes.collect()))
    assert sorted(again.strengths.collect()) == sorted(before.strengths.collect())


def test_a_taste_is_weighted_by_action_and_age(spark: Any) -> None:
    rows = [did("u", "view", "x", 30.0), did("u", "purchase", "x", 0.25), did("u", "cart", "y", 60.0)]
    rows += [did("u", "search", None, 1.0), did("u", "review", "z", 1.0)]
    made = prepared(spark, rows)
    (taste,) = made.tastes.collect()
    assert made.catalogue == ["x", "y", "z"]
    assert (taste["item"], taste.blocked) == ([0, 1], None)
    assert taste.strength == pytest.approx([0.5 + 5 * 2 ** (-0.25 / 30), 3 * 0.25], abs=1e-5)
    assert taste.weight == [6.0, 3.0]
    assert made.eligible.tolist() == [True, True, True], "sixty days are inside a window of sixty"
    assert made.popularity == pytest.approx([2 ** (-0.25 / 30), 0, 0], abs=1e-5)


def test_when_and_how_often_is_told_as_the_interactions_tell_it(spark: Any) -> None:
    """Against `Interactions.past`, which counts the same in numpy; purchases alone likewise."""
    rows = [row for row in some_rows() if row["event_type"] in COUNTING.event_weights]
    made = prepared(spark, some_rows())
    places = {user: n for n, user in enumerate(sorted({row["user_key"] for row in rows}))}
    midnight = datetime(2026, 4, 20, tzinfo=UTC)

    def known(some: list[dict[str, Any]]) -> Interactions:
        return Interactions(
            np.array([places[r["user_key"]] for r in some]),
            np.array([made.catalogue.index(r["item_id"]) for r in some]),
            np.array([COUNTING.event_weights[r["event_type"]] for r in some]),
            np.array([(midnight - r["event_ts"]).total_seconds() / 86_400 for r in some]),
            len(places),
            len(made.catalogue),
        )

    everything = known(rows)
    purchases = known([row for row in rows if row["event_type"] == "purchase"])
    users = {row.user_key: row for row in made.tastes.collect()}
    assert users["searcher"]["item"] == []
    assert users["searcher"].active_days == 0
    for log, names, days in (
        (everything, ("last_days", "times", "interval_days"), "active_days"),
        (purchases, ("bought_last_days", "bought_times", "bought_interval_days"), "purchase_days"),
    ):
        histories, past = log.histories(), log.past()
        for user, n in places.items():
            row, here = users[user], slice(*histories.offsets[n : n + 2])
            kept = [p for p, item in enumerate(row["item"]) if item in histories.items[here]]
            assert [row["item"][p] for p in kept] == histories.items[here].tolist()
            for name, values in zip(names, (past.last_days, past.times, past.interval_days), strict=True):
                assert [row[name][p] for p in kept] == pytest.approx(values[here], nan_ok=True), (user, name)
            assert row[days] == past.active_days[n]
    weights = [w for user in places for w in users[user].weight]
    assert weights == pytest.approx(everything.histories().values)
    faded = [s for user in places for s in users[user].strength]
    assert faded == pytest.approx(everything.histories(30.0).values, abs=1e-5)


def test_events_reach_a_method_in_memory_as_the_very_same_arrays_in_any_order(spark: Any) -> None:
    made, again = prepared(spark, some_rows()), prepared(spark, some_rows()[::-1])
    found = [
        tastes.interactions(p.events.repartition(parts), tastes.numbered(p.events), len(p.catalogue))
        for p, parts in ((made, 1), (again, 5))
    ]
    for name in ("user", "item", "strength", "age_days"):
        assert getattr(found[0], name).tolist() == getattr(found[1], name).tolist()
    counted = [row for row in some_rows() if row["event_type"] in COUNTING.event_weights]
    assert len(found[0]) == len(counted)
    assert (found[0].n_users, found[0].n_items) == (8, 10)
    assert found[0].strength.sum() == sum(COUNTING.event_weights[row["event_type"]] for row in counted)


def test_durables_bought_are_told_apart(spark: Any) -> None:
    rows = [did("u", "purchase", "x", 3.0, "sofa"), did("u", "purchase", "y", 3.0), did("v", "view", "x", 3.0, "sofa")]
    made = prepared(spark, rows)
    assert {row.user_key: row.blocked for row in made.tastes.collect()} == {"u": [0], "v": None}
