"""Publishers killed at random instants and at every failpoint: what is served stays whole, one plain retry converges.

A kill point is drawn from the seed and its number: which fault (a kill; a kill of one of two publishers of the run; a
kill of an older date's; PostgreSQL crashing), and the instant, uniform over the time a publication takes. A failure
prints the command that replays its one case: the same fault at the same instant after the beginning.
"""

from __future__ import annotations

import ast
import os
import random
import time
from collections.abc import Iterator
from contextlib import nullcontext
from datetime import timedelta
from pathlib import Path

import pytest

from rekindle import failpoints, settings
from rekindle.settings import ROOT
from tests.faults import kills, tally
from tests.faults.fault_shop import DAY, Chronicle, NightShop
from tests.faults.kills import Lake
from tests.faults.readers import log, reading
from tests.faults.server_faults import crash

USERS, QUICK_USERS = 1000, 100  # twice and once as many rows
CHUNK = 20  # kill points that share a shop and its readers
POINTS = int(os.environ.get("FAULT_KILLS") or 200)
CASE = os.environ.get("FAULT_CASE", "")
PAUSE = 0.05  # of a reader after each read, so that publishers get on


def called_failpoints() -> set[str]:
    """The names of all failpoints in the code, whoever calls them."""
    found = set()
    for folder in ("rekindle", "jobs"):
        for path in sorted((ROOT / folder).rglob("*.py")):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "failpoint":
                    assert isinstance(node.args[0], ast.Constant), (
                        f"{path.name}:{node.lineno}: name it in so many words"
                    )
                    found.add(str(node.args[0].value))
    return found


NAMES = sorted(name for name in called_failpoints() if name.startswith(kills.PUBLISH_PATH))


class Killing:
    """A shop with readers whose nights are killed."""

    def __init__(self, shop: NightShop, lake: Lake, environment: settings.Environment, home: Path) -> None:
        self.shop, self.lake, self.home = shop, lake, home
        self.loaded = kills.night_settings(environment)
        self.chronicle = Chronicle(shop)
        self.day = 0
        self.chronicle.publish(shop.open(DAY))

    def takes(self) -> float:
        """Seconds that an undisturbed publication takes now: the median of three."""
        seconds = []
        for _ in range(3):
            run = self.shop.open(DAY + timedelta(days=self.day))
            self.lake.make(self.shop, run)
            with self.chronicle.act(run.run_id):
                began = time.monotonic()
                assert kills.start(self.loaded, self.shop, run.run_id).finish() == "published"
                seconds.append(time.monotonic() - began)
        return sorted(seconds)[1]

    def night(self, days: int, plan: str = "", kill_after: float | None = None, rival: bool = False) -> str:
        """A night `days` after the served one: its fault, then one plain retry; what the retry said."""
        run = self.shop.open(DAY + timedelta(days=self.day + days))
        self.lake.make(self.shop, run)
        with self.chronicle.act(run.run_id) as act:
            children = [kills.start(self.loaded, self.shop, run.run_id, plan) for _ in range(2 if rival else 1)]
            if kill_after is not None:
                time.sleep(kill_after)
                children[0].kill()
            act.is_known = any(child.finish() in kills.OUTCOMES for child in children)
        return self.retry(run.run_id, older=days < 0)

    def crash(self, after: float) -> str:
        """A night during which PostgreSQL crashes."""
        run = self.shop.open(DAY + timedelta(days=self.day))
        self.lake.make(self.shop, run)
        with self.chronicle.act(run.run_id) as act:
            child = kills.start(self.loaded, self.shop, run.run_id)
            time.sleep(after)
            with self.chronicle.outage():
                crash(self.home)
            act.is_known = child.finish() in kills.OUTCOMES
        tally.add("server crashes survived")
        return self.retry(run.run_id, older=False)

    def retry(self, run_id: str, older: bool) -> str:
        """One plain retry and what must hold after it."""
        shop = self.shop
        before = shop.ledger.served(shop.source)
        with self.chronicle.act(run_id):
            told = kills.publish(self.loaded, shop, run_id)
        served = shop.ledger.served(shop.source)
        assert served is not None
        assert before is not None
        if older:
            assert served.run_id == before.run_id, "an older date is never served"
        else:
            assert served.run_id == run_id
            self.day = (served.business_date - DAY).days
        assert shop.served() == shop.manifest(served.run_id)
        assert [p.run_id for p in shop.ledger.history(shop.source)].count(run_id) == 1, "published once"
        with shop.connect("owner") as conn:
            left = conn.execute(
                "SELECT count(*) FROM pg_stat_activity WHERE application_name LIKE %s", [f"publish {run_id} %"]
            ).fetchall()
        assert left == [(0,)], "no session of the dead publisher is left"
        return told

    def case(self, dice: random.Random, takes: float) -> str:
        """One random fault; its words for the log."""
        after, kind = dice.uniform(0, takes * 1.1), dice.random()
        if kind < 0.05:
            return f"crash of PostgreSQL after {after:.3f} s: {self.crash(after)}"
        if kind < 0.15:
            return f"kill of one of two after {after:.3f} s: {self.night(0, kill_after=after, rival=True)}"
        if kind < 0.2:
            return f"kill of an older date's after {after:.3f} s: {self.night(-1, kill_after=after)}"
        return f"kill after {after:.3f} s: {self.night(dice.randrange(2), kill_after=after)}"


