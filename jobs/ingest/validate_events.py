"""Check the night's events, duplicates and quarantine; only then may anything build on them.

Reads   events, duplicates, quarantine, ops.fates
Writes  ops.checks, ops.run_tables (accepted), the lake's main
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from expectations import duplicates, events, quarantine
from rekindle import night, quality
from rekindle.cli import Context, main
from rekindle.ledger import FileFate, LandedFile
from schemas.duplicates import DUPLICATES
from schemas.events import EVENTS
from schemas.quarantine import QUARANTINE

TABLES = (EVENTS, DUPLICATES, QUARANTINE)


def by_rule(quarantined: DataFrame) -> Mapping[str, int]:
    """This run's quarantined lines by rule; there are a few dozen rules at most."""
    counted = quarantined.where(events.FRESH).groupBy("rule").agg(F.count(F.lit(1)).alias("lines"))
    return {row["rule"]: row["lines"] for row in counted.toLocalIterator()}


def landed(
    fates: Sequence[FileFate], files: Sequence[LandedFile], base: Sequence[LandedFile], rules: Mapping[str, int]
) -> events.Landed:
    """The fates of this run's own lines together; `base` holds the files of the night it builds on."""
    known = {f.file_sha256 for f in fates} | {f.sha256 for f in base}
    return events.Landed(
        landed=sum(f.landed for f in fates),
        clean=sum(f.clean for f in fates),
        duplicate=sum(f.duplicate for f in fates),
        quarantined=sum(f.quarantined for f in fates),
        by_rule=rules,
        uncounted_files=sum(f.sha256 not in known for f in files),
    )


def run(context: Context) -> None:
    """Evaluate, and let the three tables pass or refuse the night."""
    ledger, base = context.ledger, context.this_run.plan["base"]
    fates, versions = ledger.fates(context.run_id), ledger.tables(context.run_id)
    fresh = [f.file_sha256 for f in fates]
    frames = {t.name: events.with_fresh(night.read(context, t), fresh) for t in TABLES}
    lines = landed(
        fates,
        ledger.run_files(context.run_id),
        ledger.run_files(base) if base else [],
        by_rule(frames[QUARANTINE.name]),
    )
    suites = (
        events.suite(context.source, context.business_date, context.settings.environment.identity.key_version, lines),
        duplicates.suite(lines),
        quarantine.suite(lines),
    )
    quality.examine(
        context,
        "validate_events",
        [quality.Batch(s, frames[s.table], versions[s.table].fingerprint.rows) for s in suites],
    )
    quality.accept(context, TABLES)


if __name__ == "__main__":
    main(run, "validate_events")
