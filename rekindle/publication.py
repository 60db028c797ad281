"""Publishing a staged run: one transaction that checks everything and moves one pointer row.

Truncating, renaming or replacing a view were each measured to show readers an empty table; moving the pointer showed
176,143 reads across 1,824 publications none that was empty, partial or of two runs.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from typing import TYPE_CHECKING, Any, Literal

from psycopg import sql
from psycopg.pq import TransactionStatus
from psycopg.types.json import Jsonb

from rekindle import warehouse
from rekindle.contract import Table
from rekindle.failpoints import failpoint
from rekindle.fingerprint import Fingerprint, of_staged
from rekindle.ledger_access import is_connection_error
from rekindle.ledger_rows import Run
from rekindle.warehouse import Connection

if TYPE_CHECKING:
    import pyarrow as pa

LOCK_TIMEOUT = "5s"
# The publishing transaction looks at one row a table; whoever waits for it waits for a moment.
PUBLISH_TIMEOUT = "30s"
PUBLISH_SILENCE = 45.0
RESOLVE_ATTEMPTS = 4


class PublicationError(Exception):
    """What is staged is not what the run made, or may not be served; nothing has changed for the readers."""


class Fenced(PublicationError):
    """A newer attempt of the run has taken over; this one has written nothing."""


@dataclass(frozen=True)
class Outcome:
    """What publishing did. `already`: an earlier attempt published it; `stored_older`: a newer date stays served."""

    status: Literal["published", "already", "stored_older", "fenced"]
    published_at: datetime | None
    message: str


def stage(conn: Connection, run: Run, table: Table, batches: Iterable[pa.RecordBatch]) -> Fingerprint:
    """Stage one table of the run, replacing what an earlier attempt staged; what the warehouse then holds of it.

    One transaction: the rows, the fingerprint that PostgreSQL counts over them, and the proof of it
    (`serve.stagings`), which `publish` compares with the manifest. Nothing but this function and the removal of old
    runs writes to the run-scoped tables, so the proof holds until one of them takes it away with the rows.

    Raises:
        Fenced: a newer attempt of the run has begun.
        PublicationError: the run is published: its rows are being read and stay as they are; or a user is not in the
            vault, so that the CRM would not see the row.
        WarehouseError, psycopg.Error: as `warehouse.copy_batches`.
    """
    failpoint("stage.begun")
    with transaction(conn):
        warehouse.copy_batches(conn, table, run.run_id, run.source, _told(batches))
        failpoint("stage.before_check")
        held = of_staged(conn, table, run.run_id)
        if strangers := _strangers(conn, run, table):
            raise PublicationError(
                f"serve.{table.name}: {strangers} users are not in vault.user_keys (key version"
                f" {run.key_version}), so the CRM would not see their rows; clean_events adds users"
            )
        failpoint("stage.before_fence")
        # Last, so that the ledger's row is locked for a moment only, and before the commit, so that it holds.
        if _attempt(conn, run) != run.attempt:
            raise Fenced(_fenced(conn, run))
        if conn.execute("SELECT 1 FROM serve.publications WHERE run_id = %s", [run.run_id]).fetchone():
            raise PublicationError(f"run {run.run_id} is published; its rows in serve.{table.name} are not replaced")
        failpoint("stage.before_proof")
        conn.execute(
            "INSERT INTO serve.stagings (run_id, table_name, source, attempt, row_count, hash_sum, hash_xor)"
            " VALUES (%s, %s, %s, %s, %s, %s, %s) ON CONFLICT (run_id, table_name) DO UPDATE SET"
            " attempt = excluded.attempt, row_count = excluded.row_count, hash_sum = excluded.hash_sum,"
            " hash_xor = excluded.hash_xor, staged_at = excluded.staged_at",
            [run.run_id, table.name, run.source, run.attempt, held.rows, held.hash_sum, held.hash_xor],
        )
        failpoint("stage.before_commit")
    failpoint("stage.after_commit")
    warehouse.analyse(conn, "serve", table.name)
    return held


def staged(conn: Connection, run_id: str) -> dict[str, Fingerprint]:
    """What is staged of a run and proved, by table; a retry need not stage it again."""
    with transaction(conn):
        return _proofs(conn, run_id)


def publish(
    conn: Connection,
    run: Run,
    manifest: Mapping[str, Fingerprint],
    tables: Sequence[Table],
    data_through: datetime,
    holdout_share: float = 0.0,
) -> Outcome:
    """Serve the staged run to the CRM, in one transaction that takes a moment however many rows there are.

    Under the lock of the source's pointer row: a run that is in the history is `already` published; a run whose
    attempt is no longer the newest is `fenced`; every table's proof of staging must be the manifest's fingerprint;
    then the pointer moves and the history and the run's ledger row tell so. A run of an older date than the served
    one is stored, and the pointer stays. The same date may be replaced by another run.

    Args:
        manifest: fingerprint by table name, as the lake's accepted snapshot has it.
        data_through: the instant the run looks no further than, with a time zone.
        holdout_share: users whose draw lies below it are withheld from the CRM's views.

    Raises:
        PublicationError: a table is not in the manifest, not staged, or differs from the manifest. Rolled back: the
            readers' tables stay as they were.
        psycopg.errors.LockNotAvailable: another publication of the source holds the pointer for over 5 s.
    """
    missing = sorted({t.name for t in tables} - set(manifest))
    if missing:
        raise PublicationError(
            f"run {run.run_id}: {', '.join(missing)} not in the manifest; all tables switch together"
        )
    failpoint("publish.begun")
    with warehouse.answered_within(conn, PUBLISH_SILENCE), transaction(conn):
        conn.execute(f"SET LOCAL lock_timeout = '{LOCK_TIMEOUT}'")
        conn.execute(f"SET LOCAL statement_timeout = '{PUBLISH_TIMEOUT}'")
        served = lock_pointer(conn, run.source)
        failpoint("publish.locked")
        before = conn.execute(
            "SELECT status, published_at FROM serve.publications WHERE run_id = %s", [run.run_id]
        ).fetchone()
        if before is not None:
            told = "is published already" if before[0] == "served" else "is stored already, a newer date is served"
            return Outcome("already", before[1], f"run {run.run_id} {told}")
        if _attempt(conn, run) != run.attempt:
            return Outcome("fenced", None, _fenced(conn, run))
        if faults := _faults(_proofs(conn, run.run_id), tables, manifest):
            raise PublicationError(f"run {run.run_id} of {run.source} is not published: " + "; ".join(faults))
        older = served is not None and served[1] is not None and served[1] > run.business_date
        found: Any = conn.execute(
            "INSERT INTO serve.publications (source, run_id, business_date, data_through, key_version, attempt,"
            " holdout_share, status, manifest) VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s) RETURNING published_at",
            [
                *(run.source, run.run_id, run.business_date, data_through, run.key_version, run.attempt, holdout_share),
                *(
                    "stored_older" if older else "served",
                    Jsonb({t.name: _as_json(manifest[t.name]) | {"columns": t.names} for t in tables}),
                ),
            ],
        ).fetchone()
        failpoint("publish.before_pointer")
        if not older:
            _move_pointer(conn, run.source, run.run_id, "published")
        conn.execute(
            "UPDATE ops.runs SET status = %s, published_at = %s, message = NULL WHERE run_id = %s",
            ["stored_older" if older else "published", found[0], run.run_id],
        )
        failpoint("publish.before_commit")
    failpoint("publish.after_commit")
    if older and served is not None:
        return Outcome(
            "stored_older",
            found[0],
            f"run {run.run_id} of {run.business_date} is stored, not served: {served[1]} is served already",
        )
    return Outcome("published", found[0], f"run {run.run_id} of {run.business_date} is served")


def publish_surely(
    connect: Callable[[], Connection],
    run: Run,
    manifest: Mapping[str, Fingerprint],
    tables: Sequence[Table],
    data_through: datetime,
    holdout_share: float = 0.0,
) -> Outcome:
    """`publish`, with the answer found out when the connection is lost: even after COMMIT, when nobody can tell.

    The next try waits for the lost transaction's lock and then looks into the history: there, it was committed and
    the outcome is what it did; not there, it never was and is done now. Never twice.

    Raises:
        As `publish`; psycopg.OperationalError: no connection for four tries.
    """
    lost = False
    for attempt in range(RESOLVE_ATTEMPTS):
        try:
            with connect() as conn:
                outcome = publish(conn, run, manifest, tables, data_through, holdout_share)
                if lost and outcome.status == "already":
                    status, by = _one(
                        conn, "SELECT status, attempt FROM serve.publications WHERE run_id = %s", run.run_id
                    )
                    ours: Literal["published", "stored_older"] = "published" if status == "served" else "stored_older"
                    if by == run.attempt:
                        return Outcome(
                            ours, outcome.published_at, f"{outcome.message}; the lost connection had committed"
                        )
                return outcome
        except Exception as error:
            if not is_connection_error(error) or attempt == RESOLVE_ATTEMPTS - 1:
                raise
            lost = True
            time.sleep(0.5 * 2**attempt)
    raise AssertionError("the last try either returned or raised")


def take_over(conn: Connection, run_id: str, spared: str = "") -> int:
    """End the sessions of attempts that stage or publish this run, but for one of the `spared` name; how many.

    A stopped process would otherwise keep its row locks until a timeout, the ledger's row included, without which no
    new attempt can be counted. Sessions are known by `session_name`.
    """
    done = conn.execute(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
        " WHERE usename = current_user AND pid <> pg_backend_pid() AND datname = current_database()"
        " AND application_name LIKE %s AND application_name <> %s",
        [f"publish {run_id} %", spared],
    )
    conn.commit()
    return done.rowcount


def session_name(run: Run) -> str:
    """The `purpose` for `warehouse.connect` by which `take_over` finds the sessions of an attempt."""
    return f"publish {run.run_id} {run.attempt}"


def roll_back(conn: Connection, source: str, run_id: str, decided_by: str, reason: str) -> str:
    """Serve an earlier published run again, whatever its date; the run id served before. The one way back in time.

    `serve.pointer_moves` keeps who decided it and why. The next publication of a date not older than the run's moves
    on from it.

    Raises:
        PublicationError: the run was never published for the source, or its rows are no longer kept.
    """
    with transaction(conn):
        conn.execute(f"SET LOCAL lock_timeout = '{LOCK_TIMEOUT}'")
        served = lock_pointer(conn, source)
        failpoint("rollback.locked")
        kept = conn.execute(
            "SELECT run_id, business_date FROM serve.publications WHERE source = %s AND is_kept ORDER BY number DESC",
            [source],
        ).fetchall()
        if run_id not in {row[0] for row in kept}:
            raise PublicationError(
                f"source {source} has no kept published run {run_id}; there are: "
                + (", ".join(f"{r} ({d})" for r, d in kept) or "none")
            )
        _move_pointer(conn, source, run_id, "rolled_back", decided_by, reason)
        failpoint("rollback.before_commit")
    failpoint("rollback.after_commit")
    return str(served[0]) if served is not None else ""


def verify_served(conn: Connection, source: str, tables: Sequence[Table]) -> list[str]:
    """What differs between the rows of the served run and its manifest, in words; empty when all is as published.

    Reads every served row: a few seconds for a million.
    """
    faults = []
    with transaction(conn):
        conn.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        found = conn.execute(
            "SELECT h.run_id, h.manifest FROM serve.pointers p JOIN serve.publications h USING (run_id)"
            " WHERE p.source = %s",
            [source],
        ).fetchone()
        run_id, manifest = found if found is not None else ("", {})
        for table in tables:
            expected = dict(manifest.get(table.name, {}))
            # A contract may have grown since: the columns of that time are compared. Runs from before they were kept
            # are not.
            names = expected.pop("columns", None)
            if names is None:
                continue
            then = replace(table, columns=tuple(c for c in table.columns if c.name in names))
            held = _as_json(of_staged(conn, then, run_id))
            if held != expected:
                faults.append(f"serve.{table.name}, run {run_id}: published {expected}, found {held}")
    return faults


@contextmanager
def transaction(conn: Connection) -> Iterator[None]:
    """A transaction of its own: inside another one, the end of this one would not be the commit.

    Raises:
        PublicationError: the connection is inside a transaction.
    """
    if conn.info.transaction_status != TransactionStatus.IDLE:
        raise PublicationError(
            f"the connection is inside a transaction ({conn.info.transaction_status.name}); commit it"
        )
    with conn.transaction():
        yield


def lock_pointer(conn: Connection, source: str) -> tuple[Any, ...] | None:
    """Lock the source's pointer row, made if this is the first time; (run id, business date), null before the first."""
    conn.execute("INSERT INTO serve.pointers (source) VALUES (%s) ON CONFLICT DO NOTHING", [source])
    row = _one(conn, "SELECT run_id, business_date FROM serve.pointers WHERE source = %s FOR UPDATE", source)
    return None if row[0] is None else row


