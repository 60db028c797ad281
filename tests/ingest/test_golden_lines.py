"""The golden table of hostile lines, F54 to F65: what each must become, by the fault's id, told by hand.

All lines of one kind lie in one file, so that none may change what becomes of its neighbours.
"""

from __future__ import annotations

import json
import unicodedata
from dataclasses import dataclass, field
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml
from pyspark.sql import functions as F

from rekindle import landing_inspection, line_cleaning, line_rules, settings
from rekindle.landing_lines import MAX_LINE_BYTES
from rekindle.ledger_rows import FileFate, LandedFile
from tests.ingest.landed_files import cleaned, inspected

DAY = date(2026, 2, 10)
MARK = b"\xef\xbb\xbf"
KINDS = r"""
sheet:
  table: events
  landing: {pattern: 'sheet-(?P<date>\d{4}-\d{2}-\d{2})[a-z]*\.csv'}
  format: {kind: csv, header: true, fields: [id, user, item, at], optional: [note]}
  mapping: &mapping
    event_id: {column: id}
    event_time: {expression: at, format: "yyyy-MM-dd HH:mm:ss"}
    event_type: "'view'"
    event_types: {view: view}
    user_id: user
    item_id: item
    title: note
bare:
  table: events
  landing: {pattern: 'bare-(?P<date>\d{4}-\d{2}-\d{2})\.csv'}
  format: {kind: csv, delimiter: ";", fields: [id, user, item, at, note]}
  mapping: *mapping
seconds:
  table: events
  landing: {pattern: 'seconds-(?P<date>\d{4}-\d{2}-\d{2})\.csv'}
  format: {kind: csv, fields: [id, user, item, at, note]}
  mapping: {<<: *mapping, event_time: {expression: at, epoch: seconds}}
milliseconds:
  table: events
  landing: {pattern: 'milliseconds-(?P<date>\d{4}-\d{2}-\d{2})\.csv'}
  format: {kind: csv, fields: [id, user, item, at, note]}
  mapping: {<<: *mapping, event_time: {expression: at, epoch: milliseconds}}
microseconds:
  table: events
  landing: {pattern: 'microseconds-(?P<date>\d{4}-\d{2}-\d{2})\.csv'}
  format: {kind: csv, fields: [id, user, item, at, note]}
  mapping: {<<: *mapping, event_time: {expression: at, epoch: microseconds}}
"""


@dataclass(frozen=True)
class Golden:
    """A line, and the rule it breaks or `clean`, with what the clean line then says."""

    fault: str
    line: bytes
    fate: str
    told: dict[str, Any] = field(default_factory=dict)


def good(**other: Any) -> dict[str, Any]:
    told = {"event_id": "e", "ts": "2026-02-10T12:00:00+01:00", "type": "order", "customer": "c1", "sku": "s1"}
    return told | {"price": 19.5, "qty": 2} | other


def written(**other: Any) -> bytes:
    return json.dumps(good(**other), ensure_ascii=False).encode()


def with_raw(name: str, raw: bytes) -> bytes:
    """A good line in which the value of one key is written so."""
    return json.dumps(good(**{name: "RAW"})).encode().replace(b'"RAW"', raw)


def plain(**other: Any) -> bytes:
    return json.dumps(good(**other), separators=(",", ":")).encode()


def of_length(size: int) -> bytes:
    return plain(title="x" * (size - len(plain(title=""))))


def g(fault: str, line: bytes, fate: str = "clean", **told: Any) -> Golden:
    return Golden(fault, line, fate, told)


