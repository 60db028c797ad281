"""How good the top-N lists are: figures a user (for pairing and bootstrapping) and of the whole catalogue.

Lists are int arrays [users, width] of item indexes, best first, padded with −1 at the end; relevance is a `Ragged`
with each user's relevant items. Gains are binary. The whole eligible catalogue must have been ranked: sampled
negatives raise every figure here (Krichene and Rendle 2020, "On sampled metrics for item recommendation").
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rekindle.methods.ragged import Ragged


@dataclass(frozen=True, eq=False)
class Judged:
    """Lists cut at k beside what was relevant.

    Attributes:
        hits: bool [users, k], whether the item at that rank was relevant; padding is no hit.
        relevant: int64 [users], how many distinct items were relevant.
    """

    hits: NDArray[np.bool_]
    relevant: NDArray[np.int64]

    @property
    def k(self) -> int:
        """Length at which the lists were cut."""
        return int(self.hits.shape[1])


def judge(lists: NDArray[np.int64], relevance: Ragged, k: int) -> Judged:
    """The first k ranks of every list, each a hit or not. A list narrower than k counts as misses beyond its end.

    Raises:
        ValueError: another number of users on both sides, an item twice in a list, padding inside a list, k below 1.
    """
    if k < 1:
        raise ValueError(f"ranking: k is {k}, expected 1 or more")
    if lists.ndim != 2 or len(lists) != len(relevance):
        raise ValueError(f"ranking: lists of shape {lists.shape} for {len(relevance)} users")
    cut = lists[:, :k].astype(np.int64)
    _check_lists(cut)
    top = max(int(cut.max(initial=-1)), int(relevance.items.max(initial=-1))) + 1
    wanted = np.unique(relevance.rows() * top + relevance.items)  # one number a (user, item); twice is once
    relevant = np.bincount(wanted // max(top, 1), minlength=len(lists)).astype(np.int64)
    asked = np.arange(len(lists), dtype=np.int64)[:, None] * top + cut
    hits = np.zeros((len(lists), k), dtype=bool)
    if len(wanted):
        place = np.minimum(np.searchsorted(wanted, asked), len(wanted) - 1)
        hits[:, : cut.shape[1]] = (wanted[place] == asked) & (cut >= 0)
    return Judged(hits, relevant)


def ndcg(judged: Judged) -> NDArray[np.float64]:
    """Normalised discounted cumulative gain at k of each user, 0 to 1, higher is better; NaN: nothing was relevant.

    Binary gains, discount 1/log2(rank + 1), ideal truncated at min(relevant, k) (Järvelin and Kekäläinen 2002).
    Knowing nothing gives about (relevant share of the catalogue), near 0.
    """
    discount = 1.0 / np.log2(np.arange(2, judged.k + 2))
    gained = judged.hits @ discount
    ideal = np.concatenate([[0.0], np.cumsum(discount)])[np.minimum(judged.relevant, judged.k)]
    return _ratio(gained, ideal)


def recall(judged: Judged) -> NDArray[np.float64]:
    """Share of a user's relevant items that are in the list, 0 to 1, higher is better; NaN: nothing was relevant.

    The best possible is min(1, k / relevant). Knowing nothing gives k / catalogue.
    """
    return _ratio(judged.hits.sum(axis=1), judged.relevant)


def precision(judged: Judged) -> NDArray[np.float64]:
    """Share of the k places that hold a relevant item, 0 to 1, higher is better; NaN: nothing was relevant.

    Always divided by k: a short list is not rewarded. Knowing nothing gives the relevant share of the catalogue.
    """
    return _where_relevant(judged, np.asarray(judged.hits.sum(axis=1) / judged.k))


def f1(judged: Judged) -> NDArray[np.float64]:
    """Harmonic mean 2PR/(P + R) of each user's precision and recall at k, 0 to 1; 0 without a hit; NaN as both."""
    both = precision(judged) + recall(judged)
    product = 2 * precision(judged) * recall(judged)
    return _where_relevant(judged, np.nan_to_num(_ratio(product, both)))


def average_precision(judged: Judged) -> NDArray[np.float64]:
    """Mean over relevant items of the precision at their rank, cut at k, 0 to 1; its mean over users is MAP@k.

    Divided by min(relevant, k), so that a perfect list of k has 1. NaN: nothing was relevant. Knowing nothing: near 0.
    """
    so_far = np.cumsum(judged.hits, axis=1) / np.arange(1, judged.k + 1)
    return _ratio((so_far * judged.hits).sum(axis=1), np.minimum(judged.relevant, judged.k))


def reciprocal_rank(judged: Judged) -> NDArray[np.float64]:
    """1 / rank of the first relevant item, 0 if none is in the list, higher is better; mean: MRR@k. NaN as recall."""
    first: NDArray[np.float64] = np.where(judged.hits.any(axis=1), 1.0 / (judged.hits.argmax(axis=1) + 1), 0.0)
    return _where_relevant(judged, first)


