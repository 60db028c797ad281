"""Connections that are cut or fall silent: the outcome is found out, once is once, and nothing hangs (F33, F36)."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial

import psycopg
import pytest

from rekindle import publication, settings, warehouse
from rekindle.ledger import Run
from tests.faults import tally
from tests.faults.fault_shop import OFFERS, Chronicle, NightShop, batches
from tests.faults.readers import log, reading
from tests.faults.tcp_proxy import Fault, Messages, Proxy, is_commit

CUTS = int(os.environ.get("FAULT_CUTS") or 40)  # of each kind
SILENCE = 1.0  # seconds without an answer after which a connection is given up where one falls silent here


@contextmanager
def through_proxy(
    environment: settings.Environment,
    *faults: tuple[Fault, int],
    in_copy: bool = True,
    silence: float = warehouse.SILENCE_SECONDS,
) -> Iterator[tuple[Proxy, Callable[[Run], warehouse.Connection]]]:
    """A proxy before the server, and a way to connect through it as a publisher of a run."""
    assert environment.warehouse.port is not None
    with Proxy(environment.warehouse.port, list(faults), in_copy) as proxy:
        there = environment.warehouse.model_copy(update={"port": proxy.port})
        behind = environment.model_copy(update={"warehouse": there})

        def connect(run: Run) -> warehouse.Connection:
            return warehouse.connect(behind, "writer", publication.session_name(run), silence=silence)

        yield proxy, connect


@pytest.fixture
def chronicle(shop: NightShop) -> Chronicle:
    """A shop with one published run."""
    made = Chronicle(shop)
    made.publish(shop.open())
    return made


def cut_around_commit(chronicle: Chronicle, environment: settings.Environment, fault: Fault) -> str:
    """Publish through a connection cut around COMMIT; the resolved outcome's words."""
    shop = chronicle.shop
    run = shop.open()
    shop.stage(run)
    with chronicle.act(run.run_id), through_proxy(environment, (fault, 0)) as (proxy, connect):
        outcome = shop.publish(run, partial(connect, run))
    assert proxy.happened == [fault]
    assert outcome.status == "published"
    assert [to for _, to, _, _ in shop.moves()].count(run.run_id) == 1, "published once"
    assert shop.served() == shop.manifest(run.run_id)
    tally.add("cuts around COMMIT resolved")
    return outcome.message


@pytest.mark.parametrize(("fault", "committed"), [("before_commit", False), ("after_commit", True)])
def test_a_connection_cut_around_commit_is_resolved_to_one_publication(
    chronicle: Chronicle, environment: settings.Environment, fault: Fault, committed: bool
) -> None:
    told = cut_around_commit(chronicle, environment, fault)
    assert ("the lost connection had committed" in told) is committed


@pytest.mark.faults
@pytest.mark.parametrize("fault", ["before_commit", "after_commit", "at_commit"])
def test_many_connections_cut_around_commit_are_each_resolved_while_readers_read(
    chronicle: Chronicle, environment: settings.Environment, fault: Fault
) -> None:
    with reading(environment, chronicle.shop.source) as readers:
        for _ in range(CUTS):
            cut_around_commit(chronicle, environment, fault)
    assert chronicle.violations(log(readers)) == []


@pytest.mark.parametrize("count", [0, 700])
def test_a_connection_cut_in_the_middle_of_copy_stages_nothing(
    chronicle: Chronicle, environment: settings.Environment, count: int
) -> None:
    shop = chronicle.shop
    shop.users = 50
    run = shop.open()
    before = shop.served()
    with through_proxy(environment, ("cut", count)) as (proxy, connect), pytest.raises(psycopg.OperationalError):
        shop.stage(run, partial(connect, run))
    assert proxy.happened == ["cut"]
    with shop.connect("owner") as conn:
        staged = conn.execute("SELECT count(*) FROM serve.offers WHERE run_id = %s", [run.run_id]).fetchall()
    assert staged == [(0,)]
    assert shop.served() == before
    with pytest.raises(publication.PublicationError, match="nothing staged"):
        shop.publish(run)
    tally.add("connections cut or silent elsewhere")


