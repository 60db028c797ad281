"""Values as the cells of a CSV file that no spreadsheet takes for a formula (RFC 4180, UTF-8).

A spreadsheet runs a text that begins with = + - @, also behind blanks, quotes, a byte order mark or in full width, and
some take a leading TAB or line break for the start of another cell. Quoting does not help: the quotes are gone once
the cell is read. So a text gets an apostrophe where a formula could begin: at its start, and behind a line break, a
TAB or a semicolon within it, since a spreadsheet set to German cuts the line there.

`as_it_was` takes exactly these apostrophes away again. Numbers, dates and booleans are typed: -3.5 stays -3.5.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable
from datetime import date, datetime
from decimal import Decimal
from typing import Any

# What a formula begins with: ASCII, full width, small forms.
_FORMULA = "=+\\-@＝＋－＠﹦﹢﹣﹫"
# What may stand before it and is passed over: blanks, quotes, control and invisible characters, byte order marks.
_PASSED = "\\s\"'\\x00-\\x1f\\x7f-\\xa0\u00ad\u180e\u200b-\u200f\u202a-\u202e\u2060-\u2064\ufeff"
# The apostrophes of a text that has some already count in, so that one more is always one to take away.
_AT_START = re.compile(f"'*[\t\r\n]|[{_PASSED}]*[{_FORMULA}]")
_WITHIN = re.compile(f"(?<=[;\t\r\n])(?=[{_PASSED}]*[{_FORMULA}])")
_GUARD_WITHIN = re.compile(f"(?<=[;\t\r\n])'(?=[{_PASSED}]*[{_FORMULA}])")
_QUOTED = re.compile('[",;\r\n\t]|^\\s|\\s$')


def neutral(text: str) -> str:
    """The text with an apostrophe wherever a spreadsheet could see a formula begin."""
    guarded = _WITHIN.sub("'", text)
    return f"'{guarded}" if _AT_START.match(guarded) else guarded


def as_it_was(text: str) -> str:
    """The text of which `neutral` made this one."""
    if text.startswith("'") and _AT_START.match(text, 1):
        text = text[1:]
    return _GUARD_WITHIN.sub("", text)


def line(values: Iterable[Any]) -> str:
    """The values as one line of the file, its end included."""
    return ",".join(map(cell, values)) + "\r\n"


def cell(value: Any) -> str:
    """One value: null is empty, an empty text `""`; an array is JSON; days and instants are ISO 8601."""
    if value is None:
        return ""
    if isinstance(value, str):
        return _quoted(neutral(value))
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return _number(value)
    if isinstance(value, datetime | date):
        return value.isoformat()
    if isinstance(value, int | Decimal):
        return str(value)
    if isinstance(value, list | dict):
        return _quoted(neutral(json.dumps(value, ensure_ascii=False, default=str)))
    return _quoted(neutral(str(value)))


def _number(value: float) -> str:
    """The shortest digits that read back as the same number; otherwise PostgreSQL's words."""
    if math.isfinite(value):
        return repr(value)
    return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"


def _quoted(text: str) -> str:
    if text and not _QUOTED.search(text):
        return text
    return '"' + text.replace('"', '""') + '"'
