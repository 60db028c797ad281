"""By what users are put into segments: fitted on a sample, kept as JSON, and drawn anew only when there is a reason."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rekindle.methods import clusters, topics
from rekindle.methods.clusters import Centres, Halving, Judged, Tree
from rekindle.methods.partitions import matched
from rekindle.methods.segment_features import NAMES, Scale
from rekindle.methods.segment_settings import Segments
from rekindle.methods.topics import Topics

K_MEANS, BISECTING, TOPICS = METHODS = ("k_means", "bisecting", "topics")
LETTERS = {K_MEANS: "s", BISECTING: "b", TOPICS: "t"}
FEWEST_DOCUMENTS = 50  # below which no topics are looked for
FEWEST_WORDS = 4
TOPIC_RESAMPLES = 3  # or as many as conf's, if fewer: a fit of topics takes ten times a k-means


@dataclass(frozen=True, eq=False)
class Documents:
    """What users looked at: counts of words, float64 [users, words]."""

    words: tuple[str, ...]
    counts: NDArray[np.float64]
    words_of: str

    @property
    def spoken(self) -> NDArray[np.float64]:
        """The documents that have a word."""
        return np.asarray(self.counts[self.counts.sum(axis=1) > 0])


@dataclass(frozen=True, eq=False)
class Model:
    """A method's fitted groups. `scale` is null for topics; `words_of` (category or title) for all else.

    `spread` is the mean squared distance to the own centre at the fit, 0 where there is none. `ids` and `parts` (of
    names) are one a group, empty until they are given; without ids nobody is put into its groups. `highest` is the
    highest number that an id of the method was ever given.
    """

    method: str
    groups: Centres | Tree | Topics
    scale: Scale | None
    words_of: str | None
    stability: float
    silhouettes: tuple[float | None, ...]
    spread: float = 0.0
    ids: tuple[str, ...] = ()
    parts: tuple[tuple[str, ...], ...] = ()
    highest: int = 0

    @property
    def count(self) -> int:
        """How many segments."""
        return self.groups.count

    @property
    def centres(self) -> Centres:
        """The groups of k-means.

        Raises:
            ValueError: another method's; so do `tree`, `topics` and `features`.
        """
        if not isinstance(self.groups, Centres):
            raise ValueError(f"{self.method} has no centres of k-means")
        return self.groups

    @property
    def tree(self) -> Tree:
        """The groups of bisecting."""
        if not isinstance(self.groups, Tree):
            raise ValueError(f"{self.method} has no tree of halvings")
        return self.groups

    @property
    def topics(self) -> Topics:
        """The groups of topics."""
        if not isinstance(self.groups, Topics):
            raise ValueError(f"{self.method} has no topics")
        return self.groups

    @property
    def features(self) -> Scale:
        """The scale of a method that looks at features."""
        if self.scale is None:
            raise ValueError(f"{self.method} has no scale: it looks at words")
        return self.scale

    def points(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """Features as points of its scale."""
        return self.features.points(values)

    def to_json(self) -> str:
        """All of it; floats as Python prints them, so that nothing is lost."""
        groups: Any
        if isinstance(self.groups, Centres):
            groups = self.groups.centres.tolist()
        elif isinstance(self.groups, Tree):
            groups = [{"path": one.path, "centres": one.centres.tolist()} for one in self.groups.halvings]
        else:
            groups = self.groups.to_json()
        told = {
            "groups": groups,
            "scale": self.scale.to_json() if self.scale else None,
            "words_of": self.words_of,
            "stability": self.stability,
            "silhouettes": list(self.silhouettes),
            "spread": self.spread,
            "ids": list(self.ids),
            "parts": [list(parts) for parts in self.parts],
            "highest": self.highest,
        }
        return json.dumps(told, ensure_ascii=False, sort_keys=True, allow_nan=False)

    @classmethod
    def from_json(cls, method: str, text: str) -> Model:
        """What `to_json` wrote."""
        told = json.loads(text)
        groups: Centres | Tree | Topics
        if method == K_MEANS:
            groups = Centres(np.array(told["groups"]))
        elif method == BISECTING:
            groups = Tree(tuple(Halving(one["path"], np.array(one["centres"])) for one in told["groups"]))
        else:
            groups = Topics.from_json(told["groups"])
        return cls(
            method,
            groups,
            Scale.from_json(told["scale"]) if told["scale"] else None,
            told["words_of"],
            told["stability"],
            tuple(told["silhouettes"]),
            told["spread"],
            tuple(told["ids"]),
            tuple(tuple(parts) for parts in told["parts"]),
            told["highest"],
        )


def why_fit(before: Mapping[str, Model], conf_is_same: bool, trains: bool) -> str | None:
    """Why borders are drawn anew tonight, whatever users did: first, conf or training; None: no such reason."""
    if K_MEANS not in before:
        return "first"
    if not conf_is_same:
        return "conf"
    return "training" if trains else None


def is_worse(before: Mapping[str, Model], values: NDArray[np.float64], conf: Segments) -> bool:
    """Whether tonight's users lie so much further from their centres than those of the fit did that borders are drawn
    anew."""
    model = before[K_MEANS]
    return model.centres.spread(model.points(values)) > model.spread * (1 + conf.worse_by)


def fitted(
    values: NDArray[np.float64], documents: Documents, conf: Segments, seed: int, before: Mapping[str, Model]
) -> dict[str, Model]:
    """Models by method, without ids: of features [users, NAMES] (NaN is null), rows in no meaningful order, and of the
    words of some of the users. Methods begin where those of `before` stood; what finds nothing is left out."""
    found: dict[str, Model] = {}
    if np.unique(np.nan_to_num(values, nan=-1.0), axis=0).shape[0] >= conf.fewest:
        scale = Scale.fit(values)
        points = scale.points(values)
        found[K_MEANS] = _k_means(points, scale, conf, seed, before.get(K_MEANS))
        found[BISECTING] = _bisecting(points, scale, conf, seed, before.get(BISECTING))
    spoken = documents.spoken
    if len(spoken) >= FEWEST_DOCUMENTS and (spoken.sum(axis=0) > 0).sum() >= FEWEST_WORDS:
        found[TOPICS] = _topics(spoken, documents, conf, seed, before.get(TOPICS))
    return found


def _k_means(points: NDArray[np.float64], scale: Scale, conf: Segments, seed: int, before: Model | None) -> Model:
    warm = None
    if before is not None and before.features.names == scale.names:
        warm = before.features.moved(before.centres.centres, scale)
    tried: dict[int, Judged] = {}
    for count in clusters.numbers(conf.fewest, conf.most, len(points)):
        groups = clusters.k_means(points, count, seed, warm)
        again = clusters.resampled(points, lambda p, n=count: clusters.k_means(p, n, seed), seed, conf.resamples)  # type: ignore[misc]
        tried[count] = clusters.judged(points, groups, again)
    count = clusters.best(tried, conf.least_stability, conf.least_share, len(warm) if warm is not None else None)
    return _made(K_MEANS, tried[count], scale, tried[count].groups.spread(points))


def _bisecting(points: NDArray[np.float64], scale: Scale, conf: Segments, seed: int, before: Model | None) -> Model:
    warm = None
    if before is not None and before.features.names == scale.names:
        halvings = [Halving(h.path, before.features.moved(h.centres, scale)) for h in before.tree.halvings]
        warm = Tree(tuple(halvings))
    counts = clusters.numbers(conf.fewest, conf.most, len(points))
    whole = clusters.bisecting(points, counts[-1], seed, warm)
    again = clusters.resampled(points, lambda p: clusters.bisecting(p, counts[-1], seed), seed, conf.resamples)
    trees = [one for one in again if isinstance(one, Tree)]
    # A number of groups that halving does not reach is not tried.
    tried = {
        n: clusters.judged(points, whole.cut(n), [tree.cut(n) for tree in trees])
        for n in sorted({min(n, whole.count) for n in counts})
    }
    count = clusters.best(tried, conf.least_stability, conf.least_share, warm.count if warm else None)
    return _made(BISECTING, tried[count], scale, 0.0)


def _topics(spoken: NDArray[np.float64], given: Documents, conf: Segments, seed: int, before: Model | None) -> Model:
    warm = None
    if before is not None and before.words_of == given.words_of:
        warm = before.topics
    most = max(2, min(conf.most_topics, len(given.words) // 2))
    counts = range(min(conf.fewest_topics, most), most + 1)
    tried = topics.numbers_tried(spoken, given.words, counts, seed)
    count = topics.best(tried, warm.count if warm else None)
    groups = topics.fit(spoken, given.words, count, seed, warm)
    again = clusters.resampled(
        spoken, lambda d: topics.fit(d, given.words, count, seed), seed, min(conf.resamples, TOPIC_RESAMPLES)
    )
    stable = round(clusters.stability(spoken, groups.labels(spoken), again), 6)
    return Model(TOPICS, groups, None, given.words_of, stable, (None,) * count)


def _made(method: str, best: Judged, scale: Scale, spread: float) -> Model:
    silhouettes = tuple(None if np.isnan(value) else round(float(value), 6) for value in best.silhouettes)
    return Model(method, best.groups, scale, None, round(best.stability, 6), silhouettes, round(spread, 9))


def with_ids(
    model: Model, before: Model | None, overlap: NDArray[np.int64], least_overlap: float, given: int = 0
) -> Model:
    """The model with an id for each group: that of the segment it goes on as, else the next that was never given.

    `overlap` has users by segment of `before` and group of tonight; `given` is the highest number that is known to have
    been given by others than `before`.
    """
    old, highest = (before.ids, max(before.highest, given)) if before else ((), given)
    goes_on = matched(overlap, least_overlap) if old else {}
    ids = []
    for group in range(model.count):
        if group in goes_on:
            ids.append(old[goes_on[group]])
        else:
            highest += 1
            ids.append(f"{LETTERS[model.method]}{highest:03d}")
    return replace(model, ids=tuple(ids), highest=highest)


def dense(words: Sequence[str], spoken: Sequence[Any], times: Sequence[Any]) -> NDArray[np.float64]:
    """Counts of words, float64 [users, words], of each user's words and how often (None: none); others are left out."""
    place = {word: n for n, word in enumerate(words)}
    found = np.zeros((len(spoken), len(words)))
    for row, (said, often) in enumerate(zip(spoken, times, strict=True)):
        for word, count in zip(said if said is not None else (), often if often is not None else (), strict=True):
            if word in place:
                found[row, place[word]] += count
    return found


