"""Airflow as a person meets it: up, runs triggered over REST and in a browser, down; all on loopback and on ports of
its own."""

import json
import os
import signal
import socket
import subprocess
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.dags import browser
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


def rest(airflow: Airflow) -> Callable[..., Any]:
    """What asks the REST API of the small Airflow that is up: a path below its root, and a body to post."""
    secret = json.loads((airflow.home / "secrets/airflow_passwords.json").read_text())
    [(user, password)] = secret.items()
    root = f"http://127.0.0.1:{airflow.environment['REKINDLE_AIRFLOW_PORT']}"

    def ask(path: str, body: dict[str, Any] | None = None, token: str | None = None) -> Any:
        headers = {"Content-Type": "application/json"} | ({"Authorization": f"Bearer {token}"} if token else {})
        request = urllib.request.Request(  # noqa: S310 - our own server
            f"{root}/{path}", json.dumps(body).encode() if body is not None else None, headers
        )
        with urllib.request.urlopen(request, timeout=60) as answer:  # noqa: S310
            return json.load(answer)

    token = ask("auth/token", {"username": user, "password": password})["access_token"]
    return lambda path, body=None: ask(f"api/v2/{path}", body, token)


def night_calls(airflow: Airflow) -> list[dict[str, Any]]:
    """The calls of jobs that are about one day; the watch over freshness may run beside them at any half hour."""
    calls = [json.loads(line) for line in (airflow.home / "calls.jsonl").read_text().splitlines()]
    return [call for call in calls if "--date" in call["arguments"]]


def test_a_run_triggered_over_rest_ends_green_for_the_day_asked_for(started: tuple[Airflow, str]) -> None:
    airflow, printed = started
    assert f"http://127.0.0.1:{airflow.environment['REKINDLE_AIRFLOW_PORT']}" in printed
    password = json.loads((airflow.home / "secrets" / "airflow_passwords.json").read_text())["admin"]
    assert f"user admin   password {password}" in printed
    (airflow.home / "behaviour.json").write_text(json.dumps({"preflight_landing": {"answer": {"train": False}}}))
    done = services(airflow, "trigger", "nightly", "--conf", '{"date": "2026-03-09", "source": "online_retail"}')
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.endswith("run success\n")
    nightly = night_calls(airflow)
    assert len(nightly) == 11
    assert all(call["arguments"][:4] == ["--source", "online_retail", "--date", "2026-03-09"] for call in nightly)


def test_an_analyst_runs_a_night_and_reads_it_in_the_browser(started: tuple[Airflow, str], tmp_path: Path) -> None:
    """Log in, fill the form, trigger, follow to green, read the note, see where a CRM view comes from."""
    airflow, _ = started
    pictures = Path(os.environ.get("REKINDLE_PICTURES") or tmp_path)
    (airflow.home / "behaviour.json").write_text(json.dumps({"preflight_landing": {"answer": {"train": False}}}))
    (airflow.home / "calls.jsonl").write_text("")
    password = json.loads((airflow.home / "secrets" / "airflow_passwords.json").read_text())["admin"]
    with browser.page(f"http://127.0.0.1:{airflow.environment['REKINDLE_AIRFLOW_PORT']}") as page:
        faults: list[str] = []
        page.goto("/dags/nightly")
        browser.log_in(page, "admin", password)
        page.get_by_role("button", name="Trigger").first.wait_for()
        page.on("pageerror", lambda error: faults.append(str(error)))
        page.get_by_role("button", name="Trigger").first.click()
        form = page.get_by_role("dialog")
        form.get_by_text("Which shop: the name of its mapping").wait_for()
        page.screenshot(path=pictures / "form.png", animations="disabled")
        form.locator("input[type=date]").fill("2026-03-09")
        form.get_by_role("combobox").first.click()
        page.get_by_role("option", name="online_retail").click()
        form.get_by_role("button", name="Trigger").click()
        page.wait_for_url("**/dags/nightly/runs/**")
        assert browser.until_over(page) == "success"
        # Airflow fetches a run's note with the page only.
        page.reload()
        page.get_by_text("Published, simulated_shop 2026-04-30: 551 at risk, 84,000 recommendations").first.wait_for()
        assert page.get_by_text("Success", exact=True).count() > 3
        page.screenshot(path=pictures / "run.png", animations="disabled")
        page.get_by_role("button", name="Edit note").click()
        note = page.get_by_role("dialog")
        note.get_by_text("quarantined 45").first.wait_for()
        page.screenshot(path=pictures / "note.png", animations="disabled")
        # What lies outside the frame is not drawn at all.
        page.set_viewport_size({"width": 2600, "height": 1000})
        page.goto("/assets?name_pattern=crm/at_risk_users")
        page.get_by_role("link", name="crm/at_risk_users").click()
        page.get_by_text("Task Dependencies").click()
        page.locator(".react-flow__minimap-node").nth(20).wait_for(state="attached")
        page.get_by_label("Fit View").click()
        drawn = page.locator(".react-flow__node")
        drawn.filter(has_text="landing/online_retail").wait_for(state="attached")
        names = {text.split("\n")[0] for text in drawn.all_inner_texts()}
        page.screenshot(path=pictures / "assets.png", animations="disabled")
    assert {"landing/simulated_shop", "clean_events", "lake/events", "lake/at_risk_users", "publish_night"} <= names
    assert faults == []
    [first, *_] = night_calls(airflow)
    assert first["arguments"][:4] == ["--source", "online_retail", "--date", "2026-03-09"]
    assert len(night_calls(airflow)) == 11


def test_days_are_run_again_in_order_and_a_failed_one_stops_those_after_it(started: tuple[Airflow, str]) -> None:
    """Each day is a run of `nightly`; a cleared day runs again, and then the others follow."""
    airflow, _ = started
    not_due = {"preflight_landing": {"answer": {"due": False}, "exit": [0, 3, 0]}}
    (airflow.home / "behaviour.json").write_text(json.dumps(not_due))
    (airflow.home / "calls.jsonl").write_text("")
    span = {"first_day": "2026-03-01", "last_day": "2026-03-03"}
    done = services(airflow, "trigger", "rerun", "--conf", json.dumps(span))
    assert done.returncode == 1, done.stdout + done.stderr
    days = [call["arguments"][3] for call in night_calls(airflow) if call["job"] == "preflight_landing"]
    assert days == ["2026-03-01", "2026-03-02"]
    ask = rest(airflow)
    [run] = ask("dags/rerun/dagRuns")["dag_runs"]
    assert "Failed" in run["note"]
    cleared = [["run_one_day", 1], ["run_one_day", 2]]
    body = {"dry_run": False, "dag_run_id": run["dag_run_id"], "task_ids": cleared, "only_failed": False}
    assert ask("dags/rerun/clearTaskInstances", body | {"reset_dag_runs": True})["total_entries"] == 2
    for _ in range(240):
        [run] = ask("dags/rerun/dagRuns")["dag_runs"]
        if run["state"] in ("success", "failed"):
            break
        time.sleep(0.5)
    assert (run["state"], run["note"] or "") == ("success", ""), "what was red is green, and no note says otherwise"
    days = [call["arguments"][3] for call in night_calls(airflow) if call["job"] == "preflight_landing"]
    assert days == ["2026-03-01", "2026-03-02", "2026-03-02", "2026-03-03"]
    wrong = services(airflow, "trigger", "rerun", "--conf", json.dumps(span | {"last_day": "3.3.2026"}))
    assert (wrong.returncode, "'3.3.2026' is not a 'date'" in wrong.stderr) == (2, True)


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
