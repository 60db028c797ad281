"""A table's contract: what one row is, and for each column its type, meaning, unit and legal values.

Everything else about a table is derived from here: the Spark schema, the Iceberg DDL, the PostgreSQL DDL
and comments, the structural expectations (`rekindle.quality`), the frames of tests and the page in docs/tables.
Reading a contract imports no Spark: types are names, and pyspark is imported only where a schema is asked for.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession
    from pyspark.sql.types import StructType

Type = Literal[
    "string",
    "boolean",
    "int",
    "bigint",
    "double",
    "decimal(38,6)",
    "date",
    "timestamp",
    "array<string>",
    "array<double>",
]
Privacy = Literal["none", "pseudonym", "personal"]

# The one place where a type's names in the two stores meet.
POSTGRES_TYPES: dict[str, str] = {
    "string": "text",
    "boolean": "boolean",
    "int": "integer",
    "bigint": "bigint",
    "double": "double precision",
    "decimal(38,6)": "numeric(38,6)",
    "date": "date",
    "timestamp": "timestamptz",
    "array<string>": "text[]",
    "array<double>": "double precision[]",
}

IDENTIFIER = re.compile(r"[a-z_][a-z0-9_]{0,62}")  # PostgreSQL keeps 63 bytes of a name


class ContractError(Exception):
    """A frame or a contract is not what the contract says; the message lists every fault."""


@dataclass(frozen=True)
class Column:
    """One column: its type, what it means, and what a legal value is.

    `earlier`: of a text column that came later, what holds of the warehouse's rows from before. It may then join the
    key; without, such rows have null.
    """

    name: str
    type: Type
    doc: str
    unit: str | None = None
    nullable: bool = False
    allowed: tuple[str, ...] | None = None
    minimum: float | None = None
    maximum: float | None = None
    privacy: Privacy = "none"
    earlier: str | None = None

    def __post_init__(self) -> None:
        if not IDENTIFIER.fullmatch(self.name):
            raise ContractError(f"column {self.name!r}: a name is lower case letters, digits and underscores")
        if self.type not in POSTGRES_TYPES:
            raise ContractError(f"column {self.name}: type {self.type!r} is none of {', '.join(POSTGRES_TYPES)}")
        if self.nullable and "null" not in self.doc.lower():
            raise ContractError(f"column {self.name} may be null, and its doc does not say what null means")
        if self.earlier is not None and self.type != "string":
            raise ContractError(f"column {self.name}: {self.type} of earlier rows; expected a string column")

    @property
    def meaning(self) -> str:
        """The doc with the unit and the legal values, one sentence each."""
        parts = [self.doc]
        if self.unit:
            parts.append(f"Unit: {self.unit}.")
        if self.allowed:
            parts.append(f"One of: {', '.join(self.allowed)}.")
        if self.minimum is not None or self.maximum is not None:
            low = "-∞" if self.minimum is None else f"{self.minimum:g}"
            high = "∞" if self.maximum is None else f"{self.maximum:g}"
            parts.append(f"Between {low} and {high}.")
        return " ".join(parts)


@dataclass(frozen=True)
class Changes:
    """A table of changes: which table's rows it tells of, and the columns that hold what was before and what is after.

    Such a table also has `user_key`, `change`, `cause` and `compared_date`; the CRM reads all of them as `crm.changes`.
    """

    of: str
    before: str
    after: str


@dataclass(frozen=True)
class Likeness:
    """A table of users as directions: the column that holds them (arrays of doubles of length 1), and the name of the
    CRM's function that finds the users whose directions are nearest to a user's. The table's key is `user_key`.
    """

    vector: str
    function: str


@dataclass(frozen=True)
class Table:
    """One table. The first line of `doc` says what one row is; `partition_by` is a column or an Iceberg transform.

    `served`: it is also staged in the warehouse, so its fingerprint must come out the same there. `version`: of what
    the CRM reads; it rises when a column goes or gets another type, and with nothing else.
    """

    name: str
    doc: str
    key: tuple[str, ...]
    columns: tuple[Column, ...]
    partition_by: str | None = None
    readers: str = "jobs"
    served: bool = False
    version: int = 1
    changes: Changes | None = None
    likeness: Likeness | None = None
    by_name: dict[str, Column] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        names = [c.name for c in self.columns]
        faults = [f"{n} is declared twice" for n in sorted(set(names)) if names.count(n) > 1]
        faults += [f"key column {k} is not declared" for k in self.key if k not in names]
        if self.partition_by is not None and re.sub(r"^\w+\((\w+)\)$", r"\1", self.partition_by) not in names:
            faults.append(f"partition column {self.partition_by} is not declared")
        if not IDENTIFIER.fullmatch(self.name):
            faults.append("a table's name is lower case letters, digits and underscores")
        object.__setattr__(self, "by_name", {c.name: c for c in self.columns})
        faults += [f"key column {k} may be null" for k in self.key if k in names and self.by_name[k].nullable]
        if self.version < 1:
            faults.append(f"version {self.version}; expected 1 or more")
        if self.changes is not None:
            needed = (self.changes.before, self.changes.after, "user_key", "change", "cause", "compared_date")
            faults += [f"column {n} of changes is not declared" for n in needed if n not in names]
            if not IDENTIFIER.fullmatch(self.changes.of):
                faults.append(f"changes of {self.changes.of!r}: expected a table's name")
        if self.likeness is not None:
            directions = self.by_name.get(self.likeness.vector)
            if directions is None or directions.type != "array<double>" or self.key != ("user_key",):
                faults.append(f"likeness by {self.likeness.vector}: expected an array<double> and the key user_key")
            if not IDENTIFIER.fullmatch(self.likeness.function):
                faults.append(f"likeness by function {self.likeness.function!r}: expected a name as a column's")
        if faults:
            raise ContractError(f"table {self.name}: " + "; ".join(faults))

    @property
    def names(self) -> list[str]:
        """Column names in the contract's order."""
        return [c.name for c in self.columns]

    def spark_schema(self) -> StructType:
        """The Spark schema, nullability as declared. Starts no JVM."""
        from pyspark.sql.types import StructField, StructType

        return StructType([StructField(c.name, _spark_type(c.type), c.nullable) for c in self.columns])

    def iceberg_ddl(self, qualified_name: str) -> str:
        """The CREATE TABLE statement of the lake, with comments. Columns are declared nullable there:
        the checks on values, not the store's flags, decide what is published."""
        columns = ",\n  ".join(f"`{c.name}` {c.type} COMMENT {_sql_text(c.meaning)}" for c in self.columns)
        partition = f"\nPARTITIONED BY ({self.partition_by})" if self.partition_by else ""
        # Ids are all different: a dictionary of them is built in vain up to this size (of 2 MB by default). Writing
        # 490,000 events took 1.2 s instead of 1.9 s, and 6 % more space.
        properties = "'format-version'='2', 'write.parquet.dict-size-bytes'='32768'"
        return (
            f"CREATE TABLE IF NOT EXISTS {qualified_name} (\n  {columns}\n) USING iceberg{partition}\n"
            f"COMMENT {_sql_text(self.doc)}\nTBLPROPERTIES ({properties})"
        )

    def postgres_ddl(self, schema: str) -> list[str]:
        """Statements that make the run-scoped table in the warehouse, and its comments.

        Every row carries `run_id` and `source`, and both are part of the primary key: a row written twice is
        a key conflict, never a duplicate.
        """
        columns = ["run_id text NOT NULL", "source text NOT NULL"]
        for c in self.columns:
            columns.append(f"{c.name} {POSTGRES_TYPES[c.type]}{'' if c.nullable else ' NOT NULL'}")
        name = f"{schema}.{self.name}"
        body = ",\n  ".join([*columns, f"PRIMARY KEY (run_id, {', '.join(self.key)})"])
        statements = [f"CREATE TABLE IF NOT EXISTS {name} (\n  {body}\n)"]
        statements.append(f"COMMENT ON TABLE {name} IS {_sql_text(self.doc)}")
        statements += [f"COMMENT ON COLUMN {name}.{c.name} IS {_sql_text(c.meaning)}" for c in self.columns]
        return statements


