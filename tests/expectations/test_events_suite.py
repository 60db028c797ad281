"""A night's events, duplicates and quarantine: each thing that must hold, shown not to."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest

from expectations import duplicates, events, quarantine
from rekindle import settings
from schemas.duplicates import DUPLICATES
from schemas.events import EVENTS
from schemas.quarantine import QUARANTINE

SHOP = settings.load("simulated_shop").source
DAY = date(2026, 4, 30)
NEW, OLD = "f" * 64, "e" * 64
USER = "ab" * 32
VIEW = {
    "event_id": "v",
    "user_key": USER,
    "key_version": 1,
    "event_type": "view",
    "event_ts": datetime(2026, 4, 30, 10, tzinfo=UTC),
    "event_date": DAY,
    "item_id": "i",
    "title": "Item",
    "category": "things",
    "landing_date": DAY,
    "file_sha256": NEW,
    "line_number": 1,
}
ORDER = VIEW | {"event_id": "p", "event_type": "purchase", "order_id": "o", "quantity": 1.0, "unit_price": 2.0}
LANDED = events.Landed(landed=2, clean=2, duplicate=0, quarantined=0, by_rule={})


def on(day: date, **more: Any) -> dict[str, Any]:
    """A view on another day, by an earlier file."""
    noon = datetime(day.year, day.month, day.day, 12, tzinfo=UTC)
    return VIEW | {"event_ts": noon, "event_date": day, "landing_date": day, "file_sha256": OLD} | more


@pytest.fixture
def night(broken: Callable[..., dict[str, str]], frame: Callable[..., Any]) -> Callable[..., dict[str, str]]:
    """`night(row, …, landed=…)`: what did not hold of a night with these events."""

    def run(*rows: dict[str, Any], landed: events.Landed = LANDED) -> dict[str, str]:
        suite = events.suite(SHOP, DAY, 1, landed)
        return broken(suite, events.with_fresh(frame(EVENTS, *rows), [NEW]))

    return run


def test_a_good_night_passes_with_searches_and_late_lines_in_it(night: Callable[..., dict[str, str]]) -> None:
    search = VIEW | {"event_id": "s", "event_type": "search", "item_id": None, "title": None}
    late = on(DAY - timedelta(days=1), event_id="l", landing_date=DAY, file_sha256=NEW)
    last_moment = VIEW | {"event_id": "m", "event_ts": datetime(2026, 4, 30, 21, 59, 59, tzinfo=UTC)}
    assert night(VIEW, ORDER, search, late, last_moment, landed=replace(LANDED, landed=5, clean=5)) == {}


def test_each_condition_on_events_is_broken_by_its_own_rows(night: Callable[..., dict[str, str]]) -> None:
    faults: dict[str, dict[str, Any]] = {
        "before_the_end": {"event_ts": datetime(2026, 4, 30, 22, tzinfo=UTC), "event_date": date(2026, 5, 1)},
        "landed_in_time": {"landing_date": date(2026, 5, 1)},
        "not_before_it_happened": {"landing_date": date(2026, 4, 29)},
        "after_first_date": on(date(2025, 12, 31)),
        "day_is_local": {"event_ts": datetime(2026, 4, 29, 21, tzinfo=UTC)},
        "one_key": {"key_version": 2},
        "item_given": {"item_id": None},
        "price_given": ORDER | {"unit_price": None},
        "quantity_given": ORDER | {"quantity": 0.0},
    }
    rows = [{**VIEW, **fault, "event_id": name} for name, fault in faults.items()]
    found = night(VIEW, ORDER, *rows, landed=replace(LANDED, landed=11, clean=10))
    # An event of tomorrow is also dated after its file.
    assert found.pop("not_before_it_happened") == "2 of 11"
    assert set(found) == set(faults) - {"not_before_it_happened"}
    assert found["price_given"] == "1 of 3", "of the purchase lines"
    assert found["before_the_end"] == "1 of 11"


def test_a_purchase_without_a_price_is_legal_only_where_the_log_tells_none(
    broken: Callable[..., dict[str, str]], frame: Callable[..., Any]
) -> None:
    """retailrocket's log has no prices; a price of zero is a fault there, too."""
    rows = [ORDER, ORDER | {"event_id": "q", "unit_price": None}, ORDER | {"event_id": "z", "unit_price": 0.0}]
    table = events.with_fresh(frame(EVENTS, *rows), [NEW])
    for source, found in (("simulated_shop", "2 of 3"), ("retailrocket", "1 of 3")):
        told = settings.load(source).source.model_copy(update={"time_zone": "UTC", "first_date": date(2026, 1, 1)})
        assert broken(events.suite(told, DAY, 1, replace(LANDED, landed=3, clean=3)), table) == {"price_given": found}


