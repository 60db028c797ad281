"""Look at what has landed, take it into bronze, and open the night's run.

Reads   the landing folder, ops.files
Writes  bronze, ops.files, ops.runs

Prints one JSON line: the run id, whether anything is left to do, and whether training is due.
"""

from __future__ import annotations

import csv
import hashlib
import json
import re
import sys
from collections.abc import Iterator, Sequence
from datetime import date
from pathlib import Path

from rekindle.cli import Context, DataRefused, main
from rekindle.landing_lines import RefusedFile, lines, take
from rekindle.ledger import MODEL_KINDS, LandedFile, Run, RunKey
from rekindle.settings import LogFormat, Settings


def landing_date(name: str, pattern: str) -> date | None:
    """The day that a file's name says it landed on, or None if the name is not one of the source's."""
    found = re.fullmatch(pattern, name)
    if found is None:
        return None
    try:
        return date.fromisoformat(found["date"])
    except ValueError:
        return None


def run_id(settings: Settings, day: date, files: Sequence[LandedFile], retrain: bool) -> str:
    """The night's id: the same work has the same id, whatever the order of the files or the hour."""
    told = {
        "source": settings.source.name,
        "date": day.isoformat(),
        "files": sorted((f.landing_date.isoformat(), f.sha256) for f in files),
        "code": settings.code_version,
        "conf": settings.conf_fingerprint,
        "key_version": settings.environment.identity.key_version,
        "retrain": retrain,
    }
    return "r" + hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()[:16]


def inspect(path: Path, day: date, bronze: Path, log_format: LogFormat, taken: dict[str, str]) -> LandedFile:
    """One landed file, taken whole into bronze or refused by name with a reason.

    `taken` maps the digests of accepted files to their names: the same content under another name is refused.
    """
    before = path.lstat()

    def landed(sha256: str, count: int, reason: str | None, header_lines: int = 0) -> LandedFile:
        return LandedFile(
            name=path.name,
            landing_date=day,
            sha256=sha256,
            size_bytes=before.st_size,
            mtime_ns=before.st_mtime_ns,
            lines=count,
            header_lines=header_lines,
            status="refused" if reason else "accepted",
            reason=reason,
        )

    try:
        copy = take(path, bronze)
    except RefusedFile as refused:
        return landed(hashlib.sha256(f"{path.name} {refused.reason}".encode()).hexdigest(), 0, str(refused))
    after = path.lstat()
    if (after.st_size, after.st_mtime_ns) != (before.st_size, before.st_mtime_ns):
        return landed(copy.sha256, copy.lines, "not_ready: it changed while it was read")
    other = taken.get(copy.sha256)
    if other is not None and other != path.name:
        return landed(copy.sha256, copy.lines, f"duplicate_delivery: the same content as {other}")
    if log_format.header:
        found = header_of(bronze / copy.sha256, log_format.delimiter)
        if found != list(log_format.fields):
            return landed(
                copy.sha256, copy.lines, f"header: expected {','.join(log_format.fields)}, found {','.join(found)}"
            )
    return landed(copy.sha256, copy.lines, None, int(log_format.header))


def header_of(path: Path, delimiter: str) -> list[str]:
    """The names in a file's first line."""
    first = next(lines(path), None)
    text = (first.value or b"").decode("utf-8", errors="replace") if first else ""
    return next(csv.reader([text.rstrip("\r")], delimiter=delimiter), [])


def inspect_landing(settings: Settings, day: date, known: Sequence[LandedFile]) -> Iterator[LandedFile]:
    """Every file of the landing folder with a landing date up to `day`, and every name that is not the source's.

    A file whose name, size and time of change the ledger knows is not read again.
    """
    source = settings.source
    seen = {(f.name, f.size_bytes, f.mtime_ns): f for f in known if f.status == "accepted"}
    taken = {f.sha256: f.name for f in known if f.status == "accepted"}
    for path in sorted(settings.landing.resolve().iterdir()):
        if path.name.startswith("README") or path.name == "SOURCE.md":
            continue
        landed = landing_date(path.name, source.landing.pattern)
        if landed is None:
            told = hashlib.sha256(path.name.encode()).hexdigest()
            info = path.lstat()
            yield LandedFile(
                name=path.name,
                landing_date=day,
                sha256=told,
                size_bytes=info.st_size,
                mtime_ns=info.st_mtime_ns,
                lines=0,
                header_lines=0,
                status="refused",
                reason=f"name: it does not match {source.landing.pattern}",
            )
            continue
        if landed > day:
            continue
        info = path.lstat()
        file = seen.get((path.name, info.st_size, info.st_mtime_ns)) or inspect(
            path, landed, settings.environment.lake.bronze, source.format, taken
        )
        if file.status == "accepted":
            taken[file.sha256] = file.name
        yield file


