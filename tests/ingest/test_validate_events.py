"""Validation of a night's events: what this run's own files brought is told from what it builds on."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date
from typing import Any

from expectations import events
from jobs.ingest import validate_events
from rekindle.ledger import FileFate, LandedFile
from schemas.quarantine import QUARANTINE

DAY = date(2026, 4, 30)
TONIGHT, EARLIER, LOST = "f" * 64, "e" * 64, "d" * 64


def file(sha256: str) -> LandedFile:
    return LandedFile(f"{sha256[:3]}.gz", DAY, sha256, 1, 0, 9, 0, "accepted", None)


def test_only_tonights_quarantined_lines_count_by_rule(frame: Callable[..., Any]) -> None:
    lines = [
        {"rule": rule, "file_sha256": sha, "line_number": n}
        for n, (rule, sha) in enumerate(
            [("no_user", TONIGHT), ("no_user", EARLIER), ("future", TONIGHT), ("no_user", TONIGHT)]
        )
    ]
    fresh = events.with_fresh(frame(QUARANTINE, *lines), [TONIGHT])
    assert validate_events.by_rule(fresh) == {"no_user": 2, "future": 1}
    assert validate_events.by_rule(events.with_fresh(frame(QUARANTINE, *lines), [])) == {}


def test_fates_add_up_over_files_and_a_file_without_fate_or_base_is_uncounted() -> None:
    fates = [FileFate(TONIGHT, 9, 6, 2, 1), FileFate("a" * 64, 5, 5, 0, 0)]
    files = [file(TONIGHT), file("a" * 64), file(EARLIER), file(LOST)]
    told = validate_events.landed(fates, files, [file(EARLIER)], {"no_user": 1})
    assert told == events.Landed(14, 11, 2, 1, {"no_user": 1}, uncounted_files=1)
    assert told.share(7) == 0.5
