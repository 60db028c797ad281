"""What the DAG files need to know about this installation and about one run.

Everything here is cheap enough for every parse: environment variables, one folder listing, no file is opened.
Nothing of `rekindle`, `schemas`, `expectations` or `jobs` is imported: scheduler and jobs meet on a command line.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any, Protocol
from zoneinfo import ZoneInfo

# The tree that holds jobs/ and conf/; a test points it at a small tree of its own.
ROOT = Path(os.environ.get("REKINDLE_ROOT") or Path(__file__).resolve().parents[1])
# All state of this installation; alerts are the only thing the DAGs themselves write there.
HOME = Path(os.environ.get("REKINDLE_HOME") or ROOT / "var")
# Names conf/environments/<name>.yaml; handed to every job as --env.
ENVIRONMENT = os.environ.get("REKINDLE_ENV") or "local"
# The shop's wall clock: a night is a local day, also when the clocks change.
ZONE = os.environ.get("REKINDLE_ZONE") or "Europe/Berlin"


class Run(Protocol):
    """The part of Airflow's DagRun that says which day a run is about."""

    @property
    def partition_key(self) -> str | None: ...
    @property
    def logical_date(self) -> Any: ...
    @property
    def run_after(self) -> Any: ...


def business_date(dag_run: Run, params: Mapping[str, Any]) -> str:
    """The business date of a run, YYYY-MM-DD.

    The first of: the parameter `date`; the run's partition key (a scheduled or backfilled night carries its day there);
    the shop's local day before the run's logical date, or before `run_after` when it has none.
    `ds` and the data interval are not asked: on a manual run they are absent or simply now.
    A partition key that is no date is handed on as it is: the first job refuses it by name.
    """
    if params.get("date"):
        return str(params["date"])
    if dag_run.partition_key:
        return dag_run.partition_key
    moment = dag_run.logical_date or dag_run.run_after
    return str(moment.astimezone(ZoneInfo(ZONE)).date() - timedelta(days=1))


def sources() -> list[str]:
    """Names of the event sources: the file names of conf/sources/*.yaml, sorted.

    Raises:
        FileNotFoundError: there is none, so no run could name a legal source.
    """
    folder = ROOT / "conf" / "sources"
    names = sorted(path.stem for path in folder.glob("*.yaml"))
    if not names:
        raise FileNotFoundError(f"{folder} holds no *.yaml file, expected one for each event source")
    return names


def retry_seconds() -> int:
    """Seconds before the first retry (REKINDLE_RETRY_SECONDS, default 60); each further wait is twice as long.

    Raises:
        ValueError: the variable is no whole number of at least 1; the DAG then shows this as its import error.
    """
    text = os.environ.get("REKINDLE_RETRY_SECONDS") or "60"
    if not text.isdigit() or int(text) < 1:
        raise ValueError(f"REKINDLE_RETRY_SECONDS is {text!r}, expected a whole number of seconds, at least 1")
    return int(text)
