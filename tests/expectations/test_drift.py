"""Checks of drift: a usual week passes, each fault is told by its own check, and nothing is judged without a past."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from datetime import date, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import settings as effort
from hypothesis import strategies as st

from expectations import day_profiles
from expectations.drift.checks import CHECKS, Check, Reading, findings, severities
from expectations.drift.days import Days, Row
from rekindle import settings
from schemas.day_profiles import DAY_PROFILES
from schemas.events import EVENT_TYPES

SHOP = settings.load("simulated_shop").source
DAY = date(2026, 4, 30)  # a Thursday
BY_ID = {c.check_id: c for c in CHECKS}
Figures = dict[tuple[str, str], float]


def usual(day: date) -> Figures:
    """A landing day of a shop that sells half as much at weekends, a little up and down."""
    size = (50.0 if day.weekday() >= 5 else 100.0) + day.toordinal() % 7
    return {
        ("landed_lines", "log"): 10 * size + 20,
        ("clean_lines", "log"): 10 * size,
        ("duplicate_lines", "log"): 5,
        ("quarantined_lines", "log"): 15,
        ("files", "log"): 1,
        ("rule_lines", "no_user"): 12,
        ("rule_lines", "bad_price"): 2,
        ("rule_lines", "unknown_action"): 1,
        ("event_lines", "view"): 8 * size,
        ("event_lines", "purchase"): size,
        ("event_lines", "search"): size,
        **{(measure, "event_ts"): 10 * size for measure in ("due_lines", "given_lines")},
        **{("due_lines", c): 9 * size for c in ("title", "category", "brand", "unit_price")},
        **{("given_lines", c): 8.8 * size for c in ("title", "category", "brand", "unit_price")},
        **{(measure, c): size for measure in ("due_lines", "given_lines") for c in ("order_id", "quantity", "text")},
        **{("due_lines", c): 10 * size for c in ("session_id", "channel")},
        **{("given_lines", c): 9 * size for c in ("session_id", "channel")},
        **{("column_share", f"log.{c}"): 1 for c in ("event_id", "title", "price")},
        ("newest_age_hours", "events"): 0.2,
        ("median_price", "purchase"): 19.9 + day.weekday(),
    }


def rows(day: date, figures: Mapping[tuple[str, str], float]) -> list[Row]:
    return [(day, measure, name, float(value)) for (measure, name), value in figures.items()]


def past(weeks: int = 6) -> list[Row]:
    """The days before DAY, one of them closed."""
    closed = DAY - timedelta(days=10)
    before = (DAY - timedelta(days=n) for n in range(1, 7 * weeks + 1))
    return [row for day in before if day != closed for row in rows(day, usual(day))]


def tonight(changed: Mapping[tuple[str, str], float | None] | None = None, history: list[Row] | None = None) -> Days:
    """The past and DAY, some of whose figures are others; None: it has no such figure."""
    figures = usual(DAY) | dict(changed or {})
    own = {key: value for key, value in figures.items() if value is not None}
    return Days.of([*(past() if history is None else history), *rows(DAY, own)])


def alarms(days: Days, *judged: date) -> dict[str, str]:
    """What does not hold, by check: what stands behind the number."""
    return {c.check_id: r.note for c, _, r in findings(days, judged or (DAY,)) if not c.holds(r)}


def scaled(factor: float) -> Figures:
    """The whole day, so many times."""
    return {key: n * factor for key, n in usual(DAY).items() if key[0].endswith("_lines")}


FAULTS: dict[str, dict[tuple[str, str], float | None]] = {
    "volume": {("clean_lines", "log"): 100},
    "usual_volume": {("clean_lines", "log"): 3000},
    "unknown_share": {("rule_lines", "unknown_action"): 30},
    "event_type_vanished": {("event_lines", "search"): None},
    "type_changed": {("rule_lines", "bad_price"): 400},
    "quarantine_rise": {("rule_lines", "control_character"): 90},
    "column_new": {("column_share", "log.colour"): 1},
    "column_missing": {("column_share", "log.title"): 0.5},
    "title_empty": {("given_lines", "title"): 0},
    "category_empty": {("given_lines", "category"): 1},
    "brand_empty": {("given_lines", "brand"): 0},
    "order_id_empty": {("given_lines", "order_id"): 0},
    "unit_price_empty": {("given_lines", "unit_price"): 0},
    "text_empty": {("given_lines", "text"): 0},
    "session_id_empty": {("given_lines", "session_id"): 0},
    "channel_empty": {("given_lines", "channel"): 0},
    "nulls_rise": {("given_lines", "category"): 300},
    "freshness": {("newest_age_hours", "events"): 8},
    "price_level": {("median_price", "purchase"): 1990},
}


def test_each_check_is_shown_failing() -> None:
    assert set(FAULTS) == set(BY_ID)
    found = {check: alarms(tonight(changed)) for check, changed in FAULTS.items()}
    assert [check for check, told in found.items() if check not in told] == []
    alone = {c for c in FAULTS if not c.endswith("_empty")} - {"volume"}
    other = {"type_changed": {"type_changed", "quarantine_rise"}}
    assert {c: set(found[c]) for c in alone} == {c: other.get(c, {c}) for c in alone}, "and by itself"
    assert all(set(found[c]) == {c, "nulls_rise"} for c in FAULTS if c.endswith("_empty"))


def test_a_usual_week_passes_with_its_weekend_and_is_judged() -> None:
    days = Days.of([*past(), *(r for n in range(7) for r in rows(DAY + timedelta(days=n), usual(DAY)))])
    assert [alarms(days, DAY + timedelta(days=n)) for n in (0, 1, 4, 5, 6)] == [{}] * 5
    assert [c.check_id for c in CHECKS if not c.reading(days, DAY).judged] == []


def test_a_new_column_is_told_by_name_and_refuses_nothing() -> None:
    """F66, whether all of the day's files have it or one of a hundred."""
    assert alarms(tonight({("column_share", "log.colour"): 1})) == {"column_new": "log.colour"}
    assert alarms(tonight({("column_share", "log.colour"): 0.01})) == {"column_new": "log.colour"}
    assert BY_ID["column_new"].severity == "warning"
    tomorrow = DAY + timedelta(days=1)
    known = Days.of(
        [*past(), *rows(DAY, usual(DAY) | {("column_share", "log.colour"): 1}), *rows(tomorrow, usual(DAY))]
    )
    assert alarms(known, tomorrow) == {}, "and the day after it is known, and need not come again"