def hit(judged: Judged) -> NDArray[np.float64]:
    """1 if any relevant item is in the list, else 0; its mean is the hit rate. NaN: nothing was relevant."""
    return _where_relevant(judged, np.asarray(judged.hits.any(axis=1), dtype=np.float64))


def mean_over_users(values: NDArray[np.float64]) -> float:
    """Mean over the users for whom the figure exists (not NaN).

    Raises:
        ValueError: it exists for none.
    """
    known = values[~np.isnan(values)]
    if not len(known):
        raise ValueError(f"ranking: the figure exists for none of {len(values)} users; nobody had a relevant item")
    return float(known.mean())


def exposure(lists: NDArray[np.int64], n_items: int) -> NDArray[np.int64]:
    """How many lists show each item, int64 [n_items].

    Raises:
        ValueError: an item index is outside 0 … n_items − 1.
    """
    _check_lists(lists)
    shown = lists[lists >= 0]
    if len(shown) and shown.max() >= n_items:
        raise ValueError(f"ranking: item index {shown.max()} found, expected 0 to {n_items - 1}")
    return np.bincount(shown, minlength=n_items).astype(np.int64)


def coverage(lists: NDArray[np.int64], n_items: int) -> float:
    """Share of the eligible catalogue that is in at least one list, 0 to 1. Popularity alone gives about k / n_items;
    uniform random lists approach 1. Higher is broader, not by itself better."""
    return float((exposure(lists, n_items) > 0).mean())


def gini(lists: NDArray[np.int64], n_items: int) -> float:
    """Gini coefficient of exposure over the eligible catalogue: 0 all items shown equally often, 1 − 1/n_items all
    places held by one item. Lower is fairer. Popularity alone gives about 1 − k/n_items.

    Raises:
        ValueError: every list is empty.
    """
    shown = np.sort(exposure(lists, n_items))
    total = shown.sum()
    if total == 0:
        raise ValueError("ranking: every list is empty, exposure has no distribution")
    place = np.arange(1, n_items + 1)
    return float(((2 * place - n_items - 1) * shown).sum() / (n_items * total))


def novelty(lists: NDArray[np.int64], users_of_item: NDArray[np.int64], n_users: int) -> NDArray[np.float64]:
    """Mean self-information −log2(share of training users who touched the item) of each list, bits; NaN: empty list.

    (Zhou et al. 2010, "Solving the apparent diversity-accuracy dilemma".) 0: everybody knows everything shown; at most
    log2(n_users). An item nobody touched counts as touched once. Higher is less known, not by itself better.
    """
    _check_lists(lists)
    share = np.maximum(users_of_item, 1) / n_users
    bits = np.append(-np.log2(share), 0.0)  # the last one is what padding (−1) finds
    return _ratio(bits[lists].sum(axis=1), (lists >= 0).sum(axis=1))


def intra_list_diversity(lists: NDArray[np.int64], category: NDArray[np.int64]) -> NDArray[np.float64]:
    """Share of a list's item pairs from different categories, 0 (one category) to 1; NaN: fewer than two items.

    `category` is int [n_items], each ≥ 0. (Ziegler et al. 2005, with 0/1 similarity by category.)
    """
    _check_lists(lists)
    if len(category) and category.min() < 0:
        raise ValueError(f"ranking: category {category.min()} found, expected 0 or more")
    size = (lists >= 0).sum(axis=1)
    padding = np.int64(category.max(initial=-1) + 1)
    found = np.sort(np.append(category, padding)[lists], axis=1)  # padding sorts last
    # Σ over categories of c(c − 1)/2 = Σ over places of how many equals stand before it.
    fresh = np.concatenate([np.ones((len(found), 1), dtype=bool), found[:, 1:] != found[:, :-1]], axis=1)
    place = np.arange(found.shape[1])
    run_start = np.maximum.accumulate(np.where(fresh, place, 0), axis=1)
    same = np.where(found != padding, place - run_start, 0).sum(axis=1)
    pairs = size * (size - 1) / 2
    return _ratio(pairs - same, pairs)


def _ratio(above: NDArray[np.generic], below: NDArray[np.generic]) -> NDArray[np.float64]:
    numerator, denominator = above.astype(np.float64), below.astype(np.float64)
    ratio: NDArray[np.float64] = np.divide(
        numerator, denominator, out=np.full(len(denominator), np.nan), where=denominator > 0
    )
    return ratio


def _where_relevant(judged: Judged, values: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.where(judged.relevant > 0, values, np.nan)


def _check_lists(lists: NDArray[np.int64]) -> None:
    if lists.size and lists.min() < -1:
        raise ValueError(f"ranking: item index {lists.min()} found, expected −1 (padding) or more")
    if ((lists[:, :-1] < 0) & (lists[:, 1:] >= 0)).any():
        raise ValueError("ranking: padding (−1) found before an item; lists are padded at the end")
    ordered = np.sort(lists, axis=1)
    twice = ((ordered[:, 1:] == ordered[:, :-1]) & (ordered[:, 1:] >= 0)).any(axis=1)
    if twice.any():
        raise ValueError(f"ranking: {int(twice.sum())} lists hold an item twice, the first is row {twice.argmax()}")
