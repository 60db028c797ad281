"""The models that served the night: what they were judged by, against whom, and what was decided of the others."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from rekindle import registry
from rekindle.ledger import MODEL_KINDS, ModelDecision
from report.asking import Ask
from report.earlier import detail_of

Rows = list[dict[str, Any]]


@dataclass(frozen=True)
class Serving:
    """A champion of the night, with its figures on later days.

    `comparisons` are those of what was trained tonight, else the champion's own. `since`: business date of the night
    that trained it. `decisions`: what was decided tonight, one a model.
    """

    kind: str
    method: str
    digest: str
    judged_on: str
    metrics: dict[str, float]
    comparisons: Rows
    reason: str
    is_new: bool
    is_baseline: bool
    trained_through: str
    decisions: tuple[ModelDecision, ...]


def decided(ask: Ask, kind: str) -> tuple[ModelDecision, ...]:
    """One decision a model of that kind, the first told of each."""
    found: dict[str, ModelDecision] = {}
    for one in ask.context.ledger.model_decisions(ask.context.source.name, ask.run_id):
        if one.kind == kind:
            found.setdefault(one.digest, one)
    return tuple(found.values())


def read(ask: Ask) -> list[Serving]:
    """For each kind with a champion: the champion, the figures it was judged by, and against whom."""
    context, rows = ask.context, []
    artefacts = context.settings.environment.lake.artefacts
    champions = context.ledger.run_champions(ask.run_id)
    judged = detail_of(context.ledger.stages(ask.run_id), "judge_models")
    for kind in MODEL_KINDS:
        if kind not in champions:
            continue
        model = champions[kind]
        record = registry.record_of(artefacts, model.digest)
        records = [
            registry.record_of(artefacts, m.digest)
            for m in context.ledger.models(context.source.name, kind, ask.run_id)
        ]
        # Beside the plain scores only what serves is told: five candidates by four scores fill a screen.
        trained = [
            asdict(c) | {"candidate": r.name}
            for r in records
            for c in r.comparisons
            if r.name == record.name or not c.other.startswith("score:")
        ]
        rows.append(
            Serving(
                kind=kind,
                method=record.name,
                digest=model.digest,
                judged_on=record.judged_on,
                metrics=record.metrics,
                comparisons=trained or [asdict(c) | {"candidate": record.name} for c in record.comparisons],
                reason=judged.get(kind, {}).get("reason", ""),
                is_new=model.run_id == ask.run_id,
                is_baseline=record.is_baseline,
                trained_through=str(record.trained_through),
                decisions=decided(ask, kind),
            )
        )
    return rows
