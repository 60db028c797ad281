"""A source in the warehouse that lets a test open, stage and publish runs in a line each."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pyarrow as pa

from rekindle import publication, settings, warehouse
from rekindle.contract import Column, Table
from rekindle.copy_text import ARROW_TYPES
from rekindle.fingerprint import Fingerprint
from rekindle.ledger import LandedFile, Ledger, Run, RunKey, TableVersion

LISTS = Table(
    name="lists",
    doc="One row per user and place in the user's list.",
    key=("user_key", "place"),
    columns=(
        Column("user_key", "string", "Pseudonym.", privacy="pseudonym"),
        Column("place", "int", "From 1."),
        Column("title", "string", "Title; null if none.", nullable=True),
        Column("score", "double", "Score; null if none.", nullable=True),
        Column("reasons", "array<string>", "Why; null if unknown.", nullable=True),
    ),
)
WEEKS = Table(
    name="weeks",
    doc="One row per week.",
    key=("week_start",),
    columns=(Column("week_start", "date", "Monday."), Column("buyers", "bigint", "Buyers.")),
)
TABLES = (LISTS, WEEKS)
DAY = date(2026, 4, 30)


def middle(user_id: str) -> float:
    """A draw for whoever is not about the holdout."""
    return 0.5


def batch(table: Table, rows: Sequence[dict[str, Any]]) -> pa.RecordBatch:
    """A record batch of the table; what a row does not mention is null."""
    return pa.record_batch(
        [pa.array([row.get(c.name) for row in rows], ARROW_TYPES[c.type]) for c in table.columns], names=table.names
    )


@dataclass
class Shop:
    """One source in the warehouse: lets a test open, stage and publish runs in a line each."""

    environment: settings.Environment
    source: str
    users: int = 3
    count: int = 0
    draws: defaultdict[str, float] = field(default_factory=lambda: defaultdict(lambda: middle("")))

    def connect(self, role: warehouse.Role = "writer") -> warehouse.Connection:
        return warehouse.connect(self.environment, role)

    @property
    def ledger(self) -> Ledger:
        return Ledger(self.connect)

    def run(self, day: date = DAY) -> Run:
        """A new run of the day, its users in the vault."""
        self.count += 1
        key = RunKey(f"{self.source}_{self.count}", self.source, day, "code", "conf", "ingest", 1, False)
        with self.connect() as conn:
            pairs = [(f"k{n}", f"user {n}") for n in range(self.users)]
            warehouse.add_user_keys(conn, self.source, 1, pairs, self.draws.__getitem__)
        return self.ledger.open_run(key, [], {})

    def rows(self, run: Run) -> dict[Table, list[dict[str, Any]]]:
        """Two places for every user and one week, all of them bearing the run's id."""
        lists = [
            {"user_key": f"k{n}", "place": p, "title": run.run_id, "score": n / 3, "reasons": [run.run_id, "b"]}
            for n in range(self.users)
            for p in (1, 2)
        ]
        return {LISTS: lists, WEEKS: [{"week_start": date(2026, 4, 20), "buyers": self.count}]}

    def stage(self, run: Run, rows: dict[Table, list[dict[str, Any]]] | None = None) -> dict[str, Fingerprint]:
        """Stage rows and say what is staged."""
        with self.connect() as conn:
            return {
                table.name: publication.stage(conn, run, table, [batch(table, content)])
                for table, content in (rows or self.rows(run)).items()
            }

    def publish(
        self, run: Run, manifest: dict[str, Fingerprint] | None = None, holdout_share: float = 0.0
    ) -> publication.Outcome:
        """Publish what is staged, or stage first."""
        with self.connect() as conn:
            told = manifest or self.stage(run)
            return publication.publish(conn, run, told, TABLES, through(run.business_date), holdout_share)

    def read(self, statement: str, role: warehouse.Role = "crm_reader") -> list[tuple[Any, ...]]:
        with self.connect(role) as conn:
            return conn.execute(statement).fetchall()


def through(day: date) -> datetime:
    return datetime(day.year, day.month, day.day, tzinfo=UTC) + timedelta(days=1)


def landed(name: str, sha256: str, **other: Any) -> LandedFile:
    """A landed file of which a test mentions only what it is about."""
    return replace(LandedFile(name, DAY, sha256, 10, 1, 3, 0, "accepted"), **other)


def version(table: str, rows: int = 1, **other: Any) -> TableVersion:
    return replace(TableVersion(table, 1, "file:/m.json", Fingerprint(rows, rows, rows, rows)), **other)