ZERO_UUID = "00000000-0000-0000-0000-000000000000"
# The id "e" of a line becomes its own (in CSV: @), so that the table's lines are no duplicates of each other.
JSON = [
    g("F59 a mark at the file's start is dropped", MARK + written(), user_id="c1"),
    g("F59 a mark at a line's start", MARK + written(), "control_character"),
    g("F59 a mark in an id", written(customer="c\ufeff1"), "control_character"),
    g("F54 blank", b"", "malformed"),
    g("F54 an empty list", b"[]", "malformed"),
    g("F54 a list of one object", b"[" + written() + b"]", "malformed"),
    g("F54 a list of two objects", b"[" + written() + b"," + written() + b"]", "malformed"),
    g("F54 null", b"null", "malformed"),
    g("F54 a text", b'"order"', "malformed"),
    g("F54 an empty object", b"{}", "no_event_id"),
    g("F54 no JSON at all", b"<html><title>502 Bad Gateway</title></html>", "malformed"),
    g("F54 cut within a value", written()[:-9], "malformed"),
    g("F54 cut before its brace", written()[:-1], "malformed"),
    g("F54 one brace too many", written() + b"}", "malformed"),
    g("F54 a comment", b"/* x */" + written(), "malformed"),
    g("F54 a key without quotes", written().replace(b'"price"', b"price"), "malformed"),
    g("F54 a leading zero", with_raw("price", b"007"), "malformed"),
    g("F54 a raw tab in a text", with_raw("title", b'"a\tb"'), "malformed"),
    g("F54 an escape that there is not", with_raw("title", rb'"\x41"'), "malformed"),
    g("F54 the end of a Windows line", written() + b"\r", user_id="c1"),
    g("F54 blanks around", b" \t" + written() + b"  ", user_id="c1"),
    g("F54 a raw line separator of Unicode", written(title="a\u2028b\u0085c"), title="a\u2028b\u0085c"),
    g("F55 two objects", written() * 2, "malformed"),
    g("F55 two objects, a blank between", written() + b" " + written(), "malformed"),
    g("F55 two objects, a comma between", written() + b"," + written(), "malformed"),
    g("F55 two lines joined by a return", written() + b"\r" + written(), "malformed"),
    g("F55 an object and half of one", written() + written()[:20], "malformed"),
    g("F55 an object and a word", written() + b" null", "malformed"),
    g("F55 an object and a bracket", written() + b"]" + written(), "malformed"),
    g("F55 the next list of a wrapper", written() + b'],"lines":[' + written(), "malformed"),
    g("F55 the end of a wrapper", written() + b'],"end":true,"x":[{}', "malformed"),
    g("F55 the end of a wrapper, and a new one", written() + b'],"end":true}{"x":[{}', "malformed"),
    g("F55 a comma before the brace", written()[:-1] + b",}", "malformed"),
    g("F56 a key twice", written()[:-1] + b',"customer": "c2"}', "duplicate_key"),
    g("F56 a key twice, the same", written()[:-1] + b',"customer": "c1"}', "duplicate_key"),
    g("F56 a key twice, once escaped", written()[:-1] + rb',"c\u0075stomer": "c2"}', "duplicate_key"),
    g("F56 an unknown key twice", written()[:-1] + b',"x": 1, "x": 2}', "duplicate_key"),
    g("F56 a key in capitals", written().replace(b"customer", b"CUSTOMER"), "key_case"),
    g("F56 a key also in capitals", written()[:-1] + b',"Customer": "c2"}', "key_case"),
    g("F56 an optional key in capitals", written().replace(b"sku", b"Sku"), "key_case"),
    g("F56 an unknown key", written(shelf={"row": [1, {"a": 2}]}), user_id="c1"),
    g("F56 single quotes", written().replace(b'"', b"'"), "malformed"),
    g("F56 single quotes at one value", with_raw("customer", b"'c1'"), "malformed"),
    g("F56 the literal NaN", with_raw("price", b"NaN"), "malformed"),
    g("F56 the literal Infinity", with_raw("price", b"Infinity"), "malformed"),
    g("F56 the literal -Infinity", with_raw("price", b"-Infinity"), "malformed"),
    g("F56 NaN as an id", with_raw("customer", b"NaN"), "malformed"),
    g("F56 NaN as text", written(price="NaN"), "bad_price"),
    g("F56 infinity as text", written(qty="Infinity"), "bad_quantity"),
    g("F56 a number beyond all doubles", with_raw("price", b"1e400"), "bad_price"),
    g("F56 a number as text", written(price="19.5", qty="2"), unit_price=19.5, quantity=2.0),
    g("F56 a number with a comma as text", written(price="19,5"), "bad_price"),
    g("F56 a number in Java's way", written(price="19.5d"), "bad_price"),
    g("F56 a float for a whole number", written(qty=2.0), quantity=2.0),
    g("F56 an exponent", with_raw("price", b"1.95e1"), unit_price=19.5),
    g("F56 true for a number", written(price=True), "bad_price"),
    g("F56 an id that is a number", written(customer=4711), user_id="4711"),
    g("F56 an id beyond 2^53", written(customer=2**53 + 1), user_id="9007199254740993"),
    g("F56 an id beyond 2^63", written(customer=2**63 + 1), user_id="9223372036854775809"),
    g("F56 an id beyond 2^64, negative", written(customer=-(2**64) - 1), user_id="-18446744073709551617"),
    g("F56 an id that is a float", with_raw("customer", b"17850.00"), user_id="17850.0"),
    g("F56 an id with an exponent", with_raw("customer", b"1E3"), user_id="1000.0"),
    g("F56 an id of more digits than a double has", with_raw("customer", b"12345678901234567.8"), "odd_id"),
    g("F56 an object as an id", written(customer={"id": 1}), "nested_value"),
    g("F56 a list as an id", written(sku=["s1"]), "nested_value"),
    g("F56 an object as a price", written(price={"amount": 1}), "bad_price"),
    g("F56 an object as a time", written(ts={"$date": 1}), "unreadable_time"),
    g("F56 a list as an action", written(type=["order"]), "unknown_action"),
    g("F57 a raw NUL", with_raw("title", b'"a\0b"'), "control_character"),
    g("F57 a NUL behind the object", written() + b"\0", "control_character"),
    g("F57 an escaped NUL", with_raw("title", rb'"a\u0000b"'), "control_character"),
    g("F57 a backslash and an escaped NUL", with_raw("title", rb'"a\\\u0000b"'), "control_character"),
    g("F57 a backslash and u0000", with_raw("title", rb'"a\\u0000b"'), title=r"a\u0000b"),
    g("F57 an escaped NUL in a key", written()[:-1] + rb',"a\u0000": 1}', "control_character"),
    g("F57 the first half of a pair", with_raw("customer", rb'"c\ud83d"'), "control_character"),
    g("F57 the second half of a pair", with_raw("customer", rb'"c\uDE00"'), "control_character"),
    g("F57 a pair the wrong way round", with_raw("title", rb'"\ude00\ud83d"'), "control_character"),
    g("F57 a pair torn apart", with_raw("title", rb'"\ud83d \ude00"'), "control_character"),
    g("F57 a first half and a pair", with_raw("title", rb'"\ud83d\ud83d\ude00"'), "control_character"),
    g("F57 a pair and a second half", with_raw("title", rb'"\ud83d\ude00\ude00"'), "control_character"),
    g("F57 a pair behind a backslash", with_raw("title", rb'"\\\ud83d\ude00"'), title="\\\U0001f600"),
    g("F57 a first half, its second not escaped", with_raw("title", rb'"\ud83d\\ude00"'), "control_character"),
    g("F57 no pair at all, only its letters", with_raw("title", rb'"\\ud83d"'), title=r"\ud83d"),
    g("F57 an escaped pair", with_raw("title", rb'"\ud83d\ude00"'), title="\U0001f600"),
    g("F57 an emoji", written(title="\U0001f600", customer="\U0001f600"), title="\U0001f600", user_id="\U0001f600"),
    g("F57 a raw control character", with_raw("title", b'"a\x01b"'), "malformed"),
    g("F57 an escaped control character in an id", with_raw("customer", rb'"c\u0001"'), "odd_id"),
    g("F57 a line feed in an id", with_raw("sku", rb'"s\n1"'), "odd_id"),
    g("F57 text turned round in an id", written(customer="c\u202e1"), "odd_id"),
    g("F57 the same, escaped", with_raw("customer", rb'"c\u202e1"'), "odd_id"),
    g("F57 a blank of no width in an id", written(sku="s\u200b1"), "odd_id"),
    g("F57 a soft hyphen in an order's id", written(order_id="o\u00ad1"), "odd_id"),
    g("F57 text turned round in a title", written(title="a\u202eb"), title="a\u202eb"),
    g("F57 a decomposed id", written(customer="Ame\u0301lie"), "odd_id"),
    g("F57 the same id composed", written(customer="Amélie"), user_id="Amélie"),
    g("F57 a Korean id in its parts", written(customer="\u1112\u1161\u11ab"), "odd_id"),
    g("F57 the same Korean id composed", written(customer="\ud55c"), user_id="\ud55c"),
    g("F57 the sign of Ångström in an id", written(customer="\u212b1"), "odd_id"),
    g("F57 a Greek letter that NFC writes otherwise", written(customer="\u1f71"), "odd_id"),
    g("F57 an ideograph that NFC writes otherwise", written(customer="\U0002f81a"), "odd_id"),
    g("F58 one byte of Latin-1", with_raw("title", b'"Caf\xe9"'), "encoding"),
    g("F58 an id with a byte that is no text", with_raw("customer", b'"c\xff"'), "encoding"),
    g("F58 another id with another such byte", with_raw("customer", b'"c\xfe"'), "encoding"),
    g("F58 half of a pair as bytes", with_raw("customer", b'"c\xed\xa0\x80"'), "encoding"),
    g("F58 an overlong slash", with_raw("customer", b'"c\xc0\xaf"'), "encoding"),
    g("F58 beyond the last character", with_raw("customer", b'"c\xf4\x90\x80\x80"'), "encoding"),
    g("F58 a character cut short", with_raw("title", b'"\xe2\x82"'), "encoding"),
    g("F60 exactly 64 KiB", of_length(MAX_LINE_BYTES), user_id="c1"),
    g("F60 one byte more", of_length(MAX_LINE_BYTES + 1), "oversize"),
    g("F60 ten megabytes", of_length(10_000_000), "oversize"),
    g("F65 no user", written(customer=None), "no_user"),
    g("F65 a blank user", written(customer=" \t"), "no_user"),
    g("F65 the word null", written(customer="null"), "no_user"),
    g("F65 the word, in capitals", written(customer="NULL"), "no_user"),
    g("F65 undefined", written(customer=" Undefined "), "no_user"),
    g("F65 nought", written(customer="0"), "no_user"),
    g("F65 nought as a number", written(customer=0), "no_user"),
    g("F65 the UUID of nobody", written(customer=ZERO_UUID), "no_user"),
    g("F65 a word within a name", written(customer="nullmann"), user_id="nullmann"),
    g("F65 a test account", written(customer="test-7"), user_id="test-7", flags="test_account"),
]
WHEN = "2026-02-10 10:00:00"
CSV = [
    g("F61 in order", f"@,u1,i1,{WHEN},tea".encode(), user_id="u1", item_id="i1", title="tea"),
    g("F61 a field too few", f"@,u1,i1,{WHEN}".encode(), "malformed"),
    g("F61 a field too many", f"@,u1,i1,{WHEN},tea,x".encode(), "malformed"),
    g("F61 a delimiter in quotes", f'@,u1,i1,{WHEN},"a,b"'.encode(), title="a,b"),
    g("F61 a quote in quotes", f'@,u1,i1,{WHEN},"6"" nails"'.encode(), title='6" nails'),
    g("F61 a line end in quotes, its first half", f'@,u1,i1,{WHEN},"first'.encode(), "malformed"),
    g("F61 a line end in quotes, its second half", b'second"', "malformed"),
    g("F61 another delimiter", f"@;u1;i1;{WHEN};tea".encode(), "malformed"),
    g("F61 blank", b"", "malformed"),
    g("F61 the header again", b"id,user,item,at,note", "unreadable_time"),
    g("F61 the end of a Windows line", f"@,u1,i1,{WHEN},tea\r".encode(), title="tea"),
    g("F61 an empty field in quotes", f'@,u1,i1,{WHEN},""'.encode(), title=None),
    g("F61 a backslash before a quote", f'@,u1,i1,{WHEN},"a\\"'.encode(), title="a\\"),
    g("F61 an id kept as it is written", f"@,0017850.0,1e3,{WHEN},tea".encode(), user_id="0017850.0", item_id="1e3"),
    g("F57 a NUL", f"@,u\0,i1,{WHEN},tea".encode(), "control_character"),
    g("F57 a decomposed id", f"@,e\u0301,i1,{WHEN},tea".encode(), "odd_id"),
    g("F58 a byte that is no text", f"@,u1,i1,{WHEN},".encode() + b"\xff", "encoding"),
    g("F59 a mark in the middle", f"@,u1,i1,{WHEN},\ufefftea".encode(), "control_character"),
    g("F60 a long field", f"@,u1,i1,{WHEN},{'x' * 70_000}".encode(), "oversize"),
]
BARE = [
    g("F61 the declared delimiter", f"@;u1;i1;{WHEN};a,b".encode(), title="a,b"),
    g("F61 the delimiter of other files", f"@,u1,i1,{WHEN},tea".encode(), "malformed"),
]


