"""How the report asks: the warehouse in one snapshot of its rows, and which tables the run has."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from psycopg.rows import dict_row

from rekindle import warehouse
from rekindle.cli import Context


@dataclass(frozen=True)
class Ask:
    """A run, and a connection that sees the warehouse as it was when the report began."""

    context: Context
    connection: warehouse.Connection
    tables: frozenset[str]

    @property
    def run_id(self) -> str:
        """The run that is told."""
        return self.context.run_id

    def rows(self, statement: str, **values: Any) -> list[dict[str, Any]]:
        """All rows of a query about the run (`%(run)s`, `%(day)s`); its groups are few."""
        cursor = self.connection.cursor(row_factory=dict_row)
        told = {"run": self.run_id, "day": self.context.business_date} | values
        return cursor.execute(statement, told).fetchall()

    def row(self, statement: str, **values: Any) -> dict[str, Any]:
        """The one row of a query of aggregates."""
        return self.rows(statement, **values)[0]

    def has(self, *tables: str) -> bool:
        """Whether the run made these tables: a night of older code has not all of today's."""
        return self.tables.issuperset(tables)


@contextmanager
def asking(context: Context) -> Iterator[Ask]:
    """Ask about the context's run, all queries on the same snapshot; nothing is written."""
    with warehouse.connect(context.settings, "writer", "rekindle report") as connection:
        connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
        # Between its queries the report reads the ledger and artefacts; nobody waits for a transaction that only reads.
        connection.execute("SET LOCAL idle_in_transaction_session_timeout = '10min'")
        # One session, so that counting users by the million stays out of files: PostgreSQL's 4 MB are for hundreds.
        connection.execute("SET LOCAL work_mem = '128MB'")
        yield Ask(context, connection, frozenset(context.ledger.tables(context.run_id)))
