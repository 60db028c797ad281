"""What is known of users, items and weeks is what plain Python counts from the same log, and never the future."""

from __future__ import annotations

import contextlib
import gzip
import json
import random
from collections import defaultdict
from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from statistics import pstdev
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as examples
from hypothesis import strategies as st

from jobs.ingest.land_simulated_day import land, read_conf
from jobs.profile.build_features import (
    count_by_rule,
    excluded_users,
    item_features,
    user_features,
    user_profiles,
)
from rekindle import settings
from rekindle.contract import Table, conform, frame
from rekindle.methods.activity import DIALOGUE, activity
from rekindle.methods.preferences import faded_parts, shares
from rekindle.methods.retention_weeks import retention_metrics
from schemas.events import EVENTS
from schemas.excluded_users import EXCLUDED_USERS
from schemas.item_features import ITEM_FEATURES
from schemas.retention_metrics import RETENTION_METRICS
from schemas.user_features import MODEL_INPUTS, USER_FEATURES
from schemas.user_profiles import USER_PROFILES

ZONE = "Europe/Berlin"
AS_OF, EARLIER = date(2026, 4, 20), date(2026, 3, 30)  # clocks change between the log's first day and both
MIDNIGHT = datetime(2026, 4, 20, tzinfo=ZoneInfo(ZONE))
KINDS = (
    "view",
    "view",
    "view",
    "cart",
    "cart",
    "favourite",
    *("purchase",) * 3,
    "search",
    "return",
    "review",
    "contact",
)
GAP, HORIZON = 3, 21
WEIGHTS = {"view": 1.0, "cart": 3.0, "purchase": 5.0}


def event(user: str, at: datetime, kind: str, **other: Any) -> dict[str, Any]:
    """An event with the day that its instant has in the shop."""
    return {
        "event_id": f"{user} {at:%m%d%H%M%S} {kind} {other.get('item_id')}",
        "user_key": user,
        "event_type": kind,
        "event_ts": at.astimezone(UTC),
        "event_date": at.astimezone(ZoneInfo(ZONE)).date(),
        **other,
    }


def random_log(seed: int, users: int = 14, size: int = 420) -> list[dict[str, Any]]:
    """Users of different liveliness over 100 days; two weeks in March nobody comes; some act on the last evening."""
    dice = random.Random(seed)  # noqa: S311 - the same log every time
    rows = []
    for _ in range(size):
        back = dice.choice([dice.uniform(0, 40), dice.uniform(54, 100), dice.uniform(0, 1.5)])
        user, kind = f"u{int(users * dice.random() ** 2):02d}", dice.choice(KINDS)
        item = None if kind in ("search", "contact") else f"i{dice.randrange(12)}"
        bought = kind in ("purchase", "return")
        rows.append(
            event(
                user,
                (MIDNIGHT - timedelta(days=back)).replace(microsecond=0) - timedelta(seconds=1),
                kind,
                item_id=item,
                title=f"T {item}" if item and dice.random() < 0.8 else None,
                category=f"c{int(item[1:]) % 5}" if item and item != "i11" else None,
                order_id=f"o{user}{int(back)}" if bought and dice.random() < 0.8 else None,
                quantity=float(dice.randint(1, 3)) if bought else None,
                unit_price=dice.randint(1, 4000) / 100 if bought else None,
                stars=float(dice.randint(1, 5)) if kind == "review" else None,
                session_id=f"s{int(back * 2)}" if user in ("u00", "u01", "u02") and kind != "contact" else None,
            )
        )
    return list({row["event_id"]: row for row in rows}.values())


LOG = random_log(3)
# The latest of all, of a stranger too, and with all that an event can have.
BESIDE = [
    event(user, MIDNIGHT - timedelta(days=n, hours=3), kind, **words)
    for words in [{"item_id": "beside", "title": "T", "category": "c9", "session_id": "s", "stars": 5.0, "text": "no"}]
    for user in ("u00", "u01", "a stranger")
    for n, kind in enumerate(DIALOGUE)
]


def top_categories(events: Any, as_of: date, weights: dict[str, float]) -> Any:
    done = activity(events).where(events["event_date"] < as_of)
    return shares(done, "category", {"top_categories": (faded_parts(as_of, weights, None), "top_category_shares")})


def share(part: float, whole: float) -> float | None:
    return part / whole if whole else None