def is_base(base: Sequence[LandedFile], files: Sequence[LandedFile]) -> bool:
    """Whether a night over `files` can build on one over `base`: nothing gone, and everything new landed later.

    Then no line of the new files can come before one of the old, so no old line's fate changes. Otherwise the night
    cleans everything from bronze again.
    """
    old, new = {f.sha256 for f in base}, {f.sha256 for f in files}
    added = [f.landing_date for f in files if f.sha256 not in old]
    return old <= new and (not added or not base or min(added) > max(f.landing_date for f in base))


def is_foreign(file: LandedFile) -> bool:
    """Whether the file is refused because its name is none of the source's: it says nothing about any day."""
    return (file.reason or "").startswith("name:")


def missing_day(context: Context, files: Sequence[LandedFile]) -> str | None:
    """Why the day has nothing to clean, in one sentence, or None if it has."""
    day, name = context.business_date, context.source.name
    served = context.ledger.served(name)
    last = f"the last good night ({served.business_date}) stays served" if served else "nothing was served before"
    today = [f for f in files if f.landing_date == day and not is_foreign(f)]
    accepted = [f for f in today if f.status == "accepted"]
    if sum(f.lines - f.header_lines for f in accepted) > 0:
        return None
    if not today:
        return f"no file of {name} has landed for {day} in {context.settings.landing}; nothing is published, {last}"
    told = "; ".join(f"{f.name}: {f.reason or 'no lines'}" for f in today)
    return f"the files of {name} for {day} hold nothing to clean ({told}); nothing is published, {last}"


def open_run(context: Context, files: Sequence[LandedFile]) -> Run:
    """The run's ledger row: new with tonight's plan, or the existing one with one attempt more and its old plan."""
    settings, day, ledger = context.settings, context.business_date, context.ledger
    key = RunKey(
        run_id=run_id(settings, day, files, context.retrain),
        source=settings.source.name,
        business_date=day,
        code_version=settings.code_version,
        conf_fingerprint=settings.conf_fingerprint,
        ingest_version=settings.ingest_version,
        key_version=settings.environment.identity.key_version,
        retrain=context.retrain,
    )
    base = ledger.base_run(key.source, day, key.ingest_version, key.run_id)
    builds_on = base.run_id if base and is_base(ledger.run_files(base.run_id), files) else None
    has_champions = all(ledger.champion(key.source, kind) for kind in MODEL_KINDS)
    plan = {"train": context.retrain or not has_champions, "base": builds_on}
    return ledger.open_run(key, [f.sha256 for f in files], plan)


def run(context: Context) -> None:
    """Take what landed, then say what the night is and whether it is still to do."""
    settings, log = context.settings, context.log
    if not settings.landing.is_dir():
        raise DataRefused(f"landing folder {settings.landing} does not exist; give LANDING=<folder>")
    files = list(inspect_landing(settings, context.business_date, context.ledger.files(settings.source.name)))
    context.ledger.add_files(settings.source.name, files)
    for file in files:
        if file.status == "refused":
            log.warning("refused file=%s reason=%s", file.name, file.reason)
    accepted = [f for f in files if f.status == "accepted"]
    missing = missing_day(context, files)
    broken = [
        f for f in files if f.landing_date == context.business_date and f.status == "refused" and not is_foreign(f)
    ]
    if missing and (settings.source.landing.on_missing_day == "refuse" or broken):
        raise DataRefused(missing)
    if missing:
        log.warning("%s", missing)
        say({"run_id": "", "due": False, "train": False})
        return
    row = open_run(context, accepted)
    due = row.status not in ("published", "stored_older")
    log.info(
        "run=%s files=%d lines=%d base=%s train=%s status=%s",
        row.run_id,
        len(accepted),
        sum(f.lines - f.header_lines for f in accepted),
        row.plan["base"],
        row.plan["train"],
        row.status if due else f"already {row.status}",
    )
    say({"run_id": row.run_id, "due": due, "train": bool(row.plan["train"])})


def say(told: dict[str, object]) -> None:
    """The line that the scheduler reads."""
    sys.stdout.write(json.dumps(told) + "\n")


if __name__ == "__main__":
    main(run, "preflight_landing", spark=False)
