"""
# The janitor

Removes rows of old, failed and abandoned runs from the warehouse, and looks whether the rows that the CRM reads are
those that were published. Runs on Sundays at 06:00 of the shop's clock; every night removes old runs at its end, too.

**If it fails** with exit code 3, somebody changed served rows by hand: `rollback` serves an earlier run. Nothing was
removed that is kept.
"""

from __future__ import annotations

from datetime import timedelta

from _alerts import defaults
from _forms import source
from _job import command
from _runbook import runbook
from _runtime import ZONE
from airflow.sdk import DAG, CronTriggerTimetable

with DAG(
    dag_id="sweep",
    dag_display_name="Sweep: the warehouse, weekly",
    description="Remove what nobody reads any more; check that what is served is what was published",
    schedule=CronTriggerTimetable("0 6 * * 0", timezone=ZONE, run_immediately=timedelta(minutes=30)),
    catchup=False,
    max_active_runs=1,
    is_paused_upon_creation=False,
    params={"source": source()},
    default_args=defaults(),
    tags=["rekindle", "tier-2"],
) as dag:
    command("publish/sweep_runs", ["--source", "{{ params.source }}"])

dag.doc_md = runbook(__doc__, dag.task_ids)
