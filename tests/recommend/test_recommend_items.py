"""Twenty items for everybody, each with its title, its price and a reason in words."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from jobs.profile.build_features import item_features
from jobs.recommend.recommend_items import with_items, with_titles
from rekindle import settings
from rekindle.contract import conform, frame
from rekindle.methods import serving, serving_frames
from rekindle.methods.list_settings import Filter, Rules
from rekindle.methods.recommenders import POPULARITY, Recommender
from schemas.events import EVENTS
from schemas.item_features import ITEM_FEATURES
from schemas.item_similarities import ITEM_SIMILARITIES
from schemas.recommendations import RECOMMENDATIONS

AS_OF, DAY = date(2026, 4, 20), date(2026, 4, 19)


def test_each_reason_names_what_speaks_for_the_item(spark: Any) -> None:
    items = frame(
        spark,
        ITEM_FEATURES,
        {"item_id": "a", "title": "Teapot", "category": "tea", "last_price": 19.5, "buyers_28d": 12,
         "first_seen_date": date(2026, 4, 11)},
        {"item_id": "b", "buyers_28d": 1},
        {"item_id": "c", "title": "Mat", "buyers_28d": 0},
    )  # fmt: skip
    catalogue = spark.createDataFrame([("a", 0), ("b", 1), ("c", 2)], "item_id string, item int")
    told = [
        (0, 1, "als", "by_score", None, "goes with “item b”, which this user looked at or bought"),
        (1, 0, "content", "by_score", None, "like “Teapot”, which this user looked at or bought"),
        (0, 0, "als", "by_score", None, "again: it weighs most in this user's own history"),
        (0, 0, "als", "by_score", 1.2, "again: last bought 1 day ago"),
        (0, -1, "repeat_last", "by_score", 22.7, "again: last bought 23 days ago"),
        (0, -1, "repeat_last", "by_score", None, "again: looked at today"),
        (0, 1, "als", "due_again", 30.0, "due again: last bought 30 days ago"),
        (0, -1, "new_item", "new_item", None, "new: in the shop since 2026-04-11"),
        (0, -1, "newcomers", "by_score", None, "what first-time buyers take"),
        (0, -1, "popularity", "by_score", None, "popular: 12 buyers in the last 28 days"),
        (1, -1, "popularity", "by_score", None, "popular: 1 buyer in the last 28 days"),
        (2, -1, "popularity", "by_score", None, "popular earlier this season"),
    ]
    rows = [
        ("u", n + 1, item, 0.5, source, because, place, 1.0, n + 1, days, 0.3)
        for n, (item, because, source, place, days, _) in enumerate(told)
    ]
    found = sorted(
        with_items(spark.createDataFrame(rows, serving.LISTED), catalogue, items).collect(), key=lambda r: r["rank"]
    )
    assert [row.reason for row in found] == [words for *_, words in told]
    assert [(r.item_id, r.title, r.category, r.last_price) for r in found[:2]] == [
        ("a", "Teapot", "tea", 19.5),
        ("b", None, None, None),
    ]


def did(user: str, kind: str, item: str, number: int = 0, days_ago: int = 0, **more: Any) -> dict[str, Any]:
    at = datetime(2026, 4, 18, 12, tzinfo=UTC) - timedelta(days=days_ago, seconds=number)
    return {
        "event_id": f"{user} {kind} {item} {number} {days_ago}", "user_key": user, "event_type": kind, "event_ts": at,
        "event_date": at.date(), "item_id": item, "category": "tea", "quantity": 1.0, "unit_price": 1.0,
    } | more  # fmt: skip


def night_of(
    spark: Any,
    rows: list[dict[str, Any]],
    k: int,
    *,
    excluded: Any = None,
    earlier: list[tuple[date, Any]] | None = None,
    rules: Rules | None = None,
    durable: tuple[str, ...] = (),
) -> tuple[list[Any], list[Any]]:
    """(recommendations, item_similarities) of a night with what is popular as champion."""
    events = frame(spark, EVENTS, *rows)
    items = item_features(events, AS_OF, list(durable))
    changed = {
        "event_weights": {"view": 1.0, "purchase": 5.0}, "half_life_days": 1000.0, "popularity_days": 28,
        "catalogue_days": 60, "durable_categories": durable, "rules": rules or Rules(),
    }  # fmt: skip
    conf = settings.load("simulated_shop").source.recommend.model_copy(update=changed)
    nobody = spark.createDataFrame([], "user_key string")
    made = serving_frames.Night.of(
        Recommender(POPULARITY), events, excluded or nobody, items, None, earlier or [], AS_OF, ZoneInfo("UTC"), conf
    )
    catalogue = serving_frames.numbered(spark, made.prepared.catalogue)
    columns = {"model_version": "digest", "business_date": DAY}

    def whole(made: Any) -> Any:
        from pyspark.sql import functions as F

        return made.withColumns({name: F.lit(value) for name, value in columns.items()})

    listed = serving.serve(made.users, made.served, k)
    lists = conform(whole(with_items(listed, catalogue, items)), RECOMMENDATIONS)
    neighbours = conform(whole(with_titles(made.similar, catalogue, items)), ITEM_SIMILARITIES)
    return (
        sorted(lists.collect(), key=lambda r: (r.user_key, r["rank"])),
        sorted(neighbours.collect(), key=lambda r: (r.item_id, r["rank"])),
    )


def by_user(rows: list[Any]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for row in rows:
        found.setdefault(row.user_key, []).append(row.item_id)
        assert row["rank"] == len(found[row.user_key])
    return found


def test_with_popularity_as_champion_everybody_gets_a_full_list_of_what_sells(spark: Any) -> None:
    rows = [
        did(f"u{user}", "purchase" if user <= item else "view", f"i{item}", days_ago=item, unit_price=5.0 + item,
            category="sofa" if item == 7 else "tea", title=f"T{item}")
        for user in range(6) for item in range(8)
    ]  # fmt: skip
    rows.append(did("searcher", "search", None))  # type: ignore[arg-type]
    found, neighbours = night_of(spark, rows, 5, durable=("sofa",))
    lists = by_user(found)
    assert lists["u1"] == ["i5", "i6", "i4", "i3", "i2"], "everybody bought the sofa i7 already"
    assert {user: len(items) for user, items in lists.items()} == {f"u{n}": 5 for n in range(6)} | {"searcher": 5}
    assert lists["searcher"][0] == "i7", "who bought nothing may be offered a sofa"
    mine = [row for row in found if row.user_key != "searcher"]
    assert {(r.candidate_source, r.model_version, r.business_date, r.propensity) for r in mine} == {
        ("popularity", "digest", DAY, 1.0)
    }
    strangers = [(r.candidate_source, r.reason) for r in found if r.user_key == "searcher"]
    assert strangers[0] == ("newcomers", "what first-time buyers take"), "the sofa is what everybody bought first"
    assert strangers[1] == ("popularity", "popular: 6 buyers in the last 28 days")
    assert (mine[0].title, mine[0].last_price) == ("T5", 10.0)
    assert None not in {(r.item_id, r.score, r.reason) for r in found}
    assert {(row.item_id, row.similar_item_id) for row in neighbours} == {
        (f"i{a}", f"i{b}") for a in range(8) for b in range(8) if a != b
    }
    assert {(row.common_users, round(row.similarity, 9)) for row in neighbours} == {(6, round(6 / 16, 9))}


def test_a_machine_has_a_list_of_its_own_and_says_nothing_about_what_is_popular_current_or_alike(spark: Any) -> None:
    people = [did(f"u{user}", "purchase", f"i{item}", user) for user in range(4) for item in range(user, 4)]
    people.append(did("u0", "view", "gone", 0, days_ago=100))
    bot = [did("bot", "purchase", "i0", n) for n in range(200)]
    bot += [did("bot", "view", item, n) for item in ("gone", "junk") for n in range(50)]
    excluded = spark.createDataFrame([("bot",)], "user_key string")
    alone, near = night_of(spark, people, 6)
    assert by_user(alone)["u0"] == ["i3", "i2", "i1", "i0"], "gone has not been seen for a hundred days"
    crowded, still = night_of(spark, [*people, *bot], 6, excluded=excluded)
    lists = by_user(crowded)
    bots = lists.pop("bot")
    assert lists == by_user(alone)
    assert sorted(bots) == ["i0", "i1", "i2", "i3"]
    assert [(r.item_id, r.similar_item_id, r.common_users) for r in still] == [
        (r.item_id, r.similar_item_id, r.common_users) for r in near
    ]


def test_what_was_shown_on_three_nights_and_left_alone_is_dropped_until_the_user_does_something_with_it(
    spark: Any,
) -> None:
    people = [did(f"u{user}", "purchase", f"i{item}", user, 5) for user in range(4) for item in range(user, 6)]
    people.append(did("u0", "view", "i5", days_ago=-1))  # on the 19th, after the lists of the 16th to 18th
    lists = [(u, i) for u in ("u0", "u1") for i in ("i4", "i5")]
    shown = frame(spark, RECOMMENDATIONS, *[{"user_key": u, "item_id": i} for u, i in lists])
    earlier = [(date(2026, 4, 18 - n), shown) for n in range(3)]
    rules = Rules(filters=(Filter(id="fatigue", drop="history.shown_nights >= 3"),))
    before = by_user(night_of(spark, people, 4, rules=rules)[0])
    after = by_user(night_of(spark, people, 4, rules=rules, earlier=earlier)[0])
    assert before["u1"] == ["i3", "i4", "i5", "i2"]
    assert after["u1"] == ["i3", "i2", "i1", "i0"]
    assert after["u0"] == ["i3", "i5", "i2", "i1"], "u0 looked at i5 since, and left i4 alone"
    assert after["u3"] == before["u3"]
