"""PostgreSQL that crashes, has no room left or no connection to give: done to the embedded server, by its own means."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import psycopg

from rekindle import embedded, settings, warehouse


def crash(home: Path) -> None:
    """`pg_ctl -m immediate`, as a power cut, and a start, which recovers."""
    done = embedded._run("pg_ctl", "-D", str(home / "postgres" / "data"), "-m", "immediate", "-w", "stop")
    assert done.returncode == 0, done.stderr
    embedded.start(home)


@contextmanager
def small_disk(home: Path, megabytes: int) -> Iterator[Path]:
    """A file system of this size at <home>/postgres; the folder's ballast file takes room until it is deleted.

    Raises:
        PermissionError: this user may not mount.
    """
    folder = home / "postgres"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={megabytes}m,mode=711", "tmpfs", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise PermissionError(f"no small disk: {' '.join(done.stderr.split())}")
    try:
        yield folder
    finally:
        embedded.stop(home)
        subprocess.run(["umount", "-l", str(folder)], check=True)


def fill(folder: Path, leave_megabytes: int) -> Path:
    """A ballast file that leaves this much room."""
    status = os.statvfs(folder)
    ballast = folder / "ballast"
    ballast.write_bytes(b"\0" * (status.f_bavail * status.f_frsize - leave_megabytes * 2**20))
    return ballast


def until_it_works(home: Path, environment: settings.Environment) -> None:
    """Start the server where it has stopped, and wait until it can write all that it holds to its disk.

    Raises:
        psycopg.OperationalError: it cannot after a minute.
    """
    for attempt in range(60):
        embedded.start(home)
        try:
            with warehouse.connect(environment, "owner") as conn:
                conn.autocommit = True
                conn.execute("CHECKPOINT")
                return
        except psycopg.OperationalError:
            if attempt == 59:
                raise
        time.sleep(1)


@contextmanager
def taken(environment: settings.Environment, role: warehouse.Role) -> Iterator[int]:
    """Every connection that the role can get is held; how many."""
    with ExitStack() as held:
        count = 0
        while True:
            try:
                held.enter_context(warehouse.connect(environment, role))
            except psycopg.OperationalError as error:
                if "too many" not in str(error) and "remaining connection slots" not in str(error):
                    raise
                break
            count += 1
            assert count < 500, "connections without end"
        yield count
