"""Make the JVM's archive of loaded classes: a small Spark program that touches what the nightly jobs touch.

`make setup` runs it once; the archive fits the Java, Spark and jars it was made with, and a JVM to which it does not
fit starts as if there were none.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from rekindle import settings, spark_conf

if TYPE_CHECKING:
    import pyarrow as pa


def make(archive: Path) -> None:
    """Write the archive, by a Spark driver that runs `program` and dumps its classes when it ends.

    Raises:
        RuntimeError: the driver failed; its last lines are in the message.
    """
    part = archive.with_suffix(".part")
    part.unlink(missing_ok=True)
    with tempfile.TemporaryDirectory() as work:
        environment = settings.load_environment()
        conf = spark_conf.conf(environment) | {
            "spark.sql.catalog.lake.uri": f"jdbc:sqlite:{work}/catalog.db",
            "spark.sql.catalog.lake.warehouse": f"{work}/warehouse",
        }
        own = environment.spark.conf.get("spark.driver.extraJavaOptions", "")
        conf["spark.driver.extraJavaOptions"] = f"{own} -XX:ArchiveClassesAtExit={part}"
        command = [str(settings.ROOT / "bin/spark-submit"), "--env", "local"]
        # bin/spark-submit puts the environment's arguments first; later ones win.
        for key, value in conf.items():
            command[1:1] = ["--conf", f"{key}={value}"]
        command[-2:] = [str(Path(__file__)), "--env", "local"]
        done = subprocess.run(command, capture_output=True, text=True, check=False, env=os.environ.copy())
    if done.returncode or not part.exists():
        raise RuntimeError("\n".join(done.stderr.splitlines()[-10:]))
    part.replace(archive)


def program() -> None:
    """A little of everything: a lake table with a branch, groupings, windows, sets, Arrow functions, ALS and trees."""
    from pyspark.ml.classification import GBTClassifier
    from pyspark.ml.feature import VectorAssembler
    from pyspark.sql import SparkSession, Window
    from pyspark.sql import functions as F

    from rekindle.methods import spark_als

    spark = SparkSession.builder.appName("warm_up").getOrCreate()

    def same(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        yield from batches

    rows = spark.range(400).selectExpr(
        "cast(id % 20 AS int) AS user",
        "cast(id AS int) AS item",
        "cast(id % 7 + 1 AS double) AS strength",
        "md5(string(id)) AS text",
        "date_add(DATE'2026-01-01', cast(id % 90 AS int)) AS day",
        "timestamp_seconds(id * 3600) AS ts",
    )
    rows = rows.withColumn("is_odd", (F.col("item") % 2).cast("double"))
    spark.sql("CREATE NAMESPACE IF NOT EXISTS lake.warm")
    spark.sql(
        "CREATE TABLE lake.warm.up (user int, item int, strength double, text string, day date, ts timestamp,"
        " is_odd double) USING iceberg PARTITIONED BY (months(day))"
    )
    spark.sql("ALTER TABLE lake.warm.up CREATE BRANCH b")
    rows.mapInArrow(same, rows.schema).writeTo("lake.warm.up.branch_b").overwrite(F.lit(True))
    spark.sql("CALL lake.system.fast_forward('warm.up', 'main', 'b')")
    spark.sql("ALTER TABLE lake.warm.up CREATE TAG t RETAIN 7 DAYS")
    kept = spark.table("lake.warm.up").persist()
    by_user = Window.partitionBy("user").orderBy("item")
    placed = kept.withColumn("place", F.row_number().over(by_user))
    grouped = placed.groupBy("user").agg(
        F.collect_set("text"),
        F.max(F.struct("ts", "text")),
        F.count_distinct("day"),
        F.sum(F.col("strength").cast("decimal(28,4)")),
    )
    grouped.join(kept.select("user", F.from_utc_timestamp("ts", "Europe/Berlin")), "user").collect()
    spark_als.fit_item_factors(kept, n_items=400, rank=4, regularisation=0.1, alpha=1.0, iterations=1, seed=1)
    features = VectorAssembler(inputCols=["strength"], outputCol="features").transform(kept)
    GBTClassifier(labelCol="is_odd", maxIter=1, maxDepth=2).fit(features)
    spark.stop()


if __name__ == "__main__":
    if "--env" in sys.argv:
        program()
    else:
        make(spark_conf.class_archive(settings.home()))
