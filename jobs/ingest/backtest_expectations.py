"""Say what each check of drift would have done on every past landing day of a source, before it is armed.

Reads   day_profiles (of the served night)
Writes  reports/backtest_expectations/<source>.txt

A manual job: `make backtest-expectations` calls it, no DAG does. It publishes nothing and changes no conf. Pure Python
over a table of some 60 rows a day. Exit codes: 0 done, 2 no such source or no night to look back from, 75 the
warehouse did not answer.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from io import StringIO

import psycopg
from rich import box
from rich.console import Console
from rich.table import Table as Grid

from expectations.drift.checks import CHECKS, severities
from expectations.drift.days import Days, Row
from rekindle import cli, settings, warehouse
from rekindle.embedded import EmbeddedError
from rekindle.gate import Severity
from rekindle.ledger import Ledger, TableVersion
from rekindle.ledger_access import LedgerError
from rekindle.refusals import UsageError
from schemas.day_profiles import DAY_PROFILES

SHOWN_DATES = 4
ENOUGH = 28  # judged days without an alarm, before a warning may be called quiet
RARE = 0.01  # of the judged days: a check that refuses more nights than this needs a look before it may


@dataclass(frozen=True)
class Past:
    """One check over the past: the landing days on which it had something to compare, and those on which it alarmed."""

    check_id: str
    severity: Severity
    declared: Severity
    judged: tuple[date, ...]
    alarms: tuple[date, ...]

    @property
    def rate(self) -> float | None:
        """Alarms over judged days, all of which were published; null where none was judged."""
        return len(self.alarms) / len(self.judged) if self.judged else None

    @property
    def advice(self) -> str | None:
        """A line for `severities`, where the past gives a reason to change it; null where it gives none."""
        rate = self.rate
        if rate is None:
            return None
        if self.severity == "critical" and rate > RARE:
            return (
                f"{self.check_id}: warning    # disarms: it would have refused {len(self.alarms)} of {len(self.judged)}"
            )
        if self.severity == "warning" and not self.alarms and len(self.judged) >= ENOUGH:
            return f"{self.check_id}: critical    # arms: it was quiet on all {len(self.judged)}"
        return None


def look_back(days: Days, chosen: Mapping[str, Severity]) -> list[Past]:
    """Every check on every landing day, with no more behind it than its own night had."""
    found = []
    for check in CHECKS:
        readings = [(day, check.reading(days, day)) for day in days.order]
        judged = tuple(day for day, r in readings if r.judged)
        alarms = tuple(day for day, r in readings if r.judged and not check.holds(r))
        found.append(Past(check.check_id, chosen[check.check_id], check.severity, judged, alarms))
    return found


def grid(past: Iterable[Past]) -> Grid:
    """The table: what each check would have refused or warned of."""
    table = Grid(box=box.SIMPLE, header_style="bold")
    for title in ("check", "severity", "judged", "refused", "warned", "false alarms", "on"):
        table.add_column(title, justify="left" if title in ("check", "severity", "on") else "right")
    for p in past:
        n, critical = len(p.alarms), p.severity == "critical"
        more = f" and {n - SHOWN_DATES} more" if n > SHOWN_DATES else ""
        rate = "-" if p.rate is None else f"{100 * p.rate:.1f} %"
        dates = ", ".join(map(str, p.alarms[-SHOWN_DATES:])) + more
        table.add_row(
            p.check_id,
            p.severity + ("" if p.severity == p.declared else f" (declared {p.declared})"),
            str(len(p.judged)),
            str(n if critical else 0),
            str(0 if critical else n),
            rate,
            dates,
        )
    return table


def words(source: str, days: Days, past: Sequence[Past]) -> str:
    """What is said below the table: what the figures mean, and what to write to arm or disarm."""
    span = f"{len(days.order)} landing days, {days.order[0]} to {days.order[-1]}" if days.order else "no landing day"
    lines = [
        f"{source}: {span}. All of them are part of what is served, so an alarm here counts as a false one,",
        "unless you know of a fault on that day. A day is judged where enough days lie before it.",
        f"To change what a check does: `severities` in conf/sources/{source}.yaml, critical refuses and warning tells.",
    ]
    advice = [p.advice for p in past if p.advice]
    if advice:
        lines += ["Lines to choose from:", "severities:", *(f"  {a}" for a in advice)]
    else:
        lines.append("This past gives no reason to change one.")
    return "\n".join(lines)


def told(source: str, days: Days, past: Sequence[Past], width: int = 160) -> str:
    """The whole text."""
    out = StringIO()
    console = Console(file=out, width=width)
    console.print(grid(past))
    out.write(words(source, days, past) + "\n")
    return "\n".join(line.rstrip() for line in out.getvalue().splitlines()).strip() + "\n"


def served_profiles(ledger: Ledger, source: str) -> TableVersion:
    """The version of `day_profiles` that belongs to the served night.

    Raises:
        UsageError: nothing is served, or the served night is of before there were figures.
    """
    served = ledger.served(source)
    if served is None:
        raise UsageError(f"nothing of {source} is served yet, so there is no past to look at; run: make nightly")
    version = ledger.tables(served.run_id).get(DAY_PROFILES.name)
    if version is None:
        raise UsageError(
            f"the served night of {source} ({served.business_date}, run {served.run_id}) has no {DAY_PROFILES.name};"
            " run the next night, which measures all days"
        )
    return version


def rows(version: TableVersion) -> list[Row]:
    """The snapshot's rows, read from its files without a catalog."""
    from pyiceberg.table import StaticTable

    scan = StaticTable.from_metadata(version.metadata_location).scan(
        snapshot_id=version.snapshot_id, selected_fields=tuple(DAY_PROFILES.names)
    )
    columns = scan.to_arrow().to_pydict()
    return list(zip(*(columns[name] for name in DAY_PROFILES.names), strict=True))


def main(argv: Sequence[str]) -> int:
    """Look back, print, and keep the same text in a report."""
    parser = argparse.ArgumentParser(prog="backtest_expectations", allow_abbrev=False)
    parser.add_argument("--source", required=True, help="name of a mapping in conf/sources")
    parser.add_argument("--env", default="local", help="name of an environment in conf/environments")
    given = parser.parse_args(argv)
    try:
        loaded = settings.load(given.source, given.env)
        chosen = severities(loaded.source.name, loaded.source.severities)
        ledger = Ledger(lambda: warehouse.connect(loaded.environment, "writer"))
        days = Days.of(rows(served_profiles(ledger, loaded.source.name)))
    except (settings.SettingsError, UsageError, LedgerError, warehouse.WarehouseError) as error:
        return cli.fail(cli.USAGE, str(error))
    except (psycopg.OperationalError, EmbeddedError) as error:
        return cli.fail(cli.TEMPORARY, f"temporary: the warehouse did not answer: {error}")
    text = told(loaded.source.name, days, look_back(days, chosen))
    report = loaded.home / "reports/backtest_expectations" / f"{loaded.source.name}.txt"
    report.parent.mkdir(parents=True, exist_ok=True)
    report.write_text(text, encoding="utf-8")
    sys.stdout.write(f"{text}kept in {report}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
