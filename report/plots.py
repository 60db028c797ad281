"""The report's plots as SVG text, drawn without a browser, as wide as a phone. The same figures give the same text.

Colours are those of PALETTE alone: the page's style sheet gives each of them another value in the dark.
"""

from __future__ import annotations

import io
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import altair as alt
import pandas as pd

from report.words import Words

WIDTH, HEIGHT = 330, 220
INK, SOFT, GRID = "#1d2733", "#52616f", "#dde4ea"
BLUE, RED, GREEN, AMBER, VIOLET = "#2f6fae", "#b3382c", "#1b7f4d", "#a86410", "#7a4fa3"
LIGHT = "#9dbfdf"
PALETTE = (INK, SOFT, GRID, BLUE, RED, GREEN, AMBER, VIOLET, LIGHT)
LINES = (BLUE, AMBER, GREEN, VIOLET, RED)
# What the style sheet calls a colour that a legend names.
VARIABLES = {BLUE: "--blue", RED: "--red", GREEN: "--green", AMBER: "--amber", VIOLET: "--violet"}
Rows = Sequence[Mapping[str, Any]]


@dataclass(frozen=True)
class Plot:
    """A plot, and what its colours mean: (variable of the style sheet, words). The page writes the legend itself, in
    its own font, so that nothing overlaps."""

    svg: str
    legend: tuple[tuple[str, str], ...] = ()


def reliability(curves: Mapping[str, Sequence[Sequence[float]]], champion: str, words: Words) -> Plot:
    """What was said against what happened in ten equal-count bins, the champion in front; the diagonal is honest."""
    rows = [{"model": name, "said": said, "happened": seen} for name, bins in curves.items() for _, said, seen in bins]
    honest = pd.DataFrame({"said": [0.0, 1.0], "happened": [0.0, 1.0]})
    x = alt.X("said:Q", title=words("plot.said"), scale=_unit(), axis=_share_axis())
    y = alt.Y("happened:Q", title=words("plot.happened"), scale=_unit(), axis=_share_axis())
    lines = alt.Chart(pd.DataFrame(rows)).mark_line(point={"size": 24}).encode(x=x, y=y, **_models(curves, champion))
    return Plot(_svg(_dashed(honest, "said", "happened") + lines), _legend(_ranked(curves, champion)))


def roc(curves: Mapping[str, Sequence[Sequence[float]]], champion: str, words: Words) -> Plot:
    """Share of leavers found against share of stayers called; the diagonal is knowing nothing."""
    rows = [
        {"model": name, "called": called, "found": found, "place": place}
        for name, points in curves.items()
        for place, (called, found) in enumerate(points)
    ]
    nothing = pd.DataFrame({"called": [0.0, 1.0], "found": [0.0, 1.0]})
    x = alt.X("called:Q", title=words("plot.called"), scale=_unit(), axis=_share_axis())
    y = alt.Y("found:Q", title=words("plot.found"), scale=_unit(), axis=_share_axis())
    lines = alt.Chart(pd.DataFrame(rows)).mark_line().encode(x=x, y=y, order="place:Q", **_models(curves, champion))
    return Plot(_svg(_dashed(nothing, "called", "found") + lines), _legend(_ranked(curves, champion)))


def curves(rows: Rows, words: Words, unit: str) -> Plot:
    """Mean retention by periods since the first: `period`, `kind` (bounded, unbounded) and `share`."""
    kinds = list(dict.fromkeys(one["kind"] for one in rows))
    scale = alt.Scale(domain=kinds, range=list(LINES[: len(kinds)]))
    whole = alt.Axis(format="d", tickMinStep=1)
    chart = (
        alt.Chart(pd.DataFrame(rows))
        .mark_line(point={"size": 18})
        .encode(
            x=alt.X("period:Q", title=words(f"plot.periods_{unit}"), axis=whole),
            y=alt.Y("share:Q", title=words("plot.share_active"), scale=_unit(), axis=_share_axis()),
            color=alt.Color("kind:N", scale=scale, legend=None),
        )
    )
    return Plot(_svg(chart), _legend([words(f"retention.{kind}") for kind in kinds]))


def repurchase(rows: Rows, words: Words) -> Plot:
    """Share of buyers who have bought again by days since the first purchase (Kaplan-Meier), with its interval."""
    base = alt.Chart(pd.DataFrame(rows)).encode(x=alt.X("day:Q", title=words("plot.days_since_first")))
    y = alt.Y("share:Q", title=words("plot.bought_again"), scale=_unit(), axis=_share_axis())
    band = base.mark_area(color=LIGHT, opacity=0.6, interpolate="step-after").encode(
        y=alt.Y("low:Q", scale=_unit(), title=words("plot.bought_again")), y2="high:Q"
    )
    return Plot(_svg(band + base.mark_line(color=BLUE, interpolate="step-after").encode(y=y)))


