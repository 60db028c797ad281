"""The ledger: what each night found, made and decided, in PostgreSQL (schema ops).

Each method is one transaction. Where it may be repeated, a lost connection is retried; `open_run` and `new_attempt`,
which count attempts, and the start of a stage, which adds a row, are not.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import date, datetime
from typing import Any

import psycopg
from psycopg.rows import dict_row
from psycopg.types.json import Jsonb

from rekindle.fingerprint import Fingerprint
from rekindle.ledger_access import LedgerError, repeatable
from rekindle.ledger_models import ModelLedger
from rekindle.ledger_rows import (
    MODEL_KINDS,
    CheckRecord,
    FileFate,
    LandedFile,
    Model,
    ModelDecision,
    ModelKind,
    Publication,
    Run,
    RunKey,
    RunStatus,
    Served,
    StageRecord,
    TableVersion,
)
from rekindle.warehouse import Connection

__all__ = [
    "MODEL_KINDS",
    "CheckRecord",
    "FileFate",
    "Fingerprint",
    "LandedFile",
    "Ledger",
    "LedgerError",
    "Model",
    "ModelDecision",
    "ModelKind",
    "Publication",
    "Run",
    "RunKey",
    "Served",
    "StageRecord",
    "TableVersion",
]

RUN = (
    "run_id, source, business_date, code_version, conf_fingerprint, ingest_version, key_version, retrain, attempt,"
    " status, message, plan, published_at"
)
FILE = "name, landing_date, sha256, size_bytes, mtime_ns, lines, header_lines, status, reason, kind, columns"
ENDED_SILENTLY = "it ended without a word, or still runs somewhere: the stage was started again"


class Ledger(ModelLedger):
    """The ledger through connections of the role writer, one per call."""

    # ------------------------------------------------------------------ landed files

    @repeatable
    def files(self, source: str) -> list[LandedFile]:
        """Every file the source ever landed, by landing date and name."""
        rows = self._rows(f"SELECT {FILE} FROM ops.files WHERE source = %s ORDER BY landing_date, name, sha256", source)  # noqa: S608
        return [LandedFile(**row | {"columns": tuple(row["columns"])}) for row in rows]

    @repeatable
    def add_files(self, source: str, files: Sequence[LandedFile]) -> None:
        """Record files; one already there (same name, landing date and content) gets what is told of it now.

        An accepted file that is accepted for another day now (the source's conf says so) is no longer so for the old.

        Raises:
            LedgerError: a content is accepted under two names; the second is to be refused as a duplicate delivery.
        """
        names = [name.strip() for name in FILE.split(",")]
        told = ", ".join(f"{n} = excluded.{n}" for n in names if n not in ("name", "landing_date", "sha256"))
        statement = (
            f"INSERT INTO ops.files (source, {FILE}) VALUES (%s{', %s' * len(names)})"  # noqa: S608
            f" ON CONFLICT (source, name, landing_date, sha256) DO UPDATE SET {told}"
        )
        moved = (
            "UPDATE ops.files SET status = 'refused', reason = 'moved: it landed on ' || %s::date"
            " WHERE source = %s AND name = %s AND sha256 = %s AND landing_date <> %s AND status = 'accepted'"
        )
        accepted = [f for f in files if f.status == "accepted"]
        rows = [[source, *(list(v) if isinstance(v := getattr(f, n), tuple) else v for n in names)] for f in files]
        with self._connect() as conn:
            try:
                conn.cursor().executemany(
                    moved, [(f.landing_date, source, f.name, f.sha256, f.landing_date) for f in accepted]
                )
                conn.cursor().executemany(statement, rows)
            except psycopg.errors.UniqueViolation as error:
                raise LedgerError(
                    f"source {source}: a file's content is already accepted under another name"
                    f" ({error.diag.message_detail}); record the second as refused, reason 'duplicate_delivery: …'"
                ) from None

    # ------------------------------------------------------------------ runs

    def open_run(self, key: RunKey, file_shas: Sequence[str], plan: dict[str, Any]) -> Run:
        """The run, made now or found; a found one has one attempt more, which fences its earlier ones off.

        The plan and the files of a found run are kept, and one that is published, stored or without landing keeps
        its status; `failed` becomes `open` again.

        Raises:
            LedgerError: the run id stands for other work, or a file is not accepted for the source.
        """
        with self._connect() as conn:
            conn.execute(
                "INSERT INTO ops.runs (run_id, source, business_date, code_version, conf_fingerprint, ingest_version,"
                " key_version, retrain, plan, attempt) VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, 0)"
                " ON CONFLICT (run_id) DO NOTHING",
                [*(getattr(key, name) for name in key.__dataclass_fields__), Jsonb(plan)],
            )
            run = self._bump(conn, key.run_id)
            differing = [n for n in key.__dataclass_fields__ if getattr(run, n) != getattr(key, n)]
            if differing:
                raise LedgerError(
                    f"run {key.run_id} is already known with another "
                    + ", ".join(f"{n} ({getattr(run, n)}, now {getattr(key, n)})" for n in differing)
                )
            wanted = sorted(set(file_shas))
            known = {
                sha
                for (sha,) in conn.execute(
                    "SELECT sha256 FROM ops.files WHERE source = %s AND status = 'accepted' AND sha256 = ANY(%s)",
                    [key.source, wanted],
                )
            }
            if set(wanted) - known:
                raise LedgerError(
                    f"run {key.run_id}: files {', '.join(s[:12] for s in wanted if s not in known)} are not accepted"
                    f" files of source {key.source}; record them by add_files first"
                )
            if run.attempt == 1:
                conn.cursor().executemany(
                    "INSERT INTO ops.run_files (run_id, file_sha256) VALUES (%s, %s)", [(key.run_id, s) for s in wanted]
                )
            return run

    def new_attempt(self, run_id: str) -> Run:
        """The run with one attempt more: whoever holds an earlier one can no longer stage or publish.

        Raises:
            LedgerError: no such run.
        """
        with self._connect() as conn:
            return self._bump(conn, run_id)

    def _bump(self, conn: Connection, run_id: str) -> Run:
        cursor = conn.cursor(row_factory=dict_row)
        row = cursor.execute(
            "UPDATE ops.runs SET attempt = attempt + 1, status = CASE status WHEN 'failed' THEN 'open' ELSE status END,"  # noqa: S608
            f" message = CASE status WHEN 'failed' THEN NULL ELSE message END WHERE run_id = %s RETURNING {RUN}",
            [run_id],
        ).fetchone()
        if row is None:
            raise LedgerError(f"run {run_id} is not in the ledger; preflight_landing opens runs")
        return Run(**row)

    @repeatable
    def run(self, run_id: str) -> Run:
        """The run.

        Raises:
            LedgerError: no such run.
        """
        rows = self._rows(f"SELECT {RUN} FROM ops.runs WHERE run_id = %s", run_id)  # noqa: S608
        if not rows:
            raise LedgerError(f"run {run_id} is not in the ledger; preflight_landing opens runs")
        return Run(**rows[0])

    @repeatable
    def base_run(self, source: str, business_date: date, ingest_version: str, run_id: str = "") -> Run | None:
        """The newest run whose events a night of `business_date` may build on, `run_id` itself excepted; null if none.

        Its events were accepted by validation, its date is not later and it cleaned by the same rules. The latest
        date wins, among equals the one accepted last.
        """
        columns = ", ".join(f"r.{name.strip()}" for name in RUN.split(","))
        rows = self._rows(
            f"SELECT {columns} FROM ops.runs r JOIN ops.run_tables t"  # noqa: S608
            " ON t.run_id = r.run_id AND t.table_name = 'events' AND t.accepted"
            " WHERE r.source = %s AND r.business_date <= %s AND r.ingest_version = %s AND r.run_id <> %s"
            " ORDER BY r.business_date DESC, t.acceptance DESC LIMIT 1",
            *(source, business_date, ingest_version, run_id),
        )
        return Run(**rows[0]) if rows else None

    @repeatable
    def run_files(self, run_id: str) -> list[LandedFile]:
        """The files of the run, by landing date and name."""
        columns = ", ".join(f"f.{name.strip()}" for name in FILE.split(","))
        rows = self._rows(
            f"SELECT {columns} FROM ops.run_files rf JOIN ops.runs r ON r.run_id = rf.run_id"  # noqa: S608
            " JOIN ops.files f ON f.source = r.source AND f.sha256 = rf.file_sha256 AND f.status = 'accepted'"
            " WHERE rf.run_id = %s ORDER BY f.landing_date, f.name",
            run_id,
        )
        return [LandedFile(**row | {"columns": tuple(row["columns"])}) for row in rows]

    @repeatable
    def mark(self, run_id: str, status: RunStatus, message: str = "") -> None:
        """Set the run's status and say why. What was published stays published: such a status is not changed.

        Raises:
            LedgerError: no such run.
        """
        with self._connect() as conn:
            done = conn.execute(
                "UPDATE ops.runs SET message = nullif(%s, ''),"
                " status = CASE WHEN status IN ('published', 'stored_older') THEN status ELSE %s END WHERE run_id = %s",
                [message, status, run_id],
            )
            if not done.rowcount:
                raise LedgerError(f"run {run_id} is not in the ledger, so it cannot be marked {status}")

    # ------------------------------------------------------------------ what a run made

    @repeatable
    def record_table(self, run_id: str, version: TableVersion) -> None:
        """Record the run's version of a table; a retry's replaces the earlier one.

        Raises:
            LedgerError: the run is already published and this version's rows differ from the published ones.
        """
        with self._connect() as conn:
            held = conn.execute("SELECT status FROM ops.runs WHERE run_id = %s FOR SHARE", [run_id]).fetchone()
            before = self._tables(conn, run_id).get(version.table)
            if held is not None and held[0] in ("published", "stored_older"):
                if before is None or before.fingerprint != version.fingerprint:
                    raise LedgerError(
                        f"run {run_id}, table {version.table}: published with {before and before.fingerprint}"
                        f", not {version.fingerprint}; the same work must make the same rows"
                    )
                return
            fp = version.fingerprint
            conn.execute(
                "INSERT INTO ops.run_tables (run_id, table_name, snapshot_id, metadata_location, row_count, key_count,"
                " hash_sum, hash_xor, accepted, acceptance)"
                " VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, CASE WHEN %s THEN nextval('ops.acceptances') END)"
                " ON CONFLICT (run_id, table_name) DO UPDATE SET snapshot_id = excluded.snapshot_id,"
                " metadata_location = excluded.metadata_location, row_count = excluded.row_count,"
                " key_count = excluded.key_count, hash_sum = excluded.hash_sum, hash_xor = excluded.hash_xor,"
                " accepted = excluded.accepted, acceptance = excluded.acceptance",
                [
                    *(run_id, version.table, version.snapshot_id, version.metadata_location, fp.rows, fp.keys),
                    *(fp.hash_sum, fp.hash_xor, version.accepted, version.accepted),
                ],
            )

    @repeatable
    def accept_tables(self, run_id: str, names: Sequence[str]) -> None:
        """Say that the checks let these tables pass; saying it twice changes nothing.

        Raises:
            LedgerError: a table was not recorded for the run.
        """
        with self._connect() as conn:
            missing = sorted(set(names) - set(self._tables(conn, run_id)))
            if missing:
                raise LedgerError(f"run {run_id}: {', '.join(missing)} cannot be accepted: never recorded")
            conn.execute(
                "UPDATE ops.run_tables SET accepted = true, acceptance = nextval('ops.acceptances')"
                " WHERE run_id = %s AND table_name = ANY(%s) AND NOT accepted",
                [run_id, list(names)],
            )

    @repeatable
    def tables(self, run_id: str) -> dict[str, TableVersion]:
        """The run's tables by name."""
        with self._connect() as conn:
            return self._tables(conn, run_id)

    def _tables(self, conn: Connection, run_id: str) -> dict[str, TableVersion]:
        rows = conn.execute(
            "SELECT table_name, snapshot_id, metadata_location, row_count, key_count, hash_sum, hash_xor, accepted"
            " FROM ops.run_tables WHERE run_id = %s ORDER BY table_name",
            [run_id],
        ).fetchall()
        return {r[0]: TableVersion(r[0], r[1], r[2], Fingerprint(r[3], r[4], int(r[5]), r[6]), r[7]) for r in rows}

    @repeatable
    def record_fates(self, run_id: str, fates: Sequence[FileFate]) -> None:
        """Record what became of each file's lines; a retry's replace the earlier ones.

        Raises:
            LedgerError: a file's landed lines are not the sum of its clean, duplicate and quarantined ones.
        """
        lost = [f for f in fates if f.landed != f.clean + f.duplicate + f.quarantined]
        if lost:
            raise LedgerError(
                f"run {run_id}: lines were lost or doubled: "
                + "; ".join(
                    f"file {f.file_sha256[:12]} landed {f.landed}, but clean {f.clean} + duplicate {f.duplicate}"
                    f" + quarantined {f.quarantined} = {f.clean + f.duplicate + f.quarantined}"
                    for f in lost
                )
            )
        with self._connect() as conn:
            conn.execute("DELETE FROM ops.file_fates WHERE run_id = %s", [run_id])
            conn.cursor().executemany(
                "INSERT INTO ops.file_fates (run_id, file_sha256, landed, clean, duplicate, quarantined)"
                " VALUES (%s, %s, %s, %s, %s, %s)",
                [(run_id, f.file_sha256, f.landed, f.clean, f.duplicate, f.quarantined) for f in fates],
            )

    @repeatable
    def fates(self, run_id: str) -> list[FileFate]:
        """The run's file fates, by file digest."""
        rows = self._rows(
            "SELECT file_sha256, landed, clean, duplicate, quarantined FROM ops.file_fates WHERE run_id = %s"
            " ORDER BY file_sha256",
            run_id,
        )
        return [FileFate(**row) for row in rows]

    @repeatable
    def record_checks(self, run_id: str, stage: str, checks: Sequence[CheckRecord]) -> None:
        """Record a stage's check results; a retry's replace the earlier ones."""
        with self._connect() as conn:
            conn.execute("DELETE FROM ops.checks WHERE run_id = %s AND stage = %s", [run_id, stage])
            conn.cursor().executemany(
                "INSERT INTO ops.checks (run_id, stage, number, table_name, check_id, severity, success, expected,"
                " found, unexpected_rows) VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s)",
                [
                    (
                        run_id,
                        stage,
                        n,
                        c.table,
                        c.check_id,
                        c.severity,
                        c.success,
                        c.expected,
                        c.found,
                        c.unexpected_rows,
                    )
                    for n, c in enumerate(checks)
                ],
            )

    @repeatable
    def checks(self, run_id: str) -> list[CheckRecord]:
        """The run's check results, by stage, in the order they were recorded."""
        rows = self._rows(
            'SELECT table_name AS "table", check_id, severity, success, expected, found, unexpected_rows'
            " FROM ops.checks WHERE run_id = %s ORDER BY stage, number",
            run_id,
        )
        return [CheckRecord(**row) for row in rows]

    # ------------------------------------------------------------------ stages

    @contextmanager
    def stage(self, run_id: str, name: str) -> Iterator[dict[str, Any]]:
        """Record that the stage runs, then that it is done or failed; the body may fill the dict it is given.

        The clock is PostgreSQL's. An exception of the body is recorded by its text (`error`) and goes on. Whoever ran
        the same stage before and ended without a word, as a killed process does, has failed.
        """
        number = self._stage_started(run_id, name)
        detail: dict[str, Any] = {}
        try:
            yield detail
        except BaseException as error:
            told = " ".join(str(error).split())[:2000]
            self._stage_ended(number, "failed", {**detail, "error": f"{type(error).__name__}: {told}"})
            raise
        self._stage_ended(number, "done", detail)

    def _stage_started(self, run_id: str, name: str) -> int:
        rows = self._rows(
            "WITH gone AS (UPDATE ops.stages SET status = 'failed', ended_at = now(),"
            " detail = detail || jsonb_build_object('error', %s::text)"
            " WHERE run_id = %s AND name = %s AND status = 'running')"
            " INSERT INTO ops.stages (run_id, name, attempt, status)"
            " SELECT run_id, %s, attempt, 'running' FROM ops.runs WHERE run_id = %s RETURNING number",
            *(ENDED_SILENTLY, run_id, name, name, run_id),
        )
        if not rows:
            raise LedgerError(f"run {run_id} is not in the ledger, so stage {name} cannot be recorded")
        return int(rows[0]["number"])

    @repeatable
    def _stage_ended(self, number: int, status: str, detail: dict[str, Any]) -> None:
        with self._connect() as conn:
            conn.execute(
                "UPDATE ops.stages SET status = %s, ended_at = now(), detail = %s WHERE number = %s",
                [status, Jsonb(detail, dumps=lambda value: json.dumps(value, default=str)), number],
            )

    @repeatable
    def stages(self, run_id: str) -> list[StageRecord]:
        """The run's stages in the order they began, every attempt's."""
        rows = self._rows(
            "SELECT name, attempt, status, started_at, ended_at,"
            " extract(epoch FROM ended_at - started_at)::double precision AS seconds, detail"
            " FROM ops.stages WHERE run_id = %s ORDER BY number",
            run_id,
        )
        return [StageRecord(**row) for row in rows]

    # ------------------------------------------------------------------ what is served

    @repeatable
    def served(self, source: str) -> Served | None:
        """The run the CRM sees; null before the source's first publication."""
        rows = self._rows(
            "SELECT h.run_id, h.business_date, h.published_at, h.data_through FROM serve.pointers p"
            " JOIN serve.publications h ON h.run_id = p.run_id WHERE p.source = %s",
            source,
        )
        return Served(**rows[0]) if rows else None

    @repeatable
    def history(self, source: str) -> list[Publication]:
        """The source's publications, newest first."""
        rows = self._rows(
            "SELECT h.run_id, h.business_date, h.data_through, h.published_at, h.status, h.run_id = p.run_id AS"
            " is_served FROM serve.publications h JOIN serve.pointers p ON p.source = h.source"
            " WHERE h.source = %s ORDER BY h.number DESC",
            source,
        )
        return [Publication(**row) for row in rows]

    @repeatable
    def once_served(self, source: str, until: datetime | None = None) -> list[Publication]:
        """The source's publications that the CRM saw, the one seen last first; with `until`, of those seen before it.

        A rollback counts: what it went back to was seen last.
        """
        rows = self._rows(
            "SELECT h.run_id, h.business_date, h.data_through, h.published_at, h.status, h.run_id = p.run_id AS"
            " is_served FROM serve.publications h JOIN serve.pointers p ON p.source = h.source"
            " JOIN (SELECT to_run, max(number) AS number FROM serve.pointer_moves WHERE source = %s"
            " AND (%s::timestamptz IS NULL OR moved_at < %s) GROUP BY 1) m ON m.to_run = h.run_id"
            " WHERE h.source = %s ORDER BY m.number DESC",
            *(source, until, until, source),
        )
        return [Publication(**row) for row in rows]

    @repeatable
    def published_details(self, source: str, stage: str, until: datetime | None = None) -> list[dict[str, Any]]:
        """What a stage told when it was last done, of each run of the source that was published, served or not; with
        `until`, of those published before it. In no order."""
        rows = self._rows(
            "SELECT DISTINCT ON (s.run_id) s.detail FROM serve.publications h JOIN ops.stages s USING (run_id)"
            " WHERE h.source = %s AND (%s::timestamptz IS NULL OR h.published_at < %s) AND s.name = %s"
            " AND s.status = 'done' ORDER BY s.run_id, s.number DESC",
            *(source, until, until, stage),
        )
        return [row["detail"] for row in rows]