def money(rows: list[dict[str, Any]]) -> float:
    sign = {"purchase": 1, "return": -1}
    return sum(sign.get(r["event_type"], 0) * (r["quantity"] or 0) * (r["unit_price"] or 0) for r in rows)


def of_kind(rows: list[dict[str, Any]], kind: str) -> list[dict[str, Any]]:
    return [r for r in rows if r["event_type"] == kind]


def orders(rows: list[dict[str, Any]]) -> set[str]:
    return {r["order_id"] or r["event_id"] for r in of_kind(rows, "purchase")}


def highest_prices(log: list[dict[str, Any]]) -> dict[tuple[str, date], float]:
    """By item and day the highest price that anybody paid for it until then."""
    paid = [r for r in of_kind(log, "purchase") if r["unit_price"]]
    return {
        (r["item_id"], r["event_date"]): max(
            o["unit_price"] for o in paid if o["item_id"] == r["item_id"] and o["event_date"] <= r["event_date"]
        )
        for r in paid
    }


HIGHEST = highest_prices(LOG)


def expected_user(every: list[dict[str, Any]], as_of: date) -> dict[str, Any]:
    """Features of one user by the words of the contract, in plain Python; what a model of rhythms says is left out."""
    rows = [r for r in every if r["event_type"] not in DIALOGUE]
    contacts = of_kind(every, "contact")
    end = datetime(as_of.year, as_of.month, as_of.day, tzinfo=ZoneInfo(ZONE)).timestamp()

    def last(days: int) -> list[dict[str, Any]]:
        return [r for r in rows if r["event_date"] >= as_of - timedelta(days=days)]

    def days(found: list[dict[str, Any]]) -> set[date]:
        return {r["event_date"] for r in found}

    bought, month = of_kind(rows, "purchase"), last(30)
    purchase_days = sorted(days(bought))
    gaps = [(b - a).days for a, b in pairwise(purchase_days)]
    interval = share(sum(gaps), len(gaps))
    recency = (end - max(r["event_ts"] for r in bought).timestamp()) / 86400 if bought else None
    carted = {r["item_id"] for r in of_kind(month, "cart")}
    stars = [r for r in rows if r["stars"] is not None]
    hours = [r["event_ts"].astimezone(ZoneInfo(ZONE)).hour for r in rows]
    visits, recent_visits = ([r["session_id"] for r in some if r["session_id"]] for some in (rows, month))
    paid = [r for r in of_kind(last(90), "purchase") if r["unit_price"]]
    below = [1 - r["unit_price"] / HIGHEST[r["item_id"], r["event_date"]] for r in paid]
    gross = money(bought)
    return {
        "orders_90d": len(orders(last(90))),
        "spend_90d": money(last(90)),
        "spend_trend": 2 * money(month) - money(last(60)),
        "interval_deviation_days": pstdev(gaps) if len(gaps) > 1 else None,
        "interval_longest_days": max(gaps, default=None),
        "recency_to_longest": recency / max(gaps) if recency and gaps else None,
        "repeat_purchase_days": len(gaps) if bought else None,
        "repeat_span_days": sum(gaps) if bought else None,
        "customer_age_days": (as_of - purchase_days[0]).days if bought else None,
        "purchase_value_mean": share(money(rows), len(purchase_days)),
        "views_trend": 2 * len(of_kind(month, "view")) - len(of_kind(last(60), "view")),
        "categories_ever": len({r["category"] for r in rows} - {None}),
        "sessions_30d": len(set(recent_visits)) if visits else None,
        "session_actions_30d": share(len(recent_visits), len(set(recent_visits))),
        "return_value_share": share(gross - money(rows), gross),
        "discount_mean_90d": share(sum(round(part, 4) for part in below), len(below)),
        "reviews_90d": len(of_kind(last(90), "review")),
        "night_share": len([h for h in hours if h < 6]) / len(rows),
        "morning_share": len([h for h in hours if 6 <= h < 12]) / len(rows),
        "days_since_contact": ((end - max(r["event_ts"] for r in contacts).timestamp()) / 86400 if contacts else None),
        "days_since_activity": (end - max(r["event_ts"] for r in rows).timestamp()) / 86400,
        "recency_days": recency,
        "tenure_days": (end - min(r["event_ts"] for r in rows).timestamp()) / 86400,
        "frequency": len(orders(rows)),
        "monetary": money(rows),
        "orders_14d": len(orders(last(14))),
        "orders_30d": len(orders(month)),
        "orders_60d": len(orders(last(60))),
        "spend_30d": money(month),
        "order_value_mean": share(money(bought), len(orders(rows))),
        "orders_trend": 2 * len(orders(month)) - len(orders(last(60))),
        "purchase_interval_days": interval,
        "recency_to_interval": share(recency or 0, interval) if interval else None,
        "active_days_7d": len(days(last(7))),
        "active_days_30d": len(days(month)),
        "active_days_90d": len(days(last(90))),
        "activity_trend": 2 * len(days(last(15))) - len(days(month)),
        "views_30d": len(of_kind(month, "view")),
        "carts_30d": len(of_kind(month, "cart")),
        "favourites_30d": len(of_kind(month, "favourite")),
        "searches_30d": len(of_kind(month, "search")),
        "cart_abandonment_30d": share(len(carted - {r["item_id"] for r in of_kind(month, "purchase")}), len(carted)),
        "categories_30d": len({r["category"] for r in month} - {None}),
        "items_bought": len({r["item_id"] for r in bought}),
        "returns_60d": len(of_kind(last(60), "return")),
        "return_rate": share(len(of_kind(rows, "return")), len(bought)),
        "stars_mean": share(sum(r["stars"] for r in stars), len(stars)),
        "stars_last": max(stars, key=lambda r: (r["event_ts"], r["event_id"]))["stars"] if stars else None,
        "weekend_share": len([r for r in rows if r["event_date"].weekday() >= 5]) / len(rows),
        "evening_share": len([h for h in hours if h >= 18]) / len(rows),
    }


