"""Pictures of what definitions of churn say, as SVG text for a page that loads nothing, drawn without a browser.

They are as wide as a phone, so that their words keep their size there. The same figures give the same text.
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from datetime import date
from typing import Any

import altair as alt
import numpy as np
import pandas as pd

from rekindle.methods.churn_definitions import Comparison
from rekindle.methods.interpurchase import STILL_COME, Array, Curve

WIDTH, HEIGHT = 330, 230
POINTS = 300  # of a line: more than a phone has columns
INK, SOFT, MARK = "#1d2733", "#5c6b7a", "#b3382c"
# Windows are steps of one blue by length; each of the others has a hue of its own.
RULES = {"cadence": "#d98a1f", "BTYD": "#b3382c", "survival": "#1b7f4d"}
BLUES = ("#b9d3ea", "#1f4e82")


def curve_plot(everybody: Curve, by_number: Mapping[str, Curve], bend: int | None) -> str:
    """Share of purchases that another has followed, by days; blue by purchases so far; the chord and the knee."""
    last = everybody.last
    rows = [_line(1 - everybody.survival[: last + 1], "all")]
    rows += [_line(1 - one.survival[: one.last + 1], name) for name, one in by_number.items()]
    names = ["all", *by_number]
    blues = alt.Scale(domain=names, range=[INK, *_between(*BLUES, len(by_number))])
    lines = (
        alt.Chart(pd.concat(rows))
        .mark_line()
        .encode(
            x=alt.X("day:Q", title="days since the purchase", scale=alt.Scale(domain=[0, last], nice=False)),
            y=_share("share:Q", "share who have bought again"),
            color=alt.Color("name:N", scale=blues, title="purchases so far", legend=alt.Legend(columns=3)),
            size=alt.condition(alt.datum.name == "all", alt.value(2.5), alt.value(1.2)),
            detail="name:N",
        )
    )
    chord = pd.DataFrame({"day": [0, last], "share": [0.0, float(1 - everybody.survival[last])]})
    layers = [alt.Chart(chord).mark_line(color=SOFT, strokeDash=[2, 3], size=1).encode(x="day:Q", y="share:Q"), lines]
    if bend is not None:
        layers += _mark(bend, f"knee {bend} days", last, below=HEIGHT - 18)
    return _svg(alt.layer(*layers))


def return_plot(chance: Array, horizon: int, eligibility: int, own: int) -> str:
    """Chance to buy within the horizon by silence so far; the share below which it is few, what is proposed and conf's
    own eligibility. `chance` has one value or more."""
    end = max(len(chance) - 1, eligibility, own)
    line = (
        alt.Chart(_line(chance, "chance"))
        .mark_line(color=INK, size=2.5)
        .encode(
            x=alt.X("day:Q", title="days of silence", scale=alt.Scale(domain=[0, end], nice=False)),
            y=_share("share:Q", f"share who buy in the next {horizon} days"),
        )
    )
    few = alt.Chart(pd.DataFrame({"share": [STILL_COME]})).mark_rule(color=SOFT, strokeDash=[2, 3]).encode(y="share:Q")
    marks = _mark(eligibility, f"proposed {eligibility}", end)
    if own != eligibility:
        marks += _mark(own, f"conf {own}", end, below=18, color=SOFT)
    return _svg(alt.layer(few, line, *marks))


def base_plot(found: Comparison, days: Sequence[date]) -> str:
    """Share called gone at each cut-off, a line a definition."""
    rows = [
        {"definition": told.name, "day": day.isoformat(), "share": share}
        for told in found.told
        for day, share in zip(days, told.base.tolist(), strict=True)
    ]
    scale = _colours(found)
    chart = (
        alt.Chart(pd.DataFrame(rows))
        .mark_line(point=True)
        .encode(
            x=alt.X("day:O", title="cut-off", axis=alt.Axis(labelAngle=-60)),
            y=_share("share:Q", "share called gone"),
            color=alt.Color("definition:N", scale=scale, title=None, sort=list(scale.domain)),
        )
    )
    return _svg(chart)


def lead_plot(found: Comparison, longest: int) -> str:
    """Days before the longest window's end at which a definition calls gone: median and quartiles."""
    rows = [
        {"definition": told.name, "low": told.lead[0], "middle": told.lead[1], "high": told.lead[2]}
        for told in found.told
        if np.isfinite(told.lead).all()
    ]
    scale = _colours(found)
    base = alt.Chart(pd.DataFrame(rows, columns=["definition", "low", "middle", "high"])).encode(
        y=alt.Y("definition:N", title=None, sort=list(scale.domain)),
        color=alt.Color("definition:N", scale=scale, legend=None),
    )
    axis = alt.Scale(domain=[0, longest], nice=False)
    bars = base.mark_bar(height=5).encode(
        x=alt.X("low:Q", title="days earlier than the longest window", scale=axis), x2="high:Q"
    )
    return _svg(bars + base.mark_point(filled=True, size=80, opacity=1).encode(x="middle:Q"))


def _line(values: Array, name: str) -> pd.DataFrame:
    """Up to POINTS points of a line whose places are days, the first and the last among them."""
    places = np.unique(np.linspace(0, len(values) - 1, min(len(values), POINTS)).round().astype(np.int64))
    return pd.DataFrame({"day": places, "share": values[places], "name": name})


def _mark(day: int, words: str, end: int, below: int = 4, color: str = MARK) -> list[Any]:
    at = pd.DataFrame({"day": [day], "words": [words]})
    late = day > end / 2
    rule = alt.Chart(at).mark_rule(color=color, size=1.5).encode(x="day:Q")
    text = alt.Chart(at).mark_text(
        color=color, align="right" if late else "left", dx=-5 if late else 5, fontSize=12, baseline="top"
    )
    return [rule, text.encode(x="day:Q", y=alt.value(below), text="words:N")]


def _share(field: str, title: str) -> alt.Y:
    return alt.Y(field, title=title, axis=alt.Axis(format="%"), scale=alt.Scale(domainMin=0))


def _colours(found: Comparison) -> alt.Scale:
    names = [told.name for told in found.told]
    blues = iter(_between(*BLUES, sum(told.is_window for told in found.told)))
    return alt.Scale(domain=names, range=[next(blues) if t.is_window else RULES[t.name] for t in found.told])


def _between(first: str, last: str, count: int) -> list[str]:
    """So many colours from the first to the last, in even steps."""
    ends = np.array([[int(c[n : n + 2], 16) for n in (1, 3, 5)] for c in (first, last)], dtype=np.float64)
    return [
        "#" + "".join(f"{round(x):02x}" for x in ends[0] + (ends[1] - ends[0]) * k) for k in np.linspace(0, 1, count)
    ]


def _svg(chart: Any) -> str:
    buffer = io.StringIO()
    chart.properties(width=WIDTH, height=HEIGHT).configure(font="sans-serif").configure_axis(
        labelFontSize=12,
        titleFontSize=12,
        titleFontWeight="normal",
        labelColor=SOFT,
        titleColor=SOFT,
        gridColor="#eef2f5",
    ).configure_view(stroke=None).configure_legend(
        orient="bottom", labelFontSize=12, titleFontSize=12, titleFontWeight="normal", columns=4, labelColor=INK
    ).save(buffer, format="svg")
    return buffer.getvalue()
