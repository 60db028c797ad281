"""Say what came out of the night: a summary for the terminal and one HTML page.

Reads   ops, the registry, recommendations, at_risk_users, churn_changes, churn_health, outcomes, suppressed_users (as
        staged in the warehouse)
Writes  reports/<source>/<date>-<run>/summary.txt, night.html

People are shown by the first digits of their pseudonyms: a report lies in more places than the CRM's tables.
"""

from __future__ import annotations

import base64
import json
from collections import Counter
from dataclasses import asdict, dataclass
from io import StringIO
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, select_autoescape
from psycopg.rows import dict_row
from rich import box
from rich.console import Console, Group
from rich.table import Table

from rekindle import night_headline, registry, warehouse
from rekindle.cli import Context, main
from rekindle.failpoints import failpoint
from rekindle.ledger import MODEL_KINDS, CheckRecord, StageRecord
from rekindle.methods.holdout import detectable_difference

SAMPLE = 5
STATUS_WORDS = {
    "published": "published",
    "stored_older": "stored, not served: a newer night is",
    "open": "not published",
}


PICTURES = (
    ("roc.png", "ROC curves of the offered models and what knowing nothing gives"),
    ("precision_recall.png", "Precision against recall of the offered models"),
    ("reliability.png", "Probability said against share that left, in ten bins of equal size"),
    ("gain.png", "Share of all leavers found among the users with the highest scores"),
    ("confusion_matrix.png", "Said and happened at the threshold from which a contact pays"),
    ("importance.png", "Inputs that weigh most in the champion"),
)


@dataclass(frozen=True)
class ChurnNight:
    """What is shown of who may leave.

    Attributes:
        bands: users, mean probability and money by band, highest first.
        actions, changes: counts.
        watched: every figure of churn_health, alarms first.
        table: every method of the champion's training on all judged users, best first; `groups` the champion's.
        pictures: (title, PNG in base64).
        value: from what value at stake was learnt, and what could not be; empty where nothing is told.
        holdout: of all who are watched and of those at risk, how many are held out, how many not, the share that is
            expected to leave, and the least true difference in it that would be seen (null without either group).
        written_back: what became of what the CRM wrote back, outcomes by fate and rule; empty if it wrote nothing.
        suppressed: whom nobody may contact, by reason, in a sentence; empty if nobody.
    """

    bands: list[dict[str, Any]]
    actions: list[dict[str, Any]]
    changes: list[dict[str, Any]]
    watched: list[dict[str, Any]]
    table: list[dict[str, Any]]
    groups: list[dict[str, Any]]
    threshold: dict[str, Any]
    pictures: list[tuple[str, str]]
    value: str = ""
    holdout: tuple[dict[str, Any], ...] = ()
    written_back: str = ""
    suppressed: str = ""

    @property
    def tenths(self) -> list[tuple[float, float]]:
        """(money expected, money spent) of a user on average, by tenths of what was expected, least first."""
        found = {one["name"]: one["value"] for one in self.watched if one["kind"] == "value"}
        said = sorted(name for name in found if name.startswith("tenth_") and name.endswith("_said"))
        return [(found[name], found[name.replace("_said", "_came")]) for name in said]

    @property
    def dialogue(self) -> list[tuple[str, str]]:
        """What the CRM told and what it must not do, with the words for each."""
        return [("The CRM wrote back of late", self.written_back), ("Not to be contacted", self.suppressed)]

    @property
    def alarms(self) -> list[dict[str, Any]]:
        """Figures past their limit."""
        return [one for one in self.watched if one["is_alarm"]]


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
    churn: ChurnNight | None = None

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
        # Beside the plain scores only what serves is told: five candidates by four scores fill a screen.
        trained = [
            asdict(c) | {"candidate": r.name}
            for r in records
            for c in r.comparisons
            if r.name == record.name or not c.other.startswith("score:")
        ]
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


