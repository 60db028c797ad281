"""`make bench-ingest`: cleaning made-up days of the simulated shop, beside DuckDB doing the same from the same files.

Ours is what the night calls: rekindle/line_cleaning.py and the lake's writes, in one Spark session that is up and warm,
configured as bin/spark-submit does, with a lake of its own. The reference is bench/ingest_duckdb.py, in a process of
its own. Before anything is timed, both must give every line of a small set the same fate by the same rule. Seconds are
wall time; on a machine that does something else they say little, so processor seconds stand beside them.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil  # type: ignore[import-untyped]
from rich.console import Console
from rich.table import Table

from bench import ingest_duckdb
from bench.ingest_lines import MadeFile, make
from rekindle import lake, line_cleaning, line_parsing, line_rules, settings, spark_conf
from rekindle.contract import Table as Contract
from rekindle.ledger_rows import FileFate, LandedFile
from schemas.duplicates import DUPLICATES
from schemas.events import EVENTS
from schemas.quarantine import QUARANTINE

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

SEED = 20260101
KEY = b"a key for benchmarks, not secret"
CHECKED_LINES = 100_000
SOURCE = "simulated_shop"
SAMPLED_EVERY_SECONDS = 0.25

# File, fate, rule, lines.
Fate = tuple[str, str, str | None, int]


class UnequalWork(Exception):
    """Ours and the reference do not give the same lines the same fates: nothing is timed."""


@dataclass
class Took:
    """Wall seconds by phase in order, processor seconds of all our processes, and the most memory they held."""

    phases: dict[str, float] = field(default_factory=dict)
    processor_seconds: float = 0.0
    peak_bytes: int = 0

    @property
    def seconds(self) -> float:
        """Wall seconds of all phases."""
        return sum(self.phases.values())

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Adds what its block takes to the phase."""
        started = time.perf_counter()
        yield
        self.phases[name] = self.phases.get(name, 0.0) + time.perf_counter() - started