def clock(text: str, fate: str = "clean", **told: Any) -> Golden:
    return g(f"F64 {text or 'no time'}", written(ts=text), fate, **told)


def count(text: str, fate: str = "clean", **told: Any) -> Golden:
    return g(f"F64 {text}", f"@,u1,i1,{text},tea".encode(), fate, **told)


NOON = 1_770_721_200  # 2026-02-10T12:00:00+01:00
TIMES = [
    clock("2026-02-10T12:00:00+01:00", event_date=DAY),
    clock("2026-02-10T11:00:00Z", event_date=DAY),
    clock("2026-02-10T23:59:59+01:00", event_date=DAY),
    clock("2026-02-11T00:00:00+01:00", "future"),
    clock("2026-02-10T23:00:00Z", "future"),
    clock("2026-02-11T12:59:59+14:00", event_date=DAY),
    clock("2026-02-11T12:00:00+01:00", "future"),
    clock("2126-02-10T12:00:00+01:00", "future"),
    clock("9999-12-31T23:59:59+01:00", "future"),
    clock("9999-12-31T23:59:59-12:00", "unreadable_time"),
    clock("+999999-12-31T00:00:00Z", "unreadable_time"),
    clock("+57971-01-01T00:00:00Z", "unreadable_time"),
    clock("1970-01-01T00:00:00Z", "out_of_window"),
    clock("1969-12-31T23:59:59Z", "out_of_window"),
    clock("0001-01-01T00:00:00Z", "out_of_window"),
    clock("0000-01-01T00:00:00Z", "unreadable_time"),
    clock("-2026-02-10T12:00:00Z", "unreadable_time"),
    clock("2025-12-31T23:59:59+01:00", "out_of_window"),
    clock("2026-01-01T00:00:00+01:00", event_date=date(2026, 1, 1)),
    clock("2026-02-29T12:00:00Z", "unreadable_time"),
    clock("2024-02-29T12:00:00Z", "out_of_window"),
    clock("2026-02-30T12:00:00Z", "unreadable_time"),
    clock("2026-13-01T12:00:00Z", "unreadable_time"),
    clock("2026-02-10T12:00:60Z", "unreadable_time"),
    clock("2026-02-10T24:00:00Z", "unreadable_time"),
    clock("2026-02-10T12:00:00", "unreadable_time"),
    clock("2026-02-10 12:00:00+01:00", "unreadable_time"),
    clock("2026-02-10", "unreadable_time"),
    clock("10.02.2026 12:00", "unreadable_time"),
    clock("1770721200", "unreadable_time"),
    clock("1770721200000", "unreadable_time"),
    clock("now", "unreadable_time"),
    clock("", "unreadable_time"),
]
SECONDS = [
    count(f"{NOON}", event_date=DAY),
    count(f"{NOON}.25", event_date=DAY),
    count(f"{NOON + 86_400}", "future"),
    count("253402300799", "future"),
    count("253402300800", "unreadable_time"),
    count(f"{NOON}000", "unreadable_time"),  # the year 58080
    count(f"{NOON}000000", "unreadable_time"),
    count(f"{NOON}000000000", "unreadable_time"),
    count("0", "out_of_window"),
    count("-1", "out_of_window"),
    count(f"-{NOON}000", "unreadable_time"),
    count("", "unreadable_time"),
    count("NaN", "unreadable_time"),
    count("Infinity", "unreadable_time"),
    count(f"{NOON}d", "unreadable_time"),
    count("2026-02-10 12:00:00", "unreadable_time"),
]
MILLISECONDS = [
    count(f"{NOON}250", event_date=DAY),
    count(f"{NOON}", "out_of_window"),
    count(f"{NOON}000000", "unreadable_time"),
]
MICROSECONDS = [
    count(f"{NOON}000250", event_date=DAY),
    count(f"{NOON}000", "out_of_window"),
    count(f"{NOON}000000000", "unreadable_time"),
]
FILES = {
    f"events-{DAY}.jsonl": [*JSON, *TIMES],
    f"sheet-{DAY}.csv": [g("", b"id,user,item,at,note", ""), *CSV],
    f"bare-{DAY}.csv": BARE,
    f"seconds-{DAY}.csv": SECONDS,
    f"milliseconds-{DAY}.csv": MILLISECONDS,
    f"microseconds-{DAY}.csv": MICROSECONDS,
}
ENTRIES = [(name, n) for name, lines in FILES.items() for n, entry in enumerate(lines, 1) if entry.fault]