def churn_night(context: Context) -> ChurnNight | None:
    """Who may leave, from the warehouse and the champion's artefact; None where the night has no champion."""
    champion = context.ledger.run_champions(context.run_id).get("churn")
    if champion is None:
        return None
    folder = context.settings.environment.lake.artefacts / champion.digest
    judged = json.loads((folder / registry.JUDGED).read_bytes()) if (folder / registry.JUDGED).exists() else {}
    rows = judged.get("methods", [])
    everybody = [one for one in rows if one["group"] == "all" and "roc_auc" in one]
    scored = [s.detail for s in context.ledger.stages(context.run_id) if s.name == "score_churn" and s.status == "done"]
    return ChurnNight(
        bands=asked(
            context,
            "SELECT risk_band, count(*) AS users, avg(churn_probability) AS probability, sum(value_at_stake) AS value,"
            " avg((is_at_risk)::int) AS at_risk FROM serve.at_risk_users WHERE run_id = %(run)s GROUP BY 1 ORDER BY 3"
            " DESC",
        ),
        actions=asked(
            context,
            "SELECT suggested_action, count(*) AS users, sum(value_at_stake) AS value FROM serve.at_risk_users"
            " WHERE run_id = %(run)s GROUP BY 1 ORDER BY 3 DESC NULLS LAST, 1",
        ),
        changes=asked(
            context,
            "SELECT change, cause, coalesce(band_before, '–') AS band_before, coalesce(band_after, '–') AS band_after,"
            " count(*) AS users FROM serve.churn_changes WHERE run_id = %(run)s GROUP BY 1, 2, 3, 4 ORDER BY 5 DESC,"
            " 1, 2, 3, 4",
        ),
        watched=asked(
            context,
            "SELECT kind, name, value, alarm_above, is_alarm, known_as_of FROM serve.churn_health"
            " WHERE run_id = %(run)s ORDER BY is_alarm DESC, kind, name",
        ),
        table=sorted(everybody, key=lambda one: (-one["roc_auc"], one["method"])),
        groups=[one for one in rows if one["method"] == champion.method and "roc_auc" in one],
        threshold=judged.get("threshold", {}),
        pictures=[
            (title, base64.b64encode((folder / name).read_bytes()).decode())
            for name, title in PICTURES
            if (folder / name).exists()
        ],
        value=value_words(scored[-1].get("value", {}) if scored else {}),
        holdout=tuple(held_out(context)),
        written_back=counted(
            context,
            "SELECT concat_ws(': ', fate, rule), count(*) FROM serve.outcomes WHERE run_id = %(run)s GROUP BY 1"
            " ORDER BY 2 DESC, 1",
        ),
        suppressed=counted(
            context,
            "SELECT reason, count(*) FROM serve.suppressed_users WHERE run_id = %(run)s GROUP BY 1 ORDER BY 2 DESC, 1",
        ),
    )


def counted(context: Context, statement: str) -> str:
    """A query's names and counts in words; empty where it has no rows."""
    return ", ".join(f"{n:,} {name}" for name, n in (row.values() for row in asked(context, statement)))


def held_out(context: Context) -> list[dict[str, Any]]:
    """Tonight's holdout among all who are watched and among those at risk, with what can be seen by it."""
    share = context.settings.business.holdout_share
    groups = asked(
        context,
        "SELECT g.name, count(*) FILTER (WHERE k.holdout_draw < %(share)s) AS held_out,"
        " count(*) FILTER (WHERE k.holdout_draw >= %(share)s) AS others, avg(t.churn_probability) AS rate"
        " FROM serve.at_risk_users t JOIN vault.user_keys k ON k.source = t.source AND k.key_version = %(version)s"
        " AND k.user_key = t.user_key"
        " CROSS JOIN LATERAL (SELECT 'all who are watched' AS name UNION ALL SELECT 'at risk' WHERE t.is_at_risk) g"
        " WHERE t.run_id = %(run)s GROUP BY 1 ORDER BY 1",
        share=share,
        version=context.this_run.key_version,
    )
    return [g | {"seen": detectable_difference(g["held_out"], g["others"], g["rate"])} for g in groups]


def holdout_words(group: dict[str, Any]) -> str:
    """A group's holdout in a sentence."""
    told = f"{group['name']}: {group['held_out']:,} of {group['held_out'] + group['others']:,} are held out"
    if group["seen"] is None:
        return f"{told}; nothing can be seen without both groups"
    return (
        f"{told}; {group['rate']:.0%} are expected to leave, and a true difference of"
        f" {100 * group['seen']:.1f} points between the groups would be seen"
    )


def value_words(told: dict[str, Any]) -> str:
    """What score_churn said of its models of purchases, in a sentence or two."""
    if "model" not in told:
        return f"No value is told: {told['not_told']}" if "not_told" in told else ""
    return "; ".join([f"Purchases to come by {told['model']} of {told['buyers']:,} buyers", *told["degraded"]])


