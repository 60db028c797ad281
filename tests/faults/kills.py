"""Nights that are published by the real job in a process of its own, so that they can be killed, stopped and repeated.

The job is `jobs/publish/publish_night.py` itself, on Iceberg snapshots that are really there; only its list of served
tables is that of `fault_shop`. Children are forked from a clean server process: 30 ms each, threads here or not.
"""

from __future__ import annotations

import logging
import multiprocessing
import os
import signal
import sys
from contextlib import suppress
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection as Pipe
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import psutil
import pyarrow as pa
from pyiceberg.catalog.memory import InMemoryCatalog
from pyiceberg.exceptions import NamespaceAlreadyExistsError

from jobs.publish import publish_night
from rekindle import cli, failpoints, settings
from rekindle.ledger import Run, TableVersion
from tests.faults.fault_shop import TABLES, NightShop, batches

PATIENCE = 60  # seconds in which a child must do what is asked of it
OUTCOMES = ("published", "already", "stored_older")
PUBLISH_PATH = ("publish.", "stage.", "sweep.")
_context: Any = multiprocessing.get_context("forkserver")
_context.set_forkserver_preload(["tests.faults.kills"])


@dataclass
class Lake:
    """A small Iceberg lake without Spark: what a run made, as the ledger names it."""

    folder: Path

    def __post_init__(self) -> None:
        self._catalog = InMemoryCatalog("faults", warehouse=self.folder.as_uri())

    def make(self, shop: NightShop, run: Run) -> None:
        """Write the run's tables and record them, accepted by their checks."""
        with suppress(NamespaceAlreadyExistsError):
            self._catalog.create_namespace(shop.source)
        manifest, rows = shop.manifest(run.run_id), shop.rows(run.run_id)
        for table in TABLES:
            content = pa.Table.from_batches(batches(table, rows[table.name]))
            made = self._catalog.create_table((shop.source, f"{run.run_id}_{table.name}"), content.schema)
            made.append(content)
            snapshot = made.current_snapshot()
            assert snapshot is not None
            found = TableVersion(
                table.name, snapshot.snapshot_id, made.metadata_location, manifest[table.name], accepted=True
            )
            shop.ledger.record_table(run.run_id, found)


def night_settings(environment: settings.Environment) -> settings.Settings:
    """The simulated shop's settings for the tests' warehouse; runs beyond the newest seven go at once."""
    loaded = settings.load("simulated_shop")
    business = loaded.business.model_copy(update={"kept_runs": 7, "kept_hours": 0, "holdout_share": 0.0})
    return loaded.model_copy(update={"environment": environment, "business": business})


def publish(loaded: settings.Settings, shop: NightShop, run_id: str, log: logging.Logger | None = None) -> str:
    """One call of the job for the run, as the scheduler makes it; what the job says of its outcome.

    In the tests' own process `conftest.small_night` makes the job serve the tables of `fault_shop`.
    """
    run = shop.ledger.run(run_id)
    context = cli.Context(
        loaded, run.business_date, shop.ledger, False, run, None, {}, log or logging.getLogger("publish_night")
    )
    publish_night.run(context)
    return str(context.detail["outcome"])


def _child(loaded: settings.Settings, shop: NightShop, run_id: str, plan: str, mouth: Pipe) -> None:
    """The child's whole life: it says that it begins, publishes, and says the outcome or the error."""
    logging.getLogger("publish_night").addHandler(logging.NullHandler())
    os.environ.update(REKINDLE_FAULT_TOKEN=failpoints.TOKEN, REKINDLE_FAULT_PLAN=plan)
    failpoints._plan = failpoints._planned()
    publish_night.SERVED = TABLES  # type: ignore[assignment]
    mouth.send("begun")
    try:
        told = publish(loaded, shop, run_id)
    except Exception as error:
        mouth.send(f"{type(error).__name__}: {' '.join(str(error).split())}")
        sys.exit(1)
    mouth.send(told)


@dataclass
class Publisher:
    """A child that publishes one run. `told`: the outcome, an error's words, or nothing if it was killed."""

    process: BaseProcess
    ear: Pipe
    told: str = ""

    @property
    def pid(self) -> int:
        assert self.process.pid is not None
        return self.process.pid

    def kill(self) -> None:
        """SIGKILL, wherever it is; whoever has ended already stays ended."""
        if self.process.is_alive():
            os.kill(self.pid, signal.SIGKILL)
        self.finish()

    def finish(self) -> str:
        """Wait for the end; the outcome, or the error, or nothing."""
        self.process.join(PATIENCE)
        assert not self.process.is_alive(), f"the publisher {self.pid} did not end within {PATIENCE} s"
        while self.ear.poll():
            try:
                self.told = self.ear.recv()
            except EOFError:
                break
        return self.told

    def wait_until_stopped(self) -> None:
        """Wait until it has stopped itself (the action `stop`)."""
        process = psutil.Process(self.pid)
        for _ in range(PATIENCE * 100):
            if process.status() == psutil.STATUS_STOPPED:
                return
            self.process.join(0.01)
            assert self.process.is_alive(), f"the publisher ended instead of stopping: {self.finish()}"
        raise AssertionError(f"the publisher {self.pid} did not stop")

    def go_on(self) -> None:
        """SIGCONT."""
        os.kill(self.pid, signal.SIGCONT)


def start(loaded: settings.Settings, shop: NightShop, run_id: str, plan: str = "") -> Publisher:
    """A child that has begun to publish."""
    ear, mouth = _context.Pipe(duplex=False)
    process = _context.Process(target=_child, args=(loaded, replace(shop), run_id, plan, mouth), daemon=True)
    process.start()
    mouth.close()
    assert ear.poll(PATIENCE), "the publisher did not begin"
    assert ear.recv() == "begun"
    return Publisher(process, ear)
