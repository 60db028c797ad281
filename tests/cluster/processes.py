"""The processes a test has started, found by a mark in their environment, and their death."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress

import psutil  # type: ignore[import-untyped]

MARK = "REKINDLE_TEST_MARK"
EXECUTOR = "CoarseGrainedExecutorBackend"
PYTHON_WORKER = "pyspark.daemon"


def marked(mark: str) -> list[psutil.Process]:
    """Every living process that was started with this mark in its environment, or by one that was."""
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            if process.environ().get(MARK) == mark and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
    return found


def words(process: psutil.Process) -> list[str]:
    """The command line; empty of a process that has ended."""
    try:
        return list(process.cmdline())
    except psutil.Error:
        return []


def said(processes: Sequence[psutil.Process]) -> list[str]:
    """One line a process: what a failed test shows."""
    return [f"{process.pid} {' '.join(words(process))[:200]}" for process in processes]


def executors(mark: str) -> list[psutil.Process]:
    """The JVMs of Spark's executors, the earliest first."""
    found = [p for p in marked(mark) if any(EXECUTOR in word for word in words(p))]
    return sorted(found, key=lambda process: process.pid)


def is_driver(process: psutil.Process) -> bool:
    """Whether it is part of a job's driver, the JVM or the Python beside it, and neither executor nor worker."""
    told = words(process)
    return not any(EXECUTOR in word for word in told) and PYTHON_WORKER not in told


def python_workers(executor: psutil.Process) -> list[psutil.Process]:
    """The Python processes that run an executor's functions."""
    try:
        return [p for p in executor.children(recursive=True) if PYTHON_WORKER in words(p)]
    except psutil.Error:
        return []


def kill(processes: Sequence[psutil.Process]) -> None:
    """SIGKILL for all of them, one right after the other."""
    for process in processes:
        with suppress(psutil.Error):
            process.send_signal(signal.SIGKILL)


def awaited(is_so: Callable[[], bool], seconds: float) -> bool:
    """Whether it became so within these seconds; asked five times a second."""
    deadline = time.monotonic() + seconds
    while not is_so():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.2)
    return True


def left_behind(mark: str, seconds: float = 60, but: Sequence[int] = ()) -> list[str]:
    """What still runs under the mark after these seconds, one line a process; empty as soon as nothing does."""

    def alive() -> Iterator[psutil.Process]:
        return (process for process in marked(mark) if process.pid not in but)

    awaited(lambda: not any(True for _ in alive()), seconds)
    return said(list(alive()))
