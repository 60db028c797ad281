"""The warehouse: connections by role, its making, and the staging of a run's rows.

Four schemas: `ops` (the ledger), `serve` (rows of every kept run, the pointer, the publications), `vault` (pseudonym
to user id), `crm` (views: the only thing the CRM's role sees). Rows are staged under their run id, which is part of
every primary key; what is served is decided by one pointer row a source (`rekindle.publication`).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import psycopg
from psycopg import sql
from psycopg.errors import DuplicateDatabase, InvalidCatalogName, InvalidPassword
from psycopg.rows import TupleRow

from rekindle import embedded, identity, warehouse_growth, warehouse_tables, warehouse_vectors, warehouse_views
from rekindle.contract import Table
from rekindle.methods import holdout
from rekindle.settings import Environment, Settings, home

if TYPE_CHECKING:
    import pyarrow as pa

Role = Literal["owner", "writer", "analyst", "crm_reader", "crm_writer"]
Connection = psycopg.Connection[TupleRow]

OTHER_ROLES: tuple[Role, ...] = ("writer", "analyst", "crm_reader", "crm_writer")
OUR_OWN: tuple[Role, ...] = ("owner", "writer")  # whose sessions get their limits here; the others' are their role's
CONNECT_SECONDS = 10
LOCK_TIMEOUT = "5s"
# One statement of a night, a streaming COPY included. 600,000 rows of recommendations took 6 s on two busy cores.
STATEMENT_TIMEOUT = "10min"
# A publisher that was stopped inside its transaction loses it, and with it the pointer's lock.
IDLE_TIMEOUT = "60s"
# Seconds without an answer after which a connection is given up: a server that hangs keeps its kernel answering, so
# neither keepalives nor timeouts of its own end that. Above STATEMENT_TIMEOUT: a slow answer is not a lost one.
SILENCE_SECONDS = 630.0
SLICE_ROWS = 20_000  # rows turned into text at once: a few MB
MAINTAIN_SINCE = 170000  # the server version from which on others than the owner may be let analyse a table
MIGRATION_LOCK = 0x72656B69  # "reki"


class WarehouseError(Exception):
    """The warehouse is not as expected: what was found, what was expected, what to do."""


class Session(psycopg.Connection[TupleRow]):
    """A connection that is closed when the server has not answered for `silence` seconds."""

    silence = SILENCE_SECONDS

    def wait(self, gen: Any, interval: float = 0.1, timeout: float | None = None) -> Any:
        """Wait for one answer of the server.

        Raises:
            psycopg.OperationalError: none came; nobody knows what the server did with the question.
        """
        began = time.monotonic()
        try:
            return super().wait(gen, interval, timeout or self.silence)
        except psycopg.OperationalError as error:
            # psycopg's own class for a wait that took too long has no public name
            if error.sqlstate is not None or timeout or time.monotonic() - began < self.silence:
                raise
            self.pgconn.finish()
            raise psycopg.OperationalError(
                f"the server was silent for {self.silence:.0f} s, and the connection is given up"
            ) from None


@contextmanager
def answered_within(conn: Connection, seconds: float) -> Iterator[None]:
    """Give the connection up sooner than usual, while only answers of a moment are waited for."""
    if not isinstance(conn, Session):
        yield
        return
    before, conn.silence = conn.silence, min(conn.silence, seconds)
    try:
        yield
    finally:
        conn.silence = before


def connect(
    where: Settings | Environment,
    role: Role,
    purpose: str = "rekindle",
    database: str = "",
    silence: float = SILENCE_SECONDS,
) -> Connection:
    """A connection as `role`, in UTC, with timeouts and keepalives; the caller commits and closes.

    The password is read from <secrets>/postgres_<role>. `purpose` is shown in pg_stat_activity.

    Raises:
        WarehouseError: no password file, a refused password, a missing database: a retry does not help.
        psycopg.OperationalError: the server cannot be reached or gives no answer within 10 s: a retry may help.
    """
    environment = where.environment if isinstance(where, Settings) else where
    conf = environment.warehouse
    number = port(where)
    options = "-c timezone=UTC"
    if role in OUR_OWN:
        options += (
            " -c search_path=pg_catalog"
            f" -c lock_timeout={LOCK_TIMEOUT} -c statement_timeout={STATEMENT_TIMEOUT}"
            f" -c idle_in_transaction_session_timeout={IDLE_TIMEOUT}"
        )
    try:
        conn = Session.connect(
            host=conf.host,
            port=number,
            dbname=database or conf.database,
            user=role,
            password=password(environment, role),
            connect_timeout=CONNECT_SECONDS,
            application_name=purpose[:63],
            options=options,
            keepalives=1,
            keepalives_idle=30,
            keepalives_interval=10,
            keepalives_count=3,
            tcp_user_timeout=30_000,
        )
        conn.silence = silence
        return conn
    except psycopg.OperationalError as error:
        told = " ".join(str(error).split())
        final = isinstance(error, InvalidPassword | InvalidCatalogName) or any(
            words in told for words in ("authentication failed", "does not exist", "no pg_hba.conf entry")
        )
        if final:
            raise WarehouseError(
                f"PostgreSQL at {conf.host}:{number} refused the role {role}: {told};"
                f" expected the password in {conf.secrets / f'postgres_{role}'} and a migrated database"
                f" {conf.database} (`make migrate`)"
            ) from None
        if conf.embedded and not embedded.running(where.home if isinstance(where, Settings) else home()):
            raise psycopg.OperationalError(
                f"{told}; the embedded PostgreSQL is stopped, `make setup` starts it (and so do `make up` and a night)"
            ) from None
        raise


def port(where: Settings | Environment) -> int:
    """The server's port: conf's, else the embedded server's kept one.

    Raises:
        rekindle.embedded.EmbeddedError: embedded, and never started.
        WarehouseError: an outside server without a port in conf.
    """
    environment = where.environment if isinstance(where, Settings) else where
    conf = environment.warehouse
    if conf.port is not None:
        return conf.port
    if not conf.embedded:
        raise WarehouseError(f"conf/environments/{environment.name}.yaml: warehouse.port is missing")
    return embedded.port(where.home if isinstance(where, Settings) else home())


def password(environment: Environment, role: Role) -> str:
    """The role's password, from its file.

    Raises:
        WarehouseError: the file is missing, empty, or readable by others.
    """
    path: Path = environment.warehouse.secrets / f"postgres_{role}"
    try:
        mode = path.stat().st_mode
        text = path.read_text().strip()
    except OSError as error:
        raise WarehouseError(f"the password of {role} cannot be read: {path}: {error.strerror}") from None
    if not text:
        raise WarehouseError(f"the password file {path} is empty")
    if mode & 0o077:
        raise WarehouseError(f"the password file {path} may be read by others (mode {mode & 0o777:o}); chmod 600 it")
    return text


def prepare(where: Settings | Environment, tables: Sequence[Table], replace_views: bool = False) -> None:
    """Start the embedded server, where the environment has one, and migrate. Safe to call at any time.

    Raises:
        rekindle.embedded.EmbeddedError: the server does not start.
        WarehouseError: as `migrate`.
    """
    environment = where.environment if isinstance(where, Settings) else where
    if environment.warehouse.embedded:
        embedded.start(where.home if isinstance(where, Settings) else home())
    migrate(where, tables, replace_views)


def migrate(where: Settings | Environment, tables: Sequence[Table], replace_views: bool = False) -> None:
    """Make what is missing: database, roles, schemas, ledger, run-scoped tables of `tables`, views, comments, rights.

    Idempotent, in one transaction under an advisory lock. What exists is not touched: readers of a view that is
    replaced were measured to see it empty (100 of 599 reads), so a changed contract is applied only with
    `replace_views` (`make migrate`), never by a night. New columns are added, and a key may gain some of them.

    Raises:
        WarehouseError: a contract differs from what exists and `replace_views` is not given, or differs by more than
            added columns; every difference is in the message.
    """
    environment = where.environment if isinstance(where, Settings) else where
    _make_database(where, environment.warehouse.database)
    with connect(where, "owner", "rekindle migrate") as conn:
        conn.execute("SET LOCAL lock_timeout = '60s'")
        conn.execute("SELECT pg_advisory_xact_lock(%s)", [MIGRATION_LOCK])
        for role in OTHER_ROLES:
            _make_role(conn, environment, role)
        for statement in warehouse_tables.fixed():
            conn.execute(statement)
        differences = _add_later_columns(conn, environment, replace_views)
        differences += [d for table in tables for d in warehouse_growth.make_table(conn, table, replace_views)]
        if not differences:  # views name the columns
            differences = _make_views(conn, tables, replace_views)
        if differences:
            raise WarehouseError(
                "the warehouse differs from the contracts: "
                + "; ".join(differences)
                + ". Apply additive changes with `make migrate` while nobody reads"
            )
        for statement in warehouse_tables.rights(environment.warehouse.database, [t.name for t in tables]):
            conn.execute(statement)
        for statement in warehouse_views.rights(tables):
            conn.execute(statement)
        warehouse_vectors.make(conn, tables, replace_views)
        if conn.info.server_version >= MAINTAIN_SINCE:
            for statement in warehouse_tables.maintenance([t.name for t in tables]):
                conn.execute(statement)
        if _is_superuser(conn):
            for statement in warehouse_tables.SUPERUSER_RIGHTS:
                conn.execute(statement)


def copy_batches(conn: Connection, table: Table, run_id: str, source: str, batches: Iterable[pa.RecordBatch]) -> int:
    """Replace this run's rows of `serve.<table>` by the batches, streaming; the number of rows written.

    Rows of an earlier attempt are deleted in the same transaction, which the caller commits. Batches are turned into
    text at most 20,000 rows at a time, so memory does not grow with rows. Columns beyond the contract's are ignored.

    Raises:
        WarehouseError: a batch lacks a column or has another type than the contract's.
        psycopg.Error: PostgreSQL refuses a row (a null in a required column, a doubled key, a NUL in a text).
    """
    from rekindle import copy_text

    name = sql.Identifier("serve", table.name)
    conn.execute(sql.SQL("DELETE FROM {} WHERE run_id = %s AND source = %s").format(name), [run_id, source])
    columns = sql.SQL(", ").join(map(sql.Identifier, ["run_id", "source", *table.names]))
    rows = 0
    statement = sql.SQL("COPY {} ({}) FROM STDIN (FORMAT csv)").format(name, columns)
    with conn.cursor() as cursor, cursor.copy(statement) as copy:
        for batch in batches:
            for start in range(0, batch.num_rows, SLICE_ROWS):
                piece = batch.slice(start, SLICE_ROWS)
                copy.write(copy_text.as_csv(table, piece, {"run_id": run_id, "source": source}))
                rows += piece.num_rows
    return rows


def analyse(conn: Connection, schema: str, table: str) -> None:
    """Let the planner know what is in a table that has just grown by a night, before autovacuum looks; commits.

    Without the right to (PostgreSQL before 17: only the owner) the server passes it over with a warning.
    """
    conn.execute(sql.SQL("ANALYZE {}").format(sql.Identifier(schema, table)))
    conn.commit()


def add_user_keys(
    conn: Connection, source: str, key_version: int, pairs: Iterable[tuple[str, str]], draw_of: Callable[[str], float]
) -> int:
    """Add (user_key, user_id) pairs to the vault; how many were new. Pairs already there stay; the caller commits.

    `draw_of` gives a user id's draw for the holdout.

    Raises:
        WarehouseError: a key is already there with another user id: the pseudonyms' key file was exchanged without
            a new key version.
    """
    conn.execute(
        "CREATE TEMPORARY TABLE fresh_keys (user_key text, user_id text, draw double precision) ON COMMIT DROP"
    )
    with conn.cursor() as cursor, cursor.copy("COPY pg_temp.fresh_keys FROM STDIN") as copy:
        for user_key, user_id in pairs:
            copy.write_row((user_key, user_id, draw_of(user_id)))
    clash = conn.execute(
        "SELECT count(*) FROM pg_temp.fresh_keys f JOIN vault.user_keys k"
        " ON k.source = %s AND k.key_version = %s AND k.user_key = f.user_key WHERE k.user_id <> f.user_id",
        [source, key_version],
    ).fetchone()
    if clash and clash[0]:
        raise WarehouseError(
            f"vault.user_keys, source {source}, key version {key_version}: {clash[0]} pseudonyms already stand for"
            " another user id; a new key needs a new identity.key_version in conf/environments"
        )
    done = conn.execute(
        "INSERT INTO vault.user_keys (source, key_version, user_key, user_id, holdout_draw)"
        " SELECT DISTINCT %s, %s::int, user_key, user_id, draw FROM pg_temp.fresh_keys ON CONFLICT DO NOTHING",
        [source, key_version],
    )
    conn.execute("DROP TABLE pg_temp.fresh_keys")
    return done.rowcount


def _add_later_columns(conn: Connection, environment: Environment, change: bool) -> list[str]:
    """Bring tables of earlier versions up to `LATER_COLUMNS`; what is missing and was not added, in words.

    A warehouse that was made a moment ago has no rows and no readers: there the columns are always added.
    """
    has_runs = conn.execute("SELECT 1 FROM ops.runs LIMIT 1").fetchone() is not None
    differences = []
    for table, name, kind, statements in warehouse_tables.LATER_COLUMNS:
        if conn.execute(
            "SELECT 1 FROM pg_attribute WHERE attrelid = %s::regclass AND attname = %s AND NOT attisdropped",
            [table, name],
        ).fetchone():
            continue
        if has_runs and not change:
            differences.append(f"{table} lacks column {name}")
            continue
        conn.execute(sql.SQL(f"ALTER TABLE {table} ADD COLUMN {name} {kind}"))
        for statement in statements:
            conn.execute(statement)
        if name == "holdout_draw":
            _draw_holdout(conn, environment)
    return differences


def _draw_holdout(conn: Connection, environment: Environment) -> None:
    """Give a draw to users from before there was a holdout, and let none be without from then on."""
    users = conn.execute("SELECT DISTINCT source, user_id FROM vault.user_keys").fetchall()
    if users:
        salt = identity.read_key(environment.identity.holdout_salt_file)
        conn.cursor().executemany(
            "UPDATE vault.user_keys SET holdout_draw = %s WHERE source = %s AND user_id = %s",
            [(holdout.draw(salt, source, user_id), source, user_id) for source, user_id in users],
        )
    conn.execute("ALTER TABLE vault.user_keys ALTER COLUMN holdout_draw SET NOT NULL")


def _make_database(where: Settings | Environment, name: str) -> None:
    """Make the database where there is none. CREATE DATABASE cannot be part of a transaction."""
    deadline = time.monotonic() + 30
    while True:
        conn = connect(where, "owner", "rekindle migrate", "postgres")
        conn.autocommit = True
        with conn:
            if conn.execute("SELECT 1 FROM pg_database WHERE datname = %s", [name]).fetchone():
                return
            try:
                conn.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
                return
            except DuplicateDatabase:
                return  # another process made it between the two statements
            except psycopg.errors.ObjectInUse:
                if time.monotonic() > deadline:  # template1 is being copied by another process
                    raise
        time.sleep(0.2)


def _make_role(conn: Connection, environment: Environment, role: Role) -> None:
    """The role with the password of its file; PostgreSQL gets the SCRAM verifier, its log never the password."""
    exists = conn.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", [role]).fetchone()
    secret = password(environment, role)
    if exists and _opens(conn, environment, role, secret):
        return
    verifier = conn.pgconn.encrypt_password(secret.encode(), role.encode(), b"scram-sha-256").decode()
    verb = "ALTER" if exists else "CREATE"
    try:
        conn.execute(
            sql.SQL("{} ROLE {} LOGIN PASSWORD {}").format(sql.SQL(verb), sql.Identifier(role), sql.Literal(verifier))
        )
    except psycopg.errors.InsufficientPrivilege:
        raise WarehouseError(
            f"the owner may not {verb.lower()} the role {role}; have it made with the password of"
            f" {environment.warehouse.secrets / f'postgres_{role}'}, or give the owner CREATEROLE"
        ) from None


def _opens(conn: Connection, environment: Environment, role: Role, secret: str) -> bool:
    """Whether the role may log in with this password."""
    try:
        psycopg.connect(
            host=conn.info.host,
            port=conn.info.port,
            dbname="postgres" if environment.warehouse.embedded and role == "owner" else conn.info.dbname,
            user=role,
            password=secret,
            connect_timeout=CONNECT_SECONDS,
        ).close()
    except psycopg.OperationalError as error:
        if "password authentication failed" in str(error):
            return False
        raise
    return True


def _make_views(conn: Connection, tables: Sequence[Table], change: bool) -> list[str]:
    """The CRM's views; which ones are defined otherwise and were not replaced."""
    known: dict[str, str] = dict(conn.execute("SELECT name, definition FROM ops.views").fetchall())
    differences = []
    views = [view for table in tables for view in warehouse_tables.views_of(table)]
    views += [warehouse_tables.publications_view(), *warehouse_tables.users_views(), *warehouse_views.about(tables)]
    for view in views:
        name = view.name if view.schema == "crm" else f"{view.schema}.{view.name}"
        exists = conn.execute("SELECT to_regclass(%s)", [f"{view.schema}.{view.name}"]).fetchone() != (None,)
        same = exists and known.get(name) == view.definition
        if exists and not same and not change:
            differences.append(f"view {view.schema}.{view.name} is defined otherwise than its contract")
            continue
        if exists and not same:
            conn.execute(sql.SQL("DROP VIEW {}").format(sql.Identifier(view.schema, view.name)))
        if not same:
            conn.execute(view.create())
            conn.execute(
                "INSERT INTO ops.views (name, definition, version) VALUES (%s, %s, %s)"
                " ON CONFLICT (name) DO UPDATE SET definition = excluded.definition, version = excluded.version",
                [name, view.definition, view.version],
            )
        for statement in view.comments():
            conn.execute(statement)
    return differences


def _is_superuser(conn: Connection) -> bool:
    found: Any = conn.execute("SELECT rolsuper FROM pg_roles WHERE rolname = current_user").fetchone()
    return bool(found and found[0])