def by_key(df: Any, table: Table) -> dict[tuple[Any, ...], dict[str, Any]]:
    """The rows by the table's key, after the contract has accepted them; nulls only where it allows them."""
    rows = [row.asDict() for row in conform(df, table).collect()]
    required = [c.name for c in table.columns if not c.nullable]
    assert [r for r in rows if any(r[name] is None for name in required)] == []
    found = {tuple(r[k] for k in table.key): r for r in rows}
    assert len(found) == len(rows), "the key is a key"
    return found


def test_users_are_described_as_plain_python_counts_them_at_every_cutoff(spark: Any) -> None:
    events = frame(spark, EVENTS, *LOG, *BESIDE)
    found = by_key(user_features(events, [AS_OF, EARLIER], ZONE, GAP, HORIZON), USER_FEATURES)
    expected: dict[tuple[Any, ...], dict[str, Any]] = {}
    for as_of in (AS_OF, EARLIER):
        per_user = defaultdict(list)
        for row in (*LOG, *BESIDE):
            if row["event_date"] < as_of:
                per_user[row["user_key"]].append(row)
        acted = {u: r for u, r in per_user.items() if any(row["event_type"] not in DIALOGUE for row in r)}
        expected |= {(as_of, user): expected_user(rows, as_of) for user, rows in acted.items()}
    assert set(found) == set(expected)
    of_rhythm = {"expected_purchases", "no_purchase_probability"}
    counted = set(USER_FEATURES.names) - {"as_of", "user_key"} - of_rhythm
    assert set(expected_user(LOG, AS_OF)) == counted, "no column is left out"
    for key, columns in expected.items():
        for name, value in columns.items():
            assert found[key][name] == (None if value is None else pytest.approx(value, abs=1e-9)), (key, name)
    for row in found.values():
        assert {row[n] is None for n in of_rhythm} == {row["frequency"] == 0}, "a rhythm is of who bought"
    nullable = {c.name for c in USER_FEATURES.columns if c.nullable} - of_rhythm
    assert nullable == {n for row in expected.values() for n, v in row.items() if v is None}, "each null occurs"


