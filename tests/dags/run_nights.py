"""Run by Airflow's Python: runs DAGs as `airflow dags test` does, one after another, and writes how they ended.

    run_nights.py RUNS RESULTS      RUNS: [{"name": ..., "dag": ..., "conf": {...}, "jobs": {...}}, ...]

`jobs` is handed to the tree's small jobs through a file: what each is to answer, attempt by attempt.
"""

import json
import os
import sys
import time
from pathlib import Path

from airflow.dag_processing.dagbag import BundleDagBag
from airflow.models.asset import AssetEvent, AssetModel
from airflow.models.dagrun import DagRun
from airflow.utils.session import create_session
from sqlalchemy import select

FOLDER = Path(os.environ["AIRFLOW__CORE__DAGS_FOLDER"])
HOME = Path(os.environ["REKINDLE_HOME"])

# dag.test() looks again after a whole second, once for each task behind a failed one: most of a failed night.
pause = time.sleep
time.sleep = lambda seconds: pause(min(float(seconds), 0.05))


def note_of(dag_id: str, run_id: str) -> str | None:
    """The run's note, as the UI would show it."""
    with create_session() as session:
        return session.scalars(select(DagRun).where(DagRun.dag_id == dag_id, DagRun.run_id == run_id)).one().note


def events_of(dag_id: str, run_id: str) -> dict[str, list[str | None]]:
    """What the run told of assets: asset, then the keys of its events."""
    asked = select(AssetModel.name, AssetEvent.partition_key).join(AssetEvent, AssetEvent.asset_id == AssetModel.id)
    found: dict[str, list[str | None]] = {}
    with create_session() as session:
        rows = session.execute(asked.where(AssetEvent.source_dag_id == dag_id, AssetEvent.source_run_id == run_id))
        for name, key in rows:
            found.setdefault(name, []).append(key)
    return found


bag = BundleDagBag(dag_folder=FOLDER, bundle_path=FOLDER, bundle_name="dags-folder")
results = {}
for run in json.loads(Path(sys.argv[1]).read_text()):
    (HOME / "behaviour.json").write_text(json.dumps(run["jobs"]))
    (HOME / "calls.jsonl").write_text("")
    began = time.monotonic()
    dag_run = bag.dags[run["dag"]].test(run_conf=run["conf"])
    results[run["name"]] = {
        "state": str(dag_run.state.value),
        "tasks": {ti.task_id: str(ti.state) for ti in dag_run.get_task_instances()},
        "calls": [json.loads(line) for line in (HOME / "calls.jsonl").read_text().splitlines()],
        "note": note_of(dag_run.dag_id, dag_run.run_id),
        "events": events_of(dag_run.dag_id, dag_run.run_id),
        "seconds": time.monotonic() - began,
    }
Path(sys.argv[2]).write_text(json.dumps(results))
