"""`make export VIEW=… SOURCE=…`: one of the CRM's views as a CSV file, of one run, whole or not at all.

It is read as the CRM's read-only role in one repeatable-read transaction, through a cursor on the server, so memory
does not grow with rows; it is written beside its place and moved there when it is complete. `rekindle.csv_cells` writes
the cells.

Exit codes: 0 done, 2 the command line is wrong or the file cannot be written, 75 the warehouse did not answer or the
disk is full.
"""

from __future__ import annotations

import argparse
import errno
import os
import sys
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path
from typing import IO

import psycopg
from psycopg import sql

from rekindle import cli, settings, warehouse
from rekindle.csv_cells import line
from rekindle.refusals import UsageError
from rekindle.warehouse import Connection

FETCHED_ROWS = 5_000  # at once: a few MB
# The role's own limit of 60 s is for look-ups. Each statement here is a fetch of 5,000 rows, the first one may sort.
STATEMENT_TIMEOUT = "10min"


@dataclass(frozen=True)
class Publication:
    """The run whose rows are asked for."""

    run_id: str
    business_date: date
    data_through: datetime


@dataclass(frozen=True)
class Export:
    """What was written."""

    view: str
    rows: int
    publication: Publication
    path: Path

    def __str__(self) -> str:
        through = self.publication.data_through.isoformat(sep=" ", timespec="seconds")
        return (
            f"{self.view}: {self.rows:,} rows of run {self.publication.run_id}"
            f" ({self.publication.business_date}, data through {through}) in {self.path}"
        )


def export(
    environment: settings.Environment, folder: Path, view: str, source: str, run_id: str = "", out: Path | None = None
) -> Export:
    """Write the view's rows of the source, of the served run or of the kept run `run_id`; what was written, and where.

    `folder` takes files for which `out` names no place, as <source>/<view>-<date>-<run>.csv. What stands there is
    replaced. Only the owner may read the file.

    Raises:
        UsageError: no such view, source or run; the message has the legal ones.
        OSError: the file cannot be written; what was there before is still there.
        psycopg.OperationalError: the warehouse did not answer.
    """
    with warehouse.connect(environment, "crm_reader", "make export") as conn:
        conn.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        conn.read_only = True
        conn.execute(sql.SQL("SET LOCAL statement_timeout = {}").format(sql.Literal(STATEMENT_TIMEOUT)))
        conn.execute("SET LOCAL cursor_tuple_fraction = 1")  # all rows are wanted, not the first ones soon
        query, asked = _query(conn, view, source, run_id)
        path = out or folder / source / f"{view}-{asked.business_date}-{asked.run_id}.csv"
        if out is None:
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        with _replaced(path) as file, conn.cursor("export") as cursor:
            cursor.itersize = FETCHED_ROWS
            cursor.execute(query)
            file.write(line(column.name for column in cursor.description or ()))
            rows = _written(cursor, file)
    return Export(view, rows, asked, path)


def _query(conn: Connection, view: str, source: str, run_id: str) -> tuple[sql.Composed, Publication]:
    """What to select, and the publication it is of."""
    views = _views(conn)
    if view not in views:
        raise UsageError(f"VIEW={view!r} is no view of the CRM; legal: {', '.join(sorted(views))}")
    kept = _publications(conn, source, "is_kept OR is_served")
    by_run = f"{view}_by_run"
    if run_id or view.endswith("_by_run"):
        asked = next((one for one in kept if one.run_id == run_id), None)
        if asked is None:
            runs = ", ".join(f"{one.run_id} ({one.business_date})" for one in kept)
            raise UsageError(f"RUN={run_id!r}: source {source} keeps no such run; legal: {runs}")
        if by_run not in views and "run_id" not in views[view]:
            raise UsageError(f"VIEW={view} has no rows by run; leave RUN= out")
        read = by_run if by_run in views else view
        conditions = {"source": source, "run_id": run_id}
    else:
        [asked] = _publications(conn, source, "is_served")
        read, conditions = view, {"source": source}
    where = [
        sql.SQL("{} = {}").format(sql.Identifier(name), sql.Literal(value))
        for name, value in conditions.items()
        if name in views[read]
    ]
    query = sql.SQL("SELECT * FROM {}").format(sql.Identifier("crm", read))
    return (query + sql.SQL(" WHERE ") + sql.SQL(" AND ").join(where)) if where else sql.Composed([query]), asked


def _views(conn: Connection) -> dict[str, set[str]]:
    """The views that the role may read, by name, with their columns."""
    found: dict[str, set[str]] = {}
    for name, column in conn.execute(
        "SELECT c.relname, a.attname FROM pg_catalog.pg_class c"
        " JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0"
        " WHERE c.relnamespace = 'crm'::regnamespace AND c.relkind = 'v' AND has_table_privilege(c.oid, 'SELECT')"
    ):
        found.setdefault(name, set()).add(column)
    return found


def _publications(conn: Connection, source: str, condition: str) -> list[Publication]:
    """The source's publications of which that holds, newest first.

    Raises:
        UsageError: the source has published nothing.
    """
    found = conn.execute(
        "SELECT run_id, business_date, data_through FROM crm.publications"  # noqa: S608 (our own condition)
        f" WHERE source = %s AND ({condition}) ORDER BY published_at DESC",
        [source],
    ).fetchall()
    if not found:
        sources = [row[0] for row in conn.execute("SELECT DISTINCT source FROM crm.publications ORDER BY 1")]
        raise UsageError(f"SOURCE={source!r} has published nothing; legal: {', '.join(sources) or 'none yet'}")
    return [Publication(*row) for row in found]


def _written(rows: Iterable[Sequence[object]], file: IO[str]) -> int:
    count = 0
    for row in rows:
        file.write(line(row))
        count += 1
    return count


@contextmanager
def _replaced(path: Path) -> Iterator[IO[str]]:
    """A file for its owner alone that takes the place of `path` when the block ends, and vanishes when it fails."""
    if path.is_dir():
        raise UsageError(f"OUT={path} is a folder; expected the name of a file")
    number, name = tempfile.mkstemp(prefix=f".{path.name[:100]}.", suffix=".part", dir=path.parent)
    try:
        with os.fdopen(number, "w", encoding="utf-8", newline="") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        Path(name).replace(path)
    finally:
        Path(name).unlink(missing_ok=True)


def main(argv: Sequence[str]) -> int:
    """Write the file and say what is in it."""
    parser = argparse.ArgumentParser(prog="rekindle.crm_export", allow_abbrev=False, description="a CRM view as CSV")
    parser.add_argument("--view", required=True, help="a view of schema crm")
    parser.add_argument("--source", required=True, help="the shop")
    parser.add_argument("--run", default="", help="a kept run; default: the served one")
    parser.add_argument("--out", type=Path, help="the file; default: exports/<source>/… in the state folder")
    parser.add_argument("--env", default="local", help="name of an environment in conf/environments")
    given = parser.parse_args(argv)

    def write() -> None:
        environment = settings.load_environment(given.env)
        folder = settings.home() / "exports"
        told = export(environment, folder, given.view, given.source, given.run, given.out)
        sys.stdout.write(f"{told}\n")

    try:
        return cli.ended(write)
    except OSError as error:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        return cli.fail(cli.TEMPORARY if full else cli.USAGE, f"OUT={given.out or ''}: {error}")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
