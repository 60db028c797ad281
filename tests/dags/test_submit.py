"""The two ways a job is started, outside Airflow: bin/spark-submit and the words for an exit code."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.dags.small_airflow import REPOSITORY, Airflow

SUBMIT = REPOSITORY / "bin" / "spark-submit"


def submit(airflow: Airflow, *arguments: str, **more: str) -> subprocess.CompletedProcess[str]:
    environment = airflow.environment | more
    return subprocess.run(
        [SUBMIT, *arguments], env=environment, capture_output=True, text=True, timeout=120, check=False
    )


@pytest.fixture
def job(tmp_path: Path) -> str:
    path = tmp_path / "say_and_leave.py"
    path.write_text("import sys\nprint('argv', sys.argv[1:])\nsys.exit(int(sys.argv[sys.argv.index('--code') + 1]))\n")
    return str(path)


def test_the_environment_file_names_the_master_unless_the_caller_does(airflow: Airflow, job: str) -> None:
    submits = airflow.home / "submits.txt"
    submits.unlink(missing_ok=True)
    tail = ["--conf", "spark.b=1", job, "--env", "local", "--code", "0"]
    assert submit(airflow, "--master", "environment", *tail).returncode == 0
    assert submit(airflow, "--master", "yarn", *tail).returncode == 0
    given = "--master local[2] --conf spark.a=two words"
    assert submits.read_text().splitlines() == [
        f"{given} --conf spark.b=1 {job} --env local --code 0",
        f"{given} --master yarn --conf spark.b=1 {job} --env local --code 0",
    ]


@pytest.mark.parametrize("code", [0, 3, 75])
def test_sparks_own_submit_hands_the_jobs_exit_code_on(airflow: Airflow, job: str, code: int) -> None:
    """The real spark-submit: the operator's "refused" and "temporary" rest on this."""
    arguments = ["--master", "environment", job, "--env", "local", "--code", str(code)]
    done = submit(airflow, *arguments, REKINDLE_SPARK_HOME="")
    assert done.returncode == code, done.stderr
    assert f"argv ['--env', 'local', '--code', '{code}']" in done.stdout


def test_a_job_without_an_environment_is_refused(airflow: Airflow, job: str) -> None:
    done = submit(airflow, job, "--code", "0")
    assert done.returncode == 2
    assert done.stderr == (
        "error: spark-submit: the job's arguments lack --env, expected the name of a file in conf/environments\n"
    )


def test_a_missing_python_is_named(airflow: Airflow, job: str) -> None:
    done = submit(airflow, job, "--env", "local", REKINDLE_JOBS_PYTHON="/nowhere/python")
    assert done.returncode == 2
    assert "no jobs' Python at /nowhere/python" in done.stderr


def test_a_missing_airflow_is_named(airflow: Airflow) -> None:
    done = airflow("airflow", "version", more={"REKINDLE_AIRFLOW_BIN": "/nowhere"})
    assert done.returncode == 2
    assert done.stderr.startswith("error: no Airflow in /nowhere")


def test_settings_of_another_airflow_on_this_machine_do_not_reach_ours(airflow: Airflow) -> None:
    show = "import os, json; print(json.dumps(dict(os.environ)))"
    foreign = {"AIRFLOW__CORE__PARALLELISM": "64", "AIRFLOW__SMTP__SMTP_PASSWORD": "x", "PYTHONPATH": "/y"}
    done = airflow("python", "-c", show, more=foreign)
    seen = json.loads(done.stdout)
    assert seen["AIRFLOW__CORE__PARALLELISM"] == "2"
    assert not {"AIRFLOW__SMTP__SMTP_PASSWORD", "PYTHONPATH", "PYTHONDONTWRITEBYTECODE"} & set(seen)
    assert seen["PATH"].split(os.pathsep)[0] == str(REPOSITORY / "bin")


def test_what_a_failed_job_is_called_depends_on_its_exit_code_and_its_last_own_words(airflow: Airflow) -> None:
    code = (
        "import json, sys; sys.path.insert(0, sys.argv[1])\n"
        "from _job import failure\n"
        "log = ['26/01/01 02:00:00 INFO SparkContext: up', 'error: table events is empty', "
        "'    at java.lang.Thread.run', '26/01/01 02:00:01 INFO ShutdownHookManager: down', '']\n"
        "said = {n: [type(e).__name__, str(e)] for n in (1, 2, 3, 75, -9) for e in [failure('clean_events', n, log)]}\n"
        "open(sys.argv[2], 'w').write(json.dumps(said))\n"
    )
    answer = airflow.home / "failures.json"
    done = airflow("python", "-c", code, REPOSITORY / "dags", answer)
    assert done.returncode == 0, done.stderr
    why = "error: table events is empty"
    assert json.loads(answer.read_text()) == {
        "1": ["AirflowException", f"clean_events failed (exit code 1), to be retried: {why}"],
        "2": ["AirflowFailException", f"clean_events was called wrongly (exit code 2, not retried): {why}"],
        "3": ["AirflowFailException", f"clean_events refused the data (exit code 3, not retried): {why}"],
        "75": ["AirflowException", f"clean_events failed (exit code 75), to be retried: {why}"],
        "-9": ["AirflowException", f"clean_events was ended by signal 9, to be retried: {why}"],
    }


def test_preparing_twice_is_preparing_once(airflow: Airflow) -> None:
    done = airflow("python", REPOSITORY / "bin" / "services.py", "prepare")
    assert (done.returncode, done.stdout) == (0, "")
    passwords = airflow.home / "secrets" / "airflow_passwords.json"
    assert oct(passwords.stat().st_mode & 0o777) == "0o600"
    assert sys.executable in airflow.environment["REKINDLE_JOBS_PYTHON"]
