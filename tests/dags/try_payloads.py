"""Run by Airflow's Python: tries the texts of a JSON file as parameters of the DAGs and writes what became of them.

{"accepted": [[dag, param, text], ...], "reasons": those that were taken for a reason, a free text,
 "changed": [[dag.task, given, told, options], ...], "tasks": how many were rendered}
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
accepted, reasons, changed, tasks = [], [], [], 0

for dag_id, dag in sorted(bag.dags.items()):
    for name in dag.params:
        for text in texts:
            try:
                dag.params.get_param(name).resolve(text)
            except (AirflowException, ValueError, TypeError):
                continue
            (reasons if name == "why" else accepted).append([dag_id, name, text])
    # And were one to get through: a text is put into the command once, as it is, and is no template itself.
    for task in dag.tasks:
        if not hasattr(task, "engine"):
            continue
        tasks += 1
        # Of a few tasks each text is one of the four.
        for number in range(tasks % 5 * 3, len(texts), 15):
            source, key, run_id, free = (texts[(number + more) % len(texts)] for more in range(4))
            run = SimpleNamespace(
                partition_key=key or "x",
                logical_date=None,
                run_after=datetime(2026, 1, 2, tzinfo=UTC),
                triggering_user_name=free,
            )
            handed_on = {"run_id": run_id, "due": True, "train": True, "date": key or "x"}
            fresh = task.prepare_for_execution()
            params = dict.fromkeys(dag.params, free) | {"date": None, "source": source, "run": run_id}
            context = {
                "params": params | {"retrain": "true"},
                "dag_run": run,
                "dag": dag,
                "task": fresh,
                "ti": SimpleNamespace(xcom_pull=lambda task_ids, told=handed_on: told),
            }
            fresh.render_template_fields(context, jinja_env=dag.get_template_env())
            words = fresh.application_args
            # The day that a look at the quarantine begins with may be empty, and then is the served night's.
            day = "" if task.task_id == "night_to_replay" else key or "x"
            given = {"--source": source, "--date": day, "--run": run_id, "--kind": free}
            given = {name: text for name, text in given.items() if name in words}
            told = {name: words[words.index(name) + 1] for name in given}
            joined = {f"--digest={free}", f"--why={free} (in Airflow, by {free or 'somebody'})"}
            options = {word for word in words if word.startswith(("--why", "--digest"))} - set(given.values())
            if told != given or not options <= joined:
                changed.append([f"{dag_id}.{task.task_id}", given, told, sorted(options)])

Path(sys.argv[2]).write_text(json.dumps({"accepted": accepted, "reasons": reasons, "changed": changed, "tasks": tasks}))
