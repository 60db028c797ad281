"""A fingerprint says whether two stores hold the same rows: Spark, PostgreSQL and independent readings agree on it."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from functools import reduce
from typing import Any

import duckdb
import pytest
from hypothesis import HealthCheck, Phase, example, given, settings
from hypothesis import strategies as st

from rekindle import contract, fingerprint, warehouse
from rekindle.contract import Column, Table
from rekindle.fingerprint import Fingerprint
from tests.rekindle.warehouse_shop import batch

ALL_TYPES = Table(
    name="all_types",
    doc="One row per id, a column of every type.",
    key=("id",),
    served=True,
    columns=(
        Column("id", "bigint", "Id."),
        Column("a_string", "string", "May be null.", nullable=True),
        Column("b_string", "string", "May be null.", nullable=True),
        Column("a_boolean", "boolean", "May be null.", nullable=True),
        Column("an_int", "int", "May be null.", nullable=True),
        Column("a_double", "double", "May be null.", nullable=True),
        Column("a_decimal", "decimal(38,6)", "May be null.", nullable=True),
        Column("a_date", "date", "May be null.", nullable=True),
        Column("a_timestamp", "timestamp", "May be null.", nullable=True),
        Column("strings", "array<string>", "May be null.", nullable=True),
        Column("doubles", "array<double>", "May be null.", nullable=True),
    ),
)
Row = dict[str, Any]
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

FULL: Row = {
    "id": 1,
    "a_string": "Straße",
    "b_string": "x",
    "a_boolean": True,
    "an_int": 7,
    "a_double": 0.25,
    "a_decimal": Decimal("-12345678901234567890.5"),
    "a_date": date(2026, 4, 30),
    "a_timestamp": datetime(2026, 4, 30, 22, 0, 0, 1, tzinfo=UTC),
    "strings": ["a", "b"],
    "doubles": [0.5, 0.25],
}
AWKWARD: list[Row] = [
    {"id": 0},
    FULL,
    {"id": 2, "a_string": "\\N", "b_string": "", "strings": [], "doubles": []},
    {
        "id": 3,
        "a_string": 'quote " comma , brace } \\ line\nbreak\ttab',
        "strings": ['a"b', "c\\d", "{,}", "", "NULL", " "],
    },
    {"id": 4, "a_string": "\x1f", "b_string": "\x1e", "strings": ["\x1e", "a\x1fb", None], "doubles": [None]},
    {"id": 5, "a_double": math.nan, "doubles": [math.nan, math.inf, -math.inf]},
    {"id": 6, "a_double": math.inf},
    {"id": 7, "a_double": -math.inf},
    {"id": 8, "a_double": -0.0, "a_boolean": False, "an_int": -(2**31)},
    {"id": 9, "a_double": 8.99e12, "doubles": [9.0e12, -9.0e12, 8.9e18, 9.0e18, -9.0e18, 1e300, 5e-324]},
    {
        "id": 10,
        "a_double": -1e-9,
        "a_date": date(1, 1, 1),
        "a_timestamp": datetime(1899, 12, 31, 23, 59, 59, 999999, UTC),
    },
    {"id": 2**63 - 1, "a_string": "😀 日本語 \u200f", "a_date": date(9999, 12, 31)},
]

TEXT = st.text(st.characters(exclude_categories=("Cs",), exclude_characters="\x00"), max_size=6)
DOUBLE = st.floats(width=64)


def none_or(strategy: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.none() | strategy


ROW = st.fixed_dictionaries(
    {
        "a_string": none_or(TEXT),
        "b_string": none_or(TEXT),
        "a_boolean": none_or(st.booleans()),
        "an_int": none_or(st.integers(-(2**31), 2**31 - 1)),
        "a_double": none_or(DOUBLE),
        "a_decimal": none_or(st.decimals(-(10**30), 10**30, places=6)),
        "a_date": none_or(st.dates(date(1900, 1, 1), date(2100, 1, 1))),
        "a_timestamp": none_or(st.datetimes(datetime(1950, 1, 1), datetime(2100, 1, 1), timezones=st.just(UTC))),  # noqa: DTZ001
        "strings": none_or(st.lists(none_or(TEXT), max_size=3)),
        "doubles": none_or(st.lists(none_or(DOUBLE), max_size=3)),
    }
)


def rows_of(fewest: int, most: int) -> st.SearchStrategy[list[Row]]:
    numbered = st.lists(ROW, min_size=fewest, max_size=most)
    return numbered.map(lambda rows: [{"id": n, **row} for n, row in enumerate(rows)])


# ---------------------------------------------------------------------- three readings


def from_definition(rows: Sequence[Row]) -> Fingerprint:
    """The module's docstring, once more, in plain Python."""

    def text(value: Any, kind: str) -> str:
        if value is None:
            return "\\N"
        if kind.startswith("array<"):
            return "\x1e".join([str(len(value)), *(text(v, kind[6:-1]) for v in value)]) + ("" if value else "\x1e")
        if kind == "string":
            return str(value).replace("\\", "\\\\").replace("\x1f", "\\u").replace("\x1e", "\\e")
        if kind == "boolean":
            return "t" if value else "f"
        if kind == "double":
            if math.isnan(value):
                return "nan"
            if abs(value) < 9e12:
                return str(math.floor(value * 1e6 + 0.5))
            if abs(value) < 9e18:
                return f"u{math.floor(value)}"
            return "+huge" if value > 0 else "-huge"
        if kind == "decimal(38,6)":
            return f"{value:.6f}"
        if kind == "date":
            return str((value - date(1970, 1, 1)).days)
        if kind == "timestamp":
            return str((value - EPOCH) // timedelta(microseconds=1))
        return str(value)

    hashes = []
    for row in rows:
        line = "\x1f".join(text(row.get(c.name), c.type) for c in ALL_TYPES.columns)
        hashes.append(int(hashlib.md5(line.encode()).hexdigest()[:15], 16))  # noqa: S324 (not a secret)
    keys = len({row["id"] for row in rows})
    return Fingerprint(len(rows), keys, sum(hashes), reduce(lambda a, b: a ^ b, hashes, 0))


def from_duckdb(rows: Sequence[Row]) -> Fingerprint:
    """A third engine."""
    import pyarrow as pa

    rows_table = pa.Table.from_batches([batch(ALL_TYPES, rows)])
    escaped = "replace(replace(replace({0}, '\\', '\\\\'), chr(31), '\\u'), chr(30), '\\e')"
    one = (
        "CASE WHEN isnan({0}) THEN 'nan'"
        " WHEN abs({0}) < 9e12::DOUBLE THEN floor({0} * 1e6::DOUBLE + 0.5::DOUBLE)::BIGINT::VARCHAR"
        " WHEN abs({0}) < 9e18::DOUBLE THEN 'u' || floor({0})::BIGINT::VARCHAR"
        " WHEN {0} > 0 THEN '+huge' ELSE '-huge' END"
    )
    listed = (
        "len({0})::VARCHAR || chr(30) || array_to_string(list_transform({0}, lambda e: coalesce({1}, '\\N')), chr(30))"
    )
    texts = {
        "string": escaped,
        "boolean": "CASE WHEN {0} THEN 't' WHEN NOT {0} THEN 'f' END",
        "double": f"CASE WHEN {{0}} IS NOT NULL THEN {one} END",
        "date": "({0} - DATE '1970-01-01')::VARCHAR",
        "timestamp": "epoch_us({0})::VARCHAR",
        "array<string>": listed.replace("{1}", escaped.format("e")),
        "array<double>": listed.replace("{1}", f"CASE WHEN e IS NOT NULL THEN {one.format('e')} END"),
    }
    columns = ", ".join(
        f"coalesce({texts.get(c.type, '{0}::VARCHAR').format(c.name)}, '\\N')" for c in ALL_TYPES.columns
    )
    statement = (
        "SELECT count(*), count(DISTINCT id), coalesce(sum(h), 0), coalesce(bit_xor(h), 0) FROM"
        f" (SELECT id, ('0x' || substr(md5(concat_ws(chr(31), {columns})), 1, 15))::BIGINT AS h FROM rows_table)"
    )
    with duckdb.connect() as engine:
        engine.execute("SET TimeZone = 'UTC'")
        engine.register("rows_table", rows_table)
        found = engine.execute(statement).fetchone()
    assert found is not None
    return Fingerprint(found[0], found[1], int(found[2]), int(found[3]))


@pytest.fixture(scope="module")
def staged(environment: Any) -> Any:
    """What PostgreSQL says of rows that went through our COPY."""
    with warehouse.connect(environment, "owner") as conn:
        for statement in ALL_TYPES.postgres_ddl("serve"):
            conn.execute(statement)  # type: ignore[call-overload]

    def of(rows: Sequence[Row]) -> Fingerprint:
        with warehouse.connect(environment, "owner") as conn:
            warehouse.copy_batches(conn, ALL_TYPES, "r", "s", [batch(ALL_TYPES, rows)])
            return fingerprint.of_staged(conn, ALL_TYPES, "r")

    return of


def of_spark(spark: Any, rows: Sequence[Row]) -> Fingerprint:
    return fingerprint.of_frame(contract.frame(spark, ALL_TYPES, *rows), ALL_TYPES)


# ---------------------------------------------------------------------- sentences


def test_all_engines_agree_on_the_awkward_rows(spark: Any, staged: Any) -> None:
    expected = from_definition(AWKWARD)
    assert expected.rows == expected.keys == len(AWKWARD)
    assert of_spark(spark, AWKWARD) == expected
    assert staged(AWKWARD) == expected
    assert from_duckdb(AWKWARD) == expected


# Few examples of many rows: a Spark job costs over a second whatever it is given.
@settings(
    max_examples=3, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck), phases=[Phase.generate]
)
@given(rows=rows_of(40, 80))
def test_spark_and_the_warehouse_agree_on_any_rows(spark: Any, staged: Any, rows: list[Row]) -> None:
    expected = from_definition(rows)
    assert of_spark(spark, rows) == expected
    assert staged(rows) == expected