def test_a_day_without_events_is_a_broken_upload(night: Callable[..., dict[str, str]]) -> None:
    yesterday = DAY - timedelta(days=1)
    found = night(on(yesterday), on(yesterday, event_id="p", event_type="purchase", quantity=1.0, unit_price=1.0))
    assert found["day_has_events"] == "0"
    assert "day_has_purchases" in found
    assert "purchases" not in found


def test_a_lake_without_a_purchase_is_refused(night: Callable[..., dict[str, str]]) -> None:
    assert night(VIEW, landed=replace(LANDED, landed=1, clean=1)) == {"purchases": "0", "day_has_purchases": "0"}


def test_a_lost_clean_line_and_an_uncounted_file_are_found(night: Callable[..., dict[str, str]]) -> None:
    found = night(VIEW, ORDER, on(date(2026, 4, 1), event_id="x"), landed=replace(LANDED, clean=3, uncounted_files=2))
    assert found == {"lines_add_up": "2", "files_counted": "2"}


def test_too_much_quarantine_names_the_rules(night: Callable[..., dict[str, str]]) -> None:
    landed = events.Landed(100, 2, 0, 98, {"no_user": 38, "bad_price": 60})
    assert night(VIEW, ORDER, landed=landed) == {"quarantine_share": "0.98 (98 of 100: bad_price 60, no_user 38)"}


def test_only_a_day_without_a_purchase_is_a_warning() -> None:
    """How the day compares with others is asked of its figures (test_drift)."""
    suite = events.suite(SHOP, DAY, 1, LANDED)
    assert {c.check_id for c in suite.checks if c.severity == "warning"} == {"day_has_purchases"}


def test_a_run_that_landed_nothing_new_has_no_share() -> None:
    assert events.Landed(0, 0, 0, 0, {}).quarantined_share == 0


LINE = {"event_id": "e", "landing_date": DAY, "file_sha256": NEW, "line_number": 7}
KEPT = {"kept_landing_date": DAY, "kept_file_sha256": NEW, "kept_line_number": 3}


def test_a_duplicate_points_at_an_earlier_line_and_lines_add_up(
    broken: Callable[..., dict[str, str]], frame: Callable[..., Any]
) -> None:
    suite = duplicates.suite(replace(LANDED, duplicate=2))
    good = [
        LINE | KEPT,
        LINE | KEPT | {"line_number": 8, "kept_landing_date": date(2026, 4, 1), "kept_line_number": 99},
    ]
    assert broken(suite, events.with_fresh(frame(DUPLICATES, *good), [NEW])) == {}
    itself = LINE | KEPT | {"line_number": 9, "kept_line_number": 9}
    found = broken(suite, events.with_fresh(frame(DUPLICATES, *good, itself), [NEW]))
    assert found == {"kept_came_first": "1 of 3", "lines_add_up": "3"}


def test_quarantine_may_be_empty_and_lines_add_up(
    broken: Callable[..., dict[str, str]], frame: Callable[..., Any]
) -> None:
    line = {"rule": "no_user", "reason": "words", "landing_date": DAY, "file_sha256": NEW} | {"line_number": 1}
    assert broken(quarantine.suite(LANDED), events.with_fresh(frame(QUARANTINE), [NEW])) == {}
    found = broken(quarantine.suite(LANDED), events.with_fresh(frame(QUARANTINE, line | {"byte_offset": 0}), [NEW]))
    assert found == {"lines_add_up": "1"}
