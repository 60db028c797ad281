"""Pictures of a churn model on its judging slice, as PNG bytes drawn without a browser."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import Any

import altair as alt
import pandas as pd

SCALE = 1.5


def confusion_matrix(figures: Mapping[str, float], title: str) -> bytes:
    """The confusion matrix at its threshold: counts, and the share of the row, which is what happened."""
    cells = []
    for happened, said, name in (
        ("left", "at risk", "tp"),
        ("left", "not at risk", "fn"),
        ("stayed", "at risk", "fp"),
        ("stayed", "not at risk", "tn"),
    ):
        of = figures["tp"] + figures["fn"] if happened == "left" else figures["fp"] + figures["tn"]
        share = figures[name] / of if of else 0.0
        text = f"{figures[name]:,.0f} ({share:.0%})"
        cells.append({"happened": happened, "said": said, "share": share, "text": text})
    base = alt.Chart(pd.DataFrame(cells)).encode(
        x=alt.X(
            "said:N",
            title=f"said, at probability {figures['threshold']:g}",
            sort=["at risk", "not at risk"],
            axis=alt.Axis(labelAngle=0),
        ),
        y=alt.Y("happened:N", title="happened", sort=["left", "stayed"]),
    )
    squares = base.mark_rect().encode(
        color=alt.Color("share:Q", scale=alt.Scale(domain=[0, 1], scheme="blues"), legend=None)
    )
    words = base.mark_text(fontSize=14).encode(
        text="text:N", color=alt.condition(alt.datum.share > 0.5, alt.value("white"), alt.value("black"))
    )
    below = (
        f"accuracy {figures['accuracy']:.3f}, precision {figures['precision']:.3f},"
        f" recall {figures['recall']:.3f}, F1 {figures['f1']:.3f}"
    )
    return _png((squares + words).properties(width=300, height=220, title={"text": title, "subtitle": below}))


def reliability_plot(points: Mapping[str, Sequence[tuple[int, float, float]]], title: str) -> bytes:
    """What was said against what happened in ten equal-count bins, a line a model; the diagonal is honest."""
    rows = [
        {"model": name, "said": said, "happened": seen, "rows": size}
        for name, bins in points.items()
        for size, said, seen in bins
    ]
    honest = alt.Chart(pd.DataFrame({"said": [0.0, 1.0], "happened": [0.0, 1.0]})).mark_line(
        color="grey", strokeDash=[4, 4]
    )
    lines = (
        alt.Chart(pd.DataFrame(rows))
        .mark_line(point=True)
        .encode(
            x=alt.X("said:Q", title="probability said", scale=alt.Scale(domain=[0, 1])),
            y=alt.Y("happened:Q", title="share that left", scale=alt.Scale(domain=[0, 1])),
            color=alt.Color("model:N", title=None),
        )
    )
    return _png((honest.encode(x="said:Q", y="happened:Q") + lines).properties(width=300, height=300, title=title))


def _png(chart: Any) -> bytes:
    buffer = io.BytesIO()
    chart.save(buffer, format="png", scale_factor=SCALE)
    return buffer.getvalue()
