"""
# Weekly training

Trains both models on everything up to the day before and judges them against the champions. Publishes nothing: the
next night uses whatever is champion then. Runs on Mondays at 05:00 of the shop's clock, after the night of Sunday.

**If it fails**: nothing that is served changes, and the nights go on with the old champions. Open the red task's log;
clear the task when the reason is gone, or wait for next Monday. To train at once, trigger this DAG, or `nightly` with
`retrain`.
"""

from __future__ import annotations

from datetime import timedelta

from _alerts import defaults
from _forms import run_params
from _learning import learn
from _runbook import runbook
from _runtime import ZONE, business_date
from airflow.sdk import DAG, CronTriggerTimetable

with DAG(
    dag_id="train",
    dag_display_name="Train: both models, weekly",
    description="Train the recommender and the churn model, promote what is better",
    # A trigger without partition key: an offset of one run would be last Monday. The date is the day before the run.
    schedule=CronTriggerTimetable("0 5 * * 1", timezone=ZONE, run_immediately=timedelta(minutes=30)),
    catchup=False,
    max_active_runs=1,
    is_paused_upon_creation=False,
    params=run_params(),
    default_args=defaults(),
    user_defined_macros={"business_date": business_date},
    tags=["rekindle", "tier-2"],
) as dag:
    learn(retrain="true", is_drawn=False)

dag.doc_md = runbook(__doc__, dag.task_ids)
