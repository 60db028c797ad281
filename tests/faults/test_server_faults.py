"""PostgreSQL crashes, is full, or has no connection left: what is served stays, a retry publishes (F31, F32, F37)."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from rekindle import embedded, failpoints, publication, settings, warehouse
from rekindle.contract import Table
from rekindle.ledger import Run
from tests.faults import kills, tally
from tests.faults.fault_shop import OFFERS, TABLES, Chronicle, NightShop, batches, through
from tests.faults.kills import Lake
from tests.faults.readers import log, reading
from tests.faults.server_faults import crash, fill, small_disk, taken, until_it_works
from tests.rekindle.conftest import _home, local_environment

CRASHES = (
    *("stage.batch", "stage.before_check", "stage.before_proof", "stage.before_commit"),
    *("publish.locked", "publish.before_pointer", "publish.before_commit", "publish.after_commit"),
)


@pytest.fixture
def chronicle(shop: NightShop) -> Chronicle:
    """A shop with one published run."""
    shop.users = 300
    made = Chronicle(shop)
    made.publish(shop.open())
    return made


def crash_at(chronicle: Chronicle, home: Path, name: str) -> None:
    """Stage and publish in this process, PostgreSQL crashing at the failpoint's second pass or only one; then retry."""
    shop = chronicle.shop
    run, crashed = shop.open(), []

    def listener(passed: str) -> None:
        if passed == name and not crashed:
            crashed.append(passed)
            with chronicle.outage():
                crash(home)

    with failpoints.heard(listener):
        try:
            shop.stage(run)
        except psycopg.OperationalError:
            assert name.startswith("stage."), "staging is not retried by itself: the job is"
            shop.stage(run)
        with chronicle.act(run.run_id):
            assert shop.publish(run).status == "published", "a publication resolves the lost connection by itself"
    assert crashed == [name]
    assert shop.served() == shop.manifest(run.run_id)
    assert [to for _, to, _, _ in shop.moves()].count(run.run_id) == 1
    tally.add("server crashes survived")


@pytest.mark.faults
@pytest.mark.parametrize("name", CRASHES)
def test_readers_see_whole_runs_across_a_crash_at_any_phase(
    chronicle: Chronicle, environment: settings.Environment, server_home: Path, name: str
) -> None:
    with reading(environment, chronicle.shop.source) as readers:
        crash_at(chronicle, server_home, name)
        for reader in readers:
            reader.first.clear()
        assert all(reader.first.wait(30) for reader in readers), "every reader reads again"
    reads = log(readers)
    assert chronicle.violations(reads) == []
    assert any(read.error for read in reads), "the crash was felt"


@pytest.mark.parametrize("name", ["stage.batch", "publish.before_commit"])
def test_a_crash_in_the_middle_of_copy_or_before_commit_is_healed(
    chronicle: Chronicle, server_home: Path, name: str
) -> None:
    crash_at(chronicle, server_home, name)
    assert chronicle.violations([]) == []


# ---------------------------------------------------------------------- disk


@pytest.fixture
def small(request: pytest.FixtureRequest) -> Iterator[tuple[Path, settings.Environment]]:
    """A server whose data lie on a file system of 400 MB; with the parameter `apart` its log (WAL) lies elsewhere."""
    for home in _home():
        try:
            disk = small_disk(home, 400)
            folder = disk.__enter__()
        except PermissionError as error:
            pytest.skip(str(error))
        try:
            embedded.start(home)
            if request.param == "apart":
                embedded.stop(home)
                wal = folder / "data" / "pg_wal"
                elsewhere = home / "pg_wal"
                command = ["cp", "-a", str(wal), str(elsewhere)]
                assert subprocess.run(command, check=False).returncode == 0
                shutil.rmtree(wal)
                wal.symlink_to(elsewhere)
                embedded.start(home)
            made = local_environment(home)
            warehouse.migrate(made, TABLES)
            yield folder, made
        finally:
            disk.__exit__(None, None, None)


def too_many(shop: NightShop, run: Run, table: Table) -> Iterator[Any]:
    """More rows than there is room for: 600,000, of 90 bytes and more. (A client sends all of them, refused or not.)"""
    keys = [row[0] for row in shop.rows(run.run_id)["notes"]]
    for place in range(1, 301):
        yield from batches(table, [(key, place, run.run_id, 0) for key in keys], len(keys))


@pytest.mark.faults
@pytest.mark.parametrize("small", ["apart", "together"], indirect=True)
def test_a_full_disk_leaves_what_is_served_and_the_server_works_again_when_there_is_room(
    small: tuple[Path, settings.Environment],
) -> None:
    """With the log elsewhere COPY fails and no reader notices; with a full log PostgreSQL may stop, and recovers."""
    folder, environment = small
    shop = NightShop(environment, "small", users=2000)
    chronicle = Chronicle(shop)
    first, run = shop.open(), None
    chronicle.publish(first)
    run = shop.open()
    ballast = fill(folder, leave_megabytes=24)
    with reading(environment, shop.source, pause=0.05) as readers:
        with chronicle.outage():
            with (
                pytest.raises(psycopg.OperationalError, match=r"No space left|closed|terminat|recovery"),
                shop.connect() as conn,
            ):
                publication.stage(conn, run, OFFERS, too_many(shop, run, OFFERS))
            ballast.unlink()
            until_it_works(folder.parent, environment)
            for reader in readers:
                reader.first.clear()
            assert all(reader.first.wait(60) for reader in readers), "every reader reads again"
        assert shop.served() == shop.manifest(first.run_id), "what is served stays"
        assert chronicle.publish(shop.ledger.new_attempt(run.run_id)).status == "published"
    reads = log(readers)
    assert chronicle.violations(reads) == []
    assert shop.served() == shop.manifest(run.run_id)
    tally.add("server crashes survived", any(read.error for read in reads))


# ---------------------------------------------------------------------- connections


def test_readers_at_their_limit_do_not_keep_the_publisher_out(
    chronicle: Chronicle, environment: settings.Environment
) -> None:
    run = chronicle.shop.open()
    with taken(environment, "crm_reader") as count:
        outcome = chronicle.publish(run)
    assert (count, outcome.status) == (40, "published")
    assert chronicle.violations([]) == []


def test_without_any_connection_left_a_night_fails_before_it_stages_anything_and_a_retry_publishes(
    chronicle: Chronicle, environment: settings.Environment, lake: Lake
) -> None:
    shop, loaded = chronicle.shop, kills.night_settings(environment)
    run = shop.open()
    lake.make(shop, run)
    with taken(environment, "crm_reader"), taken(environment, "writer"):
        publisher = kills.start(loaded, shop, run.run_id)
        told = publisher.finish()
    assert told.startswith("OperationalError"), told
    with shop.connect() as conn:
        assert publication.staged(conn, run.run_id) == {}
    with chronicle.act(run.run_id):
        assert kills.publish(loaded, shop, run.run_id) == "published"
    assert chronicle.violations([]) == []


def test_a_server_that_only_reads_refuses_to_stage_and_to_publish(chronicle: Chronicle) -> None:
    shop = chronicle.shop
    run = shop.open()
    shop.stage(run)
    with shop.connect() as conn:
        conn.execute("SET default_transaction_read_only = on")
        conn.commit()
        with pytest.raises(psycopg.errors.ReadOnlySqlTransaction):
            publication.publish(conn, run, shop.manifest(run.run_id), TABLES, through(run.business_date))
    with chronicle.act(run.run_id):
        assert shop.publish(run).status == "published"
    assert chronicle.violations([]) == []