def own_id(name: str, number: int, line: bytes) -> bytes:
    """The line with an event id that no other line of the table has."""
    own = f"{name.split('-')[0]}{number}".encode()
    if name.startswith("events"):
        return line.replace(b'"event_id": "e"', b'"event_id": "%s"' % own)
    return line.replace(b"@", own)


def a_shop() -> settings.Source:
    """The simulated shop with more kinds of files, none of which is held as a whole."""
    told = settings.load("simulated_shop").source.model_dump(mode="json")
    told["held_out_of_window_share"] = 1.0
    events = told["files"]["events"]
    events["landing"]["pattern"] = r"events-(?P<date>\d{4}-\d{2}-\d{2})[a-z]*\.jsonl"
    events["mapping"]["flags"] = [{"id": "test_account", "when": "customer LIKE 'test-%'"}]
    told["files"] |= yaml.safe_load(KINDS)
    return settings.Source.model_validate(told)


@dataclass(frozen=True)
class Table:
    """The whole table after cleaning: rows by file's name and line, what cleaning counted, and bronze."""

    rows: dict[tuple[str, int], Any]
    files: list[LandedFile]
    fates: list[FileFate]
    bronze: Path


@pytest.fixture(scope="module")
def table(_session: Any, tmp_path_factory: pytest.TempPathFactory) -> Table:
    folder = tmp_path_factory.mktemp("golden")
    source, landing, bronze = a_shop(), folder / "landing", folder / "bronze"
    landing.mkdir()
    for name, lines in FILES.items():
        content = b"\n".join(own_id(name, n, entry.line) for n, entry in enumerate(lines, 1))
        (landing / name).write_bytes(content + b"\n")
    files = inspected(landing, source, bronze, *FILES)
    lines = cleaned(_session, source, bronze, files)
    names = {f.sha256: f.name for f in files}
    # Python has no year 10000, which one of the lines tells.
    told = lines.drop("event_ts").withColumn("event_date", F.expr("CASE WHEN rule IS NULL THEN event_date END"))
    rows = {(names[row.file_sha256], row.line_number): row for row in told.collect()}
    fates = line_cleaning.counted({"events": lines}, files).fates
    _session.catalog.clearCache()
    return Table(rows, files, fates, bronze)


