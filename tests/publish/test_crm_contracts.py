"""What a client of the CRM's views relies on stays: no column of a known version goes or gets another type.

tests/golden/crm_views.json has every view's columns by version. When a column or a view was added:
REWRITE_GOLDEN=1 with this file, then read the diff. It adds and never takes away. A column that has to go, or to become
another type, is another version: raise `version` in the table's contract, tell it in CHANGELOG.md, and rewrite then.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from copy import deepcopy
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pytest

from rekindle import settings, warehouse
from rekindle.contract import Changes, Column, ContractError, Table
from schemas.catalogue import SERVED

GOLDEN = Path(__file__).resolve().parent.parent / "golden" / "crm_views.json"
Views = dict[str, dict[str, dict[str, str]]]  # types by view, version and column
HOW = "run tests/publish/test_crm_contracts.py with REWRITE_GOLDEN=1"


@pytest.fixture(scope="module")
def served(environment: settings.Environment) -> settings.Environment:
    """A warehouse of the project's own tables."""
    conf = environment.warehouse.model_copy(update={"database": "served"})
    made = environment.model_copy(update={"warehouse": conf})
    warehouse.migrate(made, SERVED)
    return made


@pytest.fixture(scope="module")
def views(served: settings.Environment) -> Views:
    """What the CRM reads there, by its own account."""
    found: Views = {}
    with warehouse.connect(served, "crm_reader") as conn:
        for view, version, column, kind in conn.execute(
            "SELECT view_name, version, column_name, data_type FROM crm.contracts ORDER BY view_name, position"
        ):
            found.setdefault(view, {}).setdefault(str(version), {})[column] = kind
    return found


def broken(known: Views, found: Views) -> list[str]:
    """Promises to the CRM that are not kept, in words; and what nobody has been promised yet."""
    told = []
    for view, versions in known.items():
        if view not in found:
            told.append(f"view crm.{view} is gone; clients read it")
            continue
        [(version, columns)] = found[view].items()
        if version not in versions:
            told.append(f"view crm.{view} has version {version}, which {GOLDEN.name} lacks: {HOW}")
        for column, kind in versions.get(version, {}).items():
            if column not in columns:
                told.append(f"crm.{view}.{column} of version {version} is gone; clients read it: raise the version")
            elif columns[column] != kind:
                told.append(f"crm.{view}.{column} of version {version} is {columns[column]}, promised as {kind}")
        new = [c for c in columns if version in versions and c not in versions[version]]
        if new:
            told.append(f"crm.{view} has new columns {', '.join(new)}, which {GOLDEN.name} lacks: {HOW}")
    told += [f"view crm.{view} is new, {GOLDEN.name} lacks it: {HOW}" for view in found if view not in known]
    return told


def test_the_views_are_what_clients_were_promised(views: Views) -> None:
    known: Views = json.loads(GOLDEN.read_text(encoding="utf-8")) if GOLDEN.exists() else {}
    if os.environ.get("REWRITE_GOLDEN"):
        for view, versions in views.items():
            for version, columns in versions.items():
                promised = known.setdefault(view, {}).setdefault(version, {})
                # In the view's order; what was promised stays, so that a column that went is still missed.
                both = columns | promised
                known[view][version] = {c: both[c] for c in [*columns, *(c for c in promised if c not in columns)]}
        GOLDEN.write_text(json.dumps(known, indent=1) + "\n", encoding="utf-8")
    assert broken(known, views) == []


def removed(found: Views) -> None:
    del found["at_risk_users"]["1"]["reasons"]


def retyped(found: Views) -> None:
    found["at_risk_users"]["1"]["churn_probability"] = "numeric"


def gone(found: Views) -> None:
    del found["publications"]


def added(found: Views) -> None:
    found["weeks"] = {"1": {"source": "text"}}
    found["at_risk_users"]["1"]["mood"] = "text"


def another_version(found: Views) -> None:
    found["at_risk_users"] = {"2": {"source": "text"}}


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (removed, ["crm.at_risk_users.reasons of version 1 is gone; clients read it: raise the version"]),
        (retyped, ["crm.at_risk_users.churn_probability of version 1 is numeric, promised as double precision"]),
        (gone, ["view crm.publications is gone; clients read it"]),
        (
            added,
            [
                f"crm.at_risk_users has new columns mood, which crm_views.json lacks: {HOW}",
                f"view crm.weeks is new, crm_views.json lacks it: {HOW}",
            ],
        ),
        (another_version, [f"view crm.at_risk_users has version 2, which crm_views.json lacks: {HOW}"]),
    ],
)
def test_a_promise_that_is_not_kept_is_told(views: Views, change: Callable[[Views], None], told: list[str]) -> None:
    found = deepcopy(views)
    change(found)
    assert broken(views, found) == told


