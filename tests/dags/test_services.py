"""Airflow as a person meets it: up, a run triggered over REST, down; all on loopback and on ports of its own."""

import json
import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator

import pytest

from tests.dags.small_airflow import REPOSITORY, Airflow


def free_port() -> str:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return str(probe.getsockname()[1])


def services(airflow: Airflow, *arguments: str) -> subprocess.CompletedProcess[str]:
    return airflow("python", REPOSITORY / "bin" / "services.py", *arguments, timeout=400)


@pytest.fixture(scope="module")
def started(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Airflow, str]]:
    """Airflow, up, and what `up` printed."""
    small = Airflow(tmp_path_factory.mktemp("services"), REKINDLE_AIRFLOW_PORT=free_port())
    done = services(small, "up", "--no-mlflow")
    try:
        assert done.returncode == 0, done.stdout + done.stderr
        yield small, done.stdout
    finally:
        services(small, "down")


def sleeping_jobs(airflow: Airflow) -> list[str]:
    """Processes that run a job of this tree."""
    done = subprocess.run(["ps", "-eww", "-o", "pid=,args="], capture_output=True, text=True, check=True)
    return [line for line in done.stdout.splitlines() if str(airflow.tree / "jobs") in line]


def wait_for_job(airflow: Airflow) -> list[str]:
    for _ in range(240):
        if found := sleeping_jobs(airflow):
            return found
        time.sleep(0.25)
    return []


def test_a_run_triggered_over_rest_ends_green_for_the_day_asked_for(started: tuple[Airflow, str]) -> None:
    airflow, printed = started
    assert f"http://127.0.0.1:{airflow.environment['REKINDLE_AIRFLOW_PORT']}" in printed
    password = json.loads((airflow.home / "secrets" / "airflow_passwords.json").read_text())["admin"]
    assert f"user admin   password {password}" in printed
    (airflow.home / "behaviour.json").write_text(json.dumps({"preflight_landing": {"answer": {"train": False}}}))
    done = services(airflow, "trigger", "nightly", "--conf", '{"date": "2026-03-09", "source": "online_retail"}')
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.endswith("run success\n")
    calls = [json.loads(line) for line in (airflow.home / "calls.jsonl").read_text().splitlines()]
    assert len(calls) == 11
    assert all(call["arguments"][:4] == ["--source", "online_retail", "--date", "2026-03-09"] for call in calls)


@pytest.mark.parametrize(
    ("conf", "words"),
    [
        ('{"source": "shop"}', "param source: 'shop' is not one of ['online_retail', 'simulated_shop']"),
        ('{"retrain": "yes"}', "param retrain: 'yes' is not of type 'boolean'"),
    ],
)
def test_a_wrong_parameter_is_refused_over_rest_in_one_line(
    started: tuple[Airflow, str], conf: str, words: str
) -> None:
    done = services(started[0], "trigger", "nightly", "--conf", conf)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert words in done.stderr


def test_up_when_up_changes_nothing(started: tuple[Airflow, str]) -> None:
    airflow, _ = started
    before = {path.name: path.read_text() for path in (airflow.home / "run").glob("*.json")}
    done = services(airflow, "up", "--no-mlflow")
    assert (done.returncode, done.stdout.splitlines()[0]) == (0, "already up")
    assert {path.name: path.read_text() for path in (airflow.home / "run").glob("*.json")} == before


def test_a_taken_port_is_refused_by_its_number(tmp_path_factory: pytest.TempPathFactory) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = str(other.getsockname()[1])
        done = services(Airflow(tmp_path_factory.mktemp("taken"), REKINDLE_AIRFLOW_PORT=port), "up", "--no-mlflow")
    assert done.returncode == 2
    assert done.stderr == (
        f"error: port {port} of 127.0.0.1, wanted for api-server, is taken; "
        "free it or set REKINDLE_AIRFLOW_PORT=<port>\n"
    )


def test_down_ends_everything_also_the_job_that_is_running(started: tuple[Airflow, str]) -> None:
    airflow, _ = started
    noted = [json.loads(path.read_text())["pid"] for path in (airflow.home / "run").glob("*.json")]
    (airflow.home / "behaviour.json").write_text(json.dumps({"land_simulated_day": {"sleep": 300}}))
    trigger = [str(REPOSITORY / "bin" / "trigger"), "nightly", "--conf", '{"date": "2026-03-10"}']
    waiting = subprocess.Popen(trigger, env=airflow.environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        assert wait_for_job(airflow) != []
        done = services(airflow, "down")
    finally:
        waiting.kill()
        waiting.wait()
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("stopped") == 4
    left = subprocess.run(["ps", "-eww", "-o", "pgid=,stat=,args="], capture_output=True, text=True, check=True).stdout
    groups = {line.split()[0] for line in left.splitlines() if not line.split()[1].startswith("Z")}
    assert not groups & {str(pid) for pid in noted}
    assert sleeping_jobs(airflow) == []
    assert services(airflow, "down").stdout == "nothing was running\n"


def test_interrupting_a_night_ends_its_job(airflow: Airflow) -> None:
    """Ctrl-C on make nightly: the job has a process group of its own, so the terminal's signal does not reach it."""
    (airflow.home / "behaviour.json").write_text(json.dumps({"land_simulated_day": {"sleep": 300}}))
    command = [str(REPOSITORY / "bin" / "with-airflow"), "airflow", "dags", "test", "nightly", "--conf", "{}"]
    night = subprocess.Popen(
        command,
        env=airflow.environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
        # A test run in the background inherits that SIGINT is ignored; a person's terminal does not.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    try:
        assert wait_for_job(airflow) != []
        os.killpg(night.pid, signal.SIGINT)
        night.wait(60)
    finally:
        if night.poll() is None:
            night.kill()
            night.wait()
    assert night.returncode != 0
    assert sleeping_jobs(airflow) == []
