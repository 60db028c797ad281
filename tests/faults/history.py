"""The checker of what readers saw: it proves one total order of the pointer's moves and of every read, or says why not.

The pointer's moves are the serial order. Each became visible at some instant of the call that made it; each read saw
one state at some instant between its start and its end. `violations` searches for instants that explain all of them at
once, for every session together: a read of a run that was not yet, or no longer, served at any instant of the read has
none. It knows no database: logs in, sentences out. Times are of one monotonic clock.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from itertools import pairwise
from typing import Literal

FOREVER = float("inf")


@dataclass(frozen=True)
class Seen:
    """What a read found of one table: the runs of its rows, how many, the sum of their numbers, how many were foreign.

    A foreign row bears another mark than the run it is of: its content is not what that run made.
    """

    table: str
    runs: tuple[str, ...]
    rows: int
    total: int
    foreign: int = 0


@dataclass(frozen=True)
class Read:
    """One read of a session: when, and what it found or which error it met."""

    session: str
    kind: str
    began: float
    ended: float
    seen: tuple[Seen, ...] = ()
    error: str = ""


@dataclass(frozen=True)
class Move:
    """One move of the pointer, and the interval within which it became visible."""

    from_run: str | None
    to_run: str
    business_date: date
    cause: Literal["published", "rolled_back"] = "published"
    began: float = 0.0
    ended: float = FOREVER


@dataclass(frozen=True)
class Violation:
    """What is wrong, in a word and in a sentence."""

    kind: Literal["error", "empty", "mixed", "partial", "unknown run", "stale or early", "serial order"]
    told: str


def violations(
    moves: Sequence[Move],
    manifests: Mapping[str, Mapping[str, tuple[int, int]]],
    reads: Sequence[Read],
    outages: Sequence[tuple[float, float]] = (),
) -> list[Violation]:
    """Everything that the one order cannot explain.

    Args:
        moves: the pointer's moves in their serial order, as the database numbered them.
        manifests: by run and table, how many rows it has and the sum of their numbers; runs never published included.
        reads: of all sessions, in any order.
        outages: intervals in which the server was down on purpose: a read that overlaps one may have met an error.
    """
    served = {move.to_run for move in moves}
    found = _serial_order(moves)
    sound = []
    for read in reads:
        if read.error and any(read.began <= until and since <= read.ended for since, until in outages):
            continue
        wrong = _of_one_read(read, manifests, served)
        if wrong is not None:
            found.append(wrong)
        else:
            sound.append(read)
    return found + _unexplained(moves, sound)


def _serial_order(moves: Sequence[Move]) -> list[Violation]:
    """Moves that do not follow from the one before: an update lost, or a date gone back without a rollback."""
    found = []
    for before, after in pairwise(moves):
        if after.from_run != before.to_run:
            told = f"the pointer moved from {after.from_run} to {after.to_run}, but {before.to_run} was served"
            found.append(Violation("serial order", told))
        if after.cause == "published" and after.business_date < before.business_date:
            told = (
                f"{after.to_run} of {after.business_date} was published over {before.to_run} of {before.business_date}"
            )
            found.append(Violation("serial order", told))
    published = [move.to_run for move in moves if move.cause == "published"]
    found += [
        Violation("serial order", f"{run} was published {published.count(run)} times")
        for run in sorted(set(published))
        if published.count(run) > 1
    ]
    return found


def _of_one_read(
    read: Read, manifests: Mapping[str, Mapping[str, tuple[int, int]]], served: set[str]
) -> Violation | None:
    """What is wrong with a read whenever it was made; null for one whole run that was served."""
    who = f"{read.kind} read of {read.session} at {read.began:.6f}"
    if read.error:
        return Violation("error", f"{who}: {read.error}")
    runs = sorted({run for seen in read.seen for run in seen.runs})
    if len(runs) > 1:
        return Violation("mixed", f"{who}: rows of {', '.join(runs)}")
    if not runs or any(not seen.rows for seen in read.seen):
        return Violation("empty", f"{who}: {', '.join(f'{s.table} {s.rows} rows' for s in read.seen)}")
    [run] = runs
    if run not in served:
        return Violation("unknown run", f"{who}: {run} was never served")
    for seen in read.seen:
        rows, total = manifests[run][seen.table]
        if (seen.rows, seen.total, seen.foreign) != (rows, total, 0):
            told = f"{seen.rows} rows, sum {seen.total}, {seen.foreign} foreign; expected {rows}, {total}, 0"
            return Violation("partial", f"{who}: {run}, {seen.table}: {told}")
    return None


def _unexplained(moves: Sequence[Move], reads: Sequence[Read]) -> list[Violation]:
    """Reads for which no instant is left, given all the others.

    The states after each move are walked through in the order of time. Kept is, for each state that may be the served
    one now, which of the open reads have passed a state that shows what they saw (`Way`); a way that has passed more
    is as good as one that has passed fewer, so few remain. A read that ends unexplained in every way is a violation,
    and is then left out.
    """
    latest = [move.ended for move in moves]
    for at in range(len(moves) - 2, -1, -1):  # a move is visible before the next one is
        latest[at] = min(latest[at], latest[at + 1])
    events = sorted(
        [(read.began, 0, at) for at, read in enumerate(reads)] + [(read.ended, 1, at) for at, read in enumerate(reads)]
    )
    shows = [read.seen[0].runs[0] for read in reads]
    found: list[Violation] = []
    ways: dict[int, set[frozenset[int]]] = {-1: {frozenset()}}
    pending: set[int] = set()
    for now, ends, at in events:
        ways = _advance(ways, moves, latest, pending, shows, now)
        if not ends:
            pending.add(at)
            ways = {
                state: {way | {at} if state >= 0 and moves[state].to_run == shows[at] else way for way in held}
                for state, held in ways.items()
            }
            continue
        pending.discard(at)
        explained = {state: {way - {at} for way in held if at in way} for state, held in ways.items()}
        explained = {state: held for state, held in explained.items() if held}
        if not explained:
            read = reads[at]
            told = (
                f"{read.kind} read of {read.session} from {read.began:.6f} to {read.ended:.6f} saw {shows[at]};"
                f" then served: {', '.join(moves[s].to_run if s >= 0 else 'nothing' for s in sorted(ways))}"
            )
            found.append(Violation("stale or early", told))
            explained = {state: {way - {at} for way in held} for state, held in ways.items()}
        ways = explained
    return found


def _advance(
    ways: dict[int, set[frozenset[int]]],
    moves: Sequence[Move],
    latest: Sequence[float],
    pending: set[int],
    shows: Sequence[str],
    now: float,
) -> dict[int, set[frozenset[int]]]:
    """The ways up to `now`: moves that may have become visible are made or not, those that must have are made."""
    reached = {state: set(held) for state, held in ways.items()}
    state = min(reached)
    while state + 1 < len(moves) and state <= max(reached):
        if moves[state + 1].began <= now:
            passes = frozenset(at for at in pending if shows[at] == moves[state + 1].to_run)
            reached.setdefault(state + 1, set()).update(way | passes for way in reached.get(state, ()))
        state += 1
    due = bisect_left(latest, now) - 1  # the last state that must be visible by now: `latest` never falls
    kept = {state: _best(held) for state, held in reached.items() if state >= due and held}
    # No way left: the moves' own times contradict one another, which is no read's fault.
    return kept or {due: {frozenset()}}


def _best(held: set[frozenset[int]]) -> set[frozenset[int]]:
    """The ways that no other one contains."""
    return {way for way in held if not any(way < other for other in held)}
