"""Named places in the code at which a test makes a fault happen; outside of tests a call costs a look at a constant.

    REKINDLE_FAULT_TOKEN=only-in-tests REKINDLE_FAULT_PLAN="publish.before_commit=kill" jobs/publish/publish_night.py

A plan is `name=action`, several separated by commas; `name=action@3` acts at the third pass. Without the token a plan
has no effect; a plan with an unknown name or action ends the process, so that no test runs without its fault. In a
test's own process `heard` is told every pass instead.
"""

from __future__ import annotations

import errno
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

TOKEN = "only-in-tests"  # noqa: S105 (it opens nothing but these faults)
NAMES = (
    *("inbox.after_assign", "inbox.before_record"),
    *("preflight.before_record", "preflight.before_open_run"),
    *("clean.before_keys", "clean.before_store", "clean.before_fates"),
    *("lake.before_write", "lake.after_write", "lake.before_main"),
    *("night.before_record",),
    *("gate.before_results", "gate.before_accept"),
    *("registry.before_rename", "registry.after_rename"),
    *("judge.before_champion", "judge.after_champion"),
    *("publish.before_stage", "publish.after_take_over", "publish.between_tables"),
    *("stage.begun", "stage.batch", "stage.before_check", "stage.before_fence", "stage.before_proof"),
    *("stage.before_commit", "stage.after_commit"),
    *("publish.begun", "publish.locked", "publish.before_pointer", "publish.before_commit", "publish.after_commit"),
    *("rollback.locked", "rollback.before_commit", "rollback.after_commit"),
    *("sweep.locked", "sweep.before_mark_commit", "sweep.marked", "sweep.between_deletes", "sweep.done"),
    *("report.before_files",),
)
ACTIONS = ("kill", "stop", "raise", "enospc", "hang")


class FailpointError(ConnectionError):
    """What the action `raise` raises."""


_listener: Callable[[str], None] | None = None
_passes: dict[str, int] = {}
_lock = threading.Lock()


def _planned() -> dict[str, tuple[str, int]]:
    if os.environ.get("REKINDLE_FAULT_TOKEN") != TOKEN:
        return {}
    plan = {}
    for part in filter(None, os.environ.get("REKINDLE_FAULT_PLAN", "").split(",")):
        name, _, told = part.strip().partition("=")
        action, _, number = told.partition("@")
        if name not in NAMES or action not in ACTIONS or not (number or "1").isdigit():
            raise SystemExit(
                f"REKINDLE_FAULT_PLAN: {part!r}: expected <name>=<action>[@<pass>], names {', '.join(NAMES)},"
                f" actions {', '.join(ACTIONS)}"
            )
        plan[name] = (action, int(number or 1))
    return plan


_plan = _planned()


def failpoint(name: str) -> None:
    """Do here what the plan says; nothing without one.

    Raises:
        FailpointError: the plan says raise.
        OSError: it says enospc (no space left on device).
    """
    if _listener is not None:
        _listener(name)
    if not _plan or name not in _plan:
        return
    action, due = _plan[name]
    with _lock:
        _passes[name] = _passes.get(name, 0) + 1
        if _passes[name] != due:
            return
    if action == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    elif action == "stop":
        os.kill(os.getpid(), signal.SIGSTOP)
    elif action == "raise":
        raise FailpointError(f"failpoint {name}")
    elif action == "enospc":
        raise OSError(errno.ENOSPC, f"{os.strerror(errno.ENOSPC)} (failpoint {name})")
    else:
        time.sleep(3600)


@contextmanager
def heard(listener: Callable[[str], None]) -> Iterator[None]:
    """Call `listener` with the name at every pass of this process, in the passing thread; what it raises is raised."""
    global _listener
    before, _listener = _listener, listener
    try:
        yield
    finally:
        _listener = before
