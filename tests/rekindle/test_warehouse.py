"""The warehouse: each role can do its own work and nothing else, migrating is idempotent, copying is exact."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import psycopg
import pyarrow as pa
import pytest

from rekindle import crm, embedded, settings, warehouse
from rekindle.contract import Column, Table
from rekindle.copy_text import BatchError
from rekindle.warehouse import WarehouseError
from schemas.cohort_retention import COHORT_RETENTION
from schemas.retention_curves import RETENTION_CURVES
from schemas.retention_windows import RETENTION_WINDOWS
from tests.rekindle.warehouse_shop import LISTS, TABLES, Shop, batch, middle

# insufficient privilege; a view that joins takes no rows from anybody
NO_RIGHT = ("42501", "55000")
FORBIDDEN_TO_THE_CRM = [
    "SELECT * FROM serve.lists",
    "SELECT * FROM serve.pointers",
    "SELECT * FROM vault.user_keys",
    "SELECT * FROM ops.runs",
    "SELECT * FROM pg_authid",
    "INSERT INTO crm.publications DEFAULT VALUES",
    "UPDATE crm.lists SET title = 'x'",
    "DELETE FROM crm.lists",
    "SELECT * FROM serve.users",
    "SELECT * FROM serve.stagings",
    "SELECT * FROM inbox.outcomes",
    "INSERT INTO inbox.outcomes (source) VALUES ('s')",
    "SET ROLE crm_writer",
    "SET ROLE analyst",
    "COMMENT ON VIEW crm.lists IS 'mine'",
    "ALTER VIEW crm.lists RENAME TO mine",
    "DELETE FROM serve.lists",
    "UPDATE serve.pointers SET run_id = NULL",
    "INSERT INTO vault.user_keys VALUES ('s', 1, 'k', 'u')",
    "TRUNCATE serve.lists",
    "DROP VIEW crm.lists",
    "CREATE VIEW crm.mine AS SELECT 1",
    "CREATE OR REPLACE VIEW crm.lists AS SELECT 1",
    "CREATE TABLE public.mine (n int)",
    "CREATE TEMPORARY TABLE mine (n int)",
    "CREATE SCHEMA mine",
    "CREATE ROLE friend",
    "CREATE EXTENSION vector",
    "ALTER ROLE crm_reader SUPERUSER",
    "GRANT SELECT ON vault.user_keys TO crm_reader",
    "SET ROLE owner",
    "SET SESSION AUTHORIZATION writer",
    "SELECT * FROM crm.lists FOR UPDATE",
    "LOCK TABLE serve.pointers",
    "COPY crm.lists FROM STDIN",
    "COPY (SELECT 1) TO PROGRAM 'true'",
    "COPY (SELECT 1) TO '/tmp/x'",
    "SELECT pg_read_file('postgresql.conf')",
    "SELECT lo_create(0)",
    "SELECT lo_from_bytea(0, 'x')",
    "DO $$ BEGIN END $$",
    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'owner'",
    "SELECT set_config('log_statement', 'all', false)",
]
OF_EVERY_VIEW = ("run_id", "published_at", "data_through")
FORBIDDEN_TO_THE_WRITER = [
    "SELECT * FROM ops.views",
    "SELECT * FROM crm.users",
    "TRUNCATE serve.lists",
    "DELETE FROM serve.publications",
    "DELETE FROM vault.user_keys",
    "UPDATE vault.user_keys SET user_id = 'x'",
    "UPDATE serve.lists SET title = 'x'",
    "DELETE FROM ops.champion_decisions",
    "DELETE FROM ops.model_decisions",
    "UPDATE ops.model_decisions SET reason = 'x'",
    "DROP VIEW crm.lists",
    "CREATE TABLE serve.mine (n int)",
    "CREATE ROLE friend",
    "SET ROLE owner",
]


FORBIDDEN_TO_ANALYSTS = [
    "SELECT * FROM vault.user_keys",
    "SELECT user_id FROM crm.users",
    "SELECT * FROM crm.lists",
    "INSERT INTO serve.pointers (source) VALUES ('s')",
    "UPDATE serve.pointers SET run_id = NULL",
    "DELETE FROM serve.lists",
    "DELETE FROM serve.stagings",
    "UPDATE ops.runs SET attempt = 99",
    "CREATE TABLE serve.mine (n int)",
    "CREATE TEMPORARY TABLE mine (n int)",
    "SET ROLE owner",
    "SET ROLE crm_reader",
    "DO $$ BEGIN END $$",
]


@pytest.mark.parametrize("statement", FORBIDDEN_TO_ANALYSTS)
def test_an_analyst_reads_pseudonyms_and_changes_nothing(environment: settings.Environment, statement: str) -> None:
    with warehouse.connect(environment, "analyst") as conn:
        conn.execute("SET default_transaction_read_only = off")
        conn.commit()
        with pytest.raises(psycopg.Error) as refused:
            conn.execute(statement)  # type: ignore[call-overload]
    assert refused.value.sqlstate in NO_RIGHT


def test_an_analyst_measures_a_night_by_pseudonym(shop: Shop) -> None:
    run = shop.run()
    shop.publish(run)
    asked = f"SELECT user_key, place FROM lists JOIN pointers USING (source, run_id) WHERE source = '{shop.source}'"
    assert len(shop.read(asked, "analyst")) == 6
    assert shop.read(f"SELECT status FROM ops.runs WHERE run_id = '{run.run_id}'", "analyst") == [("published",)]


@pytest.fixture
def reader(environment: settings.Environment) -> Iterator[warehouse.Connection]:
    with warehouse.connect(environment, "crm_reader") as conn:
        yield conn


@pytest.mark.parametrize("statement", FORBIDDEN_TO_THE_CRM)
def test_the_crm_may_only_read_its_views(reader: warehouse.Connection, statement: str) -> None:
    with pytest.raises(psycopg.Error) as refused:
        reader.execute(statement)  # type: ignore[call-overload]
    assert refused.value.sqlstate in (*NO_RIGHT, "25006"), "refused for lack of rights or because it only reads"


@pytest.mark.parametrize("statement", FORBIDDEN_TO_THE_CRM)
def test_the_crms_rights_do_not_hang_on_its_read_only_setting(reader: warehouse.Connection, statement: str) -> None:
    """A client may switch its own default off; the grants have to hold alone."""
    reader.execute("SET default_transaction_read_only = off")
    reader.commit()
    with pytest.raises(psycopg.Error) as refused:
        reader.execute(statement)  # type: ignore[call-overload]
    assert refused.value.sqlstate in NO_RIGHT


@pytest.mark.parametrize("statement", FORBIDDEN_TO_THE_WRITER)
def test_the_writer_writes_rows_and_changes_no_definition(environment: settings.Environment, statement: str) -> None:
    with warehouse.connect(environment, "writer") as conn, pytest.raises(psycopg.errors.InsufficientPrivilege):
        conn.execute(statement)  # type: ignore[call-overload]


def test_the_crm_reads_with_limits_and_in_one_snapshot_a_transaction(reader: warehouse.Connection) -> None:
    names = ("default_transaction_read_only", "transaction_isolation", "statement_timeout", "TimeZone", "search_path")
    found = [reader.execute("SELECT current_setting(%s)", [name]).fetchone() for name in names]
    assert found == [("on",), ("repeatable read",), ("1min",), ("UTC",), ("crm",)]


def test_nobody_else_may_connect(environment: settings.Environment, reader: warehouse.Connection) -> None:
    for database in ("postgres", "template1"):
        with pytest.raises(psycopg.OperationalError, match="permission denied for database"):
            warehouse.connect(environment, "crm_reader", database=database)
    rights = reader.execute("SELECT datacl::text FROM pg_database WHERE datname = current_database()").fetchone()
    assert rights is not None
    assert "{=" not in rights[0], "PUBLIC has no right on the database"
    assert ",=" not in rights[0]


def test_who_asks_while_the_embedded_server_is_stopped_is_told_what_starts_it(
    environment: settings.Environment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REKINDLE_HOME", str(tmp_path))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        nobody = environment.warehouse.model_copy(update={"port": free.getsockname()[1]})
    asked = environment.model_copy(update={"warehouse": nobody})
    with pytest.raises(psycopg.OperationalError, match="the embedded PostgreSQL is stopped, `make setup` starts it"):
        warehouse.connect(asked, "crm_reader")


@pytest.mark.parametrize("role", embedded.ROLES)
def test_a_wrong_password_is_refused_in_one_line(environment: settings.Environment, role: Any, tmp_path: Path) -> None:
    path = tmp_path / f"postgres_{role}"
    path.write_text("wrong")
    path.chmod(0o600)
    conf = environment.warehouse.model_copy(update={"secrets": tmp_path})
    with pytest.raises(WarehouseError, match=f"refused the role {role}: .*password authentication failed") as refused:
        warehouse.connect(environment.model_copy(update={"warehouse": conf}), role)
    assert "\n" not in str(refused.value)


def test_a_password_that_others_may_read_is_not_used(environment: settings.Environment, tmp_path: Path) -> None:
    (tmp_path / "postgres_writer").write_text("x")
    (tmp_path / "postgres_writer").chmod(0o644)
    conf = environment.warehouse.model_copy(update={"secrets": tmp_path})
    with pytest.raises(WarehouseError, match="may be read by others"):
        warehouse.connect(environment.model_copy(update={"warehouse": conf}), "writer")
    with pytest.raises(WarehouseError, match=r"password of owner cannot be read: .*postgres_owner: No such file"):
        warehouse.connect(environment.model_copy(update={"warehouse": conf}), "owner")


# ---------------------------------------------------------------------- migration


def catalogue(environment: settings.Environment) -> list[tuple[Any, ...]]:
    """Every table, view and index with the id that changes when it is made anew."""
    with warehouse.connect(environment, "owner") as conn:
        return conn.execute(
            "SELECT oid::text, relname, reltype::text, relfilenode::text FROM pg_class"
            " WHERE relnamespace::regnamespace::text IN ('ops', 'serve', 'vault', 'crm') ORDER BY 1"
        ).fetchall()


def test_migrating_again_makes_nothing_anew(environment: settings.Environment) -> None:
    before = catalogue(environment)
    warehouse.migrate(environment, TABLES)
    assert catalogue(environment) == before


def test_migrating_does_not_wait_for_readers_nor_they_for_it(shop: Shop) -> None:
    shop.publish(shop.run())
    with shop.connect("crm_reader") as conn:
        conn.execute("SELECT count(*) FROM lists")
        warehouse.migrate(shop.environment, TABLES)
        assert conn.execute("SELECT count(*) > 0 FROM lists").fetchone() == (True,)


def test_several_processes_may_migrate_at_once(environment: settings.Environment) -> None:
    """Threads stand for processes: each has its own connections."""
    before, failures = catalogue(environment), []

    def migrate() -> None:
        try:
            warehouse.migrate(environment, TABLES)
        except Exception as error:
            failures.append(error)

    threads = [threading.Thread(target=migrate) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert catalogue(environment) == before


def test_a_changed_contract_is_applied_only_when_told_to(environment: settings.Environment) -> None:
    notes = Table("notes", "One row per note.", ("id",), (Column("id", "string", "Id."),))
    warehouse.migrate(environment, (*TABLES, notes))
    grown = replace(notes, columns=(*notes.columns, Column("text", "string", "Text; null if none.", nullable=True)))
    with pytest.raises(WarehouseError, match=r"serve.notes lacks column text. Apply additive"):
        warehouse.migrate(environment, (*TABLES, grown))
    warehouse.migrate(environment, (*TABLES, grown), replace_views=True)
    with warehouse.connect(environment, "crm_reader") as conn:
        cursor = conn.execute("SELECT * FROM notes")
        assert [c.name for c in cursor.description or ()] == [
            "source",
            "id",
            "text",
            "run_id",
            "published_at",
            "data_through",
        ]
    other = replace(notes, columns=(Column("id", "bigint", "Id."),))
    with pytest.raises(WarehouseError, match=r"serve.notes.id is text, expected bigint; .*text, which the contract"):
        warehouse.migrate(environment, (*TABLES, other), replace_views=True)


def test_a_key_grows_by_what_older_rows_had_in_common(environment: settings.Environment) -> None:
    """As cohorts got groups: the rows of kept runs stay readable, and new ones may differ by the new column alone."""
    id_column, n = Column("id", "string", "Id."), Column("n", "int", "How many.")
    plain = Table("sights", "One row per sight.", ("id",), (id_column, n))
    kind = Column("kind", "string", "Kind.", earlier="all")
    grown = replace(plain, key=("kind", "id"), columns=(kind, id_column, n))
    place = Table("places", "One row per place.", ("id",), (id_column,))
    others = (*TABLES, place)
    warehouse.migrate(environment, (*others, plain))
    with warehouse.connect(environment, "writer") as conn:
        warehouse.copy_batches(conn, plain, "r1", "shop", [batch(plain, [{"id": "a", "n": 1}])])
    with pytest.raises(WarehouseError, match=r"serve.sights lacks column kind. Apply additive changes with `make mig"):
        warehouse.migrate(environment, (*others, grown))
    warehouse.migrate(environment, (*others, grown), replace_views=True)
    before = catalogue(environment)
    warehouse.migrate(environment, (*others, grown), replace_views=True)
    assert catalogue(environment) == before, "twice is once"
    new = [{"kind": kind, "id": "a", "n": 2} for kind in ("all", "web")]
    with warehouse.connect(environment, "writer") as conn:
        warehouse.copy_batches(conn, grown, "r2", "shop", [batch(grown, new)])
        told = conn.execute("SELECT run_id, kind, id, n FROM serve.sights ORDER BY 1, 2").fetchall()
        assert told == [("r1", "all", "a", 1), ("r2", "all", "a", 2), ("r2", "web", "a", 2)]
        conn.commit()
        with pytest.raises(psycopg.errors.NotNullViolation):
            conn.execute("INSERT INTO serve.sights (run_id, source, id, n) VALUES ('r3', 'shop', 'a', 1)")
    wanted = replace(place, key=("name",), columns=(id_column, Column("name", "string", "Name.", earlier="none")))
    with pytest.raises(WarehouseError, match=r"serve.places has the key run_id, id, expected run_id, name"):
        warehouse.migrate(environment, (*TABLES, grown, wanted), replace_views=True)


def test_cohorts_of_a_warehouse_from_before_groups_are_those_of_everybody(environment: settings.Environment) -> None:
    conf = environment.warehouse.model_copy(update={"database": "grown"})
    there = environment.model_copy(update={"warehouse": conf})
    groups, tables = ("group_kind", "group_name"), (COHORT_RETENTION, RETENTION_CURVES, RETENTION_WINDOWS)
    older = [
        replace(
            table,
            key=tuple(name for name in table.key if name not in groups),
            columns=tuple(c for c in table.columns if c.name not in groups),
        )
        for table in tables
    ]
    plain = {"string": "month", "date": date(2026, 4, 1), "int": 1, "bigint": 1, "double": 0.5}
    rows = [{c.name: plain[c.type] for c in table.columns} for table in older]
    warehouse.migrate(there, (*TABLES, *older))
    with warehouse.connect(there, "writer") as conn:
        for table, row in zip(older, rows, strict=True):
            warehouse.copy_batches(conn, table, "r1", "shop", [batch(table, [row])])
    warehouse.migrate(there, (*TABLES, *tables), replace_views=True)
    names = [("all", "all"), ("channel", "app"), ("channel", "web")]
    with warehouse.connect(there, "writer") as conn:
        for table, row in zip(tables, rows, strict=True):
            named = [row | dict(zip(groups, of, strict=True)) for of in names]
            warehouse.copy_batches(conn, table, "r2", "shop", [batch(table, named)])
            held = conn.execute(f"SELECT run_id, group_kind, group_name FROM serve.{table.name} ORDER BY 1, 2, 3")
            assert held.fetchall() == [("r1", "all", "all"), *(("r2", *of) for of in names)]


def test_views_and_columns_explain_themselves(reader: warehouse.Connection) -> None:
    told = dict(
        reader.execute(
            "SELECT a.attname, col_description(a.attrelid, a.attnum) FROM pg_attribute a"
            " WHERE a.attrelid = 'crm.lists'::regclass AND a.attnum > 0"
        ).fetchall()
    )
    assert list(told) == [
        "source",
        "user_id",
        "place",
        "title",
        "score",
        "reasons",
        "run_id",
        "published_at",
        "data_through",
    ]
    assert all(told.values())
    assert told["score"] == LISTS.by_name["score"].meaning
    assert reader.execute("SELECT obj_description('crm.lists'::regclass)").fetchone() == (f"{LISTS.doc} Version 1.",)


# ---------------------------------------------------------------------- copying


def test_copied_values_are_read_back_as_the_same(shop: Shop) -> None:
    run = shop.run()
    values = [None, 0.1, 1 / 3, 1e300, 5e-324, float("inf"), -0.0]
    rows = [
        {"user_key": "k0", "place": n, "score": v, "title": t, "reasons": r}
        for n, (v, t, r) in enumerate(
            zip(
                values,
                [None, "", '"', "a,b\n", "\\N", "NULL", "é😀"],
                [None, [], [""], [None], ['"{}'], ["\\"], ["NULL"]],
                strict=True,
            )
        )
    ]
    with shop.connect() as conn:
        assert warehouse.copy_batches(conn, LISTS, run.run_id, shop.source, [batch(LISTS, rows)]) == len(rows)
        found = conn.execute(
            "SELECT user_key, place, score, title, reasons FROM serve.lists WHERE run_id = %s ORDER BY place",
            [run.run_id],
        ).fetchall()
    assert found == [tuple(row[k] for k in ("user_key", "place", "score", "title", "reasons")) for row in rows]


def test_copying_replaces_the_runs_own_rows_only(shop: Shop) -> None:
    first, second = shop.run(), shop.run()
    shop.stage(first)
    shop.stage(second)
    shop.stage(second)
    counts = shop.read(f"SELECT run_id, count(*) FROM serve.lists WHERE source = '{shop.source}' GROUP BY 1", "writer")
    assert dict(counts) == {first.run_id: 6, second.run_id: 6}


def test_batches_of_any_size_and_other_arrow_types_are_taken(shop: Shop) -> None:
    run = shop.run()
    rows = [{"user_key": "k0", "place": n, "reasons": ["x"] * (n % 3) if n % 5 else None} for n in range(45_000)]
    whole = pa.Table.from_batches([batch(LISTS, rows)])
    large = whole.set_column(0, "user_key", whole["user_key"].cast(pa.large_string()).dictionary_encode())
    with shop.connect() as conn:
        batches = large.slice(7).to_batches()
        assert warehouse.copy_batches(conn, LISTS, run.run_id, shop.source, batches) == 44_993
        found = conn.execute(
            "SELECT count(*), sum(cardinality(reasons)), count(*) FILTER (WHERE reasons IS NULL) FROM serve.lists"
            " WHERE run_id = %s",
            [run.run_id],
        ).fetchone()
    lists = [row["reasons"] for row in rows[7:]]
    assert found == (44_993, sum(len(r) for r in lists if r), lists.count(None))


def test_a_batch_that_is_not_the_contracts_is_told_every_fault(shop: Shop) -> None:
    wrong = pa.record_batch({"user_key": ["k0"], "place": ["first"], "title": ["x"], "score": [1.0]})
    with shop.connect() as conn, pytest.raises(BatchError, match=r"table lists: place is string.*; reasons is missing"):
        warehouse.copy_batches(conn, LISTS, "r", shop.source, [wrong])


def test_a_missing_required_value_stops_the_copy(shop: Shop) -> None:
    with shop.connect() as conn, pytest.raises(psycopg.errors.NotNullViolation):
        warehouse.copy_batches(conn, LISTS, "r", shop.source, [batch(LISTS, [{"user_key": "k0"}])])


# ---------------------------------------------------------------------- the vault, the CRM's command


def test_pseudonyms_are_added_once_and_never_change_their_user(shop: Shop) -> None:
    with shop.connect() as conn:
        assert warehouse.add_user_keys(conn, shop.source, 1, [("a", "1"), ("b", "2"), ("a", "1")], middle) == 2
        assert warehouse.add_user_keys(conn, shop.source, 1, [("a", "1"), ("c", "3")], middle) == 1
        with pytest.raises(WarehouseError, match="1 pseudonyms already stand for another user id"):
            warehouse.add_user_keys(conn, shop.source, 1, [("a", "other")], middle)
        conn.rollback()
        assert warehouse.add_user_keys(conn, shop.source, 2, [("a", "other")], middle) == 1, "another key version"


@pytest.fixture
def ask(environment: settings.Environment, monkeypatch: pytest.MonkeyPatch) -> Callable[..., int]:
    monkeypatch.setattr(crm, "load_environment", lambda name: environment)
    return lambda *words: crm.main(words)


def test_make_crm_shows_rows_with_nulls_spelled_out(shop: Shop, ask: Any, capsys: pytest.CaptureFixture[str]) -> None:
    run = shop.run()
    shop.publish(run)
    assert ask(f"SELECT user_id, place, NULL AS nothing FROM lists WHERE source = '{shop.source}' ORDER BY 1, 2") == 0
    out = capsys.readouterr().out
    assert "user 2" in out
    assert "null" in out
    assert out.strip().endswith("6 rows")


@pytest.mark.parametrize(
    ("sql", "told"),
    [
        ("SELECT * FROM nowhere", "does not exist"),
        ("DELETE FROM lists", "cannot delete from view"),
        ("SELEC", "syntax error"),
    ],
)
def test_make_crm_says_in_one_line_what_is_wrong(
    ask: Any, capsys: pytest.CaptureFixture[str], sql: str, told: str
) -> None:
    assert ask(sql) == 2
    err = capsys.readouterr().err
    assert told in err
    assert err.count("\n") == 1


@pytest.mark.parametrize(("words", "role"), [(("--uri",), "crm_reader"), (("--uri", "--writer"), "crm_writer")])
def test_the_connection_string_opens_the_crm(
    environment: settings.Environment, ask: Any, capsys: pytest.CaptureFixture[str], words: tuple[str, ...], role: str
) -> None:
    assert ask(*words) == 0
    with psycopg.connect(capsys.readouterr().out.strip()) as conn:
        assert conn.execute("SELECT current_user").fetchone() == (role,)


def test_an_unstarted_server_is_told_with_what_to_do(environment: settings.Environment, tmp_path: Path) -> None:
    with pytest.raises(embedded.EmbeddedError, match=r"port does not exist: no server was started there; `make setup`"):
        embedded.port(tmp_path)
    gone = environment.warehouse.model_copy(update={"port": None, "embedded": False})
    with pytest.raises(WarehouseError, match=r"local.yaml: warehouse.port is missing"):
        warehouse.port(environment.model_copy(update={"warehouse": gone}))