@examples(max_examples=1, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 10_000), more=st.integers(1, 60))
def test_the_future_and_the_order_of_rows_change_nothing(spark: Any, seed: int, more: int) -> None:
    log = random_log(seed, users=5, size=60)
    dice = random.Random(seed)  # noqa: S311 - the same log every time
    future = [
        event(f"u{dice.randrange(9):02d}", MIDNIGHT + timedelta(hours=dice.uniform(0, 900)), dice.choice(KINDS))
        | {"item_id": "i1", "title": "later", "category": "c9", "unit_price": 9.0, "quantity": 1.0, "stars": 1.0}
        for _ in range(more)
    ]  # fmt: skip
    shuffled = [*log, *future]
    dice.shuffle(shuffled)
    told = []
    for rows in (log, shuffled):
        events = frame(spark, EVENTS, *rows)
        told.append(
            (
                by_key(user_features(events, [AS_OF], ZONE, GAP, HORIZON), USER_FEATURES),
                by_key(item_features(events, AS_OF, ["c1"]), ITEM_FEATURES),
                by_key(retention_metrics(events, AS_OF, date(2026, 4, 19)), RETENTION_METRICS),
                sorted(top_categories(events, AS_OF, WEIGHTS).collect()),
            )
        )
    assert told[0] == told[1]


def test_items_are_described_by_what_the_log_said_last(spark: Any) -> None:
    found = by_key(item_features(frame(spark, EVENTS, *LOG), AS_OF, ["c1", "c4"]), ITEM_FEATURES)
    per_item = defaultdict(list)
    for row in LOG:
        if row["item_id"]:
            per_item[row["item_id"]].append(row)
    assert set(found) == {(AS_OF, item) for item in per_item}
    for item, rows in per_item.items():
        rows.sort(key=lambda r: (r["event_ts"], r["event_id"]))
        recent = [r for r in rows if r["event_date"] >= AS_OF - timedelta(days=28)]

        def last(name: str, among: list[dict[str, Any]]) -> Any:
            return next((r[name] for r in reversed(among) if r[name] is not None), None)

        category = last("category", rows)
        assert found[AS_OF, item] == {
            "as_of": AS_OF,
            "item_id": item,
            "title": last("title", rows),
            "category": category,
            "is_durable": category in ("c1", "c4"),
            "last_price": last("unit_price", of_kind(rows, "purchase")) or last("unit_price", rows),
            "first_seen_date": rows[0]["event_date"],
            "last_seen_date": rows[-1]["event_date"],
            "views_28d": len(of_kind(recent, "view")),
            "carts_28d": len(of_kind(recent, "cart")),
            "buyers_28d": len({r["user_key"] for r in of_kind(recent, "purchase")}),
            "purchases_28d": len(of_kind(recent, "purchase")),
        }


def test_profiles_score_buyers_by_fifths_and_name_their_categories(spark: Any) -> None:
    source = settings.load("simulated_shop").source
    recommend = source.recommend.model_copy(update={"event_weights": WEIGHTS})
    source = source.model_copy(update={"time_zone": ZONE, "recommend": recommend})
    rows = [
        event(f"b{n}", MIDNIGHT - timedelta(days=2 * n, hours=1), "purchase", item_id="x", order_id=f"{n} {k}")
        | {"quantity": 1.0, "unit_price": 10.0 - n}
        for n in range(1, 11) for k in range(n)
    ]  # fmt: skip
    rows = list({r["order_id"]: r | {"event_id": r["order_id"]} for r in rows}.values())
    at = MIDNIGHT - timedelta(days=3)
    for kind, category in [("view", "tea")] * 2 + [("cart", "cups"), ("purchase", "pots"), ("view", "mats")]:
        rows.append(event("taste", at, kind, category=category, quantity=1.0, unit_price=1.0))
        rows[-1]["event_id"] += f" {category} {len(rows)}"
    rows.append(event("looker", at, "search"))
    events = frame(spark, EVENTS, *[r for r in rows if r["user_key"] != "taste"])
    features = user_features(events, [AS_OF], ZONE, GAP, HORIZON)
    machine = [{"user_key": "b3", "rule": rule} for rule in ("share_of_events", "events_in_an_hour", "flag_staff")]
    excluded = frame(spark, EXCLUDED_USERS, *machine)
    logged = item_features(events, AS_OF, [])
    found = by_key(user_profiles(features, events, excluded, AS_OF, date(2026, 4, 19), source, logged), USER_PROFILES)
    buyers = {f"b{n}": found[(f"b{n}",)] for n in range(1, 11)}
    assert [buyers[f"b{n}"]["recency_score"] for n in range(1, 11)] == [5, 5, 4, 4, 3, 3, 2, 2, 1, 1]
    assert [buyers[f"b{n}"]["frequency_score"] for n in range(1, 11)] == [1, 1, 2, 2, 3, 3, 4, 4, 5, 5]
    assert buyers["b3"]["last_purchase_date"] == buyers["b3"]["first_seen_date"] == date(2026, 4, 13)
    named = {user: row["excluded_as"] for (user,), row in found.items() if row["excluded_as"] is not None}
    assert named == {"b3": "events_in_an_hour,flag_staff,share_of_events"}
    looker = found[("looker",)]
    may_be_null = {c.name for c in USER_PROFILES.columns if c.nullable}
    assert {k for k, v in looker.items() if v is None} == may_be_null - {"usual_hour"}
    assert (looker["frequency"], looker["active_days_7d"]) == (0, 1)

    (taste,) = top_categories(frame(spark, EVENTS, *rows), AS_OF, WEIGHTS).where("user_key = 'taste'").collect()
    assert taste.top_categories == ["pots", "cups", "tea"]
    assert taste.top_category_shares == pytest.approx([5 / 11, 3 / 11, 2 / 11])


