"""A night of a small shop with everything of its own: home, conf, PostgreSQL with warehouse and lake catalog, secrets.

Its conf is the repository's, conf/environments/cluster.yaml included, with the angle brackets filled in.
"""

from __future__ import annotations

import json
import os
import re
import secrets
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any

import psutil  # type: ignore[import-untyped]
import psycopg
import yaml
from psycopg import sql

from rekindle import embedded, settings, warehouse
from rekindle.fingerprint import Fingerprint
from rekindle.ledger import Ledger, TableVersion
from tests.cluster import processes

ROOT = Path(__file__).resolve().parents[2]
SOURCE, DAY = "simulated_shop", date(2026, 2, 20)
GOLDEN = ROOT / "tests/golden/commands.json"
# Two cores and small tables; the file's own 200 partitions and 4 GB are for a shop a thousand times as large.
SHORT = "-Xss4m -XX:TieredStopAtLevel=1 -XX:+UseSerialGC"
SIZE = {
    "spark.driver.memory": "1g",
    "spark.driver.extraJavaOptions": SHORT,
    "spark.executor.memory": "1g",
    "spark.executor.extraJavaOptions": SHORT,
    "spark.sql.shuffle.partitions": "3",
}
NIGHT_SECONDS = 600  # for one job
PLACEHOLDER = re.compile(r"<[^>]*>")
LAKE_ROLE, LAKE_DATABASE = "rekindle_lake", "lake_catalog"


def rendered(text: str, home: Path, master: str, port: int, size: Mapping[str, str] = SIZE) -> str:
    """cluster.yaml for this machine: placeholders filled, mounts below `home`, sized; nothing else is changed."""
    fillings = {
        "spark://<master>:7077": master,
        "<postgres>:5432": f"127.0.0.1:{port}",
        "port: 5432": f"port: {port}",
        "<postgres>": "127.0.0.1",
        # Nothing listens there: a night without its MLflow server publishes all the same.
        "<address of your MLflow server>": "http://127.0.0.1:9",
        "/etc/rekindle": str(home),
        "/mnt/rekindle": str(home / "shared"),
    }
    for given, filled in fillings.items():
        if given not in text:
            raise AssertionError(f"cluster.yaml holds no {given!r}, which this test fills in: fill in what it has now")
        text = text.replace(given, filled)
    conf = yaml.safe_load(text)
    conf["spark"]["conf"] |= size
    filled = yaml.safe_dump(conf, sort_keys=False)
    left = PLACEHOLDER.findall(filled) + [path for path in ("/etc/", "/mnt/") if path in filled]
    if left:
        raise AssertionError(f"cluster.yaml has {', '.join(left)} left to fill in")
    return filled


def small_shop(conf: Path) -> None:
    """The simulated shop's conf, small enough for a night in minutes; the same for every night of these tests."""
    changed(conf / "simulation.yaml", users_at_start=400, arrivals_per_day=4, items=150)
    path = conf / "sources" / f"{SOURCE}.yaml"
    source = yaml.safe_load(path.read_text())
    source["first_night"] = DAY
    source["churn"] |= {"horizon_days": 10, "history_days": 14, "cutoff_step_days": 4, "training_cutoffs": 3}
    source["churn"]["methods"] = {name: {"method": name} for name in ("logistic", "xgboost")}
    methods = source["recommend"]["methods"]
    methods["als"] |= {"rank": 8, "iterations": 4}
    del methods["two_stages"]  # a third of the night's time; tests/end_to_end has it
    path.write_text(yaml.safe_dump(source))


def changed(path: Path, **values: object) -> None:
    """Other values for some keys of a conf file."""
    path.write_text(yaml.safe_dump(yaml.safe_load(path.read_text()) | values))


def commands(run: str) -> dict[str, list[str]]:
    """What the DAG `nightly` runs, in its order, by job: the golden commands for this day, run and environment."""
    told = json.loads(GOLDEN.read_text(encoding="utf-8"))
    filled = {"2026-01-01": str(DAY), "r0123456789abcdef": run, "local": "cluster", "python": sys.executable}
    return {
        task.removeprefix("nightly."): [filled.get(word, word) for word in line]
        for task, line in told.items()
        if task.startswith("nightly.")
    }


