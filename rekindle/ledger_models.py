"""The ledger's models: what was trained, who is champion and why, what each run serves.

PostgreSQL says who the champion is; MLflow's aliases only mirror it.
"""

from __future__ import annotations

from typing import Any

from psycopg.types.json import Jsonb

from rekindle.ledger_access import Access, LedgerError, repeatable
from rekindle.ledger_rows import Model, ModelKind

MODEL = "source, kind, digest, path, metrics, trained_through, run_id, status, method"


class ModelLedger(Access):
    """The part of the ledger that knows models."""

    @repeatable
    def add_model(self, model: Model) -> None:
        """Register a model; the same digest trained again is the same model, offered anew by the later run.

        A champion stays champion.
        """
        with self._connect() as conn:
            conn.execute(
                f"INSERT INTO ops.models ({MODEL}) VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s)"  # noqa: S608
                " ON CONFLICT (source, kind, digest) DO UPDATE SET path = excluded.path, metrics = excluded.metrics,"
                " trained_through = excluded.trained_through, run_id = excluded.run_id,"
                " status = CASE ops.models.status WHEN 'champion' THEN 'champion' ELSE excluded.status END",
                [
                    *(model.source, model.kind, model.digest, model.path, Jsonb(model.metrics)),
                    *(model.trained_through, model.run_id, model.status, model.method),
                ],
            )

    @repeatable
    def models(self, source: str, kind: ModelKind, run_id: str | None = None) -> list[Model]:
        """The source's models of a kind in the order they were registered; with `run_id`, those of that run."""
        rows = self._rows(
            f"SELECT {MODEL} FROM ops.models WHERE source = %s AND kind = %s AND (%s::text IS NULL OR run_id = %s)"  # noqa: S608
            " ORDER BY number",
            *(source, kind, run_id, run_id),
        )
        return [Model(**row) for row in rows]

    @repeatable
    def champion(self, source: str, kind: ModelKind) -> Model | None:
        """The champion; null before the first one."""
        columns = ", ".join(f"m.{name.strip()}" for name in MODEL.split(","))
        rows = self._rows(
            f"SELECT {columns} FROM ops.champions c JOIN ops.models m USING (source, kind, digest)"  # noqa: S608
            " WHERE source = %s AND kind = %s",
            *(source, kind),
        )
        return Model(**rows[0]) if rows else None

    @repeatable
    def set_champion(self, source: str, kind: ModelKind, digest: str, run_id: str, decision: dict[str, Any]) -> None:
        """Make the model champion and record the decision; the one before is retired. Once per run: again, no-op.

        Raises:
            LedgerError: no such model.
        """
        with self._connect() as conn:
            conn.execute("SELECT pg_advisory_xact_lock(hashtext(%s))", [f"champion {source} {kind}"])
            known = conn.execute(
                "SELECT 1 FROM ops.models WHERE source = %s AND kind = %s AND digest = %s", [source, kind, digest]
            ).fetchone()
            if known is None:
                raise LedgerError(f"source {source}: there is no {kind} model {digest}; register it by add_model")
            before = conn.execute(
                "SELECT digest FROM ops.champions WHERE source = %s AND kind = %s", [source, kind]
            ).fetchone()
            if before == (digest,):
                return
            conn.execute(
                "UPDATE ops.models SET status = CASE digest WHEN %s THEN 'champion' ELSE 'retired' END"
                " WHERE source = %s AND kind = %s AND digest IN (%s, %s)",
                [digest, source, kind, digest, before[0] if before else digest],
            )
            conn.execute(
                "INSERT INTO ops.champions (source, kind, digest, since_run) VALUES (%s, %s, %s, %s)"
                " ON CONFLICT (source, kind) DO UPDATE SET digest = excluded.digest, since_run = excluded.since_run",
                [source, kind, digest, run_id],
            )
            conn.execute(
                "INSERT INTO ops.champion_decisions (source, kind, run_id, before_digest, digest, decision)"
                " VALUES (%s, %s, %s, %s, %s, %s)",
                [source, kind, run_id, before[0] if before else None, digest, Jsonb(decision)],
            )

    @repeatable
    def refuse_model(self, source: str, kind: ModelKind, digest: str) -> None:
        """Mark a candidate that did not beat the champion; a champion's or a retired one's status stays."""
        with self._connect() as conn:
            conn.execute(
                "UPDATE ops.models SET status = 'refused'"
                " WHERE source = %s AND kind = %s AND digest = %s AND status = 'candidate'",
                [source, kind, digest],
            )

    @repeatable
    def record_run_champion(self, run_id: str, kind: ModelKind, digest: str) -> None:
        """Record what the run serves. The first word counts: a retry reuses it, whatever it would have chosen."""
        with self._connect() as conn:
            conn.execute(
                "INSERT INTO ops.run_champions (run_id, kind, digest) VALUES (%s, %s, %s) ON CONFLICT DO NOTHING",
                [run_id, kind, digest],
            )

    @repeatable
    def run_champions(self, run_id: str) -> dict[str, Model]:
        """The models the run serves, by kind; a kind not yet decided is absent."""
        columns = ", ".join(f"m.{name.strip()}" for name in MODEL.split(","))
        rows = self._rows(
            f"SELECT {columns} FROM ops.run_champions c JOIN ops.runs r ON r.run_id = c.run_id"  # noqa: S608
            " JOIN ops.models m ON m.source = r.source AND m.kind = c.kind AND m.digest = c.digest"
            " WHERE c.run_id = %s ORDER BY m.kind",
            run_id,
        )
        return {row["kind"]: Model(**row) for row in rows}