@pytest.fixture
def killing(
    shop: NightShop, lake: Lake, environment: settings.Environment, server_home: Path, request: pytest.FixtureRequest
) -> Killing:
    shop.users = USERS if request.node.get_closest_marker("faults") else QUICK_USERS
    return Killing(shop, lake, environment, server_home)


def go_through(killing: Killing, seed: str, cases: Iterator[int] | range | list[int], node: str) -> None:
    """The kill points of these numbers, under readers."""
    with reading(killing.shop.environment, killing.shop.source, pause=PAUSE) as readers:
        takes = killing.takes()
        for case in cases:
            try:
                killing.case(random.Random(f"{seed}:{case}"), takes)  # noqa: S311
            except BaseException as error:
                tally.violated.append(f"kill point {case}: {error}; replay: {replay(seed, case, node)}")
                raise AssertionError(f"kill point {case}; replay: {replay(seed, case, node)}") from error
            tally.add("kill points")
    found = killing.chronicle.violations(log(readers))
    assert found == [], f"kill points {list(cases)}; replay each by {replay(seed, '<number>', node)}"


def replay(seed: str, case: object, node: str) -> str:
    return f"make test-faults SEED={seed} CASE={case} ONLY='{node.split('[')[0]}'"


@pytest.mark.faults
@pytest.mark.parametrize("chunk", range(1 if CASE else (POINTS + CHUNK - 1) // CHUNK))
def test_publishers_killed_at_random_instants_leave_whole_runs_and_retries_converge(
    killing: Killing, seed: str, chunk: int, request: pytest.FixtureRequest
) -> None:
    cases = [int(CASE)] if CASE else range(chunk * CHUNK, min(POINTS, (chunk + 1) * CHUNK))
    go_through(killing, seed, cases, request.node.nodeid)
    assert tally.violated == []


def test_ten_random_kill_points_leave_whole_runs(killing: Killing, seed: str, request: pytest.FixtureRequest) -> None:
    go_through(killing, seed, [int(CASE)] if CASE else range(1000, 1010), request.node.nodeid)
    assert tally.violated == []


@pytest.mark.faults
@pytest.mark.parametrize("name", NAMES)
def test_a_publisher_killed_at_any_failpoint_is_healed_by_one_plain_retry(killing: Killing, name: str) -> None:
    with reading(killing.shop.environment, killing.shop.source, pause=PAUSE) as readers:
        for number in (1, 2, 3) if name.startswith(("stage.", "sweep.between")) else (1,):
            killing.night(1, plan=f"{name}=kill@{number}")
    tally.add("failpoints killed at")
    assert killing.chronicle.violations(log(readers)) == []


@pytest.mark.parametrize("name", ["stage.before_commit", "publish.before_commit", "publish.after_commit"])
def test_a_publisher_killed_around_a_commit_is_healed_by_one_plain_retry(killing: Killing, name: str) -> None:
    told = killing.night(1, plan=f"{name}=kill")
    assert told == ("already" if name == "publish.after_commit" else "published")


def test_every_failpoint_in_the_code_is_known_and_every_known_one_is_in_the_code() -> None:
    assert called_failpoints() == set(failpoints.NAMES)
    assert NAMES, "the publish path has failpoints"


def test_without_the_token_a_plan_does_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REKINDLE_FAULT_PLAN", "publish.begun=kill")
    monkeypatch.delenv("REKINDLE_FAULT_TOKEN", raising=False)
    with nullcontext():
        assert failpoints._planned() == {}
    monkeypatch.setenv("REKINDLE_FAULT_TOKEN", failpoints.TOKEN)
    assert failpoints._planned() == {"publish.begun": ("kill", 1)}
