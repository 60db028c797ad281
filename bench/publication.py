"""Part of `make bench`: five million recommendations from Parquet into the warehouse, published, and read meanwhile.

On one server, into equal tables with equal keys: our streamed COPY, `psql \\copy` of the same rows from a CSV file, and
Spark's JDBC writer. Then the publishing transaction by itself, and how long a reader waits for one user's list: while
nothing else happens, while five million rows are staged, and while nights are published one after the other.
"""

from __future__ import annotations

import argparse
import hashlib
import multiprocessing
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
from psycopg import sql
from rich.console import Console
from rich.table import Table as Grid

from bench.ingest import session
from rekindle import embedded, publication, settings, warehouse
from rekindle.ledger import Ledger, Run, RunKey
from schemas.recommendations import RECOMMENDATIONS
from tests.rekindle.conftest import local_environment

SHOP, DAY, PLACES = "bench_shop", date(2026, 4, 30), 20
SEED = 20260101
CHUNK_USERS = 10_000
IDLE_SECONDS = 10.0


def chunk(first: int, users: int) -> pa.Table:
    """The lists of some users, as a night writes them: keys of 64 digits, users in no order, twenty places each."""
    rng = np.random.default_rng(SEED + first)
    keys = [hashlib.sha256(str(n).encode()).hexdigest() for n in range(first, first + users)]
    n = users * PLACES
    item = rng.integers(0, 5000, n)
    return pa.table(
        {
            "user_key": pa.array(keys).take(pa.array(np.repeat(np.arange(users), PLACES))),
            "rank": pa.array(np.tile(np.arange(1, PLACES + 1, dtype=np.int32), users)),
            "item_id": pa.array([f"sku-{i:05}" for i in item]),
            "title": pa.array([f"Teapot, blue, number {i}" for i in item]),
            "category": pa.array([f"category {i % 40}" for i in item]),
            "last_price": pa.array(np.round(rng.gamma(2, 12, n), 2)),
            "score": pa.array(rng.random(n)),
            "reason": pa.array(["others who bought the lamp bought this"] * n),
            "candidate_source": pa.array(["als"] * n),
            "place": pa.array(["by_score"] * n),
            "propensity": pa.array(np.ones(n)),
            "rank_before_rules": pa.array(np.tile(np.arange(1, PLACES + 1, dtype=np.int32), users)),
            "model_version": pa.array(["0123456789abcdef"] * n),
            "business_date": pa.array([DAY] * n),
        }
    )


def write_rows(folder: Path, rows: int) -> tuple[Path, Path]:
    """The rows as Parquet, as the lake has them, and as a CSV file for psql with the columns of the table."""
    parquet, csv = folder / "rows.parquet", folder / "rows.csv"
    users = rows // PLACES
    writer, lines = None, csv.open("wb")
    with lines:
        for first in range(0, users, CHUNK_USERS):
            part = chunk(first, min(CHUNK_USERS, users - first))
            writer = writer or pq.ParquetWriter(parquet, part.schema)
            writer.write_table(part)
            constants = {"run_id": "psql", "source": SHOP}
            told = pa.table(
                [pa.array([v] * part.num_rows) for v in constants.values()] + part.columns,
                names=[*constants, *part.column_names],
            )
            pyarrow.csv.write_csv(told, lines, pyarrow.csv.WriteOptions(include_header=False))
    if writer is not None:
        writer.close()
    return parquet, csv


def batches(parquet: Path) -> Iterator[pa.RecordBatch]:
    """The file's rows, streamed."""
    return pq.ParquetFile(parquet).iter_batches(batch_size=20_000)


@contextmanager
def server() -> Iterator[settings.Environment]:
    """A migrated warehouse of its own."""
    home = Path(tempfile.mkdtemp(prefix="rekindle-bench-"))
    home.chmod(0o711)
    try:
        embedded.start(home)
        environment = local_environment(home)
        warehouse.migrate(environment, [RECOMMENDATIONS])
        yield environment
    finally:
        embedded.stop(home)
        shutil.rmtree(home)


def new_run(environment: settings.Environment, number: int) -> Run:
    """A run of the day."""
    key = RunKey(f"run_{number}", SHOP, DAY, "code", "conf", "ingest", 1, False)
    return Ledger(lambda: warehouse.connect(environment, "writer")).open_run(key, [], {})


