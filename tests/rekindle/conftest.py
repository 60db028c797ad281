"""A real PostgreSQL server for the warehouse's tests: made, started and stopped by the code under test."""

from __future__ import annotations

import hashlib
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from rekindle import embedded, settings, warehouse
from tests.rekindle.warehouse_shop import TABLES, Shop


@pytest.fixture
def home() -> Iterator[Path]:
    """An empty state folder whose server, if one was started, is stopped at the end."""
    yield from _home()


@pytest.fixture(scope="session")
def environment() -> Iterator[settings.Environment]:
    """A migrated warehouse of its own, on a server of its own."""
    for home in _home():
        embedded.start(home)
        made = local_environment(home)
        warehouse.migrate(made, TABLES)
        yield made


@pytest.fixture
def shop(environment: settings.Environment, request: pytest.FixtureRequest) -> Shop:
    """A source that no other test uses."""
    return Shop(environment, f"shop_{hashlib.sha256(request.node.nodeid.encode()).hexdigest()[:12]}")


@pytest.fixture
def environment_of() -> Callable[[Path], settings.Environment]:
    """The local environment with its warehouse in another state folder."""
    return local_environment


def local_environment(home: Path) -> settings.Environment:
    local = settings.load_environment("local")
    there = local.warehouse.model_copy(update={"secrets": home / "secrets", "port": embedded.port(home)})
    return local.model_copy(update={"warehouse": there})


def _home() -> Iterator[Path]:
    # Not pytest's own folder: that is closed to others, and for root the server is another user.
    home = Path(tempfile.mkdtemp(prefix="rekindle-test-"))
    home.chmod(0o711)
    try:
        yield home
    finally:
        embedded.stop(home)
        shutil.rmtree(home)