def _move_pointer(
    conn: Connection, source: str, run_id: str, cause: str, decided_by: str | None = None, reason: str | None = None
) -> None:
    conn.execute(
        "INSERT INTO serve.pointer_moves (source, from_run, to_run, cause, decided_by, reason)"
        " SELECT source, run_id, %s, %s, %s, %s FROM serve.pointers WHERE source = %s",
        [run_id, cause, decided_by, reason, source],
    )
    conn.execute(
        "UPDATE serve.pointers p SET run_id = h.run_id, business_date = h.business_date, key_version = h.key_version,"
        " published_at = h.published_at, data_through = h.data_through, holdout_share = h.holdout_share"
        " FROM serve.publications h WHERE p.source = %s AND h.run_id = %s",
        [source, run_id],
    )


def _attempt(conn: Connection, run: Run) -> int:
    """The run's newest attempt; its ledger row stays locked until the transaction ends."""
    row = conn.execute("SELECT attempt FROM ops.runs WHERE run_id = %s FOR NO KEY UPDATE", [run.run_id]).fetchone()
    if row is None:
        raise PublicationError(f"run {run.run_id} is not in the ledger")
    return int(row[0])


def _fenced(conn: Connection, run: Run) -> str:
    newest = _attempt(conn, run)
    return f"run {run.run_id}: attempt {run.attempt} is fenced off, attempt {newest} took over; nothing was written"


