"""Users like a user: a function of the CRM's over a table of directions, where PostgreSQL has pgvector.

The table keeps its vectors a second time as pgvector's own type, in a generated column that no contract names. The
function runs with its owner's rights, since it resolves pseudonyms, and gives what the views would give: users of the
served run who are not held out. It looks at every user of the run (docs/decisions/0038): of 100,000 with 32 numbers
each in 0.25 s, where an index took three minutes to be made.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from psycopg import errors, sql

from rekindle.contract import Likeness, Table

if TYPE_CHECKING:
    from rekindle.warehouse import Connection

EXTENSION = "vector"
HOME = "pgvector"  # the schema it is made in; where it is made already, it stays
COLUMN = "embedding"
MOST = 1000  # users that one call gives
ARGUMENTS = "of_source text, of_user_id text, n integer"
RESULTS = "user_id text, similarity double precision, run_id text, published_at timestamptz, data_through timestamptz"
MISSING = (
    "PostgreSQL has no extension vector (pgvector) here: crm.{} is not made, and everything else works; install it on"
    " the server and call `make migrate` again"
)


def make(conn: Connection, tables: Sequence[Table], change: bool) -> None:
    """Make the extension, the column and the function of each table that has a likeness; what is there stays.

    Nothing is made where the server lacks the extension or the owner may not create it. A table with rows gets its
    column only with `change`: its rows are written anew while nobody reads.
    """
    for table in tables:
        if table.likeness is None or not _extension(conn):
            continue
        [(home,)] = conn.execute(
            "SELECT n.nspname FROM pg_extension e JOIN pg_namespace n ON n.oid = e.extnamespace WHERE extname = %s",
            [EXTENSION],
        ).fetchall()
        if _has_column(conn, table, change, home):
            _make_function(conn, table, table.likeness, home)


def missing(conn: Connection, tables: Sequence[Table]) -> list[str]:
    """For each function that is not there, why and what to do, on one line."""
    return [
        MISSING.format(table.likeness.function)
        for table in tables
        if table.likeness is not None
        and conn.execute("SELECT to_regprocedure(%s)", [_signature(table.likeness)]).fetchone() == (None,)
    ]


def own_columns(table: Table) -> set[str]:
    """The columns of the staged table that its contract does not name."""
    return {COLUMN} if table.likeness is not None else set()


def body(table: Table, home: str) -> str:
    """The function's one statement. Of equally near users the first by id.

    Users are sorted by nearness before they are looked up (`OFFSET 0` and `LIMIT 1` keep that order of work), so that
    only as many are looked up as come out.
    """
    likeness = table.likeness
    assert likeness is not None  # noqa: S101 - a type for mypy: only tables with one get here
    nearness = f"OPERATOR({home}.<#>)"  # the negative inner product: of vectors of length 1, less the cosine
    return f"""
WITH asked AS (
  SELECT p.source, p.run_id, p.key_version, p.holdout_share, p.published_at, p.data_through, k.user_key, t.{COLUMN}
  FROM serve.pointers p
    JOIN vault.user_keys k ON k.source = p.source AND k.key_version = p.key_version AND k.user_id = of_user_id
      AND k.holdout_draw >= p.holdout_share
    JOIN serve.{table.name} t ON t.source = p.source AND t.run_id = p.run_id AND t.user_key = k.user_key
  WHERE p.source = of_source
)
SELECT k.user_id, -near.less, near.run_id, near.published_at, near.data_through
FROM (
    SELECT a.*, t.user_key AS other_key, t.{COLUMN} {nearness} a.{COLUMN} AS less
    FROM asked a JOIN serve.{table.name} t ON t.run_id = a.run_id AND t.source = a.source AND t.user_key <> a.user_key
    ORDER BY less OFFSET 0
  ) near
  CROSS JOIN LATERAL (
    SELECT user_id FROM vault.user_keys WHERE source = near.source AND key_version = near.key_version
      AND user_key = near.other_key AND holdout_draw >= near.holdout_share LIMIT 1
  ) k
ORDER BY near.less, k.user_id
LIMIT least(greatest(n, 0), {MOST})
"""  # noqa: S608 (our own names)


def _extension(conn: Connection) -> bool:
    """Whether the extension is there, made now if it can be."""
    if conn.execute("SELECT 1 FROM pg_extension WHERE extname = %s", [EXTENSION]).fetchone():
        return True
    if not conn.execute("SELECT 1 FROM pg_available_extensions WHERE name = %s", [EXTENSION]).fetchone():
        return False
    try:
        with conn.transaction():
            conn.execute(sql.SQL("CREATE SCHEMA IF NOT EXISTS {}").format(sql.Identifier(HOME)))
            conn.execute(
                sql.SQL("CREATE EXTENSION {} SCHEMA {}").format(sql.Identifier(EXTENSION), sql.Identifier(HOME))
            )
    except errors.InsufficientPrivilege:
        return False
    return True


def _has_column(conn: Connection, table: Table, change: bool, home: str) -> bool:
    """Whether the table has the generated column, made now if it may be."""
    name = sql.Identifier("serve", table.name)
    if conn.execute(
        "SELECT 1 FROM pg_attribute WHERE attrelid = to_regclass(%s) AND attname = %s AND NOT attisdropped",
        [f"serve.{table.name}", COLUMN],
    ).fetchone():
        return True
    if not change and conn.execute(sql.SQL("SELECT 1 FROM {} LIMIT 1").format(name)).fetchone():
        return False
    assert table.likeness is not None  # noqa: S101 - a type for mypy: only tables with one get here
    kind = sql.Identifier(home, "vector")
    vector = sql.Identifier(table.likeness.vector)
    conn.execute(
        sql.SQL("ALTER TABLE {} ADD COLUMN {} {} GENERATED ALWAYS AS ({}::{}) STORED").format(
            name, sql.Identifier(COLUMN), kind, vector, kind
        )
    )
    return True


def _make_function(conn: Connection, table: Table, likeness: Likeness, home: str) -> None:
    wanted = body(table, home)
    found = conn.execute(
        "SELECT prosrc FROM pg_proc WHERE oid = to_regprocedure(%s)::oid", [_signature(likeness)]
    ).fetchone()
    if found == (wanted,):
        return
    name = sql.Identifier("crm", likeness.function)
    conn.execute(
        sql.SQL(
            "CREATE OR REPLACE FUNCTION {}({} DEFAULT 10) RETURNS TABLE ({}) LANGUAGE sql STABLE SECURITY DEFINER"
            " SET search_path = pg_catalog SET work_mem = '32MB' ROWS 10 AS {}"
        ).format(name, sql.SQL(ARGUMENTS), sql.SQL(RESULTS), sql.Literal(wanted))
    )
    doc = (
        f"Up to n users (10, at most {MOST}) of the served run whose tastes are most like the user's, nearest first:"
        " similarity is the cosine of the two directions, -1 to 1. None for a user without a direction."
    )
    signature = sql.SQL("{}(text, text, integer)").format(name)
    conn.execute(sql.SQL("COMMENT ON FUNCTION {} IS {}").format(signature, sql.Literal(doc)))
    conn.execute(sql.SQL("REVOKE ALL ON FUNCTION {} FROM PUBLIC").format(signature))
    conn.execute(sql.SQL("GRANT EXECUTE ON FUNCTION {} TO crm_reader").format(signature))


def _signature(likeness: Likeness) -> str:
    return f"crm.{likeness.function}(text, text, integer)"
