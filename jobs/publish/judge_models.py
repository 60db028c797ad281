"""Decide which models serve tonight, and show what was trained in MLflow.

Reads   ops.models, the registry
Writes  ops.champions, MLflow

PostgreSQL decides; MLflow mirrors: if it does not answer, the night goes on and the next one logs what is missing.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rekindle import registry, tracking
from rekindle.cli import Context, DataRefused, main
from rekindle.ledger import MODEL_KINDS, Model, ModelKind
from rekindle.registry import Record


@dataclass(frozen=True)
class Decision:
    """Which model is champion, and why in words; `changed` if it was not before."""

    digest: str
    changed: bool
    reason: str
    comparison: registry.Comparison | None = None


def decide(champion: str | None, offered: Sequence[tuple[str, Record]]) -> Decision | None:
    """The champion after judging, or None if there is neither a champion nor anything offered.

    Without a champion the baseline is the first one. A candidate takes over only if, on the same later days, its
    paired interval against the champion lies above zero; a candidate that was not compared with it does not.
    """
    standing, changed, reason = champion, False, "no candidate was trained"
    if standing is None:
        baselines = [digest for digest, record in offered if record.is_baseline]
        if not baselines:
            return None
        standing, changed, reason = baselines[0], True, "the baseline is the first champion"
    told = None
    for digest, record in offered:
        if record.is_baseline or digest == standing:
            continue
        against = next((c for c in record.comparisons if c.other == standing), None)
        if against is None:
            reason = f"{record.name} was not compared with the champion; the champion stays"
            continue
        told = against
        figures = (
            f"{record.name} against {against.other_name}: {against.metric} {against.candidate_value:.4f} and"
            f" {against.other_value:.4f}, difference {against.difference:+.4f}"
            f" [{against.low:+.4f}, {against.high:+.4f}] on {against.rows} rows"
        )
        if against.is_better:
            standing, changed, reason = digest, True, f"{figures}: promoted"
        else:
            reason = f"{figures}: the interval does not lie above zero, the champion stays"
    return Decision(standing, changed, reason, told)


def servable(models: Sequence[Model], digest: str, artefacts: Path) -> tuple[str, list[str]]:
    """The digest to serve: the champion's, or the newest other model whose artefact is whole; and what was wrong.

    Raises:
        DataRefused: no model's artefact is whole.
    """
    faults = []
    for candidate in [digest, *[m.digest for m in reversed(models) if m.digest != digest and m.status != "refused"]]:
        try:
            registry.load(artefacts, candidate)
        except registry.RegistryError as error:
            faults.append(str(error))
            continue
        return candidate, faults
    raise DataRefused(f"no model can serve: {'; '.join(faults)}; train anew (retrain)")


def judge(context: Context, kind: ModelKind) -> None:
    """Decide for one kind of model and record what this run serves; a retry reuses what was recorded."""
    ledger, source, log = context.ledger, context.source.name, context.log
    artefacts = context.settings.environment.lake.artefacts
    already = ledger.run_champions(context.run_id).get(kind)
    if already is not None:
        log.info("kind=%s champion=%s as recorded by an earlier attempt", kind, already.digest)
        return
    standing = ledger.champion(source, kind)
    trained = ledger.models(source, kind, context.run_id)
    offered = [(m.digest, registry.record_of(artefacts, m.digest)) for m in trained]
    decision = decide(standing.digest if standing else None, offered)
    if decision is None:
        raise DataRefused(f"{source} has no {kind} champion and none was trained; run the night with retrain")
    if decision.changed:
        told = {"reason": decision.reason}
        ledger.set_champion(source, kind, decision.digest, context.run_id, told)
    for digest, _ in offered:
        if digest != decision.digest:
            ledger.refuse_model(source, kind, digest)
    serving, faults = servable(ledger.models(source, kind), decision.digest, artefacts)
    for fault in faults:
        log.error("fell back kind=%s from=%s to=%s because=%s", kind, decision.digest, serving, fault)
    ledger.record_run_champion(context.run_id, kind, serving)
    context.detail[kind] = {"champion": serving, "reason": decision.reason}
    log.info("kind=%s champion=%s %s", kind, serving, decision.reason)


def run(context: Context) -> None:
    """Judge both kinds, then log what was trained."""
    environment = context.settings.environment
    for kind in MODEL_KINDS:
        judge(context, kind)
    spool = context.settings.home / "mlflow" / "spool"
    for kind in MODEL_KINDS:
        for model in context.ledger.models(context.source.name, kind, context.run_id):
            tracking.spool(spool, model, context.this_run.code_version)
    champions = {k: m.digest for k, m in context.ledger.run_champions(context.run_id).items()}
    context.detail["mlflow"] = tracking.flush(spool, environment, context.source.name, champions)
    context.log.info("mlflow %s", json.dumps(context.detail["mlflow"]))


if __name__ == "__main__":
    main(run, "judge_models", spark=False)
