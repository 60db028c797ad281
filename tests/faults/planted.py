"""Six publish protocols that look right and are not, kept so that the checker is seen to catch each.

Four show readers another state than one whole run: tables swapped by name, emptied and filled again, switched in a
transaction each, or views replaced. Two let a wrong run through: an audit that only counts, and a lock that belongs to
the session, which a pool of connections hands to two publishers at once. The measured reasons are in docs/decisions.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import psycopg

from rekindle import warehouse
from rekindle.fingerprint import Fingerprint
from tests.faults.fault_shop import TABLES, NightShop

COLUMNS = "source text, user_id text, run_id text, mark text, number bigint"
NAMES = tuple(table.name for table in TABLES)


@dataclass
class Planted(ABC):
    """A schema of its own with two tables, or views, that the CRM's role reads; `shop` says what a run holds."""

    shop: NightShop
    conn: warehouse.Connection
    schema: str

    def _rows(self, run_id: str, table: str) -> list[tuple[Any, ...]]:
        return [(self.shop.source, row[0], run_id, run_id, row[-1]) for row in self.shop.rows(run_id)[table]]

    def run(self, statement: str) -> None:
        self.conn.execute(statement.replace("$", f"{self.schema}."))  # type: ignore[arg-type]

    def copy(self, table: str, rows: Sequence[tuple[Any, ...]]) -> None:
        target: Any = f"COPY {self.schema}.{table} FROM STDIN"
        with self.conn.cursor() as cursor, cursor.copy(target) as copy:
            for row in rows:
                copy.write_row(row)

    def make(self, run_id: str) -> None:
        """The schema, and the first run served from it."""
        self.conn.execute(f"CREATE SCHEMA {self.schema}")  # type: ignore[arg-type]
        self.conn.execute(f"GRANT USAGE ON SCHEMA {self.schema} TO crm_reader")  # type: ignore[arg-type]
        for name in NAMES:
            self.make_one(name, run_id)
        self.conn.commit()

    def make_one(self, name: str, run_id: str) -> None:
        self.run(f"CREATE TABLE ${name} ({COLUMNS})")
        self.run(f"GRANT SELECT ON ${name} TO crm_reader")
        self.copy(name, self._rows(run_id, name))

    @abstractmethod
    def publish(self, run_id: str) -> None:
        """Serve the run in the wrong way."""


class RenameSwap(Planted):
    """Both tables are built beside the old ones and renamed, in one transaction."""

    def publish(self, run_id: str) -> None:
        for name in NAMES:
            self.make_one(f"{name}_new", run_id)
        for name in NAMES:
            self.run(f"ALTER TABLE ${name} RENAME TO {name}_old")
            self.run(f"ALTER TABLE ${name}_new RENAME TO {name}")
            self.run(f"DROP TABLE ${name}_old")
        self.conn.commit()

    def make_one(self, name: str, run_id: str) -> None:
        self.run(f"CREATE TABLE ${name} ({COLUMNS})")
        self.run(f"GRANT SELECT ON ${name} TO crm_reader")
        self.copy(name, self._rows(run_id, name.removesuffix("_new")))


class TruncateAndCopy(Planted):
    """Both tables are emptied and filled, in one transaction."""

    def publish(self, run_id: str) -> None:
        self.run(f"TRUNCATE {', '.join(f'${name}' for name in NAMES)}")
        for name in NAMES:
            self.copy(name, self._rows(run_id, name))
        self.conn.commit()


class TransactionEach(Planted):
    """Each table is replaced in a transaction of its own."""

    def publish(self, run_id: str) -> None:
        for name in NAMES:
            self.run(f"DELETE FROM ${name}")
            self.copy(name, self._rows(run_id, name))
            self.conn.commit()


class ReplacedView(Planted):
    """Each run has tables of its own; the views are replaced by ones over the new tables, in one transaction."""

    def make_one(self, name: str, run_id: str) -> None:
        self.run(f"CREATE TABLE ${name}_{run_id} ({COLUMNS})")
        self.copy(f"{name}_{run_id}", self._rows(run_id, name))
        self.run(f"CREATE OR REPLACE VIEW ${name} AS SELECT * FROM ${name}_{run_id}")
        self.run(f"GRANT SELECT ON ${name} TO crm_reader")

    def publish(self, run_id: str) -> None:
        for name in NAMES:
            self.make_one(name, run_id)
        self.conn.commit()


SEEN_BY_READERS: dict[str, type[Planted]] = {
    "rename_swap": RenameSwap,
    "truncate": TruncateAndCopy,
    "transaction_each": TransactionEach,
    "replaced_view": ReplacedView,
}


@contextmanager
def planted(kind: str, shop: NightShop, first_run: str) -> Iterator[Planted]:
    """The protocol in a schema of its own, which is dropped at the end."""
    with shop.connect("owner") as conn:
        made = SEEN_BY_READERS[kind](shop, conn, f"planted_{kind}")
        made.make(first_run)
        try:
            yield made
        finally:
            conn.rollback()
            conn.execute(f"DROP SCHEMA {made.schema} CASCADE")  # type: ignore[arg-type]
            conn.commit()


class CountOnly(Fingerprint):
    """A manifest whose audit only counts: it equals everything with as many rows."""

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Fingerprint) and other.rows == self.rows

    __hash__ = Fingerprint.__hash__


def lose_and_double(rows: list[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
    """As many rows as before: the last is lost, the first is there twice, under the lost one's key."""
    return [*rows[:-1], (*rows[-1][:2], *rows[0][2:])]


class SessionLock:
    """The pool: one session of the server, handed to whoever has no transaction open, as a pooler does.

    A publisher takes the session's advisory lock, looks at the pointer in one transaction and moves it in the next.
    """

    def __init__(self, session: psycopg.Connection[Any]) -> None:
        self.session = session
        session.execute("CREATE TEMPORARY TABLE pointer (run_id text, day int)")
        session.commit()

    def lock(self) -> bool:
        """Whether the lock was granted; it was meant to be refused to the second publisher."""
        [granted] = self.session.execute("SELECT pg_try_advisory_lock(7)").fetchall()[0]
        self.session.commit()
        return bool(granted)

    def look(self) -> tuple[str | None, int]:
        """The served run and its day."""
        rows = self.session.execute("SELECT run_id, day FROM pointer").fetchall()
        self.session.commit()
        return rows[0] if rows else (None, 0)

    def move(self, run_id: str, day: int) -> None:
        self.session.execute("DELETE FROM pointer")
        self.session.execute("INSERT INTO pointer VALUES (%s, %s)", [run_id, day])
        self.session.commit()
