"""The warehouse's run-scoped tables as their contracts say: made where there is none, grown where there is one.

Growing is additive: a column more, and a key that has it. Anything else is told, and left to who owns the warehouse.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from psycopg import sql

from rekindle import warehouse_tables, warehouse_vectors
from rekindle.contract import Column, Table

if TYPE_CHECKING:
    from rekindle.warehouse import Connection


def make_table(conn: Connection, table: Table, change: bool) -> list[str]:
    """The run-scoped table; what differs from the contract and was not mended, in words. `change` mends."""
    found: dict[str, str] = dict(
        conn.execute(
            "SELECT attname, format_type(atttypid, atttypmod) FROM pg_attribute"
            " WHERE attrelid = to_regclass(%s) AND attnum > 0 AND NOT attisdropped",
            [f"serve.{table.name}"],
        ).fetchall()
    )
    differences = []
    for column in table.columns if found else ():
        expected = warehouse_tables.formatted_type(column)
        if column.name not in found and change:
            _add_column(conn, table, column)
        elif column.name not in found:
            differences.append(f"serve.{table.name} lacks column {column.name}")
        elif found[column.name] != expected:
            differences.append(f"serve.{table.name}.{column.name} is {found[column.name]}, expected {expected}")
    gone = sorted(set(found) - set(table.names) - {"run_id", "source"} - warehouse_vectors.own_columns(table))
    differences += [f"serve.{table.name} has column {name}, which the contract does not know" for name in gone]
    if found and not differences:
        differences = _make_key(conn, table, change)
    if not differences:
        for statement in table.postgres_ddl("serve"):
            conn.execute(statement)
    return differences


def _add_column(conn: Connection, table: Table, column: Column) -> None:
    """The column where older runs have rows: what the contract says of earlier rows, else null, for the checks guard
    newer ones. Either is a fact of the catalogue, and no row is written again."""
    where, name = sql.Identifier("serve", table.name), sql.Identifier(column.name)
    kind = sql.SQL(warehouse_tables.formatted_type(column))
    if column.earlier is None:
        conn.execute(sql.SQL("ALTER TABLE {} ADD COLUMN {} {}").format(where, name, kind))
        return
    added = sql.SQL("ALTER TABLE {} ADD COLUMN {} {} NOT NULL DEFAULT {}")
    conn.execute(added.format(where, name, kind, sql.Literal(column.earlier)))
    # A row that comes without a value is a fault, not one from before.
    conn.execute(sql.SQL("ALTER TABLE {} ALTER COLUMN {} DROP DEFAULT").format(where, name))


def _make_key(conn: Connection, table: Table, change: bool) -> list[str]:
    """The primary key as the contract says; what differs and was not mended, in words. A key may only grow: rows that
    were apart by fewer columns are apart by more."""
    keys: list[tuple[str, list[str]]] = conn.execute(
        "SELECT conname, (SELECT array_agg(attname::text ORDER BY place) FROM unnest(conkey)"
        " WITH ORDINALITY k (n, place) JOIN pg_attribute ON attrelid = conrelid AND attnum = n) FROM pg_constraint"
        " WHERE conrelid = to_regclass(%s) AND contype = 'p'",
        [f"serve.{table.name}"],
    ).fetchall()
    expected = ["run_id", *table.key]
    for name, columns in keys:
        if set(columns) == set(expected):
            return []
        if change and set(columns) < set(expected):
            grown = sql.SQL("ALTER TABLE {} DROP CONSTRAINT {}, ADD PRIMARY KEY ({})").format(
                sql.Identifier("serve", table.name),
                sql.Identifier(name),
                sql.SQL(", ").join(map(sql.Identifier, expected)),
            )
            conn.execute(grown)
            return []
    found = ", ".join(keys[0][1]) if keys else "none"
    return [f"serve.{table.name} has the key {found}, expected {', '.join(expected)}"]
