"""Serve an earlier night again: the one way in which the CRM goes back in time.

Reads   serve.publications
Writes  serve.pointers, serve.pointer_moves

By hand: `make rollback RUN=… WHY=…`, or the DAG `rollback`. No Spark, no lake: the rows of kept runs lie in the
warehouse.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from rekindle import publication, settings, warehouse
from rekindle.cli import UsageError, ended, operator
from rekindle.ledger import Ledger


def roll_back(loaded: settings.Settings, run_id: str, why: str, who: str) -> str:
    """Move the source's pointer to a kept run and say so in a sentence.

    Raises:
        UsageError: no such kept run; the message lists those there are.
    """
    source = loaded.source.name
    ledger = Ledger(lambda: warehouse.connect(loaded.environment, "writer"))
    served = ledger.served(source)
    if served is not None and served.run_id == run_id:
        return f"{source}: run {run_id} of {served.business_date} is served already; nothing was changed"
    try:
        with warehouse.connect(loaded.environment, "writer", "rekindle rollback") as conn:
            before = publication.roll_back(conn, source, run_id, who, why)
    except publication.PublicationError as error:
        raise UsageError(f"RUN={run_id!r}: {error}") from error
    now = ledger.served(source)
    told = f" of {now.business_date}" if now is not None else ""
    return (
        f"{source}: run {run_id}{told} is served instead of {before}; the next night that is not older takes over."
        f" Decided by {who}: {why}"
    )


def main(argv: Sequence[str]) -> int:
    """The exit code: 0 moved or nothing to do, 2 no such run, 75 the warehouse did not answer."""
    parser = argparse.ArgumentParser(prog="rollback_night", allow_abbrev=False)
    parser.add_argument("--source", required=True, help="name of a mapping in conf/sources")
    parser.add_argument("--run", required=True, help="the kept run to serve (run_id in crm.publications)")
    parser.add_argument("--why", default="", help="the reason, kept with the move")
    parser.add_argument("--env", default="local", help="name of an environment in conf/environments")
    given = parser.parse_args(argv)

    def action() -> None:
        loaded = settings.load(given.source, given.env)
        told = roll_back(loaded, given.run, given.why.strip() or "no reason was given", operator())
        sys.stdout.write(f"{told}\n")

    return ended(action)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
