"""A recommender is judged on what its users bought later, of all that it could have listed."""

from __future__ import annotations

import math
from datetime import UTC, date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pytest

from jobs.recommend.train_recommender import Judged, compare, judge, train, truth
from rekindle import settings
from rekindle.contract import frame
from rekindle.methods import listing
from rekindle.methods.not_customers import customers, not_customers
from rekindle.methods.recommenders import Recommender
from schemas.events import EVENTS

SPLIT, AS_OF = date(2026, 4, 10), date(2026, 4, 17)


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


COUNTING = listing.Counting({"view": 1.0, "purchase": 5.0}, 30.0, 28, 60, ())


@pytest.fixture(scope="module")
def prepared(events: Any) -> listing.Prepared:
    return listing.prepare(events, SPLIT, ZoneInfo("UTC"), COUNTING)


def test_truth_is_what_known_users_bought_of_the_catalogue_in_the_judging_days(
    events: Any, prepared: listing.Prepared
) -> None:
    found = truth(events, prepared, SPLIT, AS_OF)
    later: dict[str, set[str]] = {}
    for row in shop_rows():
        if row["event_type"] == "purchase" and SPLIT <= row["event_date"] < AS_OF:
            later.setdefault(row["user_key"], set()).add(row["item_id"])
    wanted = {user: {i for i in items if i in prepared.catalogue} for user, items in later.items()}
    assert {user: {prepared.catalogue[i] for i in items} for user, items in found.items()} == {
        user: items for user, items in wanted.items() if user not in ("newcomer", "searcher")
    }
    assert list(found) == sorted(found)


def test_als_finds_the_groups_and_beats_popularity_by_a_paired_interval(
    events: Any, prepared: listing.Prepared
) -> None:
    wanted = truth(events, prepared, SPLIT, AS_OF)
    conf = settings.load("simulated_shop").source.recommend.model_copy(update={"rank": 4, "iterations": 4})
    candidate = train(prepared, conf, 7)
    assert (candidate.method, candidate.params["rank"], candidate.items) == ("als", 4, prepared.catalogue)
    offered, standing = judge(prepared, wanted, candidate), judge(prepared, wanted, Recommender("popularity", {}))

    def ndcg(listed: list[int], bought: list[int]) -> float:
        gain = sum(1 / math.log2(n + 2) for n, item in enumerate(listed) if item in bought)
        return gain / sum(1 / math.log2(n + 2) for n in range(min(len(bought), 10)))

    for judged in (offered, standing):
        by_hand = [ndcg(judged.lists[n].tolist(), bought) for n, bought in enumerate(wanted.values())]
        assert judged.ndcg.tolist() == pytest.approx(by_hand)
        assert judged.metrics["ndcg_at_10"] == pytest.approx(np.mean(by_hand))
        recalled = [len(set(judged.lists[n]) & set(b)) / len(b) for n, b in enumerate(wanted.values())]
        assert judged.metrics["recall_at_10"] == pytest.approx(np.mean(recalled))
        assert judged.metrics["judged_users"] == len(wanted) == 16
        assert judged.metrics["coverage"] == len(set(judged.lists.ravel())) / len(prepared.catalogue)
    groups = [{prepared.catalogue[i][0] for i in judged_list} for judged_list in offered.lists]
    assert groups == [{"ab"[int(user[1:]) % 2]} for user in wanted]

    found = compare("d0", "popularity", offered, standing, seed=1, draws=200)
    assert found.is_better
    assert found.difference == pytest.approx(offered.metrics["ndcg_at_10"] - standing.metrics["ndcg_at_10"])
    assert (found.other, found.other_name, found.metric, found.rows) == ("d0", "popularity", "ndcg_at_10", 16)
    assert found == compare("d0", "popularity", offered, standing, seed=1, draws=200)


def test_a_machine_with_a_third_of_all_events_changes_nobody_elses_list(
    events: Any, prepared: listing.Prepared, spark: Any
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

    conf = settings.load("simulated_shop").source.recommend.model_copy(update={"rank": 4, "iterations": 4})
    heard = listing.prepare(customers(crowded, found).persist(), SPLIT, ZoneInfo("UTC"), COUNTING)
    assert heard.catalogue == prepared.catalogue
    assert heard.popularity.tolist() == prepared.popularity.tolist()
    assert heard.eligible.tolist() == prepared.eligible.tolist()
    assert sorted(heard.strengths.collect()) == sorted(prepared.strengths.collect())
    assert truth(customers(crowded, found), heard, SPLIT, AS_OF) == truth(events, prepared, SPLIT, AS_OF)
    without, left_out = train(prepared, conf, 7), train(heard, conf, 7)
    assert left_out.factors is not None
    assert without.factors is not None
    assert np.allclose(left_out.factors, without.factors, rtol=1e-3, atol=1e-5)

    everybody = listing.prepare(crowded, SPLIT, ZoneInfo("UTC"), COUNTING)
    assert everybody.popularity.tolist() != prepared.popularity.tolist(), "heard, it would change what is popular"


def test_a_shop_without_machines_trains_the_very_same_model(
    events: Any, prepared: listing.Prepared, spark: Any
) -> None:
    nobody = spark.sql("SELECT user_key FROM VALUES ('u00') AS t(user_key) WHERE user_key = 'none'")
    found = not_customers(events, AS_OF, days=60, events_in_an_hour=1000, share_of_events=0.5, events_of_one_item=500)
    assert found.count() == 0
    conf = settings.load("simulated_shop").source.recommend.model_copy(update={"rank": 4, "iterations": 2})
    heard = listing.prepare(customers(events, nobody).persist(), SPLIT, ZoneInfo("UTC"), COUNTING)
    assert train(heard, conf, 7).to_files() == train(prepared, conf, 7).to_files()


def test_a_model_is_not_better_than_itself() -> None:
    same = Judged(np.zeros((3, 10), dtype=np.int64), np.array([0.1, 0.5, 0.0]), {"ndcg_at_10": 0.2})
    found = compare("d", "als", same, same, seed=1, draws=100)
    assert (found.difference, found.low, found.high, found.is_better) == (0, 0, 0, False)
