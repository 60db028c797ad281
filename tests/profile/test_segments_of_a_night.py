"""Nights of a small shop with three kinds of users: they are found, keep their ids, and every move is explained."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from operator import itemgetter
from typing import Any

import pytest
from sklearn.metrics import adjusted_rand_score

from jobs.profile.build_features import store_segments
from rekindle import night, publication, settings, warehouse
from rekindle.cli import Context
from rekindle.contract import frame
from rekindle.ledger import Ledger, RunKey
from rekindle.methods import segmenting
from rekindle.methods.clusters import Centres
from rekindle.methods.segment_models import Model
from rekindle.methods.segment_night import segmentation
from schemas.events import EVENTS
from schemas.excluded_users import EXCLUDED_USERS
from schemas.item_features import ITEM_FEATURES
from schemas.segment_models import SEGMENT_MODELS
from schemas.segment_movements import SEGMENT_MOVEMENTS
from schemas.segments import SEGMENTS
from schemas.user_features import USER_FEATURES
from schemas.user_segments import USER_SEGMENTS

FIRST = date(2026, 4, 28)
TABLES = (USER_SEGMENTS, SEGMENTS, SEGMENT_MOVEMENTS, SEGMENT_MODELS)
# What each kind does, but for a few per cent more or less.
KINDS: dict[str, dict[str, float | None]] = {
    "loyal": {
        "days_since_activity": 2.0, "recency_days": 3.0, "frequency": 12.0, "orders_90d": 8.0, "spend_90d": 800.0,
        "order_value_mean": 90.0, "views_30d": 40.0, "active_days_30d": 12.0, "carts_30d": 9.0, "tenure_days": 200.0,
        "no_purchase_probability": 0.1,
    },
    "silent": {
        "days_since_activity": 80.0, "recency_days": 90.0, "frequency": 4.0, "orders_90d": 1.0, "spend_90d": 40.0,
        "order_value_mean": 35.0, "views_30d": 0.0, "active_days_30d": 0.0, "carts_30d": 0.0, "tenure_days": 300.0,
        "no_purchase_probability": 0.9,
    },
    "new": {
        "days_since_activity": 4.0, "recency_days": None, "frequency": 0.0, "orders_90d": 0.0, "spend_90d": 0.0,
        "order_value_mean": None, "views_30d": 12.0, "active_days_30d": 3.0, "carts_30d": 1.0, "tenure_days": 9.0,
        "no_purchase_probability": None,
    },
}  # fmt: skip
ITEMS = {"i0": "tea", "i1": "mugs", "i2": "wool", "i3": "needles"}
USERS = {"loyal": 40, "silent": 32, "new": 28}


def user(kind: str, number: int) -> str:
    return f"{kind}{number:02d}".ljust(64, "0")


def taste(key: str) -> int:
    return sum(map(ord, key)) % 2


def features(kinds: dict[str, str], as_of: date) -> list[dict[str, Any]]:
    rows = []
    for n, (key, kind) in enumerate(sorted(kinds.items())):
        row: dict[str, Any] = {"as_of": as_of, "user_key": key, "searches_30d": 0.0, "favourites_30d": 0.0}
        for place, (name, value) in enumerate(KINDS[kind].items()):
            as_planted = value is None or name == "no_purchase_probability"
            row[name] = value if as_planted else (value or 0.0) * (0.96 + (n + place) % 9 / 100)
        rows.append(row | {"activity_trend": 0.0})
    return rows


def events(keys: list[str], day: date, of_each: int = 6) -> list[dict[str, Any]]:
    """Everybody looks at tea and mugs, or at wool and needles, on days before `day`."""
    return [
        {
            "event_id": f"{key} {n} {day}",
            "user_key": key,
            "event_type": "view",
            "item_id": f"i{2 * taste(key) + n % 2}",
            "event_date": day - timedelta(days=1 + n),
        }
        for key in keys
        for n in range(of_each)
    ]


@dataclass(frozen=True)
class Nights:
    """What was stored, by table, of each night; what the ledger was told; the first night made again."""

    rows: list[dict[str, list[dict[str, Any]]]]
    details: list[dict[str, Any]]
    again: list[Any]

    def members(self, at: int) -> dict[str, dict[str, Any]]:
        return {row["user_key"]: row for row in self.rows[at][USER_SEGMENTS.name]}

    def segments(self, at: int, method: str = "k_means") -> dict[str, dict[str, Any]]:
        return {row["segment_id"]: row for row in self.rows[at][SEGMENTS.name] if row["method"] == method}

    def moved(self, at: int) -> dict[str, tuple[Any, ...]]:
        return {
            row["user_key"]: (row["change"], row["segment_before"], row["segment_after"], row["cause"])
            for row in self.rows[at][SEGMENT_MOVEMENTS.name]
        }


@pytest.fixture(scope="module")
def nights(_session: Any, environment: settings.Environment) -> Iterator[Nights]:
    """First: three kinds of users, one excluded, one who did too little, one long gone; again, with all rows in
    another order and with what happens later. Second: three silent users are loyal again, one is new, one is gone.
    Third: conf asks for two segments. Fourth: for three again; it is rolled back. Fifth: the fourth once more."""
    spark = _session
    loaded = settings.load("simulated_shop").model_copy(update={"environment": environment})
    two = {"least_users": 50, "fewest": 2, "most": 2, "resamples": 2, "fewest_topics": 2, "most_topics": 2}
    conf = loaded.source.segments.model_copy(update=two)
    source = loaded.source.model_copy(update={"name": "segment_shop", "segments": conf})
    loaded = loaded.model_copy(update={"source": source})
    ledger = Ledger(lambda: warehouse.connect(environment, "writer"))
    made = Nights([], [], [])

    def seen(kinds: dict[str, str], as_of: date, *, odd: bool = False) -> tuple[Any, Any, Any, Any]:
        """Events, features, exclusions and items; `odd`: rows the other way round, and what happens later too."""
        lazy = "lazy".ljust(64, "0")
        log = events([key for key in kinds if key != lazy], as_of) + events([lazy], as_of, 2)
        told = features(kinds, as_of)
        for row in told:
            if row["user_key"].startswith("gone"):
                row["days_since_activity"] = 400.0
        if odd:
            log = log[::-1] + events([user("loyal", n) for n in range(9)], as_of + timedelta(days=20), of_each=9)
            told = told[::-1]
        bad = {"user_key": user("machine", 0), "rule": "events_in_an_hour", "as_of": as_of}
        items = frame(spark, ITEM_FEATURES, *[{"item_id": i, "category": c} for i, c in ITEMS.items()])
        return frame(spark, EVENTS, *log), frame(spark, USER_FEATURES, *told), frame(spark, EXCLUDED_USERS, bad), items

    def lived(kinds: dict[str, str], fewest: int) -> str:
        number = len(made.rows)
        day, run_id = FIRST + timedelta(days=number), f"r00000000000018{number:02}"
        key = RunKey(run_id, source.name, day, "code", "conf", "ingest", 1, False)
        run = ledger.open_run(key, [], {"train": False, "base": None})
        wanted = conf.model_copy(update={"fewest": fewest, "most": fewest})
        here = loaded.model_copy(update={"source": source.model_copy(update={"segments": wanted})})
        with ledger.stage(run_id, "build_features") as detail:
            context = Context(here, day, ledger, False, run, spark, detail, logging.getLogger("build_features"))
            log, told, excluded, items = seen(kinds, day + timedelta(days=1))
            night.store(context, EXCLUDED_USERS, excluded)
            store_segments(context, log, told, items)
        made.rows.append({t.name: [row.asDict() for row in night.read(context, t).collect()] for t in TABLES})
        made.details.append(context.detail["segments"])
        with warehouse.connect(environment, "owner") as conn:
            conn.execute(
                "INSERT INTO serve.publications (source, run_id, business_date, data_through, key_version, attempt,"
                " status, manifest) VALUES (%s, %s, %s, %s, 1, 1, 'served', '{}')",
                [source.name, run_id, day, datetime(2026, 5, 30, tzinfo=UTC)],
            )
            conn.execute(
                "INSERT INTO serve.pointers (source, run_id) VALUES (%s, %s)"
                " ON CONFLICT (source) DO UPDATE SET run_id = excluded.run_id",
                [source.name, run_id],
            )
            conn.execute(
                "INSERT INTO serve.pointer_moves (source, to_run, cause) VALUES (%s, %s, 'published')",
                [source.name, run_id],
            )
        return run_id

    kinds = {user(kind, n): kind for kind, size in USERS.items() for n in range(size)}
    kinds |= {user("machine", 0): "loyal", "lazy".ljust(64, "0"): "new", user("gone", 0): "silent"}
    lived(kinds, 3)
    as_of, wanted = FIRST + timedelta(days=1), conf.model_copy(update={"fewest": 3, "most": 3})
    log, told, excluded, items = seen(kinds, as_of, odd=True)
    again = segmentation(log, told, excluded, items, None, {}, wanted, as_of, FIRST, False, loaded.business.seed)
    made.again.append(again.members.collect())
    made.again.append(again.segments)
    made.again.append({method: model.to_json() for method, model in again.models.items()})
    later = kinds | {user("silent", n): "loyal" for n in range(3)} | {user("new", 90): "new"}
    later[user("gone", 1)] = later.pop(user("new", 27))
    lived(later, 3)
    kept = lived(later, 2)
    lived(later, 3)
    with warehouse.connect(environment, "writer") as conn:
        publication.roll_back(conn, source.name, kept, "a person", "the fourth night's segments are odd")
    lived(later, 3)
    yield made
    spark.catalog.clearCache()


def test_planted_users_are_in_segments_of_their_own_with_names_that_say_so(nights: Nights) -> None:
    members = nights.members(0)
    segments = {
        kind: Counter(members[user(kind, n)]["segment_id"] for n in range(size)) for kind, size in USERS.items()
    }
    assert segments == {"loyal": {"s001": 40}, "silent": {"s002": 32}, "new": {"s003": 28}}
    names = {number: row["name"] for number, row in nights.segments(0).items()}
    assert names["s001"].startswith("frequent buyers")
    assert "lately silent" in names["s002"]
    assert names["s003"].startswith("have hardly bought")
    assert {members[user("machine", 0)]["unsegmented_as"], members[user("gone", 0)]["unsegmented_as"]} == {
        "excluded",
        "silent",
    }
    assert members["lazy".ljust(64, "0")]["unsegmented_as"] == "too_few_actions"
    topics = Counter((row["topic_id"], taste(key)) for key, row in members.items() if row["topic_id"])
    assert len(topics) == 2, "tea and mugs, and wool and needles"
    assert {row["name_parts"][0] for row in nights.segments(0, "topics").values()} <= set(ITEMS.values())
    first = nights.segments(0)["s001"]
    assert first["status"] == "new"
    assert first["users_before"] is None
    assert first["value_at_stake"] == pytest.approx(0.1 * first["spend_90d"], rel=1e-6)
    assert nights.segments(0)["s003"]["value_at_stake"] is None
    assert nights.moved(0) == {}


def test_the_order_of_rows_and_what_happens_later_change_nothing(nights: Nights) -> None:
    users, segments, models = nights.again
    dates = ("business_date", "compared_date")
    stored = [{k: v for k, v in row.items() if k not in dates} for row in nights.rows[0][USER_SEGMENTS.name]]
    assert sorted(stored, key=itemgetter("user_key")) == sorted((r.asDict() for r in users), key=itemgetter("user_key"))
    told = [{k: v for k, v in row.items() if k not in dates} for row in nights.rows[0][SEGMENTS.name]]
    assert sorted(told, key=itemgetter("segment_id")) == sorted(segments, key=itemgetter("segment_id"))
    assert {row["method"]: row["model"] for row in nights.rows[0][SEGMENT_MODELS.name]} == models


def test_who_does_otherwise_moves_and_nobody_else(nights: Nights) -> None:
    assert nights.details[1]["fitted_for"] is None, "the borders stayed"
    assert nights.moved(1) == {
        **{user("silent", n): ("moved", "s002", "s001", "behaviour") for n in range(3)},
        user("new", 90): ("entered", None, "s003", "behaviour"),
        user("new", 27): ("left", "s003", None, "behaviour"),
    }
    figures = ("status", "users", "users_before", "users_entered", "users_left")
    told = {number: tuple(row[name] for name in figures) for number, row in nights.segments(1).items()}
    assert told == {
        "s001": ("kept", 43, 40, 3, 0),
        "s002": ("kept", 29, 32, 0, 3),
        "s003": ("kept", 28, 28, 1, 1),
    }
    before, now = nights.members(0), nights.members(1)
    both = [k for k in now if k in before and before[k]["segment_id"] and now[k]["segment_id"]]
    rand = adjusted_rand_score([before[k]["segment_id"] for k in both], [now[k]["segment_id"] for k in both])
    assert nights.segments(1)["s001"]["adjusted_rand"] == pytest.approx(rand, abs=1e-6)


def test_a_segment_that_is_no_more_says_so_and_its_users_are_told_why_they_moved(nights: Nights) -> None:
    segments = nights.segments(2)
    status = {number: row["status"] for number, row in segments.items()}
    [gone] = [number for number, what in status.items() if what == "dissolved"]
    assert sorted(status.values()) == ["dissolved", "kept", "kept"]
    assert nights.details[2]["fitted_for"] == "conf"
    assert {row["highest_number"] for row in segments.values()} == {3}
    assert (segments[gone]["users"], segments[gone]["users_left"]) == (0, segments[gone]["users_before"])
    causes = {change[3] for change in nights.moved(2).values() if change[1] == gone}
    assert causes == {"dissolved"}
    for at in (1, 2):
        for row in nights.rows[at][SEGMENTS.name]:
            assert row["users"] == row["users_before"] + row["users_entered"] - row["users_left"]


def test_after_a_rollback_no_number_is_given_again_and_moves_are_told_since_what_was_seen_last(nights: Nights) -> None:
    served = {number for number, row in nights.segments(2).items() if row["status"] != "dissolved"}
    rolled_back, anew = nights.segments(3), nights.segments(4)
    assert (rolled_back.keys() - served, anew.keys() - served) == ({"s004"}, {"s005"})
    assert {row["compared_date"] for row in (*rolled_back.values(), *anew.values())} == {FIRST + timedelta(days=2)}
    assert {row["highest_number"] for row in anew.values()} == {5}
    assert nights.details[4]["highest"] == {
        method: max(row["highest_number"] for row in nights.segments(4, method).values())
        for method in ("k_means", "bisecting", "topics")
    }
    assert {change[1] for change in nights.moved(4).values()} <= {None, *served}


def test_each_move_has_the_first_cause_that_holds(spark: Any) -> None:
    columns = "user_key string, segment_id string, segment_name string"

    def frame_of(rows: dict[str, str | None]) -> Any:
        return spark.createDataFrame([(k, s, s and f"name {s}") for k, s in rows.items()], columns)

    plain = Model("k_means", Centres(None), None, None, 1.0, ())  # type: ignore[arg-type]
    then, now = replace(plain, ids=("s001", "s002", "s003")), replace(plain, ids=("s001", "s004", "s003"))
    was = {"acted": "s001", "lost": "s002", "found": "s001", "over": "s001", "stays": "s003", "goes": "s003"}
    is_now = {"acted": "s004", "lost": "s001", "found": "s004", "over": "s003", "stays": "s003", "comes": "s004"}
    would = {"acted": 2, "lost": 1, "found": 0, "over": 0, "stays": 2, "comes": 0}
    found = spark.createDataFrame(list(would.items()), "user_key string, then int")
    rows = segmenting.movements(frame_of({**is_now, "goes": None}), found, frame_of(was), now, then).collect()
    assert {row["user_key"]: (row["change"], row["cause"]) for row in rows} == {
        "acted": ("moved", "behaviour"),
        "lost": ("moved", "dissolved"),
        "found": ("moved", "born"),
        "over": ("moved", "borders"),
        "comes": ("entered", "behaviour"),
        "goes": ("left", "behaviour"),
    }
