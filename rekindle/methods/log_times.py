"""How written times can be read: by which patterns, what share of them, and what a count would be in each epoch unit.

Pure functions on samples of text. A pattern is Spark's; whatever Python knows of the calendar decides what it reads.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta

PLAUSIBLE_FROM, PLAUSIBLE_TO = datetime(1990, 1, 1, tzinfo=UTC), datetime(2100, 1, 1, tzinfo=UTC)
PER_SECOND = {"seconds": 1, "milliseconds": 1_000, "microseconds": 1_000_000}
MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
# A column with fewer readable values is text that looks like a time here and there.
MOSTLY = 0.9

_DATES = (
    ("ymd", r"(?P<y>\d{4})(?P<s>[-/.])(?P<m>\d{1,2})(?P=s)(?P<d>\d{1,2})"),
    ("ymd", r"(?P<y>(?:19|20)\d\d)(?P<s>)(?P<m>\d\d)(?P<d>\d\d)"),
    ("dmy", r"(?P<d>\d{1,2})(?P<s>[-/.])(?P<m>\d{1,2})(?P=s)(?P<y>\d{4}|\d{2})"),
    ("mdy", r"(?P<m>\d{1,2})(?P<s>[-/.])(?P<d>\d{1,2})(?P=s)(?P<y>\d{4}|\d{2})"),
    ("dmy", r"(?P<d>\d{1,2})(?P<s>[-/ ])(?P<m>[A-Za-z]{3})(?P=s)(?P<y>\d{4}|\d{2})"),
)
_CLOCK = r"(?P<h>\d{1,2}):(?P<min>\d\d)(?::(?P<sec>\d\d)(?P<f>[.,]\d{1,9})?)?(?P<half> ?[AaPp][Mm])?"
_COMPACT = r"(?P<h>\d\d)(?P<min>\d\d)(?P<sec>\d\d)(?P<f>\.\d{1,9})?(?P<half>)"
_OFFSET = r"(?P<o> ?Z| ?[+-]\d\d:\d\d| ?[+-]\d{4}| (?:UTC|GMT))?"
_WRITTEN = [
    *((order, re.compile(rf"{day}(?:(?P<between>[T :_]){_CLOCK}{_OFFSET})?")) for order, day in _DATES),
    ("ymd", re.compile(rf"{_DATES[1][1]}(?P<between>[T_ ]?){_COMPACT}{_OFFSET}")),
]
CLOCK = re.compile(_CLOCK)


@dataclass(frozen=True)
class Reading:
    """One pattern and what it makes of a sample.

    `order` is of day, month and year: dmy, mdy or ymd. `share` is of the values that are not blank, 0 to 1. `first` and
    `last` are as written, in UTC where the text tells an offset. `zone` is UTC where the text says so in a word.
    """

    pattern: str
    order: str
    values: frozenset[int]
    share: float
    first: datetime
    last: datetime
    has_offset: bool
    has_clock: bool
    zone: str | None


@dataclass(frozen=True)
class Unit:
    """A column of counts read as an epoch in one unit. `first` and `last` are null beyond the calendar."""

    name: str
    share_plausible: float
    first: datetime | None
    last: datetime | None


@dataclass(frozen=True)
class Choice:
    """Patterns to be tried in turn. `rivals` read as much with day and month the other way round: the user must say."""

    patterns: tuple[str, ...]
    share: float
    first: datetime
    last: datetime
    has_offset: bool
    has_clock: bool
    zone: str | None
    rivals: tuple[Reading, ...] = ()


@dataclass(frozen=True)
class _Form:
    """A value's spelling, all that stands in a pattern apart from widths and fractions."""

    order: str
    separator: str
    month: str
    year: str
    between: str
    clock: str
    half: str
    mark: str
    offset: str


@dataclass(frozen=True)
class _Value:
    at: int
    when: datetime
    short_day: bool
    short_hour: bool
    digits: int


