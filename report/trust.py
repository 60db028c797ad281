"""Can last night be trusted: a verdict with its reasons, each of them a fact that the ledger or the tables hold."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Literal

from rekindle.ledger import CheckRecord
from report.asking import Ask
from report.earlier import Earlier, detail_of
from report.models import Serving
from report.risk import Risk

Level = Literal["good", "care", "bad"]
ORDER: tuple[Level, ...] = ("good", "care", "bad")


@dataclass(frozen=True)
class Reason:
    """A fact that speaks for or against the night; `key` is its text in the catalogue, below `trust.`."""

    level: Level
    key: str
    values: dict[str, Any]


@dataclass(frozen=True)
class Trust:
    """All reasons, worst first."""

    reasons: tuple[Reason, ...]

    @property
    def verdict(self) -> Level:
        """As bad as the worst reason."""
        return max((one.level for one in self.reasons), key=ORDER.index, default="care")

    @property
    def against(self) -> tuple[Reason, ...]:
        """What speaks against it."""
        return tuple(one for one in self.reasons if one.level != "good")


def judge(
    ask: Ask,
    fates: dict[str, int],
    checks: Sequence[CheckRecord],
    risk: Risk | None,
    models: Sequence[Serving],
    nights: Sequence[Earlier],
) -> Trust:
    """What is known of the night, in the order in which doubts arise."""
    found = [
        *published(ask),
        *lines(ask, fates),
        *checked(checks),
        fingerprints(ask),
        *(drifted(risk) if risk else []),
        *serving(models),
        *fresh(ask, nights),
        *stages(ask),
    ]
    return Trust(tuple(sorted(found, key=lambda one: -ORDER.index(one.level))))


def published(ask: Ask) -> list[Reason]:
    """Whether the CRM reads this night."""
    status = ask.context.this_run.status
    served = ask.context.ledger.served(ask.context.source.name)
    if status == "published" and served is not None and served.run_id == ask.run_id:
        return [Reason("good", "served", {})]
    if status == "stored_older" or (status == "published" and served is not None):
        assert served is not None  # noqa: S101 - for mypy: what is stored as older stands behind one that is served
        return [Reason("good", "not_served_now", {"day": served.business_date})]
    return [Reason("bad", "not_published", {"status": status})]


def lines(ask: Ask, fates: dict[str, int]) -> list[Reason]:
    """Whether every landed line has a fate, and how many were refused."""
    if not fates.get("landed"):
        return [Reason("care", "nothing_landed", {})]
    lost = fates["landed"] - fates["clean"] - fates["duplicate"] - fates["quarantined"]
    told = [Reason("bad" if lost else "good", "lines_lost" if lost else "lines_add_up", {"n": fates["landed"]})]
    limit, share = ask.context.source.quarantine_share_limit, fates["quarantined"] / fates["landed"]
    level: Level = "bad" if share > limit else "care" if share > limit / 2 else "good"
    return [*told, Reason(level, "quarantine", {"share": f"{share:.1%}", "limit": f"{limit:.1%}"})]


def checked(checks: Sequence[CheckRecord]) -> list[Reason]:
    """Whether the checks ran and held."""
    if not checks:
        return [Reason("bad", "no_checks", {})]
    failed = [one for one in checks if not one.success]
    critical = sum(one.severity == "critical" for one in failed)
    if critical:
        return [Reason("bad", "checks_failed", {"n": critical, "all": len(checks)})]
    if failed:
        return [Reason("care", "checks_warn", {"n": len(failed), "all": len(checks)})]
    return [Reason("good", "checks_hold", {"all": len(checks)})]


def fingerprints(ask: Ask) -> Reason:
    """Whether what the database counted of each staged table is what the lake holds."""
    held = {
        row["table_name"]: (row["row_count"], int(row["hash_sum"]), row["hash_xor"])
        for row in ask.rows(
            "SELECT table_name, row_count, hash_sum, hash_xor FROM serve.stagings WHERE run_id = %(run)s"
        )
    }
    made = ask.context.ledger.tables(ask.run_id)
    differing = sorted(
        name
        for name, told in held.items()
        if name not in made
        or told != (made[name].fingerprint.rows, made[name].fingerprint.hash_sum, made[name].fingerprint.hash_xor)
    )
    if not held:
        return Reason("care", "no_fingerprints", {})
    if differing:
        return Reason("bad", "fingerprints_differ", {"n": len(differing), "tables": ", ".join(differing)})
    return Reason("good", "fingerprints_equal", {"n": len(held)})


def drifted(risk: Risk) -> list[Reason]:
    """Alarms of churn_health: calibration first, then drift; without known outcomes nothing can be said."""
    if not risk.watched:
        return [Reason("care", "no_outcomes", {})]
    day = risk.watched[0]["known_as_of"]
    calibration = [one for one in risk.alarms if one["kind"] == "calibration"]
    drift = [one for one in risk.alarms if one["kind"] in ("feature_drift", "score_drift")]
    return [
        Reason("care", "calibration_alarm", {"n": len(calibration), "day": day})
        if calibration
        else Reason("good", "calibration_holds", {"day": day}),
        Reason("care", "drift_alarm", {"n": len(drift), "names": ", ".join(one["name"] for one in drift)})
        if drift
        else Reason("good", "no_drift", {}),
    ]


def serving(models: Sequence[Serving]) -> list[Reason]:
    """Whether a model serves that beat its baseline."""
    return [
        Reason("care", "baseline_serves", {"kind": one.kind, "method": one.method})
        if one.is_baseline
        else Reason("good", "champion_serves", {"kind": one.kind, "method": one.method})
        for one in models
    ]


def fresh(ask: Ask, nights: Sequence[Earlier]) -> list[Reason]:
    """Whether files of the business date landed, and whether the night before was published."""
    today, run_files = ask.context.business_date, ask.context.ledger.run_files(ask.run_id)
    newest = max((one.landing_date for one in run_files), default=None)
    told = []
    if newest is None or newest < today:
        told.append(Reason("care", "stale_files", {"day": newest}))
    else:
        told.append(Reason("good", "fresh_files", {"day": newest}))
    if nights and nights[0].business_date < today - timedelta(days=1):
        told.append(Reason("care", "nights_missing", {"n": (today - nights[0].business_date).days - 1}))
    return told


def stages(ask: Ask) -> list[Reason]:
    """Stages that needed another try, and what MLflow has not taken."""
    tries = ask.context.ledger.stages(ask.run_id)
    failed = sorted({one.name for one in tries if one.status == "failed"})
    told = [Reason("good", "stages_again", {"n": len(failed), "names": ", ".join(failed)})] if failed else []
    waiting = detail_of(tries, "judge_models").get("mlflow", {}).get("waiting", 0)
    return told + ([Reason("good", "mlflow_waits", {"n": waiting})] if waiting else [])
