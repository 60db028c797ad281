"""The phase scheduler: every order in which two actors can pass the protocol's phases, and every instant to lose one.

Actors are threads that stop at each failpoint (`failpoints.heard`) until they are let go on, one at a time. An actor
that does not arrive because it waits for another one's lock is recognised by PostgreSQL itself (`pg_locks`), never by
time. `explore` runs the same scene once for each sequence of choices, by going back to the last choice that has an
alternative left. A lost actor's connection is closed, as if its process had died.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from rekindle import failpoints, warehouse

Choice = tuple[Literal["step", "lose"], str]
# What follows these touches nothing that another actor could see, so no other order of it is another order.
FREE = ("publish.after_commit", "rollback.after_commit", "sweep.marked", "sweep.done", "stage.after_commit")
SETTLED = 20.0  # seconds after which an actor that neither arrives, ends nor waits for a lock is a fault of the test
POLL = 0.002


class Lost(BaseException):
    """Thrown into an actor whose connection is closed: nothing of it may run on."""


@dataclass
class Actor:
    """One thread of a scene. `body` gets a way to connect; what it returns or raises is `outcome`."""

    name: str
    body: Callable[[Callable[[], warehouse.Connection]], object]
    connect: Callable[[], warehouse.Connection]
    state: Literal["held", "going", "done"] = "held"
    at: str = "start"
    outcome: object = None
    losing: bool = False
    go: threading.Event = field(default_factory=threading.Event)
    stopped: threading.Event = field(default_factory=threading.Event)
    connections: list[warehouse.Connection] = field(default_factory=list)
    thread: threading.Thread | None = None

    def opened(self) -> warehouse.Connection:
        conn = self.connect()
        self.connections.append(conn)
        return conn

    def pids(self) -> list[int]:
        return [conn.info.backend_pid for conn in list(self.connections) if not conn.closed]

    def hold(self, at: str) -> None:
        """Called in the actor's thread: wait until it is let go on."""
        self.at, self.state = at, "held"
        self.stopped.set()
        self.go.wait()
        self.go.clear()
        if self.losing:
            for conn in self.connections:
                conn.close()
            raise Lost(at)

    def live(self) -> None:
        try:
            self.hold("start")
            self.outcome = self.body(self.opened)
        except Lost as lost:
            self.outcome = lost
        except Exception as error:
            self.outcome = error
        finally:
            for conn in self.connections:
                conn.close()
            self.state = "done"
            self.stopped.set()


@dataclass
class Scene:
    """Actors, what is looked at after each step, and what must hold at the end."""

    actors: Mapping[str, Callable[[Callable[[], warehouse.Connection]], object]]
    after_step: Callable[[], None]
    at_end: Callable[[Mapping[str, Actor]], None]


class Execution:
    """One run of a scene by a sequence of choices; beyond the sequence the actor that moved last goes on."""

    def __init__(
        self,
        scene: Scene,
        connects: Mapping[str, Callable[[], warehouse.Connection]],
        monitor: warehouse.Connection,
        phases: Sequence[str],
        may_lose: bool,
        switches: int,
    ) -> None:
        self.scene, self.monitor, self.phases = scene, monitor, tuple(phases)
        self.may_lose, self.switches = may_lose, switches
        self.actors = {name: Actor(name, body, connects[name]) for name, body in scene.actors.items()}
        self._by_thread: dict[int, Actor] = {}
        self.trace: list[str] = []
        self.picks: list[int] = []

    def run(self, chosen: Sequence[int]) -> list[int]:
        """Run to the end; how many options there were at each choice. A number beyond the options wraps around."""
        widths: list[int] = []
        last = ""
        with failpoints.heard(self._heard):
            for actor in self.actors.values():
                actor.thread = threading.Thread(target=actor.live, daemon=True)
                actor.thread.start()
                assert actor.stopped.wait(SETTLED)
                self._by_thread[actor.thread.ident or 0] = actor
            while any(actor.state != "done" for actor in self.actors.values()):
                options = self._options(last)
                pick = chosen[len(widths)] % len(options) if len(widths) < len(chosen) else 0
                widths.append(len(options))
                self.picks.append(pick)
                kind, name = options[pick]
                if last and name != last and self.actors[last].state == "held":
                    self.switches -= 1
                self.trace.append(f"{kind} {name} at {self.actors[name].at}")
                self._let_go(self.actors[name], lose=kind == "lose")
                last = name
                self.scene.after_step()
        self.scene.at_end(self.actors)
        return widths

    def _options(self, last: str) -> list[Choice]:
        """What may happen next, the actor that moved last first."""
        held = sorted((a for a in self.actors.values() if a.state == "held"), key=lambda a: (a.name != last, a.name))
        assert held, f"nobody can go on: {[(a.name, a.state, a.at) for a in self.actors.values()]}, {self.trace}"
        free = [actor for actor in held if actor.at in FREE]
        if free or (self.switches <= 0 and held[0].name == last):
            held = (free or held)[:1]
        options: list[Choice] = [("step", actor.name) for actor in held]
        if self.may_lose:
            options += [("lose", actor.name) for actor in held if actor.at != "start"]
        return options

    def _heard(self, name: str) -> None:
        actor = self._by_thread.get(threading.get_ident())
        if actor is not None and name.startswith(self.phases):
            actor.hold(name)

    def _let_go(self, actor: Actor, lose: bool) -> None:
        """Let one actor go on, and wait until it and those it may have freed are held, done, or wait for a lock."""
        pids = actor.pids()
        if lose:
            actor.losing, self.may_lose = True, False
        actor.state = "going"
        actor.stopped.clear()
        actor.go.set()
        if lose:
            assert actor.stopped.wait(SETTLED)
            self._until(lambda: not self._alive(pids))
        # Twice: the second may have freed the first, which waited for it when it was looked at.
        for other in [*self.actors.values()] * 2:
            self._until(lambda other=other: other.state != "going" or self._waits(other))  # type: ignore[misc]

    def _until(self, settled: Callable[[], bool]) -> None:
        pause = threading.Event()
        for _ in range(int(SETTLED / POLL)):
            if settled():
                return
            pause.wait(POLL)
        raise AssertionError(f"not settled: {[(a.name, a.state, a.at) for a in self.actors.values()]}, {self.trace}")

    def _waits(self, actor: Actor) -> bool:
        """Whether PostgreSQL says that the actor waits for a lock which an actor that is held has."""
        holders = [pid for a in self.actors.values() if a is not actor and a.state == "held" for pid in a.pids()]
        found = self.monitor.execute(
            "SELECT 1 FROM pg_locks l WHERE NOT granted AND pid = ANY(%s) AND pg_blocking_pids(pid) && %s::int[]",
            [actor.pids(), holders],
        ).fetchone()
        return found is not None

    def _alive(self, pids: Sequence[int]) -> bool:
        rows = self.monitor.execute("SELECT 1 FROM pg_stat_activity WHERE pid = ANY(%s)", [list(pids)]).fetchone()
        return rows is not None


def explore(execute: Callable[[Sequence[int]], list[int]], first: Sequence[int] = ()) -> Iterator[tuple[int, ...]]:
    """Run every sequence of choices once, each yielded after its end; `first` is where to begin (for a replay)."""
    chosen = list(first)
    while True:
        widths = execute(chosen)
        chosen += [0] * (len(widths) - len(chosen))
        yield tuple(chosen)
        while chosen and chosen[-1] + 1 >= widths[len(chosen) - 1]:
            chosen.pop()
        if not chosen:
            return
        chosen[-1] += 1
