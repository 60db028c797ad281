"""Rows of old, failed and abandoned runs go; nobody who reads or writes is surprised by it."""

from __future__ import annotations

from datetime import timedelta

from rekindle import publication, warehouse
from rekindle.old_runs import remove_old_runs
from tests.rekindle.warehouse_shop import DAY, TABLES, Shop


def test_only_the_newest_runs_and_the_served_one_are_kept(shop: Shop) -> None:
    runs = [shop.run(DAY + timedelta(days=n)) for n in range(4)]
    for run in runs:
        shop.publish(run)
    failed = shop.run(DAY + timedelta(days=9))
    shop.stage(failed)
    shop.ledger.mark(failed.run_id, "failed", "the check said no")
    with shop.connect() as conn:
        publication.roll_back(conn, shop.source, runs[0].run_id, "ann", "complaints")
        assert remove_old_runs(conn, shop.source, TABLES, 2, timedelta(0)) == [runs[1].run_id]
        assert remove_old_runs(conn, shop.source, TABLES, 2, timedelta(0)) == [], "twice is once"
    kept = {r for (r,) in shop.read(f"SELECT DISTINCT run_id FROM serve.lists WHERE source = '{shop.source}'", "owner")}
    assert kept == {runs[0].run_id, runs[2].run_id, runs[3].run_id}
    listed = dict(shop.read(f"SELECT run_id, is_kept FROM publications WHERE source = '{shop.source}'"))
    assert listed == {r.run_id: r is not runs[1] for r in runs}


def test_a_run_published_lately_is_kept_for_whoever_pages_through_it(shop: Shop) -> None:
    runs = [shop.run(DAY + timedelta(days=n)) for n in range(3)]
    for run in runs:
        shop.publish(run)
    with shop.connect() as conn:
        assert remove_old_runs(conn, shop.source, TABLES, 1) == [], "all of them are younger than 48 hours"
        assert sorted(remove_old_runs(conn, shop.source, TABLES, 1, timedelta(0))) == [r.run_id for r in runs[:2]]


def test_a_run_staged_a_week_ago_and_never_published_is_removed_and_fenced(shop: Shop) -> None:
    left, fresh = shop.run(), shop.run()
    manifest = shop.stage(left)
    shop.stage(fresh)
    with shop.connect("owner") as conn:
        conn.execute(
            "UPDATE serve.stagings SET staged_at = staged_at - interval '8 days' WHERE run_id = %s", [left.run_id]
        )
    with shop.connect() as conn:
        assert remove_old_runs(conn, shop.source, TABLES, 7) == []
    kept = {r for (r,) in shop.read(f"SELECT DISTINCT run_id FROM serve.lists WHERE source = '{shop.source}'", "owner")}
    assert kept == {fresh.run_id}
    assert shop.publish(left, manifest).status == "fenced", "whoever was still at it"
    assert shop.publish(shop.ledger.new_attempt(left.run_id)).status == "published", "a new attempt stages again"


def test_rows_from_before_there_were_proofs_are_removed_too(shop: Shop) -> None:
    runs = [shop.run(DAY + timedelta(days=n)) for n in range(2)]
    for run in runs:
        shop.publish(run)
    with shop.connect("owner") as conn:
        told = conn.execute("DELETE FROM serve.stagings WHERE source = %s RETURNING *", [shop.source]).fetchall()
    warehouse.migrate(shop.environment, TABLES)
    remade = shop.read(f"SELECT * FROM serve.stagings WHERE source = '{shop.source}'", "writer")
    assert sorted(row[:7] for row in remade) == sorted(row[:7] for row in told)
    with shop.connect() as conn:
        assert remove_old_runs(conn, shop.source, TABLES, 1, timedelta(0)) == [runs[0].run_id]
    held = shop.read(f"SELECT DISTINCT run_id FROM serve.lists WHERE source = '{shop.source}'", "writer")
    assert held == [(runs[1].run_id,)]
