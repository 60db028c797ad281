"""A night's segmentation from first to last: who takes part, borders kept or drawn anew, ids, names, movements."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date
from typing import TYPE_CHECKING, Any

from rekindle.methods import segment_models, segment_rows, segmenting
from rekindle.methods.segment_models import K_MEANS, TOPICS, Model
from rekindle.methods.segment_settings import Segments
from rekindle.methods.segmenting import Vocabulary

if TYPE_CHECKING:
    from pyspark.sql import DataFrame


@dataclass(frozen=True)
class Before:
    """The publication before: its user_segments, its rows of segments, and its models with the dates of their fits.

    `is_later`: it is of a later date than tonight's, so that its borders have seen what tonight must not.
    """

    business_date: date
    users: DataFrame
    rows: Sequence[Mapping[str, Any]]
    models: Mapping[str, Model]
    fitted: Mapping[str, date]
    conf_is_same: bool
    is_later: bool

    def rows_of(self, method: str) -> list[Mapping[str, Any]]:
        """Its segments of the method that had not dissolved."""
        return [row for row in self.rows if row["method"] == method and row["status"] != "dissolved"]


@dataclass(frozen=True)
class Made:
    """What a night's segmentation comes to. `movements` is None where nothing was published before; rows are without
    the night's dates. `told` is for the stage's detail: users, why borders were drawn anew (`fitted_for`, None: they
    were not), segments by method, and `highest`, which is `given` of the nights to come."""

    members: DataFrame
    movements: DataFrame | None
    segments: list[dict[str, Any]]
    models: dict[str, Model]
    fitted: dict[str, date]
    told: dict[str, Any]
    held: tuple[DataFrame, ...]

    def release(self) -> None:
        """Give back the memory that its frames are kept in, once they are stored."""
        for frame in self.held:
            frame.unpersist()


def segmentation(
    events: DataFrame,
    features: DataFrame,
    excluded: DataFrame,
    items: DataFrame,
    before: Before | None,
    given: Mapping[str, int],
    conf: Segments,
    as_of: date,
    business_date: date,
    trains: bool,
    seed: int,
) -> Made:
    """Everybody's segments as of `as_of`, and what they are beside those of `before`.

    `features`, `excluded` and `items` are user_features, excluded_users and item_features of tonight. `given` is, by
    method, the highest number of an id that any night gave, also one that is served no more: `before` knows its own
    line only. On the driver are the sample, and a row or two a segment.
    """
    were = {m: replace(k, highest=max(k.highest, given.get(m, 0))) for m, k in before.models.items()} if before else {}
    known = {m: model for m, model in were.items() if model.ids} if before and not before.is_later else {}
    actions = segmenting.touched(events, as_of, conf.window_days).persist()
    why = segment_models.why_fit(known, bool(before and before.conf_is_same), trains)
    words = _vocabulary(known) if why is None else segmenting.vocabulary(actions, items, features.count(), conf)
    people = _people(features, excluded, actions, items, words, conf)
    segmented = people.where("unsegmented_as IS NULL")
    users = segmented.count()
    few = users < conf.least_users
    models = dict(known)
    some = None if few else segmenting.sample(segmented, users, conf, words)
    if some is not None and why is None and segment_models.is_worse(known, some.values, conf):
        why = "worse"
        people.unpersist()
        words = segmenting.vocabulary(actions, items, users, conf)
        people = _people(features, excluded, actions, items, words, conf)
        segmented = people.where("unsegmented_as IS NULL")
        some = segmenting.sample(segmented, users, conf, words)
    if some is not None and why is not None:
        models = segment_models.fitted(some.values, some.documents, conf, seed, known)
    if some is None or K_MEANS not in models:
        models, why, few = {}, None, True
    then = were.get(K_MEANS)
    then = then if then is not None and then.ids else None
    found = segmenting.assigned(segmented, models, then).persist()
    passed = segmenting.passages(found, before.users if before else None)
    rows = []
    fitted = dict(before.fitted) if before else {}
    for method, model in models.items():
        if some is None:
            break
        old = were.get(method)
        sets_apart = segment_rows.apart(model, some)
        if why is not None:
            overlap = segment_rows.overlap(passed[method], old.ids if old else (), model.count)
            model = segment_models.with_ids(model, old, overlap, conf.least_overlap, given.get(method, 0))
            model = segment_rows.named(model, sets_apart, old)
            fitted[method] = business_date
        models[method] = model
        of_before = before.rows_of(method) if before else None
        rows += segment_rows.rows(model, sets_apart, passed[method], of_before, fitted[method])
    # A method without groups tonight: its ids are remembered, so that none is given again.
    carried = {m: replace(k, ids=(), parts=()) for m, k in were.items() if m not in models}
    for method, old in carried.items():
        gone = before.rows_of(method) if before else []
        rows += [segment_rows.dissolved(row, passed[method], None, old.highest) for row in gone]
    members = segmenting.members(found, people, models, few)
    moved = segmenting.movements(members, found, before.users, models.get(K_MEANS), then) if before else None
    told = {"users": users, "fitted_for": why} | {method: model.count for method, model in models.items()}
    every = carried | models
    highest = dict(given) | {method: model.highest for method, model in every.items()}
    return Made(members, moved, rows, every, fitted, told | {"highest": highest}, (actions, people, found))


def _people(
    features: DataFrame, excluded: DataFrame, actions: DataFrame, items: DataFrame, words: Vocabulary, conf: Segments
) -> DataFrame:
    return segmenting.people(features, excluded, segmenting.described(actions, items, words), conf).persist()


def _vocabulary(models: Mapping[str, Model]) -> Vocabulary:
    """The words that the topics of before were made of; none where there are none."""
    if TOPICS not in models:
        return Vocabulary("category")
    return Vocabulary(models[TOPICS].words_of or "category", models[TOPICS].topics.words)
