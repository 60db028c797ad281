"""Remove what nobody is to read any more from the warehouse, and see that what is served is what was published.

Reads   serve.publications (and the rows of the served run)
Writes  serve.stagings, ops.runs (and removes the rows of old, failed and abandoned runs)

By hand: `make janitor`, or weekly by the DAG `sweep`. Every night removes old runs at its end, too; this does so after
nights that died, and looks at the served rows as no night does.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from datetime import timedelta

from rekindle import old_runs, publication, settings, warehouse
from rekindle.cli import DataRefused, ended
from schemas.catalogue import SERVED


def sweep(loaded: settings.Settings) -> list[str]:
    """What was done, in sentences.

    Raises:
        DataRefused: rows of the served run are not those that were published.
    """
    source, business = loaded.source.name, loaded.business
    with warehouse.connect(loaded.environment, "writer", "rekindle sweep") as conn:
        least_age = timedelta(hours=business.kept_hours)
        removed = old_runs.remove_old_runs(conn, source, SERVED, business.kept_runs, least_age)
        faults = publication.verify_served(conn, source, SERVED)
    if faults:
        raise DataRefused(
            f"{source}: {'; '.join(faults)}. Somebody changed served rows; `make rollback` serves an earlier run"
        )
    return [
        f"{source}: removed {len(removed)} old runs{': ' if removed else ''}{', '.join(removed)}",
        f"{source}: the served rows are those that were published",
    ]


def main(argv: Sequence[str]) -> int:
    """The exit code: 0 done, 2 usage, 3 served rows were changed, 75 the warehouse did not answer."""
    parser = argparse.ArgumentParser(prog="sweep_runs", allow_abbrev=False)
    parser.add_argument("--source", required=True, help="name of a mapping in conf/sources")
    parser.add_argument("--env", default="local", help="name of an environment in conf/environments")
    given = parser.parse_args(argv)
    return ended(lambda: sys.stdout.write("".join(f"{t}\n" for t in sweep(settings.load(given.source, given.env)))))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