class Watch(threading.Thread):
    """Samples this process and all below it: the JVM and its Python workers. Shared pages count in each."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.peak_bytes = 0
        self._done = threading.Event()
        self._spent: dict[int, float] = {}
        self._at_first: dict[int, float] = {}

    @property
    def processor_seconds(self) -> float:
        """Of the processes seen, since the watch began."""
        return sum(spent - self._at_first.get(pid, 0.0) for pid, spent in self._spent.items())

    def run(self) -> None:
        self._sample()
        self._at_first = dict(self._spent)
        while not self._done.wait(SAMPLED_EVERY_SECONDS):
            self._sample()

    def stop(self) -> None:
        """A last look, and no more."""
        self._done.set()
        self.join()
        self._sample()

    def _sample(self) -> None:
        this = psutil.Process()
        held = 0
        for process in [this, *this.children(recursive=True)]:
            try:
                held += process.memory_info().rss
                times = process.cpu_times()
            except psutil.Error:  # it ended while we looked
                continue
            self._spent[process.pid] = times.user + times.system
        self.peak_bytes = max(self.peak_bytes, held)


def session(folder: Path) -> SparkSession:
    """A session configured as bin/spark-submit does for the local environment, with its lake below `folder`.

    But with both of the JVM's compilers: the first alone suits drivers that live for seconds (docs/decisions/0022).
    """
    from pyspark.sql import SparkSession

    os.environ |= {
        "PYSPARK_PYTHON": sys.executable,
        # Python workers unpickle functions of our modules.
        "PYTHONPATH": os.pathsep.join([str(settings.ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]),
        "PYTHONHASHSEED": "0",
        "SPARK_LOCAL_IP": "127.0.0.1",
    }
    environment = settings.load_environment("local")
    builder = SparkSession.builder.master(environment.spark.master).appName("bench-ingest")
    for key, value in spark_conf.conf(environment).items():
        builder = builder.config(key, value)
    (folder / "lake").mkdir()
    options = spark_conf.conf(environment)["spark.driver.extraJavaOptions"].replace("-XX:TieredStopAtLevel=1", "")
    return (
        builder.config("spark.driver.extraJavaOptions", options)
        .config("spark.jars", ",".join(map(str, spark_conf.jars(settings.home()))))
        .config(f"spark.sql.catalog.{spark_conf.CATALOG}.uri", f"jdbc:sqlite:{folder}/lake/catalog.db")
        .config(f"spark.sql.catalog.{spark_conf.CATALOG}.warehouse", str(folder / "lake/warehouse"))
        .config("spark.sql.warehouse.dir", str(folder / "lake/spark"))
        .config("spark.local.dir", str(folder / "spill"))
        .getOrCreate()
    )


def landed(files: Sequence[MadeFile]) -> list[LandedFile]:
    """The files as preflight would have told the ledger."""
    return [
        LandedFile(f.name, f.landing_date, f.sha256, f.size_bytes, 0, f.lines, 0, "accepted", kind="events")
        for f in files
    ]


def cleaned_and_written(
    spark: SparkSession, source: settings.Source, files: Sequence[LandedFile], bronze: str, run: int
) -> tuple[Took, list[FileFate], dict[str, int]]:
    """What the night does with new files up to the lake, timed; fates by file; and quarantined lines by rule.

    Raises:
        UnequalWork: lines and fates do not add up.
    """
    took, watch = Took(), Watch()
    watch.start()
    run_id = f"r{run:016x}"
    with took.phase("read, parse, rules, duplicates"):
        cleaned = line_cleaning.clean(spark, files, source, bronze, line_cleaning.Secret(KEY, 1))
    with took.phase("count fates"):
        told = line_cleaning.counted(cleaned, files)
    tables: dict[Contract, DataFrame] = {
        EVENTS: cleaned["events"].where("fate = 'clean'"),
        DUPLICATES: line_cleaning.duplicates(cleaned),
        QUARANTINE: line_cleaning.quarantined(cleaned),
    }
    for table, rows in tables.items():
        with took.phase(f"write {table.name}"):
            lake.write(spark, source.name, table, run_id, rows)
    watch.stop()
    spark.catalog.clearCache()
    faults = line_cleaning.unbalanced(told.fates, {f.sha256: f.name for f in files})
    if faults:
        raise UnequalWork(f"ours does not add up: {'; '.join(faults[:3])}")
    took.processor_seconds, took.peak_bytes = watch.processor_seconds, watch.peak_bytes
    return took, told.fates, told.rules


def forget(spark: SparkSession, source: settings.Source) -> None:
    """Drop what was written, files included."""
    for table in (EVENTS, DUPLICATES, QUARANTINE):
        spark.sql(f"DROP TABLE IF EXISTS {lake.qualified(source.name, table)} PURGE")


def steps_alone(
    spark: SparkSession, source: settings.Source, files: Sequence[LandedFile], bronze: str
) -> dict[str, float]:
    """Seconds of reading, reading and parsing, and so on, each run for itself with its rows thrown away."""
    conf = source.events[0]
    lines = line_parsing.landed_lines(spark, files, bronze, conf.format)
    parsed = line_parsing.parse(lines, conf.format)
    frames = {
        "read": lines,
        "… and parse": parsed,
        "… and map, rules": line_rules.canonical(parsed, source, conf),
        "… and pseudonyms": line_cleaning.ruled_lines(spark, files, source, bronze, line_cleaning.Secret(KEY, 1)),
    }
    found = {}
    for name, frame in frames.items():
        started = time.perf_counter()
        frame.write.format("noop").mode("overwrite").save()
        found[name] = time.perf_counter() - started
    return found


def in_own_process(files: Sequence[MadeFile], folder: Path) -> ingest_duckdb.Reference:
    """The reference over the files below `folder`, in a fresh process, so that its memory is its own.

    Raises:
        subprocess.CalledProcessError: it failed; it has said why.
    """
    told = [asdict(f) | {"landing_date": f.landing_date.isoformat()} for f in files]
    (folder / "files.json").write_text(json.dumps(told), encoding="utf-8")
    command = [sys.executable, __file__, "--reference", str(folder)]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    answer = json.loads(done.stdout.splitlines()[-1])
    answer["fates"] = [tuple(row) for row in answer["fates"]]
    return ingest_duckdb.Reference(**answer)


def reference(folder: Path) -> None:
    """The other side of `in_own_process`: cleans, and writes what it took as JSON to stdout."""
    from datetime import date

    told = json.loads((folder / "files.json").read_text(encoding="utf-8"))
    files = [MadeFile(**f | {"landing_date": date.fromisoformat(f["landing_date"])}) for f in told]
    source = settings.load(SOURCE).source
    shutil.rmtree(folder / "reference", ignore_errors=True)
    (folder / "reference").mkdir()
    took = ingest_duckdb.clean(
        files, folder / "landing", source, KEY, line_rules.reason_words(source), folder / "reference"
    )
    sys.stdout.write(json.dumps(asdict(took)) + "\n")


def check_equal(spark: SparkSession, source: settings.Source, folder: Path) -> int:
    """The lines of a small set that both sides were found to agree about, one by one where they are not clean.

    Raises:
        UnequalWork: they do not; the message has the first differences.
    """
    import duckdb

    files = make(folder, CHECKED_LINES, SEED)
    theirs = in_own_process(files, folder)
    cleaned = line_cleaning.clean(spark, landed(files), source, str(folder / "bronze"), line_cleaning.Secret(KEY, 1))
    rows = cleaned["events"].groupBy("file_sha256", "fate", "rule").count().collect()
    _same("lines by file, fate and rule", {tuple(r) for r in rows}, set(theirs.fates))
    events = cleaned["events"].where("fate = 'clean'")
    ours: dict[str, DataFrame] = {
        "duplicates": line_cleaning.duplicates(cleaned),
        "quarantine": line_cleaning.quarantined(cleaned).drop("byte_offset"),
        "events": events.select(
            "event_id", "user_key", "event_type", "event_ts", "event_date", "item_id", "title", "category", "brand",
            "order_id", "quantity", "unit_price", "stars", "text", "session_id", "channel", "repairs",
            "file_sha256", "line_number",
        ),
    }  # fmt: skip
    for name, frame in ours.items():
        columns = ", ".join(frame.columns)
        with duckdb.connect() as connection:
            connection.execute("SET timezone = 'UTC'")
            relation = connection.read_parquet(str(folder / "reference" / f"{name}.parquet")).project(columns)
            found = relation.to_arrow_table()
        expected = frame.toArrow().cast(found.schema)
        _same(name, set(map(str, expected.to_pylist())), set(map(str, found.to_pylist())))
    spark.catalog.clearCache()
    return sum(f.lines for f in files)


def _same(what: str, ours: set[Any], theirs: set[Any]) -> None:
    if ours != theirs:
        told = [
            f"only {who}: {sorted(map(str, rows))[:3]}"
            for who, rows in (("ours", ours - theirs), ("DuckDB", theirs - ours))
        ]
        raise UnequalWork(f"{what}: {len(ours ^ theirs)} differences; {'; '.join(told)}")


def _summed(fates: Sequence[Fate], key: Callable[[Fate], tuple[Any, ...]]) -> set[tuple[Any, ...]]:
    found: Counter[tuple[Any, ...]] = Counter()
    for row in fates:
        found[key(row)] += row[3]
    return {(*told, lines) for told, lines in found.items()}


def measure(lines: Sequence[int], folder: Path, compressed: bool, steps: bool, console: Console) -> None:
    """Print the table over all sizes, and where the time goes."""
    source = settings.load(SOURCE).source
    say: Callable[[str], None] = console.print
    spark = session(folder)
    agreed = check_equal(spark, source, folder / "check")
    shutil.rmtree(folder / "check")
    say(f"Both give {agreed:,} lines the same fate, rule, place and content.")
    table = Table(
        "lines", "DuckDB", "ours", "ratio", "processor seconds", "growth", "DuckDB's memory", "our memory",
        title="Cleaning on two cores" + (", gzip" if compressed else ""),
    )  # fmt: skip
    first: tuple[int, float] | None = None
    parts = Table("lines", "whose", "seconds by phase", title="Where the time goes")
    for run, count in enumerate(lines):
        here = folder / str(count)
        files = make(here, count, SEED + run, compressed)
        theirs = in_own_process(files, here)
        shutil.rmtree(here / "reference")
        ours, fates, rules = cleaned_and_written(spark, source, landed(files), str(here / "bronze"), run)
        found = {
            (f.file_sha256, fate, getattr(f, fate)) for f in fates for fate in line_cleaning.FATES if getattr(f, fate)
        }
        _same(f"{count:,} lines by file and fate", found, _summed(theirs.fates, lambda row: (row[0], row[1])))
        by_rule = _summed([row for row in theirs.fates if row[2]], lambda row: (row[2],))
        _same(f"{count:,} lines by rule", set(rules.items()), by_rule)
        forget(spark, source)
        first = first or (count, ours.seconds)
        table.add_row(
            f"{count:,}",
            f"{theirs.seconds:.1f} s",
            f"{ours.seconds:.1f} s",
            f"{ours.seconds / theirs.seconds:.2f}",
            f"{theirs.processor_seconds:.0f} / {ours.processor_seconds:.0f}",
            f"{ours.seconds / first[1]:.1f} for {count / first[0]:.0f}",
            f"{theirs.peak_bytes / 1e9:.1f} GB",
            f"{ours.peak_bytes / 1e9:.1f} GB",
        )
        parts.add_row(f"{count:,}", "DuckDB", told(theirs.phases))
        parts.add_row("", "ours", told(ours.phases))
        say(f"{count:,} lines: DuckDB {theirs.seconds:.1f} s, ours {ours.seconds:.1f} s")
        if steps and run == 0:
            alone = steps_alone(spark, source, landed(files), str(here / "bronze"))
            parts.add_row("", "ours, rows thrown away", told(alone))
        shutil.rmtree(here)
    spark.stop()
    console.print(table)
    console.print(parts)


def told(phases: dict[str, float]) -> str:
    """Phases in a cell."""
    return "\n".join(f"{seconds:7.2f}  {name}" for name, seconds in phases.items())


def main() -> None:
    """Parse the command line and measure."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument(
        "--lines", default="1000000,3000000,10000000", help="sizes, by comma; growth counts from the first"
    )
    parser.add_argument("--folder", type=Path, help="where to work (10 million lines need 12 GB); default: temporary")
    parser.add_argument("--gzip", action="store_true", help="files in gzip level 1 instead of plain")
    parser.add_argument("--steps", action="store_true", help="also run the steps of reading alone, on the first size")
    parser.add_argument("--reference", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.reference:
        reference(given.reference)
        return
    sizes = [int(n) for n in given.lines.split(",")]
    if given.folder:
        given.folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="bench-ingest-", dir=given.folder) as folder:
        measure(sizes, Path(folder), given.gzip, given.steps, Console())


if __name__ == "__main__":
    main()
