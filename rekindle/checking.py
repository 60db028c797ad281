"""What a stage does with checks: all are declared, evaluated, told to the ledger, and weighed by the gate."""

from __future__ import annotations

from collections.abc import Sequence

from rekindle import lake
from rekindle.cli import Context
from rekindle.contract import Table
from rekindle.failpoints import failpoint
from rekindle.gate import Declared, Result, gate, settle
from rekindle.ledger import CheckRecord
from rekindle.quality import Batch, evaluate


def declared(batches: Sequence[Batch], run_id: str) -> list[Declared]:
    """What must be evaluated, for the gate; nothing is asked of the library or of Spark."""
    return [
        Declared(b.suite.table, b.suite.told_id(c), c.severity, run_id, b.rows) for b in batches for c in b.suite.checks
    ]


def examine(context: Context, stage: str, batches: Sequence[Batch]) -> None:
    """Evaluate, write the pages, tell the ledger, and let the gate decide.

    Raises:
        DataRefused, ChecksNotRun: as `settle` says.
    """
    docs = context.settings.home / "reports/data_docs" / context.source.name / context.run_id / stage
    results = evaluate(batches, context.run_id, docs)
    checks = declared(batches, context.run_id)
    failpoint("gate.before_results")
    context.ledger.record_checks(context.run_id, stage, records(checks, results))
    verdict = gate(checks, results)
    for line in verdict.warnings:
        context.log.warning("%s", line)
    context.detail.update(checks=len(checks), failed=len(verdict.failed), warnings=len(verdict.warnings))
    context.log.info(
        "checked stage=%s checks=%d failed=%d not_run=%d warnings=%d pages=%s",
        *(stage, len(checks), len(verdict.failed), len(verdict.not_run), len(verdict.warnings), docs / "index.html"),
    )
    settle(verdict)


def records(checks: Sequence[Declared], results: Sequence[Result]) -> list[CheckRecord]:
    """Every declared check as the ledger keeps it; one without a result has failed."""
    found = {(r.table, r.check_id): r for r in results}
    kept = []
    for check in checks:
        r = found.get((check.table, check.check_id))
        if r is None:
            kept.append(CheckRecord(check.table, check.check_id, check.severity, False, "a result", "none"))
        else:
            told = f"raised {r.error}" if r.error else r.found
            success = r.success and r.error is None
            expected = f"{r.what}: {r.expected}"
            kept.append(
                CheckRecord(check.table, check.check_id, check.severity, success, expected, told, r.unexpected_rows)
            )
    return kept


def accept(context: Context, tables: Sequence[Table]) -> None:
    """Let the tables pass: the ledger says so first, for later nights build on that; then the lake's main follows."""
    versions = context.ledger.tables(context.run_id)
    failpoint("gate.before_accept")
    context.ledger.accept_tables(context.run_id, [t.name for t in tables])
    for table in tables:
        moved = lake.follow(
            context.spark,
            context.source.name,
            table,
            context.run_id,
            context.business_date,
            versions[table.name].snapshot_id,
            context.settings.business.night_tag_days,
        )
        context.log.info("accepted table=%s rows=%d main=%s", table.name, versions[table.name].fingerprint.rows, moved)