def describe(values: NDArray[np.float64], labels: NDArray[np.int64], scale: Scale, count: int) -> list[dict[str, Any]]:
    """What sets each group apart: `z` by feature, on the scale, in standard deviations of all; means of the group and
    of all in each feature's unit, of users who have it."""
    standard = scale.standard(values)
    deviation = standard.std(axis=0)
    told = []
    overall = _means(values)
    for group in range(count):
        here = labels == group
        shift = standard[here].mean(axis=0) - standard.mean(axis=0) if here.any() else np.zeros(len(scale.names))
        z = np.where(deviation > 0, shift / np.where(deviation > 0, deviation, 1.0), 0.0)
        told.append(
            {
                "z": {name: round(float(value), 4) for name, value in zip(scale.names, z, strict=True)},
                "means": _means(values[here]),
                "overall": overall,
            }
        )
    return told


def _means(values: NDArray[np.float64]) -> dict[str, float]:
    known = np.isfinite(values)
    totals, counts = np.where(known, values, 0.0).sum(axis=0), known.sum(axis=0)
    return {name: round(float(totals[n] / counts[n]), 6) for n, name in enumerate(NAMES) if counts[n]}


def steps(model: Model) -> list[list[str]]:
    """For each group of bisecting what each halving on its path was about: the feature that the most of the distance
    between the halves comes from, and whether the group is in the high or in the low one."""
    about: dict[str, str] = {}
    for one in model.tree.halvings:
        apart = one.centres[0] - one.centres[1]
        at = int(np.abs(apart).argmax())
        high = "1" if apart[at] > 0 else "2"
        for half in "12":
            about[one.path + half] = f"{model.features.names[at]}:{'high' if half == high else 'low'}"
    return [[about[path[: n + 1]] for n in range(len(path))] for path in model.tree.paths]