def test_a_missing_optional_column_is_told_by_name_and_can_be_armed() -> None:
    """F67; a file without a required one is refused by preflight, before anything is cleaned."""
    assert alarms(tonight({("column_share", "log.title"): None})) == {"column_missing": "log.title"}
    assert severities("shop", {})["column_missing"] == "warning"
    assert severities("shop", {"column_missing": "critical"})["column_missing"] == "critical"


@pytest.mark.parametrize(
    ("rule", "told"),
    [
        ("bad_price", "unit_price: 23.3 % unreadable, usual 0.2 %"),
        ("future", "event_ts: 21.1 % unreadable, usual 0.0 %"),
        ("nested_value", "26.2 % of lines hold an object or a list as a value"),
    ],
    ids=["a number became text", "seconds became milliseconds", "a string became an object"],
)
def test_a_column_that_changes_its_type_in_the_middle_of_a_day_is_refused_by_name(rule: str, told: str) -> None:
    """F68: from some row on, so that only a part of the day is unreadable."""
    found = alarms(tonight({("rule_lines", rule): 278}))
    assert found["type_changed"] == told
    assert BY_ID["type_changed"].severity == "critical"


def test_a_column_that_is_null_throughout_is_refused_by_name() -> None:
    """F69: its contract allows null and bounds hold of every value that is there."""
    found = alarms(tonight({("given_lines", "category"): 0}))
    assert found["category_empty"] == "null on 100.0 % of 936, usual 2.2 %"
    assert BY_ID["category_empty"].severity == "critical"
    never = [row for row in past() if row[1:3] != ("given_lines", "category")]
    assert alarms(tonight({("given_lines", "category"): 0}, never)) == {}, "a shop without categories is no fault"


