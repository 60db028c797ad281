"""The one operator: it runs one file of jobs/ as a command line and turns its exit code into Airflow's terms.

    spark-submit jobs/<stage>/<job>.py --source S --date D --run R --env E      engine="spark"
    <jobs' python> jobs/<stage>/<job>.py --source S --date D --run R --env E    engine="python"

Exit codes: 0 done; 2 usage and 3 data refused fail at once, because a retry would meet the same input;
everything else (75 temporary, a crash, a signal) is retried.
"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import threading
from collections import deque
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import IO, Any, Literal

from _lineage import reads, told, writes
from _runbook import task_doc
from _runtime import ENVIRONMENT, HOME, ROOT, business_date
from airflow.providers.apache.spark.hooks.spark_submit import SparkSubmitHook
from airflow.providers.apache.spark.operators.spark_submit import SparkSubmitOperator
from airflow.sdk import Asset
from airflow.sdk.exceptions import AirflowException, AirflowFailException

JOBS_PYTHON = os.environ.get("REKINDLE_JOBS_PYTHON") or str(HOME / "env" / "jobs" / "bin" / "python")
# What no retry can change, and how the task log names it.
FINAL = {2: "was called wrongly", 3: "refused the data"}
# Seconds between asking a killed job to end and ending it: enough for Spark to remove its temporary folders.
GRACE = 10
# Characters of a reason that are kept with a task; a run's note takes 1,000 in all.
LONGEST_WHY = 600
# Shapes of lines that are never the reason of a failure: Spark's own logging, a stack frame.
_NOISE = re.compile(r"^(\d\d/\d\d/\d\d \d\d:\d\d:\d\d (TRACE|DEBUG|INFO|WARN)\b|\s+at |\s*$)")

RUN_ID = "{{ ti.xcom_pull(task_ids='preflight_landing')['run_id'] }}"
DAY = "{{ business_date(dag_run, params) }}"
# As the cluster's own pages show a job.
NAME = "{{ task.task_id }} {{ params.source }} " + DAY
# The XCom key under which a failed task says why.
WHY = "why"


def job_environment() -> dict[str, str]:
    """The environment of a job: this process's, without Airflow's settings (some hold passwords), at home in ROOT."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith("AIRFLOW_") and k != "PYTHONDONTWRITEBYTECODE"}
    return kept | {
        "PYTHONPATH": str(ROOT),
        "PYTHONUNBUFFERED": "1",
        # Order of sets of strings is part of "the same input gives the same output".
        "PYTHONHASHSEED": "0",
        "REKINDLE_ROOT": str(ROOT),
        "REKINDLE_HOME": str(HOME),
        "REKINDLE_ENV": ENVIRONMENT,
    }


def end_group(process: subprocess.Popen[Any] | None) -> None:
    """End a job and everything it started (driver, executors, workers), first politely; nothing if it is over."""
    if process is None or process.poll() is not None:
        return
    for number, patience in ((signal.SIGTERM, GRACE), (signal.SIGKILL, GRACE)):
        try:
            os.killpg(process.pid, number)
            process.wait(patience)
        except ProcessLookupError:
            return
        except subprocess.TimeoutExpired:
            continue
        return


def failure(job: str, code: int, output: Iterable[str]) -> AirflowException:
    """The exception for a job that did not end with 0: final or to be retried, with the last line that says why.

    A negative code is the number of the signal that ended the job, as `subprocess` has it.
    """
    reason = next((line for line in reversed(list(output)) if not _NOISE.match(line)), "it printed nothing")
    if code in FINAL:
        return AirflowFailException(f"{job} {FINAL[code]} (exit code {code}, not retried): {reason}")
    how = f"was ended by signal {-code}" if code < 0 else f"failed (exit code {code})"
    return AirflowException(f"{job} {how}, to be retried: {reason}")


class JobHook(SparkSubmitHook):
    """spark-submit in a process group of its own: ending it ends all of it, also when Airflow is interrupted."""

    def submit(self, application: str = "", **kwargs: Any) -> str | None:
        job = Path(application).stem
        try:
            environment = {"env": job_environment() | {k: str(v) for k, v in (self._env or {}).items()}}
            self._env = {}  # or the provider would replace the environment by its own
            return super().submit(application, start_new_session=True, cwd=str(ROOT), **environment, **kwargs)
        except FileNotFoundError as missing:
            raise AirflowFailException(
                f"{job}: no program {missing.filename!r}, expected spark-submit on PATH; start Airflow "
                "by bin/with-airflow"
            ) from None
        except AirflowFailException:
            raise
        except AirflowException:
            process = self._submit_sp
            if process is None or not process.returncode:
                raise  # the cluster said no, not the command
            raise failure(job, process.returncode, self._last_submit_log_lines) from None
        finally:
            end_group(self._submit_sp)

    def on_kill(self) -> None:
        end_group(self._submit_sp)
        super().on_kill()


