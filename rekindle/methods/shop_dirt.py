"""From a day's events to the lines that land: late lines, and dirt of many named kinds.

Each kind damages real lines, as collectors, proxies and old app versions do: what is lost to dirt is lost to the log.
Lines resent from the day before are never damaged, so each dirty line has exactly one kind and one expected fate.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

Record = dict[str, Any]
ITEM_EVENTS = ("pageview", "wishlist", "add_to_cart", "order")

FATES: dict[str, str] = {
    "cut_json": "quarantined",
    "not_json": "quarantined",
    "two_objects": "quarantined",
    "invalid_utf8": "quarantined",
    "blank_user": "quarantined",
    "null_word_user": "quarantined",
    "missing_item": "quarantined",
    "null_word_item": "quarantined",
    "unknown_type": "quarantined",
    "unreadable_time": "quarantined",
    "future_time": "quarantined",
    "negative_price": "quarantined",
    "zero_price": "quarantined",
    "zero_quantity": "quarantined",
    "odd_case_type": "repaired",
    "duplicate_same_day": "duplicate",
    "duplicate_next_day": "duplicate",
}
"""Every kind of dirt and what should become of its lines: `quarantined`, `repaired` (clean after mending) or
`duplicate` (the later of two lines with one event id; its twin is clean)."""

LEGAL = ("late_line", "extra_field")
"""Counted like dirt but none: an event of the day before that lands today, and a field nobody announced."""

_NULL_WORDS = ("null", "undefined")
_NOT_JSON = (
    b"<html><head><title>502 Bad Gateway</title></head></html>",
    b"collector: connection reset by peer, retrying",
    b"event_id,ts,type,customer",
)
_UNREADABLE_TIMES = ("yesterday", "0000-00-00T00:00:00", "2026-13-45T25:61:00+01:00", "-", "NaN")
_UNKNOWN_TYPES = ("heartbeat", "banner_shown", "scroll", "page_leave")


@dataclass
class LandedDay:
    """The lines of one landing file (without line ends), and where what kind of dirt lies.

    `kinds` maps each kind, and each of LEGAL, to the 1-based numbers of its lines; a kind without lines is absent.
    `carried_late` and `carried_twice` are good lines that land on the following day.
    """

    lines: list[bytes] = field(default_factory=list)
    kinds: dict[str, list[int]] = field(default_factory=dict)
    carried_late: list[bytes] = field(default_factory=list)
    carried_twice: list[bytes] = field(default_factory=list)


def as_line(record: Record) -> bytes:
    """One record as the shop writes it: compact JSON, UTF-8, no line end."""
    return json.dumps(record, ensure_ascii=False, separators=(",", ":")).encode()


def _one_of(rng: np.random.Generator, choices: tuple[Any, ...]) -> Any:
    return choices[int(rng.integers(len(choices)))]


def _set(key: str, value: Callable[[np.random.Generator, Record], Any]) -> Callable[..., bytes]:
    return lambda rng, record: as_line(record | {key: value(rng, record)})


def _cut(rng: np.random.Generator, record: Record) -> bytes:
    # Of what was logged before there were channels: a longer line would move the cuts of all that follow.
    line = as_line({key: value for key, value in record.items() if key != "channel"})
    return line[: int(rng.integers(2, len(line) - 1))]


def _break_utf8(rng: np.random.Generator, record: Record) -> bytes:
    # A title in Latin-1 with a stray byte: 0xFF never occurs in UTF-8.
    return as_line(record | {"title": "@@"}).replace(b"@@", b"Caf\xe9 \xff" + bytes([128 + int(rng.integers(64))]))


def _without_item(rng: np.random.Generator, record: Record) -> bytes:
    return as_line({key: value for key, value in record.items() if key != "sku"})


def _odd_case(rng: np.random.Generator, record: Record) -> str:
    name = str(record["type"])
    return str(_one_of(rng, (name.upper(), name.title(), f" {name.capitalize()} ")))


def _far_future(rng: np.random.Generator, record: Record) -> str:
    # Years ahead, so that it is the future whenever it is cleaned; the calendar date stays legal.
    ts = str(record["ts"])
    return f"{int(ts[:4]) + int(rng.integers(5, 60))}-{ts[5:7]}-{min(int(ts[8:10]), 28):02d}{ts[10:]}"


_DAMAGE: dict[str, Callable[[np.random.Generator, Record], bytes]] = {
    "cut_json": _cut,
    "not_json": lambda rng, record: bytes(_one_of(rng, _NOT_JSON)),
    "invalid_utf8": _break_utf8,
    "blank_user": _set("customer", lambda rng, record: _one_of(rng, ("", " ", "\t"))),
    "null_word_user": _set("customer", lambda rng, record: _one_of(rng, _NULL_WORDS)),
    "missing_item": _without_item,
    "null_word_item": _set("sku", lambda rng, record: _one_of(rng, _NULL_WORDS)),
    "unknown_type": _set("type", lambda rng, record: _one_of(rng, _UNKNOWN_TYPES)),
    "unreadable_time": _set("ts", lambda rng, record: _one_of(rng, _UNREADABLE_TIMES)),
    "future_time": _set("ts", _far_future),
    "negative_price": _set("price", lambda rng, record: -record["price"]),
    "zero_price": _set("price", lambda rng, record: 0),
    "zero_quantity": _set("qty", lambda rng, record: 0),
    "odd_case_type": _set("type", _odd_case),
    "extra_field": lambda rng, record: as_line(record | {"app_version": f"4.{int(rng.integers(9))}.1"}),
}
_ONLY: dict[str, tuple[str, ...]] = {
    # Where a field is not wanted, its absence is no fault.
    "invalid_utf8": ITEM_EVENTS,
    "missing_item": ITEM_EVENTS,
    "null_word_item": ITEM_EVENTS,
    "negative_price": ("order",),
    "zero_price": ("order",),
    "zero_quantity": ("order",),
}


def land_lines(
    rng: np.random.Generator,
    records: list[Record],
    before: LandedDay,
    dirt_share: float,
    late_share: float,
    extra_field_share: float,
) -> LandedDay:
    """The file of a day: what the day `before` carried over, then today's lines in order of time, some of them dirty.

    The expected share of dirty lines is `dirt_share`, the same for each kind; `late_share` of the lines land tomorrow.
    """
    day = LandedDay()
    places = rng.permutation(len(records)).tolist()
    of_line: dict[int, str] = {}
    each = dirt_share * len(records) / len(FATES)
    wanted = {kind: int(rng.poisson(each)) for kind in FATES}
    wanted["two_objects"] *= 2  # two events make one such line
    wanted["late_line"] = int(rng.poisson(late_share * len(records)))
    wanted["extra_field"] = int(rng.poisson(extra_field_share * len(records)))
    # Kinds that only fit some events choose first.
    for name in sorted(wanted, key=lambda kind: kind not in _ONLY):
        fitting = _ONLY.get(name)
        for place in places:
            if wanted[name] == 0:
                break
            if place not in of_line and (fitting is None or records[place]["type"] in fitting):
                of_line[place] = name
                wanted[name] -= 1

    def put(line: bytes, kind: str | None) -> None:
        day.lines.append(line)
        if kind is not None:
            day.kinds.setdefault(kind, []).append(len(day.lines))

    for line in before.carried_late:
        put(line, "late_line")
    for line in before.carried_twice:
        put(line, "duplicate_next_day")
    resend: dict[int, list[bytes]] = {}
    glued: bytes | None = None
    for place, record in enumerate(records):
        kind = of_line.get(place)
        for line in resend.pop(place, []):
            put(line, "duplicate_same_day")
        if kind == "late_line":
            day.carried_late.append(as_line(record))
        elif kind == "two_objects":
            # The second of each pair lost its line end too; an unpaired one at the day's end is cut instead.
            if glued is None:
                glued = as_line(record)
            else:
                put(glued + as_line(record), kind)
                glued = None
        elif kind in _DAMAGE:
            put(_DAMAGE[kind](rng, record), kind)
        else:
            line = as_line(record)
            put(line, None)
            if kind == "duplicate_next_day":
                day.carried_twice.append(line)
            elif kind == "duplicate_same_day":
                resend.setdefault(place + int(rng.integers(1, 40)), []).append(line)
    for line in (line for place in sorted(resend) for line in resend[place]):
        put(line, "duplicate_same_day")
    if glued is not None:
        put(glued[: len(glued) // 2], "cut_json")
    return day
