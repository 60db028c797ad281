"""A recommender is judged on what its users bought later, of all that it could have listed."""

from __future__ import annotations

import math
from datetime import UTC, date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pytest

from jobs.recommend.train_recommender import judge, texts_of, train, train_als, truth
from rekindle import settings
from rekindle.contract import frame
from rekindle.methods import model_gate, tastes
from rekindle.methods.factors import FactorModel
from rekindle.methods.not_customers import customers, not_customers
from rekindle.methods.recommenders import POPULARITY, Recommender
from rekindle.recommender_conf import Als, Content, ItemNeighbours, Popular, TwoStages
from schemas.events import EVENTS
from schemas.item_features import ITEM_FEATURES

SPLIT, AS_OF = date(2026, 4, 10), date(2026, 4, 17)
ALS = Als(method="implicit_als", rank=4, iterations=4, regularisation=0.05, alpha=2.0)
POPULAR = Recommender(POPULARITY)


def did(user: str, kind: str, item: str | None, day: date) -> dict[str, Any]:
    return {
        "event_id": f"{user} {kind} {item} {day}", "user_key": user, "event_type": kind, "event_date": day,
        "event_ts": datetime(day.year, day.month, day.day, 12, tzinfo=UTC), "item_id": item, "category": "tea",
    }  # fmt: skip


def shop_rows() -> list[dict[str, Any]]:
    """Sixteen users, each with the items of one of two groups; in the week after the split they buy more of it."""
    dice = np.random.default_rng(1)
    rows = []
    for user in range(16):
        group = "ab"[user % 2]
        mine = [f"{group}{n:02d}" for n in dice.permutation(14)]
        rows += [
            did(f"u{user:02d}", "view", item, SPLIT - timedelta(days=int(dice.integers(1, 30)))) for item in mine[:9]
        ]
        rows += [did(f"u{user:02d}", "purchase", item, SPLIT - timedelta(days=2)) for item in mine[:2]]
        rows += [did(f"u{user:02d}", "purchase", item, SPLIT + timedelta(days=user % 7)) for item in mine[3:6]]
    rows += [did("u00", "purchase", "b00", AS_OF), did("u01", "purchase", "never seen before", SPLIT)]
    rows += [did("newcomer", "purchase", "a01", SPLIT), did("searcher", "search", None, SPLIT - timedelta(days=1))]
    return [*rows, did("searcher", "purchase", "a01", SPLIT)]


@pytest.fixture(scope="module")
def events(_session: Any) -> Any:
    return frame(_session, EVENTS, *shop_rows()).persist()


COUNTING = tastes.Counting({"view": 1.0, "purchase": 5.0}, 30.0, 28, 60, ())


@pytest.fixture(scope="module")
def prepared(events: Any) -> tastes.Prepared:
    return tastes.prepare(events, SPLIT, ZoneInfo("UTC"), COUNTING)


def conf(**methods: Any) -> settings.Recommend:
    return settings.load("simulated_shop").source.recommend.model_copy(update={"methods": methods})


def test_truth_is_what_known_users_bought_of_the_catalogue_in_the_judging_days(
    events: Any, prepared: tastes.Prepared
) -> None:
    found = truth(events, prepared, SPLIT, AS_OF)
    later: dict[str, set[str]] = {}
    for row in shop_rows():
        if row["event_type"] == "purchase" and SPLIT <= row["event_date"] < AS_OF:
            later.setdefault(row["user_key"], set()).add(row["item_id"])
    wanted = {user: {i for i in items if i in prepared.catalogue} for user, items in later.items()}
    assert {user: {prepared.catalogue[i] for i in items} for user, items in found.wanted.items()} == {
        user: items for user, items in wanted.items() if user not in ("newcomer", "searcher")
    }
    assert list(found.wanted) == sorted(found.wanted)
    assert found.purchase_days.tolist() == [1.0] * 16, "two items on one day before the split"
    assert {name: int(member.sum()) for name, member in found.groups.items()} == {
        "new": 0, "one-time": 16, "regular": 0,
    }  # fmt: skip


def test_als_finds_the_groups_and_beats_popularity_by_a_paired_interval(events: Any, prepared: tastes.Prepared) -> None:
    wanted = truth(events, prepared, SPLIT, AS_OF).wanted
    candidate = train_als(prepared, "als", ALS, 7)
    assert (candidate.name, candidate.params["rank"], candidate.items) == ("als", 4, prepared.catalogue)
    found = judge(prepared, wanted, {"als": candidate, "popular": POPULAR})

    def ndcg(listed: list[int], bought: list[int]) -> float:
        gain = sum(1 / math.log2(n + 2) for n, item in enumerate(listed) if item in bought)
        return gain / sum(1 / math.log2(n + 2) for n in range(min(len(bought), 10)))

    for judged in found.values():
        by_hand = [ndcg(judged.lists[n].tolist(), bought) for n, bought in enumerate(wanted.values())]
        assert judged.ndcg.tolist() == pytest.approx(by_hand)
        assert judged.metrics["ndcg_at_10"] == pytest.approx(np.mean(by_hand))
        recalled = [len(set(judged.lists[n]) & set(b)) / len(b) for n, b in enumerate(wanted.values())]
        assert judged.metrics["recall_at_10"] == pytest.approx(np.mean(recalled))
        assert judged.metrics["judged_users"] == len(wanted) == 16
        assert judged.metrics["coverage"] == len(set(judged.lists.ravel())) / len(prepared.catalogue)
    groups = [{prepared.catalogue[i][0] for i in judged_list} for judged_list in found["als"].lists]
    assert groups == [{"ab"[int(user[1:]) % 2]} for user in wanted]
    told = model_gate.compare("d0", POPULARITY, found["als"], found["popular"], seed=1, draws=200)
    assert told.is_better