def test_a_renamed_action_is_refused_and_the_one_it_replaces_is_missed() -> None:
    """F70."""
    renamed = {
        ("event_lines", "purchase"): None,
        ("rule_lines", "unknown_action"): usual(DAY)["event_lines", "purchase"],
    }
    found = alarms(tonight(renamed | {("median_price", "purchase"): None}))
    assert found["unknown_share"] == "104 of 1,040; see mapping.event_types"
    assert found["event_type_vanished"] == "purchase"
    assert BY_ID["unknown_share"].severity == "critical"


def test_a_day_whose_every_line_is_quarantined_is_refused() -> None:
    """F71; a day without a file or without a line is refused by preflight."""
    landed = usual(DAY)["landed_lines", "log"]
    figures = {("landed_lines", "log"): landed, ("clean_lines", "log"): 0.0, ("rule_lines", "no_user"): landed}
    days = Days.of([*past(), *rows(DAY, figures)])
    found = alarms(days)
    assert found["volume"] == "log: no usable line"
    assert "quarantine_rise" in found
    assert not BY_ID["volume"].holds(BY_ID["volume"].reading(days, DAY))


@pytest.mark.parametrize("factor", [0.1, 10.0])
def test_a_tenfold_day_and_a_tenth_of_one_are_refused_against_their_weekday(factor: float) -> None:
    """F72."""
    found = alarms(tonight(scaled(factor)))
    assert set(found) >= {"volume", "usual_volume"}
    assert found["volume"].startswith(f"log: {10 * 104 * factor:,.0f} usable lines, usual 1,0")
    assert (BY_ID["volume"].severity, BY_ID["usual_volume"].severity) == ("critical", "warning")


@pytest.mark.parametrize("factor", [0.4, 2.5])
def test_a_sale_or_a_holiday_is_only_told(factor: float) -> None:
    assert set(alarms(tonight(scaled(factor)))) == {"usual_volume"}


def test_a_saturday_is_compared_with_saturdays() -> None:
    saturday = DAY + timedelta(days=2)
    days = Days.of([*past(), *rows(saturday, usual(saturday))])
    assert BY_ID["usual_volume"].reading(days, saturday).value == pytest.approx(1, abs=0.1)
    as_thursday = Days.of([*past(), *rows(saturday, usual(DAY))])
    assert BY_ID["usual_volume"].reading(as_thursday, saturday).value == pytest.approx(2, abs=0.2)


def test_a_kind_of_files_that_stays_away_is_missed_and_one_that_comes_now_and_then_is_not() -> None:
    def with_reviews(days: list[date]) -> list[Row]:
        lines = [("landed_lines", "reviews"), ("clean_lines", "reviews")]
        return [*past(), *(row for day in days for row in rows(day, dict.fromkeys(lines, 50.0)))]

    thursdays = [DAY - timedelta(weeks=n) for n in range(1, 6)]
    assert alarms(tonight({}, with_reviews(thursdays)))["volume"] == "reviews: no usable line"
    assert alarms(tonight({}, with_reviews(thursdays[1:]))) == {}


def test_without_a_past_nothing_is_refused_and_the_night_says_so() -> None:
    found = findings(tonight({}, []), [DAY])
    assert [c.check_id for c, _, r in found if not c.holds(r)] == []
    unjudged = {c.check_id: r.note for c, _, r in found if not r.judged}
    assert set(unjudged) == set(BY_ID) - {"unknown_share"}, "which needs no past"
    assert unjudged["volume"] == "not judged: 0 earlier same weekdays with lines, 4 of at least 20 lines are needed"
    assert unjudged["nulls_rise"] == "not judged: 0 earlier days to compare with, 7 are needed"
    three_weeks = [row for row in past(3) if row[0].weekday() == DAY.weekday() or row[0] > DAY - timedelta(days=7)]
    assert not BY_ID["volume"].reading(tonight(scaled(10), three_weeks), DAY).judged
    assert BY_ID["nulls_rise"].reading(tonight({}, three_weeks), DAY).judged


def test_a_handful_of_lines_is_not_judged() -> None:
    tiny = [(day, measure, name, value / 100) for day, measure, name, value in past()]
    days = tonight({key: value / 100 for key, value in scaled(10).items()}, tiny)
    assert not BY_ID["quarantine_rise"].reading(tonight(scaled(0.01), tiny), DAY).judged
    assert not BY_ID["volume"].reading(tonight(scaled(0.01), tiny), DAY).judged
    assert BY_ID["volume"].reading(days, DAY).judged, "but ten times it is"


