"""Earlier nights: what the report compares tonight with."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

from rekindle.ledger import FileFate, StageRecord
from report.asking import Ask

NIGHTS = 7
FATES = ("landed", "clean", "duplicate", "quarantined")


@dataclass(frozen=True)
class Earlier:
    """A night before tonight's as the ledger knows it; `headline` is what its own report told, empty if it had none."""

    run_id: str
    business_date: date
    fates: dict[str, int]
    rules: dict[str, int]
    stages: list[tuple[str, float, float]]
    headline: dict[str, float | None]
    is_kept: bool


def last_attempts(stages: Sequence[StageRecord]) -> list[tuple[str, float, float]]:
    """(stage, seconds, of which Spark's start) of each stage's last finished try, in the order they ran."""
    kept: dict[str, tuple[str, float, float]] = {}
    for s in stages:
        if s.seconds is not None:
            kept.pop(s.name, None)
            kept[s.name] = (s.name, s.seconds, float(s.detail.get("spark_start_s", 0.0)))
    return list(kept.values())


def detail_of(stages: Sequence[StageRecord], name: str) -> dict[str, Any]:
    """What a stage's last finished try told; empty where there was none."""
    told = [s.detail for s in stages if s.name == name and s.status == "done"]
    return told[-1] if told else {}


def summed(fates: Sequence[FileFate]) -> dict[str, int]:
    """Lines of all files by fate."""
    return {fate: sum(getattr(one, fate) for one in fates) for fate in FATES}


def earlier_nights(ask: Ask) -> list[Earlier]:
    """Up to NIGHTS nights of earlier business dates, newest first; of several runs of a day the last that was published
    before this run was: a report that is rebuilt finds what it found."""
    context = ask.context
    until = context.this_run.published_at
    kept = {
        row["run_id"]: row["is_kept"]
        for row in ask.rows(
            "SELECT run_id, is_kept FROM serve.publications WHERE source = %(source)s", source=context.source.name
        )
    }
    found: dict[date, str] = {}
    for past in context.ledger.history(context.source.name):
        late = until is not None and past.published_at >= until
        if not late and past.business_date < context.business_date and past.run_id in kept:
            found.setdefault(past.business_date, past.run_id)
    nights = []
    for day, run_id in sorted(found.items(), reverse=True)[:NIGHTS]:
        stages = context.ledger.stages(run_id)
        nights.append(
            Earlier(
                run_id,
                day,
                summed(context.ledger.fates(run_id)),
                detail_of(stages, "clean_events").get("rules", {}),
                last_attempts(stages),
                detail_of(stages, "report_night").get("headline", {}),
                kept[run_id],
            )
        )
    return nights
