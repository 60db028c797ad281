"""The night for a terminal of 110 columns, in the first language of the report. Wide characters take two columns."""

from __future__ import annotations

from io import StringIO

from rich import box
from rich.cells import cell_len
from rich.console import Console, Group, RenderableType
from rich.table import Table

from report import changes
from report.answers import joined, reason_words, than
from report.night import Night
from report.page import FORMS, fate_words, holdout_words, served_words, value_words
from report.risk import Risk, by_cause
from report.words import NOTHING, Words, number, words, written

WIDTH = 110
MOST_RULES = 12


def grid(*headers: str, title: str) -> Table:
    """A terminal table in the report's style; numbers go to the right by their header's ending."""
    table = Table(title=title, title_justify="left", title_style="bold", box=box.SIMPLE_HEAD, pad_edge=False)
    for header in headers:
        table.add_column(header.rstrip("#"), justify="right" if header.endswith("#") else "left", overflow="fold")
    return table


def summary(night: Night, look: list[tuple[str, str]], language: str) -> str:
    """The night, what matters first; `look` is where to look, (what, where or which command)."""
    w = words(language)
    # What a table says is text, whatever brackets are in it.
    console = Console(
        file=StringIO(), width=WIDTH, force_terminal=False, highlight=False, markup=False, emoji=False, no_color=True
    )
    for part in parts(night, w):
        console.print(part)
    longest = max((cell_len(what) for what, _ in look), default=0)
    console.print(w("title.look"))
    for what, where in look:
        console.print(f"  {what}{' ' * (longest + 1 - cell_len(what))}{where}", soft_wrap=True)
    written_text = console.file.getvalue()  # type: ignore[attr-defined]
    return "\n".join(line.rstrip() for line in written_text.splitlines()) + "\n"


def parts(night: Night, w: Words) -> list[RenderableType]:
    """Lines and tables, in order."""
    colon = w("page.colon")
    status, run = w.term("status", night.status), w("page.run")
    other = f" ({run} {night.served[1]})" if night.served and not night.is_served else ""
    changed = changes.plain(changes.told(night, w), w)
    failed = night.failed_checks
    title = w("page.title", source=night.source, day=night.date)
    return [
        f"\n{title}{colon}{status}   {run} {night.run_id}",
        f"{served_words(night, w)}{other}\n",
        headline(night, w),
        f"{w('question.trust')} {w.term('verdict', night.trust.verdict)}",
        *(
            f"  {joined((w.html(f'level.{one.level}'), reason_words(one, w)), w).striptags()}"
            for one in night.trust.against
        ),
        f"\n{w('title.changed')}",
        *(f"  {sentence}" for sentence in changed or [w("changed.nothing")]),
        *([risk_summary(night.risk, w)] if night.risk else []),
        new_lines(night, w),
        w("checks.held", held=len(night.checks) - len(failed), all=len(night.checks)),
        *(
            "  "
            + w(
                "checks.one",
                severity=w(f"severity.{c.severity}"),
                check=f"{c.table}.{c.check_id}",
                expected=c.expected,
                found=c.found,
            )
            for c in failed
        ),
        model_table(night, w),
        *(f"{w.term('kind', m.kind)}{colon}{w.sentence(m.reason) or m.reason}" for m in night.models if m.reason),
        samples(night, w),
        times(night, w),
    ]


def headline(night: Night, w: Words) -> Table:
    """The cards as a table."""
    table = grid("", f"{w('col.tonight')}#", w("col.day_before"), w("col.week_before"), title=w("nav.headline"))
    for card in night.cards:
        shown = written(card.value, FORMS.get(card.name, "count"))
        beside = [NOTHING if card.before[when][1] is None else than(card, when, w) for when in card.before]
        table.add_row(w(f"headline.{card.name}"), shown, *beside)
    return table


def new_lines(night: Night, w: Words) -> Table:
    """Lines by fate, and the quarantined by rule."""
    lines = grid(w("col.fate"), f"{w('col.tonight')}#", title=f"\n{w('title.lines')}")
    for fate, count in night.fates.items():
        lines.add_row(w(f"fate.{fate}"), f"{count:,}")
    for rule, count in night.rules[:MOST_RULES]:
        known = f"{w.term('rule', rule)} ({rule})" if w.has_term("rule", rule) else rule
        lines.add_row(f"  {known}", f"{count:,}")
    return lines


