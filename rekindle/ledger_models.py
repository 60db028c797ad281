"""The ledger's models: what was trained, who is champion and why, what each run serves.

PostgreSQL says who the champion is; MLflow's aliases only mirror it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import astuple, fields
from typing import Any

from psycopg.types.json import Jsonb

from rekindle.ledger_access import Access, LedgerError, repeatable
from rekindle.ledger_rows import Model, ModelDecision, ModelKind
from rekindle.warehouse import Connection

MODEL = "source, kind, digest, path, metrics, trained_through, run_id, status, method"
DECISION = tuple(f.name for f in fields(ModelDecision))


class ModelLedger(Access):
    """The part of the ledger that knows models."""

    @repeatable
    def add_model(self, model: Model) -> None:
        """Register a model; the same digest trained again is the same model, offered anew by the later run.

        A champion stays champion, and what an operator withdrew stays withdrawn.
        """
        with self._connect() as conn:
            conn.execute(
                f"INSERT INTO ops.models ({MODEL}) VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s)"  # noqa: S608
                " ON CONFLICT (source, kind, digest) DO UPDATE SET path = excluded.path, metrics = excluded.metrics,"
                " trained_through = excluded.trained_through, run_id = excluded.run_id,"
                " status = CASE WHEN ops.models.status IN ('champion', 'withdrawn') THEN ops.models.status"
                " ELSE excluded.status END",
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
            _lock(conn, source, kind)
            _move(conn, source, kind, digest, run_id, decision, "retired")

    @repeatable
    def conclude(
        self,
        source: str,
        kind: ModelKind,
        run_id: str,
        standing: str | None,
        moves: Sequence[tuple[str, dict[str, Any]]],
        decisions: Sequence[ModelDecision],
    ) -> bool:
        """Make the run's decisions so, all or nothing: its champions in order of `moves`, and the evidence.

        False, and nothing is changed, if the champion is no longer the one that was judged against (`standing`): it
        was rolled back meanwhile, or a lost connection had already let this through. The first word of a run counts.

        Raises:
            LedgerError: no such model.
        """
        with self._connect() as conn:
            _lock(conn, source, kind)
            if _champion(conn, source, kind) != standing:
                return False
            for digest, decision in moves:
                _move(conn, source, kind, digest, run_id, decision, "retired")
            _decided(conn, decisions)
            return True

    @repeatable
    def roll_back_model(
        self, source: str, kind: ModelKind, leaving: str, digest: str, reason: str, decided_by: str
    ) -> None:
        """Make `digest` champion instead of `leaving` by an operator's word.

        The one that is left is withdrawn: judging does not promote it again. If the one that comes was itself
        withdrawn, a rollback is being undone, and the one that is left is only retired. Both tables of decisions tell.

        Raises:
            LedgerError: `leaving` is no longer champion, or there is no model `digest`.
        """
        with self._connect() as conn:
            _lock(conn, source, kind)
            found = _champion(conn, source, kind)
            if found == digest:
                return  # a lost connection had already let this through
            if found != leaving:
                raise LedgerError(
                    f"source {source}: the {kind} champion was {leaving} and is {found} now; look again, then repeat"
                )
            row = conn.execute(
                "SELECT status, method FROM ops.models WHERE source = %s AND kind = %s AND digest = %s",
                [source, kind, digest],
            ).fetchone()
            status, method = row or (None, "")
            told = {"cause": "rolled_back", "reason": reason, "by": decided_by}
            _move(conn, source, kind, digest, None, told, "retired" if status == "withdrawn" else "withdrawn")
            decision = ModelDecision(
                None, source, kind, digest, method, "rolled_back", reason, against=leaving, decided_by=decided_by
            )
            _decided(conn, [decision])

    @repeatable
    def champions_before(self, source: str, kind: ModelKind) -> list[str]:
        """The digests that led to the champion, oldest first, the champion last; what was rolled back is left out."""
        rows = self._rows(
            "SELECT digest, decision ->> 'cause' AS cause FROM ops.champion_decisions"
            " WHERE source = %s AND kind = %s ORDER BY number",
            *(source, kind),
        )
        line: list[str] = []
        for row in rows:
            if row["cause"] == "rolled_back" and row["digest"] in line:
                line = line[: len(line) - line[::-1].index(row["digest"])]
            else:
                line.append(row["digest"])
        return line

    @repeatable
    def model_decisions(self, source: str, run_id: str | None = None) -> list[ModelDecision]:
        """What was decided of the source's models, in order; with `run_id`, by that run."""
        rows = self._rows(
            f"SELECT {', '.join(DECISION)} FROM ops.model_decisions"  # noqa: S608
            " WHERE source = %s AND (%s::text IS NULL OR run_id = %s) ORDER BY number",
            *(source, run_id, run_id),
        )
        return [ModelDecision(**row) for row in rows]

    @repeatable
    def refuse_model(self, source: str, kind: ModelKind, digest: str) -> None:
        """Mark a candidate that did not beat the champion; any other status stays."""
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


def _lock(conn: Connection, source: str, kind: ModelKind) -> None:
    conn.execute("SELECT pg_advisory_xact_lock(hashtext(%s))", [f"champion {source} {kind}"])


def _champion(conn: Connection, source: str, kind: ModelKind) -> str | None:
    row = conn.execute("SELECT digest FROM ops.champions WHERE source = %s AND kind = %s", [source, kind]).fetchone()
    return str(row[0]) if row else None


def _move(
    conn: Connection,
    source: str,
    kind: ModelKind,
    digest: str,
    run_id: str | None,
    decision: dict[str, Any],
    left: str,
) -> None:
    """Make the model champion under the lock; the one before becomes `left`. Nothing, if it is champion already."""
    known = conn.execute(
        "SELECT 1 FROM ops.models WHERE source = %s AND kind = %s AND digest = %s", [source, kind, digest]
    ).fetchone()
    if known is None:
        raise LedgerError(f"source {source}: there is no {kind} model {digest}; register it by add_model")
    before = _champion(conn, source, kind)
    if before == digest:
        return
    conn.execute(
        "UPDATE ops.models SET status = CASE digest WHEN %s THEN 'champion' ELSE %s END"
        " WHERE source = %s AND kind = %s AND digest IN (%s, %s)",
        [digest, left, source, kind, digest, before or digest],
    )
    conn.execute(
        "INSERT INTO ops.champions (source, kind, digest, since_run) VALUES (%s, %s, %s, %s)"
        " ON CONFLICT (source, kind) DO UPDATE SET digest = excluded.digest, since_run = excluded.since_run",
        [source, kind, digest, run_id],
    )
    conn.execute(
        "INSERT INTO ops.champion_decisions (source, kind, run_id, before_digest, digest, decision)"
        " VALUES (%s, %s, %s, %s, %s, %s)",
        [source, kind, run_id, before, digest, Jsonb(decision)],
    )


def _decided(conn: Connection, decisions: Sequence[ModelDecision]) -> None:
    if decisions:
        conn.cursor().executemany(
            f"INSERT INTO ops.model_decisions ({', '.join(DECISION)})"  # noqa: S608
            f" VALUES ({', '.join(['%s'] * len(DECISION))}) ON CONFLICT DO NOTHING",
            [astuple(d) for d in decisions],
        )