def conform(df: DataFrame, table: Table) -> DataFrame:
    """Return `df` with exactly the table's columns, in the table's order.

    Helper columns are dropped. Nullability is not checked here (Spark's flag says what may be, not what is);
    `rekindle.quality` looks at the values.

    Raises:
        ContractError: a column is missing or has another type; all faults in one message.
    """
    found = {f.name: f.dataType for f in df.schema.fields}
    faults = []
    for column in table.columns:
        if column.name not in found:
            faults.append(f"{column.name} is missing")
        elif found[column.name].simpleString() != column.type:
            faults.append(f"{column.name} is {found[column.name].simpleString()}, expected {column.type}")
    if faults:
        raise ContractError(f"table {table.name}: " + "; ".join(faults))
    return df.select(*table.names)


def frame(spark: SparkSession, table: Table, *rows: dict[str, Any]) -> DataFrame:
    """A frame of the table from rows that mention only some columns; the rest is null.

    Raises:
        ContractError: a row names a column the contract does not have.
    """
    from pyspark.sql.types import StructField, StructType

    unknown = sorted({name for row in rows for name in row} - set(table.names))
    if unknown:
        raise ContractError(f"table {table.name} has no column {', '.join(unknown)}")
    schema = StructType([StructField(f.name, f.dataType, True) for f in table.spark_schema().fields])
    return spark.createDataFrame([tuple(row.get(name) for name in table.names) for row in rows], schema)


def page(table: Table) -> str:
    """One table as Markdown; `make docs` writes all of them, and a test fails when they are stale."""
    lines = [
        f"# {table.name}",
        "",
        table.doc,
        "",
        f"Key: {', '.join(f'`{k}`' for k in table.key)}. "
        + (f"Partitioned by `{table.partition_by}`. " if table.partition_by else "")
        + f"Read by: {table.readers}.",
        "",
        "| column | type | may be null | privacy | meaning |",
        "|---|---|---|---|---|",
    ]
    for c in table.columns:
        null = "yes" if c.nullable else ""
        privacy = "" if c.privacy == "none" else c.privacy
        lines.append(f"| `{c.name}` | {c.type} | {null} | {privacy} | {c.meaning.replace('|', '/')} |")
    return "\n".join(lines) + "\n"


def _spark_type(name: str) -> Any:
    from pyspark.sql import types as t

    simple = {
        "string": t.StringType(),
        "boolean": t.BooleanType(),
        "int": t.IntegerType(),
        "bigint": t.LongType(),
        "double": t.DoubleType(),
        "decimal(38,6)": t.DecimalType(38, 6),
        "date": t.DateType(),
        "timestamp": t.TimestampType(),
    }
    if name.startswith("array<"):
        return t.ArrayType(simple[name[6:-1]])
    return simple[name]


def _sql_text(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
