"""Nobody is contacted who said no, complained, or was contacted a moment ago; and no longer than that."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import Any

from rekindle.methods.suppression import suppressed

AS_OF = date(2026, 5, 1)
NOON = datetime(2026, 4, 30, 10, tzinfo=UTC)
SCHEMA = "user_key string, event_type string, event_ts timestamp, event_date date"


def found(spark: Any, *events: tuple[str, str, float], quiet_days: int = 14) -> dict[str, tuple[Any, ...]]:
    """By user the reason, how many days before the last noon it began, and its end; events are days before that."""
    rows = [(user, kind, at := NOON - timedelta(days=ago), at.date()) for user, kind, ago in events]
    frame = suppressed(spark.createDataFrame(rows, SCHEMA), AS_OF, complaint_days=90, quiet_days=quiet_days)
    told = frame.collect()
    return {
        r.user_key: (r.reason, (NOON - r.since.replace(tzinfo=UTC)).total_seconds() / 86_400, r.until) for r in told
    }


def test_each_reason_holds_for_its_days_and_the_first_of_them_is_told(spark: Any) -> None:
    assert found(
        spark,
        ("out", "opt_out", 400),
        ("back", "opt_out", 9),
        ("back", "opt_in", 8),
        ("again", "opt_in", 8),
        ("again", "opt_out", 7),
        ("again", "complaint", 6),
        ("undecided", "opt_in", 5),
        ("undecided", "opt_out", 5),
        ("willing", "opt_in", 5),
        ("cross", "complaint", 20),
        ("cross", "complaint", 200),
        ("cross", "contact", 1),
        ("last_day_cross", "complaint", 89),
        ("calm", "complaint", 90),
        ("written_to", "contact", 30),
        ("written_to", "contact", 3),
        ("last_day_quiet", "contact", 13),
        ("free", "contact", 14),
        ("tomorrow", "opt_out", -1),
        ("visitor", "view", 1),
        ("reader", "open", 1),
    ) == {
        "out": ("consent", 400, None),
        "again": ("consent", 7, None),
        "undecided": ("consent", 5, None),
        "cross": ("complaint", 20, date(2026, 7, 9)),
        "last_day_cross": ("complaint", 89, AS_OF),
        "written_to": ("contacted", 3, date(2026, 5, 11)),
        "last_day_quiet": ("contacted", 13, AS_OF),
    }


def test_without_quiet_days_a_contact_suppresses_nobody(spark: Any) -> None:
    assert found(spark, ("anna", "contact", 0), ("bert", "complaint", 0), quiet_days=0) == {
        "bert": ("complaint", 0, date(2026, 7, 29))
    }
