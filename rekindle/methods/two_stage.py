"""Two stages: cheap methods name candidates, boosted trees put them in order (Covington et al. 2016, "Deep neural
networks for YouTube recommendations").

The order is learnt from one inner split in time. With T the instant as of which the interactions are known, the sources
are fitted on what is older than T − holdout_days, every feature is what was known then, and an example is (user who did
something in the holdout days, candidate), with label 1 where he wanted it in them. Then the sources are fitted again on
everything. Candidates of a user are each source's best among items he had and as many of its best among items he had
not, so that lists of either kind can be cut from the same scores.

Of each kind other trees learn, for what is bought again drowns what is new: most labels are of items that users had.
Both are pointwise (XGBoost's binary:logistic), so both speak of one thing, the log-odds that a user who comes wants the
item, and lists of both kinds need no further scale. On the 28 days before the instant of Online Retail, nDCG@10 of all,
repeated and new items: one rank:ndcg (LambdaMART) for both 0.394, 0.521, 0.126; one of each kind, interleaved as one of
both would, 0.397, 0.524, 0.153; one binary:logistic of each kind 0.403, 0.526, 0.162.

No person is in the artefact: users come with their histories and their past. Features: `pair_features` and `_named`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rekindle.methods import pair_features
from rekindle.methods.baselines import Popularity
from rekindle.methods.fitted_files import from_files, keeps_users
from rekindle.methods.interactions import Fitted, Interactions, Method, Users, best, ragged_of
from rekindle.methods.model_arrays import packed, unpacked
from rekindle.methods.pair_features import ItemFacts
from rekindle.methods.ragged import Ragged
from rekindle.methods.xgboost_scoring import load_booster, margins

TREES: Mapping[str, Any] = {  # chosen of 10 on days before those judged, Online Retail and The Complete Journey
    "objective": "binary:logistic",
    "tree_method": "hist",
    "nthread": 1,
    "eta": 0.07,
    "max_depth": 3,
    "lambda": 20,
}
KINDS = ("new", "had")  # whose trees are at 0 and 1


@dataclass(frozen=True)
class TwoStage:
    """Boosted trees over the candidates of other methods.

    Attributes:
        sources: what names candidates, one or more; none may want histories faded by events' ages (see faded.py).
        candidates: of each source, items that the user had and as many that he had not, 1 or more each.
        holdout_days: length of the inner split's later part, above 0; best as long as what lists are made for.
        rounds: trees of each kind, 1 or more.
        seed: of XGBoost, 0 or more; with TREES as they are nothing is drawn.
        least_strength: an event of the holdout days counts as wanting if its strength is this or more: the weight of a
            purchase, where lists are judged by purchases.

    Raises:
        ValueError: a setting out of its bounds.
    """

    sources: Sequence[Method]
    candidates: int
    holdout_days: float
    rounds: int
    seed: int
    least_strength: float = 0.0

    def __post_init__(self) -> None:
        if min(len(self.sources), self.candidates, self.rounds) < 1 or self.seed < 0:
            told = f"{len(self.sources)} sources, {self.candidates} candidates, {self.rounds} rounds, seed {self.seed}"
            raise ValueError(f"TwoStage: {told}; expected 1, 1, 1, 0 or more")
        if not 0 < self.holdout_days < np.inf:
            raise ValueError(f"TwoStage: {self.holdout_days} holdout days, expected above 0")
        if not 0 <= self.least_strength < np.inf:
            raise ValueError(f"TwoStage: least strength {self.least_strength}, expected 0 or more")
        for source in self.sources:  # popularity fades what it counts and looks at no history
            if not isinstance(source, Popularity) and getattr(source, "half_life_days", None) is not None:
                raise ValueError(
                    f"TwoStage: source {source.name} wants faded histories, which are not served here; wrap it in Faded"
                )

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
        before, after = parted(known, self.holdout_days)
        examples = self.first_stage(before).examples(before, after, self.least_strength)
        trees = [self._learnt(examples, kind) for kind in range(len(KINDS))]
        return FittedTwoStage(self.first_stage(known), trees[0], trees[1])

    def first_stage(self, known: Interactions) -> FirstStage:
        """The sources fitted, and the facts, as of the instant from which ages count."""
        fitted = [source.fit(known) for source in self.sources]
        return FirstStage(fitted, _named(self.sources), self.candidates, ItemFacts.of(known))

    def _learnt(self, examples: Examples, kind: int) -> bytes:
        """Trees of one kind (see KINDS) as UBJ; those of both where nobody wanted one of that kind."""
        import xgboost

        of_it = examples.had == bool(kind)
        if not examples.label[of_it].any():
            of_it = np.ones(len(of_it), dtype=bool)
        matrix, label = examples.matrix[of_it], examples.label[of_it]
        data = xgboost.DMatrix(matrix, label, feature_names=_named(self.sources), nthread=1)
        return bytes(xgboost.train({**TREES, "seed": self.seed}, data, self.rounds).save_raw("ubj"))


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
class Candidates:
    """Candidates by user and item.

    Attributes:
        row: int64 [pairs], the user's row.
        item: int64 [pairs].
        had: bool [pairs], whether the item is in the user's history.
        features: float32 [pairs, features].
    """

    row: NDArray[np.int64]
    item: NDArray[np.int64]
    had: NDArray[np.bool_]
    features: NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Examples:
    """Features float32 [pairs, features], labels float32 [pairs] (1: wanted), and whether the user had the item."""

    matrix: NDArray[np.float32]
    label: NDArray[np.float32]
    had: NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class FirstStage:
    """Fitted sources and the facts as of the same instant; `names` are the features' by the order of the matrix."""

    sources: Sequence[Fitted]
    names: Sequence[str]
    candidates: int
    facts: ItemFacts

    def rows(self, users: Users) -> Candidates:
        """All candidates of these users.

        Scores are rounded to float32, so that a source's own rounding beside other users does not show in them.

        Raises:
            ValueError: users come without their past.
        """
        n_items, own = self.facts.n_items, users.histories
        entry, touched = own.rows(), own.items
        told, named = [], []
        for source in self.sources:
            scores = source.scores(users).astype(np.float32)
            mine = scores[entry, touched]
            scores[entry, touched] = -np.inf
            top = best(scores, self.candidates)  # of what is new; of the history few entries are sorted instead
            scores[entry, touched] = mine
            row, place = np.nonzero(top >= 0)
            kept, rank = _ranked(entry, touched, mine, self.candidates)
            keys = np.concatenate([row * n_items + top[row, place], entry[kept] * n_items + touched[kept]])
            told.append(scores)
            named.append((keys, np.concatenate([place + 1, rank])))
        chosen = np.unique(np.concatenate([keys for keys, _ in named]))
        row, item = chosen // n_items, chosen % n_items
        facts = self.facts.features(users, row, item).astype(np.float32)
        had = facts[:, pair_features.HAD] > 0
        kind = row * len(KINDS) + had
        best_rank, namers, parts = np.full(len(chosen), np.nan, dtype=np.float32), np.zeros(len(chosen)), []
        for scores, (keys, ranks) in zip(told, named, strict=True):
            score = scores[row, item]
            score[~np.isfinite(score)] = np.nan
            rank = np.full(len(chosen), np.nan, dtype=np.float32)
            rank[np.searchsorted(chosen, keys)] = ranks
            first = np.full(len(KINDS) * len(users), np.nan, dtype=np.float32)
            first[kind[rank == 1]] = np.abs(score[rank == 1])
            first[first == 0] = np.nan
            parts += [score, rank, score / first[kind]]
            best_rank = np.fmin(best_rank, rank)
            namers += ~np.isnan(rank)
        matrix = np.column_stack([*parts, best_rank, namers.astype(np.float32), facts])
        return Candidates(row, item, had, matrix)

    def examples(self, before: Interactions, after: Interactions, least_strength: float = 0.0) -> Examples:
        """Candidates of all who did something both before and after, and which of them were then wanted.

        Raises:
            ValueError: none was.
        """
        users = np.intersect1d(before.user, after.user)
        whole = before.matrix()
        of_them = np.isin(np.repeat(np.arange(before.n_users), np.diff(whole.indptr)), users)
        served = Users(users, ragged_of(whole[users]), before.past().of(users, of_them))
        heard = after.strength >= least_strength
        wanted = np.unique(after.user[heard] * after.n_items + after.item[heard])
        matrix, label, had = [], [], []
        for _, some in served.blocks(before.n_items):
            found = self.rows(some)
            matrix.append(found.features)
            label.append(np.isin(some.index[found.row] * before.n_items + found.item, wanted))
            had.append(found.had)
        if not any(hit.any() for hit in label):
            raise ValueError(f"TwoStage: none of {len(users)} users with a past wanted a candidate in the holdout days")
        return Examples(np.concatenate(matrix), np.concatenate(label).astype(np.float32), np.concatenate(had))


