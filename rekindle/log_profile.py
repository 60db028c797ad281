"""What a landed file looks like: a bounded sample of it, its shape, its columns and the parts they may play."""

from __future__ import annotations

import re
import zlib
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from pathlib import Path

from rekindle import landing_parquet
from rekindle.landing_lines import lines
from rekindle.landing_streams import is_parquet
from rekindle.methods import log_guessing, log_shapes
from rekindle.methods.log_guessing import Guess, Profile, Role
from rekindle.methods.log_shapes import Encoding, Row, Shape
from rekindle.refusals import UsageError

FIRST_LINES = 20_000
# How a file's name may tell its day: the pattern, its date_format, a check that it is a whole number of digits.
NAMED_DAYS = (
    (r"\d{4}-\d{2}-\d{2}", "%Y-%m-%d"),
    (r"\d{4}_\d{2}_\d{2}", "%Y_%m_%d"),
    (r"\d{4}\.\d{2}\.\d{2}", "%Y.%m.%d"),
    (r"\d{8}", "%Y%m%d"),
    (r"\d{4}-\d{2}", "%Y-%m"),
    (r"\d{4}_\d{2}", "%Y_%m"),
    (r"\d{4}-[A-Z][a-z]{2}", "%Y-%b"),
    (r"\d{6}", "%Y%m"),
)


@dataclass(frozen=True)
class Sample:
    """The first lines of a file and a spread of the others; `count` is of all its lines."""

    values: list[bytes]
    count: int
    oversize: int


@dataclass(frozen=True)
class LogProfile:
    """All that was found of a file."""

    file: str
    sample: Sample
    encoding: Encoding
    shape: Shape
    columns: tuple[Profile, ...]
    rows: list[Row]
    guess: Guess

    def column(self, role: Role) -> Profile | None:
        """The column guessed for a part, or None."""
        name = self.guess.roles.get(role)
        return next((c for c in self.columns if c.name == name), None)


def sample_of(path: Path, first: int = FIRST_LINES) -> Sample:
    """The first lines and as many again from all over the rest: every second, fourth, eighth … one."""
    head: list[bytes] = []
    spread: list[tuple[int, bytes]] = []
    step, count, oversize = 1, 0, 0
    for line in lines(path):
        count = line.number
        if line.value is None:
            oversize += 1
        elif count <= first:
            head.append(line.value)
        elif count % step == 0:
            spread.append((count, line.value))
            if len(spread) > first:
                step *= 2
                spread = [(n, v) for n, v in spread if n % step == 0]
    return Sample(head + [v for _, v in spread], count, oversize)


def look(path: Path) -> LogProfile:
    """Everything that can be found of the file.

    Raises:
        UsageError: it cannot be read, or is of no shape that a mapping can name.
    """
    try:
        sample, is_rows = sample_of(path), is_parquet(path)
        names = landing_parquet.columns(path) if is_rows else ((), ())
    except (OSError, EOFError, zlib.error) as error:
        told = getattr(error, "strerror", None) or error
        raise UsageError(f"FILE={path.name} cannot be read: {told}; expected an existing log, whole") from None
    encoding = log_shapes.encoding_of(sample.values)
    texts = [t for v in sample.values if (t := log_shapes.text_of(v, encoding.names)) is not None]
    if is_rows:
        kept, others = log_shapes.nameable([n for n in names[0] if n not in names[1]])
        shape: Shape | None = Shape("parquet", tuple(kept), 1.0, left_out=(*others, *names[1]))
    else:
        shape = log_shapes.shape_of(texts)
    if shape is None:
        raise UsageError(
            f"FILE={path.name}: its {sample.count} lines are no JSON objects, share no delimiter and are not of"
            " one width; expected a log with one record a line"
        )
    rows = list(log_shapes.rows(shape, texts))
    columns = tuple(log_guessing.profile(n, [r[n] for r in rows]) for n in shape.fields + shape.optional)
    by_name = shape.kind in ("json_lines", "parquet") or shape.header
    return LogProfile(path.name, sample, encoding, shape, columns, rows, log_guessing.guess(columns, rows, by_name))


def landing_of(name: str) -> tuple[str, str, date] | None:
    """Pattern, date_format and day of a file's name, or None if it tells no day. A month's day is its last."""
    for pattern, told in NAMED_DAYS:
        for found in re.finditer(rf"(?<![0-9]){pattern}(?![0-9])", name):
            try:
                day = datetime.strptime(found[0], told).date()  # noqa: DTZ007 (a calendar day)
            except ValueError:
                continue
            if 1990 <= day.year < 2100:
                around = literal(name[: found.start()]), literal(name[found.end() :])
                last = day if "%d" in told else (day.replace(day=28) + timedelta(days=4)).replace(day=1)
                return f"{around[0]}(?P<date>{pattern}){around[1]}", told, last - timedelta(days="%d" not in told)
    return None


def literal(text: str) -> str:
    """A regular expression that means the text itself."""
    return re.sub(r"([.^$*+?{}\[\]\\|()])", r"\\\1", text)
