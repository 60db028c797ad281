"""Try a source's mapping on a landing folder, and say what would become of every line. Nothing is kept.

Reads   the landing folder
Writes  nothing

A manual job: `make check-source SOURCE=… LANDING=…`. It copies the files into a temporary folder, cleans them there as
a night would, and removes it. What it prints holds raw lines and ids: it is for those who may see them. Exit codes:
0 the mapping loads, 2 it does not or the command line is wrong, 3 not one line is clean.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich import box
from rich.console import Console
from rich.table import Table as Grid
from rich.text import Text

from rekindle import cli, settings
from rekindle.landing_inspection import inspect, list_landing, refused, unnamed
from rekindle.landing_lines import lines
from rekindle.ledger_rows import LandedFile
from rekindle.refusals import DataRefused, UsageError
from rekindle.sources import KINDS_OF, Ingest

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

SAMPLES = 10
SHOWN_CHARACTERS = 200
NOT_A_TERMINAL = 140  # columns, where nobody says how wide the paper is


@dataclass(frozen=True)
class Tried:
    """What a dry run found: files, fates by (kind, fate), quarantined lines by (kind, rule), words of the rules.

    `samples` are lines by table: canonical columns, place, fate, rule, reason, and the place of the line kept.
    `filled` is the share of clean lines of a table in which a canonical column is not null, 0 to 1.
    """

    files: tuple[LandedFile, ...]
    ignored: tuple[str, ...]
    fates: Counter[tuple[str, str]]
    rules: Counter[tuple[str, str]]
    words: Mapping[str, str]
    samples: Mapping[str, Sequence[Any]]
    filled: Mapping[str, Mapping[str, float]]
    texts: Mapping[tuple[str, int], str]

    @property
    def clean(self) -> int:
        """Clean lines of all kinds."""
        return sum(count for (_, fate), count in self.fates.items() if fate == "clean")


def take_all(folder: Path, source: Ingest, bronze: Path) -> tuple[list[LandedFile], tuple[str, ...]]:
    """Every file of the folder, whatever its day, taken into the bronze given or refused; and the names for people.

    Raises:
        DataRefused: the folder cannot be listed.
    """
    listing = list_landing(folder, source, date.max)
    taken: dict[str, str] = {}
    files = []
    for listed in listing.due:
        reason = unnamed(listed, source)
        if reason:
            files.append(refused(listed, date.min, "", reason))
            continue
        file = inspect(listed, bronze, source.files[listed.kinds[0][0]].format, taken)
        if file.status == "accepted":
            taken[file.sha256] = file.name
        files.append(file)
    return files, listing.ignored


def try_out(spark: SparkSession | None, source: Ingest, folder: Path, bronze: Path) -> Tried:
    """Clean the folder's files as a first night would, and keep counts and samples; Spark is not asked without files.

    Raises:
        DataRefused: the folder cannot be listed.
    """
    files, ignored = take_all(folder, source, bronze)
    accepted = [f for f in files if f.status == "accepted"]
    fates: Counter[tuple[str, str]] = Counter()
    rules: Counter[tuple[str, str]] = Counter()
    samples: dict[str, list[Any]] = {}
    filled: dict[str, dict[str, float]] = {}
    words: dict[str, str] = {}
    if accepted and spark is not None:
        from rekindle import line_cleaning, line_rules

        words = line_rules.reason_words(source)
        kind_of = {f.sha256: f.kind for f in accepted}
        # The key is nobody's: no pseudonym is shown or kept.
        secret = line_cleaning.Secret(bytes(32), 0)
        for table, frame in line_cleaning.clean(spark, accepted, source, str(bronze), secret).items():
            for row in frame.groupBy("file_sha256", "fate", "rule").count().toLocalIterator():
                kind = kind_of[row["file_sha256"]]
                fates[kind, row["fate"]] += row["count"]
                if row["rule"]:
                    rules[kind, row["rule"]] += row["count"]
            samples[table] = samples_of(frame)
            filled[table] = filled_of(frame, canonical_columns(source, table))
    shown = [row for rows in samples.values() for row in rows]
    return Tried(tuple(files), ignored, fates, rules, words, samples, filled, texts_of(shown, bronze))


def canonical_columns(source: Ingest, table: str) -> list[str]:
    """The canonical columns of a table that a mapping can fill."""
    mapping = next(type(f.mapping).__name__ for f in source.files.values() if f.table == table)
    told = [name for name in KINDS_OF[mapping] if name != "event_type"]
    return (
        (["event_id", "event_ts", "event_type"] if table == "events" else [])
        + told
        + ["repairs"]
        + (["flags"] if table == "events" else [])
    )


def samples_of(frame: DataFrame) -> list[Any]:
    """The first lines, by place, of every fate and every rule."""
    from pyspark.sql import Window
    from pyspark.sql import functions as F

    from rekindle.line_parsing import PLACE

    turn = F.row_number().over(Window.partitionBy("fate", "rule").orderBy(*PLACE))
    first = frame.withColumn("turn", turn).where(F.col("turn") <= SAMPLES).orderBy("fate", "rule", *PLACE)
    # As text: Python has no year 10000, where the last evening of 9999 may lie in the shop's zone.
    times = [c for c in ("event_ts", "event_date") if c in frame.columns]
    return first.withColumns({c: F.col(c).cast("string") for c in times}).collect()


def filled_of(frame: DataFrame, columns: Sequence[str]) -> dict[str, float]:
    """The share of clean lines in which each column is not null; none without a clean line."""
    from pyspark.sql import functions as F

    counted = frame.where("fate = 'clean'").agg(
        F.count(F.lit(1)).alias("all_"), *[F.count(c).alias(c) for c in columns]
    )
    row = counted.collect()[0]
    return {c: row[c] / row["all_"] for c in columns} if row["all_"] else {}


def texts_of(rows: Iterable[Any], bronze: Path) -> dict[tuple[str, int], str]:
    """The raw text of the sampled lines that are quarantined, cut, by file and line number."""
    wanted: dict[str, set[int]] = {}
    for row in rows:
        if row["fate"] == "quarantined":
            wanted.setdefault(row["file_sha256"], set()).add(row["line_number"])
    found = {}
    for sha256, numbers in wanted.items():
        for line in lines(bronze / sha256):
            if line.number in numbers:
                found[sha256, line.number] = raw_text(line.value)
            if line.number >= max(numbers):
                break
    return found


def raw_text(value: bytes | None) -> str:
    """A line on one line of paper: cut, and what cannot be seen written out."""
    if value is None:
        return "(longer than a line may be)"
    cut = value[: 4 * SHOWN_CHARACTERS].decode("utf-8", "backslashreplace")
    shown = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in cut)
    return shown if len(shown) <= SHOWN_CHARACTERS else shown[:SHOWN_CHARACTERS] + "…"


def drift_of(files: Sequence[LandedFile], source: Ingest) -> list[str]:
    """A sentence for every name that files have and the mapping does not, or the other way round."""
    told = []
    for kind, conf in source.files.items():
        own = [f for f in files if f.kind == kind and f.status == "accepted" and f.columns]
        counts = Counter(name for f in own for name in f.columns)
        declared = set(conf.format.names)
        for name in sorted(set(counts) - declared):
            told.append(
                f"{kind}: {raw_text(name.encode())} is in {counts[name]} of {len(own)} files, not in the mapping"
            )
        for name in sorted(declared):
            if own and counts[name] < len(own):
                told.append(f"{kind}: {name} is in the mapping, not in {len(own) - counts[name]} of {len(own)} files")
    return told


def show(tried: Tried, source: Ingest, console: Console) -> None:
    """Print what was found."""
    accepted = [f for f in tried.files if f.status == "accepted"]
    others = [f for f in tried.files if f.status == "refused"]
    grid = Grid("kind", "table", "files", "lines", "clean", "duplicate", "quarantined", box=box.SIMPLE_HEAD)
    for kind, conf in source.files.items():
        own = [f for f in accepted if f.kind == kind]
        counts = [tried.fates[kind, fate] for fate in ("clean", "duplicate", "quarantined")]
        landed = sum(f.lines - f.header_lines for f in own)
        grid.add_row(kind, conf.table, str(len(own)), str(landed), *map(str, counts))
    console.print(f"Files: {len(accepted)} taken, {len(others)} refused, {len(tried.ignored)} for people to read")
    for file in others:
        line(console, f"  refused {file.name}: {file.reason}")
    console.print("\nWhat would become of the lines", style="bold")
    console.print(grid)
    if tried.rules:
        grid = Grid("kind", "rule", "lines", "reason", box=box.SIMPLE_HEAD)
        for (kind, rule), count in sorted(tried.rules.items(), key=lambda r: (-r[1], r[0])):
            grid.add_row(kind, rule, str(count), tried.words.get(rule, ""))
        console.print("Why lines are quarantined", style="bold")
        console.print(grid)
    show_columns(tried, source, console)
    show_samples(tried, console)
    console.print("\nNothing was written: no table, no ledger, no bronze. The lines above hold raw ids.", style="bold")


def show_columns(tried: Tried, source: Ingest, console: Console) -> None:
    """Print what the files' names and the mapping do not share, and how often each canonical column is filled."""
    drift = drift_of(tried.files, source)
    console.print("Names in the files and in the mapping" + ("" if drift else ": the same"), style="bold")
    for sentence in drift:
        line(console, f"  {sentence}")
    for table, shares in tried.filled.items():
        told = ", ".join(f"{name} {100 * share:.1f} %" for name, share in shares.items() if share > 0)
        never = ", ".join(name for name, share in shares.items() if share == 0)
        console.print(f"\nFilled in clean lines of {table}", style="bold")
        line(console, f"  {told or 'there are none'}" + (f"; never: {never}" if never else ""))


