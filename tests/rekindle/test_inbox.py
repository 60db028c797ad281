"""What the CRM writes back: it may write and do nothing else, and a night takes each outcome once, whatever happens."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest

from rekindle import inbox, inbox_tables, settings, warehouse
from rekindle.inbox import Batch, Inbox
from rekindle.landing_streams import MAX_LINE_BYTES
from rekindle.ledger import LandedFile, Ledger, RunKey
from rekindle.refusals import DataRefused
from tests.rekindle.warehouse_shop import Shop, middle

DAY = date(2026, 4, 30)
NEXT = DAY + timedelta(days=1)
NOON = datetime(2026, 4, 30, 10, tzinfo=UTC)  # of the shop, in Berlin
WRITE = "INSERT INTO outcomes (source, outcome_id, kind, user_id, happened_at) VALUES (%s, %s, %s, %s, %s)"
# the CRM does not have: a right, a schema, a role
REFUSED = ("42501", "42P01", "3F000")
FORBIDDEN_TO_THE_CRM = [
    "SELECT * FROM inbox.outcomes",
    "SELECT outcome_id FROM inbox.outcomes",
    "SELECT * FROM inbox.sources",
    "SELECT * FROM inbox.batches",
    "UPDATE inbox.outcomes SET kind = 'opt_in'",
    "DELETE FROM inbox.outcomes",
    "TRUNCATE inbox.outcomes",
    "LOCK TABLE inbox.outcomes IN EXCLUSIVE MODE",
    "INSERT INTO inbox.sources (source) VALUES ('mine')",
    "INSERT INTO inbox.batches (source, number, landing_date, outcomes) VALUES ('s', 1, '2026-01-01', 0)",
    "INSERT INTO inbox.outcomes (source, outcome_id, kind, user_id, happened_at, received_at)"
    " VALUES ('s', 'o', 'contact', 'u', now(), '2020-01-01')",
    "INSERT INTO inbox.outcomes (source, outcome_id, kind, user_id, happened_at, landing_date)"
    " VALUES ('s', 'o', 'contact', 'u', now(), '2020-01-01')",
    "INSERT INTO inbox.outcomes (source, outcome_id, kind, user_id, happened_at, is_user_known)"
    " VALUES ('s', 'o', 'contact', 'u', now(), true)",
    "INSERT INTO inbox.outcomes (source, outcome_id, kind, user_id, happened_at, number) OVERRIDING SYSTEM VALUE"
    " VALUES ('s', 'o', 'contact', 'u', now(), 1)",
    "INSERT INTO inbox.outcomes (source, outcome_id, kind, user_id, happened_at)"
    " VALUES ('s', 'o', 'contact', 'u', now()) RETURNING *",
    "INSERT INTO inbox.outcomes (source, outcome_id, kind, user_id, happened_at)"
    " VALUES ('s', 'o', 'contact', 'u', now()) ON CONFLICT (source, outcome_id) DO UPDATE SET kind = 'opt_in'",
    "COPY inbox.outcomes TO STDOUT",
    "SELECT * FROM crm.publications",
    "SELECT * FROM serve.pointers",
    "SELECT * FROM vault.user_keys",
    "SELECT * FROM ops.runs",
    "CREATE TABLE inbox.mine (n int)",
    "CREATE TEMPORARY TABLE mine (n int)",
    "CREATE SCHEMA mine",
    "ALTER TABLE inbox.outcomes DISABLE TRIGGER ALL",
    "GRANT SELECT ON inbox.outcomes TO crm_writer",
    "SET ROLE writer",
    "COPY (SELECT 1) TO PROGRAM 'true'",
    "SELECT pg_read_file('postgresql.conf')",
]


@dataclass
class Crm:
    """A shop of its own whose CRM writes back, and whose nights take it."""

    shop: Shop
    settings: settings.Settings

    @property
    def source(self) -> str:
        return self.shop.source

    @property
    def ledger(self) -> Ledger:
        return self.shop.ledger

    @property
    def inbox(self) -> Inbox:
        return Inbox(self.shop.connect)

    def write(self, outcome_id: str, user: str = "anna", kind: str = "contact", at: datetime = NOON) -> None:
        with self.shop.connect("crm_writer") as conn:
            conn.execute(WRITE, [self.source, outcome_id, kind, user, at])

    def take(self, day: date = DAY) -> list[LandedFile]:
        """The files of a night of that day."""
        return inbox.files_until(self.ledger, self.settings, day)

    def lines(self, file: LandedFile) -> list[dict[str, Any]]:
        bronze = self.settings.environment.lake.bronze
        return [json.loads(text) for text in (bronze / file.sha256).read_text().splitlines()]

    def told(self, files: list[LandedFile]) -> list[list[tuple[str, bool]]]:
        """By file the outcomes in it, and whether their user was known."""
        return [[(told["outcome_id"], told["is_user_known"]) for told in self.lines(file)] for file in files]

    def knows(self, *users: str) -> None:
        with self.shop.connect() as conn:
            warehouse.add_user_keys(conn, self.source, 1, [(f"key of {user}", user) for user in users], middle)


@pytest.fixture
def crm(shop: Shop, tmp_path: Path) -> Crm:
    """A shop that has had a night, and knows Anna and Bert."""
    loaded = settings.load("simulated_shop")
    lake = loaded.environment.lake.model_copy(update={"bronze": tmp_path / "bronze"})
    made = Crm(
        shop,
        loaded.model_copy(
            update={
                "environment": loaded.environment.model_copy(update={"lake": lake}),
                "source": loaded.source.model_copy(update={"name": shop.source}),
            }
        ),
    )
    made.knows("anna", "bert")
    assert made.take(DAY - timedelta(days=1)) == [], "nothing written, no file: the night's run id is as ever"
    return made


@pytest.fixture
def writer(environment: settings.Environment) -> Iterator[warehouse.Connection]:
    with warehouse.connect(environment, "crm_writer") as conn:
        yield conn


@pytest.mark.parametrize("statement", FORBIDDEN_TO_THE_CRM)
def test_the_crm_writes_outcomes_back_and_does_nothing_else(writer: warehouse.Connection, statement: str) -> None:
    with pytest.raises(psycopg.Error) as refused:
        writer.execute(statement)  # type: ignore[call-overload]
    assert refused.value.sqlstate in REFUSED


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE inbox.outcomes SET kind = 'opt_in'",
        "DELETE FROM inbox.outcomes",
        "INSERT INTO inbox.outcomes (source) VALUES ('s')",
        "UPDATE inbox.batches SET outcomes = 0",
    ],
)
def test_the_night_changes_nothing_that_the_crm_wrote(environment: settings.Environment, statement: str) -> None:
    with warehouse.connect(environment, "writer") as conn, pytest.raises(psycopg.errors.InsufficientPrivilege):
        conn.execute(statement)  # type: ignore[call-overload]


def test_the_crm_reader_and_the_crm_writer_do_not_see_each_others_side(environment: settings.Environment) -> None:
    with warehouse.connect(environment, "crm_reader") as conn, pytest.raises(psycopg.errors.InsufficientPrivilege):
        conn.execute("SELECT * FROM inbox.outcomes")
    with warehouse.connect(environment, "crm_writer") as conn:
        names = ("statement_timeout", "lock_timeout", "idle_in_transaction_session_timeout", "TimeZone", "search_path")
        found = [conn.execute("SELECT current_setting(%s)", [name]).fetchone() for name in names]
    assert found == [("1min",), ("5s",), ("1min",), ("UTC",), ("inbox",)]


def test_a_row_written_again_after_a_lost_answer_is_there_once(crm: Crm) -> None:
    with crm.shop.connect("crm_writer") as conn:
        for kind in ("contact", "contact", "complaint"):
            conn.execute(f"{WRITE} ON CONFLICT DO NOTHING", [crm.source, "o1", kind, "anna", NOON])
    with pytest.raises(psycopg.errors.UniqueViolation):
        crm.write("o1")
    (file,) = crm.take()
    assert [told["kind"] for told in crm.lines(file)] == ["contact"], "the first counts"


@pytest.mark.parametrize(
    ("column", "value", "fault"),
    [
        ("source", "no such shop", "ForeignKeyViolation"),
        ("user_id", "x" * 201, "CheckViolation"),
        ("outcome_id", "", "CheckViolation"),
        ("kind", "x" * 201, "CheckViolation"),
        ("campaign_id", "x" * 201, "CheckViolation"),
        ("text", "x" * 8_001, "CheckViolation"),
        ("happened_at", "infinity", "CheckViolation"),
        ("happened_at", "-infinity", "CheckViolation"),
        ("happened_at", "10000-01-01 UTC", "CheckViolation"),
        ("happened_at", None, "NotNullViolation"),
        ("user_id", None, "NotNullViolation"),
    ],
)
def test_what_is_no_row_is_refused_at_once(crm: Crm, column: str, value: str | None, fault: str) -> None:
    row = {"source": crm.source, "outcome_id": "o", "kind": "contact", "user_id": "anna", "happened_at": NOON}
    row |= {column: value}
    statement = f"INSERT INTO outcomes ({', '.join(row)}) VALUES ({', '.join(['%s'] * len(row))})"
    with crm.shop.connect("crm_writer") as conn, pytest.raises(getattr(psycopg.errors, fault)):
        conn.execute(statement.encode(), list(row.values()))


def test_any_row_that_is_let_in_is_one_line_that_cleaning_reads() -> None:
    for nasty in ("\x01", '"', "\\", "\n", "\r", "\ufeff", "\u2028", "😀", "語"):
        told: dict[str, Any] = dict.fromkeys(inbox_tables.WRITTEN_BY_THE_CRM, nasty * inbox_tables.ID_CHARACTERS)
        told |= {"text": nasty * inbox_tables.TEXT_CHARACTERS, "happened_at": NOON, "is_user_known": True}
        line = inbox.line({name: told[name] for name in inbox.TOLD})
        assert len(line) <= MAX_LINE_BYTES
        assert line.count(b"\n") == 1
        assert b"\xef\xbb\xbf" not in line, "a byte order mark within a line is a fault"
        assert json.loads(line)["text"] == told["text"]


def test_a_night_takes_what_happened_before_its_end_and_leaves_the_rest_to_its_day(crm: Crm) -> None:
    midnight = datetime(2026, 4, 30, 22, tzinfo=UTC)  # the shop's
    crm.write("late", at=NOON - timedelta(days=40))
    crm.write("last", at=midnight - timedelta(microseconds=1))
    crm.write("tomorrow", at=midnight)
    crm.write("far", at=NOON + timedelta(days=400))
    first = crm.take()
    assert crm.told(first) == [[("late", True), ("last", True)]]
    assert [(f.name, f.landing_date, f.kind, f.lines) for f in first] == [("inbox-2026-04-30-1.jsonl", DAY, "inbox", 2)]
    assert crm.lines(first[0])[1]["happened_at"] == "2026-04-30T21:59:59.999999Z"
    second = crm.take(NEXT)
    assert crm.told(second) == [[("late", True), ("last", True)], [("tomorrow", True)]]
    assert crm.take(DAY) == first, "an older night has the files it had"


def test_a_night_that_died_before_its_run_was_opened_takes_a_later_word_as_another_batch(crm: Crm) -> None:
    crm.write("o1")
    once = crm.take()
    assert crm.take() == once
    crm.write("o2")
    again = crm.take()
    assert again[:1] == once
    assert crm.told(again) == [[("o1", True)], [("o2", True)]]


def test_a_night_that_is_repeated_and_an_older_one_take_nothing_that_was_written_since(crm: Crm) -> None:
    crm.write("o1")
    once = crm.take(NEXT)
    crm.ledger.open_run(RunKey(f"{crm.source}_r", crm.source, NEXT, "code", "conf", "ingest", 1, False), [], {})
    crm.write("o2")
    assert crm.take(DAY) == []
    assert crm.take(NEXT) == once
    assert crm.told(crm.take(NEXT + timedelta(days=1))) == [[("o1", True)], [("o2", True)]]


def test_an_unknown_user_waits_two_days_and_is_then_taken_as_such(crm: Crm) -> None:
    crm.write("newcomer", "cleo")
    crm.write("nobody", "nemo")
    assert crm.take() == []
    crm.knows("cleo")
    assert crm.told(crm.take(NEXT)) == [[("newcomer", True)]]
    assert crm.told(crm.take(NEXT + timedelta(days=1))) == [[("newcomer", True)], [("nobody", False)]]


def test_a_night_that_dies_between_taking_and_writing_finds_the_same_bytes(
    crm: Crm, monkeypatch: pytest.MonkeyPatch
) -> None:
    for n in range(3):
        crm.write(f"o{n}", "anna" if n else "bert")
    with monkeypatch.context() as dying:
        dying.setattr(inbox, "file_of", no_space)
        with pytest.raises(OSError, match="no space"):
            crm.take()
    (batch,) = crm.inbox.batches(crm.source, DAY)
    whole = b"".join(crm.inbox.lines(batch))
    crm.write("o3")
    files = crm.take()
    assert crm.told(files) == [[("o0", True), ("o1", True), ("o2", True)], [("o3", True)]]
    assert (crm.settings.environment.lake.bronze / files[0].sha256).read_bytes() == whole
    assert list(crm.settings.environment.lake.bronze.glob(".part*")) == []


def no_space(*_: object) -> LandedFile:
    raise OSError("no space left on device")


def test_a_batch_of_which_a_row_is_gone_is_refused(tmp_path: Path) -> None:
    batch = Batch("shop", DAY, 1, 2)
    with pytest.raises(DataRefused, match=r"batch 1 of 2026-04-30 has 1 outcomes, expected 2"):
        inbox.file_of(batch, [b"{}\n"], tmp_path)
    with pytest.raises(DataRefused, match="has 0 outcomes, expected 2"):
        inbox.file_of(batch, [], tmp_path)


def test_two_nights_at_once_take_each_outcome_once_and_no_batch_grows(crm: Crm) -> None:
    for n in range(20):
        crm.write(f"o{n}")
    found: list[int] = []
    end = datetime(2026, 4, 30, 22, tzinfo=UTC)

    def night() -> None:
        found.append(crm.inbox.assign(crm.source, DAY, end, 2))

    with crm.shop.connect() as conn:
        conn.execute("SELECT FROM inbox.sources WHERE source = %s FOR NO KEY UPDATE", [crm.source])
        nights = [threading.Thread(target=night) for _ in range(2)]
        for one in nights:
            one.start()
    for one in nights:
        one.join()
    assert sorted(found) == [0, 20]
    assert [batch.outcomes for batch in crm.inbox.batches(crm.source, DAY)] == [20]


def test_what_the_crm_has_not_committed_holds_up_no_night(crm: Crm) -> None:
    crm.write("told")
    with crm.shop.connect("crm_writer") as conn:
        conn.execute(WRITE, [crm.source, "untold", "contact", "anna", NOON])
        assert crm.told(crm.take()) == [[("told", True)]]
    assert crm.told(crm.take()) == [[("told", True)], [("untold", True)]]


def test_sources_do_not_see_each_others_outcomes(crm: Crm, environment: settings.Environment) -> None:
    other = Shop(environment, f"{crm.source}_two")
    Inbox(other.connect).assign(other.source, DAY, NOON, 2)
    crm.write("o1")
    with other.connect("crm_writer") as conn:
        conn.execute(WRITE, [other.source, "o1", "opt_out", "anna", NOON - timedelta(days=5)])
    assert crm.told(crm.take()) == [[("o1", True)]]
    assert Inbox(other.connect).assign(other.source, DAY, NOON, 2) == 1
