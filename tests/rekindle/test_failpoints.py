"""Faults happen only where a test asks for them by name, and every name is somewhere in the code, once."""

from __future__ import annotations

import ast
import os
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from rekindle import failpoints

ROOT = Path(failpoints.__file__).parent.parent


def in_the_code() -> Counter[str]:
    """How often each name is passed to `failpoint` in the product's code."""
    found: Counter[str] = Counter()
    for path in [*(ROOT / "rekindle").rglob("*.py"), *(ROOT / "jobs").rglob("*.py")]:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "failpoint":
                [name] = node.args
                assert isinstance(name, ast.Constant), f"{path}: a failpoint's name is a literal"
                found[str(name.value)] += 1
    return found


def passing(name: str, times: int = 1, **environment: str) -> subprocess.CompletedProcess[str]:
    """A process that passes the failpoint so often and then says so."""
    code = f"from rekindle.failpoints import failpoint\nfor _ in range({times}): failpoint({name!r})\nprint('passed')"
    kept = {k: v for k, v in os.environ.items() if not k.startswith("REKINDLE_FAULT")}
    return subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env=kept | environment, capture_output=True, text=True, check=False
    )


def test_every_name_is_in_the_code_once() -> None:
    assert in_the_code() == Counter(failpoints.NAMES)


@pytest.mark.parametrize(
    ("action", "ends"), [("kill", -signal.SIGKILL), ("raise", 1), ("enospc", 1)], ids=["kill", "raise", "enospc"]
)
def test_a_planned_fault_happens_at_the_pass_it_is_planned_for(action: str, ends: int) -> None:
    plan = {"REKINDLE_FAULT_TOKEN": failpoints.TOKEN, "REKINDLE_FAULT_PLAN": f"stage.batch={action}@2"}
    assert passing("stage.batch", 1, **plan).stdout == "passed\n"
    done = passing("stage.batch", 2, **plan)
    assert (done.returncode, done.stdout) == (ends, "")


@pytest.mark.parametrize("token", [{}, {"REKINDLE_FAULT_TOKEN": "yes"}])
def test_without_the_token_a_plan_has_no_effect(token: dict[str, str]) -> None:
    assert passing("stage.batch", REKINDLE_FAULT_PLAN="stage.batch=kill", **token).stdout == "passed\n"


@pytest.mark.parametrize("plan", ["stage.bach=kill", "stage.batch=explode", "stage.batch=kill@x", "stage.batch"])
def test_a_plan_that_would_not_happen_ends_the_process(plan: str) -> None:
    done = passing("stage.batch", REKINDLE_FAULT_TOKEN=failpoints.TOKEN, REKINDLE_FAULT_PLAN=plan)
    assert done.returncode == 1
    assert f"{plan!r}: expected <name>=<action>" in done.stderr


def test_a_test_may_hear_every_pass_of_its_own_process() -> None:
    heard: list[str] = []
    with failpoints.heard(heard.append):
        failpoints.failpoint("stage.batch")
    failpoints.failpoint("stage.batch")
    assert heard == ["stage.batch"]
