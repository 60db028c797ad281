"""Two actors in every order of their phases, one of them lost at any: the CRM sees one whole run, a retry heals.

Exhaustive for what moves or reads the pointer; where an attempt stages as well, orders with at most two changes from
one actor to the other (most faults of concurrency need no more: Musuvathi and Qadeer, PLDI 2007).
"""

from __future__ import annotations

import os
import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import count
from typing import Any

import psycopg
import pytest

from rekindle import publication, settings, warehouse
from tests.faults import tally
from tests.faults.scenes import (
    Stage,
    janitor_in_flight,
    older_beside_newer,
    publishes_twice,
    rollback_in_flight,
    rollback_to_what_is_swept,
    two_runs_of_a_date,
    zombie_beside_a_new_attempt,
)
from tests.faults.schedules import Actor, Execution, Lost, Scene, explore

# A zombie that stages beside the living attempt may also meet its rows: refused, as everything else of it.
OUTCOMES = str | list | Lost | publication.PublicationError | psycopg.OperationalError
MAY_END_WITH = dict.fromkeys(("a", "b", "newer"), OUTCOMES) | {"zombie": OUTCOMES | psycopg.errors.UniqueViolation}
CASE = os.environ.get("FAULT_CASE", "")
AT_MOST = 5000
NUMBERS = count()  # two tests of a process run the same scenes on one server
# Nothing happens between an actor's start and `publish.begun`, so it is not held there.
PUBLISH = ("publish.locked", "publish.before_pointer", "publish.before_commit", "publish.after_commit")
PHASES = (*PUBLISH, "rollback.", "sweep.")
ATTEMPT = (
    *("stage.before_fence", "stage.before_commit", "stage.after_commit"),
    *("publish.locked", "publish.before_commit", "publish.after_commit"),
)
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
        source = f"order_{list(SCENES).index(name)}_{os.getpid()}_{next(NUMBERS)}"
        stage = Stage(self.environment, source, self.lent)
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
