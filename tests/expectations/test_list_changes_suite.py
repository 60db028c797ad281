"""What must hold of changes of lists, each thing shown not to."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date
from typing import Any

from expectations import list_changes
from schemas.list_changes import LIST_CHANGES
from schemas.recommendations import RECOMMENDATIONS

Broken = Callable[..., dict[str, str]]
Frame = Callable[..., Any]

DAY = date(2026, 4, 30)


def change(user: str, before: str | None, after: str | None, **more: Any) -> dict[str, Any]:
    what = "entered" if before is None else "left" if after is None else "moved"
    told = {"user_key": user, "change": what, "item_before": before, "item_after": after, "cause": "rules"}
    return told | {"compared_date": date(2026, 4, 29), "business_date": DAY} | more


def test_a_change_has_the_items_that_it_tells_of(broken: Broken, frame: Frame) -> None:
    def found(*rows: dict[str, Any]) -> dict[str, str]:
        return broken(list_changes.suite(DAY), frame(LIST_CHANGES, *rows))

    good = [change("a", None, "tea"), change("b", "tea", None), change("c", "tea", "mat")]
    assert found(*good) == {}
    assert found() == {}, "the first night compares with nothing"
    assert found(
        *good,
        change("d", "tea", "tea"),
        change("e", None, "tea", change="left"),
        change("f", "tea", None, change="moved"),
        change("g", None, "tea", compared_date=date(2026, 4, 27)),
        change("h", None, "tea", business_date=date(2026, 4, 29)),
    ) == {"items_fit_the_change": "3 of 8", "of_this_night": "1 of 8", "one_publication": "2"}


def test_the_item_after_is_the_first_that_the_crm_reads(broken: Broken, frame: Frame) -> None:
    def found(listed: dict[str, str], *rows: dict[str, Any]) -> dict[str, str]:
        lists = [
            {"user_key": u, "rank": n, "item_id": i} for u, first in listed.items() for n, i in ((1, first), (2, "x"))
        ]
        tonight = frame(RECOMMENDATIONS, *lists)
        return broken(list_changes.suite_by_user(), list_changes.by_user(frame(LIST_CHANGES, *rows), tonight))

    rows = [change("a", None, "tea"), change("b", "tea", None)]
    assert found({"a": "tea", "c": "mat"}, *rows) == {}
    assert found({"a": "x", "b": "tea"}, *rows) == {"by_user_item_is_tonights": "2 of 2"}
