"""A run's parameters and a job's arguments are texts: nothing in them is run, by Airflow, Jinja or a shell (F107)."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

from tests.dags.small_airflow import REPOSITORY, Airflow
from tests.hostile_texts import COMMANDS, PATHS, aimed


def test_no_parameter_takes_a_command_or_a_path_and_none_is_a_template(airflow: Airflow, tmp_path: Path) -> None:
    texts = aimed((*COMMANDS, *PATHS), str(tmp_path / "canary"))
    assert len(texts) >= 110
    (tmp_path / "texts.json").write_text(json.dumps(texts))
    done = airflow(
        "python", Path(__file__).parent / "try_payloads.py", tmp_path / "texts.json", tmp_path / "found.json"
    )
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads((tmp_path / "found.json").read_text())
    assert found["accepted"] == []
    # A reason is a text, whatever stands in it; but one line, and no option.
    assert found["reasons"]
    assert all(text[0].isalpha() and text.isprintable() and 8 <= len(text) <= 300 for *_, text in found["reasons"])
    assert found["changed"] == []
    assert found["tasks"] > 12
    assert not (tmp_path / "canary").exists()


def test_spark_submit_hands_every_argument_on_as_it_is(airflow: Airflow, tmp_path: Path) -> None:
    """Through our own script and Spark's: the job prints what it was given."""
    job, canary = tmp_path / "say_what_was_given.py", tmp_path / "canary"
    job.write_text("import json, sys\nprint('given ' + json.dumps(sys.argv[1:]))\n")
    texts = [text for text in aimed((*COMMANDS, *PATHS), str(canary)) if "\0" not in text]
    arguments = ["--env", "local", *(f"--x={text}" for text in texts)]
    done = subprocess.run(
        [REPOSITORY / "bin" / "spark-submit", "--master", "environment", job, *arguments],
        env=airflow.environment | {"REKINDLE_SPARK_HOME": ""},
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    [told] = [line for line in done.stdout.splitlines() if line.startswith("given ")]
    # Spark's launcher leaves carriage returns out.
    assert json.loads(told.removeprefix("given ")) == [word.replace("\r", "") for word in arguments]
    assert not canary.exists()
