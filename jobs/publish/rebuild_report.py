"""Write the report of a past night anew, as long as its rows are kept.

Reads   ops, serve.publications, the registry, recommendations, list_changes, at_risk_users, churn_changes,
        churn_health, outcomes, suppressed_users, user_profiles (as staged in the warehouse)
Writes  reports/<source>/<date>-<run>/summary.txt, summary.json, night.html, index.html

A manual job: `make report DATE=… SOURCE=…`. It compares with the nights that the report compared with, tells what the
CRM reads now, and changes nothing in the warehouse.
"""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Sequence
from datetime import date

from rekindle import settings, warehouse
from rekindle.cli import Context, UsageError, ended
from rekindle.ledger import Ledger
from report.files import write
from report.night import collect


def kept_runs(loaded: settings.Settings) -> list[tuple[date, str]]:
    """(business date, run id) of every published run whose rows are kept, newest publication first."""
    with warehouse.connect(loaded.environment, "writer", "rekindle report") as conn:
        found = conn.execute(
            "SELECT business_date, run_id FROM serve.publications WHERE source = %s AND is_kept ORDER BY number DESC",
            [loaded.source.name],
        ).fetchall()
    return [(day, str(run_id)) for day, run_id in found]


def chosen(loaded: settings.Settings, day: date | None, run_id: str | None) -> tuple[date, str]:
    """The kept night of that date, of several the one published last, or the run by its id; the newest without either.

    Raises:
        UsageError: no such night is kept; the message lists those there are.
    """
    kept = kept_runs(loaded)
    fitting = [one for one in kept if day in (None, one[0]) and run_id in (None, one[1])]
    if fitting:
        return fitting[0]
    wanted = " ".join([*([f"DATE={day}"] if day else []), *([f"RUN={run_id}"] if run_id else [])]) or "a night"
    there = ", ".join(f"{date} ({run})" for date, run in kept) or "none: nothing was ever published"
    raise UsageError(f"SOURCE={loaded.source.name}: {wanted} is not kept any more, or never was; kept nights: {there}")


def rebuild(loaded: settings.Settings, day: date | None, run_id: str | None) -> str:
    """Write the night's report anew and say where it is."""
    found_day, found_run = chosen(loaded, day, run_id)
    ledger = Ledger(lambda: warehouse.connect(loaded.environment, "writer"))
    log = logging.getLogger("rebuild_report")
    context = Context(loaded, found_day, ledger, False, ledger.run(found_run), None, {}, log)
    return f"report of {loaded.source.name}, {found_day} (run {found_run}): {write(context, collect(context))}"


def main(argv: Sequence[str]) -> int:
    """The exit code: 0 written, 2 no such kept night, 75 the warehouse did not answer."""
    parser = argparse.ArgumentParser(prog="rebuild_report", allow_abbrev=False)
    parser.add_argument("--source", required=True, help="name of a mapping in conf/sources")
    parser.add_argument("--date", help="business date, YYYY-MM-DD; default: the night published last")
    parser.add_argument("--run", help="the run of it, where a date was run several times")
    parser.add_argument("--env", default="local", help="name of an environment in conf/environments")
    given = parser.parse_args(argv)

    def action() -> None:
        day = settings.parse_date(given.date) if given.date else None
        sys.stdout.write(f"{rebuild(settings.load(given.source, given.env), day, given.run)}\n")

    return ended(action)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
