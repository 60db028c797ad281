"""The fault tests' own PostgreSQL, which they crash, and the table that `make test-faults` ends with."""

from __future__ import annotations

import hashlib
import os
import secrets
from collections.abc import Iterator
from pathlib import Path

import pytest

from jobs.publish import publish_night
from rekindle import embedded, settings, warehouse
from tests.faults import tally
from tests.faults.fault_shop import TABLES, NightShop
from tests.faults.kills import Lake
from tests.rekindle.conftest import _home, local_environment

SEED = os.environ.get("FAULT_SEED") or str(secrets.randbelow(10**9))


@pytest.fixture(autouse=True)
def small_night(monkeypatch: pytest.MonkeyPatch) -> None:
    """The publishing job serves the tables of `fault_shop` for as long as a test of faults runs."""
    monkeypatch.setattr(publish_night, "SERVED", TABLES)


@pytest.fixture(scope="session")
def server_home() -> Iterator[Path]:
    """The state folder of a running server that only these tests use."""
    for home in _home():
        embedded.start(home)
        yield home


@pytest.fixture(scope="session")
def environment(server_home: Path) -> settings.Environment:
    """A migrated warehouse."""
    made = local_environment(server_home)
    warehouse.migrate(made, TABLES)
    return made


@pytest.fixture
def shop(environment: settings.Environment, request: pytest.FixtureRequest) -> NightShop:
    """A source that no other test uses."""
    return NightShop(environment, f"shop_{hashlib.sha256(request.node.nodeid.encode()).hexdigest()[:12]}")


@pytest.fixture(scope="session")
def lake(tmp_path_factory: pytest.TempPathFactory) -> Lake:
    """A lake for the runs that the real job publishes."""
    return Lake(tmp_path_factory.mktemp("fault_lake"))


@pytest.fixture(scope="session")
def seed() -> str:
    """The seed of all that is random: FAULT_SEED, or drawn anew."""
    return SEED


def pytest_report_header() -> str:
    return f"faults: FAULT_SEED={SEED}"


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    if config.getoption("markexpr") == "not long":  # as make test-faults asks
        terminalreporter.section(f"faults, FAULT_SEED={SEED}")
        for line in tally.table():
            terminalreporter.write_line(line)
