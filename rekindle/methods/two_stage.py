"""Two stages: cheap methods name candidates, boosted trees put them in order (Covington et al. 2016, "Deep neural
networks for YouTube recommendations"). The trees are LambdaMART (Burges 2010), trained by XGBoost's rank:ndcg.

The order is learnt from one inner split in time. With T the instant as of which the interactions are known, the sources
are fitted on what is older than T − holdout_days, every feature is what was known then, and an example is (user who did
something in the holdout days, candidate), with label 1 where he did something with it in them. Then the sources are
fitted again on everything. Candidates of a user are each source's best among items he had and as many of its best among
items he had not, so that lists of either kind can be cut from the same scores. Features: see `Facts` and `_named`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import sparse

from rekindle.methods.baselines import FittedPopularity, FittedRepeatLast, Popularity
from rekindle.methods.content import FittedContent
from rekindle.methods.factors import FactorModel
from rekindle.methods.interactions import Fitted, Interactions, Method, Users, best, matrix_of, ragged_of
from rekindle.methods.model_arrays import packed, unpacked
from rekindle.methods.neighbours import FittedItemNeighbours, FittedUserNeighbours
from rekindle.methods.popularity import popularity
from rekindle.methods.ragged import Ragged
from rekindle.methods.session_neighbours import FittedSessionNeighbours
from rekindle.methods.xgboost_scoring import load_booster, margins

HALF_LIVES = {"popularity 7 days": 7.0, "popularity 28 days": 28.0, "popularity 90 days": 90.0}
TREES: Mapping[str, Any] = {  # chosen of 11 on days before those judged
    "objective": "rank:ndcg",
    "tree_method": "hist",
    "nthread": 1,
    "eta": 0.05,
    "max_depth": 3,
    "lambdarank_num_pair_per_sample": 20,  # pairs are made of the first so many of a list and all the rest
}
# What a source's files are read by: the method that its model.json names.
READERS: Mapping[str, Callable[[Mapping[str, bytes]], Fitted]] = {
    "content": FittedContent.from_files,
    "popularity": FittedPopularity.from_files,
    "repeat_last": FittedRepeatLast.from_files,
    "item_neighbours": FittedItemNeighbours.from_files,
    "user_neighbours": FittedUserNeighbours.from_files,
    "session_neighbours": FittedSessionNeighbours.from_files,
    "implicit_als": FactorModel.from_files,
    "bpr": FactorModel.from_files,
}
OF_USER = ("user items", "user events", "user active days", "user days since last")
OF_ITEM = tuple(f"item {what}" for what in (*HALF_LIVES, "users", "days since first", "days since last"))
OF_PAIR = ("pair times", "pair days since last", "pair due", "pair had")


@dataclass(frozen=True, eq=False)
class Facts:
    """What features are made of, all of it known at one instant; days are counted back from it, rows are events.

    Attributes:
        user: float64 [n_users, 4]: distinct items, events, days active (of 24 hours, counted back from the instant),
            days since the last event; NaN for a user without events.
        item: float64 [n_items, 6]: Σ strength · 2^(−age / half-life) for each of HALF_LIVES, users, days since the
            first and the last event; 0 and NaN for an item without events.
        usual: float64 [n_items], days: the median over users of `interval`, NaN if nobody had it on two days.
        pair: int64 [pairs], user · n_items + item of all pairs with an event, ascending.
        times: float64 [pairs], events of the pair.
        last: float64 [pairs], days since the last of them.
        interval: float64 [pairs], mean days between the pair's days; NaN for a pair of one day.
    """

    user: NDArray[np.float64]
    item: NDArray[np.float64]
    usual: NDArray[np.float64]
    pair: NDArray[np.int64]
    times: NDArray[np.float64]
    last: NDArray[np.float64]
    interval: NDArray[np.float64]

    @classmethod
    def of(cls, known: Interactions) -> Facts:
        """The facts as of the instant from which ages count; the order of rows changes nothing."""
        n_users, n_items = known.n_users, known.n_items
        order = np.lexsort((known.age_days, known.item, known.user))
        age, key = known.age_days[order], known.user[order] * n_items + known.item[order]
        day = np.floor(age).astype(np.int64)
        pair, start, times = np.unique(key, return_index=True, return_counts=True)
        of_user, of_item, end = pair // n_items, pair % n_items, start + times - 1
        another_day = (np.diff(key) == 0) & (np.diff(day) > 0)
        gaps = np.bincount(np.searchsorted(pair, key[1:][another_day]), minlength=len(pair))
        interval = np.where(gaps > 0, (day[end] - day[start]) / np.maximum(gaps, 1), np.nan)

        active = np.unique(np.stack([key // n_items, day]), axis=1)[0]
        counts = [np.bincount(of, minlength=n_users) for of in (of_user, key // n_items, active)]
        user = np.stack([*counts, _by(of_user, age[start], "min", n_users)], axis=1)
        user[counts[0] == 0] = np.nan
        popular = [
            popularity(
                known.item, known.age_days, known.strength, n_items=n_items, window_days=np.inf, half_life_days=h
            )
            for h in HALF_LIVES.values()
        ]
        ages = [_by(of_item, age[end], "max", n_items), _by(of_item, age[start], "min", n_items)]
        item = np.stack([*popular, np.bincount(of_item, minlength=n_items), *ages], axis=1)
        usual = _by(of_item, interval, "median", n_items)
        return cls(user, item, usual, pair, times.astype(np.float64), age[start], interval)

    @cached_property
    def _touched(self) -> sparse.csr_matrix:
        shape = (len(self.user), len(self.item))
        return sparse.csr_matrix((np.ones(len(self.pair)), (self.pair // shape[1], self.pair % shape[1])), shape=shape)

    def had(self, users: Users) -> NDArray[np.bool_]:
        """What each had, bool [users, n_items]: a known user (index ≥ 0) by the interactions, others by history."""
        found = matrix_of(users.histories, len(self.item)).toarray() != 0
        found[users.index >= 0] = self._touched[users.index[users.index >= 0]].toarray() > 0
        return np.asarray(found)

    def features(
        self, users: Users, row: NDArray[np.int64], item: NDArray[np.int64], had: NDArray[np.bool_]
    ) -> NDArray[np.float64]:
        """OF_USER, OF_ITEM and OF_PAIR of the pairs (users[row], item), float64 [pairs, 14]; `had` is `had(users)`.

        "pair due" is the days since the last time over the user's interval for the item, or over the item's usual one
        where he had it on one day; NaN where he never had it or there is no interval. Times are 0 for what he never
        had. Of an unknown user (index −1) only distinct items and `had` are known: the rest, but times 0, is NaN.
        """
        known = users.index >= 0
        own = np.full((len(users), len(OF_USER)), np.nan)
        own[known] = self.user[users.index[known]]
        own[~known, 0] = had[~known].sum(axis=1)

        pair_had, key = had[row, item], users.index[row] * len(self.item) + item
        place = np.minimum(np.searchsorted(self.pair, key), len(self.pair) - 1)
        told = known[row] & pair_had  # else the place is another pair's
        times = np.where(told, self.times[place], np.where(pair_had, np.nan, 0.0))
        last = np.where(told, self.last[place], np.nan)
        interval = np.where(np.isnan(self.interval[place]), self.usual[item], self.interval[place])
        pair = np.stack([times, last, last / interval, pair_had], axis=1)
        return np.concatenate([own[row], self.item[item], pair], axis=1)


@dataclass(frozen=True)
class TwoStage:
    """Boosted trees over the candidates of other methods.

    Attributes:
        sources: what names candidates, one or more; histories are served as they are, so none may want them faded.
        candidates: of each source, items that the user had and as many that he had not, 1 or more each.
        holdout_days: length of the inner split's later part, above 0; best as long as what lists are made for.
        rounds: trees, 1 or more.
        seed: of XGBoost, 0 or more; with TREES as they are nothing is drawn.

    Raises:
        ValueError: a setting out of its bounds.
    """

    sources: Sequence[Method]
    candidates: int
    holdout_days: float
    rounds: int
    seed: int

    def __post_init__(self) -> None:
        if min(len(self.sources), self.candidates, self.rounds) < 1 or self.seed < 0:
            told = f"{len(self.sources)} sources, {self.candidates} candidates, {self.rounds} rounds, seed {self.seed}"
            raise ValueError(f"TwoStage: {told}; expected 1, 1, 1, 0 or more")
        if not 0 < self.holdout_days < np.inf:
            raise ValueError(f"TwoStage: {self.holdout_days} holdout days, expected above 0")
        for source in self.sources:  # popularity fades what it counts and looks at no history
            if not isinstance(source, Popularity) and getattr(source, "half_life_days", None) is not None:
                raise ValueError(f"TwoStage: source {source.name} wants faded histories, which are not served here")

    @property
    def name(self) -> str:
        """What tables and records call it."""
        return "two_stage"

    def fit(self, known: Interactions) -> FittedTwoStage:
        """Fit the sources on the past, learn the order of their candidates, fit the sources on everything.

        The same interactions in any order give the same bytes.

        Raises:
            ValueError: nothing happened in the holdout days or before them, or no candidate was wanted in them.
        """
        import xgboost

        before, after = parted(known, self.holdout_days)
        past = self.first_stage(before)
        matrix, label, group = past.examples(before, after)
        data = xgboost.DMatrix(matrix, label, group=group, feature_names=list(past.names), nthread=1)
        booster = xgboost.train({**TREES, "seed": self.seed}, data, self.rounds)
        return FittedTwoStage(self.first_stage(known), bytes(booster.save_raw("ubj")))

    def first_stage(self, known: Interactions) -> FirstStage:
        """The sources fitted, and the facts, as of the instant from which ages count."""
        return FirstStage([s.fit(known) for s in self.sources], _named(self.sources), self.candidates, Facts.of(known))


def parted(known: Interactions, holdout_days: float) -> tuple[Interactions, Interactions]:
    """What was known `holdout_days` ago, with ages as of then, and what was done since, with ages as of now.

    Raises:
        ValueError: either is empty.
    """
    old = known.age_days > holdout_days
    if not old.any() or old.all():
        where = f"{'in' if old.any() else 'before'} the last {holdout_days} days"
        raise ValueError(f"TwoStage: none of {len(known)} interactions is {where}")
    before, after = (
        replace(known, user=known.user[r], item=known.item[r], strength=known.strength[r], age_days=known.age_days[r])
        for r in (old, ~old)
    )
    return replace(before, age_days=before.age_days - holdout_days), after


@dataclass(frozen=True, eq=False)
class FirstStage:
    """Fitted sources and the facts as of the same instant; `names` are the features' by the order of the matrix."""

    sources: Sequence[Fitted]
    names: Sequence[str]
    candidates: int
    facts: Facts

    def rows(self, users: Users) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float32]]:
        """All candidates of these users by user and item: user's row and item, int64 [pairs], and their features.

        Scores are rounded to float32, so that a source's own rounding beside other users does not show in them.
        """
        had = self.facts.had(users)
        chosen = np.zeros(had.shape, dtype=bool)
        of_sources = []
        for source in self.sources:
            scores = source.scores(users).astype(np.float32)
            rank = np.full(had.shape, np.nan, dtype=np.float32)
            for kind in (had, ~had):
                top = best(np.where(kind, scores, np.float32(-np.inf)), self.candidates)
                row, place = np.nonzero(top >= 0)
                rank[row, top[row, place]] = place + 1
            chosen |= ~np.isnan(rank)
            of_sources += [np.where(np.isfinite(scores), scores, np.float32(np.nan)), rank]
        row, item = (found.astype(np.int64) for found in np.nonzero(chosen))
        facts = self.facts.features(users, row, item, had).astype(np.float32)
        return row, item, np.concatenate([np.stack([f[row, item] for f in of_sources], axis=1), facts], axis=1)

    def examples(
        self, before: Interactions, after: Interactions
    ) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.int64]]:
        """Features [pairs, features], labels [pairs] and candidates [users] of those who wanted one of theirs.

        Who did nothing before is left out: he says nothing about histories. Who wanted none of them teaches no order.

        Raises:
            ValueError: nobody did.
        """
        users = np.intersect1d(before.user, after.user)
        histories, wanted = ragged_of(before.matrix()[users]), after.matrix()
        matrix, label, group = [], [], []
        for _, some in Users(users, histories).blocks(before.n_items):
            row, item, features = self.rows(some)
            hit = np.asarray(wanted[some.index[row], item]).ravel() > 0
            told = np.bincount(row[hit], minlength=len(some)) > 0
            matrix.append(features[told[row]])
            label.append(hit[told[row]].astype(np.float32))
            group.append(np.bincount(row, minlength=len(some))[told])
        if not sum(map(len, group)):
            raise ValueError(f"TwoStage: none of {len(users)} users with a past wanted a candidate in the holdout days")
        return np.concatenate(matrix), np.concatenate(label), np.concatenate(group)