@dataclass(frozen=True, eq=False)
class FittedTwoStage:
    """Sources fitted on everything, and the trees that order their candidates: XGBoost's own bytes (UBJ), those of
    items new to a user and those of items he had."""

    stage: FirstStage
    new_trees: bytes
    had_trees: bytes

    @property
    def keeps_users(self) -> bool:
        """Whether a source does."""
        return any(keeps_users(source) for source in self.stage.sources)

    @property
    def n_items(self) -> int:
        """Items of the catalogue it was fitted on."""
        return self.stage.facts.n_items

    @cached_property
    def _trees(self) -> tuple[Any, Any]:
        return load_booster(self.new_trees, self.stage.names), load_booster(self.had_trees, self.stage.names)

    def scores(self, users: Users) -> NDArray[np.float64]:
        """[users, n_items]: log-odds that a user who comes wants the item; −inf for an item that is no candidate.

        A user's own data are his history and past alone, whether he was in the interactions (index ≥ 0) or not.

        Raises:
            ValueError: users come without their past.
        """
        scores = np.full((len(users), self.n_items), -np.inf)
        if not len(users):
            return scores
        found = self.stage.rows(users)
        for kind, trees in enumerate(self._trees):
            of_it = found.had == bool(kind)
            scores[found.row[of_it], found.item[of_it]] = margins(trees, found.features[of_it])
        return scores

    def explain(self, history: Ragged, item: int) -> dict[int, float]:
        """Empty: trees are no sum over a history."""
        return {}

    def to_files(self) -> dict[str, bytes]:
        """Trees, facts, and every source's own files with source_0., source_1., … before their names."""
        stage = self.stage
        settings = {"method": "two_stage", "candidates": stage.candidates, "sources": len(stage.sources)}
        files = {
            "model.json": json.dumps(settings | {"features": list(stage.names)}, sort_keys=True).encode(),
            "facts.npz": packed(item=stage.facts.item, usual=stage.facts.usual),
            "new_trees.ubj": self.new_trees,
            "had_trees.ubj": self.had_trees,
        }
        for n, source in enumerate(stage.sources):
            files |= {f"source_{n}.{name}": content for name, content in source.to_files().items()}
        return files

    @classmethod
    def from_files(cls, files: Mapping[str, bytes]) -> FittedTwoStage:
        """The model that `to_files` wrote.

        Raises:
            UnknownMethod: a source is of a method that cannot be read.
        """
        settings, facts = json.loads(files["model.json"]), unpacked(files["facts.npz"])
        sources = []
        for n in range(settings["sources"]):
            start = f"source_{n}."
            sources.append(from_files({k.removeprefix(start): v for k, v in files.items() if k.startswith(start)}))
        told = ItemFacts(facts["item"].astype(np.float64), facts["usual"].astype(np.float64))
        stage = FirstStage(sources, settings["features"], settings["candidates"], told)
        return cls(stage, files["new_trees.ubj"], files["had_trees.ubj"])


def _named(sources: Sequence[Method]) -> list[str]:
    """Names of all features: of each source its score (raw, NaN where it says nothing), the item's rank among its
    candidates of the same kind, had or new (from 1; NaN where it is none of them), and the score over the size of the
    score of the first of these (NaN where that is 0 or absent); the best rank, how many sources name it as a
    candidate; then pair_features.NAMES."""
    own = [f"{n} {s.name} {what}" for n, s in enumerate(sources) for what in ("score", "rank", "share")]
    return [*own, "best rank", "sources", *pair_features.NAMES]


def _ranked(
    row: NDArray[np.int64], item: NDArray[np.int64], score: NDArray[np.float32], keep: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The `keep` entries of each row with the highest scores above −inf, of equals the lower item: places, ranks."""
    order = np.lexsort((item, -score, row))
    order = order[score[order] > -np.inf]
    rank = 1 + np.arange(len(order)) - np.searchsorted(row[order], row[order])
    inside = rank <= keep
    return order[inside], rank[inside]
