"""Look whether every watched source has published its last night by the hour in conf; an alert where it has not.

Reads   serve.publications, conf/environments
Writes  alerts/spool

Asks no clock: the DAG `freshness` hands on the moment of its run. Prints one JSON line: how many sources were looked
at, and what is late.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
from collections.abc import Sequence
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

from rekindle import alerts, cli, settings, warehouse
from rekindle.ledger import Ledger
from rekindle.refusals import UsageError


def last_due(moment: datetime, by: time, zone: ZoneInfo) -> date:
    """The newest business date whose night has to be published at that moment: its next local day has reached `by`.

    On the day when the clocks change, `by` is that hour as the shop's clock shows it: one that is skipped counts from
    the moment of the change on, one that comes twice from the first on.
    """
    today = moment.astimezone(zone).date()
    due_at = datetime.combine(today, by, tzinfo=zone).astimezone(UTC)
    return today - timedelta(days=1 if moment >= due_at else 2)


def late_sources(environment: settings.Environment, moment: datetime) -> dict[str, tuple[date, date | None]]:
    """Watched sources without a publication of the last night that is due, or of a later one: (that night, newest).

    A night that is stored but not served counts: then a newer one is served, or somebody rolled back on purpose.
    """
    ledger = Ledger(lambda: warehouse.connect(environment, "writer"))
    late = {}
    for name in environment.alerts.freshness.sources:
        source = settings.load(name, environment.name).source
        due = last_due(moment, environment.alerts.freshness.by, source.zone)
        newest = max((p.business_date for p in ledger.history(name)), default=None)
        if newest is None or newest < due:
            late[name] = (due, newest)
    return late


def words(name: str, due: date, newest: date | None, by: time) -> str:
    """One sentence: what is missing."""
    had = f"the newest is {newest}" if newest else "it was never published"
    return f"{name} has no publication of the night of {due} by {by:%H:%M}; {had}"


def letter(name: str, due: date, newest: date | None, by: time) -> alerts.Letter:
    """The alert; the same night of the same source is the same letter, however often it is looked at."""
    return alerts.Letter(
        id=hashlib.sha256(json.dumps(["freshness", name, due.isoformat()]).encode()).hexdigest()[:32],
        title=f"no night of {due}: {name}",
        what=f"The CRM still reads an older night of {name}.",
        why=words(name, due, newest, by),
        to_do="Open the last run of the DAG nightly for this source: its note and its red task say why it did not"
        " publish. No run at all: see whether the scheduler runs and the DAG is not paused.",
    )


def check(environment: settings.Environment, moment: datetime) -> dict[str, object]:
    """Look at every watched source and write an alert for each that is late; what to print."""
    by = environment.alerts.freshness.by
    late = late_sources(environment, moment)
    for name, (due, newest) in late.items():
        alerts.put(settings.home(), letter(name, due, newest, by))
    return {
        "watched": len(environment.alerts.freshness.sources),
        "late": [words(name, due, newest, by) for name, (due, newest) in late.items()],
    }


def parse_moment(text: str) -> datetime:
    """The moment.

    Raises:
        UsageError: no ISO time with its offset.
    """
    try:
        moment = datetime.fromisoformat(text)
        if moment.tzinfo is None:
            raise ValueError(text)
    except ValueError:
        raise UsageError(f"--moment {text!r}: expected a time with its offset, as 2026-04-30T07:30:00+02:00") from None
    return moment


def main(argv: Sequence[str]) -> int:
    """The exit code: 0 looked, whatever was found; 2 usage or conf, 75 the warehouse did not answer."""
    parser = argparse.ArgumentParser(prog="check_freshness", allow_abbrev=False)
    parser.add_argument("--moment", required=True, help="ISO time with offset, as 2026-04-30T07:30:00+02:00")
    parser.add_argument("--env", default="local", help="name of an environment in conf/environments")
    given = parser.parse_args(argv)

    def action() -> None:
        environment = settings.load_environment(given.env)
        sys.stdout.write(json.dumps(check(environment, parse_moment(given.moment))) + "\n")

    return cli.ended(action)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
