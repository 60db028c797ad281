"""Each of six wrong designs is caught, so that silence of the checker means something."""

from __future__ import annotations

import time
from dataclasses import replace
from datetime import timedelta
from functools import partial
from itertools import pairwise

import pytest

from rekindle import publication, settings
from tests.faults import tally
from tests.faults.fault_shop import DAY, OFFERS, TABLES, Chronicle, NightShop, batches, through
from tests.faults.history import Move, violations
from tests.faults.planted import SEEN_BY_READERS, CountOnly, SessionLock, lose_and_double, planted
from tests.faults.readers import log, reading

AT_MOST = 400  # publications until the bug has to have been seen; most are seen within ten
WHAT = {
    "rename_swap": {"empty", "mixed", "error"},
    "truncate": {"empty", "mixed"},
    "transaction_each": {"mixed"},
    "replaced_view": {"empty", "mixed", "error"},
}


@pytest.mark.parametrize("kind", SEEN_BY_READERS)
def test_a_swap_that_readers_can_see_is_caught(shop: NightShop, environment: settings.Environment, kind: str) -> None:
    run_ids = [f"{shop.source}_{number}" for number in range(AT_MOST + 1)]
    manifests = {run_id: shop.totals(run_id) for run_id in run_ids}
    moves = [Move(None, run_ids[0], DAY, "published", 0.0, time.monotonic())]
    kinds = ("one statement", "two statements")
    found = []
    with (
        planted(kind, shop, run_ids[0]) as protocol,
        reading(environment, shop.source, kinds, protocol.schema) as readers,
    ):
        for before, after in pairwise(run_ids):
            began = time.monotonic()
            protocol.publish(after)
            moves.append(Move(before, after, DAY, "published", began, time.monotonic()))
            if len(moves) % 10 == 0 and (found := violations(moves, manifests, log(readers))):
                break
    assert found, f"{AT_MOST} publications and nothing seen"
    assert {one.kind for one in found} <= WHAT[kind]
    tally.add("planted bugs caught")


def test_an_audit_that_only_counts_is_caught(shop: NightShop, environment: settings.Environment) -> None:
    chronicle = Chronicle(shop)
    chronicle.publish(shop.open())
    run = shop.open()
    rows, manifest = shop.rows(run.run_id), shop.manifest(run.run_id)
    counting = {name: CountOnly(*vars(fingerprint).values()) for name, fingerprint in manifest.items()}
    with reading(environment, shop.source) as readers:
        with chronicle.act(run.run_id), shop.connect() as conn:
            for table in TABLES:
                harmed = lose_and_double(rows[table.name]) if table is OFFERS else rows[table.name]
                publication.stage(conn, run, table, batches(table, harmed))
            publish = partial(publication.publish, conn, run, tables=TABLES, data_through=through(DAY))
            with pytest.raises(publication.PublicationError, match=r"serve\.offers: expected 6 rows"):
                publish(manifest=manifest)
            assert publish(manifest=counting).status == "published", "the bug is planted"
        for reader in readers:
            reader.first.clear()
            assert reader.first.wait(30)
    found = chronicle.violations(log(readers))
    assert {one.kind for one in found} == {"partial"}
    tally.forgive(found)


def test_a_lock_of_the_session_is_caught(shop: NightShop) -> None:
    """The session comes from a pool, so the second publisher of it holds the first one's lock."""
    base, older, newer = (f"{shop.source}_{number}" for number in range(3))
    days = {base: 0, older: 1, newer: 2}
    moves = [Move(None, base, DAY)]
    with shop.connect() as session:
        pool = SessionLock(session)
        pool.move(base, 0)
        assert pool.lock(), "the older date's publisher"
        seen_by_older = pool.look()
        assert pool.lock(), "the newer date's publisher gets the same session, and with it the lock"
        seen_by_newer = pool.look()
        for run_id, (served, day) in ((newer, seen_by_newer), (older, seen_by_older)):
            assert day <= days[run_id], "the date guard of each is content"
            pool.move(run_id, days[run_id])
            moves.append(Move(served, run_id, DAY + timedelta(days=days[run_id])))
    found = violations([replace(move, began=0.0) for move in moves], {}, [])
    assert [one.kind for one in found] == ["serial order", "serial order"], "an update lost, and a date gone back"
    tally.add("planted bugs caught")
