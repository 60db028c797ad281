"""How the ledger reaches PostgreSQL: one connection and one transaction a method, again when the connection is lost."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any, Concatenate, ParamSpec, TypeVar, cast

import psycopg
from psycopg.rows import dict_row
from tenacity import Retrying, retry_if_exception, stop_after_attempt, wait_exponential

from rekindle.warehouse import Connection

P = ParamSpec("P")
T = TypeVar("T")
A = TypeVar("A", bound="Access")
# Four tries, 0.5 + 1 + 2 s apart: a restarted server was back within 2 s.
ATTEMPTS = 4


class LedgerError(Exception):
    """What was to be recorded contradicts what is known: what, where, and what was expected."""


def is_connection_error(error: BaseException) -> bool:
    """Whether the connection, not the statement, failed: nothing is known of what the server did with it."""
    state = getattr(error, "sqlstate", None)
    return isinstance(error, psycopg.OperationalError) and (
        state is None or state.startswith("08") or state in ("57P01", "57P02", "57P03")
    )


def repeatable(
    method: Callable[Concatenate[A, P], T],
) -> Callable[Concatenate[A, P], T]:
    """A method that is tried again when its connection was lost; only for what may be done twice."""

    @wraps(method)
    def repeated(self: A, *args: P.args, **kwargs: P.kwargs) -> T:
        retrying = Retrying(
            retry=retry_if_exception(is_connection_error),
            stop=stop_after_attempt(ATTEMPTS),
            wait=wait_exponential(multiplier=0.5, max=4),
            reraise=True,
        )
        return retrying(method, self, *args, **kwargs)

    return cast(Callable[Concatenate[A, P], T], repeated)


class Access:
    """A way to the ledger's tables."""

    def __init__(self, connect: Callable[[], Connection]) -> None:
        """`connect` gives a fresh connection, as in `Ledger(lambda: warehouse.connect(settings, "writer"))`."""
        self._connect = connect

    @property
    def connect(self) -> Callable[[], Connection]:
        """What gives a fresh connection, for what lies beside the ledger."""
        return self._connect

    def _rows(self, statement: str, *values: Any) -> list[dict[str, Any]]:
        with self._connect() as conn:
            return conn.cursor(row_factory=dict_row).execute(statement, list(values)).fetchall()
