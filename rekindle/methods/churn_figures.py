"""Pictures of a churn model on its judging slice, as PNG bytes drawn without a browser."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import altair as alt
import numpy as np
import pandas as pd
from numpy.typing import NDArray

SCALE = 1.5
# A curve of 200,000 users is drawn through so many of them: more is finer than a pixel.
MOST_POINTS = 200
MOST_BARS = 15
Scores = Mapping[str, NDArray[np.float64]]


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
            title=f"said, at probability {figures['threshold']:.3g}",
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


def roc_plot(label: NDArray[np.float64], scores: Scores, title: str) -> bytes:
    """Share of leavers found against share of stayers called, a line a model; the diagonal is knowing nothing."""

    def curve(left: NDArray[np.float64], stayed: NDArray[np.float64]) -> tuple[NDArray[np.float64], ...]:
        return stayed / stayed[-1], left / left[-1]

    axes = ("share of those who stayed that is called", "share of those who left that is found")
    return _curves(label, scores, curve, axes, title, ((0.0, 0.0), (1.0, 1.0)))


def precision_recall_plot(label: NDArray[np.float64], scores: Scores, title: str) -> bytes:
    """Share of the called that left against share of leavers found, a line a model; dashed is the base rate."""

    def curve(left: NDArray[np.float64], stayed: NDArray[np.float64]) -> tuple[NDArray[np.float64], ...]:
        called = left + stayed
        precision = np.divide(left, called, out=np.ones(len(called)), where=called > 0)
        return left / left[-1], precision

    base = float(label.mean())
    axes = ("recall: share of those who left that is found", "precision: share of the called that left")
    return _curves(label, scores, curve, axes, title, ((0.0, base), (1.0, base)))


def gain_plot(label: NDArray[np.float64], scores: Scores, title: str) -> bytes:
    """Share of leavers found against share of users called, a line a model; the diagonal is knowing nothing."""

    def curve(left: NDArray[np.float64], stayed: NDArray[np.float64]) -> tuple[NDArray[np.float64], ...]:
        return (left + stayed) / len(label), left / left[-1]

    axes = ("share of users called, likeliest first", "share of those who left that is found")
    return _curves(label, scores, curve, axes, title, ((0.0, 0.0), (1.0, 1.0)))


def importance_plot(importance: Mapping[str, float], title: str) -> bytes:
    """The 15 features that weigh most: mean size of what each adds to the margin."""
    most = sorted(importance.items(), key=lambda pair: (-pair[1], pair[0]))[:MOST_BARS]
    bars = (
        alt.Chart(pd.DataFrame(most, columns=["feature", "weight"]))
        .mark_bar()
        .encode(
            x=alt.X("weight:Q", title="mean |contribution| to the margin"),
            y=alt.Y("feature:N", title=None, sort=[name for name, _ in most]),
        )
    )
    return _png(bars.properties(width=300, height=300, title=title))


def called(label: NDArray[np.float64], score: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Those who left and those who stayed among the called so far, highest score first, from none to all."""
    order = np.argsort(-score, kind="stable")
    # Users of one score are called together.
    ends = np.append(np.flatnonzero(np.diff(score[order]) != 0), len(order) - 1)
    ends = ends[np.unique(np.linspace(0, len(ends) - 1, MOST_POINTS).astype(np.int64))]
    left = np.append(0.0, np.cumsum(label[order])[ends])
    return left, np.append(0.0, ends + 1.0) - left


def _curves(
    label: NDArray[np.float64],
    scores: Scores,
    curve: Callable[[NDArray[np.float64], NDArray[np.float64]], tuple[NDArray[np.float64], ...]],
    axes: tuple[str, str],
    title: str,
    nothing: tuple[tuple[float, float], tuple[float, float]],
) -> bytes:
    """Lines through what `curve` makes of the leavers and stayers called so far, highest score first; `nothing` is
    drawn dashed."""
    parts = []
    for name, score in scores.items():
        left, stayed = called(label, score)
        x, y = curve(left, stayed)
        parts.append(pd.DataFrame({"model": name, "x": x, "y": y, "place": np.arange(len(x))}))
    dashed = alt.Chart(pd.DataFrame(nothing, columns=["x", "y"])).mark_line(color="grey", strokeDash=[4, 4])
    lines = (
        alt.Chart(pd.concat(parts))
        .mark_line()
        .encode(
            x=alt.X("x:Q", title=axes[0], scale=alt.Scale(domain=[0, 1])),
            y=alt.Y("y:Q", title=axes[1], scale=alt.Scale(domain=[0, 1])),
            color=alt.Color("model:N", title=None),
            order="place:Q",
        )
    )
    return _png((dashed.encode(x="x:Q", y="y:Q") + lines).properties(width=300, height=300, title=title))


def _png(chart: Any) -> bytes:
    buffer = io.BytesIO()
    chart.save(buffer, format="png", scale_factor=SCALE)
    return buffer.getvalue()
