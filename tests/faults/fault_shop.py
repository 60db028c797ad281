"""A shop for the fault tests: a row's content follows from its run, so that a read can be proved whole by itself.

Two tables. Every row bears its run's id (`mark`) and a number; what a run's tables must hold is computed here, in
Python, by another way than the warehouse's: count, sum of numbers, and the fingerprint of the lake's manifest.
"""

from __future__ import annotations

import hashlib
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from functools import partial
from typing import Any, Literal

import pyarrow as pa

from rekindle import publication, settings, warehouse
from rekindle.contract import Column, Table
from rekindle.copy_text import ARROW_TYPES
from rekindle.fingerprint import Fingerprint
from rekindle.ledger import Ledger, Run, RunKey
from tests.faults import tally
from tests.faults.history import FOREVER, Move, Read, Violation, violations

OFFERS = Table(
    name="offers",
    doc="One row per user and place.",
    key=("user_key", "place"),
    columns=(
        Column("user_key", "string", "Pseudonym.", privacy="pseudonym"),
        Column("place", "int", "From 1."),
        Column("mark", "string", "The run that made the row."),
        Column("number", "bigint", "Its number."),
    ),
)
NOTES = Table(
    name="notes",
    doc="One row per user.",
    key=("user_key",),
    columns=(
        Column("user_key", "string", "Pseudonym.", privacy="pseudonym"),
        Column("mark", "string", "The run that made the row."),
        Column("number", "bigint", "Its number."),
    ),
)
TABLES = (OFFERS, NOTES)
PLACES = 2
DAY = date(2026, 4, 30)


def batches(table: Table, rows: Sequence[tuple[Any, ...]], size: int = 500) -> Iterator[pa.RecordBatch]:
    """The rows as record batches of at most `size`."""
    for at in range(0, max(len(rows), 1), size):
        columns = list(zip(*rows[at : at + size], strict=True)) or [()] * len(table.columns)
        arrays = [pa.array(v, ARROW_TYPES[c.type]) for c, v in zip(table.columns, columns, strict=True)]
        yield pa.record_batch(arrays, names=table.names)


def fingerprint(rows: Sequence[tuple[Any, ...]]) -> Fingerprint:
    """The fingerprint as docs of `rekindle.fingerprint` define it, for rows of plain texts and whole numbers."""
    hashes = [int(hashlib.md5("\x1f".join(map(str, row)).encode()).hexdigest()[:15], 16) for row in rows]  # noqa: S324
    xor = 0
    for one in hashes:
        xor ^= one
    return Fingerprint(len(rows), len(rows), sum(hashes), xor)


@contextmanager
def _kept(conn: warehouse.Connection) -> Iterator[warehouse.Connection]:
    try:
        yield conn
        conn.commit()
    except BaseException:
        conn.rollback()
        raise


def through(day: date) -> datetime:
    return datetime(day.year, day.month, day.day, tzinfo=UTC) + timedelta(days=1)


