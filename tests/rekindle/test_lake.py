"""The lake keeps every night apart: a run's branch, snapshots by id, main that only follows."""

from __future__ import annotations

from datetime import date
from typing import Any

import pytest

from rekindle import lake
from rekindle.contract import Column, ContractError, Table, conform

NOTES = Table(
    name="notes",
    doc="One row per note.",
    key=("id",),
    columns=(Column("id", "string", "Id."), Column("n", "int", "N.")),
)
FIRST, SECOND, THIRD = (f"r{d * 16}" for d in "123")
DAY = date(2026, 1, 1)


def rows(spark: Any, source: str, snapshot: int) -> list[tuple[str, int]]:
    return sorted((r.id, r.n) for r in lake.read(spark, source, NOTES, snapshot).collect())


def main_rows(spark: Any, source: str) -> list[tuple[str, int]]:
    return sorted((r.id, r.n) for r in spark.table(f"lake.{source}.notes").collect())


def test_a_night_builds_on_its_base_and_main_follows_only_forward(spark: Any, frame: Any) -> None:
    first = lake.write(spark, "shop_a", NOTES, FIRST, frame(NOTES, {"id": "a", "n": 1}))
    assert main_rows(spark, "shop_a") == [], "nothing is on main before it is accepted"
    assert lake.follow(spark, "shop_a", NOTES, FIRST, DAY, first.snapshot_id, 7)
    assert main_rows(spark, "shop_a") == [("a", 1)]

    second = lake.write(spark, "shop_a", NOTES, SECOND, frame(NOTES, {"id": "b", "n": 2}), base=first.snapshot_id)
    again = lake.write(spark, "shop_a", NOTES, SECOND, frame(NOTES, {"id": "b", "n": 2}), base=first.snapshot_id)
    assert rows(spark, "shop_a", again.snapshot_id) == [("a", 1), ("b", 2)], "twice is once"
    assert second.snapshot_id != again.snapshot_id
    assert lake.follow(spark, "shop_a", NOTES, SECOND, DAY, again.snapshot_id, 7)

    older = lake.write(spark, "shop_a", NOTES, THIRD, frame(NOTES, {"id": "c", "n": 3}), base=first.snapshot_id)
    assert not lake.follow(spark, "shop_a", NOTES, THIRD, DAY, older.snapshot_id, 7)
    assert rows(spark, "shop_a", older.snapshot_id) == [("a", 1), ("c", 3)], "kept by its tag"
    assert main_rows(spark, "shop_a") == [("a", 1), ("b", 2)]


def test_without_a_base_the_night_replaces_everything_even_by_nothing(spark: Any, frame: Any) -> None:
    lake.write(spark, "shop_b", NOTES, FIRST, frame(NOTES, {"id": "x", "n": 9}))
    first = lake.write(spark, "shop_b", NOTES, FIRST, frame(NOTES, {"id": "a", "n": 1}))
    assert rows(spark, "shop_b", first.snapshot_id) == [("a", 1)], "the first night's second attempt"
    lake.follow(spark, "shop_b", NOTES, FIRST, DAY, first.snapshot_id, 7)
    empty = lake.write(spark, "shop_b", NOTES, SECOND, frame(NOTES))
    assert rows(spark, "shop_b", empty.snapshot_id) == []
    assert lake.exists(spark, "shop_b", NOTES, first.snapshot_id)
    assert not lake.exists(spark, "shop_b", NOTES, 1)


def test_names_that_are_no_identifiers_are_refused() -> None:
    with pytest.raises(lake.LakeError, match="not an identifier"):
        lake.qualified("shop; DROP", NOTES)


def test_a_frame_that_is_not_the_contract_is_told_every_fault(spark: Any) -> None:
    with pytest.raises(ContractError, match="table notes: id is missing; n is string, expected int"):
        conform(spark.sql("SELECT 'x' AS n"), NOTES)
