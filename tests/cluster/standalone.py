"""A real standalone Spark cluster on this machine, started as docs/operations/production.md says."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import psutil
import pyspark

from tests.cluster import processes

SPARK = Path(pyspark.__file__).parent
DAEMONS = "org.apache.spark.deploy"
LOOPBACK = "127.0.0.1"
SECONDS = 90  # until a daemon answers, on a machine that is busy with other tests


@dataclass
class Standalone:
    """A master and its workers, each worker with one core and its own folder.

    `secret` is what they, drivers and executors prove each other; it lies in a file that only its owner may read.
    """

    folder: Path
    secret: str
    mark: str
    memory: str = "1500m"
    running: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)
    port: int = 0

    def start(self, workers: int) -> None:
        """Start the master and so many workers and wait until all are registered."""
        self.folder.mkdir(parents=True, exist_ok=True)
        properties = self.folder / "spark-defaults.conf"
        properties.touch(mode=0o600)
        properties.write_text(
            "spark.authenticate             true\n"
            f"spark.authenticate.secret      {self.secret}\n"
            "spark.network.crypto.enabled   true\n"
            "spark.master.rest.enabled      false\n"
            "spark.ui.killEnabled           false\n"
        )
        self._daemon("master", "master.Master", "--host", LOOPBACK, "--port", "0", "--webui-port", "0")
        self.port = int(self._told("master", r"Starting Spark master at spark://127\.0\.0\.1:(\d+)"))
        for number in range(workers):
            self._daemon(
                f"worker-{number}",
                "worker.Worker",
                *("--host", LOOPBACK, "--webui-port", "0", "--cores", "1", "--memory", self.memory),
                *("--work-dir", str(self.folder / f"work-{number}"), f"spark://{LOOPBACK}:{self.port}"),
            )
        for number in range(workers):
            self._told(f"worker-{number}", r"(Successfully registered with master)")

    def kill_worker(self, name: str) -> None:
        """Kill a worker and all it has started, as a lost machine would be lost."""
        worker = psutil.Process(self.running[name].pid)
        processes.kill([worker, *worker.children(recursive=True)])
        self.running[name].wait(SECONDS)

    def pids(self) -> list[int]:
        """The daemons' own processes."""
        return [process.pid for process in self.running.values()]

    def stop(self) -> None:
        """End what was started; executors that outlived their worker with it."""
        for process in self.running.values():
            process.terminate()
        for process in self.running.values():
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        processes.kill(processes.marked(self.mark))

    def log(self, name: str) -> str:
        """What a daemon has said so far."""
        return (self.folder / f"{name}.log").read_text(errors="replace")

    def _daemon(self, name: str, main: str, *arguments: str) -> None:
        with (self.folder / f"{name}.log").open("wb") as log:
            self.running[name] = subprocess.Popen(
                [str(SPARK / "bin/spark-class"), f"{DAEMONS}.{main}", *self._properties(), *arguments],
                stdout=log,
                stderr=subprocess.STDOUT,
                env=self._environment(),
                cwd=self.folder,
                start_new_session=True,
            )

    def _properties(self) -> list[str]:
        return ["--properties-file", str(self.folder / "spark-defaults.conf")]

    def _environment(self) -> Mapping[str, str]:
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("SPARK_", "PYSPARK_", "PYTHON", "REKINDLE_"))}
        return kept | {
            "SPARK_HOME": str(SPARK),
            "SPARK_LOCAL_IP": LOOPBACK,
            "SPARK_LOCAL_DIRS": str(self.folder / "scratch"),
            "SPARK_DAEMON_MEMORY": "256m",
            "SPARK_DAEMON_JAVA_OPTS": "-XX:+UseSerialGC -XX:TieredStopAtLevel=1",
            processes.MARK: self.mark,
        }

    def _told(self, name: str, pattern: str) -> str:
        """The first group of the pattern, as soon as the daemon's log has it."""
        found: list[str] = []

        def is_told() -> bool:
            found.extend(re.findall(pattern, self.log(name))[:1])
            return bool(found) or self.running[name].poll() is not None

        if not processes.awaited(is_told, SECONDS) or not found:
            raise AssertionError(f"{name} did not say {pattern!r} in {SECONDS} s: {self.log(name)[-2000:]}")
        return found[0]