def _told(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    for batch in batches:
        failpoint("stage.batch")
        yield batch


def _strangers(conn: Connection, run: Run, table: Table) -> int:
    """Users of staged rows whom the vault does not know by the run's key version.

    By EXCEPT, which hashes both sides whatever is known of them: NOT EXISTS took 5 s for 8,000 users of a vault that
    nobody had analysed yet, and four times as long for twice as many.
    """
    if "user_key" not in table.by_name:
        return 0
    statement = sql.SQL(
        "SELECT count(*) FROM (SELECT user_key FROM {} WHERE run_id = %s EXCEPT SELECT user_key FROM vault.user_keys"
        " WHERE source = %s AND key_version = %s) strangers"
    ).format(sql.Identifier("serve", table.name))
    [found] = _one(conn, statement, run.run_id, run.source, run.key_version)
    return int(found)


def _proofs(conn: Connection, run_id: str) -> dict[str, Fingerprint]:
    rows = conn.execute(
        "SELECT table_name, row_count, hash_sum, hash_xor FROM serve.stagings WHERE run_id = %s", [run_id]
    ).fetchall()
    # A key is in the table once, by its primary key: as many keys as rows.
    return {name: Fingerprint(count, count, int(total), xor) for name, count, total, xor in rows}


def _faults(
    proofs: Mapping[str, Fingerprint], tables: Sequence[Table], manifest: Mapping[str, Fingerprint]
) -> list[str]:
    """What keeps the staged tables from being served, in words."""
    return [
        f"serve.{t.name}: expected {manifest[t.name]}, found {proofs.get(t.name, 'nothing staged')}"
        for t in tables
        if proofs.get(t.name) != manifest[t.name]
    ]


def _as_json(fingerprint: Fingerprint) -> dict[str, Any]:
    # as text: the sum exceeds what JSON readers keep of a number
    return {
        "rows": fingerprint.rows,
        "keys": fingerprint.keys,
        "hash_sum": str(fingerprint.hash_sum),
        "hash_xor": str(fingerprint.hash_xor),
    }


def _one(conn: Connection, statement: Any, *values: Any) -> tuple[Any, ...]:
    [row] = conn.execute(statement, list(values)).fetchall()
    return tuple(row)
