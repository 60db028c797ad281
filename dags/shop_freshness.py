"""
# Is last night published?

Looks every half hour whether each source named in conf/environments (`alerts.freshness`) has a publication of its last
night by the hour named there, by the shop's clock, and sends whatever lies in the spool of alerts. A night that is
missing is one alert, however often it is looked at.

**If it fails** at `everything_is_fresh`, the CRM reads older data: the log names source and day. Open the last run of
`nightly` for it. At `check_freshness`: the warehouse is out of reach. At `send_alerts`: a receiver is.
"""

from __future__ import annotations

from typing import Any

from _alerts import defaults
from _job import command
from _runbook import runbook, task_doc
from _runtime import ZONE
from airflow.providers.standard.operators.python import PythonOperator
from airflow.sdk import DAG, CronTriggerTimetable
from airflow.sdk.exceptions import AirflowFailException


def everything_is_fresh(ti: Any) -> None:
    """Green when no watched source is late.

    Raises:
        AirflowFailException: one is; which, and since when.
    """
    late = ti.xcom_pull(task_ids="check_freshness")["late"]
    if late:
        raise AirflowFailException("; ".join(late))


with DAG(
    dag_id="freshness",
    dag_display_name="Freshness: is last night published?",
    description="One alert a day for each watched source that has no publication of its last night; sends the spool",
    schedule=CronTriggerTimetable("0,30 * * * *", timezone=ZONE),
    catchup=False,
    max_active_runs=1,
    is_paused_upon_creation=False,
    default_args=defaults(once_a_day=True),
    tags=["rekindle", "tier-1"],
) as dag:
    # The tick of the schedule, not the clock: the same run says the same.
    moment = "{{ (dag_run.logical_date or dag_run.run_after).isoformat() }}"
    checked = command("publish/check_freshness", ["--moment", moment], result=("watched", "late"))
    # Who cannot be told is not told by one more letter; the next run is the retry.
    told: dict[str, Any] = {"retries": 0, "on_failure_callback": []}
    checked >> command("publish/send_alerts", [], trigger_rule="all_done", **told)
    checked >> PythonOperator(
        task_id="everything_is_fresh",
        python_callable=everything_is_fresh,
        doc_md=task_doc("everything_is_fresh"),
        **told,
    )

dag.doc_md = runbook(__doc__, dag.task_ids)
