"""Days, zones and clocks that change, F73 to F78, and a file of a thousand days, F82.

The reference is Python's own zoneinfo. Business days are the shop's local calendar days, so one of them may have 23 or
25 hours; what must hold is that each event is in exactly one of them. F77 (the scheduler's intervals) is in tests/dags.
"""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
import yaml

from rekindle import contract, fingerprint, lake, settings
from rekindle.methods.retention_weeks import retention_metrics
from schemas.events import EVENTS
from tests.ingest.landed_files import cleaned, inspected

LAST = date(2027, 12, 31)
CONF = r"""
name: {name}
description: A log of a test.
time_zone: {zone}
currency: EUR
first_date: {first}
on_missing_day: accept
quarantine_share_limit: 1.0
held_out_of_window_share: 1.0
churn:
  {{horizon_days: 21, gap_days: 0, eligibility_days: 45, history_days: 30, cutoff_step_days: 7, training_cutoffs: 5}}
recommend:
  {{event_weights: {{view: 1}}, half_life_days: 30, judge_days: 7, popularity_days: 28, catalogue_days: 60,
   methods: {{near: {{method: item_neighbours, neighbours: 50, weighting: cosine}}}}}}
files:
  offset:
    table: events
    landing: {{pattern: 'offset-(?P<date>\d{{4}}-\d{{2}}-\d{{2}})\.csv'}}
    format: {{kind: csv, fields: [id, at]}}
    mapping: &mapping
      event_id: {{column: id}}
      event_time: {{expression: at, format: ["yyyy-MM-dd'T'HH:mm:ss[.SSSSSS]XXX"], has_offset: true}}
      event_type: "'view'"
      event_types: {{view: view}}
      user_id: "'u1'"
      item_id: "'i1'"
  naive:
    table: events
    landing: {{pattern: 'naive-(?P<date>\d{{4}}-\d{{2}}-\d{{2}})\.csv'}}
    format: {{kind: csv, fields: [id, at]}}
    mapping: {{<<: *mapping, event_time: {{expression: at, format: "yyyy-MM-dd HH:mm:ss"}}}}
"""


def shop(zone: str, first: date = date(2024, 1, 1), name: str = "days") -> settings.Source:
    return settings.Source.model_validate(yaml.safe_load(CONF.format(name=name, zone=zone, first=first)))


def clean(spark: Any, source: settings.Source, home: Path, files: Mapping[str, Sequence[tuple[str, str]]]) -> Any:
    """Lines (id, time as written) by file, cleaned; with the instant as microseconds from 1970."""
    landing = home / "landing"
    landing.mkdir(parents=True, exist_ok=True)
    for name, lines in files.items():
        (landing / name).write_text("".join(f"{number},{at}\n" for number, at in lines), encoding="utf-8")
    taken = inspected(landing, source, home / "bronze", *files)
    return cleaned(spark, source, home / "bronze", taken).selectExpr("*", "unix_micros(event_ts) AS micros")


def micros(instant: datetime) -> int:
    return (instant - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)


def every(step: timedelta, start: datetime, end: datetime) -> list[datetime]:
    """Instants from `start` on and before `end`, counted in UTC."""
    first, count = start.astimezone(UTC), (end.astimezone(UTC) - start.astimezone(UTC)) // step
    return [first + n * step for n in range(count)]


@pytest.mark.parametrize(
    ("zone", "spring", "autumn", "hours"),
    [
        ("America/New_York", date(2026, 3, 8), date(2026, 11, 1), (23.0, 25.0)),
        ("Europe/Zurich", date(2026, 3, 29), date(2026, 10, 25), (23.0, 25.0)),
        ("Australia/Lord_Howe", date(2026, 10, 4), date(2026, 4, 5), (23.5, 24.5)),
    ],
)
def test_each_event_is_in_one_day_where_a_day_has_no_24_hours(
    spark: Any, tmp_path: Path, zone: str, spring: date, autumn: date, hours: tuple[float, float]
) -> None:
    """F73 and F74: an event every 10 minutes over the three days around both changes of the clock."""
    local, step = ZoneInfo(zone), timedelta(minutes=10)
    instants = []
    for day in (spring, autumn):
        start, end = (datetime.combine(day + timedelta(days=d), datetime.min.time(), local) for d in (-1, 2))
        instants += every(step, start, end)
    lines = [(f"e{n}", f"{at:%Y-%m-%dT%H:%M:%SZ}") for n, at in enumerate(instants)]
    found = clean(spark, shop(zone), tmp_path, {f"offset-{LAST}.csv": lines}).collect()
    assert {row.fate for row in found} == {"clean"}
    days = {row.event_id: row.event_date for row in found}
    assert days == {f"e{n}": at.astimezone(local).date() for n, at in enumerate(instants)}
    counted = Counter(days.values())
    assert sum(counted.values()) == len(instants), "no event twice and none lost"
    assert tuple(counted[day] * step / timedelta(hours=1) for day in (spring, autumn)) == hours
    assert {n for day, n in counted.items() if day not in (spring, autumn)} == {144}


