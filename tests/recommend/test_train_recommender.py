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


@pytest.fixture(scope="module")
def prepared(events: Any) -> listing.Prepared:
    counting = listing.Counting({"view": 1.0, "purchase": 5.0}, 30.0, 28, 60, ())
    return listing.prepare(events, SPLIT, ZoneInfo("UTC"), counting)


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


def test_a_model_is_not_better_than_itself() -> None:
    same = Judged(np.zeros((3, 10), dtype=np.int64), np.array([0.1, 0.5, 0.0]), {"ndcg_at_10": 0.2})
    found = compare("d", "als", same, same, seed=1, draws=100)
    assert (found.difference, found.low, found.high, found.is_better) == (0, 0, 0, False)
