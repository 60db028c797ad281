"""What every job's `main` does: arguments, logging, the ledger's stage, the Spark session, the exit code."""

from __future__ import annotations

import argparse
import getpass
import logging
import os
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING, Any

import psycopg

from rekindle import embedded, gate, identity, settings, spark_conf, warehouse
from rekindle.ledger import Ledger, LedgerError, Run
from rekindle.refusals import DataRefused, UsageError
from rekindle.settings import Settings, Source

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

__all__ = ["Context", "DataRefused", "UsageError", "main"]

DONE, FAULT, USAGE, REFUSED, TEMPORARY = 0, 1, 2, 3, 75


@dataclass(frozen=True)
class Context:
    """All that a job gets. `run` is None only in the jobs that come before the run id is known."""

    settings: Settings
    business_date: date
    ledger: Ledger
    retrain: bool
    run: Run | None
    session: SparkSession | None
    detail: dict[str, Any]
    log: logging.Logger

    @property
    def run_id(self) -> str:
        """The run's id."""
        return self.this_run.run_id

    @property
    def this_run(self) -> Run:
        """The run's ledger row.

        Raises:
            UsageError: the job was started without --run.
        """
        if self.run is None:
            raise UsageError("--run is missing: preflight_landing prints the run id")
        return self.run

    @property
    def spark(self) -> SparkSession:
        """The Spark session.

        Raises:
            UsageError: the job is one of those that run without Spark.
        """
        if self.session is None:
            raise UsageError("this job runs without Spark")
        return self.session

    @property
    def source(self) -> Source:
        """The shop's conf."""
        return self.settings.source


def fail(code: int, *told: str) -> int:
    """The exit code, after one line on standard error for each sentence: how a command that is no stage ends."""
    for text in told:
        sys.stderr.write(f"error: {' '.join(text.split())}\n")
    return code


def ended(action: Callable[[], object]) -> int:
    """The exit code of a command that is no stage: 0, or what its error means, told by `fail`."""
    try:
        action()
    except settings.SettingsError as error:
        return fail(USAGE, *error.faults)
    except (UsageError, identity.IdentityError, warehouse.WarehouseError) as error:
        return fail(USAGE, str(error))
    except (DataRefused, LedgerError) as error:
        return fail(REFUSED, str(error))
    except (psycopg.OperationalError, embedded.EmbeddedError) as error:
        return fail(TEMPORARY, f"temporary: the warehouse did not answer: {error}")
    return DONE


def operator() -> str:
    """Who runs this: the name of the account, or its number where it has none."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return f"uid {os.getuid()}"


def arguments(name: str, argv: list[str]) -> argparse.Namespace:
    """The parsed command line; an unknown or missing argument exits 2 with one line and the usage."""
    parser = argparse.ArgumentParser(prog=name, allow_abbrev=False)
    parser.add_argument("--source", required=True, help="name of a mapping in conf/sources")
    parser.add_argument("--date", required=True, help="business date, YYYY-MM-DD")
    parser.add_argument("--env", default="local", help="name of an environment in conf/environments")
    parser.add_argument("--run", help="run id that preflight_landing computed")
    parser.add_argument("--retrain", choices=("true", "false"), default="false", help="train even with a champion")
    return parser.parse_args(argv)


def spark_session(name: str, environment: settings.Environment) -> SparkSession:
    """The session that bin/spark-submit configured; its secrets are read from their files, here and only here.

    Raises:
        UsageError: started without bin/spark-submit, so that the settings which must hold do not.
    """
    from pyspark.sql import SparkSession

    builder = SparkSession.builder.appName(name)
    if environment.lake.password_file:
        password = spark_conf.secret(environment.lake.password_file)
        builder = builder.config(f"spark.sql.catalog.{spark_conf.CATALOG}.jdbc.password", password)
    if environment.spark.secret_file:
        builder = builder.config(f"{spark_conf.AUTHENTICATE}.secret", spark_conf.secret(environment.spark.secret_file))
    session = builder.getOrCreate()
    for key, value in spark_conf.REQUIRED.items():
        found = session.sparkContext.getConf().get(key)
        if found != value:
            raise UsageError(f"Spark setting {key} is {found}, expected {value}: start jobs by bin/spark-submit")
    return session


def main(run: Callable[[Context], None], name: str, spark: bool = True) -> None:
    """Run one job from the command line and exit: 0 done, 2 usage, 3 data refused, 75 temporary, 1 a fault of ours."""
    logging.basicConfig(
        level=os.environ.get("REKINDLE_LOG_LEVEL", "INFO"),
        format="%(levelname)s %(name)s %(message)s",
        stream=sys.stderr,
    )
    logging.getLogger("py4j").setLevel(logging.WARNING)
    log = logging.getLogger(name)
    try:
        sys.exit(_run(run, name, spark, arguments(name, sys.argv[1:]), log))
    except (settings.SettingsError, UsageError, identity.IdentityError, warehouse.WarehouseError) as error:
        log.error("%s", error)
        sys.exit(USAGE)
    except (DataRefused, LedgerError) as error:
        log.error("refused: %s", error)
        sys.exit(REFUSED)
    except gate.ChecksNotRun as error:
        log.error("the checks did not run, so nothing is known of the data: %s", error)
        sys.exit(FAULT)
    except (psycopg.OperationalError, embedded.EmbeddedError) as error:
        log.error("temporary: the warehouse did not answer: %s", " ".join(str(error).split()))
        sys.exit(TEMPORARY)


def _run(run: Callable[[Context], None], name: str, spark: bool, given: argparse.Namespace, log: logging.Logger) -> int:
    started = time.monotonic()
    loaded = settings.load(given.source, given.env)
    day = settings.parse_date(given.date)
    # The warehouse is asked first: a night that could not publish starts no Spark.
    ledger = Ledger(lambda: warehouse.connect(loaded.environment, "writer"))
    row = ledger.run(given.run) if given.run else None
    if row is not None and (row.source, row.business_date) != (given.source, day):
        raise UsageError(f"run {row.run_id} is {row.source} of {row.business_date}, not {given.source} of {day}")
    detail: dict[str, Any] = {}
    session = None

    def context() -> Context:
        return Context(loaded, day, ledger, given.retrain == "true", row, session, detail, log)

    if row is None:
        run(context())
        return DONE
    with ledger.stage(row.run_id, name) as noted:
        try:
            if spark:
                session = spark_session(name, loaded.environment)
                detail["spark_start_s"] = round(time.monotonic() - started, 1)
            run(context())
        finally:
            noted.update(detail)
            if session is not None:
                session.stop()
    log.info("done source=%s date=%s run=%s seconds=%.1f", given.source, day, row.run_id, time.monotonic() - started)
    return DONE