@pytest.mark.faults
def test_a_connection_cut_after_any_number_of_bytes_is_healed_by_one_retry(
    chronicle: Chronicle, environment: settings.Environment
) -> None:
    """Every 150 bytes from the start of the session on, sign-in and every statement included."""
    shop = chronicle.shop
    with reading(environment, shop.source) as readers:
        for count in range(0, 4000, 150):
            run = shop.open()
            with through_proxy(environment, ("cut", count), in_copy=False) as (proxy, connect):
                try:
                    shop.stage(run, partial(connect, run))
                except psycopg.OperationalError:
                    tally.add("connections cut or silent elsewhere")
                assert proxy.happened in (["cut"], [])
            chronicle.publish(shop.ledger.new_attempt(run.run_id))
            assert shop.served() == shop.manifest(run.run_id)
    assert chronicle.violations(log(readers)) == []


@pytest.mark.parametrize("fault", ["silent_commit", pytest.param("lost_commit", marks=pytest.mark.faults)])
def test_a_server_that_falls_silent_at_commit_hangs_nobody_and_the_next_attempt_converges(
    chronicle: Chronicle, environment: settings.Environment, fault: Fault
) -> None:
    shop = chronicle.shop
    run = shop.open()
    shop.stage(run)
    with chronicle.act(run.run_id) as act, through_proxy(environment, (fault, 0), silence=SILENCE) as (_, connect):
        try:
            told = shop.publish(run, partial(connect, run)).status
        except psycopg.OperationalError:  # the silent session still holds the pointer
            told, act.is_known = "temporary", False
    assert told == ("published" if fault == "silent_commit" else "temporary")
    living = shop.ledger.new_attempt(run.run_id)
    with shop.connect("writer", publication.session_name(living)) as conn:
        publication.take_over(conn, living.run_id, publication.session_name(living))
    with chronicle.act(run.run_id):
        assert shop.publish(living).status == ("already" if told == "published" else "published")
    assert chronicle.violations([]) == []
    tally.add("connections cut or silent elsewhere")


def test_a_server_that_falls_silent_in_the_middle_of_copy_hangs_nobody(
    chronicle: Chronicle, environment: settings.Environment
) -> None:
    shop = chronicle.shop
    run = shop.open()
    rows = shop.rows(run.run_id)["offers"]
    with through_proxy(environment, ("silent", 0), silence=SILENCE) as (proxy, connect), connect(run) as conn:
        with pytest.raises(psycopg.OperationalError, match="silent"):
            publication.stage(conn, run, OFFERS, batches(OFFERS, rows))
        assert conn.closed
    assert proxy.happened == ["silent"]
    tally.add("connections cut or silent elsewhere")


def test_a_server_that_never_answers_the_greeting_hangs_nobody(
    shop: NightShop, environment: settings.Environment, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(warehouse, "CONNECT_SECONDS", 2)
    run = shop.open()
    with (
        through_proxy(environment, ("silent", -1), in_copy=False) as (_, connect),
        pytest.raises(psycopg.OperationalError, match="timeout"),
    ):
        connect(run)
    tally.add("connections cut or silent elsewhere")


def test_the_proxy_knows_a_commit_however_it_is_sent_and_cut_into_packets() -> None:
    def message(kind: bytes, body: bytes) -> bytes:
        return kind + (len(body) + 4).to_bytes(4, "big") + body

    start = (8).to_bytes(4, "big") + (80877103).to_bytes(4, "big")  # an SSL request, refused
    start += (9).to_bytes(4, "big") + (196608).to_bytes(4, "big") + b"\0"
    stream = start + b"".join(
        [
            message(b"Q", b"COMMIT\0"),
            message(b"P", b"\0commit;\0\0\0"),
            message(b"Q", b"SELECT 'COMMIT'\0"),
            message(b"d", b"COMMIT\0"),
        ]
    )
    for size in (1, 3, len(stream)):
        messages = Messages()
        found = [m for at in range(0, len(stream), size) for m in messages.feed(stream[at : at + size])]
        assert [is_commit(*one) for one in found] == [False, False, True, True, False, False]
        assert messages.held == b""
