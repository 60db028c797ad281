"""Who counts as having left, day by day."""

from __future__ import annotations

from datetime import date, timedelta
from typing import Any

import numpy as np
import pytest

from rekindle.methods.churn_labels import base_rates, eligible, labels, sees_the_future, tracked, weekly
from schemas.events import EVENTS
from schemas.user_features import USER_FEATURES

T = date(2026, 3, 1)
KNOWN = date(2026, 5, 1)


def day(number: int) -> date:
    return T + timedelta(days=number)


def bought(user: str, *days: int) -> list[dict[str, Any]]:
    return [{"user_key": user, "event_type": "purchase", "event_date": day(n)} for n in days]


def told(frame: Any) -> dict[str, tuple[float, float | None]]:
    return {row.user_key: (row.is_churned, row.bought_again) for row in frame.collect()}


def test_the_outcome_window_begins_after_the_gap_and_lasts_the_horizon(frame: Any) -> None:
    users = {"gap_only": 1, "first_day": 2, "last_day": 11, "too_late": 12}
    rows = [row for user, n in users.items() for row in bought(user, -5, n)]
    found = told(labels(frame(EVENTS, *rows), [T], horizon_days=10, gap_days=2, known_before=KNOWN))
    assert {user: churned for user, (churned, _) in found.items()} == {
        "gap_only": 1.0,
        "first_day": 0.0,
        "last_day": 0.0,
        "too_late": 1.0,
    }


def test_who_left_and_came_back_within_the_next_horizon_is_regretted(frame: Any) -> None:
    rows = [*bought("back", -1, 15), *bought("gone", -1), *bought("later", -1, 20)]
    found = told(labels(frame(EVENTS, *rows), [T], horizon_days=10, gap_days=0, known_before=KNOWN))
    assert found == {"back": (1.0, 1.0), "gone": (1.0, 0.0), "later": (1.0, 0.0)}


def test_regret_is_unknown_until_the_days_after_have_passed(frame: Any) -> None:
    rows = frame(EVENTS, *bought("u", -1))
    assert told(labels(rows, [T], 10, 0, known_before=day(19)))["u"] == (1.0, None)
    assert told(labels(rows, [T], 10, 0, known_before=day(20)))["u"] == (1.0, 0.0)


def test_only_who_bought_before_the_cut_off_is_labelled(frame: Any) -> None:
    looked = {"user_key": "looker", "event_type": "view", "event_date": day(-1)}
    rows = [looked, *bought("new", 0), *bought("old", -1)]
    assert set(told(labels(frame(EVENTS, *rows), [T], 10, 0, KNOWN))) == {"old"}


def test_an_outcome_that_has_not_happened_yet_is_no_label(frame: Any) -> None:
    with pytest.raises(ValueError, match="2026-03-01 need 10 days after, and nothing is known from 2026-03-10"):
        labels(frame(EVENTS), [T], 10, 0, known_before=day(9))


def test_what_happens_after_the_later_window_changes_nothing(frame: Any) -> None:
    rows = [row for user, days in _random_shop().items() for row in bought(user, *days)]
    later = [*bought("u1", 20, 25), *bought("u2", 40), *bought("brand_new", 33)]
    asked = ([T], 10, 0)
    plain = told(labels(frame(EVENTS, *rows), *asked, known_before=KNOWN))
    assert told(labels(frame(EVENTS, *rows, *later), *asked, known_before=KNOWN)) == plain
    assert len(plain) > 20


def test_labels_agree_with_a_plain_loop_over_days(frame: Any) -> None:
    shop = _random_shop()
    rows = [row for user, days in shop.items() for row in bought(user, *days)]
    cuts = [T, day(-7)]
    found = labels(frame(EVENTS, *reversed(rows)), cuts, horizon_days=6, gap_days=3, known_before=KNOWN).collect()
    expected = {}
    for shift, cut in ((0, cuts[0]), (-7, cuts[1])):
        for user, days in shop.items():
            ages = [n - shift for n in days]
            if any(n < 0 for n in ages):
                churned = not any(3 <= n < 9 for n in ages)
                expected[(cut, user)] = (float(churned), float(any(9 <= n < 15 for n in ages)))
    assert {(r.as_of, r.user_key): (r.is_churned, r.bought_again) for r in found} == expected


def test_eligible_are_buyers_active_within_the_window(frame: Any) -> None:
    rows = [
        {"user_key": "looker", "frequency": 0.0, "days_since_activity": 1.0},
        {"user_key": "recent", "frequency": 1.0, "days_since_activity": 30.0},
        {"user_key": "silent", "frequency": 9.0, "days_since_activity": 30.1},
    ]
    found = eligible(frame(USER_FEATURES, *rows), eligibility_days=30).collect()
    assert [row.user_key for row in found] == ["recent"]


@pytest.mark.parametrize(
    ("changed", "alarmed"),
    [
        ({}, False),
        ({"recency_days": 9.0}, False),  # late on its day
        ({"recency_days": 2.5}, True),  # a purchase after the last one that may be seen
        ({"days_since_activity": -0.5}, True),
        ({"tenure_days": -1.0}, True),
    ],
)
def test_a_feature_younger_than_the_last_event_gives_itself_away(
    frame: Any, changed: dict[str, float], alarmed: bool
) -> None:
    row = {"user_key": "u", "as_of": T, "recency_days": 9.5, "days_since_activity": 9.5, "tenure_days": 30.0} | changed
    known = labels(frame(EVENTS, *bought("u", -30, -10)), [T], 10, 0, KNOWN)
    joined = frame(USER_FEATURES, row).join(known, ["as_of", "user_key"])
    assert [r.ahead for r in joined.select(sees_the_future().alias("ahead")).collect()] == [alarmed]


def _random_shop() -> dict[str, list[int]]:
    generator = np.random.default_rng(3)
    return {f"u{n}": sorted(int(d) for d in generator.integers(-25, 20, size=4)) for n in range(40)}


def test_the_base_rate_of_a_week_is_of_those_who_could_be_asked_about_then(frame: Any) -> None:
    written = {"user_key": "silent", "event_type": "contact", "event_date": day(-1)}
    rows = [*bought("stays", -3, 4), *bought("leaves", -3), *bought("silent", -50), written, *bought("new", 3)]
    found = base_rates(frame(EVENTS, *rows), [T, day(-100)], 10, 0, eligibility_days=45, known_before=KNOWN)
    assert found == {T: (2, 0.5)}, "a contact keeps nobody, and nobody is eligible before the first purchase"


def test_a_base_rate_is_followed_by_the_median_of_weeks_with_enough_users() -> None:
    rates = {day(0): (900, 0.4), day(-7): (900, 0.6), day(-14): (900, 0.41), day(-21): (9, 0.99)}
    assert tracked(rates, fewest=100) == 0.41
    assert tracked({}, fewest=1) is None
    assert weekly(day(0), earliest=day(-15)) == (day(0), day(-7), day(-14))
    assert weekly(day(0), earliest=day(5)) == (day(0),)
    assert len(weekly(day(0), earliest=day(-400))) == 7
