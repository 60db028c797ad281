"""The night for a terminal of 110 columns, in English."""

from __future__ import annotations

from io import StringIO

from rich import box
from rich.console import Console, Group
from rich.table import Table

from report import changes
from report.answers import reason_words, than
from report.night import Night
from report.page import FORMS, holdout_words, value_words
from report.risk import Risk, by_cause
from report.words import NOTHING, number, words, written

WIDTH = 110
MOST_RULES = 12


def grid(*headers: str, title: str) -> Table:
    """A terminal table in the report's style; numbers go to the right by their header's ending."""
    table = Table(title=title, title_justify="left", title_style="bold", box=box.SIMPLE_HEAD, pad_edge=False)
    for header in headers:
        table.add_column(header.rstrip("#"), justify="right" if header.endswith("#") else "left", overflow="fold")
    return table


def summary(night: Night, look: list[tuple[str, str]]) -> str:
    """The night, what matters first."""
    w = words("en")
    console = Console(file=StringIO(), width=WIDTH, force_terminal=False, highlight=False)
    status = w.term("status", night.status)
    console.print(f"\n[bold]{night.source}, night of {w.day(night.date)}: {status}[/]   run {night.run_id}")
    served = f"{night.served[0]} (run {night.served[1]})" if night.served else "nothing yet"
    console.print(f"the CRM reads: {served}\n")
    console.print(headline(night))
    console.print(f"[bold]Can I trust last night?[/] {w.term('verdict', night.trust.verdict)}")
    for reason in night.trust.against:
        console.print(f"  {reason.level}: {reason_words(reason, w).striptags()}")
    changed = changes.plain(changes.told(night, w), w)
    console.print(f"\n[bold]What changed[/]{'' if changed else ': nothing to compare with, or no change'}")
    for sentence in changed:
        console.print(f"  {sentence}")
    if night.risk:
        console.print(risk_summary(night.risk))
    console.print(new_lines(night))
    failed = night.failed_checks
    console.print(f"[bold]Checks[/]: {len(night.checks) - len(failed)} of {len(night.checks)} hold")
    for c in failed:
        console.print(f"  {c.severity}: {c.table}.{c.check_id}: expected {c.expected}, found {c.found}")
    console.print(model_table(night))
    for m in night.models:
        if m.reason:
            console.print(f"{m.kind}: {m.reason}")
    console.print(samples(night))
    console.print(times(night))
    console.print("[bold]Where to look[/]")
    for what, where in look:
        console.print(f"  {what:22}{where}", soft_wrap=True)
    written_text = console.file.getvalue()  # type: ignore[attr-defined]
    return "\n".join(line.rstrip() for line in written_text.splitlines()) + "\n"


def headline(night: Night) -> Table:
    """The cards as a table."""
    w = words("en")
    table = grid("", "tonight#", "the day before", "a week before", title="Headline")
    for card in night.cards:
        shown = written(card.value, FORMS.get(card.name, "count"))
        beside = [NOTHING if card.before[when][1] is None else than(card, when, w) for when in card.before]
        table.add_row(w(f"headline.{card.name}"), shown, *beside)
    return table


def new_lines(night: Night) -> Table:
    """Lines by fate, and the quarantined by rule."""
    lines = grid("fate", "lines#", title="\nNew lines by fate")
    for fate, count in night.fates.items():
        lines.add_row(fate, f"{count:,}")
    for rule, count in night.rules[:MOST_RULES]:
        lines.add_row(f"  {rule}", f"{count:,}")
    return lines


def model_table(night: Night) -> Table:
    """Every model that serves, with what it was compared with."""
    table = grid(
        *("model", "figure", "candidate#", "other#", "difference (95 %)", "rows#"), title="\nModels on later days"
    )
    for m in night.models:
        table.add_row(f"{m.kind}: {m.method}", "serves tonight", "", "", f"{m.judged_on}", "")
        for c in m.comparisons:
            told = f"{c['difference']:+.4f} [{c['low']:+.4f}, {c['high']:+.4f}]"
            values = (f"{c['candidate_value']:.4f}", f"{c['other_value']:.4f}", told, f"{c['rows']:,}")
            table.add_row(f"  {c['candidate']} against {c['other_name']}", c["metric"], *values)
    return table


def times(night: Night) -> Table:
    """Stages beside what they usually take."""
    usual = night.usual_seconds
    table = grid("stage", "seconds#", "of it Spark's start#", "usual#", title="\nTime by stage")
    for name, seconds, start in night.stages:
        often = f"{usual[name]:.1f}" if name in usual else ""
        table.add_row(name, f"{seconds:.1f}", f"{start:.1f}" if start else "", often)
    table.add_row("all", f"{night.seconds:.1f}", f"{sum(s for _, _, s in night.stages):.1f}", "")
    return table


def samples(night: Night) -> Group:
    """A few users at risk, and the first items of one user."""
    risk = grid("user", "probability#", "at stake#", "action", "why", title="\nAt risk, most to lose first")
    for r in night.risk.sample if night.risk else []:
        probability, stake = f"{r['churn_probability']:.2f}", number(r["value_at_stake"])
        risk.add_row(r["user"], probability, stake, r["suggested_action"], "; ".join(r["reasons"]))
    items = grid("user", "rank#", "item", "price#", "why", title="Recommendations of one user")
    for r in night.offers.sample if night.offers else []:
        price = "–" if r["last_price"] is None else f"{r['last_price']:,.2f}"
        items.add_row(r["user"], str(r["rank"]), r["item"], price, r["reason"])
    return Group(risk, items)


def risk_summary(risk: Risk) -> Group:
    """Bands, what changed and whether the probabilities can be believed, for a terminal."""
    w = words("en")
    bands = grid("band", "users#", "mean probability#", "value at stake#", title="\nWho may leave")
    for b in risk.bands:
        bands.add_row(b["risk_band"], f"{b['users']:,}", f"{b['probability']:.2f}", number(b["value"]))
    told = [f"{c['users']:,} {c['change']} by {c['cause']}" for c in by_cause(risk.changes)]
    lines = [f"[bold]Since the publication before[/]: {', '.join(told) or 'nothing to compare with, or no change'}"]
    lines += [
        f"[bold]Alarm[/]: {one['kind']} {one['name']} is {one['value']:.3f}, limit {one['alarm_above']:g}"
        for one in risk.alarms
    ]
    lines += [holdout_words(group, w).striptags() for group in risk.holdout]
    back = ", ".join(f"{n:,} {name}" for name, n in risk.written_back)
    silent = ", ".join(f"{n:,} {name}" for name, n in risk.suppressed)
    lines += [f"[bold]The CRM wrote back of late[/]: {back}"] if back else []
    lines += [f"[bold]Not to be contacted[/]: {silent}"] if silent else []
    value = value_words(risk.value, w).striptags()
    return Group(bands, *([value, ""] if value else []), *lines)
