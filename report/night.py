"""Everything that is told of a night, gathered once for all its forms."""

from __future__ import annotations

import datetime
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from rekindle.cli import Context
from rekindle.ledger import CheckRecord
from report import groups, headline, models, offers, risk, staying, trust
from report.asking import Ask, asking
from report.earlier import Earlier, detail_of, earlier_nights, last_attempts, summed

MLFLOW = "http://127.0.0.1:5000"
AIRFLOW = "http://127.0.0.1:8080"


@dataclass(frozen=True)
class Night:
    """A night's facts, in no language.

    Attributes:
        status, message: the run's in the ledger (the message is empty where it has none).
        served: (business date, run id) that the CRM reads, None before the first.
        fates: new lines by fate; rules: quarantined lines by rule, most first.
        tables: rows by table. stages: (stage, seconds, of which Spark's start).
        figures: what the next nights compare with.
        docs: stages that left Data Docs, with the place of their pages beside the report's folder.
    """

    source: str
    currency: str
    date: datetime.date
    run_id: str
    status: str
    message: str
    served: tuple[datetime.date, str] | None
    cards: list[headline.Card]
    figures: headline.Figures
    trust: trust.Trust
    fates: dict[str, int]
    rules: list[tuple[str, int]]
    tables: list[tuple[str, int]]
    checks: list[CheckRecord]
    models: list[models.Serving]
    stages: list[tuple[str, float, float]]
    before: list[Earlier]
    risk: risk.Risk | None
    offers: offers.Offers | None
    groups: groups.Groups | None
    staying: staying.Staying | None
    docs: list[tuple[str, str]]
    horizon_days: int = 0
    eligibility_days: int = 0

    @property
    def is_served(self) -> bool:
        """Whether the CRM reads this run now."""
        return self.served is not None and self.served[1] == self.run_id

    @property
    def seconds(self) -> float:
        """Time of all stages, start-up of each included."""
        return sum(s for _, s, _ in self.stages)

    @property
    def failed_checks(self) -> list[CheckRecord]:
        """Checks that did not hold; in a published night these are warnings."""
        return [c for c in self.checks if not c.success]

    @property
    def usual_seconds(self) -> dict[str, float]:
        """The median time of each stage over the earlier nights."""
        taken: dict[str, list[float]] = defaultdict(list)
        for one in self.before:
            for name, seconds, _ in one.stages:
                taken[name].append(seconds)
        return {name: median(each) for name, each in taken.items()}

    @property
    def checks_by_table(self) -> list[dict[str, Any]]:
        """Checks and those that did not hold, by table, tables with faults first."""
        found: dict[str, dict[str, Any]] = {}
        for one in self.checks:
            row = found.setdefault(one.table, {"table": one.table, "all": 0, "critical": 0, "warning": 0})
            row["all"] += 1
            row[one.severity if one.severity == "critical" else "warning"] += not one.success
        return sorted(found.values(), key=lambda row: (-row["critical"], -row["warning"], row["table"]))


def data_docs(context: Context) -> list[tuple[str, str]]:
    """(stage, relative address from the report's own folder) of the checks' pages that are there."""
    tail = f"{context.source.name}/{context.run_id}"
    folder = context.settings.home / "reports" / "data_docs" / tail
    return [
        (stage, f"../../data_docs/{tail}/{stage}/index.html")
        for stage in ("validate_events", "validate_outputs")
        if (folder / stage / "index.html").exists()
    ]


def collect(context: Context) -> Night:
    """The night's facts, from the ledger, the warehouse and the champion's artefact."""
    with asking(context) as ask:
        return _collected(ask)


def _collected(ask: Ask) -> Night:
    context, ledger, run_id = ask.context, ask.context.ledger, ask.run_id
    stages = ledger.stages(run_id)
    served = ledger.served(context.source.name)
    rules: dict[str, int] = detail_of(stages, "clean_events").get("rules", {})
    before = earlier_nights(ask)
    fates, checks = summed(ledger.fates(run_id)), ledger.checks(run_id)
    about_risk, serving = risk.read(ask), models.read(ask)
    figures = headline.of_the_night(ask, run_id, ask.tables)
    cards = headline.cards(ask, figures, before)
    return Night(
        source=context.source.name,
        currency=context.source.currency,
        date=context.business_date,
        run_id=run_id,
        status=context.this_run.status,
        message=context.this_run.message or "",
        served=(served.business_date, served.run_id) if served else None,
        cards=cards,
        figures={card.name: card.value for card in cards} | figures,
        trust=trust.judge(ask, fates, checks, about_risk, serving, before),
        fates=fates,
        rules=sorted(rules.items(), key=lambda kv: (-kv[1], kv[0])),
        tables=[(name, version.fingerprint.rows) for name, version in sorted(ledger.tables(run_id).items())],
        checks=checks,
        models=serving,
        stages=[one for one in last_attempts(stages) if one[0] != "report_night"],
        before=before,
        risk=about_risk,
        offers=offers.read(ask, figures),
        groups=groups.read(ask),
        staying=staying.read(ask),
        docs=data_docs(context),
        horizon_days=context.source.churn.horizon_days,
        eligibility_days=context.source.churn.eligibility_days,
    )


def summary_of(night: Night) -> dict[str, Any]:
    """The night in a few figures, for programs, such as the index of nights."""
    return {
        "source": night.source,
        "date": str(night.date),
        "run_id": night.run_id,
        "status": night.status,
        "is_served": night.is_served,
        "verdict": night.trust.verdict,
        "headline": night.figures,
        "currency": night.currency,
        "lines": night.fates,
        "checks": {"all": len(night.checks), "failed": len(night.failed_checks)},
        "seconds": round(night.seconds, 1),
    }


def folder_of(context: Context) -> Path:
    """Where the night's forms are kept."""
    return context.settings.home / "reports" / context.source.name / f"{context.business_date}-{context.run_id}"