@pytest.mark.parametrize(
    ("name", "number"), [pytest.param(*e, id=f"{e[0].split('-')[0]}: {FILES[e[0]][e[1] - 1].fault}") for e in ENTRIES]
)
def test_the_line_becomes_what_the_table_says(table: Table, name: str, number: int) -> None:
    entry, row = FILES[name][number - 1], table.rows[name, number]
    expected = ("clean", None) if entry.fate == "clean" else ("quarantined", entry.fate)
    assert (row.fate, row.rule) == expected
    assert {key: row[key] for key in entry.told} == entry.told
    assert row.reason == line_rules.reason_words(a_shop()).get(entry.fate)


def test_every_line_of_the_table_is_there_once_adds_up_and_is_found_again_by_its_place(table: Table) -> None:
    assert sorted(table.rows) == sorted(ENTRIES)
    assert line_cleaning.unbalanced(table.fates, {f.sha256: f.name for f in table.files}) == []
    landed = {f.name: (table.bronze / f.sha256).read_bytes() for f in table.files}
    for (name, number), row in table.rows.items():
        line = own_id(name, number, FILES[name][number - 1].line)
        assert landed[name][row.byte_offset :].startswith(line + b"\n"), (name, number)


def test_a_line_of_thirty_thousand_delimiters_is_malformed_and_stops_no_night(spark: Any, tmp_path: Path) -> None:
    """F61. Spark's reader of CSV has an end at 20,480 columns, where it throws."""
    source, landing = a_shop(), tmp_path / "landing"
    landing.mkdir()
    name = f"sheet-{DAY}.csv"
    lines = [b"id,user,item,at,note", f"1,u1,i1,{WHEN},tea".encode(), b"2" + b"," * 30_000, b"," * MAX_LINE_BYTES]
    (landing / name).write_bytes(b"\n".join([*lines, f"3,u1,i1,{WHEN},tea".encode()]))
    rows = cleaned(spark, source, tmp_path / "bronze", inspected(landing, source, tmp_path / "bronze", name)).collect()
    assert {r.line_number: r.rule for r in rows} == {2: None, 3: "malformed", 4: "malformed", 5: None}


