"""What a log's lines look like: encoding, JSON or separated or fixed width, quote, header. Pure functions on samples.

Everything said here comes with the count it rests on, so that a person can judge it.
"""

from __future__ import annotations

import csv
import json
import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

# In the order in which equally good ones are taken; a comma also stands in texts and numbers, a blank everywhere.
DELIMITERS = ("\t", ";", "|", "::", "\x01", "^", "~", ",", " ")
MOSTLY = 0.9
# Enough to know a delimiter; the tests of eight delimiters read each line eight times.
TRIED = 2_000
SINGLE_BYTE = ("windows-1252", "latin-1", "windows-1251", "iso-8859-2", "iso-8859-15", "windows-1250")
# Encodings of two bytes a character in the order in which they are asked, by what a text in them holds that none in the
# later ones does, and the share of its characters beyond ASCII from which that is believed. Level one of GB 2312 and of
# Big5 are the frequent characters: their bytes in another language come out as rare ones.
SCRIPTS: tuple[tuple[str, Callable[[str, bytes], bool], float], ...] = (
    ("euc-jp", lambda c, _: "\u3040" <= c <= "\u30ff", 0.3),
    ("shift_jis", lambda c, _: "\u3040" <= c <= "\u30ff", 0.3),
    ("euc-kr", lambda c, _: "\uac00" <= c <= "\ud7a3", 0.95),
    ("gbk", lambda _, b: len(b) == 2 and b[1] >= 0xA1 and (0xB0 <= b[0] <= 0xD7 or b[0] in (0xA1, 0xA3)), 0.7),
    ("big5", lambda _, b: len(b) == 2 and (0xA4 <= b[0] <= 0xC6 or b[0] == 0xA1), 0.7),
)
# A number or a time: what a column holds and no name is.
COUNTED = re.compile(r"[+-]?\d[\d.,:/ TZ+-]*")
Kind = Literal["json_lines", "csv", "fixed_width", "parquet"]


@dataclass(frozen=True)
class Encoding:
    """Encodings to be tried in turn, and what was counted: lines beyond ASCII, and how many of all each can decode."""

    names: tuple[str, ...]
    lines: int
    beyond_ascii: int
    decodable: dict[str, int]


@dataclass(frozen=True)
class Shape:
    """How the lines are written. `share` of the lines are so, 0 to 1; `fields` are the names, in order.

    `optional` are names that some JSON objects lack; `left_out` those that a mapping cannot name (blank, told twice, or
    equal but for case).
    """

    kind: Kind
    fields: tuple[str, ...]
    share: float
    optional: tuple[str, ...] = ()
    left_out: tuple[str, ...] = ()
    delimiter: str = ","
    quote: str | None = '"'
    header: bool = False
    widths: tuple[int, ...] = ()


Row = dict[str, str | None]


def encoding_of(lines: Sequence[bytes]) -> Encoding:
    """UTF-8 where every line is; else the encoding that gives most likely text, after UTF-8 if that reads some lines.

    Latin-1 and its like decode anything and come last; of several such encodings a person has to see the right one.
    """
    beyond = [line for line in lines if not line.isascii()]
    other = [line for line in beyond if not _decodes(line, "utf-8")]
    tried = ("utf-8", *(name for name, _, _ in SCRIPTS), *SINGLE_BYTE)
    counts = {name: sum(_decodes(line, name) for line in other) for name in tried} if other else {}
    plain = len(lines) - len(other)
    decodable = {name: count + plain for name, count in counts.items()}
    if not other:
        return Encoding(("utf-8",), len(lines), len(beyond), decodable)
    best = _best_encoding(other, counts)
    names = ("utf-8", best) if len(other) < len(beyond) else (best,)
    return Encoding(names, len(lines), len(beyond), decodable)


def text_of(line: bytes, encodings: Sequence[str]) -> str | None:
    """The line as text by the first encoding that reads it, without a carriage return at its end; None if none does."""
    for name in encodings:
        if _decodes(line, name):
            return line.decode(name).removesuffix("\r")
    return None