def show_samples(tried: Tried, console: Console) -> None:
    """Print the sampled lines: what a clean one says, where a duplicate was told first, how a broken one looks."""
    names = {f.sha256: f.name for f in tried.files if f.status == "accepted"}
    for table, rows in tried.samples.items():
        for fate in ("clean", "duplicate", "quarantined"):
            own = [row for row in rows if row["fate"] == fate]
            if own:
                each = " of each reason" if fate == "quarantined" else ""
                console.print(f"\n{table}, {fate}: the first lines, at most {SAMPLES}{each}", style="bold")
            for row in own:
                place = f"  {names[row['file_sha256']]}:{row['line_number']}"
                if fate == "clean":
                    shares = tried.filled.get(table, {})
                    told = " ".join(f"{n}={value_of(row[n])}" for n in shares if row[n] is not None)
                    line(console, f"{place} {told}")
                elif fate == "duplicate":
                    kept = row["kept"]
                    line(console, f"{place} repeats {names[kept['file_sha256']]}:{kept['line_number']}")
                else:
                    text = tried.texts.get((row["file_sha256"], row["line_number"]), "")
                    line(console, f"{place} {row['rule']} ({row['reason']}): {text}")


def value_of(value: object) -> str:
    """A canonical value: ids cut to 16 characters where they are digests, texts quoted where they hold blanks."""
    text = raw_text(str(value).encode("utf-8", "backslashreplace"))
    if len(text) == 64 and set(text) <= set("0123456789abcdef"):
        return text[:16] + "…"
    return f'"{text}"' if " " in text else text


