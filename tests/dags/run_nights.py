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

FOLDER = Path(os.environ["AIRFLOW__CORE__DAGS_FOLDER"])
HOME = Path(os.environ["REKINDLE_HOME"])

# dag.test() looks again after a whole second, once for each task behind a failed one: most of a failed night.
pause = time.sleep
time.sleep = lambda seconds: pause(min(float(seconds), 0.05))

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
        "seconds": time.monotonic() - began,
    }
Path(sys.argv[2]).write_text(json.dumps(results))
