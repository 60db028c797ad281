"""`python -m rekindle.crm "SELECT …"`: a query as the CRM's read-only role, printed as a table.

Exit codes: 0 done, 2 the query or the command line is wrong, 75 the warehouse did not answer.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from datetime import datetime
from typing import Any
from urllib.parse import quote

import psycopg
from rich.console import Console
from rich.table import Table as Grid

from rekindle import cli, warehouse
from rekindle.embedded import EmbeddedError
from rekindle.settings import Environment, SettingsError, load_environment

SHOWN_ROWS = 1000  # of one query, on a terminal; a client that wants more uses the connection string


def uri(environment: Environment, role: warehouse.Role = "crm_reader") -> str:
    """The connection string of a role of the CRM's, its password included.

    Raises:
        WarehouseError, EmbeddedError: no password file, no server yet.
    """
    conf = environment.warehouse
    secret = quote(warehouse.password(environment, role), safe="")
    return f"postgresql://{role}:{secret}@{conf.host}:{warehouse.port(environment)}/{conf.database}"


def query(environment: Environment, statement: str) -> tuple[list[str], list[tuple[Any, ...]], bool]:
    """Column names, at most 1,000 rows, and whether there are more. A statement without rows has no columns.

    Raises:
        psycopg.Error: PostgreSQL refuses the statement, as it does whatever is not a read of schema crm.
    """
    with warehouse.connect(environment, "crm_reader", "make crm") as conn:
        cursor = conn.execute(statement)
        if cursor.description is None:
            return [], [], False
        names = [column.name for column in cursor.description]
        rows = cursor.fetchmany(SHOWN_ROWS)
        return names, rows, cursor.fetchone() is not None


def grid(names: Sequence[str], rows: Sequence[tuple[Any, ...]]) -> Grid:
    """The rows as a table: numbers to the right, null spelled out, long texts folded."""
    table = Grid(show_lines=False, header_style="bold")
    for at, name in enumerate(names):
        numbers = all(isinstance(row[at], int | float) or row[at] is None for row in rows) and bool(rows)
        table.add_column(name, justify="right" if numbers else "left", overflow="fold")
    for row in rows:
        table.add_row(*(_text(value) for value in row))
    return table


def _text(value: Any) -> str:
    from rich.markup import escape

    if value is None:
        return "[dim]null[/dim]"
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, datetime):
        return value.isoformat(sep=" ", timespec="seconds")
    if isinstance(value, list):
        return "\n".join(_text(entry) for entry in value)
    return escape(str(value))


def main(argv: Sequence[str]) -> int:
    """Print what the query answers."""
    parser = argparse.ArgumentParser(prog="rekindle.crm", description="a query as the CRM's read-only role")
    parser.add_argument("sql", nargs="?", help="one SELECT over the views of schema crm")
    parser.add_argument("--env", default="local", help="name of an environment in conf/environments")
    parser.add_argument("--uri", action="store_true", help="print the role's connection string instead")
    parser.add_argument("--writer", action="store_true", help="of the role that writes back, not of the reader")
    given = parser.parse_args(argv)
    if bool(given.sql) == given.uri or (given.writer and not given.uri):
        parser.error('give one query, as in make crm SQL="SELECT * FROM publications", or --uri, or --uri --writer')
    console = Console(width=None if sys.stdout.isatty() else 200)
    try:
        environment = load_environment(given.env)
        if given.uri:
            sys.stdout.write(uri(environment, "crm_writer" if given.writer else "crm_reader") + "\n")
            return 0
        names, rows, more = query(environment, given.sql)
    except (SettingsError, warehouse.WarehouseError, EmbeddedError) as error:
        return cli.fail(cli.USAGE, str(error))
    except psycopg.OperationalError as error:
        return cli.fail(cli.USAGE if error.sqlstate else cli.TEMPORARY, str(error))
    except psycopg.Error as error:
        return cli.fail(cli.USAGE, str(error))
    if not names:
        return 0
    console.print(grid(names, rows))
    console.print(
        f"{len(rows)} row{'' if len(rows) == 1 else 's'}" + (", and more: add LIMIT or use --uri" if more else "")
    )
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
