"""A night in one JSON line: what the scheduler writes into the run's note (`dags/plugins/run_notes.py`)."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from rekindle.cli import Context

FATES = ("landed", "clean", "duplicate", "quarantined")


def headline(context: Context, page: Path, users: int, at_risk: int) -> dict[str, object]:
    """The night's numbers: from the ledger, and two that only the warehouse's rows tell.

    `seconds` are those of each stage's last finished try; this stage, which is not over, is not among them.
    `recommendations` counts rows, `users` those who are watched, `page` is where the report lies.
    """
    ledger, run_id = context.ledger, context.run_id
    run, tables = ledger.run(run_id), ledger.tables(run_id)
    last = {stage.name: stage.seconds for stage in ledger.stages(run_id) if stage.seconds is not None}
    fates = ledger.fates(run_id)
    return {
        "source": run.source,
        "date": str(run.business_date),
        "status": run.status,
        "message": run.message or "",
        "fates": {name: sum(getattr(fate, name) for fate in fates) for name in FATES} if fates else {},
        "at_risk": at_risk,
        "users": users,
        "recommendations": tables["recommendations"].fingerprint.rows if "recommendations" in tables else 0,
        "failed_checks": sum(not check.success for check in ledger.checks(run_id)),
        "seconds": round(sum(last.values()), 1),
        "report": str(page),
    }


def say(told: dict[str, object]) -> None:
    """The line that the scheduler reads: the last one on standard output."""
    sys.stdout.write(json.dumps(told) + "\n")
