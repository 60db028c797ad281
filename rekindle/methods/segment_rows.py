"""The segments of a night as rows: size, worth, what sets each apart, and what became of those of before."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import date
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rekindle.methods import segment_names
from rekindle.methods.partitions import adjusted_rand
from rekindle.methods.segment_models import BISECTING, TOPICS, Model, describe, steps
from rekindle.methods.segmenting import Passage, Sample
from rekindle.methods.topics import Topics

TOLD = 5  # features or words told of a segment


def overlap(passages: Sequence[Passage], ids_before: Sequence[str], groups: int) -> NDArray[np.int64]:
    """Users by segment of before and group of tonight, of those who were and are in one."""
    table = np.zeros((len(ids_before), groups), dtype=np.int64)
    place = {name: n for n, name in enumerate(ids_before)}
    for one in passages:
        if one.before in place and one.now is not None:
            table[place[one.before], one.now] += one.users
    return table


def apart(model: Model, sample: Sample) -> list[dict[str, Any]]:
    """What sets each group of the model apart: `features`, `feature_means`, `overall_means`, `z_differences`, the
    strongest first, and `z`, all of them by feature (of topics none)."""
    if isinstance(model.groups, Topics):
        topics = model.groups
        leading = [topics.leading(n)[:TOLD] for n in range(topics.count)]
        return [
            {
                "features": [topics.words[w] for w in words],
                "feature_means": [round(float(topics.shares[n, w]), 6) for w in words],
                "overall_means": [round(float(topics.usual[w]), 6) for w in words],
                "z_differences": [round(float(topics.lift(n)[w]), 4) for w in words],
                "z": {},
                "means": {},
            }
            for n, words in enumerate(leading)
        ]
    labels = model.groups.labels(model.points(sample.values))
    told = []
    for found in describe(sample.values, labels, model.features, model.count):
        z, means, overall = found["z"], found["means"], found["overall"]
        strongest = sorted((n for n in z if n in means and z[n]), key=lambda name: (-abs(z[name]), name))[:TOLD]
        told.append(
            {
                "features": strongest,
                "feature_means": [means[name] for name in strongest],
                "overall_means": [overall[name] for name in strongest],
                "z_differences": [z[name] for name in strongest],
                "z": z,
                "means": means,
            }
        )
    return told


def named(model: Model, sets_apart: Sequence[Mapping[str, Any]], before: Model | None) -> Model:
    """The model, which has its ids, with names; a segment that goes on keeps its name while it holds."""
    parts_before = dict(zip(before.ids, before.parts, strict=True)) if before else {}
    old = [parts_before.get(one) for one in model.ids]
    if model.method == TOPICS:
        words = model.topics.words
        leading = [[words[w] for w in model.topics.leading(n)] for n in range(model.count)]
        parts = segment_names.word_parts(leading, old)
    else:
        parts = segment_names.parts_of([(one["z"], one["means"].get("frequency", 0.0)) for one in sets_apart], old)
    return replace(model, parts=tuple(tuple(one) for one in parts))


def rows(
    model: Model,
    sets_apart: Sequence[Mapping[str, Any]],
    passages: Sequence[Passage],
    before: Sequence[Mapping[str, Any]] | None,
    fitted_date: date,
) -> list[dict[str, Any]]:
    """One row a segment of the model's method, and one for each of `before` (the rows of the publication before, those
    that had dissolved left out; None: nothing was published) that is no more."""
    everybody = sum(one.users for one in passages if one.now is not None)
    ids_before = [row["segment_id"] for row in before or ()]
    table = overlap(passages, ids_before, model.count)
    rand = round(adjusted_rand(table), 6) if table.sum() else None
    branches: Sequence[tuple[str | None, list[str] | None]] = [(None, None)] * model.count
    if model.method == BISECTING:
        branches = list(zip(model.tree.paths, steps(model), strict=True))
    of_method = {
        "method": model.method,
        "stability": model.stability,
        "adjusted_rand": rand,
        "highest_number": model.highest,
        "fitted_date": fitted_date,
    }
    found = []
    for n, (path, halvings) in enumerate(branches):
        here = [one for one in passages if one.now == n]
        users, spend = sum(one.users for one in here), float(sum(one.spend for one in here))
        stakes = [one.stake for one in here if one.stake is not None]
        words = {k: sets_apart[n][k] for k in ("features", "feature_means", "overall_means", "z_differences")}
        found.append(
            of_method
            | words
            | _passed(passages if before is not None else None, model.ids[n], n)
            | {
                "segment_id": model.ids[n],
                "name": segment_names.name(model.parts[n]),
                "name_parts": list(model.parts[n]),
                "status": "kept" if model.ids[n] in ids_before else "new",
                "users": users,
                "share": users / everybody if everybody else 0.0,
                "spend_90d": spend,
                "spend_90d_mean": spend / users if users else None,
                "value_at_stake": float(sum(stakes)) if stakes else None,
                "tree_path": ".".join(path) if path is not None else None,
                "tree_steps": halvings,
                "silhouette": model.silhouettes[n],
            }
        )
    gone = [row for row in before or () if row["segment_id"] not in model.ids]
    return found + [dissolved(row, passages, rand, model.highest) for row in gone]


def dissolved(row: Mapping[str, Any], passages: Sequence[Passage], rand: float | None, highest: int) -> dict[str, Any]:
    """The last row of a segment, made of its row of the publication before."""
    none = {"users": 0, "share": 0.0, "spend_90d": 0.0, "spend_90d_mean": None, "value_at_stake": None}
    unknown = {"stability": None, "silhouette": None, "adjusted_rand": rand, "highest_number": highest}
    return {**row, **none, **unknown, "status": "dissolved"} | _passed(passages, row["segment_id"], None)


def _passed(passages: Sequence[Passage] | None, segment: str, group: int | None) -> dict[str, int | None]:
    """Users before, entered and left, of the segment of this id and group of this number."""
    if passages is None:
        return dict.fromkeys(("users_before", "users_entered", "users_left"))
    before = [one for one in passages if one.before == segment]
    now = [one for one in passages if one.now == group and group is not None]
    stayed = sum(one.users for one in before if one.now == group and group is not None)
    were, are = sum(one.users for one in before), sum(one.users for one in now)
    return {"users_before": were, "users_entered": are - stayed, "users_left": were - stayed}