def readings(values: Sequence[str]) -> list[Reading]:
    """Every pattern that reads some of the values, the one that reads most first; none of blank values."""
    found: dict[_Form, list[_Value]] = defaultdict(list)
    for at, value in enumerate(values):
        for form, one in _read(at, value.strip()):
            found[form].append(one)
    counted = max(1, sum(1 for v in values if v.strip()))
    made = [_reading(form, ones, counted) for form, ones in found.items()]
    return sorted(made, key=lambda r: (-r.share, r.pattern))


def choose(found: Sequence[Reading], landed: date | None = None) -> Choice | None:
    """The patterns that together read most, or None if that is less than nine in ten.

    Only patterns with day, month and year in one order go together. Where the other order reads as much, the day on
    which the file landed decides if it can: nothing happens after it.
    """
    ways = [_together([r for r in found if (r.order, r.has_offset, r.zone) == way]) for way in _ways(found)]
    best = max((w.share for w in ways), default=0.0)
    if best < MOSTLY:
        return None
    able = [w for w in ways if w.share >= best]
    if len(able) > 1 and landed is not None:
        # A day's grace: an offset or the shop's zone may carry the last event over midnight.
        in_time = [w for w in able if w.last.date() <= landed + timedelta(days=1)]
        latest = max((w.last.date() for w in in_time), default=date.min)
        nearest = [w for w in in_time if w.last.date() == latest]
        able = nearest if nearest and landed - latest <= timedelta(days=31) else able
    first, *others = able
    rivals = tuple(r for w in others for r in found if r.pattern == w.patterns[0])
    return replace(first, rivals=rivals)


def epoch_units(values: Iterable[str]) -> list[Unit]:
    """What counts would be in each unit; none if one in ten values or more is no count."""
    told = [v.strip() for v in values if v.strip()]
    counts = [float(v) for v in told if re.fullmatch(r"-?\d{1,19}(\.\d+)?", v)]
    if not counts or len(counts) < MOSTLY * len(told):
        return []
    units = []
    for name, per_second in PER_SECOND.items():
        low, high = (t.timestamp() * per_second for t in (PLAUSIBLE_FROM, PLAUSIBLE_TO))
        share = sum(low <= c < high for c in counts) / len(counts)
        units.append(Unit(name, share, _instant(min(counts) / per_second), _instant(max(counts) / per_second)))
    return units


def epoch_unit(units: Sequence[Unit]) -> Unit | None:
    """The unit in which at least nine of ten counts fall between 1990 and 2100, if there is exactly one."""
    able = [u for u in units if u.share_plausible >= MOSTLY]
    return able[0] if len(able) == 1 else None


def is_clock(values: Sequence[str]) -> bool:
    """Whether the values are times of day without a date."""
    told = [v.strip() for v in values if v.strip()]
    return bool(told) and sum(CLOCK.fullmatch(v) is not None for v in told) >= MOSTLY * len(told)


def _ways(found: Sequence[Reading]) -> list[tuple[str, bool, str | None]]:
    return list(dict.fromkeys((r.order, r.has_offset, r.zone) for r in found))


def _together(found: Sequence[Reading]) -> Choice:
    """The best pattern and those of its company that read at least one in two hundred of what the ones before leave."""
    kept: list[Reading] = []
    read: set[int] = set()
    for reading in found:
        new = len(reading.values - read)
        if not kept or new > 0.005 * len(found[0].values):
            kept.append(reading)
            read |= reading.values
    first = kept[0]
    return Choice(
        patterns=tuple(r.pattern for r in kept),
        share=len(read) * first.share / len(first.values),
        first=min(r.first for r in kept),
        last=max(r.last for r in kept),
        has_offset=first.has_offset,
        has_clock=any(r.has_clock for r in kept),
        zone=first.zone,
    )


def _instant(seconds: float) -> datetime | None:
    try:
        return datetime.fromtimestamp(seconds, UTC)
    except (ValueError, OverflowError, OSError):
        return None


