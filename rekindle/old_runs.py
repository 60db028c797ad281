"""Removing the rows of runs that nobody is to read any more.

What may not be served again is marked under the pointer's lock, in a transaction of a moment; its rows are deleted
afterwards, a table at a time, without that lock: a marked run can neither be published nor rolled back to, so whoever
dies in between leaves nothing but rows for the next sweep. Always DELETE: readers that have begun keep what they see.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

from psycopg import sql

from rekindle.contract import Table
from rekindle.failpoints import failpoint
from rekindle.publication import LOCK_TIMEOUT, lock_pointer, transaction
from rekindle.warehouse import Connection

YOUNGEST = timedelta(hours=48)
ABANDONED = timedelta(days=7)


def remove_old_runs(
    conn: Connection, source: str, tables: Sequence[Table], keep: int, least_age: timedelta = YOUNGEST
) -> list[str]:
    """Delete the rows of published runs beyond the newest `keep` and of failed ones; the published ones among them.

    The served run stays whatever its age, and so does every run that was published less than `least_age` ago: a
    reader may be paging through it. A run that was staged a week ago and never published has failed, and whoever may
    still be at it is fenced off. Twice is once.

    Raises:
        psycopg.errors.LockNotAvailable: a publication of the source holds the pointer for over 5 s.
    """
    with transaction(conn):
        conn.execute(f"SET LOCAL lock_timeout = '{LOCK_TIMEOUT}'")
        served = lock_pointer(conn, source)
        failpoint("sweep.locked")
        beyond = [
            row[0]
            for row in conn.execute(
                "UPDATE serve.publications SET is_kept = false WHERE published_at <= now() - %s::interval"
                " AND run_id <> %s AND run_id IN (SELECT run_id FROM serve.publications"
                " WHERE source = %s AND is_kept ORDER BY number DESC OFFSET %s) RETURNING run_id",
                [least_age, served[0] if served is not None else "", source, keep],
            ).fetchall()
        ]
        conn.execute(
            "UPDATE ops.runs SET status = 'failed', attempt = attempt + 1, message = 'staged and never published'"
            " WHERE source = %s AND status = 'open' AND run_id IN (SELECT run_id FROM serve.stagings"
            " GROUP BY run_id HAVING max(staged_at) <= now() - %s::interval)",
            [source, ABANDONED],
        )
        failpoint("sweep.before_mark_commit")
    failpoint("sweep.marked")
    for table in tables:
        failpoint("sweep.between_deletes")
        with transaction(conn):
            doomed = _doomed(conn, source)
            conn.execute(
                sql.SQL("DELETE FROM {} WHERE source = %s AND run_id = ANY(%s)").format(
                    sql.Identifier("serve", table.name)
                ),
                [source, doomed],
            )
            # The proof goes with the rows it is of.
            conn.execute("DELETE FROM serve.stagings WHERE table_name = %s AND run_id = ANY(%s)", [table.name, doomed])
    failpoint("sweep.done")
    return beyond


def _doomed(conn: Connection, source: str) -> list[str]:
    """Runs with staged rows that nobody may read again. A failed one stays locked until the transaction ends.

    So a new attempt of it waits until its old rows are gone; one that has begun is no longer failed, and passed over.
    """
    removed = conn.execute(
        "SELECT DISTINCT run_id FROM serve.stagings JOIN serve.publications USING (run_id) WHERE NOT is_kept"
        " AND serve.publications.source = %s",
        [source],
    ).fetchall()
    failed = conn.execute(
        "SELECT run_id FROM ops.runs WHERE source = %s AND status = 'failed'"
        " AND run_id IN (SELECT run_id FROM serve.stagings) FOR UPDATE SKIP LOCKED",
        [source],
    ).fetchall()
    return [row[0] for row in (*removed, *failed)]