def line(console: Console, text: str) -> None:
    """One line as it is: nothing in a log is markup, and nothing is broken at the edge of a window."""
    console.print(Text(text), soft_wrap=True)


def arguments(argv: Sequence[str]) -> argparse.Namespace:
    """The parsed command line."""
    parser = argparse.ArgumentParser(prog="check_source", allow_abbrev=False)
    parser.add_argument("--source", required=True, help="name of a mapping in conf/sources")
    parser.add_argument("--landing", required=True, type=Path, help="the folder with the log's files")
    parser.add_argument("--env", default="local", help="name of an environment in conf/environments")
    parser.add_argument("--mapping-only", action="store_true", help="only load the mapping: Spark is not started")
    return parser.parse_args(argv)


def main(argv: Sequence[str]) -> int:
    """The exit code."""
    given = arguments(argv)
    try:
        loaded = settings.load(given.source, given.env)
        if not given.landing.is_dir():
            raise UsageError(
                f"LANDING={given.landing}: no such folder; expected the one with the files of {given.source}"
            )
        if given.mapping_only:
            return cli.DONE
        console = Console(width=None if sys.stdout.isatty() else NOT_A_TERMINAL, highlight=False)
        with tempfile.TemporaryDirectory(prefix="check-source-") as folder:
            spark = cli.spark_session("check_source", loaded.environment)
            try:
                tried = try_out(spark, loaded.source, given.landing, Path(folder))
            finally:
                spark.stop()
        show(tried, loaded.source, console)
    except settings.SettingsError as error:
        sys.stderr.write("".join(f"error: {fault}\n" for fault in error.faults))
        return cli.USAGE
    except (UsageError, DataRefused) as error:
        sys.stderr.write(f"error: {error}\n")
        return cli.USAGE
    if tried.clean == 0:
        sys.stderr.write(f"refused: not one line of {given.landing} is clean by the mapping of {given.source}\n")
        return cli.REFUSED
    return cli.DONE


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
