"""An item's neighbours are the items that the same users want."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from rekindle.methods import similarities
from rekindle.methods.ragged import Ragged

SCHEMA = "user_key string, item array<int>, weight array<double>"


def shop(users: int, items: int, seed: int) -> list[tuple[str, list[int], list[float]]]:
    dice = np.random.default_rng(seed)
    rows = []
    for user in range(users):
        mine = np.flatnonzero(dice.random(items) < 0.4)
        rows.append((f"u{user}", mine.tolist(), dice.uniform(1, 9, len(mine)).tolist()))
    return rows


def by_hand(rows: list[tuple[str, list[int], list[float]]], items: int, keep: int, shrinkage: float) -> dict[int, Any]:
    sets = [{user for user, mine, _ in rows if item in mine} for item in range(items)]
    found = {}
    for item in range(items):
        told = []
        for other in range(items):
            common = len(sets[item] & sets[other])
            if item != other and common:
                cosine = common / math.sqrt(len(sets[item]) * len(sets[other]))
                told.append((-cosine * common / (common + shrinkage), other, common))
        found[item] = [(other, -value, common) for value, other, common in sorted(told)[:keep]]
    return found


def collected(frame: Any) -> dict[int, list[tuple[int, float, int]]]:
    found: dict[int, list[tuple[int, float, int]]] = {}
    for row in sorted(frame.collect(), key=lambda r: (r["item"], r["rank"])):
        told = found.setdefault(row["item"], [])
        told.append((row.other, row.similarity, row.common_users))
        assert row["rank"] == len(told)
    return found


def test_neighbours_are_those_of_two_loops_whatever_the_order_and_the_parts(
    spark: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows, items = shop(30, 12, 1), 12
    frame = spark.createDataFrame(rows, SCHEMA)
    found = collected(similarities.similar_items(frame.repartition(1), items, 5, 3.0))
    assert found.keys() == by_hand(rows, items, 5, 3.0).keys()
    for item, told in by_hand(rows, items, 5, 3.0).items():
        assert [t[::2] for t in found[item]] == [t[::2] for t in told]
        assert [t[1] for t in found[item]] == pytest.approx([t[1] for t in told])
    assert collected(similarities.similar_items(spark.createDataFrame(rows[::-1], SCHEMA), items, 5, 3.0)) == found


def test_a_user_costs_no_more_than_the_items_that_weigh_most() -> None:
    rows = Ragged.from_lists([[3, 5, 8, 9], [1]], [[2.0, 7.0, 2.0, 1.0], [4.0]])
    kept = similarities.strongest(rows, 2)
    assert (kept.items.tolist(), kept.lengths().tolist()) == ([3, 5, 1], [2, 1]), "of equals the lower index"
    assert similarities.strongest(rows, 9).items.tolist() == rows.items.tolist()


def test_counting_in_small_parts_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    import pyarrow as pa

    rows = shop(20, 9, 2)
    batch = pa.RecordBatch.from_pydict({"item": [r[1] for r in rows], "weight": [r[2] for r in rows]})

    def total() -> np.ndarray:
        found = np.zeros((9, 9), dtype=np.int64)
        for part in similarities.pair_counter(9)([batch]):
            np.add.at(found, (part["item"].to_numpy(), part["other"].to_numpy()), part["common"].to_numpy())
        return found

    whole = total()
    monkeypatch.setattr(similarities, "PAIRS", 10)
    assert total().tolist() == whole.tolist()
    assert whole.diagonal().tolist() == [sum(item in r[1] for r in rows) for item in range(9)]


def test_a_shop_whose_users_share_no_item_has_no_neighbours(spark: Any) -> None:
    rows = [("a", [0], [1.0]), ("b", [1], [1.0]), ("c", [], [])]
    assert similarities.similar_items(spark.createDataFrame(rows, SCHEMA), 2, 5, 10.0).collect() == []
