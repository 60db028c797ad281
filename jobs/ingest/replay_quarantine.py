"""Say what would become of a night's quarantined lines by the mapping as it is now. Nothing is kept.

Reads   ops.files, bronze, quarantine and events (of the served night, or of DATE's)
Writes  nothing

By hand: `make replay-quarantine SOURCE=…`, or the DAG `replay_quarantine`. Of bronze it cleans the files that have
quarantined lines; no line's text is shown. Exit codes: 0 done, 2 the mapping does not load, there is no such night, or
it cannot be replayed, 3 the lines are no longer where the quarantine says, 75 the warehouse did not answer.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from functools import reduce
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich import box
from rich.console import Console
from rich.table import Table as Grid

from rekindle import cli, identity, settings, warehouse
from rekindle.ledger import LandedFile, Ledger, Run, TableVersion
from rekindle.line_cleaning import Secret
from rekindle.refusals import DataRefused, UsageError
from rekindle.sources import Ingest
from schemas.events import EVENTS
from schemas.quarantine import QUARANTINE

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

PLACES = 5
SHOWN_DIGITS = 12  # of a file's digest: `make show-line` takes the beginning
NOT_A_TERMINAL = 160  # columns, where nobody says how wide the paper is


@dataclass(frozen=True)
class Replayed:
    """Lines that were quarantined by one rule and share what becomes of them now.

    `rule_now` is null unless they are quarantined again. `places` are the first of them, as (file's sha256, line).
    """

    rule: str
    fate: str
    rule_now: str | None
    lines: int
    places: tuple[tuple[str, int], ...]


@dataclass(frozen=True)
class Night:
    """A published night: its run, the snapshots of its tables, its files, and whether the CRM reads it."""

    run: Run
    tables: dict[str, TableVersion]
    files: list[LandedFile]
    is_served: bool


def night_of(ledger: Ledger, source: str, day: date | None) -> Night:
    """The newest published night of the day; without a day, the served one.

    Raises:
        UsageError: there is none, or none of its lines was ever quarantined in a table.
    """
    history = ledger.history(source)
    found = next((p for p in history if (p.is_served if day is None else p.business_date == day)), None)
    if found is None:
        days = ", ".join(dict.fromkeys(str(p.business_date) for p in history)) or "none"
        raise UsageError(f"no night of {source}{f' of {day}' if day else ''} is published; there are: {days}")
    tables = ledger.tables(found.run_id)
    if QUARANTINE.name not in tables:
        raise UsageError(f"run {found.run_id} of {source}, {found.business_date} has no table {QUARANTINE.name}")
    return Night(ledger.run(found.run_id), tables, ledger.run_files(found.run_id), found.is_served)


def fitting(files: Sequence[LandedFile], source: Ingest) -> list[LandedFile]:
    """The files, all of them still of the kind, day and header that they were taken by.

    Raises:
        UsageError: the conf declares one otherwise now, so that the night would take it anew from the landing folder.
    """
    for file in files:
        conf = source.kinds.get(file.kind)
        day = conf.landing.landing_date(file.name) if conf else None
        header = int(conf.format.header) if conf else 0
        if (day, header) != (file.landing_date, file.header_lines):
            raise UsageError(
                f"file {file.name} was taken as {file.kind} of {file.landing_date}, header lines {file.header_lines};"
                f" conf/sources/{source.name}.yaml now says otherwise; run make check-source where the file landed"
            )
    return list(files)


def replay(
    spark: SparkSession,
    source: Ingest,
    quarantine: DataFrame,
    files: Sequence[LandedFile],
    bronze: str,
    secret: Secret,
    events: DataFrame | None = None,
) -> list[Replayed]:
    """What becomes now of the lines of `quarantine`, most first. `files` are all files of the night.

    `events` are the night's: a line that tells an event of a file without quarantined lines again is its duplicate,
    whichever of the two stands first.

    Raises:
        DataRefused: a quarantined line's file is none of the night's, or has no such line.
        UsageError: see `fitting`.
    """
    from pyspark.sql import Window
    from pyspark.sql import functions as F

    from rekindle import line_cleaning
    from rekindle.line_parsing import PLACE

    concerned = {row["file_sha256"] for row in quarantine.select("file_sha256").distinct().toLocalIterator()}
    own = fitting([f for f in files if f.sha256 in concerned and (Path(bronze) / f.sha256).is_file()], source)
    count = quarantine.count()
    if not own and not count:
        return []
    others = events.where(~F.col("file_sha256").isin(sorted(concerned))) if events is not None else None
    frames = line_cleaning.clean(spark, own, source, bronze, secret, others).values() if own else []
    then = quarantine.select("file_sha256", "line_number", F.col("rule").alias("rule_then"))
    if not frames:
        raise _lost(source, count, 0)
    now = reduce(
        lambda one, other: one.unionByName(other),
        [frame.select(*PLACE, "fate", F.col("rule").alias("rule_now")) for frame in frames],
    )
    outcome = ("rule_then", "fate", "rule_now")
    turn = F.row_number().over(Window.partitionBy(*outcome).orderBy(*PLACE))
    first = F.when(F.col("turn") <= PLACES, F.struct("turn", "file_sha256", "line_number"))
    rows = (
        now.join(then, ["file_sha256", "line_number"])
        .withColumn("turn", turn)
        .groupBy(*outcome)
        .agg(F.count(F.lit(1)).alias("lines"), F.sort_array(F.collect_list(first)).alias("places"))
        .collect()  # rules by rules
    )
    found = [
        Replayed(
            row["rule_then"], row["fate"], row["rule_now"], row["lines"],
            tuple((p["file_sha256"], p["line_number"]) for p in row["places"]),
        )
        for row in rows
    ]  # fmt: skip
    if sum(r.lines for r in found) != count:
        raise _lost(source, count, sum(r.lines for r in found))
    return sorted(found, key=lambda r: (-r.lines, r.rule, r.fate, r.rule_now or ""))


def _lost(source: Ingest, count: int, found: int) -> DataRefused:
    return DataRefused(
        f"{source.name}: {found} of {count} quarantined lines stand at their places in bronze; expected all of them;"
        " restore bronze from its backup"
    )


def grid(replayed: Sequence[Replayed], files: Sequence[LandedFile]) -> Grid:
    """The table: rule then, fate now, how many, and where the first of them stand."""
    names = {f.sha256: f.name for f in files}
    table = Grid(box=box.SIMPLE, header_style="bold")
    for title in ("rule then", "now", "lines", "the first of them (FILE LINE)"):
        table.add_column(title, justify="right" if title == "lines" else "left")
    for r in replayed:
        by_file: dict[str, list[str]] = {}
        for sha256, line in r.places:
            by_file.setdefault(sha256, []).append(str(line))
        places = "; ".join(f"{sha[:SHOWN_DIGITS]} {', '.join(n)} ({names[sha]})" for sha, n in by_file.items())
        now = f"quarantined: {r.rule_now}" if r.rule_now else r.fate
        table.add_row(r.rule, now, str(r.lines), places)
    return table


def words(source: str, night: Night, replayed: Sequence[Replayed], ingest_version: str) -> str:
    """One sentence: what the night would gain, and what to run."""
    total, gained = sum(r.lines for r in replayed), sum(r.lines for r in replayed if r.fate == "clean")
    day = night.run.business_date
    told = f"{source}, {day}: {gained} of {total} quarantined lines would be clean. "
    if night.run.ingest_version == ingest_version:
        return told + "The mapping is the one they were quarantined by: change it, and look again."
    does = "publishes it" if night.is_served else "stores it beside the served night"
    return (
        f"{told}The mapping has changed since, so the next run of this night cleans everything from bronze and {does}:"
        f" make nightly SOURCE={source} DATE={day}"
    )


def arguments(argv: Sequence[str]) -> argparse.Namespace:
    """The parsed command line."""
    parser = argparse.ArgumentParser(prog="replay_quarantine", allow_abbrev=False)
    parser.add_argument("--source", required=True, help="name of a mapping in conf/sources")
    parser.add_argument("--date", help="business date of a published night, YYYY-MM-DD; without it the served one")
    parser.add_argument("--env", default="local", help="name of an environment in conf/environments")
    parser.add_argument("--night-only", action="store_true", help="only print the night's date: Spark is not started")
    parser.add_argument("--json", action="store_true", help="with --night-only: date and run_id, for the scheduler")
    return parser.parse_args(argv)


def main(argv: Sequence[str]) -> int:
    """The exit code."""
    given = arguments(argv)
    return cli.ended(lambda: replayed(given))


def replayed(given: argparse.Namespace) -> None:
    """Show what the night's lines would become; with `night_only` its date alone.

    Raises:
        UsageError, DataRefused: as the command line or the night is.
    """
    loaded = settings.load(given.source, given.env)
    day = settings.parse_date(given.date) if given.date else None
    night = night_of(Ledger(lambda: warehouse.connect(loaded.environment, "writer")), loaded.source.name, day)
    if given.night_only:
        told = {"date": str(night.run.business_date), "run_id": night.run.run_id}
        sys.stdout.write(f"{json.dumps(told) if given.json else told['date']}\n")
        return
    _show(loaded, night)


def _show(loaded: settings.Settings, night: Night) -> None:
    from rekindle import lake

    environment, source = loaded.environment, loaded.source
    secret = Secret(identity.read_key(environment.identity.key_file), environment.identity.key_version)
    spark = cli.spark_session("replay_quarantine", environment)

    def read(table: Any) -> DataFrame:
        version = night.tables[table.name].snapshot_id
        if not lake.exists(spark, source.name, table, version):
            raise UsageError(f"the lake no longer holds {table.name} of run {night.run.run_id}; take a newer night")
        return lake.read(spark, source.name, table, version)

    try:
        found = replay(spark, source, read(QUARANTINE), night.files, str(environment.lake.bronze), secret, read(EVENTS))
    finally:
        spark.stop()
    console = Console(width=None if sys.stdout.isatty() else NOT_A_TERMINAL, highlight=False, markup=False)
    console.print(grid(found, night.files))
    console.print(words(source.name, night, found, loaded.ingest_version), soft_wrap=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
