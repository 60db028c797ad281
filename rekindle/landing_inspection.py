"""What lies in a landing folder: each file once, taken into bronze or refused by name with a reason.

Preflight does this for a night; `make check-source` for a folder, with a bronze of its own that it throws away.
"""

from __future__ import annotations

import hashlib
import os
import stat
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path

from rekindle.landing_copies import take
from rekindle.landing_names import header_fault
from rekindle.landing_streams import RefusedFile
from rekindle.ledger_rows import LandedFile
from rekindle.refusals import DataRefused
from rekindle.sources import Ingest, LogFormat

# What copying programs call a file until it is whole.
UNFINISHED = ("._copying_", ".part", ".partial", ".tmp", ".temp", ".crdownload", ".filepart", ".swp", "~")


@dataclass(frozen=True)
class Listed:
    """A name in the landing folder, with the kinds of files whose pattern it matches and the day each says it landed.

    `size_bytes` and `mtime_ns` are those at the listing; `is_gone` if it vanished before they could be asked.
    """

    path: Path
    kinds: tuple[tuple[str, date], ...]
    size_bytes: int = 0
    mtime_ns: int = 0
    is_folder: bool = False
    is_gone: bool = False


@dataclass(frozen=True)
class Listing:
    """Every name of the landing folder once: to be taken or refused tonight, of a later day, or for people."""

    due: tuple[Listed, ...]
    later: tuple[str, ...]
    ignored: tuple[str, ...]


def list_landing(folder: Path, source: Ingest, day: date) -> Listing:
    """What lies in the landing folder, by name.

    Raises:
        DataRefused: the folder cannot be listed.
    """
    due, later, ignored = [], [], []
    try:
        paths = sorted(folder.resolve().iterdir(), key=lambda path: os.fsencode(path.name))
    except OSError as error:
        raise DataRefused(f"landing folder {folder}: {error.strerror}; give LANDING=<folder>") from None
    for path in paths:
        if path.name.startswith("README") or path.name == "SOURCE.md":
            ignored.append(path.name)
            continue
        told = ((name, kind.landing.landing_date(path.name)) for name, kind in source.files.items())
        kinds = tuple((name, landed) for name, landed in told if landed is not None)
        if len(kinds) == 1 and kinds[0][1] > day:
            later.append(path.name)
            continue
        try:
            info = path.lstat()
        except FileNotFoundError:
            due.append(Listed(path, kinds, is_gone=True))
        else:
            due.append(Listed(path, kinds, info.st_size, info.st_mtime_ns, stat.S_ISDIR(info.st_mode)))
    return Listing(tuple(due), tuple(later), tuple(ignored))


def shown(name: str) -> str:
    """A file's name in one line that a table and a log can hold; different names stay different."""
    text = os.fsencode(name.replace("\\", "\\\\")).decode("utf-8", "backslashreplace")
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def refused(listed: Listed, day: date, kind: str, reason: str) -> LandedFile:
    """A file that is not taken, with its reason."""
    return LandedFile(
        name=shown(listed.path.name),
        landing_date=day,
        sha256=hashlib.sha256(f"{shown(listed.path.name)} {reason.split(':')[0]}".encode()).hexdigest(),
        size_bytes=listed.size_bytes,
        mtime_ns=listed.mtime_ns,
        lines=0,
        header_lines=0,
        status="refused",
        reason=reason,
        kind=kind,
    )


def unnamed(listed: Listed, source: Ingest) -> str | None:
    """Why a file cannot be one of the source's by its name alone, or null if it is of exactly one kind."""
    ending = next((e for e in UNFINISHED if listed.path.name.lower().endswith(e)), None)
    if listed.is_folder and not listed.kinds:
        return "not_a_file: a folder; expected files beside each other"
    if ending:
        return f"name: by its ending {ending} it is still being written"
    if not listed.kinds:
        return f"name: it does not match {' or '.join(kind.landing.pattern for kind in source.files.values())}"
    if len(listed.kinds) > 1:
        return f"name: matches kinds {' and '.join(name for name, _ in listed.kinds)}; expected one"
    return None


def inspect(listed: Listed, bronze: Path, log_format: LogFormat, taken: dict[str, str]) -> LandedFile:
    """One landed file of one kind, taken whole into bronze or refused by name with a reason.

    `taken` maps the digests of accepted files to their names: the same content under another name is refused.
    """
    kind, day = listed.kinds[0]
    if listed.is_gone:
        return refused(listed, day, kind, "vanished: it was listed, and is no longer there")
    if not listed.path.is_symlink() and listed.path.resolve().parent != listed.path.parent:
        return refused(listed, day, kind, "link: it lies outside of the landing folder")
    try:
        copy = take(listed.path, bronze, log_format)
    except RefusedFile as found:
        return refused(listed, day, kind, str(found))
    file = LandedFile(
        name=shown(listed.path.name),
        landing_date=day,
        sha256=copy.sha256,
        size_bytes=listed.size_bytes,
        mtime_ns=listed.mtime_ns,
        lines=copy.lines,
        header_lines=int(log_format.header),
        status="accepted",
        kind=kind,
        columns=copy.columns,
    )
    if has_changed(listed):
        return without(file, "not_ready: it changed while it was read")
    other = taken.get(copy.sha256)
    if other is not None and other != file.name:
        return without(file, f"duplicate_delivery: the same content as {other}")
    fault = header_fault(copy.columns, log_format) if is_named(log_format) else None
    return without(file, f"header: {fault}") if fault else file


def without(file: LandedFile, reason: str) -> LandedFile:
    """The file, refused after it was read."""
    return replace(file, status="refused", reason=reason, header_lines=0, columns=())


def is_named(log_format: LogFormat) -> bool:
    """Whether a file as a whole tells its fields' names."""
    return log_format.header or log_format.kind == "parquet"


def has_changed(listed: Listed) -> bool:
    """Whether the file is not as it was at the listing."""
    try:
        info = listed.path.lstat()
    except FileNotFoundError:
        return False  # what was copied was whole
    return (info.st_size, info.st_mtime_ns) != (listed.size_bytes, listed.mtime_ns)
