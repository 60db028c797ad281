"""Every landed line ends as clean, duplicate or quarantined, whatever the order in which files come."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from jobs.ingest.clean_events import new_users, rows_of
from jobs.ingest.land_simulated_day import SOURCE, land, read_conf
from rekindle.contract import conform
from rekindle.identity import pseudonym
from rekindle.ledger import FileFate
from rekindle.line_cleaning import counted, duplicates, unbalanced
from rekindle.line_rules import REASONS
from rekindle.settings import ROOT
from schemas.duplicates import DUPLICATES
from schemas.events import EVENTS
from schemas.quarantine import QUARANTINE
from tests.ingest.conftest import KEY, Shop

DAY = date(2026, 2, 10)


def told(**other: Any) -> dict[str, Any]:
    """A good line of the simulated shop, an order unless told otherwise."""
    good = {
        "event_id": "e1",
        "ts": "2026-02-10T12:00:00+01:00",
        "type": "order",
        "customer": "customer-77",
        "sku": "s1",
        "title": "Teapot",
        "category": "kitchen",
        "price": 19.5,
        "qty": 2,
        "order_id": "o1",
        "session": "v1",
    }
    return {k: v for k, v in (good | other).items() if v is not ...}


def places(rows: list[Any]) -> set[tuple[str, int]]:
    return {(row.file_sha256, row.line_number) for row in rows}


BROKEN: list[tuple[str, bytes | dict[str, Any]]] = [
    ("oversize", b'{"event_id": "' + b"x" * 70_000 + b'"}'),
    ("encoding", json.dumps(told(title="@")).encode().replace(b"@", b"Caf\xe9")),
    ("control_character", json.dumps(told(title="a\0b")).encode()),
    ("control_character", json.dumps(told(title="@")).encode().replace(b"@", b"a\0b")),
    ("malformed", json.dumps(told()).encode()[:-9]),
    ("malformed", json.dumps(told()).encode() * 2),
    ("malformed", json.dumps(told()).encode() + b"," + json.dumps(told()).encode()),
    ("malformed", json.dumps(told()).encode() + b"]" + json.dumps(told()).encode()),
    ("malformed", b"<html><head><title>502 Bad Gateway</title></head></html>"),
    ("malformed", b""),
    ("malformed", b"[]"),
    ("malformed", b"null"),
    ("malformed", b"[" + json.dumps(told()).encode() + b"]"),
    ("duplicate_key", json.dumps(told()).encode()[:-1] + b', "sku": "s2"}'),
    ("key_case", json.dumps(told(sku=..., SKU="s1")).encode()),
    ("nested_value", told(sku={"id": "s1"})),
    ("nested_value", told(customer=["customer-77"])),
    ("odd_id", told(customer="customer\u200b-77")),
    ("odd_id", told(sku="re\u0301sume\u0301")),
    ("no_event_id", told(event_id="")),
    ("no_event_id", told(event_id=...)),
    ("no_user", told(customer=None)),
    ("no_user", told(customer=" \t")),
    ("no_user", told(customer="Undefined")),
    ("unknown_action", told(type="heartbeat")),
    ("unknown_action", told(type=...)),
    ("unreadable_time", told(ts="2026-02-30T25:61:00+01:00")),
    ("unreadable_time", told(ts="2026-02-10T12:00:00")),
    ("out_of_window", told(ts="2025-12-31T23:59:59+01:00")),
    ("future", told(ts="2026-02-11T00:00:00+01:00")),
    ("no_item", told(sku="")),
    ("no_item", told(type="pageview", sku=...)),
    ("no_item", told(sku="null")),
    ("bad_quantity", told(qty=0)),
    ("bad_quantity", told(qty=...)),
    ("bad_quantity", told(qty="Infinity")),
    ("bad_price", told(price=0)),
    ("bad_price", told(price="NaN")),
    ("bad_price", told(type="pageview", price=-1)),
    ("bad_stars", told(type="review", stars=6)),
]


def test_each_rule_is_broken_once_and_named_in_words_with_the_place(shop: Callable[[str], Shop]) -> None:
    made = shop(SOURCE)
    good = [
        told(event_id="g1"),
        told(event_id="g2", type="pageview", price=0, qty=...),
        told(event_id="g3", type="search", sku=..., price=..., query="red shoes"),
        told(event_id="g4", type=" Wishlist ", nobody_announced={"this": [1]}),
        told(event_id="g5", ts="2026-01-01T00:00:00+01:00"),
        told(event_id="g6", ts="2026-02-10T23:59:59+01:00", title="Kaffee „schön“ \\u00e9"),
    ]
    file = made.land(DAY, *[line for _, line in BROKEN], *good)
    fated = made.cleaned([file])
    rows = {row.line_number: row for row in fated.collect()}
    assert sorted(rows) == list(range(1, len(BROKEN) + len(good) + 1))
    assert [rows[n].rule for n in range(1, len(BROKEN) + 1)] == [rule for rule, _ in BROKEN]
    elsewhere = {"no_campaign", "no_coupon", "no_measure", "unreadable_day", "unreadable_number", "held", "id_conflict"}
    assert {rule for rule, _ in BROKEN} == set(REASONS) - elsewhere, "every rule of events is shown to fire"
    for n, (rule, _) in enumerate(BROKEN, start=1):
        assert (rows[n].fate, rows[n].reason) == ("quarantined", REASONS[rule])
    assert {rows[n].fate for n in range(len(BROKEN) + 1, len(rows) + 1)} == {"clean"}

    kept = {row.event_id: row for row in conform(fated.where("fate = 'clean'"), EVENTS).collect()}
    assert {i: kept[i].repairs for i in sorted(kept)} == {
        "g1": None, "g2": None, "g3": None, "g4": "event_type_case", "g5": None, "g6": None,
    }  # fmt: skip
    assert (kept["g4"].event_type, kept["g3"].event_type) == ("favourite", "search")
    assert (kept["g3"].text, kept["g3"].item_id) == ("red shoes", None)
    assert (kept["g2"].quantity, kept["g1"].quantity, kept["g1"].unit_price) == (None, 2.0, 19.5)
    assert kept["g6"].title == "Kaffee „schön“ \\u00e9"

    bytes_of = (made.bronze / file.sha256).read_bytes()
    for row in conform(fated.where("fate = 'quarantined'"), QUARANTINE).collect():
        assert bytes_of[row.byte_offset :].split(b"\n")[0] == bytes_of.split(b"\n")[row.line_number - 1]


def test_raw_user_ids_are_in_no_table_and_their_pseudonyms_lead_back(shop: Callable[[str], Shop]) -> None:
    made = shop(SOURCE)
    secret = "customer-4711"
    file = made.land(
        DAY,
        told(event_id="a", customer=secret),
        told(event_id="b", customer=f" {secret} "),
        told(event_id="b", customer=secret),
        told(event_id="c", customer=secret, type="no such type"),
        told(event_id="d", customer="customer-1"),
    )
    fated = made.cleaned([file])
    tables = {
        EVENTS: conform(fated.where("fate = 'clean'"), EVENTS).collect(),
        DUPLICATES: conform(duplicates({"events": fated}), DUPLICATES).collect(),
        QUARANTINE: conform(fated.where("fate = 'quarantined'"), QUARANTINE).collect(),
    }
    assert {table.name: len(rows) for table, rows in tables.items()} == {"events": 3, "duplicates": 1, "quarantine": 1}
    assert secret not in str(tables)
    assert {row.user_key for row in tables[EVENTS]} == {
        pseudonym(KEY, SOURCE, secret),
        pseudonym(KEY, SOURCE, "customer-1"),
    }
    assert dict(new_users({"events": fated})) == {pseudonym(KEY, SOURCE, raw): raw for raw in (secret, "customer-1")}


def test_of_equal_events_the_smallest_place_is_clean_whatever_the_order_of_files(shop: Callable[[str], Shop]) -> None:
    made = shop(SOURCE)
    following = DAY + timedelta(days=1)
    late = made.land(following, told(event_id="a"), told(event_id="b", ts="2026-02-11T09:00:00+01:00"))
    twins = [
        made.land(DAY, told(event_id="a"), told(event_id="a"), told(event_id="c", sku=""), told(event_id=title))
        for title in ("one", "two")
    ]
    first = min(twins, key=lambda f: f.sha256)
    outcomes = []
    for files in ([late, *twins], [*reversed(twins), late]):
        fated = made.cleaned(files)
        outcomes.append(sorted((r.file_sha256, r.line_number, r.fate, r.kept) for r in fated.collect()))
        pointers = conform(duplicates({"events": fated}), DUPLICATES).collect()
        assert {(p.kept_landing_date, p.kept_file_sha256, p.kept_line_number) for p in pointers} == {
            (DAY, first.sha256, 1)
        }
        assert len(pointers) == 4
    assert outcomes[0] == outcomes[1]
    fates = {(f, n): fate for f, n, fate, _ in outcomes[0]}
    assert [fates[first.sha256, 1], fates[late.sha256, 1], fates[late.sha256, 2]] == ["clean", "duplicate", "clean"]
    assert [fates[f.sha256, 3] for f in twins] == ["quarantined"] * 2, "an unusable line is no event and no duplicate"


def test_a_file_of_another_day_is_held_whole_and_the_other_files_are_as_they_were(shop: Callable[[str], Shop]) -> None:
    """F53: beyond a fifth of the lines out of the window, the rest of the file is not to be trusted either."""
    made = shop(SOURCE)
    old = {"ts": "2025-06-01T10:00:00+02:00"}
    wrong = made.land(DAY, *[told(event_id=f"w{n}", **(old if n < 3 else {})) for n in range(10)])
    right = made.land(DAY, *[told(event_id=f"r{n}", **(old if n < 2 else {})) for n in range(10)])
    rows = made.cleaned([wrong, right]).collect()
    fates = Counter((row.file_sha256 == right.sha256, row.fate, row.rule) for row in rows)
    assert fates == {
        (False, "quarantined", "out_of_window"): 3,
        (False, "quarantined", "held"): 7,
        (True, "quarantined", "out_of_window"): 2,
        (True, "clean", None): 8,
    }


def test_the_same_id_with_another_content_is_a_conflict_also_against_an_earlier_night(
    shop: Callable[[str], Shop],
) -> None:
    """F63: the first line stays clean, as it was in the nights before; repairs do not make a conflict."""
    made = shop(SOURCE)
    first = made.land(DAY, told(event_id="a"), told(event_id="a", price=20), told(event_id="b"))
    later = made.land(DAY + timedelta(days=1), told(event_id="b", sku="s9"), told(event_id="a", type=" ORDER"))
    at_once = made.cleaned([first, later])
    base = conform(made.cleaned([first]).where("fate = 'clean'"), EVENTS)
    for rows, lines in ((at_once.collect(), 5), (made.cleaned([later], base).collect(), 2)):
        found = {(r.file_sha256 == first.sha256, r.line_number): (r.fate, r.rule) for r in rows}
        assert len(found) == lines
        assert found[False, 1] == ("quarantined", "id_conflict")
        assert found[False, 2] == ("duplicate", None)
    assert {(r.line_number, r.fate, r.rule) for r in at_once.collect() if r.file_sha256 == first.sha256} == {
        (1, "clean", None),
        (2, "quarantined", "id_conflict"),
        (3, "clean", None),
    }


def test_a_run_without_new_files_adds_no_row_to_any_table(spark: Any) -> None:
    assert {table.name: rows_of(spark, table, {}).count() for table in (EVENTS, DUPLICATES, QUARANTINE)} == {
        "events": 0,
        "duplicates": 0,
        "quarantine": 0,
    }


def test_lines_that_do_not_add_up_are_told_by_file() -> None:
    whole, short = FileFate("a" * 64, 10, 7, 2, 1), FileFate("b" * 64, 10, 7, 1, 1)
    assert unbalanced([whole], {"a" * 64: "monday.csv"}) == []
    names = {"a" * 64: "monday.csv", "b" * 64: "tuesday.csv"}
    (sentence,) = unbalanced([whole, short], names)
    assert sentence == "file tuesday.csv: 10 lines landed, but 7 clean + 1 duplicate + 1 quarantined"


@pytest.mark.parametrize(
    ("source", "zone", "instants"),
    [
        (
            SOURCE,
            "Europe/Berlin",
            "2026-03-28T22:59:59 2026-03-28T23:00:00 2026-03-29T01:00:00 2026-03-29T21:59:59"
            " 2026-03-29T22:00:00 2026-10-24T22:00:00 2026-10-25T22:59:59 2026-10-25T23:00:00",
        ),
        (
            "online_retail",
            "Europe/London",
            "2011-03-26T23:59:59 2011-03-27T00:59:59 2011-03-27T01:00:00 2011-03-27T22:59:59"
            " 2011-03-27T23:00:00 2011-06-30T23:30:00 2011-10-29T23:00:00 2011-10-30T23:59:59",
        ),
    ],
)
def test_the_local_day_of_an_instant_is_right_where_clocks_change(
    shop: Callable[[str], Shop], source: str, zone: str, instants: str
) -> None:
    made = shop(source)
    utc = [datetime.fromisoformat(text).replace(tzinfo=UTC) for text in instants.split()]
    local = [instant.astimezone(ZoneInfo(zone)) for instant in utc]
    if source == SOURCE:
        lines: list[bytes | dict[str, Any]] = [
            told(event_id=str(n), ts=instant.isoformat()) for n, instant in enumerate(utc)
        ]
    else:
        header = ",".join(made.source.files[made.kind].format.fields).encode()
        rows = [f"5{n:05},22421,TIN,1,{at:%Y-%m-%d %H:%M:%S},2.5,17850.0,France".encode() for n, at in enumerate(local)]
        lines = [header, *rows]
    fated = made.cleaned([made.land(date(2026, 12, 1), *lines)])
    found = fated.where("fate = 'clean'").selectExpr("line_number", "unix_seconds(event_ts) AS at", "event_date")
    rows_found = sorted(found.collect())
    assert [row.at for row in rows_found] == [int(instant.timestamp()) for instant in utc]
    assert [row.event_date for row in rows_found] == [at.date() for at in local]


RULES_OF = {
    "cut_json": {"malformed", "encoding"},
    "not_json": {"malformed"},
    "two_objects": {"malformed"},
    "invalid_utf8": {"encoding"},
    "blank_user": {"no_user"},
    "null_word_user": {"no_user"},
    "missing_item": {"no_item"},
    "null_word_item": {"no_item"},
    "unknown_type": {"unknown_action"},
    "unreadable_time": {"unreadable_time"},
    "future_time": {"future"},
    "negative_price": {"bad_price"},
    "zero_price": {"bad_price"},
    "zero_quantity": {"bad_quantity"},
}


def test_the_simulated_shops_dirt_is_found_to_the_line_at_once_and_night_by_night(
    shop: Callable[[str], Shop], tmp_path: Path
) -> None:
    conf = read_conf(ROOT / "conf/simulation.yaml").model_copy(
        update={"users_at_start": 200, "arrivals_per_day": 2.0, "items": 60, "dirt_share": 0.2}
    )
    made = shop(SOURCE)
    days = [date(2026, 1, n) for n in range(1, 7)]
    paths = land(conf, tmp_path, days[-1])
    files = [made.taken(path, day) for path, day in zip(paths, days, strict=True)]
    truth = [json.loads((tmp_path / "truth" / SOURCE / "days" / f"{day}.json").read_text())["kinds"] for day in days]
    lines_of = {
        kind: {(f.sha256, n) for f, kinds in zip(files, truth, strict=True) for n in kinds.get(kind, [])}
        for kind in {kind for kinds in truth for kind in kinds}
    }
    assert set(lines_of) >= set(RULES_OF), "every kind of dirt has landed"

    at_once = made.cleaned(files)
    rows = at_once.select("file_sha256", "line_number", "fate", "rule", "repairs", "event_id").collect()
    rule_of = {(r.file_sha256, r.line_number): r.rule for r in rows}
    for kind, rules in RULES_OF.items():
        assert {rule_of[place] for place in lines_of[kind]} <= rules, kind
    by_fate = {fate: [r for r in rows if r.fate == fate] for fate in ("clean", "duplicate", "quarantined")}
    assert places(by_fate["quarantined"]) == set().union(*(lines_of[kind] for kind in RULES_OF))
    assert places(by_fate["duplicate"]) == lines_of["duplicate_same_day"] | lines_of["duplicate_next_day"]
    assert places([r for r in by_fate["clean"] if r.repairs]) == lines_of["odd_case_type"]
    assert max(Counter(r.event_id for r in by_fate["clean"]).values()) == 1

    fates = counted({"events": at_once}, files).fates
    assert [f.landed for f in fates] == [f.lines for f in files]
    assert unbalanced(fates, {f.sha256: f.name for f in files}) == []

    first = made.cleaned(files[:3])
    second = made.cleaned(files[3:], conform(first.where("fate = 'clean'"), EVENTS))
    by_nights = first.select("file_sha256", "line_number", "fate", "kept").collect()
    by_nights += second.select("file_sha256", "line_number", "fate", "kept").collect()
    assert sorted(by_nights) == sorted(at_once.select("file_sha256", "line_number", "fate", "kept").collect())
