"""The simulated shop as a data set: what its people like is what they are drawn to, and no method is told."""

from __future__ import annotations

from functools import cache

import numpy as np

from bench.recommender_data import TASTES
from bench.recommenders import FADED_ALS, NEIGHBOURS, Asked, Row, recovered
from bench.simulated_tastes import LIKED_SHARE, Lived, affinity, live, weights
from rekindle.methods.baselines import Popularity, Uniform
from rekindle.methods.judging import interval, judge_method
from rekindle.methods.ranking import judge, ndcg
from rekindle.methods.shop_catalogue import category_interest, stock_shelves
from rekindle.methods.shop_people import arrive
from rekindle.methods.shop_visits import SHARPNESS, Shelf, choose_categories, choose_items


@cache
def small() -> Lived:
    return live(40, 8, users_at_start=150, items=120, arrivals_per_day=1)


def test_affinity_is_how_often_a_look_around_ends_at_an_item() -> None:
    """40,000 looks of one person by the shop's own drawing, without offers."""
    made = np.random.default_rng(3)
    catalogue = stock_shelves(made, 60)
    people = arrive(made, 0, 1, catalogue, np.full(24, 1 / 24))
    none = np.zeros(60)
    interest = category_interest(100)
    shelf = Shelf(catalogue, discount=none, is_available=np.ones(60, dtype=np.bool_), interest=interest)
    looks = np.zeros(40_000, dtype=np.int64)
    category = choose_categories(made, people, shelf, looks, 0, np.full(len(looks), SHARPNESS))
    seen = np.bincount(choose_items(made, people, shelf, looks, category), minlength=60) / len(looks)
    expected = affinity(people, catalogue, 100)[0]
    assert np.isclose(expected.sum(), 1)
    assert (np.abs(seen - expected) < 5 * np.sqrt(expected / len(looks)) + 1e-9).all()


def test_truth_is_the_tenth_of_unseen_items_that_a_user_likes_best() -> None:
    lived = small()
    split = lived.tastes()
    assert (split.task, len(split.users)) == ("explore", len(lived.split.users))
    for n, user in enumerate(split.served):
        seen = split.seen.between(n, n + 1).items
        open_to = np.setdiff1d(np.flatnonzero(split.eligible), seen)
        liked = split.truth.between(n, n + 1).items
        assert len(liked) == np.ceil(LIKED_SHARE * len(open_to))
        assert set(liked) <= set(open_to)
        others = np.setdiff1d(open_to, liked)
        assert lived.affinity[user, liked].min() >= lived.affinity[user, others].max()
    first = np.array([split.truth.between(n, n + 1).items[:5] for n in range(len(split.served))])
    assert np.nanmean(ndcg(judge(first, split.truth, 5))) == 1.0


def test_only_purchases_are_truth_and_a_shop_lived_twice_is_the_same() -> None:
    lived = small()
    events, again = lived.events, live(40, 8, users_at_start=150, items=120, arrivals_per_day=1).events
    after = events.day >= lived.instant
    assert events.purchase is not None
    assert events.purchase[after].all()
    assert not events.purchase[~after].all()
    assert set(events.strength[after]) == {weights()["order"]}
    assert again.day.tobytes() == events.day.tobytes()
    assert again.item.tobytes() == events.item.tobytes()
    assert weights() == {"pageview": 1.0, "add_to_cart": 3.0, "wishlist": 3.0, "order": 5.0}


def test_days_are_local_and_begin_at_midnight() -> None:
    lived = small()
    hours = np.bincount((lived.events.day % 1 * 24).astype(int), minlength=24)
    assert hours[17:22].sum() > 5 * hours[0:5].sum()
    assert lived.events.day.min() >= 0
    assert lived.events.day.max() < 40


def test_the_page_tells_our_models_beside_each_simple_one_against_the_truth_alone() -> None:
    split = small().tastes()
    rows = []
    for label in ("uniform", "popularity", *NEIGHBOURS, "implicit ALS, α 2", FADED_ALS, "two stages"):
        method = Popularity(30, 28) if "ALS" in label else Uniform(len(label))
        figures = judge_method(method.fit(split.known), split, 10)
        rows.append(Row(label, 0.0, figures, interval(figures)))
    told = recovered(Asked(TASTES, split, rows))
    assert [line.split(" less ")[0] for line in told] == ["implicit ALS, α 2", FADED_ALS, "two stages"]
    for line in told:
        assert all(name in line for name in ("uniform", "popularity", *NEIGHBOURS))
    assert recovered(Asked("explore", split, rows)) == []