def shape_of(texts: Sequence[str]) -> Shape | None:
    """How the lines are written, or None if they are of no kind that a mapping can name."""
    told = [t for t in texts if t.strip()]
    if not told:
        return None
    objects = [o for o in map(_object, told) if o is not None]
    if len(objects) >= MOSTLY * len(told):
        return _json_shape(objects, len(told))
    return _separated(told, DELIMITERS[:-1]) or _fixed(told) or _separated(told, DELIMITERS[-1:])


def rows(shape: Shape, texts: Sequence[str]) -> Iterator[Row]:
    """The lines' fields as text, without the header and without lines that are not of the shape; null where absent."""
    kept = [t for t in texts if t.strip()]
    if shape.kind in ("json_lines", "parquet"):
        for told in filter(None, map(_object, kept)):
            yield {name: _as_text(told.get(name)) for name in shape.fields + shape.optional}
        return
    named = shape.fields
    if shape.kind == "fixed_width":
        for text in kept:
            if len(text) == sum(shape.widths):
                yield dict(zip(named, _cut(text, shape.widths), strict=True))
        return
    header = split(kept[0], shape.delimiter, shape.quote) if shape.header else list(named)
    for text in kept[int(shape.header) :]:
        cells = split(text, shape.delimiter, shape.quote)
        if len(cells) == len(header):
            first = dict(zip(reversed(header), reversed(cells), strict=True))
            yield {name: first[name] for name in named}


def split(text: str, delimiter: str, quote: str | None) -> list[str]:
    """One separated line's cells; none where a quote stays open."""
    if quote is None:
        return text.split(delimiter)
    if len(delimiter) > 1:
        # Python's reader knows one character; this one stands in no text.
        text, delimiter = text.replace(delimiter, "\x1f"), "\x1f"
    try:
        return next(csv.reader([text], delimiter=delimiter, quotechar=quote, strict=True), [])
    except csv.Error:
        return []


def _decodes(line: bytes, encoding: str) -> bool:
    try:
        line.decode(encoding)
    except UnicodeDecodeError:
        return False
    return True


def _best_encoding(lines: Sequence[bytes], decodable: dict[str, int]) -> str:
    for name, is_like, enough in SCRIPTS:
        if decodable[name] == len(lines) and _likeness(lines, name, is_like) > enough:
            return name
    letters = b"".join(run for line in lines for run in re.findall(rb"[\x80-\xff]{3,}", line))
    beyond = sum(byte >= 0x80 for line in lines for byte in line)
    # In Cyrillic words of three letters and more are written beyond ASCII, in Latin ones single letters are.
    if len(letters) > 0.5 * beyond and sum(byte >= 0xC0 for byte in letters) > MOSTLY * len(letters):
        return "windows-1251"
    return "windows-1252" if any(re.search(rb"[\x80-\x9f]", line) for line in lines) else "latin-1"


def _likeness(lines: Sequence[bytes], encoding: str, is_like: Callable[[str, bytes], bool]) -> float:
    """Share of the characters beyond ASCII that are as expected of a text in that encoding."""
    beyond = [c for line in lines for c in line.decode(encoding) if c > "\x7f"]
    return sum(is_like(c, c.encode(encoding)) for c in beyond) / max(1, len(beyond))


def _object(text: str) -> dict[str, Any] | None:
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def _as_text(value: Any) -> str | None:
    if value is None or isinstance(value, str):
        return value
    return json.dumps(value, ensure_ascii=False)


def _json_shape(objects: Sequence[dict[str, Any]], lines: int) -> Shape:
    counts = Counter(key for o in objects for key in o)
    named, left_out = nameable([key for key, _ in counts.most_common()])
    order = {key: n for n, key in enumerate(dict.fromkeys(k for o in objects for k in o))}
    named.sort(key=lambda k: order[k])
    always = tuple(k for k in named if counts[k] == len(objects))
    return Shape(
        kind="json_lines",
        fields=always or tuple(named),
        optional=tuple(k for k in named if counts[k] < len(objects)) if always else (),
        left_out=tuple(left_out),
        share=len(objects) / lines,
    )


