"""Machines and test accounts are found by what the source declares, counted, and by nothing else."""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from typing import Any

import numpy as np

from rekindle.methods.not_customers import (
    BUSIEST_HOUR,
    ONE_ITEM,
    RULES,
    SHARE,
    busy,
    customers,
    dominant,
    monotonous,
    not_customers,
)
from rekindle.sources import NotCustomers
from schemas.events import EVENTS

Frame = Callable[..., Any]
AS_OF = date(2026, 4, 20)
MIDNIGHT = datetime(2026, 4, 20, tzinfo=UTC)


def did(user: str, before: timedelta, item: str | None = "i", flags: str | None = None) -> dict[str, Any]:
    """An event of the user that long before the night's end."""
    at = MIDNIGHT - before
    return {"user_key": user, "event_ts": at, "event_date": at.date(), "item_id": item, "flags": flags}


def told(df: Any) -> dict[tuple[str, str], tuple[float, float | None]]:
    """(value, threshold) by user and rule, each pair once."""
    rows = df.collect()
    found = {(r.user_key, r.rule): (r.value, r.threshold) for r in rows}
    assert len(found) == len(rows)
    return found


def test_the_rules_of_conf_are_the_rules_there_are() -> None:
    assert set(NotCustomers.model_fields) == {"days", *RULES}
    assert NotCustomers().model_dump(exclude={"days"}) == dict.fromkeys(RULES), "nobody is a machine unless declared"


def test_an_hour_is_any_sixty_minutes_and_one_event_less_is_a_customer(frame: Frame) -> None:
    half_past = timedelta(days=3, minutes=30)
    minute, hour = timedelta(minutes=1), timedelta(hours=1)
    log = [did("across_the_clock", half_past - 9 * minute * n) for n in range(6)]
    log += [did("one_less", half_past - 9 * minute * n) for n in range(5)]
    log += [did("spread", half_past - 12 * minute * n) for n in range(40)]
    log += [did("twice_a_second", half_past) for _ in range(7)]
    log += [did("an_hour_apart", half_past - hour * (n // 3)) for n in range(6)]
    just_within = [timedelta(0)] * 3 + [hour - timedelta(microseconds=1)] * 3
    log += [did("just_within", half_past - after) for after in just_within]
    assert told(busy(frame(EVENTS, *log), 6)) == {
        ("across_the_clock", BUSIEST_HOUR): (6.0, 6.0),
        ("twice_a_second", BUSIEST_HOUR): (7.0, 6.0),
        ("just_within", BUSIEST_HOUR): (6.0, 6.0),
    }


def test_the_fullest_hour_is_what_plain_python_counts(frame: Frame) -> None:
    dice = random.Random(8)  # noqa: S311 - the same log every time
    log = [did(f"u{int(6 * dice.random() ** 1.5)}", timedelta(minutes=dice.randrange(1, 600))) for _ in range(400)]
    by_user = defaultdict(list)
    for row in log:
        by_user[row["user_key"]].append(row["event_ts"])
    fullest = {
        user: max(sum(at <= other < at + timedelta(hours=1) for other in times) for at in times)
        for user, times in by_user.items()
    }
    assert len(set(fullest.values())) > 2
    least = sorted(fullest.values())[2]
    expected = {(u, BUSIEST_HOUR): (float(n), float(least)) for u, n in fullest.items() if n >= least}
    assert 0 < len(expected) < 6
    assert told(busy(frame(EVENTS, *log), least)) == expected


def test_a_share_is_of_all_events_and_just_below_is_a_customer(frame: Frame) -> None:
    log = [did("half", timedelta(hours=n), None) for n in range(1, 11)]
    log += [did("less", timedelta(hours=n)) for n in range(1, 10)] + [did("one", timedelta(days=1))]
    events = frame(EVENTS, *log)
    assert told(dominant(events, 0.5)) == {("half", SHARE): (0.5, 0.5)}
    assert told(dominant(events, 0.51)) == {}


def test_no_variety_is_one_item_and_nothing_else(frame: Frame) -> None:
    log = [did("refresher", timedelta(hours=n), "x") for n in range(1, 5)]
    log += [did("one_less", timedelta(hours=n), "x") for n in range(1, 4)]
    log += [did("two_items", timedelta(hours=n), "xy"[n == 1]) for n in range(1, 5)]
    log += [did("also_searched", timedelta(hours=n), None if n == 1 else "x") for n in range(1, 6)]
    log += [did("only_searched", timedelta(hours=n), None) for n in range(1, 6)]
    assert told(monotonous(frame(EVENTS, *log), 4)) == {("refresher", ONE_ITEM): (4.0, 4.0)}


def test_a_flag_holds_for_good_and_rules_look_at_the_last_days_only(frame: Frame) -> None:
    log = [
        did("tester", timedelta(days=300), flags="test_account,staff"),
        did("tester", timedelta(days=200), flags="staff"),
        did("tester", timedelta(days=1)),
        did("flagged_tomorrow", -timedelta(hours=1), flags="test_account"),
        *[did("was_busy", timedelta(days=8, seconds=-n)) for n in range(9)],
        *[did("is_busy", timedelta(days=7, seconds=-n)) for n in range(5)],
        *[did("busy_tomorrow", -timedelta(seconds=n)) for n in range(9)],
        *[did("person", timedelta(hours=5 * n), f"i{n}") for n in range(1, 4)],
    ]
    flags: dict[tuple[str, str], tuple[float, float | None]] = {
        ("tester", "flag_test_account"): (1.0, None),
        ("tester", "flag_staff"): (2.0, None),
    }
    events = frame(EVENTS, *log)
    found = not_customers(events, AS_OF, days=7, events_in_an_hour=5, share_of_events=0.5, events_of_one_item=5)
    assert told(found) == flags | {
        ("is_busy", BUSIEST_HOUR): (5.0, 5.0),
        ("is_busy", SHARE): (5 / 9, 0.5),
        ("is_busy", ONE_ITEM): (5.0, 5.0),
    }
    assert told(not_customers(events, AS_OF, days=7)) == flags, "without rules only flags"
    assert told(not_customers(events, AS_OF, days=8, events_in_an_hour=9)) == flags | {
        ("was_busy", BUSIEST_HOUR): (9.0, 9.0)
    }


def test_leaving_users_out_keeps_all_others_rows_columns_and_their_places(frame: Frame, spark: Any) -> None:
    dice = np.random.default_rng(2)
    log = [did(f"u{dice.integers(30)}", timedelta(minutes=int(n)), f"i{n}") for n in range(300)]
    events = frame(EVENTS, *log).repartition(3, "item_id").persist()
    nobody = spark.sql("SELECT user_key FROM VALUES ('u1') AS t(user_key) WHERE user_key = 'u2'")
    kept = customers(events, nobody)
    assert kept.columns == EVENTS.names
    assert kept.collect() == events.collect(), "without anybody excluded a model learns from the same rows in order"
    two = spark.sql("SELECT * FROM VALUES ('u3', 'a'), ('u3', 'b'), ('u7', 'a'), ('ghost', 'a') AS t(user_key, rule)")
    expected = [row for row in events.collect() if row.user_key not in ("u3", "u7")]
    assert 0 < len(expected) < 300
    assert customers(events, two).collect() == expected