def test_a_tie_is_broken_by_name_and_equal_buyers_are_equal(spark: Any) -> None:
    source = settings.load("simulated_shop").source
    rows = [
        event(f"b{n}", MIDNIGHT - timedelta(days=5), "purchase", item_id="x", category=c, quantity=1.0, unit_price=2.0)
        | {"event_id": f"{n}{c}", "order_id": f"{n}"}
        for n in range(4) for c in "dbca"
    ]  # fmt: skip
    events = frame(spark, EVENTS, *rows)
    features = user_features(events, [AS_OF], ZONE, GAP, HORIZON)
    nobody = frame(spark, EXCLUDED_USERS)
    logged = item_features(events, AS_OF, [])
    found = by_key(user_profiles(features, events, nobody, AS_OF, date(2026, 4, 19), source, logged), USER_PROFILES)
    told = {
        (r["recency_score"], r["frequency_score"], r["monetary_score"], *r["top_categories"]) for r in found.values()
    }
    assert told == {(1, 1, 1, "a", "b", "c")}


def test_weeks_are_counted_as_plain_python_counts_them_and_a_silent_week_is_a_week(spark: Any) -> None:
    business_date = AS_OF - timedelta(days=1)
    found = by_key(retention_metrics(frame(spark, EVENTS, *LOG), AS_OF, business_date), RETENTION_METRICS)
    per_week = defaultdict(list)
    for row in (r for r in LOG if r["event_type"] != "contact"):
        per_week[row["event_date"] - timedelta(days=row["event_date"].weekday())].append(row)
    first = min(per_week)
    weeks: list[date] = []
    while first + timedelta(days=7 * len(weeks)) < AS_OF:
        weeks.append(first + timedelta(days=7 * len(weeks)))
    assert sorted(found) == [(week,) for week in weeks]
    seen: set[str] = set()
    orders_of: dict[str, set[str]] = defaultdict(set)
    before: set[str] | None = None
    for week in weeks:
        rows = per_week.get(week, [])
        active = {r["user_key"] for r in rows}
        for row in of_kind(rows, "purchase"):
            orders_of[row["user_key"]].add(row["order_id"] or row["event_id"])
        viewed = {u: min(r["event_ts"] for r in of_kind(rows, "view") if r["user_key"] == u)
                  for u in {r["user_key"] for r in of_kind(rows, "view")}}  # fmt: skip
        converted = {r["user_key"] for r in of_kind(rows, "purchase")
                     if r["user_key"] in viewed and r["event_ts"] >= viewed[r["user_key"]]}  # fmt: skip
        retained = None if before is None else len(active & before)
        assert found[(week,)] == {
            "week_start": week,
            "business_date": business_date,
            "active_users": len(active),
            "new_users": len(active - seen),
            "buyers": len({r["user_key"] for r in of_kind(rows, "purchase")}),
            "orders": len(orders(rows)),
            "conversion_rate": share(len(converted), len(viewed)),
            "repurchase_rate": share(sum(len(o) >= 2 for o in orders_of.values()), len(orders_of)),
            "retained_users": retained,
            "churn_rate": None if not before else pytest.approx(1 - (retained or 0) / len(before)),
        }
        seen |= active
        before = active
    assert found[(date(2026, 3, 2),)]["active_users"] == 0, "nobody came for two weeks"