def add_users(environment: settings.Environment, users: int) -> None:
    """Everybody into the vault."""
    pairs = ((hashlib.sha256(str(n).encode()).hexdigest(), f"user {n}") for n in range(users))
    with warehouse.connect(environment, "writer") as conn:
        warehouse.add_user_keys(conn, SHOP, 1, pairs, lambda user_id: 0.5)
        conn.commit()
        warehouse.analyse(conn, "vault", "user_keys")


def like_it(environment: settings.Environment, name: str) -> None:
    """A table with the columns and the key of serve.recommendations, the writer's to fill."""
    with warehouse.connect(environment, "owner") as conn:
        for statement in replace(RECOMMENDATIONS, name=name).postgres_ddl("serve"):
            conn.execute(statement)  # type: ignore[call-overload]
        conn.execute(sql.SQL("GRANT SELECT, INSERT, DELETE ON {} TO writer").format(sql.Identifier("serve", name)))
        # All three begin with what they have to write to disk, not with what the one before left behind.
        conn.commit()
        conn.autocommit = True
        conn.execute("CHECKPOINT")


def by_psql(environment: settings.Environment, csv: Path) -> float:
    """Seconds that psql takes to copy the file."""
    like_it(environment, "by_psql")
    columns = ", ".join(["run_id", "source", *RECOMMENDATIONS.names])
    started = time.perf_counter()
    subprocess.run(
        [
            *(str(embedded.binaries() / "psql"), "-X", "-q", "-v", "ON_ERROR_STOP=1"),
            *("-c", f"\\copy serve.by_psql ({columns}) FROM '{csv}' (FORMAT csv)"),
        ],
        env=os.environ
        | {
            "PGHOST": "127.0.0.1",
            "PGPORT": str(warehouse.port(environment)),
            "PGUSER": "writer",
            "PGDATABASE": environment.warehouse.database,
            "PGPASSWORD": warehouse.password(environment, "writer"),
        },
        check=True,
    )
    return time.perf_counter() - started


def by_jdbc(spark: Any, environment: settings.Environment, parquet: Path, name: str, **options: str) -> float:
    """Seconds that Spark's JDBC writer takes."""
    from pyspark.sql import functions as F

    like_it(environment, name)
    url = f"jdbc:postgresql://127.0.0.1:{warehouse.port(environment)}/{environment.warehouse.database}"
    rows = spark.read.parquet(str(parquet)).repartition(2).withColumns({"run_id": F.lit("jdbc"), "source": F.lit(SHOP)})
    started = time.perf_counter()
    (
        rows.write.format("jdbc")
        .options(url=url, dbtable=f"serve.{name}", user="writer", password=warehouse.password(environment, "writer"))
        .options(driver="org.postgresql.Driver", **options)
        .mode("append")
        .save()
    )
    return time.perf_counter() - started


def by_copy(environment: settings.Environment, parquet: Path) -> float:
    """Seconds of our streamed COPY alone."""
    like_it(environment, "by_copy")
    table = replace(RECOMMENDATIONS, name="by_copy")
    started = time.perf_counter()
    with warehouse.connect(environment, "writer") as conn:
        warehouse.copy_batches(conn, table, "copy", SHOP, batches(parquet))
    return time.perf_counter() - started


def read_on(environment: settings.Environment, users: int, path: Path) -> None:
    """Look up one user's list after the other until ended; (instant, seconds) of each goes into the file."""
    rng = np.random.default_rng(SEED)
    with warehouse.connect(environment, "crm_reader") as conn, path.open("wb", buffering=0) as told:
        conn.autocommit = True
        while True:
            user = f"user {rng.integers(0, users)}"
            started = time.perf_counter()
            rows = conn.execute(
                "SELECT rank, item_id, title, last_price, now() - data_through FROM recommendations"
                " WHERE source = %s AND user_id = %s ORDER BY rank",
                [SHOP, user],
            ).fetchall()
            seconds = time.perf_counter() - started
            if len(rows) != PLACES:
                raise AssertionError(f"{user} has {len(rows)} rows")
            told.write(np.array([time.time(), seconds]).tobytes())
            time.sleep(0.002)  # 300 to 500 look-ups a second, as a busy CRM asks


