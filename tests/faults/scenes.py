"""Pairs of actors that share a shop: what was published before, what each does, and what must hold at the end.

A scene proves one sentence about two of: a publisher, another one of the same or another run, a rollback, the janitor,
a zombie attempt. `Stage.must_hold` proves what every scene must end with.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta

from rekindle import old_runs, publication, settings, warehouse
from rekindle.ledger import Run
from tests.faults.fault_shop import DAY, TABLES, Chronicle, NightShop, batches, through
from tests.faults.history import Read
from tests.faults.readers import two_statements
from tests.faults.schedules import Actor, Lost

Body = Callable[[Callable[[], warehouse.Connection]], object]


@dataclass
class Stage:
    """One execution's shop: runs that are published before, actors' bodies, reads after every step."""

    environment: settings.Environment
    source: str
    lent: Mapping[str, warehouse.Connection]
    reads: list[Read] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.reader = self.lent["crm_reader"]
        self.shop = NightShop(self.environment, self.source, lent=self.lent)
        self.chronicle = Chronicle(self.shop)

    def published(self, day: int) -> Run:
        run = self.shop.open(DAY + timedelta(days=day))
        self.chronicle.publish(run)
        return run

    def staged(self, day: int) -> Run:
        run = self.shop.open(DAY + timedelta(days=day))
        self.shop.stage(run)
        return run

    def publishes(self, run: Run) -> Body:
        """The publishing transaction of a run that is staged."""

        def body(connect: Callable[[], warehouse.Connection]) -> object:
            manifest = self.shop.manifest(run.run_id)
            with self.chronicle.act(run.run_id), connect() as conn:
                return publication.publish(conn, run, manifest, TABLES, through(run.business_date)).status

        return body

    def rolls_back(self, run: Run) -> Body:
        def body(connect: Callable[[], warehouse.Connection]) -> object:
            with self.chronicle.act(run.run_id, "rolled_back"), connect() as conn:
                return publication.roll_back(conn, self.source, run.run_id, "an operator", "a test")

        return body

    def sweeps(self, keep: int) -> Body:
        def body(connect: Callable[[], warehouse.Connection]) -> object:
            with connect() as conn:
                return old_runs.remove_old_runs(conn, self.source, TABLES, keep, timedelta(0))

        return body

    def look(self) -> None:
        """One read of the CRM's, as every step is followed by."""
        began = time.monotonic()
        ended, seen = two_statements(self.reader, "crm", self.source)
        self.reads.append(Read("after each step", "two statements", began, ended, seen))

    def served(self) -> str:
        rows = self.reader.execute(
            "SELECT run_id FROM crm.publications WHERE source = %s AND is_served", [self.source]
        ).fetchall()
        return str(rows[0][0])

    def must_hold(self) -> None:
        """One order explains all reads; what is served, and every kept run, is whole."""
        self.look()
        assert self.chronicle.violations(self.reads) == []
        assert self.shop.served() == self.shop.manifest(self.served())
        with self.shop.connect("owner") as conn:
            for run_id, kept in conn.execute(
                "SELECT run_id, is_kept FROM serve.publications WHERE source = %s", [self.source]
            ).fetchall():
                rows = conn.execute("SELECT count(*) FROM serve.offers WHERE run_id = %s", [run_id]).fetchall()
                assert not kept or rows == [(6,)], f"{run_id} is kept and has {rows} rows"


def publishes_twice(stage: Stage) -> tuple[Mapping[str, Body], Callable[[Mapping[str, Actor]], None]]:
    """F15: one run, two processes."""
    stage.published(0)
    run = stage.staged(1)

    def at_end(actors: Mapping[str, Actor]) -> None:
        outcomes = sorted(str(a.outcome) for a in actors.values() if not isinstance(a.outcome, Lost))
        assert set(outcomes) <= {"published", "already"}, outcomes
        assert outcomes.count("published") <= 1, outcomes
        with stage.chronicle.act(run.run_id):
            assert stage.shop.publish(run).status in ("published", "already")
        assert stage.served() == run.run_id

    return {"a": stage.publishes(run), "b": stage.publishes(run)}, at_end


def two_runs_of_a_date(stage: Stage) -> tuple[Mapping[str, Body], Callable[[Mapping[str, Actor]], None]]:
    """F21: the same date made twice; both are stored, the last committed is served."""
    stage.published(0)
    first, second = stage.staged(1), stage.staged(1)

    def at_end(actors: Mapping[str, Actor]) -> None:
        for run in (first, second):
            with stage.chronicle.act(run.run_id):
                assert stage.shop.publish(run).status in ("published", "already")

    return {"a": stage.publishes(first), "b": stage.publishes(second)}, at_end


