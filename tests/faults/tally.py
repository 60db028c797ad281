"""What the fault tests of this process did and found: the table that `make test-faults` ends with."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from tests.faults.history import Read, Violation

LINES = (
    "kill points",
    "failpoints killed at",
    "interleavings run",
    "cuts around COMMIT resolved",
    "connections cut or silent elsewhere",
    "zombies fenced",
    "server crashes survived",
    "planted bugs caught",
)
done: Counter[str] = Counter()
read: Counter[str] = Counter()
bad: Counter[str] = Counter()
violated: list[str] = []


def add(line: str, count: int = 1) -> None:
    """Count something of `LINES`.

    Raises:
        KeyError: there is no such line.
    """
    if line not in LINES:
        raise KeyError(line)
    done[line] += count


def reads(log: Sequence[Read], found: Sequence[Violation]) -> None:
    """Count the reads by kind (those that an outage on purpose broke not), and what was wrong."""
    read.update(one.kind for one in log if not one.error)
    bad.update(one.kind for one in found)


def forgive(found: Sequence[Violation]) -> None:
    """Take back what was found of a bug that was planted."""
    bad.subtract(one.kind for one in found)
    add("planted bugs caught")


def table() -> list[str]:
    """The lines of the table."""
    lines = [f"{line:<38}{done[line]:>10,}" for line in LINES]
    lines += [f"{f'reads, {kind}':<38}{count:>10,}" for kind, count in sorted(read.items())]
    lines.append(f"{'reads in all':<38}{sum(read.values()):>10,}")
    lines.append(f"{'bad reads and broken orders':<38}{sum(bad.values()):>10,}")
    lines.append(f"{'violations of the protocol':<38}{len(violated):>10,}")
    return lines + [f"  {told}" for told in violated]