def nameable(names: Sequence[str]) -> tuple[list[str], list[str]]:
    """The names that a mapping can tell apart, and the others: blank, told twice, equal but for case, unprintable."""
    kept: list[str] = []
    lower: set[str] = set()
    for name in names:
        legal = name.strip() and name.isprintable() and "`" not in name
        if legal and names.count(name) == 1 and name.lower() not in lower:
            kept.append(name)
            lower.add(name.lower())
    return kept, list(dict.fromkeys(n for n in names if n not in kept))


def _separated(told: Sequence[str], delimiters: Sequence[str]) -> Shape | None:
    """By the delimiter and quote that give most lines the same number of cells, and of those the most cells."""
    tried = told[:TRIED]
    best: tuple[float, int, str, str | None] | None = None
    for delimiter in delimiters:
        for quote in _quotes(tried, delimiter):
            counts = Counter(len(split(t, delimiter, quote)) for t in tried)
            cells, lines = max(((n, c) for n, c in counts.items() if n > 1), key=lambda nc: nc[1], default=(0, 0))
            one = (round(lines / len(tried), 2), cells, delimiter, quote)
            # A delimiter that never fails beats one that nearly never does, unless it cuts far less.
            if lines >= MOSTLY * len(tried) and (best is None or one[:2] > best[:2]):
                best = one
    if best is None:
        return None
    share, cells, delimiter, quote = best
    body = [c for t in told if len(c := split(t, delimiter, quote)) == cells]
    header = has_header(body)
    names = [n.strip("\ufeff") for n in body[0]] if header else [f"c{n}" for n in range(1, cells + 1)]
    named, left_out = nameable(names)
    kept = tuple(named)
    return Shape("csv", kept, share, left_out=tuple(left_out), delimiter=delimiter, quote=quote, header=header)


def _quotes(texts: Sequence[str], delimiter: str) -> list[str | None]:
    """The quotes that open a cell somewhere; none but the usual one if nothing does."""
    edge = re.escape(delimiter)
    found: list[str | None] = [
        q for q in ('"', "'") if any(re.search(rf"(^|{edge}){q}[^{q}]*{q}({edge}|$)", t) for t in texts)
    ]
    return found or ['"', None]


def has_header(body: Sequence[Sequence[str]]) -> bool:
    """Whether the first row names the columns: words stand there where numbers and times stand below.

    Where all columns are words only a row whose every cell appears nowhere below is taken for names.
    """
    first, *rest = body
    names = [cell.strip() for cell in first]
    if not rest or not any(names) or any(COUNTED.fullmatch(name) for name in names):
        return False
    below = [[row[n].strip() for row in rest[:TRIED]] for n in range(len(names))]
    if any(sum(COUNTED.fullmatch(v) is not None for v in column) > 0.5 * len(column) for column in below):
        return True
    return all(name and name not in column for name, column in zip(names, below, strict=True))


def _fixed(told: Sequence[str]) -> Shape | None:
    """Lines of one length with columns of blanks that no line breaks: each field with the blanks before it."""
    length, lines = Counter(len(t) for t in told).most_common(1)[0]
    alike = [t for t in told if len(t) == length]
    if lines < MOSTLY * len(told) or len(alike) < 2:
        return None
    filled = [any(t[n] != " " for t in alike) for n in range(length)]
    ends = [n for n in range(1, length) if filled[n - 1] and not filled[n]]
    if filled[-1]:
        ends.append(length)
    elif ends:
        ends[-1] = length
    if len(ends) < 2:
        return None
    widths = tuple(end - start for start, end in zip([0, *ends[:-1]], ends, strict=True))
    fields = tuple(f"c{n}" for n in range(1, len(widths) + 1))
    return Shape("fixed_width", fields, lines / len(told), widths=widths)


def _cut(text: str, widths: Sequence[int]) -> Iterator[str]:
    at = 0
    for width in widths:
        yield text[at : at + width]
        at += width
