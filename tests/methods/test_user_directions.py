"""Users as directions: who does the same things points the same way, in any order of rows, and never by the future."""

from __future__ import annotations

import random
from datetime import date, timedelta
from typing import Any

import numpy as np
import pytest

from rekindle.contract import frame
from rekindle.methods.item2vec import Item2Vec
from rekindle.methods.user_directions import Learnt, averager, learn, user_vectors
from schemas.events import EVENTS

AS_OF = date(2026, 4, 20)
WEIGHTS, HALF_LIFE = {"view": 1.0, "purchase": 5.0}, 10.0
METHOD = Item2Vec(rank=8, learning_rate=0.2, epochs=5, negatives=5, contexts=1, seed=1)


def visits() -> list[dict[str, Any]]:
    """Users t0 to t9 look at four of six teas a day, h0 to h9 at hammers; one looks at a thing nobody else touches."""
    dice = random.Random(1)  # noqa: S311 - the same log every time
    rows = []
    for kind in "th":
        for user in range(10):
            for back in range(1, 9):
                for item in dice.sample(range(6), 4):
                    rows.append((f"{kind}{user}", "view" if back % 3 else "purchase", f"{kind}-{item}", back))
    rows += [("lonely", "view", "alone", 3), ("lonely", "search", None, 3), ("t0", "return", "h-0", 2)]
    told = ("user_key", "event_type", "item_id")
    return [
        dict(zip(told, row[:3], strict=True)) | {"event_date": AS_OF - timedelta(days=row[3]), "event_id": f"e{n}"}
        for n, row in enumerate(rows)
    ]


def test_users_of_the_same_things_are_alike_whatever_the_order_of_rows(spark: Any) -> None:
    rows = visits()
    shuffled = random.Random(2).sample(rows, len(rows))  # noqa: S311 - the same order every time
    log, other = (frame(spark, EVENTS, *some).coalesce(1).persist() for some in (rows, shuffled))
    learnt = learn(log, AS_OF, WEIGHTS, 30, 10_000, METHOD)
    again = learn(other, AS_OF, WEIGHTS, 30, 10_000, METHOD)
    assert learnt.items == again.items == tuple(f"{kind}-{n}" for kind in "ht" for n in range(6))
    assert learnt.vectors.tobytes() == again.vectors.tobytes()

    found = {r.user_key: r for r in user_vectors(other, AS_OF, WEIGHTS, HALF_LIFE, learnt).collect()}
    assert set(found) == {f"{kind}{n}" for kind in "th" for n in range(10)}, "who has no such item has no direction"
    place = {item: n for n, item in enumerate(learnt.items)}
    for user, row in found.items():
        mine = [r for r in rows if r["user_key"] == user and r["event_type"] in WEIGHTS]
        faded = [WEIGHTS[r["event_type"]] * 2 ** (-(AS_OF - r["event_date"]).days / HALF_LIFE) for r in mine]
        summed = np.array(faded) @ learnt.vectors[[place[r["item_id"]] for r in mine]].astype(np.float64)
        assert row["vector"] == pytest.approx((summed / np.linalg.norm(summed)).tolist(), abs=1e-6)
        assert row["items"] == len({r["item_id"] for r in mine})
    vectors = np.array([found[user].vector for user in sorted(found)])
    alike = vectors @ vectors.T
    same = np.equal.outer(*[[user[0] for user in sorted(found)]] * 2)
    assert alike[same].min() > alike[~same].max() + 0.3

    few = learn(log, AS_OF, WEIGHTS, 30, 40, METHOD)
    assert len(few.items) < len(learnt.items)
    assert few.items == learn(other, AS_OF, WEIGHTS, 30, 40, METHOD).items, "the same sample of users"
    nothing = learn(log.where("user_key = 'lonely'"), AS_OF, WEIGHTS, 30, 40, METHOD)
    assert (nothing.items, nothing.vectors.shape) == ((), (0, 8))
    assert user_vectors(log, AS_OF, WEIGHTS, HALF_LIFE, nothing).count() == 0


def test_a_user_whose_items_cancel_out_has_no_direction() -> None:
    import pyarrow as pa

    learnt = Learnt(("a", "b"), np.array([[1.0, 0.0], [-1.0, 0.0]], dtype=np.float32))
    tastes = pa.record_batch(
        [pa.array(["u", "v"]), pa.array([[0, 1], [1]]), pa.array([[5, 5], [1]])], names=["user_key", "item", "parts"]
    )
    [told] = averager(learnt.vectors)([tastes])
    assert told.column("vector").to_pylist() == [None, [-1.0, 0.0]]
    assert told.column("items").to_pylist() == [2, 1]