@dataclass
class Job:
    """One started job: its process, since when, where it writes what it says."""

    name: str
    process: subprocess.Popen[bytes]
    log: Path
    started: float

    def said(self) -> str:
        """Its output so far."""
        return self.log.read_text(errors="replace")

    def is_over(self) -> bool:
        """Whether it has ended."""
        return self.process.poll() is not None

    def of_its_own(self) -> list[psutil.Process]:
        """Its processes: the driver's JVM, the Python beside it, and in a cluster of processes the executors."""
        top = psutil.Process(self.process.pid)
        return [top, *top.children(recursive=True)]

    def ended(self, seconds: float = NIGHT_SECONDS) -> int:
        """Its exit code, when it is over."""
        return self.process.wait(seconds)


@dataclass
class Night:
    """One night and all it needs. `mark` is in the environment of every process it starts.

    `seconds` holds how long each start of a job took, `plain` what each table held when its job was first done.
    """

    home: Path
    mark: str
    lake_password: str
    spark_secret: str
    run: str = ""
    seconds: dict[str, list[float]] = field(default_factory=dict)
    plain: dict[str, Fingerprint] = field(default_factory=dict)

    @classmethod
    def prepared(cls, jars: Path, spark_secret: str, identity_key: str) -> Night:
        """Folders, secrets, conf of the shop and a running server with an empty warehouse and an empty lake catalog."""
        # Not below pytest's folder: that is closed (0700) to the user that the embedded server runs as under root.
        home = Path(tempfile.mkdtemp(prefix="rekindle-cluster-"))
        home.chmod(0o711)
        made = cls(home, home.name, secrets.token_urlsafe(24), spark_secret)
        for folder in ("secrets", "shared/lake/warehouse", "shared/lake/artefacts", "shared/bronze", "scratch", "logs"):
            (home / folder).mkdir(parents=True, mode=0o700)
        (home / "jars").symlink_to(jars)
        secret_file(home / "secrets/lake", made.lake_password)
        secret_file(home / "secrets/spark", spark_secret)
        secret_file(home / "secrets/identity_key", identity_key)
        # Another holdout than the other night has: nothing that the lake holds hangs on it.
        secret_file(home / "secrets/holdout_salt", secrets.token_hex(32))
        shutil.copytree(ROOT / "conf", home / "conf")
        small_shop(home / "conf")
        embedded.start(home)
        made._make_lake_database()
        return made

    def use(self, master: str) -> None:
        """Let this Spark master run the night from now on."""
        text = (ROOT / "conf/environments/cluster.yaml").read_text(encoding="utf-8")
        path = self.home / "conf/environments/cluster.yaml"
        path.write_text(rendered(text, self.home, master, embedded.port(self.home)))

    @property
    def variables(self) -> dict[str, str]:
        """The environment of its jobs: what is set here, and of ours neither Spark's nor Rekindle's own."""
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("SPARK_", "PYSPARK_", "PYTHON", "REKINDLE_"))}
        return kept | {
            "REKINDLE_HOME": str(self.home),
            "REKINDLE_CONF": str(self.home / "conf"),
            "REKINDLE_JOBS_PYTHON": sys.executable,
            "PYTHONPATH": str(ROOT),
            "PYTHONHASHSEED": "0",
            "SPARK_LOCAL_IP": "127.0.0.1",
            "SPARK_LOCAL_DIRS": str(self.home / "scratch"),
            processes.MARK: self.mark,
        }

    def start(self, name: str) -> Job:
        """Start a job of the night as the DAG does."""
        program, *rest = commands(self.run)[name]
        program = str(ROOT / "bin/spark-submit") if program == "spark-submit" else program
        log = self.home / "logs" / f"{name}-{len(self.seconds.get(name, ()))}.log"
        with log.open("wb") as out:
            process = subprocess.Popen(
                [program, *rest], cwd=ROOT, env=self.variables, stdout=out, stderr=subprocess.STDOUT
            )
        return Job(name, process, log, time.monotonic())

    def finish(self, job: Job) -> int:
        """Wait for a job; its exit code. How long it took is kept."""
        code = job.ended()
        self.seconds.setdefault(job.name, []).append(round(time.monotonic() - job.started, 1))
        return code

    def do(self, name: str) -> None:
        """Run a job; it has to succeed."""
        job = self.start(name)
        assert self.finish(job) == 0, f"{name}: {job.said()[-3000:]}"
        if name == "preflight_landing":
            self.run = str(json.loads(last_line(job.said()))["run_id"])
        if self.run:
            self.plain = self.fingerprints() | self.plain

    def until(self, last: str) -> None:
        """Run what has not run yet of the night's jobs, in their order, up to `last`."""
        for name in commands(self.run):
            if name not in self.seconds:
                self.do(name)
            if name == last:
                return

    def prepare_warehouse(self) -> None:
        """Roles, schemas, tables and views, as an installation makes them."""
        done = subprocess.run(
            [sys.executable, "jobs/publish/prepare_warehouse.py", "--env", "cluster"],
            cwd=ROOT,
            env=self.variables,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr

    def loaded(self) -> settings.Environment:
        """The environment as a job sees it."""
        text = (self.home / "conf/environments/cluster.yaml").read_text(encoding="utf-8")
        return settings.Environment.model_validate(yaml.safe_load(text))

    def ledger(self) -> Ledger:
        """The night's ledger."""
        environment = self.loaded()
        return Ledger(lambda: warehouse.connect(environment, "writer"))

    def versions(self) -> dict[str, TableVersion]:
        """The run's tables, as the ledger has them."""
        return self.ledger().tables(self.run)

    def fingerprints(self) -> dict[str, Fingerprint]:
        """What each table of the run holds."""
        return {name: version.fingerprint for name, version in self.versions().items()}

    def models(self) -> set[str]:
        """The digests of what the run has trained."""
        with warehouse.connect(self.loaded(), "writer") as connection:
            rows = connection.execute("SELECT digest FROM ops.models WHERE run_id = %s", [self.run]).fetchall()
        return {str(digest) for (digest,) in rows}

    def query(self, statement: str) -> list[tuple[Any, ...]]:
        """A question as the CRM's role."""
        with warehouse.connect(self.loaded(), "crm_reader") as connection:
            return connection.execute(statement.encode()).fetchall()

    def secrets(self) -> list[str]:
        """Every secret of the night."""
        return [path.read_text().strip() for path in sorted((self.home / "secrets").iterdir())]

    def close(self) -> None:
        """End what still runs of it and remove its home."""
        processes.kill(processes.marked(self.mark))
        embedded.stop(self.home)
        shutil.rmtree(self.home)

    def _make_lake_database(self) -> None:
        owner = (self.home / "secrets/postgres_owner").read_text()
        told: dict[str, Any] = {"host": "127.0.0.1", "port": embedded.port(self.home), "dbname": "postgres"}
        with psycopg.connect(**told, user="owner", password=owner, autocommit=True) as connection:
            role, database = sql.Identifier(LAKE_ROLE), sql.Identifier(LAKE_DATABASE)
            password = sql.Literal(self.lake_password)
            connection.execute(sql.SQL("CREATE ROLE {} LOGIN PASSWORD {}").format(role, password))
            connection.execute(sql.SQL("CREATE DATABASE {} OWNER {}").format(database, role))


def secret_file(path: Path, text: str) -> None:
    """A file that only its owner may read."""
    path.touch(mode=0o600)
    path.write_text(text)


def last_line(text: str) -> str:
    """The last line that holds a JSON object."""
    return next(line for line in reversed(text.splitlines()) if line.startswith("{"))


def in_the_middle(job: Job, mark: str, delay: float) -> None:
    """Wait until an executor runs functions of the job, and then so many seconds more.

    Raises:
        AssertionError: the job ended before.
    """

    def is_at_work() -> bool:
        return job.is_over() or any(processes.python_workers(e) for e in processes.executors(mark))

    assert processes.awaited(is_at_work, NIGHT_SECONDS), f"{job.name} no executor ever worked: {job.said()[-2000:]}"
    processes.awaited(job.is_over, delay)
    assert not job.is_over(), f"{job.name} ended by itself within {delay:.1f} s: {job.said()[-2000:]}"