def test_no_id_is_clean_that_unicode_writes_in_two_ways(spark: Any, tmp_path: Path) -> None:
    """F57. Every character that NFC writes otherwise, and the parts of which it makes Korean syllables."""
    source, landing = a_shop(), tmp_path / "landing"
    landing.mkdir()
    others = [chr(n) for n in range(0x110000) if unicodedata.normalize("NFC", chr(n)) != chr(n)]
    parts = ["\u1112" + chr(n) for n in range(0x1161, 0x1176)] + ["\ud558" + chr(n) for n in range(0x11A8, 0x11C3)]
    assert (len(others), len(parts)) > (1000, 47)
    ids = [f"c{text}" for text in others + parts] + ["Amélie", "\ud55c", "Ωμέγα", "山田", "שלום", "ผู้"[:1], "\u0915"]
    name = f"events-{DAY}.jsonl"
    (landing / name).write_bytes(b"\n".join(written(event_id=f"e{n}", customer=text) for n, text in enumerate(ids)))
    rows = cleaned(spark, source, tmp_path / "bronze", inspected(landing, source, tmp_path / "bronze", name)).collect()
    clean = {ids[row.line_number - 1] for row in rows if row.fate == "clean"}
    assert sorted(text for text in clean if unicodedata.normalize("NFC", text) != text) == []
    assert clean == set(ids[-7:]), "what is written in one way only is an id like any other"


