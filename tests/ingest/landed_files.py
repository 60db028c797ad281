"""Files as they lie in a folder, by their names alone: inspected as preflight does, cleaned as the night does."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from pathlib import Path
from typing import Any

from rekindle import landing_inspection, line_cleaning
from rekindle.ledger_rows import LandedFile
from rekindle.sources import Ingest

SECRET = line_cleaning.Secret(b"k" * 32, 1)


def inspected(folder: Path, source: Ingest, bronze: Path, *names: str) -> list[LandedFile]:
    """The named files of the folder, taken into bronze."""
    listing = landing_inspection.list_landing(folder, source, date.max)
    listed = {one.path.name: one for one in listing.due}
    found = []
    for name in names:
        assert landing_inspection.unnamed(listed[name], source) is None
        log_format = source.files[listed[name].kinds[0][0]].format
        found.append(landing_inspection.inspect(listed[name], bronze, log_format, {}))
    assert [(f.name, f.reason) for f in found if f.status != "accepted"] == []
    return found


def cleaned(spark: Any, source: Ingest, bronze: Path, files: Sequence[LandedFile]) -> Any:
    """Every line of files that fill one table, with its fate."""
    (lines,) = line_cleaning.clean(spark, files, source, str(bronze), SECRET).values()
    return lines