def asked(context: Context, statement: str, **values: Any) -> list[dict[str, Any]]:
    """All rows of a query about the run; its groups are few."""
    with warehouse.connect(context.settings.environment, "writer") as connection:
        cursor = connection.cursor(row_factory=dict_row)
        return cursor.execute(statement, {"run": context.run_id} | values).fetchall()


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
            "SELECT left(user_key, 8) AS user, churn_probability, risk_band, reasons, lowers_risk, value_at_stake,"
            " value_at_stake_low, value_at_stake_high, expected_days_to_purchase, suggested_action,"
            " round(recency_days::numeric) AS recency_days, frequency FROM serve.at_risk_users"
            " WHERE run_id = %(run)s AND is_at_risk"
            " ORDER BY churn_probability * value_at_stake DESC NULLS LAST, user_key LIMIT %(n)s",
        ),
        recommendations=sample(
            context,
            "SELECT left(user_key, 8) AS user, rank, coalesce(title, item_id) AS item, category, last_price, reason"
            " FROM serve.recommendations WHERE run_id = %(run)s AND user_key = (SELECT min(user_key) FROM"
            " serve.recommendations WHERE run_id = %(run)s AND candidate_source <> 'popularity') AND rank <= %(n)s"
            " ORDER BY rank",
        ),
        look=look_at(context, folder),
        churn=churn_night(context),
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
    if night.churn:
        console.print(churn_summary(night.churn))
    risk = grid("user", "probability#", "at stake#", "action", "why", title="At risk, most to lose first")
    for r in night.at_risk:
        probability, stake = f"{r['churn_probability']:.2f}", number(r["value_at_stake"])
        risk.add_row(r["user"], probability, stake, r["suggested_action"], "; ".join(r["reasons"]))
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


def churn_summary(churn: ChurnNight) -> Group:
    """Bands, what changed and whether the probabilities can be believed, for a terminal."""
    bands = grid("band", "users#", "mean probability#", "value at stake#", title="Who may leave")
    for b in churn.bands:
        bands.add_row(b["risk_band"], f"{b['users']:,}", f"{b['probability']:.2f}", number(b["value"]))
    told = [f"{c['users']:,} {c['change']} by {c['cause']}" for c in by_cause(churn.changes)]
    lines = [f"[bold]Since the publication before[/]: {', '.join(told) or 'nothing to compare with, or no change'}"]
    lines += [
        f"[bold]Alarm[/]: {one['kind']} {one['name']} is {one['value']:.3f}, limit {one['alarm_above']:g}"
        for one in churn.alarms
    ]
    lines += [f"[bold]Holdout[/], {holdout_words(group)}" for group in churn.holdout]
    lines += [f"[bold]{what}[/]: {told}" for what, told in churn.dialogue if told]
    return Group(bands, *([churn.value, ""] if churn.value else []), *lines, "")


def by_cause(changes: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Changes counted by kind and cause, most first."""
    counted: Counter[tuple[str, str]] = Counter()
    for one in changes:
        counted[one["change"], one["cause"]] += one["users"]
    ordered = sorted(counted.items(), key=lambda pair: (-pair[1], pair[0]))
    return [{"change": change, "cause": cause, "users": users} for (change, cause), users in ordered]


def page(night: Night) -> str:
    """The night as one HTML page without scripts or outside resources."""
    templates = Environment(
        loader=FileSystemLoader(Path(__file__).parent / "templates"), autoescape=select_autoescape(["html"])
    )
    templates.filters["number"] = number
    templates.filters["holdout_words"] = holdout_words
    return templates.get_template("night.html").render(night=night, longest=max([s for _, s, _ in night.stages] or [1]))


def run(context: Context) -> None:
    """Write both forms beside each other and log where."""
    folder = context.settings.home / "reports" / context.source.name / f"{context.business_date}-{context.run_id}"
    folder.mkdir(parents=True, exist_ok=True)
    night = collect(context, folder)
    failpoint("report.before_files")
    (folder / "summary.txt").write_text(summary(night), encoding="utf-8")
    (folder / "night.html").write_text(page(night), encoding="utf-8")
    context.log.info("report=%s", folder / "night.html")
    [users] = asked(
        context,
        "SELECT count(*) AS users, count(*) FILTER (WHERE is_at_risk) AS at_risk FROM serve.at_risk_users"
        " WHERE run_id = %(run)s",
    )
    night_headline.say(night_headline.headline(context, folder / "night.html", **users))


if __name__ == "__main__":
    main(run, "report_night", spark=False)
