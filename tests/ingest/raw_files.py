"""What becomes of each line of the real files, found without our code: by csv, gzip, pyarrow and plain Python.

Each function gives (line number, fate) for every line that is no header, where a fate is `clean`, `duplicate` or the id
of the rule that the line breaks, with the raw fields beside it.
"""

from __future__ import annotations

import csv
import gzip
import io
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rekindle.settings import ROOT

DATA = ROOT.parent / "shared/data"
Fields = dict[str, Any]


@dataclass
class RawLine:
    """One line: its number in the file, its fields as they are written, and what must become of it."""

    number: int
    fields: Fields
    fate: str


@dataclass
class Judge:
    """Gives lines their fates: the first rule that holds, else whether the key was there before."""

    key: Callable[[Fields], tuple[Any, ...]]
    rules: dict[str, Callable[[Fields], bool]] = field(default_factory=dict)
    seen: set[tuple[Any, ...]] = field(default_factory=set)

    def fate(self, fields: Fields) -> str:
        for rule, broken in self.rules.items():
            if broken(fields):
                return rule
        key = self.key(fields)
        if key in self.seen:
            return "duplicate"
        self.seen.add(key)
        return "clean"

    def judged(self, lines: Iterator[tuple[int, Fields]]) -> list[RawLine]:
        return [RawLine(number, fields, self.fate(fields)) for number, fields in lines]


def of(*names: str) -> Callable[[Fields], tuple[Any, ...]]:
    """The key made of these fields."""
    return lambda fields: tuple(fields[n] for n in names)


def whole(fields: Fields) -> tuple[Any, ...]:
    """The key made of all fields."""
    return tuple(fields.values())


def text_of(path: Path, encoding: str = "utf-8") -> str:
    """A file's text, unpacked."""
    raw = path.read_bytes()
    return (gzip.decompress(raw) if path.suffix == ".gz" else raw).decode(encoding)


def csv_lines(path: Path, encoding: str = "utf-8") -> Iterator[tuple[int, Fields]]:
    """The records under a header; a record with too few fields has only those."""
    names, *records = csv.reader(io.StringIO(text_of(path, encoding)))
    for number, record in enumerate(records, 2):
        yield number, dict(zip(names, record, strict=False))


def plain_lines(path: Path, names: list[str], delimiter: str, encoding: str = "utf-8") -> Iterator[tuple[int, Fields]]:
    """The records of a file without header and quotes."""
    for number, line in enumerate(text_of(path, encoding).split("\n")[:-1], 1):
        yield number, dict(zip(names, line.split(delimiter), strict=True))


def fixed_lines(path: Path, names: list[str]) -> Iterator[tuple[int, Fields]]:
    """The records of a file whose fields hold no blanks, by the blanks between them."""
    for number, line in enumerate(text_of(path).splitlines(), 1):
        yield number, dict(zip(names, line.split(), strict=True))


def parquet_rows(path: Path) -> list[dict[str, Any]]:
    """The rows of a Parquet file as Python values."""
    import pyarrow.parquet

    return list(pyarrow.parquet.read_table(path).to_pylist())
