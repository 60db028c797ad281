"""The nights and the cluster of these tests, each with everything of its own, and the seed that says when they die."""

from __future__ import annotations

import os
import random
import secrets
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from rekindle import settings
from tests.cluster.shop_night import Night
from tests.cluster.standalone import Standalone

SEED = "REKINDLE_FAULT_SEED"


@dataclass(frozen=True)
class Keys:
    """What nights have to share so that they may be compared (the pseudonyms' key), and what they may share."""

    identity: str
    spark: str


@pytest.fixture(scope="session")
def keys() -> Keys:
    return Keys(secrets.token_hex(32), secrets.token_hex(32))


@pytest.fixture(scope="session")
def seed() -> int:
    """Another one each time; REKINDLE_FAULT_SEED repeats one."""
    return int(os.environ.get(SEED) or secrets.randbelow(10**6))


@pytest.fixture
def chance(seed: int, request: pytest.FixtureRequest) -> random.Random:
    """Draws of this test alone: a test that is run without the others draws the same."""
    print(f"{SEED}={seed} replays {request.node.name}")  # noqa: T201 - shown with a test that fails
    return random.Random(f"{seed} {request.node.name}")  # noqa: S311 - no secret


@pytest.fixture(scope="session")
def plain_night(keys: Keys) -> Iterator[Night]:
    """The night in one process: what all others are compared with. `until` runs it as far as a test needs.

    No test publishes it: the ledger of a published run keeps what it has.
    """
    night = Night.prepared(settings.home() / "jars", keys.spark, keys.identity)
    try:
        night.use("local[2]")
        night.prepare_warehouse()
        yield night
    finally:
        night.close()


@pytest.fixture
def cluster_night(keys: Keys) -> Iterator[tuple[Night, Standalone]]:
    """The same night before its first job, on a standalone master with two workers."""
    night = Night.prepared(settings.home() / "jars", keys.spark, keys.identity)
    cluster = Standalone(night.home / "spark", keys.spark, night.mark)
    try:
        cluster.start(workers=2)
        night.use(f"spark://127.0.0.1:{cluster.port}")
        night.prepare_warehouse()
        yield night, cluster
    finally:
        cluster.stop()
        night.close()
