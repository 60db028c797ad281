"""A contract says what a table is, and everything that is derived from it says the same."""

from __future__ import annotations

from typing import Any

import pytest

from rekindle.contract import Column, ContractError, Table, conform, frame, page
from schemas.catalogue import LAKE, SERVED

PETS = Table(
    name="pets",
    doc="One row per pet; it's somebody's.",
    key=("owner", "name"),
    partition_by="months(born)",
    columns=(
        Column("owner", "string", "Whose.", privacy="pseudonym"),
        Column("name", "string", "What it is called."),
        Column("born", "date", "When; null if found.", nullable=True),
        Column("weight", "double", "How heavy.", "kg", minimum=0, maximum=90.5),
        Column("kind", "string", "What | it is.", allowed=("cat", "dog")),
        Column("tags", "array<string>", "Words."),
    ),
)


def test_the_lakes_table_has_the_contracts_columns_comments_and_partition() -> None:
    ddl = PETS.iceberg_ddl("lake.shop.pets")
    assert ddl == (
        "CREATE TABLE IF NOT EXISTS lake.shop.pets (\n"
        "  `owner` string COMMENT 'Whose.',\n"
        "  `name` string COMMENT 'What it is called.',\n"
        "  `born` date COMMENT 'When; null if found.',\n"
        "  `weight` double COMMENT 'How heavy. Unit: kg. Between 0 and 90.5.',\n"
        "  `kind` string COMMENT 'What | it is. One of: cat, dog.',\n"
        "  `tags` array<string> COMMENT 'Words.'\n"
        ") USING iceberg\nPARTITIONED BY (months(born))\n"
        "COMMENT 'One row per pet; it''s somebody''s.'\n"
        "TBLPROPERTIES ('format-version'='2', 'write.parquet.dict-size-bytes'='32768')"
    )


def test_the_warehouses_table_is_keyed_by_run_and_its_comments_are_the_contracts() -> None:
    create, on_table, *on_columns = PETS.postgres_ddl("serve")
    assert create == (
        "CREATE TABLE IF NOT EXISTS serve.pets (\n  run_id text NOT NULL,\n  source text NOT NULL,\n"
        "  owner text NOT NULL,\n  name text NOT NULL,\n  born date,\n  weight double precision NOT NULL,\n"
        "  kind text NOT NULL,\n  tags text[] NOT NULL,\n  PRIMARY KEY (run_id, owner, name)\n)"
    )
    assert on_table == "COMMENT ON TABLE serve.pets IS 'One row per pet; it''s somebody''s.'"
    assert on_columns[2] == "COMMENT ON COLUMN serve.pets.born IS 'When; null if found.'"
    assert len(on_columns) == len(PETS.columns)


def test_the_page_shows_every_column_and_a_bar_does_not_break_its_table() -> None:
    told = page(PETS)
    assert told.startswith("# pets\n\nOne row per pet; it's somebody's.\n\nKey: `owner`, `name`. Partitioned by ")
    assert "| `born` | date | yes |  | When; null if found. |" in told
    assert "| `kind` | string |  |  | What / it is. One of: cat, dog. |" in told
    assert "| `owner` | string |  | pseudonym | Whose. |" in told
    assert {line.count("|") for line in told.splitlines() if line.startswith("|")} == {6}


@pytest.mark.parametrize(
    ("faulty", "message"),
    [
        (lambda: Column("Name", "string", "x"), "column 'Name': a name is lower case letters"),
        (lambda: Column("n", "text", "x"), "column n: type 'text' is none of string"),  # type: ignore[arg-type]
        (lambda: Column("n", "int", "How many.", nullable=True), "n may be null, and its doc does not say"),
        (
            lambda: Column("n", "int", "How many.", earlier="1"),
            "column n: int of earlier rows; expected a string column",
        ),
        (
            lambda: Table(
                name="my-pets",
                doc="x",
                key=("a", "b"),
                partition_by="days(c)",
                columns=(Column("a", "int", "null", nullable=True), Column("a", "int", "null", nullable=True)),
            ),
            "table my-pets: a is declared twice; key column b is not declared; partition column days.c. is not"
            " declared; a table's name is lower case letters, digits and underscores; key column a may be null",
        ),
    ],
)
def test_a_faulty_contract_is_told_every_fault(faulty: Any, message: str) -> None:
    with pytest.raises(ContractError, match=message):
        faulty()


def test_every_null_of_every_table_is_explained_and_every_column_documented() -> None:
    unexplained = [
        f"{t.name}.{c.name}"
        for t in LAKE
        for c in t.columns
        if not c.doc.strip().endswith(".") or (c.nullable and "null" not in c.doc)
    ]
    assert unexplained == []
    assert all(table.doc.startswith("One row per ") for table in LAKE)
    assert all("CRM" in table.readers for table in SERVED)


def test_the_spark_schema_says_types_and_nulls_as_declared() -> None:
    schema = PETS.spark_schema()
    assert [(f.name, f.dataType.simpleString(), f.nullable) for f in schema] == [
        (c.name, c.type, c.nullable) for c in PETS.columns
    ]


def test_a_frame_mentions_only_some_columns_and_no_unknown_one(spark: Any) -> None:
    (row,) = frame(spark, PETS, {"name": "Rex", "weight": 3.0}).collect()
    assert row.asDict() == dict.fromkeys(PETS.names) | {"name": "Rex", "weight": 3.0}
    with pytest.raises(ContractError, match="table pets has no column colour, size"):
        frame(spark, PETS, {"name": "Rex", "size": 1}, {"colour": "red"})


def test_conforming_drops_helpers_orders_columns_and_lists_all_faults(spark: Any) -> None:
    made = frame(spark, PETS, {"name": "Rex"})
    turned = made.select("tags", "kind", "weight", "born", "name", "owner").withColumn("helper", made["name"])
    assert conform(turned, PETS).columns == PETS.names
    faulty = made.drop("kind").withColumn("weight", made["weight"].cast("string"))
    with pytest.raises(ContractError) as refused:
        conform(faulty, PETS)
    assert str(refused.value) == "table pets: weight is string, expected double; kind is missing"
