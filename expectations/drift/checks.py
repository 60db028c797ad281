"""The checks of drift: what a landing day may look like beside the days before it.

Each gives one number of the day, and bounds. A day with too little behind it, or too few lines for a share to mean
anything, is not judged: it gives the check's neutral number and says why. `make backtest-expectations` says what each
would have refused of a source's past; `severities` in the source's YAML arms and disarms.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from math import inf, log
from statistics import median

from expectations.drift.days import Days
from rekindle.gate import Severity
from rekindle.settings import SettingsError

SAME_WEEKDAYS = 4  # as many of them, or as many weeks, tell what is usual; with fewer nothing is judged
DAYS = 7  # the least history of a share: a whole week, since weekends differ
LINES = 20  # below this a share or a median is chance
# The rules that a value breaks when its field changed its type or its unit, and the column that it was for. A time in
# milliseconds that was in seconds is in the future; one in seconds that was in milliseconds is of 1970.
TYPE_RULES = {
    "unreadable_time": "event_ts",
    "future": "event_ts",
    "out_of_window": "event_ts",
    "bad_quantity": "quantity",
    "bad_price": "unit_price",
    "bad_stars": "stars",
}
MAY_BE_EMPTY = ("title", "category", "brand", "order_id", "unit_price", "text", "session_id", "channel")

# The day's number and whom it is about, or why the day is not judged.
Read = Callable[[Days, date], "tuple[float, str] | str"]


@dataclass(frozen=True)
class Reading:
    """One check's number on one day; `note` says what stands behind it. Not judged: the number is the neutral one."""

    value: float
    note: str
    judged: bool = True


@dataclass(frozen=True)
class Check:
    """One declared check: what its number is, its bounds (null: none) and why they are there."""

    check_id: str
    what: str
    reason: str
    read: Read
    severity: Severity
    neutral: float
    minimum: float | None = None
    maximum: float | None = None

    def reading(self, days: Days, day: date) -> Reading:
        """The check's number on that day."""
        found = self.read(days, day)
        return Reading(self.neutral, f"not judged: {found}", False) if isinstance(found, str) else Reading(*found)

    def holds(self, reading: Reading) -> bool:
        """Whether the number lies within the bounds, both included."""
        low = -inf if self.minimum is None else self.minimum
        high = inf if self.maximum is None else self.maximum
        return low <= reading.value <= high


def volume(days: Days, day: date) -> tuple[float, str] | str:
    """Usable lines over the median of the same weekdays, of the kind of files for which this is furthest from 1."""
    weeks = days.same_weekdays(day)
    expected = [set(days.named(d, "landed_lines")) for d in weeks[:SAME_WEEKDAYS]]
    steady = set.intersection(*expected) if len(expected) == SAME_WEEKDAYS else set()
    found: list[tuple[float, str, float]] = []
    most = 0
    for kind in sorted(steady | set(days.named(day, "landed_lines"))):
        before = [lines for d in weeks if (lines := days.value(d, "clean_lines", kind)) > 0]
        most = max(most, len(before))
        now = days.value(day, "clean_lines", kind)
        if len(before) >= SAME_WEEKDAYS and max(now, median(before)) >= LINES:
            ratio = now / median(before)
            found.append((abs(log(ratio)) if ratio else inf, kind, ratio))
    if not found:
        return f"{most} earlier same weekdays with lines, {SAME_WEEKDAYS} of at least {LINES} lines are needed"
    _, kind, ratio = max(found, key=lambda f: f[0])
    now = days.value(day, "clean_lines", kind)
    return ratio, f"{kind}: {now:,.0f} usable lines, usual {now / ratio:,.0f}" if ratio else f"{kind}: no usable line"


def unknown_share(days: Days, day: date) -> tuple[float, str] | str:
    """Lines whose action the mapping does not know, over those lines and the clean events."""
    unknown = days.value(day, "rule_lines", "unknown_action")
    lines = unknown + days.total(day, "event_lines")
    if not lines:
        return "no event landed"
    return unknown / lines, f"{unknown:,.0f} of {lines:,.0f}; see mapping.event_types"


