"""What must hold of changes of bands and of the churn model's health, each thing shown not to."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date
from typing import Any

from expectations import churn_changes, churn_health
from schemas.at_risk_users import AT_RISK_USERS
from schemas.churn_changes import CHURN_CHANGES
from schemas.churn_health import CHURN_HEALTH

Broken = Callable[..., dict[str, str]]
Frame = Callable[..., Any]

DAY = date(2026, 4, 30)


def change(user: str, before: str | None, after: str | None, **more: Any) -> dict[str, Any]:
    what = "entered" if before is None else "left" if after is None else "moved"
    told = {"user_key": user, "change": what, "band_before": before, "band_after": after, "cause": "behaviour"}
    told |= {"probability_before": before and 0.4, "probability_after": after and 0.6}
    return told | {"compared_date": date(2026, 4, 29), "business_date": DAY} | more


def test_a_change_has_the_bands_that_it_tells_of(broken: Broken, frame: Frame) -> None:
    def found(*rows: dict[str, Any]) -> dict[str, str]:
        return broken(churn_changes.suite(DAY), frame(CHURN_CHANGES, *rows))

    good = [change("a", None, "low"), change("b", "low", None), change("c", "low", "high")]
    assert found(*good) == {}
    assert found() == {}, "the first night compares with nothing"
    assert found(
        *good,
        change("d", "low", "low"),
        change("e", None, "high", change="left"),
        change("f", "low", "high", probability_before=None),
        change("g", None, "low", compared_date=date(2026, 4, 27)),
        change("h", None, "low", business_date=date(2026, 4, 29)),
    ) == {
        "bands_fit_the_change": "2 of 8",
        "probabilities_fit_the_bands": "1 of 8",
        "of_this_night": "1 of 8",
        "one_publication": "2",
    }


def test_the_band_after_is_the_one_that_the_crm_reads(broken: Broken, frame: Frame) -> None:
    def found(scored: dict[str, str], *rows: dict[str, Any]) -> dict[str, str]:
        tonight = frame(AT_RISK_USERS, *[{"user_key": u, "risk_band": b} for u, b in scored.items()])
        return broken(churn_changes.suite_by_user(), churn_changes.by_user(frame(CHURN_CHANGES, *rows), tonight))

    rows = [change("a", None, "low"), change("b", "low", None)]
    assert found({"a": "low", "c": "high"}, *rows) == {}
    assert found({"a": "high", "b": "low"}, *rows) == {"by_user_band_is_tonights": "2 of 2"}


def figure(name: str, value: float | None, limit: float | None, alarm: bool, **more: Any) -> dict[str, Any]:
    told = {"kind": "calibration", "name": name, "value": value, "alarm_above": limit, "is_alarm": alarm}
    return told | {"known_as_of": date(2026, 4, 10), "business_date": DAY} | more


def test_an_alarm_is_told_as_a_warning_and_is_one_by_its_limit(broken: Broken, frame: Frame) -> None:
    def found(*rows: dict[str, Any]) -> dict[str, str]:
        return broken(churn_health.suite(DAY, 21), frame(CHURN_HEALTH, *rows))

    good = [
        figure("ece", 0.05, 0.1, False),
        figure("in_the_large", -0.05, 0.1, False),
        figure("told", None, None, False),
    ]
    assert found(*good) == {}
    assert found() == {}, "a young shop knows no outcomes"
    assert found(*good, figure("ece", -0.2, 0.1, True)) == {"believable": "1"}
    assert found(
        *good,
        figure("quiet", 0.2, 0.1, False),
        figure("late", 0.0, None, False, known_as_of=date(2026, 4, 9)),
        figure("old", 0.0, None, False, business_date=date(2026, 4, 29)),
    ) == {"alarm_fits": "1 of 6", "outcomes_are_known": "1 of 6", "of_this_night": "1 of 6"}