def test_every_declared_method_learns_the_same_shop_and_one_that_cannot_says_why(
    events: Any, prepared: tastes.Prepared, spark: Any
) -> None:
    neighbours = ItemNeighbours(method="item_neighbours", neighbours=20, weighting="cosine")
    popular = Popular(method="popularity", half_life_days=30, window_days=28)
    declared = {
        "als": ALS,
        "neighbours": neighbours,
        "content": Content(method="content"),
        "two_stages": TwoStages(
            method="two_stage", sources=(neighbours, popular), candidates=20, holdout_days=15, rounds=5
        ),
        "hasty": TwoStages(method="two_stage", sources=(popular,), candidates=20, holdout_days=300, rounds=5),
    }
    named = frame(spark, ITEM_FEATURES, {"item_id": "a00", "title": "Teapot", "category": "tea"})
    texts = texts_of(named, prepared.catalogue)
    assert texts[:2] == ["Teapot tea", ""]
    found, refused = train(prepared, conf(**declared), texts, 7)
    assert set(found) == {"als", "neighbours", "content", "two_stages"}
    assert refused.keys() == {"hasty"}
    assert "interactions is before the last 300" in refused["hasty"]
    wanted = truth(events, prepared, SPLIT, AS_OF).wanted
    for name in ("als", "neighbours", "two_stages"):
        again = Recommender.from_files(found[name].to_files())
        judged = judge(prepared, wanted, {"first": found[name], "again": again, "popular": POPULAR})
        assert judged["first"].lists.tolist() == judged["again"].lists.tolist()
        assert judged["first"].metrics["ndcg_at_10"] > judged["popular"].metrics["ndcg_at_10"], name
    again, _ = train(prepared, conf(**declared), texts, 7)
    assert {n: m.to_files() for n, m in again.items()} == {n: m.to_files() for n, m in found.items()}


def test_beyond_the_budget_only_what_spark_trains_takes_part(prepared: tastes.Prepared) -> None:
    neighbours = ItemNeighbours(method="item_neighbours", neighbours=20, weighting="cosine")
    small = conf(als=ALS, neighbours=neighbours).model_copy(update={"in_memory_events": 10})
    found, refused = train(prepared, small, [""] * len(prepared.catalogue), 7)
    assert set(found) == {"als"}
    assert "events are more than in_memory_events allows (10)" in refused["neighbours"]


def test_a_machine_with_a_third_of_all_events_changes_nobody_elses_list(
    events: Any, prepared: tastes.Prepared, spark: Any
) -> None:
    """F79."""
    rows = shop_rows()
    items = sorted({row["item_id"] for row in rows} - {None}) + [f"junk{n}" for n in range(9)]
    wild = [
        did("bot", kind, items[(7 * n) % len(items)], AS_OF - timedelta(days=1 + n % 20))
        for n in range(len(rows) // 4)
        for kind in ("view", "purchase")
    ]  # fmt: skip
    crowded = frame(spark, EVENTS, *rows, *wild).persist()
    share = len([r for r in wild if r["event_date"] < AS_OF]) / len([r for r in rows + wild if r["event_date"] < AS_OF])
    assert share > 0.3
    found = not_customers(crowded, AS_OF, days=60, share_of_events=0.3)
    assert [(r.user_key, r.value) for r in found.collect()] == [("bot", pytest.approx(share))]
    assert crowded.where("user_key = 'bot'").count() == len(wild), "its events stay"

    heard = tastes.prepare(customers(crowded, found).persist(), SPLIT, ZoneInfo("UTC"), COUNTING)
    assert heard.catalogue == prepared.catalogue
    assert heard.popularity.tolist() == prepared.popularity.tolist()
    assert heard.eligible.tolist() == prepared.eligible.tolist()
    assert sorted(heard.strengths.collect()) == sorted(prepared.strengths.collect())
    assert truth(customers(crowded, found), heard, SPLIT, AS_OF).wanted == truth(events, prepared, SPLIT, AS_OF).wanted
    without, left_out = (train_als(p, "als", ALS, 7).fitted for p in (prepared, heard))
    assert isinstance(without, FactorModel)
    assert isinstance(left_out, FactorModel)
    assert np.allclose(left_out.item_factors, without.item_factors, rtol=1e-3, atol=1e-5)

    everybody = tastes.prepare(crowded, SPLIT, ZoneInfo("UTC"), COUNTING)
    assert everybody.popularity.tolist() != prepared.popularity.tolist(), "heard, it would change what is popular"


def test_a_shop_without_machines_trains_the_very_same_model(events: Any, prepared: tastes.Prepared, spark: Any) -> None:
    nobody = spark.sql("SELECT user_key FROM VALUES ('u00') AS t(user_key) WHERE user_key = 'none'")
    found = not_customers(events, AS_OF, days=60, events_in_an_hour=1000, share_of_events=0.5, events_of_one_item=500)
    assert found.count() == 0
    heard = tastes.prepare(customers(events, nobody).persist(), SPLIT, ZoneInfo("UTC"), COUNTING)
    assert train_als(heard, "als", ALS, 7).to_files() == train_als(prepared, "als", ALS, 7).to_files()
