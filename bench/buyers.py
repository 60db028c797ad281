"""Part of `make bench`: when buyers come back and what they are worth, of 100,000 made-up ones and of a million.

Times are whole days, as shops' are, so many buyers are alike and are one row. Nothing here has a reference that does
the same; what is shown is how the time grows: here, and as a night does it on Spark, from Parquet. A million buyers are
of more kinds than are fitted one by one, so Spark rounds their times to weeks and its fits take less.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from rich.console import Console
from rich.table import Table

from bench.ingest import session
from rekindle.methods import buy_till_you_die, gamma_gamma, purchase_summaries
from rekindle.methods.buy_till_you_die import Buyers, Model
from rekindle.methods.lifetime_value import Terms, value
from rekindle.methods.purchase_summaries import SCORED, TIMES, WORTH
from tests.methods.buyers_story import lived

SEED = 20260101
SIZES = (100_000, 1_000_000)
YEAR = 365.0
STORY = Model(0.5, 60.0, 0.8, 2.5, False, 0.0)  # days
TERMS = Terms(YEAR, 0.0003, 0.4)

Found = dict[str, float]  # seconds, and a count


def made(n: int) -> tuple[Buyers, np.ndarray]:
    """Buyers known for a month to two years, in whole days; mean value of their repeat purchases."""
    lives = lived(SEED, n, STORY, (30.0, 2 * YEAR), 0)
    known = lives.buyers
    return Buyers(known.repeats, np.ceil(known.last), np.ceil(known.age), known.count), lives.mean


@contextmanager
def clock(seconds: Found, name: str) -> Iterator[None]:
    """Adds how long its block took."""
    started = time.perf_counter()
    yield
    seconds[name] = time.perf_counter() - started


def here(known: Buyers, mean: np.ndarray) -> Found:
    """By piece of work, on arrays."""
    seconds: Found = {}
    bought = known.repeats > 0
    with clock(seconds, "equal buyers as one row"):
        rows, row = Buyers.grouped(known.repeats, known.last, known.age)
    with clock(seconds, "BG/NBD fitted"):
        model = buy_till_you_die.fit(rows)
    with clock(seconds, "no purchase in a year, and purchases expected"):
        _ = model.none_within(rows, YEAR, gap=7)[row], model.expected(rows, YEAR)[row]
    with clock(seconds, "gamma-gamma fitted"):
        money = gamma_gamma.fit(known.repeats[bought], mean[bought])
    with clock(seconds, "value of a year with its interval"):
        value(model, money, known, known.repeats, mean, TERMS)
    return {"kinds of buyers": len(rows)} | seconds


def on_spark(spark: Any, path: Path, known: Buyers, mean: np.ndarray) -> Found:
    """By piece of work, as a night does it."""
    seconds: Found = {}
    columns = dict(
        zip((*TIMES, WORTH), (known.repeats, known.last, known.age, np.nan_to_num(mean, nan=30.0)), strict=True)
    )
    keys = pa.array([f"user-{number:08}" for number in range(len(known))])
    pq.write_table(pa.table({"user_key": keys, **columns}), path, row_group_size=50_000)
    frame = spark.read.parquet(str(path))
    with clock(seconds, "Spark: equal buyers counted"):
        purchase_summaries.grouped(frame)
    with clock(seconds, "Spark: a night's fits, counting included"):
        fits = purchase_summaries.fit_night(frame)
    score = purchase_summaries.scorer(fits, TERMS, horizon_days=42, gap_days=7, keys=["user_key"])
    with clock(seconds, "Spark: everybody scored, with intervals"):
        frame.mapInPandas(score, "user_key string, " + SCORED).write.format("noop").mode("overwrite").save()
    return seconds


def main() -> None:
    """Fit and score both sizes; print how the time grew."""
    found: list[Found] = []
    with tempfile.TemporaryDirectory() as folder:
        spark = session(Path(folder))
        spark.sparkContext.setLogLevel("ERROR")
        on_spark(spark, Path(folder) / "first.parquet", *made(5_000))  # starts Python workers and compiles
        for n in SIZES:
            told = made(n)
            found.append(here(*told) | on_spark(spark, Path(folder) / f"{n}.parquet", *told))
        spark.stop()
    few, many = found
    table = Table("work", *(f"{n:,} buyers" for n in SIZES), "times", title="Buyers")
    for name, before in few.items():
        shown = "{:,.0f}" if name == "kinds of buyers" else "{:.2f} s"
        table.add_row(name, shown.format(before), shown.format(many[name]), f"{many[name] / before:.1f}")
    Console(width=110).print(table)


if __name__ == "__main__":
    main()
