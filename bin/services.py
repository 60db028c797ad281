"""Prepares, starts and stops this installation's Airflow and MLflow UI, and triggers runs over the REST API.

Run through bin/with-airflow, which sets what is read here: bin/up, bin/down and bin/trigger do. Standard library only.
"""

from __future__ import annotations

import argparse
import fcntl
import hashlib
import json
import os
import secrets
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

TREE = Path(__file__).resolve().parents[1]
HOME = Path(os.environ.get("REKINDLE_HOME", TREE / "var"))
JOBS_PYTHON = os.environ.get("REKINDLE_JOBS_PYTHON", str(HOME / "env" / "jobs" / "bin" / "python"))
AIRFLOW_PORT = int(os.environ.get("REKINDLE_AIRFLOW_PORT", "8080"))
MLFLOW_PORT = int(os.environ.get("REKINDLE_MLFLOW_PORT", "5000"))
AIRFLOW_URL = f"http://127.0.0.1:{AIRFLOW_PORT}"
MLFLOW_URL = f"http://127.0.0.1:{MLFLOW_PORT}"
MLFLOW_STORE = f"sqlite:///{HOME / 'mlflow' / 'mlflow.db'}"
PASSWORDS = HOME / "secrets" / "airflow_passwords.json"
POOLS = TREE / "conf" / "airflow" / "pools.json"
USER = "admin"
# The parts `airflow standalone` would start, but without its log servers: those listen on every address.
AIRFLOW_PARTS = {
    "api-server": ["airflow", "api-server"],
    "scheduler": ["airflow", "scheduler", "--skip-serve-logs"],
    "dag-processor": ["airflow", "dag-processor"],
    "triggerer": ["airflow", "triggerer", "--skip-serve-logs"],
}
# 32 s were measured on two idle cores; a busy or slow machine takes several times as long.
START_LIMIT = 240
# Asked to stop, a part may finish what it writes; the scheduler would wait for a running job, so it is then ended.
STOP_LIMIT = 12
# After that the operator ends the job: up to 10 s politely, then 10 s at once (dags/_job.py).
KILL_LIMIT = 25


class Refused(Exception):
    """What was asked cannot be done; the text is the one line the person sees."""


def say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def private(path: Path, text: str) -> None:
    """Write a file that only its owner may read, never visible half written or with other rights."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    part = path.with_name(path.name + ".part")
    part.unlink(missing_ok=True)
    with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(text)
    part.rename(path)


@contextmanager
def alone() -> Iterator[None]:
    """One prepare, up or down at a time: two database migrations at once would break the store."""
    path = HOME / "run" / "services.lock"
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say("waiting for another make up, down or setup to end")
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def command(arguments: list[str], what: str) -> None:
    """Run one set-up command; its output is shown only if it fails.

    Raises:
        Refused: it ended with anything but 0.
    """
    done = subprocess.run(arguments, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    if done.returncode:
        tail = "\n".join(done.stdout.splitlines()[-15:])
        raise Refused(f"{what} failed (exit code {done.returncode}): {' '.join(arguments)}\n{tail}")


def prepare() -> None:
    """Airflow's database, pools and password, once for each Airflow version and pools file; instant afterwards."""
    if not PASSWORDS.exists():
        private(PASSWORDS, json.dumps({USER: secrets.token_urlsafe(12)}))
    from importlib.metadata import version

    wanted = f"{version('apache-airflow')} {hashlib.sha256(POOLS.read_bytes()).hexdigest()}"
    stamp, database = HOME / "airflow" / "prepared", HOME / "airflow" / "airflow.db"
    if database.exists() and stamp.exists() and stamp.read_text() == wanted:
        return
    say("preparing Airflow's database (about 10 s, once)")
    command(["airflow", "db", "migrate"], "Airflow's database migration")
    # A task whose pool is missing waits for ever without a word.
    command(["airflow", "pools", "import", str(POOLS)], "importing Airflow's pools")
    stamp.write_text(wanted)


def begun(pid: int) -> str | None:
    """When a process began, as `ps` writes it, or null if it is gone: tells it from a later one of its number."""
    done = subprocess.run(["ps", "-o", "stat=,lstart=", "-p", str(pid)], capture_output=True, text=True, check=False)
    state, _, started = done.stdout.strip().partition(" ")
    return started.strip() if started and not state.startswith("Z") else None


def running(name: str) -> int | None:
    """The process id of one of our services, or null if it does not run."""
    path = HOME / "run" / f"{name}.json"
    if not path.exists():
        return None
    noted = json.loads(path.read_text())
    return int(noted["pid"]) if begun(noted["pid"]) == noted["begun"] else None


