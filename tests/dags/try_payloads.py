"""Run by Airflow's Python: tries the texts of a JSON file as parameters of the DAGs and writes what became of them.

{"accepted": [[dag, param, text], ...], "changed": [[dag.task, given, told], ...], "tasks": how many were rendered}
"""

import json
import os
import sys
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace

from airflow.dag_processing.dagbag import BundleDagBag
from airflow.sdk.exceptions import AirflowException

FOLDER = Path(os.environ["AIRFLOW__CORE__DAGS_FOLDER"])
texts = json.loads(Path(sys.argv[1]).read_text())
bag = BundleDagBag(dag_folder=FOLDER, bundle_path=FOLDER, bundle_name="dags-folder")
accepted, changed, tasks = [], [], 0

for dag_id, dag in sorted(bag.dags.items()):
    for name in dag.params:
        for text in texts:
            try:
                dag.params.get_param(name).resolve(text)
            except (AirflowException, ValueError, TypeError):
                continue
            accepted.append([dag_id, name, text])
    # And were one to get through: a text is put into the command once, as it is, and is no template itself.
    for task in dag.tasks:
        if not hasattr(task, "engine"):
            continue
        tasks += 1
        # Of a few tasks each text is one of the three.
        for number in range(tasks % 5 * 3, len(texts), 15):
            source, key, run_id = (texts[(number + more) % len(texts)] for more in range(3))
            run = SimpleNamespace(
                partition_key=key or "x", logical_date=None, run_after=datetime(2026, 1, 2, tzinfo=UTC)
            )
            handed_on = {"run_id": run_id, "due": True, "train": True}
            fresh = task.prepare_for_execution()
            context = {
                "params": {"date": None, "source": source, "retrain": "true"},
                "dag_run": run,
                "dag": dag,
                "task": fresh,
                "ti": SimpleNamespace(xcom_pull=lambda task_ids, told=handed_on: told),
            }
            fresh.render_template_fields(context, jinja_env=dag.get_template_env())
            words = fresh.application_args
            given = {"--source": source, "--date": key or "x"} | ({"--run": run_id} if "--run" in words else {})
            told = {name: words[words.index(name) + 1] for name in given}
            if told != given:
                changed.append([f"{dag_id}.{task.task_id}", given, told])

Path(sys.argv[2]).write_text(json.dumps({"accepted": accepted, "changed": changed, "tasks": tasks}))
