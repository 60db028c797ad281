"""Starting the DAG `nightly` from another DAG and waiting for its end, one night at a time."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from airflow.providers.standard.operators.trigger_dagrun import TriggerDagRunOperator
from airflow.sdk.exceptions import AirflowSkipException

# For the operator: it keeps the one slot of its pool while it waits (conf/airflow/pools.json), but no worker: the
# triggerer looks every few seconds. So nights that are waited for run one after another, and find workers.
ONE_NIGHT_AT_A_TIME: dict[str, Any] = {
    "trigger_dag_id": "nightly",
    "logical_date": None,
    "wait_for_completion": True,
    "deferrable": True,
    "poke_interval": 5,
    "pool": "waiting",
    # Cleared, the task starts the same run of `nightly` anew.
    "reset_dag_run": True,
    # A paused DAG would be waited for until the time is over.
    "fail_when_dag_is_paused": True,
    # The night has retries of its own, and each of its tasks may take three hours.
    "retries": 0,
    "execution_timeout": timedelta(hours=24),
}


class NightOperator(TriggerDagRunOperator):
    """Starts one night and waits for its end; of a span of nights, only if the day before did not fail.

    Raises:
        AirflowSkipException: the day before did not come to its end, and the run is to stop there.
        AirflowException: the night failed.
    """

    def execute(self, context: Any) -> None:
        ti = context["ti"]
        if context["params"].get("stop_at_failure") and ti.map_index > 0:
            before: Mapping[str, Any] = ti.get_task_states(
                dag_id=ti.dag_id, task_ids=[ti.task_id], run_ids=[ti.run_id], map_index=ti.map_index - 1
            )
            states = {state for tasks in before.values() for state in tasks.values()}
            if states != {"success"}:
                raise AirflowSkipException("the day before did not come to its end; clear that one, then this")
        super().execute(context)