@settings(max_examples=60, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(rows=rows_of(0, 8))
@example(rows=[])
def test_the_warehouse_and_duckdb_agree_on_any_rows(staged: Any, rows: list[Row]) -> None:
    expected = from_definition(rows)
    assert staged(rows) == expected
    assert from_duckdb(rows) == expected


def test_an_empty_tables_fingerprint_is_all_zeros(spark: Any, staged: Any) -> None:
    nothing = Fingerprint(0, 0, 0, 0)
    assert of_spark(spark, []) == nothing
    assert staged([]) == nothing


def test_order_does_not_matter(staged: Any) -> None:
    assert staged(AWKWARD) == staged(AWKWARD[::-1])


@pytest.mark.parametrize(
    ("column", "other"),
    [
        ("a_string", "Strasse"),
        ("a_string", None),
        ("a_boolean", False),
        ("an_int", 8),
        ("a_double", 0.250001),
        ("a_double", math.nan),
        ("a_double", None),
        ("a_date", date(2026, 5, 1)),
        ("a_timestamp", datetime(2026, 4, 30, 22, 0, 0, 2, tzinfo=UTC)),
        ("strings", ["b", "a"]),
        ("strings", ["a", "b", None]),
        ("strings", ["a\x1eb"]),
        ("strings", None),
        ("doubles", [0.25, 0.5]),
    ],
)
def test_any_changed_cell_changes_it(staged: Any, column: str, other: Any) -> None:
    assert staged([FULL]) != staged([{**FULL, column: other}])


def test_text_cannot_move_from_one_column_to_the_next_unseen(staged: Any) -> None:
    assert staged([{"id": 1, "a_string": "x\x1fy", "b_string": "z"}]) != staged(
        [{"id": 1, "a_string": "x", "b_string": "y\x1fz"}]
    )
    assert staged([{"id": 1, "strings": []}]) != staged([{"id": 1, "strings": [""]}])
    assert staged([{"id": 1, "a_string": None}]) != staged([{"id": 1, "a_string": "\\N"}])


def test_one_row_lost_and_another_doubled_shows_though_the_count_does_not(spark: Any) -> None:
    rows = [{"id": n} for n in range(10)]
    doubled = rows[1:] + rows[-1:]
    right, wrong = of_spark(spark, rows), of_spark(spark, doubled)
    assert right.rows == wrong.rows
    assert (right.keys, right.hash_sum, right.hash_xor) != (wrong.keys, wrong.hash_sum, wrong.hash_xor)
    assert wrong.keys == 9


def test_a_table_that_stays_in_the_lake_shows_each_changed_cell_and_adds_up_night_by_night(spark: Any) -> None:
    lake_only = replace(ALL_TYPES, served=False)

    def of(*rows: Row) -> Fingerprint:
        return fingerprint.of_frame(contract.frame(spark, lake_only, *rows), lake_only)

    changes = [
        {"a_string": "x", "b_string": "Straße"},
        {"a_string": None},
        {"a_string": None, "b_string": "Straße"},
        {"a_double": 0.250001},
        {"a_double": None, "an_int": None},
        {"a_date": None},
        {"strings": ["b", "a"]},
    ]
    found = [of(FULL), *[of({**FULL, **change}) for change in changes]]
    assert len({f.hash_sum for f in found}) == len(found)
    assert of({**FULL, "a_double": 0.0}) == of({**FULL, "a_double": -0.0})
    first, second = AWKWARD[:3], AWKWARD[3:]
    assert of(*first) + of(*second) == of(*AWKWARD)
    assert of(*AWKWARD, AWKWARD[0]).keys == len(AWKWARD)