def event_type_vanished(days: Days, day: date) -> tuple[float, str] | str:
    """How many event types that had lines on each of the last same weekdays have none."""
    weeks = days.same_weekdays(day)[:SAME_WEEKDAYS]
    if len(weeks) < SAME_WEEKDAYS:
        return f"{len(weeks)} earlier same weekdays, {SAME_WEEKDAYS} are needed"
    gone = [
        kind
        for kind in sorted(days.named(weeks[0], "event_lines"))
        if all(days.value(d, "event_lines", kind) >= LINES for d in weeks) and not days.value(day, "event_lines", kind)
    ]
    return float(len(gone)), ", ".join(gone)


def type_changed(days: Days, day: date) -> tuple[float, str] | str:
    """The greatest rise of a column's share of values that cannot be read as what they are, over its usual share."""
    before = days.before(day)
    if len(before) < DAYS:
        return _short(before)
    rises = []
    for column in sorted(set(TYPE_RULES.values())):
        now = _unreadable(days, day, column)
        usual = [s for d in before if (s := _unreadable(days, d, column)) is not None]
        if now is not None and usual:
            rises.append(
                (now - median(usual), f"{column}: {_percent(now)} unreadable, usual {_percent(median(usual))}")
            )
    nested = [_rule_share(days, d, "nested_value") for d in (day, *before)]
    rises.append(
        (nested[0] - median(nested[1:]), f"{_percent(nested[0])} of lines hold an object or a list as a value")
    )
    return max(rises, key=lambda r: r[0])


def quarantine_rise(days: Days, day: date) -> tuple[float, str] | str:
    """The greatest rise of a rule's share of the landed lines, over its highest of the days before."""
    before = days.before(day)
    if len(before) < DAYS:
        return _short(before)
    if days.total(day, "landed_lines") < LINES:
        return f"{days.total(day, 'landed_lines'):,.0f} lines landed"
    rises = [(0.0, "no rule above its highest")]
    for rule in sorted(days.named(day, "rule_lines")):
        now, highest = _rule_share(days, day, rule), max(_rule_share(days, d, rule) for d in before)
        rises.append((now - highest, f"{rule}: {_percent(now)} of lines, at most {_percent(highest)} before"))
    return max(rises, key=lambda r: r[0])


def column_new(days: Days, day: date) -> tuple[float, str] | str:
    """How many of the shop's own columns no earlier day had."""
    return _columns(days, day, lambda now, earlier: now > 0 and not any(earlier))


def column_missing(days: Days, day: date) -> tuple[float, str] | str:
    """How many of the shop's own columns that every file of every earlier day had some file lacks."""
    return _columns(days, day, lambda now, earlier: now < 1 and min(earlier) >= 1)


def _columns(days: Days, day: date, counts: Callable[[float, list[float]], bool]) -> tuple[float, str] | str:
    """Columns for which `counts(share of files now, shares of the earlier days)` holds; null history is not judged."""
    found, short = [], 0
    for kind in sorted({name.split(".", 1)[0] for name in days.named(day, "column_share")}):
        told = [d for d in days.before(day) if _of_kind(days, d, kind)]
        if len(told) < DAYS:
            short += 1
            continue
        for name in sorted(set(_of_kind(days, day, kind)).union(*(_of_kind(days, d, kind) for d in told))):
            if counts(days.value(day, "column_share", name), [days.value(d, "column_share", name) for d in told]):
                found.append(name)
    if found or (days.named(day, "column_share") and not short):
        return float(len(found)), ", ".join(found[:10]) + (f" and {len(found) - 10} more" if len(found) > 10 else "")
    return _short(days.before(day)) if short else "the files name no columns"