def test_an_hour_that_comes_twice_counts_each_event_once_and_one_that_never_was_is_read_in_one_way(
    spark: Any, tmp_path: Path
) -> None:
    """F74: 01:30 on 2026-11-01 in New York, with and without its offset; F73: 02:30 on 2026-03-08, on no clock."""
    zone = ZoneInfo("America/New_York")
    told = [("first", "2026-11-01T01:30:00-04:00"), ("second", "2026-11-01T01:30:00-05:00")]
    naive = {
        "ambiguous": "2026-11-01 01:30:00",
        "again": "2026-11-01 01:30:00",
        "skipped": "2026-03-08 02:30:00",
        "before": "2026-11-01 00:59:59",
        "after": "2026-11-01 02:00:00",
    }
    files = {
        f"offset-{date(2026, 11, 1)}.csv": told,
        f"offset-{date(2026, 11, 2)}.csv": [*told, ("third", "2026-11-02T00:00:00-05:00")],
        f"naive-{date(2026, 11, 1)}.csv": [*naive.items()],
    }
    rows = clean(spark, shop("America/New_York"), tmp_path, files).collect()
    assert Counter(row.fate for row in rows) == {"clean": 8, "duplicate": 2}
    found = {row.event_id: row for row in rows if row.fate == "clean"}
    assert found["second"].micros - found["first"].micros == 3_600_000_000
    assert {found[i].event_date for i in ("first", "second", "ambiguous", "again")} == {date(2026, 11, 1)}
    for name, text in naive.items():
        at = datetime.fromisoformat(text).replace(
            tzinfo=zone
        )  # the earlier of two; across a gap, as if it had not been
        assert (found[name].micros, found[name].event_date) == (
            micros(at.astimezone(UTC)),
            at.astimezone(UTC).astimezone(zone).date(),
        )
    assert found["ambiguous"].micros == found["first"].micros


@pytest.fixture
def elsewhere(spark: Any) -> Iterator[Any]:
    """Spark's session where the JVM and Python believe to be on other days than UTC."""
    zones, before = spark._jvm.java.util.TimeZone, os.environ.get("TZ")
    default = zones.getDefault()
    zones.setDefault(zones.getTimeZone("Pacific/Kiritimati"))
    os.environ["TZ"] = "Pacific/Pago_Pago"
    time.tzset()
    yield spark
    zones.setDefault(default)
    os.environ.pop("TZ")
    if before is not None:
        os.environ["TZ"] = before
    time.tzset()


def styles(instants: Sequence[datetime], zone: ZoneInfo) -> dict[str, list[tuple[str, str]]]:
    """The same instants written in five ways, by kind of file; ids are the style and a number."""
    offsets = {"Z": 0.0, "+05:30": 5.5, "+14:00": 14.0, "-12:00": -12.0}
    told = [
        (f"{name} {n}", f"{at + timedelta(hours=hours):%Y-%m-%dT%H:%M:%S}{name}")
        for name, hours in offsets.items()
        for n, at in enumerate(instants)
    ]
    naive = [(f"naive {n}", f"{at.astimezone(zone):%Y-%m-%d %H:%M:%S}") for n, at in enumerate(instants)]
    return {f"offset-{LAST}.csv": told, f"naive-{LAST}.csv": naive}


def test_an_instant_is_the_same_however_its_zone_is_written_and_wherever_the_machine_stands(
    elsewhere: Any, tmp_path: Path
) -> None:
    """F75. The whole clean table has the fingerprint that it has in UTC."""
    zone = ZoneInfo("Asia/Kathmandu")  # 05:45, and no summer time
    instants = [datetime(2026, 2, 27, 0, 7, 1, tzinfo=UTC) + n * timedelta(hours=7, minutes=31) for n in range(60)]
    files = styles(instants, zone)
    lines = clean(elsewhere, shop(zone.key), tmp_path, files)
    found: dict[str, list[Any]] = {}
    for row in sorted(lines.selectExpr("event_id", "micros", "event_date", "payload").collect()):
        style, number = row.event_id.split(" ")
        found.setdefault(style, []).append((int(number), row.micros, row.event_date, row.payload))
    assert set(found) == {"Z", "+05:30", "+14:00", "-12:00", "naive"}
    wanted = [(n, micros(at), at.astimezone(zone).date()) for n, at in enumerate(instants)]
    assert [row[:3] for row in sorted(found["Z"])] == wanted
    assert {tuple(sorted(rows)) for rows in found.values()} == {tuple(sorted(found["Z"]))}
    there = fingerprint.of_frame(contract.conform(lines, EVENTS), EVENTS)
    jvm = elsewhere._jvm.java.util.TimeZone
    jvm.setDefault(jvm.getTimeZone("UTC"))
    os.environ["TZ"] = "UTC"
    time.tzset()
    in_utc = clean(elsewhere, shop(zone.key), tmp_path / "utc", files)
    assert fingerprint.of_frame(contract.conform(in_utc, EVENTS), EVENTS) == there