def test_a_refused_day_that_was_left_as_it_is_refuses_the_next_night_too() -> None:
    tomorrow = DAY + timedelta(days=1)
    days = Days.of([*past(), *rows(DAY, usual(DAY) | scaled(10)), *rows(tomorrow, usual(tomorrow))])
    assert alarms(days, tomorrow) == {}
    assert "volume" in alarms(days, DAY, tomorrow)
    assert {day for c, day, r in findings(days, [DAY, tomorrow]) if not c.holds(r)} == {DAY}
    with pytest.raises(ValueError, match="no landing day"):
        findings(days, [])


def test_an_unknown_check_in_severities_is_refused_with_the_legal_ones() -> None:
    with pytest.raises(settings.SettingsError) as refused:
        severities("my_shop", {"volumes": "warning"})
    told = str(refused.value)
    assert told.startswith("conf/sources/my_shop.yaml: severities: unknown check 'volumes', did you mean volume?")
    assert all(check in told for check in BY_ID)


def test_a_check_says_why_it_is_there_and_what_is_within_its_bounds() -> None:
    assert [c.check_id for c in CHECKS if len(c.reason) < 20] == []
    ratio = Check("r", "ratio", "because", lambda days, day: "never", "warning", 1.0, 0.5, 2.0)
    assert [ratio.holds(Reading(v, "")) for v in (0.49, 0.5, 2.0, 2.01)] == [False, True, True, False]
    assert ratio.holds(Reading(ratio.neutral, ""))
    assert [c.check_id for c in CHECKS if not c.holds(Reading(c.neutral, ""))] == []


figure = st.tuples(
    st.dates(DAY - timedelta(days=40), DAY + timedelta(days=10)),
    st.sampled_from(list(usual(DAY))),
    st.integers(0, 3000),
)


@effort(max_examples=30, deadline=None)
@given(st.lists(figure, max_size=40), st.integers(0, 10_000))
def test_the_order_of_rows_does_not_matter_and_no_day_sees_what_landed_later(
    changed: list[tuple[date, tuple[str, str], int]], seed: int
) -> None:
    told = {(day, *key): float(n) for day, key, n in [(d, (m, k), v) for d, m, k, v in past()] + changed}
    told |= {(DAY, *key): value for key, value in usual(DAY).items() if (DAY, *key) not in told}
    every = [(*key, value) for key, value in told.items()]
    shuffled = list(every)
    random.Random(seed).shuffle(shuffled)  # noqa: S311 - the same order every time
    known = [row for row in shuffled if row[0] <= DAY]
    readings = [[c.reading(Days.of(some), DAY) for c in CHECKS] for some in (every, shuffled, known)]
    assert readings[0] == readings[1] == readings[2]


def test_the_library_sees_the_same_as_the_checks_and_the_source_arms_them(
    broken: Callable[..., dict[str, str]], frame: Callable[..., Any]
) -> None:
    given_rows = [
        *past(),
        *rows(DAY, usual(DAY) | {("median_price", "purchase"): 2290.0, ("column_share", "log.x"): 1.0}),
    ]
    armed = SHOP.model_copy(update={"severities": {"column_new": "critical"}})
    suite = day_profiles.suite(armed, Days.of(given_rows), [DAY])
    table = frame(DAY_PROFILES, *[dict(zip(DAY_PROFILES.names, row, strict=True)) for row in given_rows])
    assert broken(suite, table) == {
        "column_new": "1 (2026-04-30: log.x)",
        "price_level": "100 (2026-04-30: median price 2,290.00, usual 22.90)",
    }
    by_severity = {c.check_id: c.severity for c in suite.checks if c.check_id in ("column_new", "freshness", "volume")}
    assert by_severity == {"column_new": "critical", "freshness": "warning", "volume": "critical"}


def test_every_event_type_of_these_tests_is_one_there_is() -> None:
    assert {name for (measure, name) in usual(DAY) if measure == "event_lines"} <= set(EVENT_TYPES)
