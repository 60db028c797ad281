"""Files landed by a test: taken into bronze as preflight does, then cleaned as the night does, without a lake."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from rekindle import landing_lines, line_cleaning, settings
from rekindle.ledger import LandedFile

KEY = b"k" * 32


@dataclass
class Shop:
    """One source, a bronze folder, and the session that cleans."""

    spark: Any
    source: settings.Source
    folder: Path

    @property
    def bronze(self) -> Path:
        return self.folder / "bronze"

    def land(self, day: date, *lines: bytes | dict[str, Any], name: str | None = None) -> LandedFile:
        """A file that landed on `day`; a dict becomes a JSON line."""
        content = [json.dumps(line).encode() if isinstance(line, dict) else line for line in lines]
        path = self.folder / (name or f"{day}-{hashlib.sha256(b''.join(content)).hexdigest()[:8]}")
        path.write_bytes(b"".join(line + b"\n" for line in content))
        return self.taken(path, day)

    def taken(self, path: Path, day: date) -> LandedFile:
        """An existing file as preflight would accept it."""
        log_format = self.source.files[self.kind].format
        copy = landing_lines.take(path, self.bronze)
        names = log_format.fields if log_format.header else ()
        return LandedFile(
            path.name,
            day,
            copy.sha256,
            copy.size_bytes,
            1,
            copy.lines,
            len(names) and 1,
            "accepted",
            None,
            self.kind,
            names,
        )

    @property
    def kind(self) -> str:
        """The kind of files that brings events."""
        (name,) = [name for name, file in self.source.files.items() if file.table == "events"]
        return name

    def cleaned(self, files: Sequence[LandedFile], told_before: Any = None) -> Any:
        """Every line of the files with its fate, as a persisted frame."""
        secret = line_cleaning.Secret(KEY, 1)
        (lines,) = line_cleaning.clean(self.spark, files, self.source, str(self.bronze), secret, told_before).values()
        return lines.persist()


@pytest.fixture
def shop(spark: Any, tmp_path: Path) -> Callable[[str], Shop]:
    """`shop(source)`: files of that source, to be landed and cleaned."""

    def make(source: str) -> Shop:
        return Shop(spark, settings.load(source).source, tmp_path)

    return make
