"""The part of the night that both DAGs share: from landed files to judged models."""

from __future__ import annotations

from typing import Any

from _job import JobOperator, job
from _runbook import task_doc
from airflow.providers.standard.operators.python import ShortCircuitOperator
from airflow.sdk import chain


def preflight_says(key: str, ti: Any) -> bool:
    """What the night's preflight answered under `key`, "due" or "train"."""
    return bool(ti.xcom_pull(task_ids="preflight_landing")[key])


def gate(task_id: str, key: str, *, skips_all: bool) -> ShortCircuitOperator:
    """Goes on only if preflight said so; otherwise skips everything that follows, or only the tasks right behind it."""
    return ShortCircuitOperator(
        task_id=task_id,
        python_callable=preflight_says,
        op_args=[key],
        ignore_downstream_trigger_rules=skips_all,
        doc_md=task_doc(task_id),
    )


def learn(retrain: str, *, is_drawn: bool = True) -> JobOperator:
    """Wire land, preflight, clean, validate, features, training when due, judging; return the judging task.

    The asset view has each table's way to the CRM once: without `is_drawn` only the models are in it. `retrain` is the
    template of preflight's --retrain. Judging also follows a skipped training: a night without training still has
    champions to confirm. It does not follow a failed one, nor a night that is not due.
    """
    judge = job("publish/judge_models", engine="python", trigger_rule="none_failed")
    chain(
        job("ingest/land_simulated_day", engine="python", run=None, is_drawn=is_drawn),
        job(
            "ingest/preflight_landing",
            engine="python",
            run=None,
            more=["--retrain", retrain],
            result=("run_id", "due", "train"),
            is_drawn=is_drawn,
        ),
        gate("night_is_due", "due", skips_all=True),
        job("ingest/clean_events", is_drawn=is_drawn),
        job("ingest/validate_events", is_drawn=is_drawn),
        job("profile/build_features", is_drawn=is_drawn),
        gate("training_is_due", "train", skips_all=False),
        [job("recommend/train_recommender"), job("churn/train_churn")],
        judge,
    )
    return judge