def test_a_header_in_another_order_shifts_no_column_and_one_that_lies_is_refused(spark: Any, tmp_path: Path) -> None:
    """F61. Two orders in one night: each file is read by its own header."""
    source, landing = a_shop(), tmp_path / "landing"
    landing.mkdir()
    contents = {
        f"sheet-{DAY}.csv": b"id,user,item,at,note\n1,u1,i1,2026-02-10 10:00:00,tea\n",
        f"sheet-{DAY}b.csv": b"note,colour,at,item,user,id\ntea,red,2026-02-10 10:00:00,i2,u2,2\n",
        f"sheet-{DAY}c.csv": b"at,item,user,id\n2026-02-10 10:00:00,i3,u3,3\n",
        f"sheet-{DAY}d.csv": b"id,user,item,at,user\n4,u1,i1,2026-02-10 10:00:00,u2\n",
        f"sheet-{DAY}e.csv": b"id,user,item,at,ID\n4,u1,i1,2026-02-10 10:00:00,u2\n",
        f"sheet-{DAY}f.csv": b"id;user;item;at;note\n4;u1;i1;2026-02-10 10:00:00;tea\n",
        f"sheet-{DAY}g.csv": b"id,item,at,note\n4,i1,2026-02-10 10:00:00,tea\n",
    }
    for name, content in contents.items():
        (landing / name).write_bytes(content)
    listing = landing_inspection.list_landing(landing, source, DAY)
    log_format = source.files["sheet"].format
    files = [landing_inspection.inspect(one, tmp_path / "bronze", log_format, {}) for one in listing.due]
    told = {f.name[-5]: (f.status, (f.reason or "").split(";")[0]) for f in files}
    assert told == {
        "0": ("accepted", ""),
        "b": ("accepted", ""),
        "c": ("accepted", ""),
        "d": ("refused", "header: more than once (in whatever case) user"),
        "e": ("refused", "header: more than once (in whatever case) ID, id"),
        "f": ("refused", "header: missing id, user, item, at"),
        "g": ("refused", "header: missing user"),
    }
    lines = cleaned(spark, source, tmp_path / "bronze", [f for f in files if f.status == "accepted"])
    found = sorted((r.event_id, r.user_id, r.item_id, r.title, r.fate) for r in lines.collect())
    assert found == [
        ("1", "u1", "i1", "tea", "clean"),
        ("2", "u2", "i2", "tea", "clean"),
        ("3", "u3", "i3", None, "clean"),
    ]


