"""
# Quarantined lines, looked at again

After a mapping in conf/sources was mended: says by rule how many quarantined lines of a night would now be clean, and
keeps nothing. With `apply` it goes on to run that night, which cleans everything from bronze by the mended mapping and
publishes it if it is the served one. Without `apply` nothing changes, whatever comes out.

**If it fails**: nothing that is served changed. The red task's last line says what was found and what to do.
"""

from __future__ import annotations

from typing import Any

from _alerts import defaults
from _forms import business_day, source, yes_or_no
from _job import JobOperator, command
from _runbook import runbook, task_doc
from _runtime import ENVIRONMENT, ROOT
from _waiting import ONE_NIGHT_AT_A_TIME, NightOperator
from airflow.providers.standard.operators.python import ShortCircuitOperator
from airflow.sdk import DAG, chain

NIGHT = "{{ ti.xcom_pull(task_ids='night_to_replay')['date'] }}"


def apply_was_asked(params: Any) -> bool:
    """Whether the night is to be run."""
    return bool(params["apply"])


with DAG(
    dag_id="replay_quarantine",
    dag_display_name="Replay quarantine: by the mapping as it is now",
    description="A dry look at the quarantined lines of a night; with apply, that night again",
    schedule=None,
    max_active_runs=1,
    is_paused_upon_creation=False,
    params={
        "source": source(),
        "date": business_day("The business date of a published night. Empty: the night that the CRM reads now."),
        "apply": yes_or_no(
            "Apply",
            "Off: only look, nothing is kept. On: look, then run that night by the mapping as it is now.",
        ),
    },
    default_args=defaults(),
    tags=["rekindle", "by hand", "publishes"],
) as dag:
    chain(
        JobOperator(
            task_id="night_to_replay",
            engine="python",
            application=str(ROOT / "jobs" / "ingest" / "replay_quarantine.py"),
            # An empty day is the served night's.
            application_args=[
                *("--source", "{{ params.source }}", "--date", "{{ params.date or '' }}", "--env", ENVIRONMENT),
                *("--night-only", "--json"),
            ],
            result=("date", "run_id"),
            doc_md=task_doc("night_to_replay"),
        ),
        command("ingest/replay_quarantine", ["--source", "{{ params.source }}", "--date", NIGHT], engine="spark"),
        ShortCircuitOperator(
            task_id="apply_was_asked", python_callable=apply_was_asked, doc_md=task_doc("apply_was_asked")
        ),
        NightOperator(
            task_id="run_the_night",
            conf={"source": "{{ params.source }}", "date": NIGHT},
            trigger_run_id="replay__" + NIGHT + "__{{ run_id }}",
            doc_md=task_doc("run_the_night"),
            **ONE_NIGHT_AT_A_TIME,
        ),
    )

dag.doc_md = runbook(__doc__, dag.task_ids)
