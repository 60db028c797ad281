"""Look at what has landed, take it into bronze, and open the night's run.

Reads   the landing folder, ops.files, inbox.outcomes
Writes  bronze, ops.files, ops.runs, inbox.outcomes (when each was taken)

Prints one JSON line: the run id, whether anything is left to do, and whether training is due.
"""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Sequence
from datetime import date

from rekindle import inbox
from rekindle.cli import Context, DataRefused, main
from rekindle.failpoints import failpoint
from rekindle.landing_inspection import (
    Listed,
    Listing,
    has_changed,
    inspect,
    is_named,
    list_landing,
    refused,
    shown,
    unnamed,
    without,
)
from rekindle.landing_names import header_fault
from rekindle.ledger import MODEL_KINDS, LandedFile, Run, RunKey
from rekindle.settings import Settings
from rekindle.sources import Ingest


def run_id(settings: Settings, day: date, files: Sequence[LandedFile], retrain: bool) -> str:
    """The night's id: the same work has the same id, whatever the order of the files or the hour."""
    told = {
        "source": settings.source.name,
        "date": day.isoformat(),
        "files": sorted((f.kind, f.landing_date.isoformat(), f.sha256) for f in files),
        "code": settings.code_version,
        "conf": settings.conf_fingerprint,
        "key_version": settings.environment.identity.key_version,
        "retrain": retrain,
    }
    return "r" + hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()[:16]


def is_as_declared(file: LandedFile, listed: Listed, source: Ingest) -> bool:
    """Whether what the ledger knows of a file still fits the source's conf, which may have changed since."""
    kind, day = listed.kinds[0]
    log_format = source.files[kind].format
    return (file.kind, file.landing_date, file.header_lines) == (kind, day, int(log_format.header)) and (
        not is_named(log_format) or header_fault(file.columns, log_format) is None
    )


def inspect_landing(settings: Settings, listing: Listing, day: date, known: Sequence[LandedFile]) -> list[LandedFile]:
    """Every due file of the landing folder, accepted or refused.

    A file whose name, size and time of change the ledger knows is not read again. One that changes before the last
    is read is not ready, so that what is written slowly has the longest time to show it.
    """
    source = settings.source
    accepted = [f for f in known if f.status == "accepted"]
    seen = {(f.name, f.size_bytes, f.mtime_ns): f for f in accepted}
    taken = {f.sha256: f.name for f in accepted}
    found: list[tuple[Listed, LandedFile]] = []
    for listed in listing.due:
        reason = unnamed(listed, source)
        if reason:
            found.append((listed, refused(listed, day, "", reason)))
            continue
        file = seen.get((shown(listed.path.name), listed.size_bytes, listed.mtime_ns))
        if file is None or not is_as_declared(file, listed, source):
            log_format = source.files[listed.kinds[0][0]].format
            file = inspect(listed, settings.environment.lake.bronze, log_format, taken)
        if file.status == "accepted":
            taken[file.sha256] = file.name
        found.append((listed, file))
    return [
        without(file, "not_ready: it changed while the others were read")
        if file.status == "accepted" and has_changed(listed)
        else file
        for listed, file in found
    ]


def is_base(base: Sequence[LandedFile], files: Sequence[LandedFile]) -> bool:
    """Whether a night over `files` can build on one over `base`: nothing gone, and everything new landed later.

    Then no line of the new files can come before one of the old, so no old line's fate changes. Otherwise the night
    cleans everything from bronze again.
    """
    old, new = {f.sha256 for f in base}, {f.sha256 for f in files}
    added = [f.landing_date for f in files if f.sha256 not in old]
    return old <= new and (not added or not base or min(added) > max(f.landing_date for f in base))


def brings_events(file: LandedFile, source: Ingest) -> bool:
    """Whether the file is of a kind that brings events; one whose name is of no kind says nothing about any day."""
    return file.kind in source.files and source.files[file.kind].table == "events"


def missing_day(context: Context, files: Sequence[LandedFile]) -> str | None:
    """Why the day has no events to clean, in one sentence, or None if it has."""
    day, name = context.business_date, context.source.name
    served = context.ledger.served(name)
    last = f"the last good night ({served.business_date}) stays served" if served else "nothing was served before"
    today = [f for f in files if f.landing_date == day and brings_events(f, context.source)]
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
    day, source = context.business_date, settings.source
    listing = list_landing(settings.landing, source, day)
    files = inspect_landing(settings, listing, day, context.ledger.files(source.name))
    failpoint("preflight.before_record")
    context.ledger.add_files(source.name, files)
    accepted = [f for f in files if f.status == "accepted"]
    log.info(
        "listed=%d accepted=%d refused=%d later=%d ignored=%d",
        len(listing.due) + len(listing.later) + len(listing.ignored),
        len(accepted),
        len(files) - len(accepted),
        len(listing.later),
        len(listing.ignored),
    )
    for file in files:
        if file.status == "refused":
            log.warning("refused file=%s reason=%s", file.name, file.reason)
    missing = missing_day(context, files)
    is_broken = any(f.landing_date == day and f.status == "refused" and brings_events(f, source) for f in files)
    if missing and (source.on_missing_day == "refuse" or is_broken):
        raise DataRefused(missing)
    if missing:
        log.warning("%s", missing)
        say({"run_id": "", "due": False, "train": False})
        return
    written_back = inbox.files_until(context.ledger, settings, day)
    failpoint("preflight.before_open_run")
    row = open_run(context, [*accepted, *written_back])
    due = row.status not in ("published", "stored_older")
    log.info(
        "run=%s files=%d lines=%d written_back=%d base=%s train=%s status=%s",
        row.run_id,
        len(accepted),
        sum(f.lines - f.header_lines for f in accepted),
        sum(f.lines for f in written_back),
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
