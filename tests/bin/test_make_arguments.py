"""What is typed behind `make` reaches the command as that text and does nothing on the way (F107)."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from rekindle.contract import IDENTIFIER
from tests.hostile_texts import COMMANDS, PATHS, aimed

ROOT = Path(__file__).resolve().parent.parent.parent
# Stands for every program that a recipe starts: it keeps its arguments, each ended by a NUL.
RECORDER = """#!/usr/bin/env bash
{ printf 'call\\0'; printf '%s\\0' "${0##*/}" "$@"; } >>"$RECORD"
"""
TARGETS = (
    *("nightly", "backfill", "crm", "export", "show-line", "new-source", "check-source", "backtest-expectations"),
    *("replay-quarantine", "rollback-model", "rollback", "janitor", "why", "churn-lab", "test-faults", "report"),
    *("bench-ingest", "bench-recommenders", "bench-rules"),
)
NAMES = (
    *("SOURCE", "DATE", "LANDING", "RETRAIN", "FROM", "TO", "SQL", "FILE", "LINE", "NAME", "APPLY", "KIND", "DIGEST"),
    *("WHY", "USER", "ITEM", "VIEW", "RUN", "OUT", "SIZES", "GZIP", "ONLY", "WRITE", "N", "SEED", "CASE"),
)


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """The Makefile in a folder whose programs only keep what they were told."""
    shutil.copy(ROOT / "Makefile", tmp_path / "Makefile")
    for name in ("bin/setup", "bin/backfill", "bin/spark-submit", "var/env/jobs/bin/python"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(RECORDER)
        path.chmod(0o755)
    return tmp_path


def called(tree: Path, *words: str, **environment: str) -> list[list[str]]:
    """The programs that make started and their arguments, in order."""
    record = tree / "record"
    record.unlink(missing_ok=True)
    known = {key: value for key, value in os.environ.items() if key not in NAMES and not key.startswith("MAKE")}
    known |= {"RECORD": str(record), "REKINDLE_HOME": str(tree / "var")} | environment
    done = subprocess.run(["make", "-C", tree, *words], env=known, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return [one.split("\0")[:-1] for one in record.read_text(encoding="utf-8").split("call\0")[1:]]


def test_every_variable_of_a_recipe_is_tried_and_none_is_expanded() -> None:
    text = (ROOT / "Makefile").read_text(encoding="utf-8")
    recipes = "\n".join(re.findall(r"^\t.*$", text, re.M))
    read = set(re.findall(r'"\$\$\{?([A-Z]+)', recipes)) | set(re.findall(r"\$\(if \$\(([A-Z]+)\)", recipes))
    assert read - {"WHO", "REKINDLE_HOME"} <= set(NAMES)
    assert set(NAMES) <= set(re.findall(r"\w+", text.split("TEXTS := ")[1].split("\nGIVEN")[0]))
    expanded = set(re.findall(r"\$\((?!if )([A-Z_]+)\)", re.sub(r"\$\(if \$\([A-Z]+\),", "", recipes)))
    assert expanded == {"PY", "JOBS", "MAKEFILE_LIST"}, "a recipe reads what was given as $$NAME, never as $(NAME)"


def test_a_command_in_a_value_is_a_value(tree: Path) -> None:
    canary = tree / "canary"
    # make itself leaves out blanks before a value
    texts = [text.lstrip() for text in aimed(COMMANDS, str(canary))]
    assert len(texts) >= 50
    # Each call tries 26 of them, each name another 14 in the end: a call of all 19 targets takes 0.2 s.
    for first in range(0, len(texts), 4):
        given = {name: texts[(first + at) % len(texts)] for at, name in enumerate(NAMES)}
        calls = called(tree, *TARGETS, *(f"{name}={text}" for name, text in given.items()))
        found = {tuple(call[1:]) for call in calls}

        def told(words: str, given: dict[str, str] = given) -> tuple[str, ...]:
            return tuple(given.get(word, word) for word in words.split())

        wanted = (
            told("bin/nightly.py --source SOURCE --date DATE --landing LANDING --retrain"),
            told("SOURCE FROM TO"),
            told("-m rekindle.crm SQL"),
            told("-m rekindle.crm_export --view VIEW --source SOURCE --run RUN --out OUT"),
            told("jobs/publish/rebuild_report.py --source SOURCE --date DATE --run RUN"),
            told("-m rekindle.show_line FILE LINE"),
            told("jobs/ingest/draft_source.py FILE NAME"),
            told("jobs/ingest/check_source.py --source SOURCE --landing LANDING --mapping-only"),
            told("jobs/ingest/backtest_expectations.py --source SOURCE"),
            told("jobs/ingest/replay_quarantine.py --source SOURCE --date DATE --night-only"),
            told("jobs/publish/rollback_model.py --source SOURCE --kind KIND --digest DIGEST --why WHY"),
            told("jobs/publish/rollback_night.py --source SOURCE --run RUN --why WHY"),
            told("jobs/publish/sweep_runs.py --source SOURCE"),
            told("jobs/recommend/explain_item.py --env local --source SOURCE --user USER --item ITEM"),
            told("jobs/churn/compare_definitions.py --env local --source SOURCE --date DATE"),
            told("bench/ingest.py --lines SIZES --gzip"),
            told("-m pytest ONLY"),
            told("bench/recommenders.py --only ONLY --write"),
        )
        assert [one for one in wanted if one not in found] == []
        assert not canary.exists(), given


def test_a_value_from_the_environment_is_a_value_too(tree: Path) -> None:
    canary = tree / "canary"
    for text in aimed(COMMANDS[:12] + COMMANDS[30:36], str(canary)):
        calls = called(tree, "export", "crm", **dict.fromkeys(("SOURCE", "VIEW", "RUN", "SQL"), text))
        assert ["--view", text, "--source", text, "--run", text] == calls[0][3:]
        assert calls[1][-1] == text
        called(tree, "crm", f"ANYTHING={text}", SQL="x")
        assert not canary.exists(), text


def test_what_is_not_given_is_left_to_the_command(tree: Path) -> None:
    calls = called(tree, "nightly", "rollback-model", "why", "bench-ingest", ITEM="i", USER="account")
    python = [call[1:] for call in calls if call[0] == "python"]
    assert python[0] == ["bin/nightly.py", "--source", "simulated_shop"]
    assert "--kind recommender --why " in " ".join(python[1])
    assert python[2] == ["bench/ingest.py", "--lines", "1000000,3000000,10000000"]
    [why] = [call for call in calls if "jobs/recommend/explain_item.py" in call]
    assert why[-4:] == ["--user", "", "--item", "i"], "whose account it is, is no customer"


def test_the_state_folder_may_have_any_name(tree: Path) -> None:
    odd = tree / "it's a $(touch canary) `touch canary` folder"
    shutil.move(tree / "var", odd)
    assert called(tree, "crm", "SQL=x", f"REKINDLE_HOME={odd}")[0][1:] == ["-m", "rekindle.crm", "x"]
    assert not (tree / "canary").exists()


def test_a_backfill_takes_days_and_a_sources_name_and_nothing_else(tree: Path) -> None:
    shutil.copy(ROOT / "bin/backfill", tree / "bin/backfill")
    (tree / "bin/with-airflow").write_text(RECORDER)
    (tree / "bin/with-airflow").chmod(0o755)
    record, canary = tree / "record", tree / "canary"
    environment = os.environ | {"RECORD": str(record)}

    def code(*words: str) -> int:
        return subprocess.run([tree / "bin/backfill", *words], env=environment, capture_output=True).returncode

    every = aimed((*COMMANDS, *PATHS), str(canary))
    texts = [text for text in every if "\0" not in text and not IDENTIFIER.fullmatch(text)]
    for text in ['x", "retrain": "true', *texts[::2]]:
        assert code(text, "2026-04-01", "2026-04-02") == 2, text
        assert code("shop", "2026-04-01", text) == 2, text
    assert not record.exists()
    assert not canary.exists()
    assert code("simulated_shop", "2026-04-01", "2026-04-07") == 0
    assert record.read_text().endswith('--dag-run-conf\0{"source": "simulated_shop"}\0')
