"""Continuous readers as the CRM's role, of three kinds: what they see while publishers and servers die is the proof.

    one statement     both tables in one statement, outside of a transaction
    two statements    a table a statement, in one transaction (the role's isolation is repeatable read)
    pinned pages      the served run's id once, then both tables page by page by that id, a transaction a page

Each read is logged with its time, what it found and its error. A reader that loses its connection reconnects.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import psycopg

from rekindle import settings, warehouse
from tests.faults.fault_shop import TABLES
from tests.faults.history import Read, Seen

Look = Callable[[warehouse.Connection, str, str], tuple[float, tuple[Seen, ...]]]
PAGE = 1000
AGAIN = 0.02  # seconds after a lost connection


def _seen(row: Sequence[Any]) -> Seen:
    name, first, last, rows, total, foreign = row
    return Seen(name, tuple(sorted({first, last} - {None})), rows, int(total), foreign)


def select(schema: str, table: str) -> str:
    """What a read finds of one table, as a statement with the source as its only value."""
    return (
        f"SELECT '{table}', min(run_id), max(run_id), count(*), coalesce(sum(number), 0),"
        f" count(*) FILTER (WHERE mark <> run_id) FROM {schema}.{table} WHERE source = %s"
    )


def one_statement(conn: warehouse.Connection, schema: str, source: str) -> tuple[float, tuple[Seen, ...]]:
    statement: Any = " UNION ALL ".join(select(schema, table.name) for table in TABLES)
    rows = conn.execute(statement, [source] * len(TABLES)).fetchall()
    return time.monotonic(), tuple(map(_seen, rows))


def two_statements(conn: warehouse.Connection, schema: str, source: str) -> tuple[float, tuple[Seen, ...]]:
    with conn.transaction():
        statements: list[Any] = [select(schema, table.name) for table in TABLES]
        found = tuple(_seen(conn.execute(statement, [source]).fetchall()[0]) for statement in statements)
    return time.monotonic(), found


def pinned_pages(conn: warehouse.Connection, schema: str, source: str) -> tuple[float, tuple[Seen, ...]]:
    """The run is seen when it is pinned; later pages may be read long after another one is served."""
    pin: Any = f"SELECT run_id FROM {schema}.publications WHERE source = %s AND is_served"
    found = conn.execute(pin, [source]).fetchall()
    pinned, run_id = time.monotonic(), found[0][0] if found else ""
    seen = []
    for table in TABLES:
        key = [name.replace("user_key", "user_id") for name in table.key]
        names = ", ".join(key)
        page: Any = (
            f"SELECT {names}, run_id, mark, number FROM {schema}.{table.name}_by_run WHERE source = %s AND run_id = %s"
            f" AND ({names}) > ({', '.join(['%s'] * len(key))}) ORDER BY {names} LIMIT {PAGE}"
        )
        rows: list[tuple[Any, ...]] = []
        last: list[Any] = ["", 0][: len(key)]
        while more := conn.execute(page, [source, run_id, *last]).fetchall():
            rows += more
            last = list(more[-1][: len(key)])
        runs = tuple(sorted({row[-3] for row in rows}))
        total, foreign = sum(row[-1] for row in rows), sum(row[-2] != row[-3] for row in rows)
        seen.append(Seen(table.name, runs, len({row[: len(key)] for row in rows}), total, foreign))
    return pinned, tuple(seen)


KINDS: dict[str, Look] = {
    "one statement": one_statement,
    "two statements": two_statements,
    "pinned pages": pinned_pages,
}


class Reader(threading.Thread):
    """Reads on until told to stop."""

    def __init__(
        self, environment: settings.Environment, source: str, kind: str, name: str, schema: str, pause: float
    ) -> None:
        super().__init__(name=name, daemon=True)
        self.pause = pause
        self.environment, self.source, self.kind, self.schema = environment, source, kind, schema
        self.reads: list[Read] = []
        self.stopping = threading.Event()
        self.first = threading.Event()

    def run(self) -> None:
        while not self.stopping.is_set():
            began = time.monotonic()
            try:
                with warehouse.connect(self.environment, "crm_reader", self.name) as conn:
                    conn.autocommit = True  # each statement, or each block, is a transaction of its own
                    while not self.stopping.is_set():
                        began = time.monotonic()
                        ended, seen = KINDS[self.kind](conn, self.schema, self.source)
                        self.reads.append(Read(self.name, self.kind, began, ended, seen))
                        self.first.set()
                        if self.pause:
                            self.stopping.wait(self.pause)
            except (psycopg.Error, warehouse.WarehouseError) as error:
                told = f"{type(error).__name__}: {' '.join(str(error).split())}"
                self.reads.append(Read(self.name, self.kind, began, time.monotonic(), error=told))
                self.stopping.wait(AGAIN)


@contextmanager
def reading(
    environment: settings.Environment,
    source: str,
    kinds: Sequence[str] = tuple(KINDS),
    schema: str = "crm",
    pause: float = 0.0,
) -> Iterator[list[Reader]]:
    """One reader of each kind, all of which have read once when the body begins and are stopped at its end.

    `pause`: seconds that each waits after a read, so that others get a processor.
    """
    readers = [
        Reader(environment, source, kind, f"reader {number} {source}"[:63], schema, pause)
        for number, kind in enumerate(kinds)
    ]
    for reader in readers:
        reader.start()
    try:
        for reader in readers:
            assert reader.first.wait(30), f"{reader.name} could not read: {reader.reads[-1:]}"
        yield readers
    finally:
        for reader in readers:
            reader.stopping.set()
        for reader in readers:
            reader.join(60)


def log(readers: Sequence[Reader]) -> list[Read]:
    """All that the readers saw."""
    return [read for reader in readers for read in list(reader.reads)]
