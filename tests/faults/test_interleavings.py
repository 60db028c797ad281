"""Two actors in every order of their phases, one of them lost at any: the CRM sees one whole run, a retry heals.

Exhaustive for what moves or reads the pointer; where an attempt stages as well, orders with at most two changes from
one actor to the other (most faults of concurrency need no more: Musuvathi and Qadeer, PLDI 2007).
"""

from __future__ import annotations

import os
import random
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial
from typing import Any

import psycopg
import pytest

from rekindle import old_runs, publication, settings, warehouse
from rekindle.ledger import Run
from tests.faults import tally
from tests.faults.fault_shop import DAY, TABLES, Chronicle, NightShop, batches, through
from tests.faults.history import Read
from tests.faults.readers import two_statements
from tests.faults.schedules import Actor, Execution, Lost, Scene, explore

# A zombie that stages beside the living attempt may also meet its rows: refused, as everything else of it.
OUTCOMES = str | list | Lost | publication.PublicationError | psycopg.OperationalError
MAY_END_WITH = dict.fromkeys(("a", "b", "newer"), OUTCOMES) | {"zombie": OUTCOMES | psycopg.errors.UniqueViolation}
CASE = os.environ.get("FAULT_CASE", "")
AT_MOST = 5000
# Nothing happens between an actor's start and `publish.begun`, so it is not held there.
PUBLISH = ("publish.locked", "publish.before_pointer", "publish.before_commit", "publish.after_commit")
PHASES = (*PUBLISH, "rollback.", "sweep.")
ATTEMPT = ("stage.before_fence", "stage.before_commit", "stage.after_commit", *PUBLISH)
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


# How an actor's scene is made, the phases at which actors are held, how often the other one may be let go on while one
# could, and whether one may be lost.
SCENES: dict[str, tuple[Any, tuple[str, ...], int, bool]] = {
    "the same run twice": (publishes_twice, PHASES, 99, True),
    "two runs of a date": (two_runs_of_a_date, PHASES, 99, True),
    "older beside newer": (older_beside_newer, PHASES, 99, True),
    "a rollback in flight": (rollback_in_flight, PHASES, 99, True),
    "a janitor in flight": (janitor_in_flight, PHASES, 99, True),
    "a rollback to what is swept": (rollback_to_what_is_swept, PHASES, 99, True),
    "a zombie beside a new attempt": (zombie_beside_a_new_attempt, ATTEMPT, 2, False),
    "a zombie and a new attempt, one lost": (zombie_beside_a_new_attempt, ATTEMPT, 1, True),
}


@dataclass
class Explorer:
    """Runs scenes on the tests' server, and says how each that fails is replayed."""

    environment: settings.Environment
    lent: Mapping[str, warehouse.Connection]
    node: str
    count: int = 0

    def execute(self, name: str, chosen: Sequence[int]) -> list[int]:
        """One execution of the scene; how many options there were at each choice."""
        make, phases, switches, may_lose = SCENES[name]
        self.count += 1
        stage = Stage(self.environment, f"order_{list(SCENES).index(name)}_{os.getpid()}_{self.count}", self.lent)
        actors, ends = make(stage)

        def at_end(done: Mapping[str, Actor]) -> None:
            for actor in done.values():
                assert isinstance(actor.outcome, MAY_END_WITH[actor.name]), f"{actor.name}: {actor.outcome!r}"
            ends(done)
            stage.must_hold()

        def connect(attempt: int) -> warehouse.Connection:
            name = f"publish {stage.source}_{stage.shop.opened} {attempt}"
            return warehouse.connect(self.environment, "writer", name)

        connects = {actor: partial(connect, 2 if actor == "newer" else 1) for actor in actors}
        execution = Execution(
            Scene(actors, stage.look, at_end), connects, self.lent["owner"], phases, may_lose, switches
        )
        try:
            widths = execution.run(chosen)
        except BaseException as error:
            picks = ",".join(map(str, execution.picks)) or "0"
            told = f"{name}: {' / '.join(execution.trace)}; replay: make test-faults CASE={picks} ONLY='{self.node}'"
            tally.violated.append(told)
            raise AssertionError(told) from error
        tally.add("interleavings run")
        return widths


@pytest.fixture
def explorer(environment: settings.Environment, request: pytest.FixtureRequest) -> Iterator[Explorer]:
    with (
        warehouse.connect(environment, "owner") as owner,
        warehouse.connect(environment, "crm_reader") as reader,
        warehouse.connect(environment, "writer") as writer,
    ):
        owner.autocommit = reader.autocommit = True
        yield Explorer(environment, {"owner": owner, "crm_reader": reader, "writer": writer}, request.node.nodeid)


def chosen() -> list[int]:
    """The choices of the one order that is replayed."""
    return [int(pick) for pick in CASE.split(",")]


@pytest.mark.faults
@pytest.mark.parametrize("name", SCENES)
def test_no_order_of_phases_and_no_lost_actor_breaks_the_protocol(explorer: Explorer, name: str) -> None:
    if CASE:
        explorer.execute(name, chosen())
        return
    for _ in explore(partial(explorer.execute, name)):
        assert explorer.count < AT_MOST, "an order that never ends"


@pytest.mark.parametrize("name", SCENES)
def test_three_orders_by_chance_of_each_pair_hold(explorer: Explorer, seed: str, name: str) -> None:
    dice = random.Random(f"{seed}:{name}")  # noqa: S311
    for _ in range(1 if CASE else 3):
        explorer.execute(name, chosen() if CASE else [dice.randrange(720) for _ in range(60)])
    assert tally.violated == []