def model_table(night: Night, w: Words) -> Table:
    """Every model that serves, with what it was compared with."""
    difference = f"{w('col.difference')} (95 %)"
    values = (f"{w('col.candidate_value')}#", f"{w('col.other_value')}#", difference, f"{w('col.rows')}#")
    table = grid(w("nav.models"), w("col.figure"), *values, title=f"\n{w('title.models')}")
    for m in night.models:
        whole = f"{w.term('kind', m.kind)}{w('page.colon')}{m.method}"
        table.add_row(whole, w("models.serves"), "", "", m.judged_on.replace(" to ", " – "), "")
        for c in m.comparisons:
            told = f"{c['difference']:+.4f} [{c['low']:+.4f}, {c['high']:+.4f}]"
            values = (f"{c['candidate_value']:.4f}", f"{c['other_value']:.4f}", told, f"{c['rows']:,}")
            names = w("models.against", candidate=c["candidate"], other=c["other_name"])
            table.add_row(f"  {names}", c["metric"], *values)
    return table


def times(night: Night, w: Words) -> Table:
    """Stages beside what they usually take."""
    usual = night.usual_seconds
    headers = (w("col.stage"), f"{w('col.seconds')}#", f"{w('col.spark_start')}#", f"{w('col.usual')}#")
    table = grid(*headers, title=f"\n{w('title.times')}")
    for name, seconds, start in night.stages:
        often = f"{usual[name]:.1f}" if name in usual else ""
        table.add_row(name, f"{seconds:.1f}", f"{start:.1f}" if start else "", often)
    table.add_row(w("times.all"), f"{night.seconds:.1f}", f"{sum(s for _, _, s in night.stages):.1f}", "")
    return table


def samples(night: Night, w: Words) -> Group:
    """A few users at risk, and the first items of one user."""
    headers = (w("col.user"), f"{w('col.probability')}#", f"{w('col.value_at_stake')}#", w("col.action"), w("col.why"))
    risk = grid(*headers, title=f"\n{w('risk.sample')}")
    for r in night.risk.sample if night.risk else []:
        probability, stake = f"{r['churn_probability']:.2f}", number(r["value_at_stake"])
        why = w("page.semicolon").join(w.sentence(one) or one for one in r["reasons"])
        risk.add_row(r["user"], probability, stake, w.term("action", r["suggested_action"]), why)
    headers = (w("col.user"), f"{w('col.rank')}#", w("col.item"), f"{w('col.price')}#", w("col.why"))
    items = grid(*headers, title=w("offers.sample"))
    for r in night.offers.sample if night.offers else []:
        price = NOTHING if r["last_price"] is None else f"{r['last_price']:,.2f}"
        items.add_row(r["user"], str(r["rank"]), r["item"], price, w.sentence(r["reason"]) or r["reason"])
    return Group(risk, items)


def risk_summary(risk: Risk, w: Words) -> Group:
    """Bands, what changed and the dialogue with the CRM."""
    headers = (w("col.band"), *(f"{w(f'col.{one}')}#" for one in ("users", "mean_probability", "value_at_stake")))
    bands = grid(*headers, title=f"\n{w('title.risk')}")
    for b in risk.bands:
        bands.add_row(w.term("band", b["risk_band"]), f"{b['users']:,}", f"{b['probability']:.2f}", number(b["value"]))
    told = [
        w("changed.one", n=c["users"], change=w(f"change.{c['change']}"), cause=w(f"cause.risk_{c['cause']}"))
        for c in by_cause(risk.changes)
    ]
    lines = [f"{w('risk.changes')}{w('page.colon')}{w.listed(told) or w('changed.nothing')}"]
    lines += [holdout_words(group, w).striptags() for group in risk.holdout]
    back = w("page.semicolon").join(f"{n:,} {fate_words(name, w)}" for name, n in risk.written_back)
    silent = w("page.semicolon").join(f"{n:,} {w.term('suppressed', name)}" for name, n in risk.suppressed)
    lines += [f"{w('dialogue.written_back')} {back}"] if back else []
    lines += [f"{w('dialogue.suppressed')} {silent}"] if silent else []
    value = value_words(risk.value, w).striptags()
    return Group(bands, *([value, ""] if value else []), *lines)