class Reader:
    """A reader in a process of its own."""

    def __init__(self, environment: settings.Environment, users: int, path: Path) -> None:
        self.path = path
        self.process = multiprocessing.get_context("fork").Process(target=read_on, args=(environment, users, path))
        self.process.start()

    def p99(self, since: float, until: float) -> tuple[float, float, int]:
        """99th percentile and longest of the look-ups between two instants, milliseconds, and how many there were."""
        seen = np.frombuffer(self.path.read_bytes()).reshape(-1, 2)
        took = 1000 * seen[(seen[:, 0] >= since) & (seen[:, 0] <= until), 1]
        return float(np.percentile(took, 99)), float(took.max()), len(took)

    def stop(self) -> None:
        """End the process."""
        self.process.terminate()
        self.process.join()


def main() -> None:
    """Measure and print one table."""
    parser = argparse.ArgumentParser(prog="bench/publication.py", description=__doc__)
    parser.add_argument("--rows", type=int, default=5_000_000)
    rows = parser.parse_args().rows
    console = Console(width=110)
    with tempfile.TemporaryDirectory(prefix="rekindle-bench-") as name, server() as environment:
        folder = Path(name)
        parquet, csv = write_rows(folder, rows)
        add_users(environment, rows // PLACES)
        psql = by_psql(environment, csv)
        copied = by_copy(environment, parquet)
        with session(folder) as spark:
            plain = by_jdbc(spark, environment, parquet, "by_jdbc")
            tuned = by_jdbc(
                spark, environment, parquet, "by_jdbc_tuned", batchsize="10000", reWriteBatchedInserts="true"
            )
        through = datetime(2026, 5, 1, tzinfo=UTC)
        first, second = new_run(environment, 1), new_run(environment, 2)
        with warehouse.connect(environment, "writer") as conn:
            small = {RECOMMENDATIONS.name: publication.stage(conn, first, RECOMMENDATIONS, batches(parquet))}
            publication.publish(conn, first, small, [RECOMMENDATIONS], through)
            reader = Reader(environment, rows // PLACES, folder / "look-ups")
            try:
                time.sleep(2)
                at = [time.time()]
                time.sleep(IDLE_SECONDS)
                at.append(time.time())
                held = publication.stage(conn, second, RECOMMENDATIONS, batches(parquet))
                at.append(time.time())
                publication.publish(conn, second, {RECOMMENDATIONS.name: held}, [RECOMMENDATIONS], through)
                at.append(time.time())
                moved = publish_on(conn)
                at.append(time.time())
            finally:
                reader.stop()
            idle, staging, publishing = (reader.p99(at[a], at[b]) for a, b in ((0, 1), (1, 2), (3, 4)))
    loads = Grid(title=f"{rows:,} recommendations into the warehouse", title_justify="left")
    for column in ("way", "seconds", "rows a second", "against ours"):
        loads.add_column(column, justify="left" if column == "way" else "right")
    for way, seconds in (
        ("our COPY, streamed from Parquet", copied),
        ("psql \\copy of a CSV file", psql),
        ("Spark's JDBC writer", plain),
        ("Spark's JDBC writer, batches of 10,000, rewritten", tuned),
        ("staged: our COPY, fingerprint, users known, ANALYZE", at[2] - at[1]),
    ):
        loads.add_row(way, f"{seconds:.1f}", f"{rows / seconds:,.0f}", f"{seconds / copied:.2f}")
    console.print(loads)
    console.print(
        f"our COPY takes {copied / psql:.2f} times as long as psql (aim 1.3), Spark's JDBC writer"
        f" {plain / copied:.1f} times as long as our COPY (aim 4)"
    )
    console.print(f"publishing transaction: {1000 * (at[3] - at[2]):.0f} ms (aim 1,000)")
    waits = Grid(title="one user's list by key, milliseconds", title_justify="left")
    for column in ("while", "look-ups", "p99", "longest", "p99 against idle"):
        waits.add_column(column, justify="left" if column == "while" else "right")
    for meanwhile, (p99, longest, count) in (
        ("nothing else happens (aim 5)", idle),
        (f"{rows:,} rows are staged (aim 2 x idle)", staging),
        (f"{moved} nights are published", publishing),
    ):
        waits.add_row(meanwhile, f"{count:,}", f"{p99:.2f}", f"{longest:.1f}", f"{p99 / idle[0]:.2f}")
    console.print(waits)


def publish_on(conn: warehouse.Connection) -> int:
    """Move the pointer between the two big runs for ten seconds; how often it moved."""
    moves, deadline = 0, time.monotonic() + IDLE_SECONDS
    while time.monotonic() < deadline:
        publication.roll_back(conn, SHOP, f"run_{1 + moves % 2}", "bench", "")
        moves += 1
        time.sleep(0.05)
    return moves


if __name__ == "__main__":
    main()