def _read(at: int, value: str) -> Iterator[tuple[_Form, _Value]]:
    for order, written in _WRITTEN:
        found = written.fullmatch(value)
        if found:
            one = _one(at, order, found)
            if one:
                yield one


def _one(at: int, order: str, found: re.Match[str]) -> tuple[_Form, _Value] | None:
    part = found.groupdict()
    named = _month(part["m"])
    fraction = part["f"] or ""
    hour = int(part["h"] or 0)
    half = (part["half"] or "").strip().lower()
    if half:
        hour = hour % 12 + 12 * (half == "pm")
    try:
        when = datetime(  # noqa: DTZ001 (as written)
            int(part["y"]) + (2000 if len(part["y"]) == 2 else 0),
            named,
            int(part["d"]),
            hour,
            int(part["min"] or 0),
            int(part["sec"] or 0),
            int(fraction[1:7].ljust(6, "0")) if fraction else 0,
        )
    except ValueError:
        return None
    offset = part["o"] or ""
    told = offset.strip()
    if re.match(r"[+-]", told):
        away = timedelta(hours=int(told[1:3]), minutes=int(told[-2:]))
        when += away if told.startswith("-") else -away
    compact = part["h"] is not None and ":" not in found[0][found.start("h") : found.end("min") + 1]
    clock = "" if part["h"] is None else "HHmmss" if compact else "HH:mm" if part["sec"] is None else "HH:mm:ss"
    kind = told if told in ("UTC", "GMT") else "" if not told else "XX" if re.fullmatch(r".\d{4}", told) else "XXX"
    form = _Form(
        order=order,
        separator=part["s"],
        month="MMM" if part["m"].isalpha() else "MM",
        year="y" * len(part["y"]),
        between=part["between"] or "",
        clock=clock,
        half=" a" if half and (part["half"] or "").startswith(" ") else "a" if half else "",
        mark=fraction[:1] or ".",
        offset=(" " if offset.startswith(" ") else "") + kind,
    )
    return form, _Value(
        at, when, len(part["d"]) < 2 or len(part["m"]) < 2, bool(clock) and len(part["h"]) < 2, len(fraction[1:])
    )


def _month(told: str) -> int:
    """Its number; 0, which is no month, where the word is none's."""
    if not told.isalpha():
        return int(told)
    return MONTHS.index(told.lower()) + 1 if told.lower() in MONTHS else 0


def _reading(form: _Form, ones: Sequence[_Value], counted: int) -> Reading:
    short, short_hour = any(o.short_day for o in ones), any(o.short_hour for o in ones)
    day, month = "d" if short else "dd", "M" if short and form.month == "MM" else form.month
    parts = {"ymd": (form.year, month, day), "dmy": (day, month, form.year), "mdy": (month, day, form.year)}
    pattern = form.separator.join(parts[form.order])
    if form.clock:
        clock = form.clock.replace("HH", "hh") if form.half else form.clock
        digits = max(o.digits for o in ones)
        fraction = form.mark + "S" * digits if digits else ""
        if digits and any(o.digits == 0 for o in ones):
            fraction = f"[{fraction}]"
        clock = clock[1:] if short_hour else clock
        pattern += ("'T'" if form.between == "T" else form.between) + clock + fraction + form.half
        blank, kind = " " * form.offset.startswith(" "), form.offset.strip()
        pattern += blank + (f"'{kind}'" if kind in ("UTC", "GMT") else kind)
    whens = [o.when for o in ones]
    return Reading(
        pattern=pattern,
        order=form.order,
        values=frozenset(o.at for o in ones),
        share=len(ones) / counted,
        first=min(whens),
        last=max(whens),
        has_offset=form.offset.strip() in ("XX", "XXX"),
        has_clock=bool(form.clock),
        zone="UTC" if form.offset.strip() in ("UTC", "GMT") else None,
    )
