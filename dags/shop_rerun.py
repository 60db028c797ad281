"""
# Many nights of one source, one after another

Runs `nightly` for every day from the first to the last, the earliest first: after a mapping was mended, a check was
changed, or days were missed. It is safe to repeat: the run id of a night names its work, so a night whose files, code
and configuration are the same is done already and leaves everything as it is. A day older than the one that the CRM
reads is stored, not served. A day is served once, in one transaction.

**If it fails**: the days before the red one are done, and what was served stays served. Open the red day: the button
Triggered DAG leads to its night, whose note says why. Mend it and clear the red day, then the skipped ones.
"""

from __future__ import annotations

from datetime import date, timedelta

from _alerts import defaults
from _forms import required_day, source, yes_or_no
from _runbook import runbook, task_doc
from _waiting import ONE_NIGHT_AT_A_TIME, NightOperator
from airflow.providers.standard.operators.python import PythonOperator
from airflow.sdk import DAG
from airflow.sdk.exceptions import AirflowFailException

# Airflow maps a task up to 1,024 times; a year and a month are one look's worth of squares.
MOST_DAYS = 400


def days_to_run(first_day: str, last_day: str, source: str) -> list[dict[str, str]]:
    """The parameters of each night, in order.

    Raises:
        AirflowFailException: the last day is before the first, or the span is too long.
    """
    first, last = date.fromisoformat(first_day), date.fromisoformat(last_day)
    days = (last - first).days + 1
    if not 1 <= days <= MOST_DAYS:
        raise AirflowFailException(
            f"from {first} to {last} are {days} days, expected 1 to {MOST_DAYS}; trigger again with another span"
        )
    return [{"date": str(first + timedelta(days=n)), "source": source} for n in range(days)]


with DAG(
    dag_id="rerun",
    dag_display_name="Rerun: many nights in order",
    description="Run the nights of a span of days again, one after another",
    schedule=None,
    max_active_runs=1,
    is_paused_upon_creation=False,
    params={
        "first_day": required_day("First day", "The first business date to run, YYYY-MM-DD."),
        "last_day": required_day(
            "Last day", f"The last business date to run, YYYY-MM-DD; at most {MOST_DAYS} days in all."
        ),
        "source": source(),
        "stop_at_failure": yes_or_no(
            "Stop at the first failure",
            "On: the days after a failed one are skipped, since they would build on it. Off: every day is tried.",
            default=True,
        ),
    },
    default_args=defaults(),
    tags=["rekindle", "by hand", "publishes"],
) as dag:
    days = PythonOperator(
        task_id="days_to_run",
        python_callable=days_to_run,
        op_args=["{{ params.first_day }}", "{{ params.last_day }}", "{{ params.source }}"],
        doc_md=task_doc("days_to_run"),
    )
    NightOperator.partial(
        task_id="run_one_day",
        trigger_run_id="rerun__{{ task.conf['date'] }}__{{ run_id }}",
        map_index_template="{{ task.conf['date'] }}",
        doc_md=task_doc("run_one_day"),
        **ONE_NIGHT_AT_A_TIME,
    ).expand(conf=days.output)

dag.doc_md = runbook(__doc__, dag.task_ids)