class JobOperator(SparkSubmitOperator):
    """Runs one job; with `result`, returns the JSON object on its last line of standard output.

    Why it failed is kept with the task under the key `why`: the run's note and a later reader have it in one line.

    Raises:
        AirflowFailException: the job ended with 2 or 3, a parameter is unknown, or the result is not what was promised.
        AirflowException: the job ended in any other way but 0; Airflow retries it.
    """

    template_fields: Sequence[str] = ("application", "application_args", "name")

    def __init__(
        self,
        *,
        engine: Literal["spark", "python"],
        application: str,
        application_args: list[str],
        result: tuple[str, ...] = (),
        name: str = "{{ task.task_id }}",
        **kwargs: Any,
    ) -> None:
        self.engine = engine
        self.result = result
        self._process: subprocess.Popen[str] | None = None
        super().__init__(
            application=application,
            application_args=application_args,
            name=name,
            do_xcom_push=bool(result),
            **kwargs,
        )

    def execute(self, context: Any) -> Any:
        try:
            self._refuse_unknown_parameters(context)
            value = super().execute(context) if self.engine == "spark" else self._run_python()
        except KeyboardInterrupt:
            # Ctrl-C on `airflow dags test`: Airflow would take it for one more failure to retry.
            raise AirflowFailException(f"{self.task_id} was interrupted by hand, not retried") from None
        except AirflowException as failed:
            context["ti"].xcom_push(key=WHY, value=str(failed)[:LONGEST_WHY])
            raise
        for asset in self.outlets:
            # Keyed by the day, so that a consumer can ask for the event of one night.
            day, params = business_date(context["dag_run"], context["params"]), context["params"]
            context["outlet_events"][asset].add_partitions(day)
            context["outlet_events"][asset].extra.update(told(day, params, self._run_id()))
        return value

    def _refuse_unknown_parameters(self, context: Any) -> None:
        known, given = set(context["dag"].params), context["dag_run"].conf or {}
        if unknown := sorted(set(given) - known):
            raise AirflowFailException(
                f"unknown parameter {', '.join(map(repr, unknown))}, expected {', '.join(sorted(known))}; "
                "correct the run's conf and trigger it again"
            )

    def _run_id(self) -> str | None:
        words = list(self.application_args or [])
        return str(words[words.index("--run") + 1]) if "--run" in words else None

    def on_kill(self) -> None:
        if self.engine == "spark":
            super().on_kill()
        else:
            end_group(self._process)

    def _get_hook(self) -> JobHook:
        return JobHook(
            conf=self.conf, conn_id=self._conn_id, name=self.name, application_args=self.application_args or []
        )

    def _run_python(self) -> dict[str, Any] | None:
        job = Path(self.application).stem
        command = [JOBS_PYTHON, self.application, *(self.application_args or [])]
        self.log.info("command: %s", " ".join(command))
        errors: deque[str] = deque(maxlen=200)
        output: deque[str] = deque(maxlen=200)
        try:
            self._process = subprocess.Popen(
                command,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
                errors="replace",
                cwd=ROOT,
                env=job_environment(),
                start_new_session=True,
            )
        except FileNotFoundError as missing:
            raise AirflowFailException(
                f"{job}: no program {missing.filename!r}, expected the jobs' Python; set up with make, "
                "or name it in REKINDLE_JOBS_PYTHON"
            ) from None
        try:
            # Two pipes: the result is the last line of standard output, whatever is being logged beside it.
            side = threading.Thread(target=self._stream, args=(self._process.stderr, errors), daemon=True)
            side.start()
            self._stream(self._process.stdout, output)
            side.join()
            code = self._process.wait()
        finally:
            end_group(self._process)
        if code:
            raise failure(job, code, errors or output)
        return self._read_result(job, output) if self.result else None

    def _stream(self, lines: IO[str] | None, kept: deque[str]) -> None:
        for line in lines or ():
            kept.append(line.rstrip("\n"))
            self.log.info("%s", kept[-1])

    def _read_result(self, job: str, output: deque[str]) -> dict[str, Any]:
        last = output[-1] if output else ""
        try:
            value = json.loads(last)
        except ValueError:
            value = None
        if not isinstance(value, dict) or set(value) != set(self.result):
            raise AirflowFailException(
                f"{job} ended with 0 but its last line was {last!r}, expected a JSON object with "
                + ", ".join(self.result)
            )
        return value


def command(
    path: str,
    arguments: Sequence[str],
    *,
    engine: Literal["spark", "python"] = "python",
    more: Sequence[str] = (),
    outlets: Sequence[Asset] = (),
    is_drawn: bool = True,
    **kwargs: Any,
) -> JobOperator:
    """The task that runs jobs/<path>.py with these arguments, --env and `more`; its id is the file's name.

    What it reads and writes for Airflow's asset view is that of lineage.json, if `is_drawn`; `outlets` come beside.
    """
    task_id = Path(path).name
    if engine == "spark":
        # One Spark driver at a time fills a machine of two cores; a cluster makes the pool wider, not the DAG.
        kwargs = {"pool": "spark"} | kwargs
    return JobOperator(
        task_id=task_id,
        engine=engine,
        application=str(ROOT / "jobs" / f"{path}.py"),
        application_args=[*arguments, "--env", ENVIRONMENT, *more],
        doc_md=task_doc(task_id),
        inlets=reads(task_id) if is_drawn else [],
        outlets=[*(writes(task_id) if is_drawn else []), *outlets],
        **kwargs,
    )


def job(
    path: str,
    *,
    engine: Literal["spark", "python"] = "spark",
    run: str | None = RUN_ID,
    more: Sequence[str] = (),
    **kwargs: Any,
) -> JobOperator:
    """The task of one night's job jobs/<path>.py.

    `run` is the template of --run, or None for the jobs before preflight, which works the run id out.
    """
    arguments = ["--source", "{{ params.source }}", "--date", DAY, *(["--run", run] if run else [])]
    return command(path, arguments, engine=engine, more=more, name=NAME, **kwargs)
