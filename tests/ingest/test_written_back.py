"""What the CRM wrote back is cleaned like any landed line: each outcome ends once, and the CRM is told how."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest

from rekindle import contract, inbox, line_cleaning
from rekindle.identity import pseudonym
from rekindle.inbox import Batch
from rekindle.ledger import LandedFile
from rekindle.outcome_fates import outcome_fates
from rekindle.sources import INBOX
from schemas.duplicates import DUPLICATES
from schemas.events import EVENTS
from schemas.outcomes import OUTCOMES
from schemas.quarantine import QUARANTINE
from tests.ingest.conftest import KEY, Shop

DAY = date(2026, 2, 10)
NOON = datetime(2026, 2, 10, 11, tzinfo=UTC)


def outcome(outcome_id: str, kind: str = "contact", at: datetime = NOON, **other: Any) -> dict[str, Any]:
    """A row of inbox.outcomes as the night reads it."""
    row = dict.fromkeys(inbox.TOLD) | {"user_id": "customer-77", "is_user_known": True}
    return row | {"outcome_id": outcome_id, "kind": kind, "happened_at": at} | other


def written_back(shop: Shop, number: int, *outcomes: dict[str, Any]) -> LandedFile:
    """A batch of the day, in bronze."""
    return inbox.file_of(Batch(shop.source.name, DAY, number, len(outcomes)), map(inbox.line, outcomes), shop.bronze)


def test_each_outcome_is_an_event_a_duplicate_or_quarantined_by_its_rule(shop: Callable[[str], Shop]) -> None:
    made = shop("simulated_shop")
    log = {
        "event_id": "o1",
        "ts": "2026-02-10T12:00:00+01:00",
        "type": "pageview",
        "customer": "customer-77",
        "sku": "s",
    }
    first = [
        outcome("o1", item_id="s1", text="a word\nof \ufeff “two” lines", action="voucher", campaign_id="c1"),
        outcome("o2", "opt_out", NOON - timedelta(days=30)),
        outcome("o3", " redeem ", order_id="o77"),
        outcome("o4", "opened"),
        outcome("o5", "complaint", user_id="nobody", is_user_known=False),
        outcome("o6", "open", datetime(2025, 12, 1, tzinfo=UTC)),
        outcome("o7", "opt_in", user_id=" "),
        outcome("o\u200b8", "opt_in"),
        outcome("o1 ", item_id="s1", text="a word\nof \ufeff “two” lines"),
        outcome("o2 ", "opt_in"),
    ]
    files = [
        made.land(DAY, log, name="log"),
        written_back(made, 1, *first),
        written_back(made, 2, outcome("o9", "open")),
    ]
    lines = made.cleaned(files)
    fates = {(r.file_sha256, r.line_number): (r.fate, r.rule) for r in lines.collect()}
    by_outcome = [fates[files[1].sha256, n] for n in range(1, 11)]
    told = [
        *[("clean", None)] * 3,
        *[("quarantined", rule) for rule in ("unknown_kind", "unknown_user", "out_of_window", "no_user", "odd_id")],
        *[("duplicate", None), ("quarantined", "id_conflict")],
    ]
    assert by_outcome == told
    assert fates[files[0].sha256, 1] == ("clean", None), "an outcome's id may be that of an event of the shop"
    counted = line_cleaning.counted({"events": lines}, files)
    assert line_cleaning.unbalanced(counted.fates, {}) == []
    assert [(f.landed, f.clean, f.duplicate, f.quarantined) for f in counted.fates] == [
        (1, 1, 0, 0),
        (10, 3, 1, 6),
        (1, 1, 0, 0),
    ]

    events = {r.event_id: r for r in contract.conform(lines.where("fate = 'clean'"), EVENTS).collect()}
    one = events["inbox/o1"]
    assert (one.event_type, one.item_id, one.text) == ("contact", "s1", "a word\nof \ufeff “two” lines")
    assert one.user_key == events["o1"].user_key == pseudonym(KEY, "simulated_shop", "customer-77")
    assert (events["inbox/o2"].event_date, events["inbox/o2"].landing_date) == (DAY - timedelta(days=30), DAY)
    assert (events["inbox/o3"].event_type, events["inbox/o3"].order_id) == ("redeem", "o77")

    again = contract.conform(line_cleaning.duplicates({"events": lines}), DUPLICATES)
    unusable = contract.conform(line_cleaning.quarantined({"events": lines}), QUARANTINE)
    frame = contract.conform(outcome_fates(made.spark, files[1:], str(made.bronze), again, unusable), OUTCOMES)
    found = {r.outcome_id: r for r in frame.collect()}
    names = {"clean": "event"}
    expected = {o["outcome_id"]: (names.get(fate, fate), rule) for o, (fate, rule) in zip(first, told, strict=True)}
    assert {k: (r.fate, r.rule) for k, r in found.items()} == expected | {"o9": ("event", None)}
    assert {k: r.kind for k, r in found.items() if k in ("o3", "o4")} == {"o3": "redeem", "o4": None}
    assert found["o2"].happened_at.replace(tzinfo=UTC) == NOON - timedelta(days=30)


def test_rows_of_an_old_day_hold_no_others_up(shop: Callable[[str], Shop]) -> None:
    """A landed file with so many lines out of its window would be held whole."""
    made = shop("simulated_shop")
    old = [outcome(f"old{n}", "open", datetime(2025, 12, 1, tzinfo=UTC)) for n in range(9)]
    lines = made.cleaned([written_back(made, 1, *old, outcome("o1"))])
    assert {r.event_id for r in lines.where("fate = 'clean'").collect()} == {"inbox/o1"}


def test_only_files_of_the_inbox_have_outcomes(shop: Callable[[str], Shop], frame: Callable[..., Any]) -> None:
    made = shop("simulated_shop")
    file = made.land(DAY, {"event_id": "e"}, name="log")
    for files, told in (([file], "files log: expected some of kind inbox"), ([], "files none: expected")):
        with pytest.raises(ValueError, match=told):
            outcome_fates(made.spark, files, str(made.bronze), frame(DUPLICATES), frame(QUARANTINE))


def test_what_a_line_of_the_inbox_names_is_what_its_kind_of_files_declares() -> None:
    assert set(INBOX.format.names) == {*inbox.TOLD, "event_id"}