def decomposition(rows: Rows, words: Words) -> Plot:
    """Users by period: new, retained and come back above the line, lost below it."""
    kinds = {"retained": BLUE, "new": GREEN, "resurrected": AMBER, "lost": RED}
    told = [
        {
            "period": words.tick(row["period_start"]),
            "kind": kind,
            "users": -row[f"{kind}_users"] if kind == "lost" else row[f"{kind}_users"],
            "place": place,
        }
        for row in rows
        for place, kind in enumerate(kinds)
        if row[f"{kind}_users"] is not None
    ]
    scale = alt.Scale(domain=list(kinds), range=list(kinds.values()))
    order = [words.tick(row["period_start"]) for row in rows]
    chart = (
        alt.Chart(pd.DataFrame(told))
        .mark_bar()
        .encode(
            x=alt.X("period:O", title=None, sort=order, axis=alt.Axis(labelAngle=-45)),
            y=alt.Y("users:Q", title=words("plot.users"), axis=alt.Axis(format=",d")),
            color=alt.Color("kind:N", scale=scale, legend=None),
            order="place:Q",
        )
    )
    legend = tuple((VARIABLES[colour], words(f"retention.{kind}")) for kind, colour in kinds.items())
    return Plot(_svg(chart), legend)


def by_day(rows: Rows, words: Words) -> Plot:
    """Users and buyers by day: `period_start`, `active_users`, `buyers`."""
    kinds = ("active_users", "buyers")
    told = [
        {"day": row["period_start"].isoformat(), "kind": kind, "users": row[kind]} for row in rows for kind in kinds
    ]
    scale = alt.Scale(domain=list(kinds), range=list(LINES[: len(kinds)]))
    axis = alt.Axis(format="%-m/%-d", labelAngle=0, tickCount=6)
    chart = (
        alt.Chart(pd.DataFrame(told))
        .mark_line()
        .encode(
            x=alt.X("day:T", title=words("plot.day"), axis=axis),
            y=alt.Y("users:Q", title=words("plot.users"), axis=alt.Axis(format=",d")),
            color=alt.Color("kind:N", scale=scale, legend=None),
        )
    )
    return Plot(_svg(chart), _legend([words(f"headline.{kind}") for kind in kinds]))


def _ranked(curves: Mapping[str, Any], champion: str) -> list[str]:
    return sorted(curves, key=lambda name: (name != champion, name))


def _models(curves: Mapping[str, Any], champion: str) -> dict[str, Any]:
    names = _ranked(curves, champion)
    scale = alt.Scale(domain=names, range=[LINES[at % len(LINES)] for at in range(len(names))])
    return {
        "color": alt.Color("model:N", scale=scale, legend=None),
        "size": alt.condition(alt.datum.model == champion, alt.value(2.5), alt.value(1.2)),
    }


def _legend(names: Sequence[str]) -> tuple[tuple[str, str], ...]:
    return tuple((VARIABLES[LINES[at % len(LINES)]], name) for at, name in enumerate(names))


def _dashed(ends: pd.DataFrame, x: str, y: str) -> Any:
    return alt.Chart(ends).mark_line(color=SOFT, strokeDash=[4, 4], size=1).encode(x=f"{x}:Q", y=f"{y}:Q")


def _unit() -> alt.Scale:
    return alt.Scale(domain=[0, 1])


def _share_axis() -> alt.Axis:
    return alt.Axis(format=".0%", tickCount=5)


def _svg(chart: Any) -> str:
    """The chart as an element of a page; what it shows is said beside it, so its parts are hidden from readers."""
    axis = {"labelColor": SOFT, "titleColor": SOFT, "gridColor": GRID, "domainColor": SOFT, "tickColor": SOFT}
    sized = (
        chart.properties(width=WIDTH - 60, height=HEIGHT, background="transparent")
        .configure(aria=False, font="system-ui, sans-serif")
        .configure_view(stroke=None)
        .configure_axis(labelFontSize=11, titleFontSize=11, titleFontWeight="normal", **axis)
    )
    buffer = io.StringIO()
    sized.save(buffer, format="svg")
    found = re.sub(r"<\?xml.*?\?>|<!DOCTYPE.*?>", "", buffer.getvalue(), flags=re.S).strip()
    return re.sub(r"^<svg ", '<svg aria-hidden="true" focusable="false" ', found)
