"""The names a landed file gives its fields: its header's, or the keys of its objects."""

from __future__ import annotations

import csv
import json
from typing import TYPE_CHECKING

from rekindle.landing_streams import BYTE_ORDER_MARK, MAX_LINE_BYTES, decoded

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rekindle.sources import LogFormat

MAX_SAMPLES = 1000
# A hostile line can hold thousands of keys; an object of a log has dozens, of a few letters each.
MAX_KEYS = 200
MAX_KEY_LENGTH = 100


def header_names(line: bytes, log_format: LogFormat) -> tuple[str, ...]:
    """The names in a CSV file's first line (without its end), in their order; none if it is not CSV at all."""
    found = decoded(line.removeprefix(BYTE_ORDER_MARK), log_format.encoding)
    if found is None:
        return ()
    text = found[0].removesuffix("\r")
    if len(log_format.delimiter) > 1:  # Python's reader knows delimiters of one character
        quote = log_format.quote or ""
        return tuple(part.strip(quote) if quote else part for part in text.split(log_format.delimiter))
    try:
        if log_format.quote is None:
            return tuple(text.split(log_format.delimiter))
        return tuple(next(csv.reader([text], delimiter=log_format.delimiter, quotechar=log_format.quote), []))
    except csv.Error:
        return ()


def header_fault(names: Sequence[str], log_format: LogFormat) -> str | None:
    """Why a file with these names cannot be read by name, or null if it can; their order does not matter."""
    lower = [name.lower() for name in names]
    missing = [f for f in log_format.fields if f not in names]
    doubled = sorted({name for name in names if name and lower.count(name.lower()) > 1})
    told = [f"missing {', '.join(missing)}"] if missing else []
    told += [f"more than once (in whatever case) {', '.join(doubled)}"] if doubled else []
    return f"{'; '.join(told)}; found {', '.join(names) or 'no names'}" if told else None


class KeySample:
    """The top-level keys of at most 1,000 lines, spread over a stream that comes in pieces: same bytes, same keys.

    The first line that starts in each stretch of `stretch` bytes is looked at; when there are too many, stretches are
    joined two by two. So memory and time stay small, and the last line of a file weighs as much as the first.
    """

    def __init__(self, encodings: Sequence[str]) -> None:
        self._encodings = encodings
        self._stretch = 1
        self._kept: dict[int, frozenset[str]] = {}  # by where the line starts
        self._passed = 0  # bytes of earlier pieces
        self._wanted = 0  # no line that starts earlier is looked at

    def add(self, piece: bytes, is_last: bool = False) -> None:
        """Look at the lines that lie whole in the piece; of the last piece also at one without an end."""
        base = self._passed
        self._passed += len(piece)
        at = 0 if not base else piece.find(b"\n") + 1
        while at or not base:
            if base + at < self._wanted:
                at = piece.find(b"\n", self._wanted - base - 1) + 1
                if not at:
                    return
            end = piece.find(b"\n", at)
            if end < 0 and not (is_last and at < len(piece)):
                return
            self._look(base + at, piece[at : end if end >= 0 else None])
            if end < 0:
                return
            at = end + 1

    def names(self) -> tuple[str, ...]:
        """The keys found, sorted; what no table can store of them is escaped."""
        found = {key for keys in self._kept.values() for key in keys}
        return tuple(sorted(k.encode("utf-8", "backslashreplace").decode().replace("\0", "\\x00") for k in found))

    def _look(self, start: int, line: bytes) -> None:
        self._wanted = (start // self._stretch + 1) * self._stretch
        self._kept[start] = self._keys(line.removeprefix(BYTE_ORDER_MARK) if start == 0 else line)
        while len(self._kept) >= MAX_SAMPLES:
            self._stretch *= 2
            first_of: dict[int, int] = {}
            for place in self._kept:
                first_of.setdefault(place // self._stretch, place)
            self._kept = {place: self._kept[place] for place in first_of.values()}
            self._wanted = (start // self._stretch + 1) * self._stretch

    def _keys(self, line: bytes) -> frozenset[str]:
        found = decoded(line, self._encodings) if len(line) <= MAX_LINE_BYTES else None
        try:
            told = json.loads(found[0]) if found else None
        except (ValueError, RecursionError):
            return frozenset()
        if not isinstance(told, dict) or len(told) > MAX_KEYS or any(len(key) > MAX_KEY_LENGTH for key in told):
            return frozenset()
        return frozenset(told)
