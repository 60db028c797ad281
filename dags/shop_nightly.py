"""
# The night of one business date

Turns the shop's landed logs into the tables the CRM reads: recommendations, at-risk users, profiles, retention.
Runs at 04:00 of the shop's clock for the day before; trigger it by hand for any landed day.

**If it fails**: the CRM goes on reading the last good night, whole. Open the red task's log: its last lines say what
was found, what was expected and what to do. Every task may be cleared at any time: the run id names the work, so
the same work is done once, and other input is another run. Tasks that refused their data (exit code 3) or their
arguments (2) are not retried; all others were retried twice already. The run's note says what came out, or why nothing
did; whoever is named under `alerts` in conf/environments is told. Many days: `rerun`. Lines that a mended mapping would
understand now: `replay_quarantine`. An earlier night again: `rollback`.
"""

from __future__ import annotations

from datetime import timedelta

from _alerts import defaults
from _forms import run_params, yes_or_no
from _job import job
from _learning import learn
from _lineage import CRM_TABLES
from _runbook import runbook
from _runtime import ZONE, business_date
from airflow.sdk import DAG, CronPartitionTimetable, chain

# What report_night tells at its end: the numbers of the run's note (dags/plugins/run_notes.py).
HEADLINE = (
    *("source", "date", "status", "message", "trust", "changed", "fates", "at_risk", "recommendations", "users"),
    *("failed_checks", "seconds", "report"),
)

with DAG(
    dag_id="nightly",
    dag_display_name="Nightly: logs to CRM tables",
    description="Clean, validate, describe, train when due, recommend, score churn, publish",
    # The run of 04:00 carries the day before as its partition key: that key is the business date. Not 02:00: where the
    # clocks go forward at that hour it does not exist, and Airflow 3.3.2 then skipped one day's key and ran the next
    # one twice, first at noon of a day that was not over (Berlin, 28 and 29 March 2026). 04:00 exists all over Europe.
    # No start date: with one, the first start of the scheduler runs yesterday at once, asked or not. Without, a first
    # start makes up for a tick of the last half hour only; later nights follow the last scheduled one.
    schedule=CronPartitionTimetable(
        "0 4 * * *", timezone=ZONE, run_offset=-1, key_format="%Y-%m-%d", run_immediately=timedelta(minutes=30)
    ),
    catchup=False,
    max_active_runs=1,
    is_paused_upon_creation=False,
    params={
        **run_params(),
        "retrain": yes_or_no(
            "Retrain",
            "Train both models also if there are champions. Without it they are trained only on a source's first "
            "night, and weekly by the DAG train.",
        ),
    },
    default_args=defaults(),
    user_defined_macros={"business_date": business_date},
    tags=["rekindle", "tier-1", "publishes"],
) as dag:
    chain(
        learn(retrain="{{ params.retrain | string | lower }}"),
        [job("recommend/recommend_items"), job("churn/score_churn")],
        job("publish/validate_outputs"),
        job("publish/publish_night", engine="python", outlets=[CRM_TABLES]),
        job("publish/report_night", engine="python", result=HEADLINE),
    )

dag.doc_md = runbook(__doc__, dag.task_ids)
