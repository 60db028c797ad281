"""The gate: whether the checks of a stage let its tables pass. Pure, and it knows no checking library.

A library's own "success" is no gate: Great Expectations passes on an empty batch, on an empty suite and on a column
that is null throughout, and it fails on a mere warning. Here a stage passes only if every critical check that was
declared ran on this run's data and held.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from rekindle.refusals import DataRefused

Severity = Literal["critical", "warning"]
SHOWN_FAILURES = 10


class ChecksNotRun(Exception):
    """Checks raised, or did not run on this run's data: nothing is known of the data, and nothing passes."""


@dataclass(frozen=True)
class Declared:
    """A check that must run. `rows` is what the ledger holds for the table; null for a frame derived from several."""

    table: str
    check_id: str
    severity: Severity
    run_id: str
    rows: int | None


@dataclass(frozen=True)
class Result:
    """What a check saw.

    `what` says what is counted, `rows` on how many rows it ran (null if that is not known: the check raised),
    `unexpected_rows` is null where the check is about a figure, `error` is null unless it raised.
    """

    table: str
    check_id: str
    run_id: str
    rows: int | None
    success: bool
    what: str
    expected: str
    found: str
    unexpected_rows: int | None = None
    error: str | None = None

    def __str__(self) -> str:
        return f"table {self.table}: {self.what}: expected {self.expected}, found {self.found}"


@dataclass(frozen=True)
class Verdict:
    """One line for every critical check that failed, that gave no usable result, and for every warning."""

    failed: tuple[str, ...]
    not_run: tuple[str, ...]
    warnings: tuple[str, ...]

    @property
    def passed(self) -> bool:
        """Whether the tables may go on; warnings do not hold them."""
        return not self.failed and not self.not_run


def gate(declared: Sequence[Declared], results: Sequence[Result]) -> Verdict:
    """The verdict over a stage's declared checks and their results; their order does not matter but for the lines'."""
    failed: list[str] = []
    not_run: list[str] = []
    warnings: list[str] = []
    if not any(d.severity == "critical" for d in declared):
        not_run.append("no critical check is declared, and a stage without one checks nothing")
    found: dict[tuple[str, str], list[Result]] = {}
    for result in results:
        found.setdefault((result.table, result.check_id), []).append(result)
    for check in declared:
        critical = check.severity == "critical"
        own = found.pop((check.table, check.check_id), [])
        faults = [fault for r in own if (fault := _fault(check, r))] if own else ["it gave no result"]
        for fault in faults:
            (not_run if critical else warnings).append(f"table {check.table}: check {check.check_id}: {fault}")
        for result in own:
            if not result.success and result.error is None:
                (failed if critical else warnings).append(str(result))
    not_run += [
        f"table {table}: check {check_id}: it was evaluated but nobody declared it" for table, check_id in found
    ]
    return Verdict(tuple(failed), tuple(not_run), tuple(warnings))


def settle(verdict: Verdict) -> None:
    """Return if the verdict lets the tables pass.

    Raises:
        DataRefused: critical checks failed; one line for each, at most ten.
        ChecksNotRun: none failed, but some did not run on this run's data, so that nothing is known.
    """
    if verdict.failed:
        lines = list(verdict.failed[:SHOWN_FAILURES])
        more = len(verdict.failed) - len(lines)
        raise DataRefused(
            "\n".join([*lines, *([f"and {more} more critical checks"] if more else []), *verdict.not_run])
        )
    if verdict.not_run:
        raise ChecksNotRun("\n".join(verdict.not_run))


def _fault(check: Declared, result: Result) -> str | None:
    """Why the result says nothing about this run's data; null if it does."""
    if result.error is not None:
        return f"it raised {result.error}"
    if result.run_id != check.run_id:
        return f"it ran for run {result.run_id}, expected {check.run_id}"
    if result.rows is None:
        return "it does not say on how many rows it ran"
    if check.rows is not None and result.rows != check.rows:
        return f"it ran on {result.rows:,} rows, the ledger holds {check.rows:,}"
    return None