def column_empty(column: str) -> Read:
    """A reader of the share of null of one column, where usually most have a value."""

    def read(days: Days, day: date) -> tuple[float, str] | str:
        now, usual = _null_share(days, day, column), _usual_null(days, day, column)
        if now is None or usual is None:
            return f"too few lines of {column}, now or on {DAYS} earlier days"
        if usual > 0.5:
            return f"{column} is usually null on {_percent(usual)}"
        return now, f"null on {_percent(now)} of {days.value(day, 'due_lines', column):,.0f}, usual {_percent(usual)}"

    return read


def nulls_rise(days: Days, day: date) -> tuple[float, str] | str:
    """The greatest rise of a column's share of null, over its usual share."""
    rises = []
    for column in sorted(days.named(day, "due_lines")):
        now, usual = _null_share(days, day, column), _usual_null(days, day, column)
        if now is not None and usual is not None:
            rises.append((now - usual, f"{column}: null on {_percent(now)}, usual {_percent(usual)}"))
    return max(rises, key=lambda r: r[0]) if rises else _short(days.before(day))


def freshness(days: Days, day: date) -> tuple[float, str] | str:
    """Hours by which the newest event is older than it usually is when the day ends."""
    usual = [h for d in days.before(day) if (h := days.named(d, "newest_age_hours").get("events")) is not None]
    now = days.named(day, "newest_age_hours").get("events")
    if now is None or len(usual) < DAYS:
        return "no event landed" if now is None else _short(usual)
    return now - median(usual), f"newest event {now:,.1f} h before the day's end, usual {median(usual):,.1f} h"


def price_level(days: Days, day: date) -> tuple[float, str] | str:
    """The median price of purchase lines over its usual one."""

    def of(d: date) -> float | None:
        price = days.named(d, "median_price").get("purchase")
        return price if price and days.value(d, "event_lines", "purchase") >= LINES else None

    usual = [p for d in days.before(day) if (p := of(d)) is not None]
    now = of(day)
    if now is None or len(usual) < DAYS:
        return f"fewer than {LINES} purchase lines with a price" if now is None else _short(usual)
    return now / median(usual), f"median price {now:,.2f}, usual {median(usual):,.2f}"


def _short(days: Sequence[object]) -> str:
    return f"{len(days)} earlier days to compare with, {DAYS} are needed"


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"


def _rule_share(days: Days, day: date, rule: str) -> float:
    landed = days.total(day, "landed_lines")
    return days.value(day, "rule_lines", rule) / landed if landed else 0.0


def _unreadable(days: Days, day: date, column: str) -> float | None:
    """Of the column's values, the share that could not be read; null where there are too few."""
    bad = sum(days.value(day, "rule_lines", rule) for rule, of in TYPE_RULES.items() if of == column)
    values = bad + days.value(day, "given_lines", column)
    return bad / values if values >= LINES else None


def _null_share(days: Days, day: date, column: str) -> float | None:
    due = days.value(day, "due_lines", column)
    return 1 - days.value(day, "given_lines", column) / due if due >= LINES else None


def _usual_null(days: Days, day: date, column: str) -> float | None:
    shares = [s for d in days.before(day) if (s := _null_share(days, d, column)) is not None]
    return median(shares) if len(shares) >= DAYS else None


def _of_kind(days: Days, day: date, kind: str) -> list[str]:
    return [name for name in days.named(day, "column_share") if name.startswith(f"{kind}.")]


