"""Judging a method: what a plain loop gives, a perfect list has 1, and lists keep to their task."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pytest
from numpy.typing import NDArray

from rekindle.methods.interactions import Interactions, Users, lists
from rekindle.methods.judging import OwnItems, compare, interval, judge_method
from rekindle.methods.ragged import Ragged
from rekindle.methods.splits import GROUPS, Events, Split, at_instant

N_USERS, N_ITEMS, K = 20, 15, 4


@dataclass(frozen=True, eq=False)
class Told:
    """A method told what to score: a row for each user of the interactions, the last one for strangers."""

    table: NDArray[np.float64]

    @property
    def n_items(self) -> int:
        return self.table.shape[1]

    def scores(self, users: Users) -> NDArray[np.float64]:
        return self.table[users.index].copy()

    def explain(self, history: Ragged, item: int) -> dict[int, float]:
        return {}

    def to_files(self) -> dict[str, bytes]:
        return {}


def most_bought(known: Interactions) -> Told:
    """The same for everybody: how often each item was bought."""
    return Told(np.tile(np.bincount(known.item, minlength=known.n_items).astype(float), (known.n_users + 1, 1)))


@pytest.fixture
def split() -> Split:
    drawn = np.random.default_rng(8)
    events = Events(
        drawn.integers(0, N_USERS, 300),
        (drawn.random(300) ** 2 * N_ITEMS).astype(np.int64),
        np.ones(300),
        drawn.uniform(0, 10, 300),
        N_USERS,
        N_ITEMS,
    )
    return at_instant(events, 6)


def random_method(seed: int) -> Told:
    return Told(np.random.default_rng(seed).random((N_USERS + 1, N_ITEMS)))


def knows_the_future(split: Split) -> Told:
    table = np.zeros((N_USERS + 1, N_ITEMS))
    table[split.users.index[split.truth.rows()], split.truth.items] = 1
    return Told(table)


def sets(rows: Ragged) -> list[set[int]]:
    return [set(rows.between(r, r + 1).items.tolist()) for r in range(len(rows))]


def test_figures_are_those_of_a_plain_loop(split: Split) -> None:
    method = random_method(1)
    found = judge_method(method, split, K)
    discount = [1 / np.log2(rank + 2) for rank in range(K)]
    ndcg, recall, precision, average, first, hit, again = [], [], [], [], [], [], 0
    shown: list[int] = []
    for n, truth in enumerate(sets(split.truth)):
        scores = {i: s for i, s in enumerate(method.table[split.users.index[n]]) if split.eligible[i]}
        top = sorted(scores, key=lambda i: (-scores[i], i))[:K]
        hits = [i in truth for i in top]
        ndcg.append(sum(d for d, h in zip(discount, hits, strict=True) if h) / sum(discount[: len(truth)]))
        recall.append(sum(hits) / len(truth))
        precision.append(sum(hits) / K)
        average.append(sum(sum(hits[: r + 1]) / (r + 1) for r in range(K) if hits[r]) / min(K, len(truth)))
        first.append(next((1 / (r + 1) for r in range(K) if hits[r]), 0))
        hit.append(float(any(hits)))
        again += len(set(top) & sets(split.seen)[n])
        shown += top
    for name, values in {
        "ndcg": ndcg, "recall": recall, "precision": precision, "map": average, "mrr": first, "hit_rate": hit,
    }.items():  # fmt: skip
        assert found.accuracy[name] == pytest.approx(np.mean(values)), name
    both = [2 * p * r / (p + r) if p + r else 0 for p, r in zip(precision, recall, strict=True)]
    assert found.accuracy["f1"] == pytest.approx(np.mean(both))
    assert found.repeat_share == pytest.approx(again / len(shown))
    assert found.coverage == pytest.approx(len(set(shown)) / split.eligible.sum())
    users_of = [len(set(split.known.user[split.known.item == i].tolist())) for i in range(N_ITEMS)]
    assert found.novelty == pytest.approx(-np.mean(np.log2([users_of[i] / N_USERS for i in shown])))
    np.testing.assert_allclose(found.ndcg_by_user, ndcg)


def test_a_method_that_knows_the_future_has_a_perfect_list(split: Split) -> None:
    found = judge_method(knows_the_future(split), split, K)
    assert found.accuracy["ndcg"] == 1
    assert found.accuracy["hit_rate"] == 1


def test_an_item_outside_the_catalogue_is_no_item_that_nobody_is_shown(split: Split) -> None:
    fewer = replace(split, eligible=np.arange(N_ITEMS) < 5)
    everything = judge_method(random_method(1), fewer, 5)
    assert everything.coverage == 1
    assert everything.gini == pytest.approx(0)


def test_a_list_to_buy_again_holds_only_what_the_user_has_and_one_to_explore_only_what_he_has_not(split: Split) -> None:
    again = judge_method(random_method(1), split.repeat(), K)
    fresh = judge_method(random_method(1), split.explore(), K)
    assert (again.repeat_share, fresh.repeat_share) == (1, 0)
    assert again.users == sum(bool(t & s) for t, s in zip(sets(split.truth), sets(split.seen), strict=True))
    shown = lists(OwnItems(random_method(1)), split.users, N_ITEMS, eligible=split.eligible)
    assert [set(row[row >= 0].tolist()) for row in shown] == sets(split.users.histories)


def test_a_method_with_nothing_to_say_has_no_hits_and_no_exposure(split: Split) -> None:
    found = judge_method(Told(np.full((N_USERS + 1, N_ITEMS), -np.inf)), split, K)
    assert found.accuracy["ndcg"] == found.coverage == 0
    assert np.isnan([found.gini, found.novelty, found.repeat_share, found.diversity]).all()


def test_groups_add_up_to_everybody(split: Split) -> None:
    mixed = replace(split, group=np.arange(len(split.users)) % 3)
    found = judge_method(most_bought(split.known), mixed, K)
    assert tuple(found.groups) == GROUPS
    assert sum(group.users for group in found.groups.values()) == found.users
    whole = sum(group.users * group.accuracy["recall"] for group in found.groups.values()) / found.users
    assert whole == pytest.approx(found.accuracy["recall"])


def test_lists_of_one_category_have_no_diversity_and_of_many_have_all(split: Split) -> None:
    assert judge_method(random_method(1), split, K, np.zeros(N_ITEMS, dtype=np.int64)).diversity == 0
    assert judge_method(random_method(1), split, K, np.arange(N_ITEMS)).diversity == 1


def test_the_better_of_two_is_told_and_one_is_not_better_than_itself(split: Split) -> None:
    best, luck = judge_method(knows_the_future(split), split, K), judge_method(random_method(1), split, K)
    found = compare(best, luck)
    assert found.point == pytest.approx(best.accuracy["ndcg"] - luck.accuracy["ndcg"])
    assert found.low > 0
    assert compare(luck, best).point == pytest.approx(-found.point)
    assert not compare(best, best).excludes_zero
    assert interval(luck).low < luck.accuracy["ndcg"] < interval(luck).high


def test_methods_judged_on_other_users_are_not_compared(split: Split) -> None:
    with pytest.raises(ValueError, match="same users"):
        compare(judge_method(random_method(1), split, K), judge_method(random_method(1), split, K + 1))
    with pytest.raises(ValueError, match="same users"):
        compare(judge_method(random_method(1), split, K), judge_method(random_method(1), split.explore(), K))


def test_a_method_of_another_catalogue_is_refused(split: Split) -> None:
    with pytest.raises(ValueError, match="fitted on 14 items"):
        judge_method(Told(np.zeros((N_USERS + 1, 14))), split, K)
