"""A fitted method's lists judged on a split: how good by ranking.py, for whom, how broad, and whether better than
another's by pairs of the same users."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rekindle.methods import bootstrap, ranking
from rekindle.methods.bootstrap import Interval
from rekindle.methods.interactions import Fitted, Users, lists
from rekindle.methods.ragged import Ragged
from rekindle.methods.splits import GROUPS, Split

SEED = 20260101
# Each figure's mean over users is reported; f1 is the mean of users' f1.
ACCURACY: Mapping[str, Callable[[ranking.Judged], NDArray[np.float64]]] = {
    "ndcg": ranking.ndcg,
    "recall": ranking.recall,
    "precision": ranking.precision,
    "f1": ranking.f1,
    "map": ranking.average_precision,
    "mrr": ranking.reciprocal_rank,
    "hit_rate": ranking.hit,
}


@dataclass(frozen=True)
class Group:
    """Users of one group with something relevant, and the means of ACCURACY over them."""

    users: int
    accuracy: Mapping[str, float]


@dataclass(frozen=True, eq=False)
class Figures:
    """How a method did on a split.

    Attributes:
        k: length of the lists.
        users: how many had something relevant: the figures of `accuracy` are means over these.
        accuracy: by the names of ACCURACY.
        coverage, gini: over the catalogue and the lists of all who were served; gini is NaN if every list is empty.
        novelty: mean bits of a list; NaN as gini.
        diversity: mean share of a list's pairs from two categories; NaN without categories or lists of two.
        repeat_share: share of all places that show an item of the user's history; NaN as gini.
        groups: by the names of GROUPS, those in which somebody had something relevant.
        ndcg_by_user: float64 [users of the split], NaN where nothing was relevant: what `compare` pairs.
    """

    k: int
    users: int
    accuracy: Mapping[str, float]
    coverage: float
    gini: float
    novelty: float
    diversity: float
    repeat_share: float
    groups: Mapping[str, Group]
    ndcg_by_user: NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class OwnItems:
    """A fitted method that may say something only about items of the history: lists of what to buy again."""

    fitted: Fitted

    @property
    def n_items(self) -> int:
        """As fitted."""
        return self.fitted.n_items

    def scores(self, users: Users) -> NDArray[np.float64]:
        """As fitted, −inf outside each user's history."""
        own = np.full((len(users), self.n_items), -np.inf)
        row, item = users.histories.rows(), users.histories.items
        own[row, item] = self.fitted.scores(users)[row, item]
        return own

    def explain(self, history: Ragged, item: int) -> dict[int, float]:
        """As fitted."""
        return self.fitted.explain(history, item)

    def to_files(self) -> dict[str, bytes]:
        """As fitted."""
        return self.fitted.to_files()


def judge_method(fitted: Fitted, split: Split, k: int, category: NDArray[np.int64] | None = None) -> Figures:
    """What the method lists for everybody who is served, against what they did; `category` is int64 [n_items].

    Raises:
        ValueError: nobody had anything relevant, or the method was fitted on another catalogue.
    """
    if fitted.n_items != split.known.n_items:
        raise ValueError(f"judging: fitted on {fitted.n_items} items, the split has {split.known.n_items}")
    asked = OwnItems(fitted) if split.task == "repeat" else fitted
    shown = lists(asked, split.users, k, blocked=split.blocked, eligible=split.eligible)
    judged = ranking.judge(shown, split.truth, k)
    by_user = {name: figure(judged) for name, figure in ACCURACY.items()}
    again = ranking.judge(shown, split.seen, k).hits
    # Coverage and Gini are of the catalogue: what is not eligible cannot be shown, and is no item nobody is shown.
    place = np.append(np.cumsum(split.eligible) - 1, -1)
    catalogue = int(split.eligible.sum())
    users_of_item = (split.known.matrix() > 0).sum(axis=0).A1.astype(np.int64)
    filled = bool((shown >= 0).any())
    return Figures(
        k=k,
        users=int((judged.relevant > 0).sum()),
        accuracy={name: ranking.mean_over_users(values) for name, values in by_user.items()},
        coverage=ranking.coverage(place[shown], catalogue),
        gini=ranking.gini(place[shown], catalogue) if filled else float("nan"),
        novelty=_mean(ranking.novelty(shown, users_of_item, len(np.unique(split.known.user)))),
        diversity=float("nan") if category is None else _mean(ranking.intra_list_diversity(shown, category)),
        repeat_share=float(again.sum() / (shown >= 0).sum()) if filled else float("nan"),
        groups=_by_group(by_user, judged.relevant, split.group),
        ndcg_by_user=by_user["ndcg"],
    )


def interval(figures: Figures) -> Interval:
    """The mean nDCG with its 95 % interval over users."""
    known = figures.ndcg_by_user[~np.isnan(figures.ndcg_by_user)]
    return bootstrap.paired_mean_difference(known, np.zeros(len(known)), seed=SEED)


def compare(a: Figures, b: Figures) -> Interval:
    """Mean nDCG of a less that of b, with the 95 % interval over the same users; above 0: a is better.

    Raises:
        ValueError: the two were not judged on the same users, truth and k.
    """
    left, right = a.ndcg_by_user, b.ndcg_by_user
    if a.k != b.k or len(left) != len(right) or (np.isnan(left) != np.isnan(right)).any():
        raise ValueError("judging: two methods are compared on the same users, truth and k")
    known = ~np.isnan(left)
    return bootstrap.paired_mean_difference(left[known], right[known], seed=SEED)


def _by_group(
    by_user: Mapping[str, NDArray[np.float64]], relevant: NDArray[np.int64], group: NDArray[np.int64]
) -> dict[str, Group]:
    found = {}
    for number, name in enumerate(GROUPS):
        of_it = (group == number) & (relevant > 0)
        if of_it.any():
            means = {figure: ranking.mean_over_users(values[of_it]) for figure, values in by_user.items()}
            found[name] = Group(int(of_it.sum()), means)
    return found


def _mean(values: NDArray[np.float64]) -> float:
    """Mean of what is known; NaN where nothing is."""
    known = values[~np.isnan(values)]
    return float(known.mean()) if len(known) else float("nan")
