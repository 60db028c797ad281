"""A small tree of jobs and a home of its own for Airflow, and ways to run Airflow's Python from the jobs' Python."""

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).resolve().parents[2]
# The jobs of a night, and those that are started by hand or watch over the nights.
JOBS = {
    "ingest": ("land_simulated_day", "preflight_landing", "clean_events", "validate_events"),
    "profile": ("build_features",),
    "recommend": ("train_recommender", "recommend_items"),
    "churn": ("train_churn", "score_churn"),
    "publish": ("judge_models", "validate_outputs", "publish_night", "report_night"),
}
OTHERS = {
    "ingest": ("replay_quarantine",),
    "publish": ("rollback_night", "rollback_model", "sweep_runs", "check_freshness", "send_alerts"),
}
HEADLINE = {
    "source": "simulated_shop", "date": "2026-04-30", "status": "published", "message": "", "at_risk": 551,
    "users": 2131, "recommendations": 84000, "failed_checks": 1, "seconds": 187.4, "report": "reports/night.html",
    "fates": {"landed": 12345, "clean": 12000, "duplicate": 300, "quarantined": 45},
    "trust": "With care: 1 of 14 things looked at needs a look. 1 of 120 checks warns.",
    "changed": ["12 users have come under watch and 5 have left since Wed 29 Apr 2026."],
}  # fmt: skip
# What a job's last line says, where the scheduler reads it.
ANSWERS = {
    "preflight_landing": {"run_id": "r0123456789abcdef", "due": True, "train": True},
    "report_night": HEADLINE,
    "replay_quarantine": {"date": "2026-04-30", "run_id": "r0123456789abcdef"},
    "check_freshness": {"watched": 1, "late": []},
}
# Stands for every job: notes how it was called, says something, and ends as behaviour.json asks.
SMALL_JOB = """
import json, os, sys, time
from pathlib import Path

home, name = Path(os.environ["REKINDLE_HOME"]), Path(__file__).stem
asked = json.loads((home / "behaviour.json").read_text()) if (home / "behaviour.json").exists() else {}
calls = home / "calls.jsonl"
attempt = calls.read_text().count(f'"job": "{name}"') if calls.exists() else 0
with calls.open("a") as file:
    settings = sorted(key for key in os.environ if key.startswith("AIRFLOW_"))
    file.write(json.dumps({"job": name, "arguments": sys.argv[1:], "airflow_settings": settings}) + "\\n")
sys.stderr.write(f"{name} attempt {attempt}\\n")
codes = asked.get(name, {}).get("exit", [0])
code = codes[min(attempt, len(codes) - 1)]
if code:
    words = asked.get(name, {}).get("says", "table events: found 0 rows, expected at least 1")
    sys.stderr.write(f"error: {name}: {words}\\n")
time.sleep(asked.get(name, {}).get("sleep", 0))
answers = json.loads(ANSWERS)
if name in answers and not code:
    print("one more line on standard output")
    print(json.dumps(answers[name] | asked.get(name, {}).get("answer", {})))
sys.exit(code)
""".replace("ANSWERS", repr(json.dumps(ANSWERS)))
# Stands for Spark, so that a whole night takes seconds: starts the application as its driver would be started.
SMALL_SPARK = f"""#!/usr/bin/env bash
printf '%s\\n' "$*" >>"$REKINDLE_HOME/submits.txt"
while [ $# -gt 0 ]; do case "$1" in *.py) break ;; esac; shift; done
exec {sys.executable} "$@"
"""


class Airflow:
    """Airflow's commands on a tree and a home that belong to the test."""

    def __init__(self, folder: Path, **more: str) -> None:
        self.home, self.tree = folder / "home", folder / "tree"
        environments = REPOSITORY / "var" / "env"
        foreign = ("AIRFLOW", "REKINDLE", "PYTEST")
        self.environment = {k: v for k, v in os.environ.items() if not k.startswith(foreign)} | {
            "REKINDLE_ROOT": str(self.tree),
            "REKINDLE_HOME": str(self.home),
            "REKINDLE_JOBS_PYTHON": sys.executable,
            "REKINDLE_AIRFLOW_BIN": os.environ.get("REKINDLE_AIRFLOW_BIN", str(environments / "airflow" / "bin")),
            "REKINDLE_SPARK_HOME": str(folder / "spark"),
            "REKINDLE_RETRY_SECONDS": "1",
            **more,
        }
        self.home.mkdir(parents=True)
        for stage, jobs in [*JOBS.items(), *OTHERS.items()]:
            (self.tree / "jobs" / stage).mkdir(parents=True, exist_ok=True)
            for job in jobs:
                (self.tree / "jobs" / stage / f"{job}.py").write_text(SMALL_JOB)
        for source in ("simulated_shop", "online_retail"):
            path = self.tree / "conf" / "sources" / f"{source}.yaml"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
        (self.tree / "rekindle").mkdir()
        (self.tree / "rekindle" / "spark_conf.py").write_text(
            "import sys\nprint('--master', f'local[{len(sys.argv)}]', '--conf', 'spark.a=two words', sep='\\n')\n"
        )
        submit = folder / "spark" / "bin" / "spark-submit"
        submit.parent.mkdir(parents=True)
        submit.write_text(SMALL_SPARK)
        submit.chmod(0o755)

    def __call__(
        self, *command: str | Path, timeout: float = 180, more: Mapping[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Run a command through bin/with-airflow; the caller looks at its exit code."""
        return subprocess.run(
            [REPOSITORY / "bin" / "with-airflow", *command],
            env=self.environment | dict(more or {}),
            cwd=self.tree,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )

    def nights(self, *runs: Mapping[str, Any]) -> dict[str, Any]:
        """How the given runs ended: state, state of each task, calls of the small jobs; by the run's name."""
        asked, answered = self.home / "runs.json", self.home / "results.json"
        filled = [{"dag": "nightly", "conf": {"date": "2026-04-30"}, "jobs": {}} | dict(run) for run in runs]
        asked.write_text(json.dumps(filled))
        done = self("python", Path(__file__).parent / "run_nights.py", asked, answered, timeout=600)
        assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
        return json.loads(answered.read_text())  # type: ignore[no-any-return]

    def alerts(self) -> list[dict[str, Any]]:
        path = self.home / "alerts" / "alerts.jsonl"
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