CHECKS: tuple[Check, ...] = (
    Check(
        "volume",
        "usable lines of a kind of files over the median of the last 28 same weekdays",
        # A usual day lies within half and double, so one told ten times lies above 5, and a tenth of one below 0.2.
        "further off, a file is cut short, told again under new ids, or another shop's",
        volume,
        severity="critical",
        neutral=1.0,
        minimum=0.2,
        maximum=5.0,
    ),
    Check(
        "usual_volume",
        "usable lines of a kind of files over the median of the last 28 same weekdays",
        "seasons and campaigns move a day by half or double",
        volume,
        severity="warning",
        neutral=1.0,
        minimum=0.5,
        maximum=2.0,
    ),
    Check(
        "unknown_share",
        "share of lines whose action the mapping does not know",
        "a new or renamed action shows in a few percent of lines, a collector's noise in far fewer",
        unknown_share,
        severity="critical",
        neutral=0.0,
        maximum=0.01,
    ),
    Check(
        "event_type_vanished",
        "event types that every last same weekday had and this day has not",
        "an action that is renamed or no longer logged looks like users who stopped",
        event_type_vanished,
        severity="warning",
        neutral=0.0,
        maximum=0.0,
    ),
    Check(
        "type_changed",
        "rise of the share of a column's values that cannot be read",
        "a number that became text, or seconds that became milliseconds, takes a part of the day with it",
        type_changed,
        severity="critical",
        neutral=0.0,
        maximum=0.1,
    ),
    Check(
        "quarantine_rise",
        "rise of a rule's share of lines above its highest of the last 28 days",
        "each shop has its usual dirt; a new kind of it is a change at the shop",
        quarantine_rise,
        severity="warning",
        neutral=0.0,
        maximum=0.05,
    ),
    Check(
        "column_new",
        "columns of the shop's files that no earlier day had",
        "nothing reads them, but somebody at the shop changed the log",
        column_new,
        severity="warning",
        neutral=0.0,
        maximum=0.0,
    ),
    Check(
        "column_missing",
        "columns that all files of all earlier days had and some file lacks",
        "an optional field is null without it; a file without a required one is refused before",
        column_missing,
        severity="warning",
        neutral=0.0,
        maximum=0.0,
    ),
    *[
        Check(
            f"{column}_empty",
            f"share of {column} that is null, where usually most have it",
            "a column without a value passes every check on its values",
            column_empty(column),
            severity="critical",
            neutral=0.0,
            maximum=0.99,
        )
        for column in MAY_BE_EMPTY
    ],
    Check(
        "nulls_rise",
        "rise of a column's share of null over its usual share",
        "part of the shop's systems no longer fills a field",
        nulls_rise,
        severity="warning",
        neutral=0.0,
        maximum=0.5,
    ),
    Check(
        "freshness",
        "hours by which the newest event is older than usual at the end of its landing day",
        "an upload that was cut off in the afternoon misses the evening",
        freshness,
        severity="warning",
        neutral=0.0,
        maximum=6.0,
    ),
    Check(
        "price_level",
        "median price of purchase lines over its usual one",
        "another unit, such as cents, is off by tens; assortments and sales are not",
        price_level,
        severity="critical",
        neutral=1.0,
        minimum=0.2,
        maximum=5.0,
    ),
)


def severities(source: str, chosen: Mapping[str, Severity]) -> dict[str, Severity]:
    """Every check's severity: the declared one, or the source's own.

    Raises:
        SettingsError: the source names a check that there is not.
    """
    declared = {c.check_id: c.severity for c in CHECKS}
    for unknown in sorted(set(chosen) - set(declared)):
        near = difflib.get_close_matches(unknown, declared, 1)
        raise SettingsError(
            f"conf/sources/{source}.yaml: severities: unknown check {unknown!r}"
            f"{f', did you mean {near[0]}?' if near else ''} Legal: {', '.join(sorted(declared))}"
        )
    return declared | dict(chosen)


def findings(days: Days, judged: Sequence[date]) -> list[tuple[Check, date, Reading]]:
    """Each check with its number on the newest of the judged days on which it does not hold, else on the newest day.

    Raises:
        ValueError: no day is to be judged.
    """
    found = []
    for check in CHECKS:
        readings = [(day, check.reading(days, day)) for day in sorted(judged, reverse=True)]
        if not readings:
            raise ValueError("no landing day is to be judged; a night judges at least its own")
        day, reading = next((r for r in readings if not check.holds(r[1])), readings[0])
        found.append((check, day, reading))
    return found