@dataclass
class NightShop:
    """One source of the warehouse whose runs hold `users` users.

    `lent`: connections that are used again instead of new ones, by role; a new one costs 10 ms.
    """

    environment: settings.Environment
    source: str
    users: int = 3
    opened: int = 0
    lent: Mapping[str, warehouse.Connection] = field(default_factory=dict)

    def connect(self, role: warehouse.Role = "writer", purpose: str = "rekindle") -> Any:
        """A connection for a `with`: a new one, or the lent one, which stays open."""
        return _kept(self.lent[role]) if role in self.lent else warehouse.connect(self.environment, role, purpose)

    @property
    def ledger(self) -> Ledger:
        return Ledger(self.connect)

    def open(self, day: date = DAY) -> Run:
        """A new run of the day, its users in the vault."""
        self.opened += 1
        key = RunKey(f"{self.source}_{self.opened}", self.source, day, "code", "conf", "ingest", 1, False)
        if self.opened == 1:
            with self.connect() as conn:
                pairs = [(f"k{n:05d}", f"user {n:05d}") for n in range(self.users)]
                warehouse.add_user_keys(conn, self.source, 1, pairs, lambda user_id: 0.5)
        return self.ledger.open_run(key, [], {})

    def rows(self, run_id: str) -> dict[str, list[tuple[Any, ...]]]:
        """What the run's tables hold, by table; every run has other numbers."""
        base = int(hashlib.sha256(run_id.encode()).hexdigest()[:6], 16)
        keys = [f"k{n:05d}" for n in range(self.users)]
        offers = [(k, p, run_id, base + PLACES * n + p) for n, k in enumerate(keys) for p in range(1, PLACES + 1)]
        return {"offers": offers, "notes": [(k, run_id, base + n) for n, k in enumerate(keys)]}

    def manifest(self, run_id: str) -> dict[str, Fingerprint]:
        return {name: fingerprint(rows) for name, rows in self.rows(run_id).items()}

    def totals(self, run_id: str) -> dict[str, tuple[int, int]]:
        """By table: rows, and the sum of their numbers."""
        return {name: (len(rows), sum(row[-1] for row in rows)) for name, rows in self.rows(run_id).items()}

    def stage(self, run: Run, connect: Callable[[], warehouse.Connection] | None = None) -> None:
        """Stage every table as the job does, over one connection."""
        with (connect or partial(self.connect, "writer", publication.session_name(run)))() as conn:
            for table in TABLES:
                publication.stage(conn, run, table, batches(table, self.rows(run.run_id)[table.name]))

    def publish(self, run: Run, connect: Callable[[], warehouse.Connection] | None = None) -> publication.Outcome:
        """Publish what is staged, a lost connection's answer found out."""
        named = connect or partial(self.connect, "writer", publication.session_name(run))
        return publication.publish_surely(named, run, self.manifest(run.run_id), TABLES, through(run.business_date))

    def served(self) -> dict[str, Fingerprint]:
        """The fingerprints of what the CRM reads, computed from the rows themselves in one transaction."""
        found = {}
        with self.connect("crm_reader") as conn:
            for table in TABLES:
                names = ", ".join("user_id" if name == "user_key" else name for name in table.names)
                statement = f"SELECT {names} FROM crm.{table.name} WHERE source = %s"
                rows = conn.execute(statement, [self.source]).fetchall()  # type: ignore[call-overload]
                found[table.name] = fingerprint([(row[0].replace("user ", "k"), *row[1:]) for row in rows])
        return found

    def moves(self) -> list[tuple[Any, ...]]:
        """The pointer's moves in their serial order: from, to, the run's date, cause."""
        with self.connect("owner") as conn:
            return conn.execute(
                "SELECT m.from_run, m.to_run, h.business_date, m.cause FROM serve.pointer_moves m"
                " JOIN serve.publications h ON h.run_id = m.to_run WHERE m.source = %s ORDER BY m.number",
                [self.source],
            ).fetchall()


@dataclass
class Act:
    """A call that may move the pointer: when it began and, if the pointer is known to have moved, when it ended."""

    run_id: str
    cause: Literal["published", "rolled_back"]
    began: float
    ended: float = FOREVER
    is_known: bool = True


@dataclass
class Chronicle:
    """What publishers did with a shop, when, and how the checker judges readers by it."""

    shop: NightShop
    acts: list[Act] = field(default_factory=list)
    outages: list[tuple[float, float]] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @contextmanager
    def act(self, run_id: str, cause: Literal["published", "rolled_back"] = "published") -> Iterator[Act]:
        """Log a call; one that raises, or is marked as not known, may have moved the pointer at any later time."""
        act = Act(run_id, cause, time.monotonic())
        with self._lock:
            self.acts.append(act)
        yield act
        if act.is_known:
            act.ended = time.monotonic()

    def publish(self, run: Run, connect: Callable[[], warehouse.Connection] | None = None) -> publication.Outcome:
        """Stage and publish, logged."""
        self.shop.stage(run, connect)
        with self.act(run.run_id):
            return self.shop.publish(run, connect)

    @contextmanager
    def outage(self) -> Iterator[None]:
        """The server is down on purpose meanwhile, and readers may meet errors."""
        began = time.monotonic()
        try:
            yield
        finally:
            self.outages.append((began, time.monotonic()))

    def moves(self) -> list[Move]:
        """The pointer's moves with the time within which each became visible, as the acts tell."""
        found, rollbacks = [], [act for act in self.acts if act.cause == "rolled_back"]
        for before, after, day, cause in self.shop.moves():
            if cause == "rolled_back":
                mine = [next(act for act in rollbacks if act.run_id == after)]
                rollbacks.remove(mine[0])
            else:
                mine = [act for act in self.acts if (act.run_id, act.cause) == (after, cause)]
            began, ended = min(act.began for act in mine), min(act.ended for act in mine)
            found.append(Move(before, after, day, cause, began, ended))
        return found

    def violations(self, reads: Sequence[Read]) -> list[Violation]:
        """What one order of all moves and reads cannot explain; counted for the table at the end."""
        shop = self.shop
        manifests = {f"{shop.source}_{n}": shop.totals(f"{shop.source}_{n}") for n in range(1, shop.opened + 1)}
        found = violations(self.moves(), manifests, reads, self.outages)
        tally.reads(reads, found)
        return found
