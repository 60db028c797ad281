"""The CRM sees the last good night or the new one: never nothing, never a mixture, never an older one."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable
from datetime import date, timedelta
from typing import Any

import psycopg
import pytest

from rekindle import publication, warehouse
from rekindle.fingerprint import Fingerprint
from rekindle.ledger import Run
from rekindle.old_runs import remove_old_runs
from rekindle.publication import PublicationError
from tests.rekindle.warehouse_shop import DAY, LISTS, TABLES, WEEKS, Shop, batch, through

ONE_STATEMENT = (
    "SELECT (SELECT count(*) FROM lists WHERE source = %(s)s), (SELECT count(*) FROM weeks WHERE source = %(s)s),"
    " (SELECT count(DISTINCT run_id) FROM (SELECT run_id FROM lists WHERE source = %(s)s"
    " UNION ALL SELECT run_id FROM weeks WHERE source = %(s)s) both_tables)"
)


def served(shop: Shop) -> set[tuple[Any, ...]]:
    """Run ids of the rows that the CRM sees, by table."""
    statement = "SELECT '{0}', run_id, count(*) FROM {0} WHERE source = '{1}' GROUP BY run_id"
    return {row for t in TABLES for row in shop.read(statement.format(t.name, shop.source))}


# ---------------------------------------------------------------------- one publication


def test_a_published_run_is_what_every_view_shows_with_raw_user_ids(shop: Shop) -> None:
    run = shop.run()
    assert shop.publish(run).status == "published"
    rows = shop.read(f"SELECT source, user_id, place, score, reasons, run_id FROM lists WHERE source = '{shop.source}'")
    assert sorted(rows)[0] == (shop.source, "user 0", 1, 0.0, [run.run_id, "b"], run.run_id)
    assert served(shop) == {("lists", run.run_id, 6), ("weeks", run.run_id, 1)}
    [(status, is_served, reach)] = shop.read(
        f"SELECT status, is_served, data_through FROM publications WHERE source = '{shop.source}'"
    )
    assert (status, is_served, reach) == ("served", True, through(DAY))
    assert shop.ledger.run(run.run_id).status == "published"


def test_publishing_twice_is_once(shop: Shop) -> None:
    run = shop.run()
    first, second = (
        shop.publish(run),
        shop.publish(run, dict.fromkeys((t.name for t in TABLES), Fingerprint(0, 0, 0, 0))),
    )
    assert (first.status, second.status) == ("published", "already")
    assert first.published_at == second.published_at
    assert len(shop.ledger.history(shop.source)) == 1


def test_an_older_date_is_stored_but_not_served(shop: Shop) -> None:
    newer, older = shop.run(DAY), shop.run(DAY - timedelta(days=1))
    shop.publish(newer)
    assert shop.publish(older).status == "stored_older"
    assert served(shop) == {("lists", newer.run_id, 6), ("weeks", newer.run_id, 1)}
    assert [(p.run_id, p.status) for p in shop.ledger.history(shop.source)] == [
        (older.run_id, "stored_older"),
        (newer.run_id, "served"),
    ]
    assert shop.publish(older, {t.name: Fingerprint(0, 0, 0, 0) for t in TABLES}).status == "already"


def test_the_same_date_is_replaced_by_another_run_and_the_first_stays_readable(shop: Shop) -> None:
    first, second = shop.run(), shop.run()
    shop.publish(first)
    assert shop.publish(second).status == "published"
    assert served(shop) == {("lists", second.run_id, 6), ("weeks", second.run_id, 1)}
    kept = shop.read(f"SELECT count(*) FROM lists_by_run WHERE run_id = '{first.run_id}'")
    assert kept == [(6,)]


def test_going_back_in_time_needs_the_explicit_command(shop: Shop) -> None:
    old, new = shop.run(DAY - timedelta(days=1)), shop.run()
    shop.publish(old)
    shop.publish(new)
    with shop.connect() as conn:
        assert publication.roll_back(conn, shop.source, old.run_id, "ann", "complaints") == new.run_id
    assert {run for _, run, _ in served(shop)} == {old.run_id}
    with shop.connect() as conn, pytest.raises(PublicationError, match=r"no kept published run nowhere.*" + new.run_id):
        publication.roll_back(conn, shop.source, "nowhere", "ann", "")
    following = shop.run(DAY + timedelta(days=1))
    assert shop.publish(following).status == "published"


def test_a_rollback_is_logged_with_who_and_why(shop: Shop) -> None:
    old, new = shop.run(DAY - timedelta(days=1)), shop.run()
    shop.publish(old)
    shop.publish(new)
    with shop.connect() as conn:
        publication.roll_back(conn, shop.source, old.run_id, "ann", "complaints about lists")
    moves = shop.read(
        "SELECT from_run, to_run, cause, decided_by, reason FROM serve.pointer_moves"
        f" WHERE source = '{shop.source}' ORDER BY number",
        "analyst",
    )
    assert moves == [
        (None, old.run_id, "published", None, None),
        (old.run_id, new.run_id, "published", None, None),
        (new.run_id, old.run_id, "rolled_back", "ann", "complaints about lists"),
    ]


def test_sources_do_not_touch_each_other(shop: Shop) -> None:
    other = Shop(shop.environment, shop.source + "_other")
    mine, theirs = shop.run(DAY), other.run(DAY - timedelta(days=300))
    shop.publish(mine)
    assert other.publish(theirs).status == "published", "its older date is no other source's affair"
    assert {run for _, run, _ in served(shop)} == {mine.run_id}
    assert {run for _, run, _ in served(other)} == {theirs.run_id}


# ---------------------------------------------------------------------- refusals


def drop_a_row(rows: dict[Any, list[dict[str, Any]]]) -> None:
    rows[LISTS].pop()


def change_a_cell(rows: dict[Any, list[dict[str, Any]]]) -> None:
    rows[LISTS][0]["title"] = "another"


def lose_and_double(rows: dict[Any, list[dict[str, Any]]]) -> None:
    rows[LISTS][0] = {**rows[LISTS][1], "place": 99}


def empty_a_table(rows: dict[Any, list[dict[str, Any]]]) -> None:
    rows[WEEKS].clear()


@pytest.mark.parametrize("harm", [drop_a_row, change_a_cell, lose_and_double, empty_a_table])
def test_staged_rows_that_are_not_the_manifests_are_refused_and_nothing_changes(
    shop: Shop, harm: Callable[[dict[Any, list[dict[str, Any]]]], None]
) -> None:
    good, bad = shop.run(), shop.run()
    shop.publish(good)
    before = served(shop)
    manifest = shop.stage(bad)
    rows = shop.rows(bad)
    harm(rows)
    shop.stage(bad, rows)
    with pytest.raises(PublicationError, match=r"serve\.(lists|weeks): expected \d rows.* found \d rows"):
        shop.publish(bad, manifest)
    assert served(shop) == before
    assert shop.ledger.run(bad.run_id).status == "open"


def test_a_user_whom_the_vault_does_not_know_is_refused(shop: Shop) -> None:
    run = shop.run()
    rows = shop.rows(run)
    rows[LISTS][0]["user_key"] = "a stranger"
    with pytest.raises(PublicationError, match=r"serve.lists: 1 users are not in vault.user_keys"):
        shop.stage(run, rows)
    assert served(shop) == set()


def test_a_manifest_without_every_table_is_refused(shop: Shop) -> None:
    run = shop.run()
    manifest = shop.stage(run)
    del manifest["weeks"]
    with pytest.raises(PublicationError, match="weeks not in the manifest"):
        shop.publish(run, manifest)


def test_a_table_that_is_not_staged_is_refused(shop: Shop) -> None:
    run = shop.run()
    rows = shop.rows(run)
    manifest = shop.stage(run, {LISTS: rows[LISTS]}) | {"weeks": Fingerprint(1, 1, 1, 1)}
    with pytest.raises(PublicationError, match=r"serve.weeks: expected 1 rows.*, found nothing staged"):
        shop.publish(run, manifest)


def test_rows_changed_behind_a_served_runs_back_are_found(shop: Shop) -> None:
    run = shop.run()
    shop.publish(run)
    with shop.connect() as conn:
        assert publication.verify_served(conn, shop.source, TABLES) == []
    with shop.connect("owner") as conn:
        conn.execute(
            "UPDATE serve.lists SET score = 9 WHERE run_id = %s AND user_key = 'k0' AND place = 1", [run.run_id]
        )
    with shop.connect() as conn:
        [fault] = publication.verify_served(conn, shop.source, TABLES)
    assert fault.startswith(f"serve.lists, run {run.run_id}: published ")


def test_a_doubled_key_never_gets_into_the_warehouse(shop: Shop) -> None:
    run = shop.run()
    rows = shop.rows(run)
    rows[LISTS].append(rows[LISTS][0])
    with pytest.raises(psycopg.errors.UniqueViolation):
        shop.stage(run, rows)


def test_a_published_runs_rows_cannot_be_staged_again(shop: Shop) -> None:
    run = shop.run()
    shop.publish(run)
    before = served(shop)
    with pytest.raises(PublicationError, match=r"is published; its rows in serve\.lists are not replaced"):
        shop.stage(run)
    assert served(shop) == before


def test_publishing_inside_another_transaction_is_refused(shop: Shop) -> None:
    run = shop.run()
    manifest = shop.stage(run)
    with shop.connect() as conn:
        conn.execute("SELECT 1")
        with pytest.raises(PublicationError, match="inside a transaction"):
            publication.publish(conn, run, manifest, TABLES, through(DAY))


# ---------------------------------------------------------------------- attempts


def test_a_zombie_attempt_can_neither_publish_nor_stage(shop: Shop) -> None:
    zombie = shop.run()
    manifest = shop.stage(zombie)
    living = shop.ledger.new_attempt(zombie.run_id)
    assert shop.publish(zombie, manifest).status == "fenced"
    with pytest.raises(publication.Fenced, match="attempt 1 is fenced off, attempt 2 took over"):
        shop.stage(zombie)
    assert served(shop) == set()
    assert shop.publish(living).status == "published"


def test_a_stopped_publisher_that_holds_the_lock_is_ended_by_the_next_attempt(shop: Shop) -> None:
    run = shop.run()
    manifest = shop.stage(run)
    with warehouse.connect(shop.environment, "writer", publication.session_name(run)) as stuck:
        publication.lock_pointer(stuck, shop.source)
        living = shop.ledger.new_attempt(run.run_id)
        with warehouse.connect(shop.environment, "writer", publication.session_name(living)) as conn:
            assert publication.take_over(conn, living.run_id, publication.session_name(living)) == 1
            assert publication.publish(conn, living, manifest, TABLES, through(DAY)).status == "published"
        with pytest.raises(psycopg.OperationalError):
            stuck.execute("SELECT 1")
    assert {r for _, r, _ in served(shop)} == {run.run_id}


def test_two_runs_of_one_date_published_at_once_leave_one_whole_run(shop: Shop) -> None:
    runs = [shop.run(), shop.run()]
    manifests = [shop.stage(run) for run in runs]
    barrier, outcomes = threading.Barrier(2), []

    def go(run: Run, manifest: dict[str, Fingerprint]) -> None:
        with shop.connect() as conn:
            barrier.wait()
            outcomes.append(publication.publish(conn, run, manifest, TABLES, through(DAY)).status)

    threads = [threading.Thread(target=go, args=pair) for pair in zip(runs, manifests, strict=True)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert outcomes == ["published", "published"]
    assert len({run for _, run, _ in served(shop)}) == 1
    assert {run for _, run, _ in served(shop)} == {shop.ledger.history(shop.source)[0].run_id}, "the last committed"


def test_one_run_published_by_two_processes_at_once_is_published_once(shop: Shop) -> None:
    run = shop.run()
    manifest = shop.stage(run)
    barrier, outcomes = threading.Barrier(4), []

    def go() -> None:
        with shop.connect() as conn:
            barrier.wait()
            outcomes.append(publication.publish(conn, run, manifest, TABLES, through(DAY)).status)

    threads = [threading.Thread(target=go) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert Counter(outcomes) == {"published": 1, "already": 3}


# ---------------------------------------------------------------------- death and lost connections


def publish_slowly(environment: Any, run: Run, manifest: dict[str, Fingerprint], pause: float, told: Any) -> None:
    """Stage and publish, telling each step and pausing after it, so that a kill can fall between any two."""
    with warehouse.connect(environment, "writer", publication.session_name(run)) as conn:
        for table, rows in Shop(environment, run.source, count=1).rows(run).items():
            pieces = [batch(table, rows[at : at + 2]) for at in range(0, len(rows), 2)]

            def slowly(pieces: list[Any] = pieces) -> Any:
                for piece in pieces:
                    told.send("staging")
                    time.sleep(pause)
                    yield piece

            publication.stage(conn, run, table, slowly())
        original = publication._move_pointer

        def tell_and_move(*args: Any) -> None:
            told.send("moving")
            time.sleep(pause)
            original(*args)
            told.send("moved")
            time.sleep(pause)

        publication._move_pointer = tell_and_move
        publication.publish(conn, run, manifest, TABLES, through(run.business_date))
        told.send("published")
        time.sleep(pause)


@pytest.mark.parametrize(
    ("word", "times", "serves_new"),
    [("staging", 1, False), ("staging", 3, False), ("moving", 1, False), ("moved", 1, False), ("published", 1, True)],
)
def test_a_publisher_killed_at_any_instant_leaves_a_whole_run_and_a_retry_converges(
    shop: Shop, word: str, times: int, serves_new: bool
) -> None:
    good, run = shop.run(), shop.run()
    shop.publish(good)
    manifest = shop.stage(run, Shop(shop.environment, shop.source, count=1).rows(run))
    context = multiprocessing.get_context("fork")
    ear, mouth = context.Pipe(duplex=False)
    process = context.Process(target=publish_slowly, args=(shop.environment, run, manifest, 0.2, mouth))
    process.start()
    heard = 0
    while heard < times:
        assert ear.poll(20), "the publisher went silent"
        heard += ear.recv() == word
    assert process.pid is not None
    os.kill(process.pid, signal.SIGKILL)
    process.join()
    whole = {r: {("lists", r, 6), ("weeks", r, 1)} for r in (good.run_id, run.run_id)}
    assert served(shop) == whole[run.run_id if serves_new else good.run_id]

    retry = shop.ledger.new_attempt(run.run_id)
    if retry.published_at is None:
        shop.stage(retry, Shop(shop.environment, shop.source, count=1).rows(run))
    assert shop.publish(retry, manifest).status == ("already" if serves_new else "published")
    assert served(shop) == whole[run.run_id]
    assert len(shop.ledger.history(shop.source)) == 2


class LosesItsAnswer:
    """A connection that is cut around the commit: before it, or after it and before its answer."""

    def __init__(self, real: warehouse.Connection, after: bool) -> None:
        self.real, self.after = real, after

    def __getattr__(self, name: str) -> Any:
        return getattr(self.real, name)

    def __enter__(self) -> LosesItsAnswer:
        return self

    def __exit__(self, *error: object) -> None:
        self.real.close()

    def transaction(self) -> Any:
        outer = self

        class Cut:
            def __enter__(self) -> None:
                self.inner = outer.real.transaction()
                self.inner.__enter__()

            def __exit__(self, kind: Any, error: Any, trace: Any) -> None:
                if outer.after:
                    self.inner.__exit__(kind, error, trace)
                outer.real.close()
                if error is None:
                    raise psycopg.OperationalError("server closed the connection unexpectedly")

        return Cut()


@pytest.mark.parametrize("after_commit", [True, False])
def test_a_connection_cut_around_the_commit_is_resolved_to_one_publication(shop: Shop, after_commit: bool) -> None:
    run = shop.run()
    manifest = shop.stage(run)
    cuts = []

    def connect() -> Any:
        if not cuts:
            cuts.append(1)
            return LosesItsAnswer(shop.connect(), after_commit)
        return shop.connect()

    outcome = publication.publish_surely(connect, run, manifest, TABLES, through(DAY))
    assert outcome.status == "published"
    assert ("had committed" in outcome.message) is after_commit
    assert len(shop.ledger.history(shop.source)) == 1


# ---------------------------------------------------------------------- readers meanwhile


class Reader(threading.Thread):
    """Reads on until told to stop and counts what it saw."""

    def __init__(self, shop: Shop, read: Callable[[warehouse.Connection, str], str]) -> None:
        super().__init__()
        self.shop, self.look, self.saw, self.stopped = shop, read, Counter[str](), False

    def run(self) -> None:
        with self.shop.connect("crm_reader") as conn:
            while not self.stopped:
                self.saw[self.look(conn, self.shop.source)] += 1


def verdict(lists: int, weeks: int, runs: int) -> str:
    if not lists or not weeks:
        return "empty"
    return "whole" if (lists, weeks, runs) == (6, 1, 1) else "mixed"


def one_statement(conn: warehouse.Connection, source: str) -> str:
    with conn.transaction():
        [row] = conn.execute(ONE_STATEMENT, {"s": source}).fetchall()
    return verdict(*row)


def two_statements(conn: warehouse.Connection, source: str) -> str:
    with conn.transaction():
        lists = conn.execute("SELECT run_id FROM lists WHERE source = %s", [source]).fetchall()
        weeks = conn.execute("SELECT run_id FROM weeks WHERE source = %s", [source]).fetchall()
    return verdict(len(lists), len(weeks), len({*lists, *weeks}))


def pinned_pages(conn: warehouse.Connection, source: str) -> str:
    with conn.transaction():
        [(run_id,)] = conn.execute(
            "SELECT run_id FROM publications WHERE source = %s AND is_served", [source]
        ).fetchall()
    seen: list[tuple[Any, ...]] = []
    last: tuple[Any, ...] = ("", 0)
    while True:
        with conn.transaction():
            page = conn.execute(
                "SELECT user_id, place, title FROM lists_by_run WHERE source = %s AND run_id = %s"
                " AND (user_id, place) > (%s, %s) ORDER BY user_id, place LIMIT 4",
                [source, run_id, *last],
            ).fetchall()
        if not page:
            break
        seen += page
        last = page[-1][:2]
    return verdict(len(set(seen)), 1, len({title for _, _, title in seen}))


def watched(shop: Shop, publish: Callable[[], None]) -> Counter[str]:
    """What readers of three kinds saw while `publish` ran."""
    readers = [Reader(shop, look) for look in (one_statement, two_statements, pinned_pages)]
    for reader in readers:
        reader.start()
    try:
        publish()
    finally:
        for reader in readers:
            reader.stopped = True
        for reader in readers:
            reader.join()
    assert all(sum(reader.saw.values()) >= 10 for reader in readers), "a reader hardly read"
    return sum((reader.saw for reader in readers), Counter())


def test_readers_see_whole_runs_only_while_fifty_are_published(shop: Shop) -> None:
    shop.publish(shop.run())

    def fifty() -> None:
        for _ in range(50):
            shop.publish(shop.run())
            with shop.connect() as conn:
                remove_old_runs(conn, shop.source, TABLES, 7, timedelta(0))

    saw = watched(shop, fifty)
    assert set(saw) == {"whole"}, saw
    assert len(shop.ledger.history(shop.source)) == 51


def test_the_same_readers_catch_a_publisher_that_truncates(shop: Shop) -> None:
    """The planted bug that shows the test above can fail."""
    shop.publish(shop.run())

    def truncating() -> None:
        for _ in range(50):
            run = shop.run()
            rows = shop.rows(run)
            with shop.connect("owner") as conn:
                served_run = shop.ledger.served(shop.source)
                assert served_run is not None
                for table in TABLES:
                    conn.execute(f"TRUNCATE serve.{table.name}")
                    warehouse.copy_batches(conn, table, served_run.run_id, shop.source, [batch(table, rows[table])])
                    conn.commit()

    saw = watched(shop, truncating)
    assert saw["empty"] + saw["mixed"] > 0, saw


def test_the_date_guard_compares_business_dates_not_the_order_of_work(shop: Shop) -> None:
    days = [date(2026, 5, 1), date(2026, 4, 1), date(2026, 5, 2), date(2026, 4, 15)]
    outcomes = [shop.publish(shop.run(day)).status for day in days]
    assert outcomes == ["published", "stored_older", "published", "stored_older"]
