"""Pseudonyms: the lake knows a user by a keyed hash, and only the CRM's views know the way back.

HMAC-SHA-256 (RFC 2104) over source and raw id, so that the same id in two shops is two users. The key comes from
a file that only its owner may read; its version stands beside every pseudonym.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pyspark.sql import Column

KEY_BYTES = 32
REMEMBERED_USERS = 200_000  # about 40 MB a worker


class IdentityError(Exception):
    """The key file is missing, too short or readable by others."""


def make_key(path: Path) -> None:
    """Write a fresh random key, unless there is one."""
    if path.exists():
        return
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    path.touch(mode=0o600)
    path.write_text(secrets.token_hex(KEY_BYTES) + "\n", encoding="ascii")


def read_key(path: Path) -> bytes:
    """The key.

    Raises:
        IdentityError: no such file, fewer than 32 bytes, or a file that others may read.
    """
    if not path.is_file():
        raise IdentityError(f"identity key {path}: no such file; `make setup` makes one, or restore it from your vault")
    if path.stat().st_mode & 0o077:
        raise IdentityError(
            f"identity key {path}: mode {path.stat().st_mode & 0o777:o}, expected 600; run chmod 600 on it"
        )
    key = bytes.fromhex(path.read_text(encoding="ascii").strip())
    if len(key) < KEY_BYTES:
        raise IdentityError(f"identity key {path}: {len(key)} bytes, expected at least {KEY_BYTES}")
    return key


def pseudonym(key: bytes, source: str, user_id: str) -> str:
    """The user's pseudonym: 64 hex digits."""
    return hmac.new(key, f"{source}\x1f{user_id}".encode(), hashlib.sha256).hexdigest()


def pseudonym_column(key: bytes, source: str, user_id: Column) -> Column:
    """`pseudonym` of a column; null stays null. The key travels inside the function, never in the query plan."""
    # A day's lines are a few users' many times over: a known user costs a look-up, not two hashes.
    known: dict[str, str] = {}

    def remembered(name: str) -> str:
        if name not in known:
            if len(known) > REMEMBERED_USERS:
                known.clear()
            known[name] = pseudonym(key, source, name)
        return known[name]

    return _by_distinct(remembered, user_id)


def keyed_column(key: bytes, purpose: str, text: Column) -> Column:
    """A keyed hash of a column, of 64 hex digits, bound to its purpose; null stays null. Nothing is remembered."""
    return _by_distinct(lambda name: pseudonym(key, purpose, name), text)


def _by_distinct(name_of: Callable[[str], str], column: Column) -> Column:
    """A function of text applied once to each distinct value of a batch."""
    import pyarrow
    from pyspark.sql.pandas.functions import arrow_udf
    from pyspark.sql.types import StringType

    def applied(values: pyarrow.Array) -> pyarrow.Array:
        told = values.dictionary_encode()
        return pyarrow.array([name_of(v) for v in told.dictionary.to_pylist()], pyarrow.string()).take(told.indices)

    # Spark chooses the kind of function by these at run time.
    applied.__annotations__ = {"values": pyarrow.Array, "return": pyarrow.Array}
    return arrow_udf(applied, StringType())(column)  # type: ignore[call-overload, no-any-return]
