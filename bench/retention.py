"""`make bench-retention`: tonight's retention against the length of the shop's history, beside counting everything.

A made-up shop of two years: an event belongs to a visit of five, a user has fifty events on average, the liveliest far
more; three channels, forty categories. Tonight brings 100,000 events, three in a hundred of them late by up to a month.
Timed is what the night calls: user_days of tonight's events and rekindle/methods/retention.py over them and the rows of
Parquet that the night before left, until both tables of sums are written; and the same from all events, where nothing
is known. DuckDB answers a part of it from the same events: users by day, week and month, new and retained, in all and
by channel and category, and weekly cohorts; no funnel, windows, second orders or revenue retention. At the smallest
size both of ours are compared row by row first. Wall seconds say little on a machine that does something else, so
processor seconds of all our processes stand beside them.

Counting more than COUNTED_UP_TO events takes hours on two cores. Of a longer history only user_days is made, whole,
and the sums that tonight adds to are those of the longest history that was counted: as many periods and groups.
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import duckdb
from pyspark.sql import functions as F
from rich.console import Console
from rich.table import Table as Grid

from bench.ingest import Took, UnequalWork, Watch, session
from rekindle.methods import retention
from rekindle.methods.retention_days import user_days
from rekindle.retention_conf import Retention

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame, SparkSession

FIRST, DAYS = date(2024, 5, 1), 730
LAST = FIRST + timedelta(days=DAYS)  # tonight
TONIGHT, VISIT, EVENTS_A_USER = 100_000, 5, 50
COUNTED_UP_TO = 10_000_000
ROWS_A_TASK = 1_000_000
CONF = Retention()

REFERENCE = """
CREATE TABLE acts AS SELECT hash(user_key) AS u, event_date AS d, channel, category, event_type = 'purchase' AS bought
FROM read_parquet([{files}]);
CREATE TABLE members AS
SELECT DISTINCT u, d, kind, name FROM (SELECT u, d, 'all' AS kind, 'all' AS name FROM acts UNION ALL
SELECT u, d, 'channel', channel FROM acts UNION ALL SELECT u, d, 'category', category FROM acts);
CREATE TABLE periods AS
WITH spread AS (SELECT DISTINCT u, kind, name, unit, CAST(date_trunc(unit, d) AS DATE) AS p
                FROM members, (VALUES ('day'), ('week'), ('month')) units(unit)),
     placed AS (SELECT *, lag(p) OVER (PARTITION BY u, kind, name, unit ORDER BY p) AS before FROM spread)
SELECT unit, p, kind, name, count(*) AS active, count(*) FILTER (before IS NULL) AS new,
       count(*) FILTER (before = CASE unit WHEN 'day' THEN p - INTERVAL 1 DAY WHEN 'week' THEN p - INTERVAL 7 DAY
                        ELSE p - INTERVAL 1 MONTH END) AS retained
FROM placed GROUP BY ALL;
CREATE TABLE cohorts AS
WITH weeks AS (SELECT DISTINCT u, date_trunc('week', d) AS w FROM acts),
     placed AS (SELECT *, min(w) OVER (PARTITION BY u) AS first FROM weeks)
