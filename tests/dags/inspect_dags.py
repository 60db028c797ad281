"""Run by Airflow's Python: writes what the DAG files say as JSON to the file named by its argument, for the tests.

{"errors": {file: text}, "heavy": [module, ...], "dags": {dag_id: {...}}, "commands": {"dag.task": [argument, ...]}}
"""

import json
import os
import sys
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pendulum
from airflow.dag_processing.dagbag import BundleDagBag
from airflow.sdk.definitions._internal.types import ArgNotSet
from airflow.serialization.encoders import coerce_to_core_timetable
from airflow.timetables.base import DagRunInfo, TimeRestriction

OURS = ("rekindle", "schemas", "expectations", "jobs")
HEAVY = ("pyspark", "pandas", "numpy", "yaml", "mlflow", "great_expectations", *OURS)
FOLDER = Path(os.environ["AIRFLOW__CORE__DAGS_FOLDER"])
ROOT = os.environ["REKINDLE_ROOT"]
HANDED_ON = {
    "preflight_landing": {"run_id": "r0123456789abcdef", "due": True, "train": True},
    "night_to_replay": {"date": "2026-01-01", "run_id": "r0123456789abcdef"},
}
# For the fields that have no default.
GIVEN = {
    "first_day": "2026-01-01", "last_day": "2026-01-03", "run": "r0123456789abcdef", "why": "the lists are odd",
}  # fmt: skip

before = set(sys.modules)
bag = BundleDagBag(dag_folder=FOLDER, bundle_path=FOLDER, bundle_name="dags-folder")
loaded = {name.split(".")[0] for name in set(sys.modules) - before}
business_date = sys.modules["_runtime"].business_date

# The scheduled night of 2 January, local time: its partition key is the 1st.
run = SimpleNamespace(
    partition_key="2026-01-01",
    logical_date=None,
    run_after=datetime(2026, 1, 2, 1, tzinfo=UTC),
    triggering_user_name="ana",
)
dags, commands = {}, {}
known_dags: dict[str, Any] = dict(bag.dags)
for dag_id, dag in sorted(known_dags.items()):
    dags[dag_id] = {
        "doc": dag.doc_md,
        "title": dag.dag_display_name,
        "description": dag.description,
        "params": {
            key: param.schema | {"doc": param.description, "has_default": not isinstance(param.value, ArgNotSet)}
            for key, param in ((key, dag.params.get_param(key)) for key in dag.params)
        },
        "schedule": repr(dag.timetable),
        "catchup": dag.catchup,
        "max_active_runs": dag.max_active_runs,
        "tags": sorted(dag.tags),
        "tasks": {
            task.task_id: {
                "doc": task.doc_md,
                "type": type(task).__name__,
                "engine": getattr(task, "engine", None),
                "pool": task.pool,
                "rule": str(task.trigger_rule.value),
                "retries": task.retries,
                "alerts": len(task.on_failure_callback or []),
                "result": list(getattr(task, "result", ())),
                "reads": sorted(asset.name for asset in task.inlets),
                "writes": sorted(asset.name for asset in task.outlets),
                "after": sorted(task.upstream_task_ids),
                "pushes": getattr(task, "do_xcom_push", False),
            }
            for task in dag.tasks
        },
    }
    for task in dag.tasks:
        if not hasattr(task, "engine"):
            continue
        context = {
            "params": {key: GIVEN.get(key, dag.params.get_param(key).value) for key in dag.params},
            "dag_run": run,
            "dag": dag,
            "task": task,
            "ti": SimpleNamespace(xcom_pull=lambda task_ids: HANDED_ON[task_ids]),
        }
        task.render_template_fields(context, jinja_env=dag.get_template_env())
        program = "spark-submit" if task.engine == "spark" else "python"
        commands[f"{dag_id}.{task.task_id}"] = [
            program,
            *(text.replace(ROOT + "/", "") for text in (task.application, *task.application_args)),
        ]


def day(**run_says: Any) -> str:
    """The business date of a run without the parameter `date`."""
    known = {"partition_key": None, "logical_date": None, "run_after": None} | run_says
    return str(business_date(SimpleNamespace(**known), {"date": None}))


# Half past midnight in Berlin is still the day before in UTC: the shop's clock counts.
after_midnight = datetime(2026, 5, 1, 22, 30, tzinfo=UTC)
days = {
    "parameter": business_date(run, {"date": "2026-04-30"}),
    "partition": day(partition_key="2026-03-09", run_after=after_midnight),
    "logical": day(logical_date=after_midnight, run_after=datetime(2026, 7, 1, 12, tzinfo=UTC)),
    "manual": day(run_after=after_midnight),
    "before_midnight": day(run_after=datetime(2026, 5, 1, 21, 30, tzinfo=UTC)),
}


def scheduled(first: datetime, nights: int) -> list[str]:
    """The business dates of the scheduled nights after `first`, as the scheduler would make them one by one."""
    timetable = coerce_to_core_timetable(bag.dags["nightly"].timetable)
    last = DagRunInfo(run_after=pendulum.instance(first), data_interval=None, partition_date=None, partition_key=None)
    keys = []
    for _ in range(nights):
        every = TimeRestriction(None, None, catchup=True)
        last = timetable.next_dagrun_info_v2(last_dagrun_info=last, restriction=every) or last
        keys.append(str(last.partition_key))
    return keys


report = {
    "errors": {str(file): text for file, text in bag.import_errors.items()},
    "heavy": sorted(loaded & set(HEAVY)),
    "dags": dags,
    "commands": commands,
    "days": days,
    "spring": scheduled(datetime(2026, 3, 28, 3, tzinfo=UTC), 4),
    "autumn": scheduled(datetime(2026, 10, 24, 2, tzinfo=UTC), 4),
}
Path(sys.argv[1]).write_text(json.dumps(report))
