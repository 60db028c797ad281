"""Going back, by hand: to an earlier night at once (`rollback`), or to an earlier model from the next night on."""

from __future__ import annotations

from _alerts import defaults
from _forms import model_digest, model_kind, reason, served_run, source
from _job import command
from _runbook import runbook
from airflow.sdk import DAG

# One word each, so that a reason is never taken for an option; who decided stands beside it.
WHY = "--why={{ params.why }} (in Airflow, by {{ dag_run.triggering_user_name or 'somebody' }})"

with DAG(
    dag_id="rollback",
    dag_display_name="Rollback: serve an earlier night",
    description="Move the CRM's pointer to an earlier kept run, at once",
    schedule=None,
    max_active_runs=1,
    is_paused_upon_creation=False,
    params={"source": source(), "run": served_run(), "why": reason()},
    default_args=defaults(),
    tags=["rekindle", "by hand", "publishes"],
) as rollback:
    command("publish/rollback_night", ["--source", "{{ params.source }}", "--run", "{{ params.run }}", WHY])

rollback.doc_md = runbook(
    """
# An earlier night again

Lets the CRM read an earlier kept run of one source, at once and whole: one pointer moves, in one transaction. The next
night that is not older than it takes over. Who asked and why is kept (`serve.pointer_moves`).

**If it fails**: nothing was changed. The task's last line lists the runs that can be served.
""",
    rollback.task_ids,
)

with DAG(
    dag_id="rollback_model",
    dag_display_name="Rollback model: an earlier champion",
    description="Let an earlier champion serve from the next night on",
    schedule=None,
    max_active_runs=1,
    is_paused_upon_creation=False,
    params={"source": source(), "kind": model_kind(), "digest": model_digest(), "why": reason()},
    default_args=defaults(),
    tags=["rekindle", "by hand"],
) as rollback_model:
    command(
        "publish/rollback_model",
        [
            *("--source", "{{ params.source }}", "--kind", "{{ params.kind }}"),
            *("--digest={{ params.digest or '' }}", WHY),
        ],
    )

rollback_model.doc_md = runbook(
    """
# An earlier model again

Lets an earlier champion serve from the next night on, after looking whether its artefact is whole. What is served now
does not change: for that, use `rollback`. The model that is left is withdrawn, and no night promotes it again.

**If it fails**: nothing was changed. The task's last line says what there is to go back to.
""",
    rollback_model.task_ids,
)