SELECT first, w, count(*) AS users FROM placed GROUP BY ALL;
"""


@dataclass(frozen=True)
class Made:
    """Where the events of one size lie."""

    history: Path
    tonight: Path


def events(spark: SparkSession, visits: int, users: int, tonight: bool) -> DataFrame:
    """Events by hashes of their number: the same whenever they are made."""
    visit = F.floor(F.col("id") / VISIT)
    salt = F.lit("tonight" if tonight else "history")

    def drawn(*of: str) -> Column:
        """Uniform in [0, 1), by hash."""
        return F.pmod(F.xxhash64(*[F.lit(one) for one in of], salt, visit), F.lit(1 << 30)) / F.lit(float(1 << 30))

    step = F.pmod("id", F.lit(VISIT))
    back = F.when(drawn("late") < 0.03, F.floor(drawn("how late") * 30)).otherwise(0)
    day = F.lit(DAYS) - back if tonight else F.floor(drawn("day") * DAYS)
    kind = F.when(step < 3, "view").when((step == 3) & (drawn("cart") < 0.4), "cart")
    kind = kind.when((step == 4) & (drawn("cart") < 0.15), "purchase").otherwise("view")
    event_date = F.date_add(F.lit(FIRST), day.cast("int"))
    paid = kind == "purchase"
    return spark.range(visits * VISIT).select(
        F.concat(salt, F.col("id").cast("string")).alias("event_id"),
        F.sha2(F.floor(drawn("user") * drawn("user") * users).cast("string"), 256).alias("user_key"),
        kind.alias("event_type"),
        F.timestamp_seconds(F.unix_date(event_date) * 86_400 + 43_200 + step * 60).alias("event_ts"),
        event_date.alias("event_date"),
        F.concat(F.lit("c"), F.floor(drawn("category") * 20).cast("int") * 2 + F.pmod(step, F.lit(2))).alias(
            "category"
        ),
        F.element_at(F.array(*map(F.lit, ("app", "web", "shop"))), F.floor(drawn("channel") * 3).cast("int") + 1).alias(
            "channel"
        ),
        F.lit(None).cast("string").alias("order_id"),
        F.when(paid, 1.0).alias("quantity"),
        F.when(paid, F.round(5 + drawn("price") * 95, 2)).alias("unit_price"),
        (F.lit(LAST) if tonight else event_date).alias("landing_date"),
    )


def make(spark: SparkSession, folder: Path, size: int) -> Made:
    """The events of a history of that size, and tonight's, as Parquet; the history only where all of it is counted."""
    users = size // EVENTS_A_USER
    made = Made(folder / "history", folder / "tonight")
    if size <= COUNTED_UP_TO:
        events(spark, size // VISIT, users, tonight=False).write.parquet(str(made.history))
    events(spark, TONIGHT // VISIT, users, tonight=True).write.parquet(str(made.tonight))
    return made


def count(spark: SparkSession, told: DataFrame, known: Path | None, out: Path, as_of: date) -> Took:
    """What a night does with the events it adds to `known`, up to the written tables of `out`."""
    took, watch = Took(), Watch()
    watch.start()
    with took.phase("user_days"):
        user_days(told).write.parquet(str(out / "days"))
    before = None
    if known is not None:
        rows, sums, cells = (spark.read.parquet(str(known / name)) for name in ("days", "sums", "cells"))
        before = retention.Known(rows, sums, cells, None)
    added = spark.read.parquet(str(out / "days"))
    cohorts = CONF.cohorts.model_dump()
    counted = retention.count(added, before, None, as_of, CONF.funnel_days, CONF.windows, cohorts)
    with took.phase("period_counts"):
        counted.sums.write.parquet(str(out / "sums"))
    with took.phase("retention_counts"):
        counted.cells.write.parquet(str(out / "cells"))
    counted.release()
    watch.stop()
    took.processor_seconds, took.peak_bytes = watch.processor_seconds, watch.peak_bytes
    return took


def reference(made: Made) -> Took:
    """DuckDB's part of it, from all events."""
    files = ", ".join(f"'{folder}/*.parquet'" for folder in (made.history, made.tonight))
    took, watch = Took(), Watch()
    watch.start()
    with took.phase("duckdb"), duckdb.connect() as engine:
        engine.execute("SET threads = 2")
        engine.execute(REFERENCE.format(files=files))
    watch.stop()
    took.processor_seconds, took.peak_bytes = watch.processor_seconds, watch.peak_bytes
    return took


def compare(spark: SparkSession, ours: Path, anew: Path) -> None:
    """Both ways give the same rows.

    Raises:
        UnequalWork: they do not.
    """
    for name in ("sums", "cells"):
        one, other = (spark.read.parquet(str(folder / name)) for folder in (ours, anew))
        differing = one.exceptAll(other).count() + other.exceptAll(one).count()
        if differing:
            raise UnequalWork(f"{name}: {differing} rows differ between adding to a night and counting everything")


def measured(spark: SparkSession, folder: Path, size: int, is_compared: bool, sums: Path) -> list[tuple[str, Took]]:
    """What each way took at one size. `sums` holds those of the longest history that was counted, or comes to."""
    spark.conf.set("spark.sql.shuffle.partitions", str(max(4, size // ROWS_A_TASK)))
    made = make(spark, folder, size)
    tonight = spark.read.parquet(str(made.tonight))
    base, ours, anew = folder / "base", folder / "ours", folder / "anew"
    found: list[tuple[str, Took]] = []
    if size <= COUNTED_UP_TO:
        history = spark.read.parquet(str(made.history))
        everything = count(spark, history, None, base, LAST)
        shutil.rmtree(sums, ignore_errors=True)
        for name in ("sums", "cells"):
            shutil.copytree(base / name, sums / name)
    else:
        history = events(spark, size // VISIT, size // EVENTS_A_USER, tonight=False)
        user_days(history).write.parquet(str(base / "days"))
        for name in ("sums", "cells"):
            shutil.copytree(sums / name, base / name)
    spark.conf.set("spark.sql.shuffle.partitions", "4")
    found.append(("tonight, added", count(spark, tonight, base, ours, LAST + timedelta(days=1))))
    if size > COUNTED_UP_TO:
        return found
    if is_compared:
        # Rows of history and of tonight, without a night between.
        everything = count(spark, history.unionByName(tonight), None, anew, LAST + timedelta(days=1))
        compare(spark, ours, anew)
    return [*found, ("everything", everything), ("duckdb, a part", reference(made))]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sizes", default="1000000,10000000,100000000", help="events of history, by comma, rising")
    given = parser.parse_args()
    console = Console(width=110)
    grid = Grid("events of history", "way", "seconds", "processor seconds", "memory, MB", "by phase")
    folder = Path(tempfile.mkdtemp(prefix="rekindle-bench-"))
    try:
        spark = session(folder)
        spark.sparkContext.setLogLevel("ERROR")
        for number, size in enumerate(map(int, given.sizes.split(","))):
            at = folder / str(size)
            for way, took in measured(spark, at, size, is_compared=number == 0, sums=folder / "sums"):
                phases = ", ".join(f"{name} {seconds:.1f}" for name, seconds in took.phases.items())
                told = (f"{took.seconds:.1f}", f"{took.processor_seconds:.1f}", f"{took.peak_bytes / 2**20:.0f}")
                grid.add_row(f"{size:,}", way, *told, phases)
                console.print(f"{size:,} {way}: {told[0]} s, {told[1]} processor s ({phases})")
            shutil.rmtree(at)
        spark.stop()
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    console.print(grid)


if __name__ == "__main__":
    main()
