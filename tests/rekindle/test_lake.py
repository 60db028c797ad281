"""The lake keeps every night apart: a run's branch, snapshots by id, main that only follows."""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from rekindle import lake, lake_schema, settings
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
    added = lake.read_added(spark, "shop_a", NOTES, first.snapshot_id, again.snapshot_id).collect()
    assert [(r.id, r.n) for r in added] == [("b", 2)], "a night reads back what it added, and no more"
    assert lake.read_added(spark, "shop_a", NOTES, again.snapshot_id, again.snapshot_id).count() == 0
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
    quiet = lake.write(spark, "shop_b", NOTES, THIRD, frame(NOTES), base=first.snapshot_id)
    assert lake.read_added(spark, "shop_b", NOTES, first.snapshot_id, quiet.snapshot_id).count() == 0
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


def test_a_column_that_a_contract_gains_is_asked_for_and_added_by_migration(
    spark: Any, frame: Any, tmp_path: Path
) -> None:
    lake.write(spark, "shop_m", NOTES, FIRST, frame(NOTES, {"id": "a", "n": 1}))
    seen = Column("seen", "timestamp", "Null before.", nullable=True)
    tags = Column("tags", "array<string>", "Null before.", nullable=True)
    wider = replace(NOTES, columns=(*NOTES.columns, seen, tags))
    rows_now = frame(wider, {"id": "b", "n": 2, "tags": ["x"]})
    with pytest.raises(lake.LakeError, match="has no seen, tags, which its contract has: run `make migrate`"):
        lake.write(spark, "shop_m", wider, SECOND, rows_now)

    local = settings.load_environment("local")
    uri = spark.conf.get("spark.sql.catalog.lake.uri")
    folder = spark.conf.get("spark.sql.catalog.lake.warehouse")
    here = local.model_copy(update={"lake": local.lake.model_copy(update={"catalog_uri": uri, "warehouse": folder})})
    added = [c for c in lake_schema.add_columns(here, [wider]) if c.startswith("shop_m.")]
    assert added == ["shop_m.notes.seen", "shop_m.notes.tags"]
    assert [c for c in lake_schema.add_columns(here, [wider]) if c.startswith("shop_m.")] == [], "twice is once"
    spark.catalog.refreshTable("lake.shop_m.notes")
    written = lake.write(spark, "shop_m", wider, SECOND, rows_now)
    assert [(r.id, r.seen, r.tags) for r in lake.read(spark, "shop_m", wider, written.snapshot_id).collect()] == [
        ("b", None, ["x"])
    ]
    nowhere = f"jdbc:sqlite:{tmp_path}/none.db"
    fresh = here.model_copy(update={"lake": here.lake.model_copy(update={"catalog_uri": nowhere})})
    assert lake_schema.add_columns(fresh, [wider]) == []
    rest = here.model_copy(update={"lake": here.lake.model_copy(update={"catalog_uri": "rest:catalog"})})
    with pytest.raises(settings.SettingsError, match="ALTER TABLE in a Spark session"):
        lake_schema.add_columns(rest, [wider])
