"""What all tests share: one Spark session, lazily made and handed back clean, configured as bin/spark-submit does."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parent.parent
NIGHTS = ("dags", "end_to_end")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """With two processes (`make test`), whole nights go beside the rest; each process has one Spark session at most.

    Nights mostly wait for one process after another: in one process 811 tests took 18 min 43 s at 35 % of two cores.
    They are one part; of the rest each file is a part, in the order in which they are collected, for whichever process
    is free. In four parts, 2,156 tests left one process idle for the last 9 of 23 minutes.
    """
    from xdist.scheduler import LoadScopeScheduling

    class InParts(LoadScopeScheduling):  # type: ignore[misc]
        def _split_scope(self, nodeid: str) -> str:
            file = nodeid.split("::")[0]
            return "nights" if file.split("/")[1] in NIGHTS else file

    return InParts(config, log)


@pytest.fixture(scope="session")
def _session(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    from pyspark.sql import SparkSession

    from rekindle import settings, spark_conf

    lake = tmp_path_factory.mktemp("lake")
    os.environ["PYSPARK_PYTHON"] = sys.executable
    os.environ["PYTHONPATH"] = str(ROOT)  # Python workers unpickle functions of our modules
    environment = settings.load_environment("local")
    builder = SparkSession.builder.master("local[2]").appName("tests")
    for key, value in spark_conf.conf(environment).items():
        builder = builder.config(key, value)
    spark = (
        builder.config("spark.jars", ",".join(str(j) for j in spark_conf.jars(settings.home())))
        .config("spark.sql.shuffle.partitions", "2")  # 200 empty tasks per shuffle cost more than the test
        .config("spark.driver.memory", "2g")
        .config("spark.sql.catalog.lake.uri", f"jdbc:sqlite:{lake}/catalog.db?busy_timeout=30000")
        .config("spark.sql.catalog.lake.warehouse", str(lake / "warehouse"))
        .config("spark.sql.warehouse.dir", str(lake / "spark-warehouse"))
        .getOrCreate()
    )
    yield spark
    spark.stop()


@pytest.fixture
def spark(_session: Any) -> Iterator[Any]:
    """The shared session, handed back clean."""
    yield _session
    _session.catalog.clearCache()


@pytest.fixture
def frame(spark: Any) -> Callable[..., Any]:
    """`frame(TABLE, row, …)`: rows that mention only the columns a test is about."""
    from rekindle import contract

    def make(table: contract.Table, *rows: dict[str, Any]) -> Any:
        return contract.frame(spark, table, *rows)

    return make
