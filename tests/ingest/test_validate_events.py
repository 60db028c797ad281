"""Validation of a night's events: what its files brought is measured, told from what it builds on, and judged."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from expectations import events
from expectations.drift.days import Days, Row
from jobs.ingest import backtest_expectations, validate_events
from rekindle import contract, night, settings, warehouse
from rekindle.cli import Context, DataRefused
from rekindle.ledger import FileFate, LandedFile, Ledger, RunKey
from schemas.catalogue import SERVED
from schemas.day_profiles import DAY_PROFILES
from schemas.duplicates import DUPLICATES
from schemas.events import EVENTS
from schemas.items import ITEMS
from schemas.quarantine import QUARANTINE
from tests.rekindle import conftest as warehouse_server

environment = warehouse_server.environment

DAY = date(2026, 4, 30)
TONIGHT, EARLIER, LOST = "f" * 64, "e" * 64, "d" * 64
USER = "ab" * 32
BERLIN = ZoneInfo("Europe/Berlin")


def file(sha256: str, day: date = DAY, lines: int = 9, **more: Any) -> LandedFile:
    return LandedFile(f"{sha256}.gz", day, sha256, 1, 0, lines, 0, "accepted", None, **({"kind": "events"} | more))


def event(day: date, sha256: str, line: int, **more: Any) -> dict[str, Any]:
    """A view at ten in the morning, UTC."""
    told = {"event_id": f"{sha256[:4]}-{sha256[-4:]}-{line}", "user_key": USER, "key_version": 1, "event_type": "view"}
    told |= {"event_ts": datetime(day.year, day.month, day.day, 10, tzinfo=UTC), "event_date": day, "item_id": "i"}
    return told | {"landing_date": day, "file_sha256": sha256, "line_number": line} | more


def order(day: date, sha256: str, line: int, price: float) -> dict[str, Any]:
    kind = {"event_type": "purchase", "order_id": "o", "quantity": 1.0, "unit_price": price}
    return event(day, sha256, line, **kind)


def item(day: date, sha256: str, line: int) -> dict[str, Any]:
    place = {"landing_date": day, "file_sha256": sha256, "line_number": line}
    return {"row_id": f"{sha256[:4]}-{sha256[-4:]}-{line}", "item_id": str(line)} | place


def unusable(rule: str, day: date, sha256: str, line: int) -> dict[str, Any]:
    place = {"landing_date": day, "file_sha256": sha256, "line_number": line, "byte_offset": line}
    return {"rule": rule, "reason": "words"} | place


def test_only_tonights_quarantined_lines_count_by_rule(frame: Callable[..., Any]) -> None:
    yesterday = DAY - timedelta(days=1)
    lines = [
        unusable("no_user", DAY, TONIGHT, 0),
        unusable("no_user", yesterday, EARLIER, 1),
        unusable("future", DAY, TONIGHT, 2),
        unusable("no_user", DAY, TONIGHT, 3),
    ]
    table = frame(QUARANTINE, *lines)
    files = [file(TONIGHT), file(EARLIER, yesterday, kind="reviews")]

    def counted(measured: list[LandedFile], fresh: list[str]) -> list[validate_events.Quarantined]:
        return sorted(validate_events.count_quarantined(validate_events.with_kinds(table, measured, fresh)))

    both = counted(files, [TONIGHT])
    assert both == [
        (yesterday, "reviews", "no_user", False, 1),
        (DAY, "events", "future", True, 1),
        (DAY, "events", "no_user", True, 2),
    ]
    assert validate_events.by_rule(both) == {"no_user": 2, "future": 1}
    assert counted(files[:1], [TONIGHT]) == both[1:], "measured are the lines of these files only"
    assert (counted([], []), validate_events.by_rule([])) == ([], {})


def test_fates_add_up_over_files_and_a_file_without_fate_or_base_is_uncounted() -> None:
    fates = [FileFate(TONIGHT, 9, 6, 2, 1), FileFate("a" * 64, 5, 5, 0, 0)]
    files = [file(TONIGHT), file("a" * 64, kind="items"), file(EARLIER), file(LOST)]
    told = validate_events.landed(fates, files, [file(EARLIER)], {"no_user": 1}, {"events"})
    assert told == events.Landed(14, 6, 2, 1, {"no_user": 1}, uncounted_files=1), "items are no events"
    assert told.quarantined_share == 1 / 14


def test_what_the_crm_wrote_back_adds_up_with_the_rest_and_says_nothing_of_the_log() -> None:
    fates = [FileFate(TONIGHT, 10, 9, 0, 1), FileFate("b" * 64, 90, 0, 0, 90)]
    files = [file(TONIGHT), file("b" * 64, kind="inbox")]
    told = validate_events.landed(fates, files, [], {"no_user": 1}, {"events", "inbox"})
    assert (told.landed, told.clean, told.quarantined) == (100, 9, 91)
    assert told.quarantined_share == 0.1, "ninety wrong rows of the CRM refuse no night"


def test_files_tell_their_lines_and_columns_and_no_name_that_could_be_a_person_s() -> None:
    yesterday = DAY - timedelta(days=1)
    files = [
        file("a" * 64, yesterday, 10),
        file("b" * 64, DAY, 5, columns=("id", "unit price")),
        file("c" * 64, DAY, 6, columns=("id", "jane@example.org", "4915112345678")),
        file("d" * 64, DAY, 7, kind="items", columns=("id",)),
    ]
    assert sorted(validate_events.file_figures(files)) == sorted(
        [
            (yesterday, "files", "events", 1.0),
            (yesterday, "landed_lines", "events", 10.0),
            (DAY, "files", "events", 2.0),
            (DAY, "landed_lines", "events", 11.0),
            (DAY, "column_share", "events.id", 1.0),
            (DAY, "column_share", "events.unit price", 0.5),
            (DAY, "column_share", "events.(another name)", 0.5),
            (DAY, "files", "items", 1.0),
            (DAY, "landed_lines", "items", 7.0),
            (DAY, "column_share", "items.id", 1.0),
        ]
    )


def test_a_day_s_figures_are_those_counted_by_hand_in_whatever_order_its_lines_are_read(
    frame: Callable[..., Any],
) -> None:
    search = event(DAY, TONIGHT, 4, event_type="search", item_id=None, text="lamp", session_id="s")
    late = event(DAY, TONIGHT, 5, event_ts=datetime(2026, 4, 30, 21, 30, tzinfo=UTC), title="Lamp")
    table = frame(EVENTS, *[order(DAY, TONIGHT, n, price) for n, price in enumerate((1.5, 2.5, 90.0), 1)], search, late)
    found = {(m, n): value for _, m, n, value in validate_events.event_figures(table, BERLIN)}
    due = {name: value for (measure, name), value in found.items() if measure == "due_lines"}
    given = {name: value for (measure, name), value in found.items() if measure == "given_lines"}
    assert {key: value for key, value in found.items() if not key[0].endswith("e_lines")} == {
        ("newest_age_hours", "events"): 0.5,
        ("median_price", "purchase"): 2.5,
        ("event_lines", "purchase"): 3,
        ("event_lines", "search"): 1,
        ("event_lines", "view"): 1,
        **{("given_lines", name): value for name, value in given.items()},
    }
    on_items = dict.fromkeys(("item_id", "title", "category", "brand", "unit_price"), 4.0)
    assert due == on_items | {"event_ts": 5, "session_id": 5, "channel": 5, "order_id": 3, "quantity": 3, "text": 1}
    assert given == dict.fromkeys(due, 0.0) | {
        **{"event_ts": 5, "item_id": 4, "title": 1, "unit_price": 3},
        **{"order_id": 3, "quantity": 3, "text": 1, "session_id": 1},
    }
    again = validate_events.event_figures(table.orderBy(table["line_number"].desc()).coalesce(1), BERLIN)
    assert sorted(again) == sorted((DAY, *key, value) for key, value in found.items())


def test_what_is_neither_a_duplicate_nor_quarantined_is_clean(frame: Callable[..., Any]) -> None:
    again = {"event_id": "e", "landing_date": DAY, "file_sha256": TONIGHT, "line_number": 7}
    files = [file(TONIGHT, lines=9), file(EARLIER, DAY - timedelta(days=1), lines=4)]
    told_again = validate_events.with_kinds(frame(DUPLICATES, again, again | {"line_number": 8}), files, [TONIGHT])
    found = validate_events.fate_figures(files, told_again, [(DAY, "events", "no_user", True, 3)])
    by_day = Days.of(found)
    fates = ("clean_lines", "duplicate_lines", "quarantined_lines")
    assert [by_day.value(DAY, fate, "events") for fate in fates] == [4, 2, 3]
    assert [by_day.value(DAY - timedelta(days=1), fate, "events") for fate in fates] == [4, 0, 0]
    assert by_day.named(DAY, "rule_lines") == {"no_user": 3}


def test_days_that_no_accepted_night_has_judged_are_judged_tonight() -> None:
    yesterday = DAY - timedelta(days=1)
    files = [file(TONIGHT), file(LOST, yesterday)]
    assert validate_events.days_to_judge(DAY, files, builds_on=1) == [yesterday, DAY]
    assert validate_events.days_to_judge(DAY, [], builds_on=1) == [DAY], "another conf, the same files"
    assert validate_events.days_to_judge(DAY, files, builds_on=None) == [DAY], "a first night's backlog is the past"


# ---------------------------------------------------------------------- whole stages, on a lake and a ledger


@dataclass
class Shop:
    """A shop whose nights are cleaned by hand and validated by the job."""

    spark: Any
    settings: settings.Settings
    ledger: Ledger

    def night(self, number: int, files: list[LandedFile], fresh: list[LandedFile], base: str | None) -> Context:
        """The night of the newest of `files`, its fresh ones cleaned: all lines but two of each are clean."""
        day = max(f.landing_date for f in files)
        key = RunKey(f"r{number:016x}", self.settings.source.name, day, "code", "conf", "ingest", 1, False)
        self.ledger.add_files(key.source, files)
        run = self.ledger.open_run(key, [f.sha256 for f in files], {"train": False, "base": base})
        log = logging.getLogger("test")
        context = Context(self.settings, day, self.ledger, False, run, self.spark, {}, log)
        before = self.ledger.tables(base) if base else {}
        for table, lines in self.cleaned(fresh).items():
            kept = before[table.name].snapshot_id if base else None
            night.store(context, table, contract.frame(self.spark, table, *lines), kept)
        self.ledger.record_fates(run.run_id, [FileFate(f.sha256, f.lines, f.lines - 2, 1, 1) for f in fresh])
        return context

    def cleaned(self, files: list[LandedFile]) -> dict[contract.Table, list[dict[str, Any]]]:
        """Views and two orders (or items), a repeated line and an unusable one of every file."""
        tables = (*validate_events.TABLES, *validate_events.reference_tables(self.settings.source))
        made: dict[contract.Table, list[dict[str, Any]]] = {table: [] for table in tables}
        for f in files:
            day, sha = f.landing_date, f.sha256
            last = f.lines
            if f.kind == "products":
                made[ITEMS] += [item(day, sha, n) for n in range(1, last - 1)]
            else:
                made[EVENTS] += [event(day, sha, n, title="Lamp") for n in range(1, last - 3)]
                made[EVENTS] += [order(day, sha, n, 2.0) for n in (last - 3, last - 2)]
            again = {
                "event_id": f"{sha[:4]}-{sha[-4:]}-1",
                "landing_date": day,
                "file_sha256": sha,
                "line_number": last - 1,
            }
            kept = {"kept_landing_date": day, "kept_file_sha256": sha, "kept_line_number": 1}
            made[DUPLICATES].append(again | kept)
            made[QUARANTINE].append(unusable("no_user", day, sha, last))
        return made

    def figures(self, context: Context) -> list[Row]:
        """What `day_profiles` of the night holds."""
        table = night.read(context, DAY_PROFILES)
        return sorted((r["landing_date"], r["measure"], r["name"], r["value"]) for r in table.collect())


@pytest.fixture
def shop(spark: Any, environment: settings.Environment, tmp_path: Path) -> Shop:
    warehouse.migrate(environment, SERVED)
    loaded = settings.load("simulated_shop")
    source = loaded.source.model_copy(update={"name": "measured_shop"})
    told = loaded.model_copy(update={"environment": environment, "home": tmp_path, "source": source})
    return Shop(spark, told, Ledger(lambda: warehouse.connect(environment, "writer")))


def test_a_night_measures_its_own_days_and_carries_those_of_the_night_it_builds_on(shop: Shop) -> None:
    shas = [f"{n:064x}" for n in range(1, 4)]
    days = [DAY - timedelta(days=n) for n in (2, 1, 0)]
    files = [file(sha, day, 10, columns=("id", "ts")) for sha, day in zip(shas, days, strict=True)]

    first = shop.night(1, files[:2], files[:2], None)
    validate_events.run(first)
    told = shop.ledger.tables(first.run_id)
    assert all(told[t].accepted for t in ("events", "duplicates", "quarantine", "day_profiles"))
    assert [row[0] for row in shop.figures(first) if row[1] == "files"] == days[:2]

    second = shop.night(2, files, files[2:], first.run_id)
    validate_events.run(second)
    carried = shop.figures(second)
    assert [row for row in carried if row[0] < DAY] == shop.figures(first)

    whole = shop.night(3, files, files, None)
    validate_events.run(whole)
    assert shop.figures(whole) == carried, "the same as when every day is measured anew"
    assert (DAY, "clean_lines", "events", 8.0) in carried
    assert (DAY, "rule_lines", "no_user", 1.0) in carried
    checks = {c.check_id: c for c in shop.ledger.checks(whole.run_id) if c.table == "day_profiles"}
    assert checks["volume"].success
    assert "not judged: 0 earlier same weekdays" in checks["volume"].found

    read = backtest_expectations.rows(shop.ledger.tables(second.run_id)["day_profiles"])
    assert sorted(read) == carried, "the back-test reads the snapshot's own files"


def test_a_drifted_day_is_refused_by_name_and_nothing_is_accepted(shop: Shop) -> None:
    """F72 on the whole stage: four usual Thursdays, and one that lost its lines on the way."""
    thursdays = [DAY - timedelta(weeks=n) for n in (4, 3, 2, 1, 0)]
    sizes = (40, 42, 44, 46, 5)
    files = [file(f"{n:02x}" * 32, day, n) for n, day in zip(sizes, thursdays, strict=True)]
    context = shop.night(4, files, files, None)
    with pytest.raises(DataRefused) as refused:
        validate_events.run(context)
    assert "expected 0.2 to 5, found 0.0732 (2026-04-30: events: 3 usable lines, usual 41)" in str(refused.value)
    assert str(refused.value).count("\n") == 0, "and nothing else is wrong with it"
    assert [t.table for t in shop.ledger.tables(context.run_id).values() if t.accepted] == []


def test_what_the_shop_tells_beside_events_is_checked_and_accepted_with_them(shop: Shop) -> None:
    """Complete Journey's products and households beside the simulated shop's events; no household has landed."""
    told = settings.load("complete_journey").source.files
    source = shop.settings.source
    more = {name: told[name] for name in ("products", "households")}
    source = source.model_copy(update={"name": "telling_shop", "files": {**source.files, **more}})
    shop.settings = shop.settings.model_copy(update={"source": source})
    files = [file("a1" * 32, lines=19), file("b2" * 32, lines=11, kind="products")]

    whole = shop.night(5, files, files, None)
    validate_events.run(whole)
    tables = shop.ledger.tables(whole.run_id)
    assert {t.table: t.fingerprint.rows for t in tables.values() if t.accepted} == {
        **{"events": 17, "items": 9, "users": 0, "duplicates": 2, "quarantine": 2},
        "day_profiles": tables["day_profiles"].fingerprint.rows,
    }
    checked = {c.table: c for c in shop.ledger.checks(whole.run_id) if c.check_id == "lines_add_up"}
    assert {name: (c.success, c.found) for name, c in checked.items()} == {
        **{"events": (True, "17"), "items": (True, "9"), "users": (True, "0")},
        **{"duplicates": (True, "2"), "quarantine": (True, "2")},
    }

    lossy = shop.night(6, files, files, None)
    night.store(lossy, ITEMS, contract.frame(shop.spark, ITEMS, *[item(DAY, "b2" * 32, n) for n in range(1, 9)]))
    with pytest.raises(DataRefused, match=r"items.*clean lines of this run's files.*expected 9, found 8"):
        validate_events.run(lossy)
    assert [t.table for t in shop.ledger.tables(lossy.run_id).values() if t.accepted] == []