def test_what_passes_between_shop_and_user_is_no_activity_of_a_user_of_an_item_or_of_a_week(spark: Any) -> None:
    source, day = settings.load("simulated_shop").source, AS_OF - timedelta(days=1)
    features = frame(spark, USER_FEATURES, dict.fromkeys(MODEL_INPUTS, 0.0) | {"user_key": "u00", "as_of": AS_OF})
    nobody = frame(spark, EXCLUDED_USERS)

    def described(*rows: dict[str, Any]) -> list[dict[tuple[Any, ...], dict[str, Any]]]:
        events = frame(spark, EVENTS, *rows)
        logged = item_features(events, AS_OF, [])
        return [
            by_key(user_profiles(features, events, nobody, AS_OF, day, source, logged), USER_PROFILES),
            by_key(logged, ITEM_FEATURES),
            by_key(retention_metrics(events, AS_OF, day), RETENTION_METRICS),
        ]

    log = [row for row in LOG if row["event_type"] != "contact"]
    assert described(*log, *BESIDE) == described(*log)


def test_a_week_that_has_not_ended_is_not_a_week_yet(spark: Any) -> None:
    monday = datetime(2026, 4, 13, 9, tzinfo=UTC)
    events = frame(
        spark, EVENTS, event("a", monday, "view", item_id="i"), event("a", monday - timedelta(days=7), "view")
    )
    for as_of, weeks in [(date(2026, 4, 9), 0), (date(2026, 4, 19), 1), (date(2026, 4, 20), 2)]:
        assert retention_metrics(events, as_of, as_of - timedelta(days=1)).count() == weeks


def test_nobody_of_the_simulated_shop_is_taken_for_a_machine(spark: Any, tmp_path: Path) -> None:
    source = settings.load("simulated_shop").source
    assert None not in source.not_customers.model_dump().values(), "every rule is asked"
    last = date(2026, 1, 10)
    land(read_conf(settings.ROOT / "conf/simulation.yaml"), tmp_path, last)
    rows = []
    for path in sorted((tmp_path / "landing" / source.name).glob("*.gz")):
        for line in gzip.decompress(path.read_bytes()).splitlines():
            with contextlib.suppress(ValueError, KeyError):  # the shop's dirt is not what this is about
                told = json.loads(line)
                at = datetime.fromisoformat(told["ts"])
                if told["customer"] not in source.events[0].mapping.denied_user_ids and at.date() <= last:
                    rows.append((told["customer"], at.astimezone(UTC), at.date(), told.get("sku"), None, "view"))
    assert len(rows) > 10_000
    columns = "user_key string, event_ts timestamp, event_date date, item_id string, flags string, event_type string"
    found = excluded_users(spark.createDataFrame(rows, columns), last + timedelta(days=1), source).persist()
    assert found.collect() == []
    assert count_by_rule(found) == {"users": 0}


def test_a_machine_and_a_tester_are_named_and_counted(spark: Any) -> None:
    source = settings.load("simulated_shop").source
    rules = source.not_customers.model_copy(update={"events_in_an_hour": 40, "share_of_events": 0.3})
    source = source.model_copy(update={"not_customers": rules})
    machine = [
        event("bot", MIDNIGHT - timedelta(days=1, seconds=20 * n), "view", item_id=f"i{n % 12}") for n in range(180)
    ]
    tester = [row | {"flags": "test_account"} for row in LOG if row["user_key"] == "u03"]
    log = [*machine, *tester, *[row for row in LOG if row["user_key"] != "u03"]]
    found = excluded_users(frame(spark, EVENTS, *log), AS_OF, source).persist()
    log = [row for row in log if row["event_type"] != "contact"]  # messages are no sign of a machine
    tester = [row for row in tester if row["event_type"] != "contact"]
    assert 0.3 * len(log) <= len(machine) < 0.34 * len(log), "F79: one user makes 30 % of all events"
    night = {"as_of": AS_OF}
    assert by_key(found, EXCLUDED_USERS) == {
        ("bot", "events_in_an_hour"): night
        | {"user_key": "bot", "rule": "events_in_an_hour", "value": 180.0, "threshold": 40.0},
        ("bot", "share_of_events"): night
        | {"user_key": "bot", "rule": "share_of_events", "value": len(machine) / len(log), "threshold": 0.3},
        ("u03", "flag_test_account"): night
        | {"user_key": "u03", "rule": "flag_test_account", "value": float(len(tester)), "threshold": None},
    }
    assert count_by_rule(found) == {"users": 2, "events_in_an_hour": 1, "flag_test_account": 1, "share_of_events": 1}
