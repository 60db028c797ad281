"""Every key has one number, and every number one key."""

from __future__ import annotations

import hashlib
from typing import Any

import pytest

from rekindle.methods.dense_ids import dense_ids, sorted_keys


def keys_of(count: int) -> list[str]:
    return [hashlib.sha256(str(n).encode()).hexdigest()[:12] for n in range(count)]


def numbered(frame: Any, **more: Any) -> dict[Any, int]:
    return dict(dense_ids(frame, "user_key", **more).collect())


def test_ids_are_the_places_of_the_sorted_keys(spark: Any) -> None:
    keys = keys_of(2000)
    users = spark.createDataFrame([(key,) for key in keys + keys[:500]], "user_key string")  # some come twice
    expected = {key: place for place, key in enumerate(sorted(keys))}
    assert numbered(users) == expected
    assert sorted_keys(users, "user_key", 2000) == sorted(keys)


def test_partitions_order_and_ranges_change_no_id(spark: Any) -> None:
    keys = keys_of(700)
    users = spark.createDataFrame([(key,) for key in keys], "user_key string")
    backwards = spark.createDataFrame([(key,) for key in reversed(keys)], "user_key string").repartition(7, "user_key")
    once = numbered(users, ranges=16)
    assert numbered(backwards, ranges=5) == once
    assert numbered(users.coalesce(1), ranges=1) == once


def test_keys_with_one_beginning_and_whole_numbers_work_too(spark: Any) -> None:
    alike = ["user-" + "é" * n for n in range(40)] + ["user-", "Z", "user-\U0001f600", "user-\uffee"]
    found = numbered(spark.createDataFrame([(key,) for key in alike], "user_key string"))
    assert found == {key: place for place, key in enumerate(sorted(set(alike)))}
    numbers = spark.createDataFrame([(n * 7 % 101,) for n in range(101)], "user_key bigint")
    assert numbered(numbers) == {n: n for n in range(101)}


def test_numbers_beyond_32_bits_are_numbered_like_any_other_key(spark: Any) -> None:
    """F83: Spark's ALS throws CAST_OVERFLOW on them; the ids it is given here are places."""
    far = [2**31 - 1, 2**31, 2**40 + 7, 2**62, -(2**50)]
    assert numbered(spark.createDataFrame([(key,) for key in far], "user_key bigint")) == {
        key: place for place, key in enumerate(sorted(far))
    }


def test_no_users_have_no_ids(spark: Any) -> None:
    assert numbered(spark.createDataFrame([], "user_key string")) == {}


def test_a_user_without_a_key_is_refused(spark: Any) -> None:
    users = spark.createDataFrame([("a",), (None,)], "user_key string")
    with pytest.raises(ValueError, match="user_key is null in some rows"):
        dense_ids(users, "user_key")
    with pytest.raises(ValueError, match="user_key is null in some rows"):
        sorted_keys(users, "user_key", 10)


def test_a_catalogue_that_is_too_long_for_the_driver_is_refused(spark: Any) -> None:
    items = spark.createDataFrame([(key,) for key in keys_of(12)], "item_id string")
    with pytest.raises(ValueError, match="more than 11 distinct"):
        sorted_keys(items, "item_id", 11)