@dataclass(frozen=True, eq=False)
class FittedTwoStage:
    """Sources fitted on everything, and the trees that order their candidates: XGBoost's own bytes (UBJ)."""

    stage: FirstStage
    booster: bytes

    @property
    def n_items(self) -> int:
        """Items of the catalogue it was fitted on."""
        return len(self.stage.facts.item)

    @cached_property
    def _trees(self) -> Any:
        return load_booster(self.booster, self.stage.names)

    def scores(self, users: Users) -> NDArray[np.float64]:
        """[users, n_items]: the trees' sum, comparable within a user only; −inf for an item that is no candidate.

        What a known user (index ≥ 0) had is read from the interactions, what another had from his history.
        """
        found = np.full((len(users), self.n_items), -np.inf)
        row, item, features = self.stage.rows(users)
        found[row, item] = margins(self._trees, features)
        return found

    def explain(self, history: Ragged, item: int) -> dict[int, float]:
        """Empty: trees are no sum over a history."""
        return {}

    def to_files(self) -> dict[str, bytes]:
        """The trees, the facts, and every source's own files under source_0/, source_1/, …"""
        stage = self.stage
        settings = {"method": "two_stage", "candidates": stage.candidates, "sources": len(stage.sources)}
        facts = {f.name: getattr(stage.facts, f.name) for f in fields(Facts)}
        files = {
            "model.json": json.dumps(settings | {"features": list(stage.names)}, sort_keys=True).encode(),
            "facts.npz": packed(**facts),
            "trees.ubj": self.booster,
        }
        for n, source in enumerate(stage.sources):
            files |= {f"source_{n}/{name}": content for name, content in source.to_files().items()}
        return files

    @classmethod
    def from_files(cls, files: Mapping[str, bytes]) -> FittedTwoStage:
        """The model that `to_files` wrote.

        Raises:
            KeyError: a source is of a method that READERS does not know.
        """
        settings = json.loads(files["model.json"])
        facts: dict[str, Any] = dict(unpacked(files["facts.npz"]))
        sources = []
        for n in range(settings["sources"]):
            start = f"source_{n}/"
            own = {name.removeprefix(start): content for name, content in files.items() if name.startswith(start)}
            sources.append(READERS[json.loads(own["model.json"])["method"]](own))
        stage = FirstStage(sources, settings["features"], settings["candidates"], Facts(**facts))
        return cls(stage, files["trees.ubj"])


def _named(sources: Sequence[Method]) -> list[str]:
    """Names of all features: of each source its score (raw, NaN where it says nothing) and the item's rank among its
    candidates of the same kind, had or not (from 1; NaN where it is none of them); then those of `Facts`."""
    own = [f"{n} {s.name} {what}" for n, s in enumerate(sources) for what in ("score", "rank")]
    return [*own, *OF_USER, *OF_ITEM, *OF_PAIR]


def _by(place: NDArray[np.int64], value: NDArray[np.float64], what: str, size: int) -> NDArray[np.float64]:
    """The min, max or median of the values at each place without NaN, float64 [size]; NaN where there is none."""
    return pd.Series(value).groupby(place).agg(what).reindex(range(size)).to_numpy(dtype=np.float64)
