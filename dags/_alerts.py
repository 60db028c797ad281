"""What happens when a task is red for good: one line in alerts.jsonl, one letter in the spool, and the postman is sent.

The callback itself only writes two small files. Who is told, and how, stands in conf/environments (`alerts`), which
only jobs read: jobs/publish/send_alerts.py delivers what lies in the spool, in a process of its own that is given
POSTMAN_SECONDS. What it could not deliver stays for the next alert and for the DAG freshness, every half hour.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import subprocess
from datetime import timedelta
from functools import partial
from typing import Any

from _job import JOBS_PYTHON, job_environment
from _runbook import TASKS
from _runtime import ENVIRONMENT, HOME, ROOT, business_date, retry_seconds

# Characters of a reason; the log has the rest.
LONGEST = 4_000
POSTMAN = "jobs/publish/send_alerts.py"
# Two receivers that do not answer cost the sender 20 s by the default conf; a callback waits no longer than this.
POSTMAN_SECONDS = 30

log = logging.getLogger(__name__)


def line_of(context: Any) -> dict[str, Any]:
    """What alerts.jsonl has of a failure.

    Keys: dag, task, run, date (null when the parameters themselves were refused), source, attempt, error, log_url.
    """
    ti, params = context["ti"], context.get("params") or {}
    run = context.get("dag_run")
    return {
        "dag": ti.dag_id,
        "task": ti.task_id,
        "run": ti.run_id,
        "date": business_date(run, params) if run else None,
        "source": params.get("source"),
        "attempt": ti.try_number,
        "error": str(context.get("exception") or ""),
        "log_url": getattr(ti, "log_url", None),
    }


def letter_of(line: dict[str, Any], map_index: int, once_a_day: bool) -> dict[str, Any]:
    """The alert as jobs/publish/send_alerts.py expects it: what failed, why, what to do, where to look.

    The same failure has the same id, and an id is sent once. With `once_a_day` all failures of the task on one business
    date are the same.
    """
    about = [line["dag"], line["task"], line["date"] if once_a_day else [line["run"], map_index, line["attempt"]]]
    what, to_do = TASKS[line["task"]]
    whose = " ".join(str(line[key]) for key in ("source", "date") if line[key])
    return {
        "id": hashlib.sha256(json.dumps(about).encode()).hexdigest()[:32],
        "title": f"{line['task']} failed{f': {whose}' if whose else ''} ({line['dag']})",
        "what": f"Task {line['task']} of the DAG {line['dag']} is red, attempt {line['attempt']}. {what}",
        "why": line["error"][:LONGEST] or "Airflow gave no reason; the log has it.",
        "to_do": to_do,
        "link": line["log_url"],
    }


def put_into_spool(letter: dict[str, Any]) -> None:
    """Write the letter, whole or not at all, unless it lies there or was sent already."""
    folder = HOME / "alerts"
    path = folder / "spool" / f"{letter['id']}.json"
    if path.exists() or (folder / "sent" / path.name).exists():
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f"{path.name}.{os.getpid()}.part")
    part.write_text(json.dumps(letter, ensure_ascii=False), encoding="utf-8")
    part.rename(path)


def send_the_postman() -> None:
    """Start the sender and wait for it a short while; whatever becomes of it is only logged."""
    command = [JOBS_PYTHON, str(ROOT / POSTMAN), "--env", ENVIRONMENT]
    try:
        done = subprocess.run(
            command,
            env=job_environment(),
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=POSTMAN_SECONDS,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        log.warning("alert stays in the spool, the sender did not end: %s", type(error).__name__)
        return
    for text in done.stderr.splitlines():
        log.info("%s", text)


def alert(context: Any, *, once_a_day: bool = False) -> None:
    """Note, spool and send one alert about a task that failed for good.

    A full disk must not hide the failure that is being reported: what cannot be written is logged instead of raised.
    """
    line = line_of(context)
    text = json.dumps(line, ensure_ascii=False)
    log.error("alert %s", text)
    path = HOME / "alerts" / "alerts.jsonl"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("a", encoding="utf-8") as alerts:
            alerts.write(text + "\n")
        put_into_spool(letter_of(line, getattr(context["ti"], "map_index", -1), once_a_day))
    except OSError:
        log.exception("alert not written to %s", path)
    send_the_postman()


def defaults(*, once_a_day: bool = False) -> dict[str, Any]:
    """Arguments every task gets: who owns it, how it is retried, how long it may take, who hears of its failure."""
    return {
        "owner": "growth-data",
        "retries": 2,
        "retry_delay": timedelta(seconds=retry_seconds()),
        "retry_exponential_backoff": 2,
        "max_retry_delay": timedelta(minutes=30),
        # A simulated night takes minutes. A job that hangs must not block every later night (max_active_runs=1).
        "execution_timeout": timedelta(hours=3),
        "on_failure_callback": [partial(alert, once_a_day=True) if once_a_day else alert],
    }