def test_the_same_event_again_points_to_the_line_that_is_kept_and_another_content_is_a_conflict(
    spark: Any, tmp_path: Path
) -> None:
    """F62 and F63: in one file, across files of a day, and across days, whatever the order of the files."""
    source, landing = a_shop(), tmp_path / "landing"
    landing.mkdir()
    earlier, later = f"events-{DAY - timedelta(days=1)}.jsonl", f"events-{DAY}.jsonl"
    twin = f"events-{DAY - timedelta(days=1)}b.jsonl"
    at = "2026-02-09T08:00:00+01:00"
    again, other, zulu = written(ts=at), written(ts=at, qty=3), written(ts="2026-02-09T07:00:00Z")
    broken = written(ts=at, customer=None)
    contents = {
        earlier: [broken, again, again, other, zulu],
        twin: [again, written(event_id="t", ts=at)],
        later: [again, other, written(event_id="t", ts=at, title="cup")],
    }
    for name, lines in contents.items():
        (landing / name).write_bytes(b"\n".join(lines) + b"\n")
    files = inspected(landing, source, tmp_path / "bronze", *contents)
    names = {f.sha256: f.name for f in files}
    first = min((f for f in files if f.name != later), key=lambda f: f.sha256).name
    kept = (first, contents[first].index(again) + 1)
    expected = {}
    for name, lines in contents.items():
        for number, line in enumerate(lines, 1):
            fate = "id_conflict" if line == other else "no_user" if line == broken else "duplicate"
            expected[name, number] = (fate, None if fate == "no_user" else kept)
    expected[kept] = ("clean", None)
    expected[twin, 2] = ("clean", None)
    expected[later, 3] = ("id_conflict", (twin, 2))
    for order in (files, files[::-1]):
        found = {}
        for row in cleaned(spark, source, tmp_path / "bronze", order).collect():
            place = row.kept and (names[row.kept.file_sha256], row.kept.line_number)
            found[names[row.file_sha256], row.line_number] = (row.rule or row.fate, place)
        assert found == expected
