"""Twenty items for everybody, each with its title, its price and a reason in words."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from jobs.profile.build_features import item_features
from jobs.recommend.recommend_items import recommend, with_items
from rekindle.contract import conform, frame
from rekindle.methods import listing
from rekindle.methods.not_customers import customers
from rekindle.methods.recommenders import Recommender
from schemas.events import EVENTS
from schemas.item_features import ITEM_FEATURES
from schemas.recommendations import RECOMMENDATIONS

AS_OF = date(2026, 4, 20)


def test_each_reason_names_what_speaks_for_the_item(spark: Any) -> None:
    items = frame(
        spark,
        ITEM_FEATURES,
        {"item_id": "a", "title": "Teapot", "category": "tea", "last_price": 19.5, "buyers_28d": 12},
        {"item_id": "b", "buyers_28d": 1},
        {"item_id": "c", "title": "Mat", "buyers_28d": 0},
    )
    catalogue = spark.createDataFrame([("a", 0), ("b", 1), ("c", 2)], "item_id string, item int")
    lists = [(0, 1), (1, 0), (0, 0), (0, -1), (1, -1), (2, -1)]
    rows = [("u", n + 1, item, 0.5, "als", because) for n, (item, because) in enumerate(lists)]
    found = sorted(
        with_items(spark.createDataFrame(rows, listing.LISTED), catalogue, items).collect(), key=lambda r: r.rank
    )
    assert [row.reason for row in found] == [
        "goes with “item b”, which this user looked at or bought",
        "goes with “Teapot”, which this user looked at or bought",
        "again: it weighs most in this user's own history",
        "popular: 12 buyers in the last 28 days",
        "popular: 1 buyer in the last 28 days",
        "popular earlier this season",
    ]
    assert [(r.item_id, r.title, r.category, r.last_price) for r in found[:2]] == [
        ("a", "Teapot", "tea", 19.5),
        ("b", None, None, None),
    ]


def test_with_popularity_as_champion_everybody_gets_a_full_list_of_what_sells(spark: Any) -> None:
    rows = []
    for user in range(6):
        for item in range(8):
            at = datetime(2026, 4, 18, 12, tzinfo=UTC) - timedelta(days=item)
            kind = "purchase" if user <= item else "view"
            rows.append({
                "event_id": f"{user} {item}", "user_key": f"u{user}", "event_type": kind, "event_ts": at,
                "event_date": at.date(), "item_id": f"i{item}", "category": "sofa" if item == 7 else "tea",
                "unit_price": 5.0 + item, "quantity": 1.0, "title": f"T{item}",
            })  # fmt: skip
    events = frame(spark, EVENTS, *rows)
    counting = listing.Counting({"view": 1.0, "purchase": 5.0}, 1000.0, 28, 60, ("sofa",))
    prepared = listing.prepare(events, AS_OF, ZoneInfo("UTC"), counting)
    items = item_features(events, AS_OF, ["sofa"])
    made = recommend(prepared, Recommender("popularity", {}), items, 5, date(2026, 4, 19), "digest")
    found = sorted(conform(made, RECOMMENDATIONS).collect(), key=lambda r: (r.user_key, r.rank))
    assert [(r.user_key, r.rank) for r in found] == [(f"u{u}", n) for u in range(6) for n in range(1, 6)]
    assert [r.item_id for r in found[:5]] == ["i5", "i6", "i4", "i3", "i2"], "everybody bought the sofa i7 already"
    assert {(r.candidate_source, r.model_version, r.business_date) for r in found} == {
        ("popularity", "digest", date(2026, 4, 19))
    }
    assert (found[0].title, found[0].last_price) == ("T5", 10.0)
    assert found[0].reason == "popular: 6 buyers in the last 28 days"
    assert None not in {(r.item_id, r.score, r.reason) for r in found}


def test_a_machine_has_a_list_of_its_own_and_says_nothing_about_what_is_popular_or_current(spark: Any) -> None:
    noon = datetime(2026, 4, 18, 12, tzinfo=UTC)

    def did(user: str, kind: str, item: str, number: int, days_ago: int = 0) -> dict[str, Any]:
        at = noon - timedelta(days=days_ago, seconds=number)
        return {
            "event_id": f"{user} {kind} {item} {number}", "user_key": user, "event_type": kind, "event_ts": at,
            "event_date": at.date(), "item_id": item, "category": "tea", "quantity": 1.0, "unit_price": 1.0,
        }  # fmt: skip

    people = [did(f"u{user}", "purchase", f"i{item}", user) for user in range(4) for item in range(user, 4)]
    people.append(did("u0", "view", "gone", 0, days_ago=100))
    bot = [did("bot", "purchase", "i0", n) for n in range(200)]
    bot += [did("bot", "view", "gone", n) for n in range(50)] + [did("bot", "view", "junk", n) for n in range(50)]
    counting = listing.Counting({"view": 1.0, "purchase": 5.0}, 1000.0, 28, 60, ())
    excluded = spark.createDataFrame([("bot",)], "user_key string")

    def listed(rows: list[dict[str, Any]], leave_out: bool) -> dict[str, list[str]]:
        events = frame(spark, EVENTS, *rows)
        heard = customers(events, excluded) if leave_out else None
        prepared = listing.prepare(events, AS_OF, ZoneInfo("UTC"), counting, heard)
        items = item_features(events, AS_OF, [])
        made = recommend(prepared, Recommender("popularity", {}), items, 6, date(2026, 4, 19), "d").collect()
        found: dict[str, list[str]] = {}
        for row in sorted(made, key=lambda r: (r.user_key, r.rank)):
            found.setdefault(row.user_key, []).append(row.item_id)
        return found

    alone = listed(people, leave_out=False)
    assert alone["u0"] == ["i3", "i2", "i1", "i0"], "gone has not been seen for a hundred days"
    assert listed([*people, *bot], leave_out=True) == alone | {"bot": alone["u0"]}
    assert listed([*people, *bot], leave_out=False)["u0"][0] == "i0", "heard, the machine would fill the lists"