def test_every_view_and_its_version_are_told_to_who_reads_it(served: settings.Environment, views: Views) -> None:
    with warehouse.connect(served, "crm_reader") as conn:
        comments = dict(
            conn.execute(
                "SELECT relname, obj_description(oid) FROM pg_class"
                " WHERE relnamespace = 'crm'::regnamespace AND relkind = 'v'"
            ).fetchall()
        )
    assert set(comments) == set(views) > {"at_risk_users", "at_risk_users_by_run", "changes", "contracts"}
    assert {text.rsplit(". ", 1)[1] for text in comments.values()} == {"Version 1."}


def test_another_version_takes_the_place_of_the_one_before(served: settings.Environment) -> None:
    def version() -> list[tuple[Any, ...]]:
        with warehouse.connect(served, "crm_reader") as conn:
            return conn.execute("SELECT DISTINCT version FROM contracts WHERE view_name = 'notes'").fetchall()

    columns = (Column("id", "string", "Id."), Column("text", "string", "Text; null if none.", nullable=True))
    for number in (1, 2):
        notes = Table("notes", "One row per note.", ("id",), columns[: 3 - number], version=number)
        with warehouse.connect(served, "owner") as conn:
            conn.execute("DROP TABLE IF EXISTS serve.notes CASCADE")
        warehouse.migrate(served, (*SERVED, notes), replace_views=True)
        assert version() == [(number,)]
    with warehouse.connect(served, "owner") as conn:
        conn.execute("DROP TABLE serve.notes CASCADE")
        conn.execute("DELETE FROM ops.views WHERE name LIKE 'notes%'")


def test_a_warehouse_from_before_views_had_versions_gets_them_and_readers_are_not_waited_for(
    served: settings.Environment,
) -> None:
    with warehouse.connect(served, "owner") as conn:
        conn.execute("DROP VIEW crm.contracts")
        conn.execute("ALTER TABLE ops.views DROP COLUMN version")
    warehouse.migrate(served, SERVED, replace_views=True)
    with warehouse.connect(served, "crm_reader") as conn:
        before = conn.execute("SELECT count(*), max(version) FROM contracts").fetchone()
        assert before is not None
        assert before[1] == 1
        conn.execute("SELECT count(*) FROM changes")
        warehouse.migrate(served, SERVED)
        assert conn.execute("SELECT count(*), max(version) FROM contracts").fetchone() == before


# ---------------------------------------------------------------------- crm.changes


def test_changes_of_all_tables_are_one_feed_of_the_served_run(served: settings.Environment) -> None:
    day, before = date(2026, 4, 30), date(2026, 4, 29)
    with warehouse.connect(served, "writer") as conn:
        warehouse.add_user_keys(conn, "shop", 1, [("k1", "anna"), ("k2", "ben")], lambda user_id: 0.5)
        for run in ("earlier", "now"):
            conn.execute(
                "INSERT INTO serve.publications (source, run_id, business_date, data_through, key_version, attempt,"
                " status, manifest) VALUES ('shop', %s, %s, %s, 1, 1, 'served', '{}')",
                [run, day, datetime(2026, 5, 1, tzinfo=UTC)],
            )
            for table, prefix, rows in (
                ("churn_changes", "band", [("k1", "moved", "low", "high", "behaviour")]),
                ("list_changes", "item", [("k1", "moved", "tea", run, "rules"), ("k2", "left", "mat", None, "model")]),
            ):
                for row in rows:
                    conn.execute(
                        f"INSERT INTO serve.{table} (run_id, source, user_key, change, {prefix}_before, {prefix}_after,"
                        " cause, compared_date, business_date) VALUES (%s, 'shop', %s, %s, %s, %s, %s, %s, %s)",
                        [run, *row, before, day],
                    )
        conn.execute(
            "INSERT INTO serve.pointers (source, run_id, business_date, key_version, published_at)"
            " VALUES ('shop', 'now', %s, 1, now())",
            [day],
        )
    columns = "table_name, user_id, change, before, after, cause, compared_date"
    with warehouse.connect(served, "crm_reader") as conn:
        found = conn.execute(f"SELECT {columns}, run_id FROM changes WHERE source = 'shop' ORDER BY 1, 2").fetchall()
        of_runs = conn.execute(f"SELECT {columns}, run_id FROM changes_by_run ORDER BY run_id, 1, 2").fetchall()
    assert found == [
        ("at_risk_users", "anna", "moved", "low", "high", "behaviour", before, "now"),
        ("recommendations", "anna", "moved", "tea", "now", "rules", before, "now"),
        ("recommendations", "ben", "left", "mat", None, "model", before, "now"),
    ]
    assert [row[-1] for row in of_runs] == ["earlier"] * 3 + ["now"] * 3
    assert of_runs[3:] == found


def test_a_table_of_changes_is_about_a_table_that_the_crm_reads() -> None:
    told = {table.name: table.changes.of for table in SERVED if table.changes}
    assert told == {
        "churn_changes": "at_risk_users",
        "list_changes": "recommendations",
        "segment_movements": "user_segments",
    }
    assert set(told.values()) <= {table.name for table in SERVED}
    with pytest.raises(ContractError, match=r"table moves: column after of changes is not declared; .*user_key"):
        Table(
            "moves", "One row per move.", ("id",), (Column("id", "string", "."),), changes=Changes("x", "id", "after")
        )
