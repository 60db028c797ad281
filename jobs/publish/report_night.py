"""Say what came out of the night: a summary for the terminal and one HTML page.

Reads   ops, recommendations, at_risk_users (as staged in the warehouse)
Writes  reports/<source>/<date>-<run>/summary.txt, night.html

People are shown by the first digits of their pseudonyms: a report lies in more places than the CRM's tables.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from io import StringIO
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, select_autoescape
from psycopg.rows import dict_row
from rich import box
from rich.console import Console
from rich.table import Table

from rekindle import registry, warehouse
from rekindle.cli import Context, main
from rekindle.ledger import MODEL_KINDS, CheckRecord, StageRecord

SAMPLE = 5
STATUS_WORDS = {
    "published": "published",
    "stored_older": "stored, not served: a newer night is",
    "open": "not published",
}


@dataclass(frozen=True)
class Night:
    """Everything both forms of the report show."""

    source: str
    date: str
    run_id: str
    status: str
    served: str
    fates: dict[str, int]
    quarantined: list[tuple[str, int]]
    tables: list[tuple[str, int]]
    checks: list[CheckRecord]
    models: list[dict[str, Any]]
    stages: list[tuple[str, float, float]]
    at_risk: list[dict[str, Any]]
    recommendations: list[dict[str, Any]]
    look: list[tuple[str, str]]

    @property
    def seconds(self) -> float:
        """Time of all stages, start-up of each included."""
        return sum(s for _, s, _ in self.stages)

    @property
    def failed_checks(self) -> list[CheckRecord]:
        """Checks that did not hold; in a published night these are warnings."""
        return [c for c in self.checks if not c.success]


def last_attempts(stages: list[StageRecord]) -> list[tuple[str, float, float]]:
    """(stage, seconds, of which Spark's start) of each stage's last finished try, in the order they ran."""
    kept: dict[str, tuple[str, float, float]] = {}
    for s in stages:
        if s.seconds is not None:
            kept.pop(s.name, None)
            kept[s.name] = (s.name, s.seconds, float(s.detail.get("spark_start_s", 0.0)))
    return list(kept.values())


def model_rows(context: Context) -> list[dict[str, Any]]:
    """For each kind: the champion, the figures it was judged by, and against whom."""
    rows = []
    artefacts = context.settings.environment.lake.artefacts
    champions = context.ledger.run_champions(context.run_id)
    judged = [s.detail for s in context.ledger.stages(context.run_id) if s.name == "judge_models"]
    reasons = {kind: told for detail in judged for kind, told in detail.items() if kind in MODEL_KINDS}
    for kind in MODEL_KINDS:
        if kind not in champions:
            continue
        model = champions[kind]
        record = registry.record_of(artefacts, model.digest)
        records = [
            registry.record_of(artefacts, m.digest)
            for m in context.ledger.models(context.source.name, kind, context.run_id)
        ]
        trained = [asdict(c) | {"candidate": r.name} for r in records for c in r.comparisons]
        rows.append(
            {
                "kind": kind,
                "method": record.name,
                "digest": model.digest,
                "judged_on": record.judged_on,
                "metrics": record.metrics,
                "comparisons": trained or [asdict(c) | {"candidate": record.name} for c in record.comparisons],
                "reason": reasons.get(kind, {}).get("reason", ""),
                "is_new": model.run_id == context.run_id,
            }
        )
    return rows


def sample(context: Context, statement: str) -> list[dict[str, Any]]:
    """A few rows of the run from the warehouse, people by the first digits of their pseudonym."""
    with warehouse.connect(context.settings.environment, "writer") as connection:
        cursor = connection.cursor(row_factory=dict_row)
        return cursor.execute(statement, {"run": context.run_id, "n": SAMPLE}).fetchall()


def look_at(context: Context, folder: Path) -> list[tuple[str, str]]:
    """Where to look, (what, where or which command)."""
    docs = context.settings.home / "reports" / "data_docs" / context.source.name / context.run_id
    return [
        ("this night as a page", str(folder / "night.html")),
        ("the CRM's tables", 'make crm SQL="select * from crm.at_risk_users limit 5"'),
        ("checks (Data Docs)", str(docs)),
        ("Airflow and MLflow", "make up"),
        ("a quarantined line", "make show-line FILE=<sha256> LINE=<number>"),
    ]


def collect(context: Context, folder: Path) -> Night:
    """The night's facts, from the ledger and the warehouse."""
    ledger, run_id = context.ledger, context.run_id
    stages = {s.name: s for s in ledger.stages(run_id) if s.status == "done"}
    fates = ledger.fates(run_id)
    served = ledger.served(context.source.name)
    rules = stages["clean_events"].detail.get("rules", {}) if "clean_events" in stages else {}
    return Night(
        source=context.source.name,
        date=str(context.business_date),
        run_id=run_id,
        status=STATUS_WORDS.get(ledger.run(run_id).status, ledger.run(run_id).status),
        served=f"{served.business_date} (run {served.run_id})" if served else "nothing yet",
        fates={f: sum(getattr(x, f) for x in fates) for f in ("landed", "clean", "duplicate", "quarantined")},
        quarantined=sorted(rules.items(), key=lambda kv: (-kv[1], kv[0])),
        tables=[(name, version.fingerprint.rows) for name, version in sorted(ledger.tables(run_id).items())],
        checks=ledger.checks(run_id),
        models=model_rows(context),
        stages=last_attempts(ledger.stages(run_id)),
        at_risk=sample(
            context,
            "SELECT left(user_key, 8) AS user, churn_probability, risk_band, reasons, round(recency_days::numeric) AS"
            " recency_days, frequency, monetary FROM serve.at_risk_users WHERE run_id = %(run)s AND is_at_risk"
            " ORDER BY monetary DESC, user_key LIMIT %(n)s",
        ),
        recommendations=sample(
            context,
            "SELECT left(user_key, 8) AS user, rank, coalesce(title, item_id) AS item, category, last_price, reason"
            " FROM serve.recommendations WHERE run_id = %(run)s AND user_key = (SELECT min(user_key) FROM"
            " serve.recommendations WHERE run_id = %(run)s AND candidate_source <> 'popularity') AND rank <= %(n)s"
            " ORDER BY rank",
        ),
        look=look_at(context, folder),
    )


def grid(*headers: str, title: str) -> Table:
    """A terminal table in the report's style; numbers go to the right by their header's ending."""
    table = Table(title=title, title_justify="left", title_style="bold", box=box.SIMPLE_HEAD, pad_edge=False)
    for header in headers:
        table.add_column(header.rstrip("#"), justify="right" if header.endswith("#") else "left", overflow="fold")
    return table


def number(value: Any) -> str:
    """A figure as people read it; a dash for nothing."""
    if value is None:
        return "–"
    return f"{value:,.4f}" if isinstance(value, float) and abs(value) < 10 else f"{value:,.0f}"


def summary(night: Night) -> str:
    """The night for a terminal of a hundred columns."""
    console = Console(file=StringIO(), width=110, force_terminal=False, highlight=False)
    console.print(f"\n[bold]{night.source}, night of {night.date}: {night.status}[/]   run {night.run_id}")
    console.print(f"the CRM reads: {night.served}")
    lines = grid("fate", "lines#", title="New lines by fate")
    for fate, count in night.fates.items():
        lines.add_row(fate, f"{count:,}")
    for rule, count in night.quarantined:
        lines.add_row(f"  {rule}", f"{count:,}")
    console.print(lines)
    failed = night.failed_checks
    console.print(f"[bold]Checks[/]: {len(night.checks) - len(failed)} of {len(night.checks)} hold")
    for c in failed:
        console.print(f"  {c.severity}: {c.table}.{c.check_id}: expected {c.expected}, found {c.found}")
    models = grid(
        "model", "figure", "candidate#", "other#", "difference (95 % interval)", title="\nModels on later days"
    )
    for m in night.models:
        models.add_row(f"{m['kind']}: {m['method']}", "serves tonight", "", "", f"judged on {m['judged_on']}")
        for c in m["comparisons"]:
            told = f"{c['difference']:+.4f} [{c['low']:+.4f}, {c['high']:+.4f}] on {c['rows']:,}"
            values = (f"{c['candidate_value']:.4f}", f"{c['other_value']:.4f}")
            models.add_row(f"  {c['candidate']} against {c['other_name']}", c["metric"], *values, told)
    console.print(models)
    for m in night.models:
        if m["reason"]:
            console.print(f"{m['kind']}: {m['reason']}")
    times = grid("stage", "seconds#", "of it Spark's start#", title="Time by stage")
    for name, seconds, start in night.stages:
        times.add_row(name, f"{seconds:.1f}", f"{start:.1f}" if start else "")
    times.add_row("all", f"{night.seconds:.1f}", f"{sum(s for _, _, s in night.stages):.1f}")
    console.print(times)
    risk = grid("user", "probability#", "band", "money#", "why", title="At risk, most valuable first")
    for r in night.at_risk:
        probability, money = f"{r['churn_probability']:.2f}", f"{r['monetary']:,.0f}"
        risk.add_row(r["user"], probability, r["risk_band"], money, "; ".join(r["reasons"]))
    console.print(risk)
    items = grid("user", "rank#", "item", "price#", "why", title="Recommendations of one user")
    for r in night.recommendations:
        price = "–" if r["last_price"] is None else f"{r['last_price']:,.2f}"
        items.add_row(r["user"], str(r["rank"]), r["item"], price, r["reason"])
    console.print(items)
    console.print("[bold]Where to look[/]")
    for what, where in night.look:
        console.print(f"  {what:22}{where}", soft_wrap=True)
    written = console.file.getvalue()  # type: ignore[attr-defined]
    return "\n".join(line.rstrip() for line in written.splitlines()) + "\n"


def page(night: Night) -> str:
    """The night as one HTML page without scripts or outside resources."""
    templates = Environment(
        loader=FileSystemLoader(Path(__file__).parent / "templates"), autoescape=select_autoescape(["html"])
    )
    templates.filters["number"] = number
    return templates.get_template("night.html").render(night=night, longest=max([s for _, s, _ in night.stages] or [1]))


def run(context: Context) -> None:
    """Write both forms beside each other and log where."""
    folder = context.settings.home / "reports" / context.source.name / f"{context.business_date}-{context.run_id}"
    folder.mkdir(parents=True, exist_ok=True)
    night = collect(context, folder)
    (folder / "summary.txt").write_text(summary(night), encoding="utf-8")
    (folder / "night.html").write_text(page(night), encoding="utf-8")
    context.log.info("report=%s", folder / "night.html")


if __name__ == "__main__":
    main(run, "report_night", spark=False)
