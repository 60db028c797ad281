"""Parts of a job that do not wait for each other."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor


def side_by_side(*parts: Callable[[], object]) -> None:
    """Run the parts at the same time, a thread each, until all have ended; then raise the first one's error, if any.

    A driver that plans, commits and waits for files leaves the cores idle: one table after another, building the
    features kept half of two cores busy.
    """
    with ThreadPoolExecutor(len(parts)) as pool:
        begun = [pool.submit(part) for part in parts]
    for part in begun:
        part.result()
