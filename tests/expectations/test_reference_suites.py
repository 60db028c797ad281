"""What the shop tells beside events: each thing that must hold of those tables, shown not to."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import date, timedelta
from typing import Any

import pytest

from expectations import campaign_targets, campaigns, coupons, item_measures, items, users
from expectations.events import with_fresh
from rekindle import contract, quality
from schemas.campaign_targets import CAMPAIGN_TARGETS
from schemas.campaigns import CAMPAIGNS
from schemas.catalogue import REFERENCE
from schemas.coupons import COUPONS
from schemas.item_measures import ITEM_MEASURES
from schemas.items import ITEMS
from schemas.users import USERS

DAY = date(2026, 4, 30)
TOMORROW, YESTERDAY = DAY + timedelta(days=1), DAY - timedelta(days=1)
NEW, OLD = "f" * 64, "e" * 64
LINE: Mapping[str, Any] = {"landing_date": DAY, "file_sha256": NEW, "line_number": 1}
USER = {"user_key": "ab" * 32, "key_version": 1}

# What a row of each table needs to be a good one, and what breaks each check that is the table's own.
GOOD: dict[contract.Table, dict[str, Any]] = {
    ITEMS: {"item_id": "i", "unit_price": 0.0},
    USERS: USER | {"registered_date": DAY},
    CAMPAIGNS: {"campaign_id": "c", "start_date": DAY, "end_date": DAY},
    CAMPAIGN_TARGETS: USER | {"campaign_id": "c"},
    COUPONS: {"coupon_id": "c", "item_id": "i"},
    ITEM_MEASURES: {"item_id": "i", "measured_date": DAY, "measure": "comments", "value": 0.0},
}
OWN: dict[contract.Table, dict[str, dict[str, Any]]] = {
    ITEMS: {},
    USERS: {"one_key": {"key_version": 2}, "registered_before_told": {"registered_date": TOMORROW}},
    CAMPAIGNS: {"ends_after_start": {"end_date": YESTERDAY}},
    CAMPAIGN_TARGETS: {"one_key": {"key_version": 2}},
    COUPONS: {},
    ITEM_MEASURES: {"measured_before_told": {"measured_date": TOMORROW}},
}
# Of the contract: what would reach the CRM or a model as nonsense.
CONTRACT: dict[contract.Table, dict[str, dict[str, Any]]] = {
    ITEMS: {"unit_price_bounds": {"unit_price": -1.0}},
    USERS: {"user_key_is_pseudonym": {"user_key": "C100168"}},
    CAMPAIGNS: {"campaign_id_not_null": {"campaign_id": None}},
    CAMPAIGN_TARGETS: {"user_key_is_pseudonym": {"user_key": "C100168"}},
    COUPONS: {"item_id_not_null": {"item_id": None}},
    ITEM_MEASURES: {"value_bounds": {"value": float("nan")}},
}


def suite_of(table: contract.Table, clean: int) -> quality.Suite:
    return {
        ITEMS: lambda: items.suite(DAY, clean),
        USERS: lambda: users.suite(DAY, 1, clean),
        CAMPAIGNS: lambda: campaigns.suite(DAY, clean),
        CAMPAIGN_TARGETS: lambda: campaign_targets.suite(DAY, 1, clean),
        COUPONS: lambda: coupons.suite(DAY, clean),
        ITEM_MEASURES: lambda: item_measures.suite(DAY, clean),
    }[table]()


def failures(frame: Callable[..., Any], table: contract.Table, clean: int, *rows: dict[str, Any]) -> dict[str, str]:
    """What did not hold of these rows, by check; `row_id` numbers them where they have none."""
    numbered = [{"row_id": str(n), **LINE, **row} for n, row in enumerate(rows)]
    batch = quality.Batch(suite_of(table, clean), with_fresh(frame(table, *numbered), [NEW]), None)
    return {r.check_id: r.found for r in quality.evaluate([batch], "r" + "1" * 16) if not r.success}


def test_every_table_that_a_shop_may_tell_beside_events_is_tested_here() -> None:
    assert set(GOOD) == set(OWN) == set(CONTRACT) == set(REFERENCE)


@pytest.mark.parametrize("table", REFERENCE, ids=lambda table: table.name)
def test_each_check_is_broken_by_its_own_row(frame: Callable[..., Any], table: contract.Table) -> None:
    faults = OWN[table] | CONTRACT[table] | {"landed_in_time": {"landing_date": TOMORROW}}
    good = GOOD[table]
    earlier = good | {"file_sha256": OLD, "landing_date": YESTERDAY - timedelta(days=9)}
    earlier |= {day: YESTERDAY - timedelta(days=9) for day in ("registered_date", "measured_date") if day in good}
    rows = [good, earlier, *[good | fault for fault in faults.values()]]
    found = failures(frame, table, len(rows) - 1, *rows)
    assert set(found) == set(faults), "and lines of earlier files are not counted again"
    assert all(told.startswith("1 of ") for told in found.values())


@pytest.mark.parametrize("table", REFERENCE, ids=lambda table: table.name)
def test_a_lost_line_and_a_row_told_twice_are_found_and_none_at_all_is_legal(
    frame: Callable[..., Any], table: contract.Table
) -> None:
    assert failures(frame, table, 0) == {}, "a shop without a campaign is a shop"
    again = GOOD[table] | {"row_id": "one"}
    assert failures(frame, table, 3, again, again) == {"key_is_unique": "1", "lines_add_up": "2"}


def test_what_the_shop_may_get_wrong_about_itself_is_told_and_stops_nothing(frame: Callable[..., Any]) -> None:
    severities = {
        check.check_id: check.severity
        for table in (USERS, CAMPAIGNS, ITEM_MEASURES)
        for check in suite_of(table, 0).checks
        if check.check_id in {*OWN[table]}
    }
    assert severities == {
        "one_key": "critical",
        "registered_before_told": "warning",
        "ends_after_start": "warning",
        "measured_before_told": "critical",
    }
    open_ended = GOOD[CAMPAIGNS] | {"end_date": None}
    unknown = GOOD[USERS] | {"registered_date": None}
    assert failures(frame, CAMPAIGNS, 1, open_ended) == failures(frame, USERS, 1, unknown) == {}