def test_days_are_half_open_and_seven_of_them_are_the_week(spark: Any, tmp_path: Path) -> None:
    """F76. Each day's file also tells the first event of the next day, which is not yet its own."""
    zone, first = ZoneInfo("Europe/Zurich"), date(2026, 3, 23)  # the week in which summer time begins
    days = [first + timedelta(days=n) for n in range(7)]

    def line(day: date, clock: str) -> tuple[str, str]:
        at = datetime.fromisoformat(f"{day}T{clock}").replace(tzinfo=zone)
        return f"{day} {clock}", at.isoformat(timespec="microseconds")

    clocks = ("00:00:00", "00:00:00.000001", "12:00:00", "23:59:59", "23:59:59.999999")
    files = {
        f"offset-{day}.csv": [*(line(day, clock) for clock in clocks), line(day + timedelta(days=1), "00:00:00")]
        for day in days
    }
    rows = clean(spark, shop(zone.key, first), tmp_path, files).collect()
    future = [row for row in rows if row.rule == "future"]
    assert sorted(row.row_id for row in future) == [f"{day + timedelta(days=1)} 00:00:00" for day in days]
    kept = [row for row in rows if row.fate == "clean"]
    assert len(kept) + len(future) == len(rows)
    assert all(row.row_id.startswith(str(row.event_date)) for row in kept)
    counted = Counter(row.event_date for row in kept)
    assert counted == dict.fromkeys(days, len(clocks))
    start, end = (
        datetime.combine(d, datetime.min.time(), zone).astimezone(UTC) for d in (first, days[-1] + timedelta(days=1))
    )
    week = [row for row in kept if micros(start) <= row.micros < micros(end)]
    assert len(week) == sum(counted.values()) == 35


def test_leap_days_year_ends_and_the_53rd_week_are_days_and_weeks_like_others(spark: Any, tmp_path: Path) -> None:
    """F78. ISO week 53 of 2026 begins on 2026-12-28."""
    zone = ZoneInfo("America/New_York")
    days = [date(2024, 2, 28) + timedelta(days=n) for n in range(3)]
    days += [date(2026, 12, 28) + timedelta(days=n) for n in range(14)]
    lines = []
    for day in days:
        for clock in ("00:00:00", "23:59:59"):
            at = datetime.fromisoformat(f"{day}T{clock}").replace(tzinfo=zone)
            lines.append((f"{day} {clock}", f"{at.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"))
    lines += [("no leap day", "2025-02-29T12:00:00Z"), ("no such day", "2026-12-32T12:00:00Z")]
    found = clean(spark, shop(zone.key), tmp_path, {f"offset-{LAST}.csv": lines})
    rows = found.select("row_id", "rule", "event_date").collect()
    assert {row.row_id: row.rule for row in rows if row.rule} == {
        "no leap day": "unreadable_time",
        "no such day": "unreadable_time",
    }
    assert {row.row_id: str(row.event_date) for row in rows if not row.rule} == {i: i[:10] for i, _ in lines[:-2]}
    events = contract.conform(found.where("fate = 'clean' AND event_date > '2026-01-01'"), EVENTS)
    weeks = retention_metrics(events, date(2027, 1, 11), date(2027, 1, 10)).collect()
    assert {row.week_start: row.active_users for row in weeks} == {date(2026, 12, 28): 1, date(2027, 1, 4): 1}


def test_a_file_of_a_thousand_days_is_judged_by_its_days_first_and_makes_few_files(spark: Any, tmp_path: Path) -> None:
    """F82: 1,000 event dates of which 900 are in the window; the lake gets one file a month, and never one a day."""
    landed = date(2026, 6, 30)
    days = [landed + timedelta(days=50 - n) for n in range(1000)]
    first = days[949]
    lines = [(f"e{n} {k}", f"{day}T{k:02}:00:00Z") for n, day in enumerate(days) for k in range(5)]
    source = shop("UTC", first, "thousand_days")
    found = clean(spark, source, tmp_path, {f"offset-{landed}.csv": lines})
    counted = {row.rule: row["count"] for row in found.groupBy("rule").count().collect()}
    assert counted == {None: 900 * 5, "future": 50 * 5, "out_of_window": 50 * 5}
    snapshot = lake.write(spark, source.name, EVENTS, "r" + "8" * 16, found.where("fate = 'clean'"))
    name = f"lake.{source.name}.events.files VERSION AS OF {snapshot.snapshot_id}"
    files = spark.sql(f"SELECT count(*) AS n, sum(record_count) AS rows FROM {name}").first()
    months = {(day.year, day.month) for day in days if first <= day <= landed}
    assert files.rows == 900 * 5
    assert files.n <= len(months) + 2, f"{files.n} files for {len(months)} months"