def port_taken(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return True
    return False


def start(name: str, arguments: list[str], environment: dict[str, str] | None = None) -> None:
    """Start one service in a process group of its own, its output in HOME/logs/services/<name>.log."""
    log = HOME / "logs" / "services" / f"{name}.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as output:
        process = subprocess.Popen(
            arguments,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            cwd=HOME,
            env=environment,
            # Started from a script's background, we would hand on that SIGINT is ignored, and could not stop it by one.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        )
    noted = {"pid": process.pid, "begun": begun(process.pid)}
    (HOME / "run" / f"{name}.json").write_text(json.dumps(noted))


def signal_group(pid: int, number: int) -> bool:
    """Signal a service and what it started; false when none of them is left."""
    try:
        os.killpg(pid, number)
    except ProcessLookupError:
        return False
    return True


def group_lives(group: int) -> bool:
    """Whether any process of the group still runs; one that only waits to be reaped does not."""
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, _, pgid = stat.read_text().rpartition(")")[2].split()[:3]
        except (FileNotFoundError, ProcessLookupError):
            continue  # it ended while we looked
        if int(pgid) == group and state != "Z":
            return True
    return False


def stop(names: list[str]) -> list[str]:
    """Stop services, all at once: SIGINT to each, later SIGTERM and SIGKILL to its group. Return those that ran."""
    pids = {name: pid for name in names if (pid := running(name))}
    for pid in pids.values():
        os.kill(pid, signal.SIGINT)
    for number, patience in ((signal.SIGTERM, STOP_LIMIT), (signal.SIGKILL, KILL_LIMIT)):
        waited = 0.0
        while waited < patience and any(running(name) for name in pids):
            time.sleep(0.25)
            waited += 0.25
        for pid in (pid for name, pid in pids.items() if running(name)):
            signal_group(pid, number)
    for name, pid in pids.items():
        signal_group(pid, signal.SIGKILL)  # children a part left behind; its group is ours alone
        waited = 0.0
        while waited < KILL_LIMIT and group_lives(pid):  # a killed process is gone a moment later, not at once
            time.sleep(0.1)
            waited += 0.1
        say(f"stopped {name}")
    for name in names:
        (HOME / "run" / f"{name}.json").unlink(missing_ok=True)
    return list(pids)


def ask(path: str, body: Any = None, token: str | None = None) -> Any:
    """The JSON answer of Airflow's API.

    Raises:
        Refused: Airflow answered with an error; its own words in one line.
        OSError: nothing answers.
    """
    request = urllib.request.Request(AIRFLOW_URL + path, headers={"Content-Type": "application/json"})  # noqa: S310
    if token:
        request.add_header("Authorization", f"Bearer {token}")
    if body is not None:
        request.data = json.dumps(body).encode()
    try:
        with urllib.request.urlopen(request, timeout=90) as answer:  # noqa: S310 (a loopback address of our own)
            return json.load(answer)
    except urllib.error.HTTPError as error:
        text = error.read().decode(errors="replace")
        try:
            detail = json.loads(text).get("detail", text)
        except ValueError:
            detail = text
        line = " ".join(str(detail).split("\n\n")[0].split())
        raise Refused(f"Airflow refused {path} ({error.code}): {line[:500]}") from None


def log_in() -> str:
    """A token for the REST API, with the generated password."""
    password = json.loads(PASSWORDS.read_text())[USER]
    return str(ask("/auth/token", {"username": USER, "password": password})["access_token"])


def healthy() -> str:
    """Empty if Airflow answers, every part's heart beats and the DAG `nightly` is known; else what is still missing."""
    try:
        health = ask("/api/v2/monitor/health")
        sick = sorted(part for part, about in health.items() if about.get("status") not in ("healthy", None))
        if sick:
            return ", ".join(sick)
        ask("/api/v2/dags/nightly", token=log_in())
    except Refused:
        return "the DAG nightly"
    except OSError:
        return "the API server"
    return ""


def wait_until_up(names: list[str], mlflow: bool) -> None:
    """Return when everything answers.

    Raises:
        Refused: a service ended, or they are not up within START_LIMIT seconds; with the end of the log.
    """
    waited, missing = 0, "everything"
    while waited < START_LIMIT:
        for name in names:
            if not running(name):
                log = HOME / "logs" / "services" / f"{name}.log"
                tail = "\n".join(log.read_text(errors="replace").splitlines()[-15:])
                raise Refused(f"{name} ended while starting; the end of {log}:\n{tail}")
        missing = healthy()
        if not missing and mlflow and not port_taken(MLFLOW_PORT):
            missing = "the MLflow UI"
        if not missing:
            return
        time.sleep(1)
        waited += 1
    raise Refused(f"not up after {START_LIMIT} s, still missing: {missing}; logs are in {HOME / 'logs' / 'services'}")


def mlflow_environment() -> dict[str, str]:
    """MLflow's environment: none of Airflow's settings, no usage reports, no workers that nobody uses."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith("AIRFLOW")}
    return kept | {
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "DO_NOT_TRACK": "true",
        # Its job runner (for evaluations started in the UI) keeps eight more Python processes of 250 MB.
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
    }


def up(mlflow: bool) -> None:
    """Start what does not run yet, wait until it answers, and say where and with which password."""
    parts = AIRFLOW_PARTS | ({"mlflow": []} if mlflow else {})
    missing = [name for name in parts if not running(name)]
    for name, port, variable in (
        ("api-server", AIRFLOW_PORT, "REKINDLE_AIRFLOW_PORT"),
        ("mlflow", MLFLOW_PORT, "REKINDLE_MLFLOW_PORT"),
    ):
        if name in missing and port_taken(port):
            raise Refused(f"port {port} of 127.0.0.1, wanted for {name}, is taken; free it or set {variable}=<port>")
    prepare()
    if "mlflow" in missing:
        if not Path(JOBS_PYTHON).exists():
            raise Refused(f"no jobs' Python at {JOBS_PYTHON}, expected it for MLflow's UI; run: make setup")
        (HOME / "mlflow").mkdir(exist_ok=True)
        # Two processes that both make the store leave it broken for good: make it before anything reads it.
        if not (HOME / "mlflow" / "mlflow.db").exists():
            say("making MLflow's store (about 30 s, once)")
            command([JOBS_PYTHON, "-m", "mlflow", "db", "upgrade", MLFLOW_STORE], "making MLflow's store")
    try:
        for name in missing:
            if name == "mlflow":
                server = ["server", "--backend-store-uri", MLFLOW_STORE, "--host", "127.0.0.1", "--workers", "1"]
                files = ["--artifacts-destination", str(HOME / "mlflow" / "artifacts"), "--port", str(MLFLOW_PORT)]
                start(name, [JOBS_PYTHON, "-m", "mlflow", *server, *files], mlflow_environment())
            else:
                start(name, AIRFLOW_PARTS[name])
        if missing:
            say(f"starting {', '.join(missing)} (about 30 s)")
        wait_until_up(list(parts), mlflow)
    except (Refused, KeyboardInterrupt):
        stop(missing)
        raise
    say("up" if missing else "already up")
    say(f"Airflow   {AIRFLOW_URL}   user {USER}   password {json.loads(PASSWORDS.read_text())[USER]}")
    if mlflow:
        say(f"MLflow    {MLFLOW_URL}")
    say("stop with: make down")


def down() -> None:
    """Stop everything that `up` started; nothing to do is fine."""
    if not stop([*AIRFLOW_PARTS, "mlflow"]):
        say("nothing was running")


def trigger(dag_id: str, conf: str, key: str | None) -> bool:
    """Trigger a run over REST, show each task as its state changes, and return whether the run ended green.

    Raises:
        Refused: Airflow is not up, or refuses the DAG, a parameter or the partition key.
    """
    try:
        parameters = json.loads(conf)
    except ValueError as error:
        raise Refused(f"--conf is {conf!r}, expected a JSON object: {error}") from None
    try:
        token = log_in()
    except OSError:
        raise Refused(f"nothing answers at {AIRFLOW_URL}; run: make up") from None
    body = {"logical_date": None, "conf": parameters} | ({"partition_key": key} if key else {})
    run = ask(f"/api/v2/dags/{dag_id}/dagRuns", body, token)
    address = f"/api/v2/dags/{dag_id}/dagRuns/{urllib.parse.quote(run['dag_run_id'])}"
    say(f"run {run['dag_run_id']}: {AIRFLOW_URL}/dags/{dag_id}/runs/{urllib.parse.quote(run['dag_run_id'])}")
    seen: dict[str, str] = {}
    while True:
        state = ask(address, token=token)["state"]
        for task in ask(f"{address}/taskInstances?limit=100", token=token)["task_instances"]:
            of_days = task["rendered_map_index"]  # a task that runs for each of several days has an instance a day
            name = f"{task['task_id']} {of_days}" if of_days else task["task_id"]
            if task["state"] and task["state"] != seen.get(name):
                seen[name] = task["state"]
                if task["state"] not in ("scheduled", "queued"):
                    seconds = f"  {task['duration']:.1f} s" if task["duration"] and task["state"] != "running" else ""
                    say(f"  {name:<24}{task['state']}{seconds}")
        if state in ("success", "failed"):
            say(f"run {state}")
            return bool(state == "success")
        time.sleep(2)


def main() -> int:
    parser = argparse.ArgumentParser(description="This installation's Airflow and MLflow UI.")
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("prepare", help="make Airflow's database, pools and password")
    starting = commands.add_parser("up", help="start what does not run, wait until it answers")
    starting.add_argument("--no-mlflow", action="store_true", help="Airflow only")
    commands.add_parser("down", help="stop what up started")
    running_now = commands.add_parser("trigger", help="trigger a run over REST, wait for its end")
    running_now.add_argument("dag")
    running_now.add_argument("--conf", default="{}", help='parameters as JSON, as {"date": "2026-04-30"}')
    running_now.add_argument("--partition-key", help="the business date as the schedule would give it")
    given = parser.parse_args()
    try:
        if given.command == "trigger":
            return 0 if trigger(given.dag, given.conf, given.partition_key) else 1
        with alone():
            if given.command == "up":
                up(mlflow=not given.no_mlflow)
            else:
                {"prepare": prepare, "down": down}[given.command]()
    except Refused as refused:
        sys.stderr.write(f"error: {refused}\n")
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
