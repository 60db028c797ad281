"""A user is known by a keyed pseudonym, and the key is for its owner alone."""

from __future__ import annotations

import hashlib
import hmac
from pathlib import Path
from typing import Any

import pytest

from rekindle.identity import IdentityError, make_key, pseudonym, pseudonym_column, read_key

KEY = bytes(range(32))


def test_a_pseudonym_is_the_keyed_hash_of_source_and_id() -> None:
    found = pseudonym(KEY, "shop", "müller")
    assert found == hmac.new(KEY, "shop\x1fmüller".encode(), hashlib.sha256).hexdigest()
    others = [
        pseudonym(KEY, "shop", "muller"),
        pseudonym(KEY, "shop2", "müller"),
        pseudonym(b"x" * 32, "shop", "müller"),
    ]
    assert len({found, *others}) == 4, "another id, another shop, another key"
    assert pseudonym(KEY, "shop", "a") != pseudonym(KEY, "sho", "pa")


def test_the_column_says_what_the_function_says_and_null_stays_null(spark: Any) -> None:
    raw = ["17850", "", None, "x\ny", "17850"]
    df = spark.createDataFrame([(r,) for r in raw], "user_id string")
    keyed = df.select(pseudonym_column(KEY, "shop", df["user_id"]).alias("key"))
    assert [row.key for row in keyed.collect()] == [None if r is None else pseudonym(KEY, "shop", r) for r in raw]
    plan = keyed._jdf.queryExecution().toString()
    assert KEY.hex() not in plan
    assert "000102030405" not in plan


def test_a_key_is_made_once_and_read_back(tmp_path: Path) -> None:
    path = tmp_path / "secrets" / "key"
    make_key(path)
    made = read_key(path)
    make_key(path)
    assert read_key(path) == made
    assert (len(made), path.stat().st_mode & 0o777) == (32, 0o600)


def test_a_key_that_is_missing_open_to_others_or_short_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "key"
    with pytest.raises(IdentityError, match="no such file; `make setup` makes one"):
        read_key(path)
    path.write_text("ab" * 31)
    path.chmod(0o640)
    with pytest.raises(IdentityError, match="mode 640, expected 600; run chmod 600"):
        read_key(path)
    path.chmod(0o600)
    with pytest.raises(IdentityError, match="31 bytes, expected at least 32"):
        read_key(path)
