"""Tables of retention: each thing that must hold of them beyond their contract, shown not to."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date, timedelta
from decimal import Decimal
from typing import Any

from expectations import (
    cohort_retention,
    period_counts,
    period_metrics,
    repurchase_curves,
    retention_counts,
    retention_curves,
    retention_windows,
    user_days,
)
from rekindle.methods.retention_counted import COUNTS
from schemas.cohort_retention import COHORT_RETENTION
from schemas.period_counts import PERIOD_COUNTS
from schemas.period_metrics import PERIOD_METRICS
from schemas.repurchase_curves import REPURCHASE_CURVES
from schemas.retention_counts import RETENTION_COUNTS
from schemas.retention_curves import RETENTION_CURVES
from schemas.retention_metrics import RETENTION_METRICS
from schemas.retention_windows import RETENTION_WINDOWS
from schemas.user_days import USER_DAYS

Broken = Callable[..., dict[str, str]]
Frame = Callable[..., Any]

DAY = date(2026, 4, 30)  # a Thursday
BEFORE = DAY - timedelta(days=1)
MONDAY = date(2026, 4, 20)
ALL = {"group_kind": "all", "group_name": "all"}


def day(**other: Any) -> dict[str, Any]:
    """Of ten users of a day four are new and three stayed; of the day before two were lost."""
    row = {"period_unit": "day", "period_start": DAY, "group_kind": "all", "group_name": "all", "business_date": DAY}
    row |= {"active_users": 10, "new_users": 4, "retained_users": 3, "resurrected_users": 3, "lost_users": 2}
    row |= {"churn_rate": 0.4, "retention_rate": 0.6, "users_7d": 12, "users_30d": 30}
    row |= {"viewers": 9, "funnel_carters": 4, "funnel_buyers": 2, "view_buyers": 3, "buyers": 4, "orders": 5}
    row |= {"gross_revenue": 100.0, "returned_revenue": 10.0, "net_revenue": 90.0}
    row |= {"buyers_so_far": 20, "repeat_buyers_so_far": 8}
    row |= {"gross_revenue_retention": -0.2, "net_revenue_retention": 0.7}
    return row | other


def test_periods_have_ended_and_their_lines_add_up(broken: Broken, frame: Frame) -> None:
    week = day(period_unit="week", period_start=MONDAY, users_7d=None, users_30d=None)
    open_funnel = {"funnel_carters": None, "funnel_buyers": None, "view_buyers": None}
    rows = [
        day(),
        week,
        week | {"period_start": MONDAY + timedelta(days=7)},
        day(group_kind="segment", period_start=BEFORE, **open_funnel),
        week | {"group_kind": "channel", "period_start": MONDAY - timedelta(days=1)},
        day(group_kind="category", business_date=BEFORE),
        day(group_name="a", retained_users=4, churn_rate=None, retention_rate=None),
        day(group_name="b", churn_rate=0.5, retention_rate=0.5),
        day(group_name="c", retention_rate=0.7),
        day(group_name="d", viewers=11),
        day(group_name="e", funnel_buyers=5),
        day(group_name="f", funnel_carters=None, funnel_buyers=4),
        day(group_name="g", orders=3),
        day(group_name="h", users_7d=31),
        day(group_name="i", repeat_buyers_so_far=21),
        day(group_name="j", net_revenue=91.0),
        day(group_name="k", gross_revenue_retention=0.8),
    ]
    assert broken(period_metrics.suite(DAY), frame(PERIOD_METRICS, *rows)) == {
        **dict.fromkeys(("starts_a_period", "has_ended", "of_this_night", "lines_add_up"), "1 of 17"),
        **dict.fromkeys(("parts_within_whole", "orders_fit_buyers", "windows_nest", "repeaters_bought"), "1 of 17"),
        **dict.fromkeys(("revenue_adds_up", "cap_lowers"), "1 of 17"),
        **{"funnel_narrows": "2 of 17", "churn_fits": "1 of 16", "rates_are_two_sides": "1 of 16"},
    }


def test_weeks_counted_in_two_ways_are_the_same_weeks(broken: Broken, frame: Frame) -> None:
    weeks = [MONDAY - timedelta(days=7 * n) for n in range(4)]
    told = {"active_users": 10, "new_users": 4, "buyers": 4, "orders": 5}
    own = [day(period_unit="week", period_start=week) for week in weeks[:3]]
    anew = [{"week_start": week, **told} for week in weeks]

    def found(periods: list[dict[str, Any]], weekly: list[dict[str, Any]]) -> dict[str, str]:
        derived = period_metrics.by_week(frame(PERIOD_METRICS, *periods), frame(RETENTION_METRICS, *weekly))
        return broken(period_metrics.suite_by_week(), derived)

    assert found(own, anew) == {}, "older weeks are not told"
    assert found([own[0], own[2]], [*anew[:2], anew[2] | {"orders": 6}]) == {"by_week_as_counted_anew": "2 of 3"}


def cohort(number: int, **other: Any) -> dict[str, Any]:
    row = {"basis": "activity", "period_unit": "day", "cohort_start": BEFORE, "period_number": number, **ALL}
    row |= {"business_date": DAY, "cohort_users": 10, "active_users": 10, "active_or_later_users": 10}
    row |= {"retention": 1.0, "unbounded_retention": 1.0, "product_retention": 1.0}
    later = {"active_users": 4, "active_or_later_users": 5, "retention": 0.4, "unbounded_retention": 0.5}
    later |= {"period_over_period": 0.4, "attrition": 0.6, "product_retention": 0.4}
    return row | (later if number else {}) | other


def test_cohorts_are_whole_at_first_and_their_retention_is_the_product(broken: Broken, frame: Frame) -> None:
    smaller = {"active_users": 9, "retention": 0.9, "product_retention": 0.9}
    rows = [
        cohort(0),
        cohort(1),
        cohort(2, product_retention=None),
        cohort(0, basis="purchase", **smaller),
        cohort(1, basis="purchase", business_date=BEFORE),
        cohort(2, basis="purchase", active_or_later_users=3, unbounded_retention=0.3),
        cohort(3, retention=0.5, product_retention=0.5),
        cohort(4, product_retention=0.41),
        cohort(5, attrition=0.5),
        cohort(0, period_unit="week", cohort_start=BEFORE - timedelta(days=7)),
        cohort(0, period_unit="month", cohort_start=date(2026, 4, 1)),
        cohort(0, cohort_start=DAY + timedelta(days=1)),
        cohort(
            6, active_users=11, active_or_later_users=11, retention=1.1, unbounded_retention=1.1, product_retention=1.1
        ),
        cohort(0, period_unit="month", cohort_start=date(2026, 3, 1), group_kind="channel", group_name="app"),
        cohort(0, group_kind="channel", group_name="app"),
        cohort(0, period_unit="month", cohort_start=date(2026, 3, 1), group_name="app"),
    ]
    assert broken(cohort_retention.suite(DAY), frame(COHORT_RETENTION, *rows)) == {
        "of_this_night": "1 of 16",
        "all_is_one": "1 of 14",
        "groups_by_month": "1 of 16",
        "starts_a_period": "1 of 16",
        "has_ended": "1 of 16",
        "whole_at_first": "1 of 8",
        "parts_within_whole": "1 of 16",
        "later_counts_more": "2 of 16",
        "shares_fit": "1 of 16",
        "product_agrees": "1 of 15",
        "attrition_fits": "1 of 8",
    }


def test_a_cohort_has_the_users_who_began_in_its_period(broken: Broken, frame: Frame) -> None:
    cohorts = [cohort(0, cohort_start=DAY - timedelta(days=n)) for n in (0, 1, 3)]
    cohorts += [cohort(1), cohort(0, basis="purchase", cohort_users=3)]
    cohorts.append(cohort(0, cohort_users=2, group_kind="channel", group_name="app"))
    days = [
        day(period_start=DAY - timedelta(days=n), new_users=users) for n, users in ((0, 10), (1, 4), (2, 5), (4, 1))
    ]
    days.append(day(group_kind="channel", group_name="app"))
    derived = cohort_retention.by_period(frame(COHORT_RETENTION, *cohorts), frame(PERIOD_METRICS, *days))
    assert broken(cohort_retention.suite_by_period(), derived) == {"by_period_users_began": "3 of 4"}


def test_nobody_came_by_two_channels(broken: Broken, frame: Frame) -> None:
    def groups(kind: str, number: int = 0, **of: int) -> list[dict[str, Any]]:
        counts = [{"cohort_users": n, "active_users": n, "active_or_later_users": n} for n in of.values()]
        return [cohort(number, **told, group_kind=kind, group_name=n) for n, told in zip(of, counts, strict=True)]

    rows = [cohort(0), cohort(1), cohort(0, basis="purchase"), cohort(0, period_unit="month")]
    rows += groups("channel", app=6, web=4) + groups("category", tea=6, mats=5) + groups("segment", s1=3)
    rows += [{**row, "cohort_users": 4} for row in groups("channel", 1, app=3, web=2)]
    rows += [{**row, "basis": "purchase", "active_users": 4} for row in groups("channel", app=6)]
    lost = groups("segment", s1=3)[0] | {"cohort_start": DAY}
    derived = cohort_retention.by_kind(frame(COHORT_RETENTION, *rows, lost))
    assert broken(cohort_retention.suite_by_kind(), derived) == {"by_kind_groups_within_all": "3 of 6"}


def test_means_and_windows_are_shares_of_their_cohorts(broken: Broken, frame: Frame) -> None:
    mean = {
        **ALL,
        "business_date": DAY,
        "period_unit": "week",
        "cohort_users": 10,
        "active_users": 4,
        "active_or_later_users": 5,
    }
    mean |= {"retention": 0.4, "unbounded_retention": 0.5}
    means = [
        mean,
        mean | {"business_date": BEFORE},
        mean | {"active_or_later_users": 3, "unbounded_retention": 0.3},
        mean | {"active_or_later_users": 11, "unbounded_retention": 1.1},
        mean | {"retention": 0.45},
        mean | {"group_kind": "channel"},
        mean | {"group_name": "app"},
    ]
    assert broken(retention_curves.suite(DAY), frame(RETENTION_CURVES, *means)) == {
        "of_this_night": "1 of 7",
        "all_is_one": "1 of 6",
        "groups_by_month": "1 of 7",
        "later_counts_more": "1 of 7",
        "parts_within_whole": "1 of 7",
        "shares_fit": "1 of 7",
    }
    window = {**ALL, "business_date": DAY, "period_unit": "day", "cohort_start": DAY - timedelta(days=7)}
    window |= {"first_day": 1, "last_day": 7, "cohort_users": 10, "active_users": 4, "retention": 0.4}
    windows = [
        window,
        window | {"business_date": BEFORE},
        window | {"first_day": 2},
        window | {"cohort_start": DAY - timedelta(days=6)},
        window | {"active_users": 11, "retention": 1.1},
        window | {"retention": 0.5},
        window | {"group_kind": "segment"},
        window | {"group_name": "s1"},
    ]
    found = broken(retention_windows.suite(DAY, ((1, 7), (8, 30))), frame(RETENTION_WINDOWS, *windows))
    names = ("of_this_night", "groups_by_month", "of_conf", "has_ended", "parts_within_whole", "shares_fit")
    assert found == dict.fromkeys(names, "1 of 8") | {"all_is_one": "1 of 7"}


def test_who_orders_again_was_waiting_and_the_share_lies_in_its_interval(broken: Broken, frame: Frame) -> None:
    at = {"group_kind": "all", "business_date": DAY, "buyers": 10, "day_number": 1, "median_days": 3}
    at |= {"at_risk": 8, "repeats": 2, "repurchased": 0.4, "repurchased_low": 0.1, "repurchased_high": 0.6}
    rows = [
        at,
        at | {"day_number": 0, "at_risk": 10},
        at | {"day_number": 3, "repurchased": 0.5},
        at | {"median_days": None, "repurchased_low": None, "repurchased_high": None},
        at | {"business_date": BEFORE},
        at | {"repeats": 9},
        at | {"day_number": 0},
        at | {"repurchased_high": 0.3},
        at | {"day_number": 4},
        at | {"repurchased": 0.55},
    ]
    assert broken(repurchase_curves.suite(DAY), frame(REPURCHASE_CURVES, *rows)) == {
        "of_this_night": "1 of 10",
        "parts_within_whole": "1 of 10",
        "all_at_risk_first": "1 of 2",
        "within_interval": "1 of 10",
        "half_at_median": "2 of 10",
    }


def test_sums_tell_of_no_future_and_take_away_only_what_was_told(broken: Broken, frame: Frame) -> None:
    days = [{"event_date": DAY, "landing_date": DAY}, {"event_date": DAY + timedelta(days=1), "landing_date": DAY}]
    landed = user_days.landed(frame(USER_DAYS, *days, {"event_date": DAY, "landing_date": BEFORE}), DAY)
    assert broken(user_days.suite(DAY), landed) == {"not_of_the_future": "1 of 2"}
    none = dict.fromkeys(COUNTS, 0) | {"change_7d": -5, "gross": Decimal(0)}
    sums = frame(PERIOD_COUNTS, none, none | {"buyers": -1})
    assert broken(period_counts.suite(), sums) == {"not_below_zero": "1 of 2"}
    cell = {"measure": "active", "name": "month", "group_kind": "channel", "number": 0}
    second = {"measure": "repeat", "name": "day"}
    cells = [cell, cell | {"name": "week"}, cell | second, cell | second | {"group_kind": "all", "number": -1}]
    assert broken(retention_counts.suite(), frame(RETENTION_COUNTS, *cells)) == {
        "not_before_first": "1 of 4",
        "groups_by_month": "1 of 2",
    }