def older_beside_newer(stage: Stage) -> tuple[Mapping[str, Body], Callable[[Mapping[str, Actor]], None]]:
    """F20: whoever commits first, the newer date is served in the end."""
    stage.published(0)
    older, newer = stage.staged(1), stage.staged(2)

    def at_end(actors: Mapping[str, Actor]) -> None:
        for run in (newer, older):
            with stage.chronicle.act(run.run_id):
                assert stage.shop.publish(run).status in ("published", "already", "stored_older")
        assert stage.served() == newer.run_id

    return {"a": stage.publishes(older), "b": stage.publishes(newer)}, at_end


def rollback_in_flight(stage: Stage) -> tuple[Mapping[str, Body], Callable[[Mapping[str, Actor]], None]]:
    """F23: the last committed intent is served, and logged."""
    first = stage.published(0)
    stage.published(1)
    run = stage.staged(2)

    def at_end(actors: Mapping[str, Actor]) -> None:
        moves = stage.shop.moves()
        assert stage.served() == moves[-1][1]
        if not isinstance(actors["b"].outcome, Lost):
            assert ("rolled_back", first.run_id) in {(cause, to) for _, to, _, cause in moves}

    return {"a": stage.publishes(run), "b": stage.rolls_back(first)}, at_end


def janitor_in_flight(stage: Stage) -> tuple[Mapping[str, Body], Callable[[Mapping[str, Actor]], None]]:
    """F24: what is being published stays, whatever the janitor removes beside it."""
    old = stage.published(0)
    stage.published(1)
    run = stage.staged(2)

    def at_end(actors: Mapping[str, Actor]) -> None:
        with stage.chronicle.act(run.run_id):
            assert stage.shop.publish(run).status in ("published", "already")
        with stage.shop.connect() as conn:
            old_runs.remove_old_runs(conn, stage.source, TABLES, 1, timedelta(0))
        with stage.shop.connect("owner") as conn:
            left = conn.execute("SELECT count(*) FROM serve.offers WHERE run_id = %s", [old.run_id]).fetchall()
        assert left == [(0,)], "one sweep after the fault removes what is beyond those kept"

    return {"a": stage.publishes(run), "b": stage.sweeps(1)}, at_end


def rollback_to_what_is_swept(stage: Stage) -> tuple[Mapping[str, Body], Callable[[Mapping[str, Actor]], None]]:
    """F24: a run is either rolled back to, or removed; never served without its rows."""
    old = stage.published(0)
    stage.published(1)
    stage.published(2)

    def at_end(actors: Mapping[str, Actor]) -> None:
        outcome = actors["a"].outcome
        assert isinstance(outcome, str | Lost | publication.PublicationError), repr(outcome)

    return {"a": stage.rolls_back(old), "b": stage.sweeps(1)}, at_end


def zombie_beside_a_new_attempt(stage: Stage) -> tuple[Mapping[str, Body], Callable[[Mapping[str, Actor]], None]]:
    """F12, F16: an attempt that stages and publishes while the next one takes over, stages and publishes."""
    stage.published(0)
    run = stage.shop.open(DAY + timedelta(days=1))

    def attempt(given: Run, connect: Callable[[], warehouse.Connection]) -> str:
        manifest, rows = stage.shop.manifest(given.run_id), stage.shop.rows(given.run_id)
        with connect() as conn:
            for table in TABLES:
                publication.stage(conn, given, table, batches(table, rows[table.name]))
        with stage.chronicle.act(given.run_id), connect() as conn:
            return publication.publish(conn, given, manifest, TABLES, through(given.business_date)).status

    def newer(connect: Callable[[], warehouse.Connection]) -> str:
        living = stage.shop.ledger.new_attempt(run.run_id)
        with connect() as conn:
            publication.take_over(conn, living.run_id, publication.session_name(living))
        return "already" if living.published_at is not None else attempt(living, connect)

    def at_end(actors: Mapping[str, Actor]) -> None:
        last = stage.shop.ledger.new_attempt(run.run_id)
        if last.published_at is None:
            stage.chronicle.publish(last)
        assert stage.served() == run.run_id
        assert len(stage.shop.ledger.history(stage.source)) == 2

    return {"zombie": lambda connect: attempt(run, connect), "newer": newer}, at_end
