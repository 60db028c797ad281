"""Decide which models serve tonight, and show what was trained in MLflow.

Reads   ops.models, ops.stages, the registry
Writes  ops.champions, ops.model_decisions, MLflow

PostgreSQL decides; MLflow mirrors: if it does not answer, the night goes on and the next one logs what is missing.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import NormalDist

from rekindle import ledger_rows, registry, tracking
from rekindle.cli import Context, DataRefused, main
from rekindle.failpoints import failpoint
from rekindle.ledger import MODEL_KINDS, Model, ModelDecision, ModelKind
from rekindle.methods.model_gate import FEWEST_JUDGED
from rekindle.registry import Comparison, Record

TAIL = 0.025  # beyond either end of a 95 % interval
STAYS = "the champion stays"


@dataclass(frozen=True)
class Verdict:
    """What becomes of one offered model, and why in words."""

    digest: str
    record: Record
    decision: ledger_rows.Verdict
    reason: str


@dataclass(frozen=True)
class Decision:
    """Which model is champion, and why in words; `changed` if it was not before.

    `first` is the baseline where there was no champion: it is one before any candidate is. `comparison` is the
    champion's with the one it replaced, or else the best refused candidate's.
    """

    digest: str
    changed: bool
    reason: str
    comparison: Comparison | None = None
    first: str | None = None
    verdicts: tuple[Verdict, ...] = ()


def lower_bound(comparison: Comparison, trials: int) -> float:
    """The interval's lower end, widened so that the best of `trials` candidates, all as good as the other model, has
    one beyond it in 2.5 % of nights (Bonferroni; the distance is scaled as a normal one's)."""
    if trials <= 1:
        return comparison.low
    wider = NormalDist().inv_cdf(1 - TAIL / trials) / NormalDist().inv_cdf(1 - TAIL)
    return comparison.difference - wider * (comparison.difference - comparison.low)


def figures(name: str, against: Comparison) -> str:
    """Both figures, the difference and its interval in words."""
    return (
        f"{name} against {against.other_name}: {against.metric} {against.candidate_value:.4f} and"
        f" {against.other_value:.4f}, difference {against.difference:+.4f}"
        f" [{against.low:+.4f}, {against.high:+.4f}] on {against.rows} rows"
    )


def unproven(name: str, against: Comparison, trials: int) -> str | None:
    """Why it is not shown that the candidate is better than this other model; None if it is."""
    if against.rows < FEWEST_JUDGED:
        return f"{figures(name, against)}: expected at least {FEWEST_JUDGED} rows to judge on, {STAYS}"
    if not against.is_better:
        return f"{figures(name, against)}: the interval does not lie above zero, {STAYS}"
    if not lower_bound(against, trials) > 0:
        return (
            f"{figures(name, against)}: the interval, widened for {trials} candidates, does not lie above zero, {STAYS}"
        )
    return None


def narrower(name: str, against: Comparison, margin: float) -> str | None:
    """Why the candidate shows too little of the catalogue beside the champion; None if it does not, or none is told."""
    if against.coverage is None or against.other_coverage is None:
        return None
    if against.coverage >= (1 - margin) * against.other_coverage:
        return None
    return (
        f"{figures(name, against)}: it lists {against.coverage:.2%} of the catalogue and {against.other_name}"
        f" {against.other_coverage:.2%}; more than {margin:.0%} of that is lost (coverage_margin), {STAYS}"
    )


def unsteady(name: str, against: Comparison, limit: float) -> str | None:
    """Why the candidate would move too many users into another risk band at once; None if not, or none is told."""
    if against.flip_rate is None or against.flip_rate <= limit:
        return None
    return (
        f"{figures(name, against)}: it would put {against.flip_rate:.1%} of the users into another risk band than"
        f" {against.other_name}, at most {limit:.0%} may be (band_flip_limit); make rollback-model installs it all the"
        f" same; {STAYS}"
    )


def fault_of(
    record: Record,
    standing: str,
    baselines: Sequence[tuple[str, Record]],
    trials: int,
    margin: float,
    flip_limit: float,
) -> str | None:
    """Why this candidate may not take over; None if it may. The champion's judgement is told before a baseline's.

    Scores without a model (`score:…`) that it was compared with are told and decide nothing.
    """
    found = {c.other: c for c in record.comparisons}
    if standing not in found:
        return f"{record.name} was not compared with the champion; {STAYS}"
    for other, name in [(standing, "champion"), *((d, f"baseline {r.name}") for d, r in baselines if d != standing)]:
        if other not in found:
            return f"{record.name} was not compared with the {name}; {STAYS}"
        fault = unproven(record.name, found[other], trials)
        if fault:
            return fault
    # A recommender's flips are of first items, which are meant to change; a baseline's bands were nobody's plan.
    if record.kind == "churn" and found[standing].other_name not in {r.name for _, r in baselines}:
        fault = unsteady(record.name, found[standing], flip_limit)
        if fault:
            return fault
    return narrower(record.name, found[standing], margin)


def decide(
    champion: str | None,
    offered: Sequence[tuple[str, Record]],
    *,
    coverage_margin: float,
    band_flip_limit: float,
    withdrawn: Collection[str] = (),
    untrained: str = "",
) -> Decision | None:
    """The champion after judging, or None if there is neither a champion nor a baseline offered.

    Without a champion the baseline is the first one (of several: by name). Then the best candidate may take over that
    is shown to be better, on the same later days, than the champion and than every baseline offered: at least
    FEWEST_JUDGED rows, and a paired interval above zero, widened for the number of candidates. It must not list more
    than `coverage_margin` (a share) fewer items than the champion, nor put more than `band_flip_limit` (a share) of the
    users into another risk band than a champion that is no baseline. What was not compared, and what an operator
    rolled back (`withdrawn`), does not take over. The order of offers changes nothing; of equals the first by name
    takes over.
    `untrained` says why there is no candidate, where there is none.
    """
    ordered = sorted(offered, key=lambda one: (one[1].name, one[0]))
    baselines = [(digest, record) for digest, record in ordered if record.is_baseline]
    first = None
    if champion is None:
        if not baselines:
            return None
        first = baselines[0][0]
    standing = champion or baselines[0][0]
    candidates = [(d, r) for d, r in ordered if not r.is_baseline and d != standing]
    heard = [(d, r) for d, r in candidates if d not in withdrawn]
    against = {d: next((c for c in r.comparisons if c.other == standing), None) for d, r in heard}
    trials = sum(c is not None for c in against.values())
    faults = {d: fault_of(r, standing, baselines, trials, coverage_margin, band_flip_limit) for d, r in heard}

    def rank(one: tuple[str, Record]) -> tuple[float, float]:
        told = against[one[0]]
        return (-told.difference, -told.low) if told else (float("inf"), 0.0)

    best_first = sorted(heard, key=rank)  # stable: of equals the first by name
    winner = next(((d, r) for d, r in best_first if faults[d] is None), None)

    def verdict(digest: str, record: Record) -> Verdict:
        if winner and digest == winner[0]:
            told = against[digest]
            assert told is not None  # noqa: S101 - for mypy: who was not compared has a fault
            return Verdict(digest, record, "promoted", f"{figures(record.name, told)}: promoted")
        if digest == first:
            return Verdict(digest, record, "promoted", "the baseline is the first champion")
        if digest == standing:
            if winner is None:
                return Verdict(digest, record, "kept", "it is the champion and stays")
            return Verdict(digest, record, "refused", f"{winner[1].name} is better: it took over")
        if record.is_baseline:
            return Verdict(digest, record, "baseline", "the measure that a candidate has to beat")
        if digest in withdrawn:
            reinstate = f"make rollback-model DIGEST={digest} would reinstate it"
            return Verdict(digest, record, "refused", f"{record.name} was rolled back; {reinstate}")
        fault = faults[digest]
        if fault is None and winner:
            fault = f"{record.name} passed, and {winner[1].name} is better"
        return Verdict(digest, record, "refused", str(fault))

    verdicts = tuple(verdict(d, r) for d, r in ordered)
    reasons = {v.digest: v.reason for v in verdicts}
    if winner:
        return Decision(winner[0], True, reasons[winner[0]], against[winner[0]], first, verdicts)
    refused = [*(d for d, _ in best_first), *(d for d, _ in candidates if d in withdrawn)]
    if not refused:
        told = "the baseline is the first champion" if first else "no candidate was trained"
        reason = f"{told}: {untrained}" if untrained else told
        return Decision(standing, first is not None, reason, None, first, verdicts)
    others = f"none of {len(refused)} candidates takes over; the best: " if len(refused) > 1 else ""
    return Decision(standing, first is not None, others + reasons[refused[0]], against.get(refused[0]), first, verdicts)


def evidence(
    run_id: str, source: str, kind: ModelKind, decision: Decision, champion: Model | None
) -> list[ModelDecision]:
    """The decision as rows: one a model and other it was compared with; the champion's own where it was not offered."""
    rows = []
    for v in decision.verdicts:
        told = ModelDecision(run_id, source, kind, v.digest, v.record.name, v.decision, v.reason)
        compared = [c for c in v.record.comparisons if c.other != v.digest]
        rows += [ledger_rows.with_figures(told, c) for c in compared] or [told]
    if champion is not None and champion.digest not in {v.digest for v in decision.verdicts} and not decision.changed:
        rows.append(ModelDecision(run_id, source, kind, champion.digest, champion.method, "kept", decision.reason))
    return rows


def servable(models: Sequence[Model], digest: str, artefacts: Path) -> tuple[str, list[str]]:
    """The digest to serve: the champion's, or the newest other model whose artefact is whole; and what was wrong.

    What was refused or rolled back does not step in.

    Raises:
        DataRefused: no model's artefact is whole.
    """
    faults = []
    barred = ("refused", "withdrawn")
    for candidate in [digest, *[m.digest for m in reversed(models) if m.digest != digest and m.status not in barred]]:
        try:
            registry.load(artefacts, candidate)
        except registry.RegistryError as error:
            faults.append(str(error))
            continue
        return candidate, faults
    raise DataRefused(f"no model can serve: {'; '.join(faults)}; train anew (retrain)")


def conclude(context: Context, kind: ModelKind) -> Decision:
    """Decide for one kind of model and make it so; decided again if an operator rolled back meanwhile.

    Raises:
        DataRefused: there is neither a champion nor a baseline.
    """
    ledger, source, run_id = context.ledger, context.source.name, context.run_id
    artefacts = context.settings.environment.lake.artefacts
    offered = [(m.digest, registry.record_of(artefacts, m.digest)) for m in ledger.models(source, kind, run_id)]
    training = [s for s in ledger.stages(run_id) if s.name == f"train_{kind}"]
    while True:
        standing = ledger.champion(source, kind)
        decision = decide(
            standing.digest if standing else None,
            offered,
            coverage_margin=context.settings.business.coverage_margin,
            band_flip_limit=context.settings.business.band_flip_limit,
            withdrawn={m.digest for m in ledger.models(source, kind) if m.status == "withdrawn"},
            untrained=str(training[-1].detail.get("not_trained", "")) if training else "",
        )
        if decision is None:
            raise DataRefused(f"{source} has no {kind} champion and none was trained; run the night with retrain")
        reasons = {v.digest: v.reason for v in decision.verdicts}
        led = dict.fromkeys((*([decision.first] if decision.first else []), decision.digest))
        moves = [(digest, {"reason": reasons[digest]}) for digest in led] if decision.changed else []
        rows = evidence(run_id, source, kind, decision, standing)
        if ledger.conclude(source, kind, run_id, standing.digest if standing else None, moves, rows):
            return decision


def judge(context: Context, kind: ModelKind) -> None:
    """Decide for one kind of model and record what this run serves; a retry reuses what was recorded."""
    ledger, source, log = context.ledger, context.source.name, context.log
    artefacts = context.settings.environment.lake.artefacts
    already = ledger.run_champions(context.run_id).get(kind)
    if already is not None:
        log.info("kind=%s champion=%s as recorded by an earlier attempt", kind, already.digest)
        return
    decision = conclude(context, kind)
    for v in decision.verdicts:
        log.info("kind=%s model=%s method=%s %s: %s", kind, v.digest, v.record.name, v.decision, v.reason)
        if v.decision == "refused":  # a baseline is not: it steps in where a champion is damaged
            ledger.refuse_model(source, kind, v.digest)
    serving, faults = servable(ledger.models(source, kind), decision.digest, artefacts)
    for fault in faults:
        log.error("fell back kind=%s from=%s to=%s because=%s", kind, decision.digest, serving, fault)
    failpoint("judge.before_champion")
    ledger.record_run_champion(context.run_id, kind, serving)
    failpoint("judge.after_champion")
    context.detail[kind] = {"champion": serving, "reason": decision.reason}
    log.info("kind=%s champion=%s %s", kind, serving, decision.reason)


def run(context: Context) -> None:
    """Judge both kinds, then log what was trained."""
    environment, source = context.settings.environment, context.source.name
    for kind in MODEL_KINDS:
        judge(context, kind)
    spool = context.settings.home / "mlflow" / "spool"
    decided = {(d.kind, d.digest): d for d in context.ledger.model_decisions(source, context.run_id)}
    for kind in MODEL_KINDS:
        for model in context.ledger.models(source, kind, context.run_id):
            tracking.spool(spool, model, context.this_run.code_version, decided.get((kind, model.digest)))
    champions = {k: m.digest for k, m in context.ledger.run_champions(context.run_id).items()}
    context.detail["mlflow"] = tracking.flush(spool, environment, source, champions)
    context.log.info("mlflow %s", json.dumps(context.detail["mlflow"]))


if __name__ == "__main__":
    main(run, "judge_models", spark=False)
