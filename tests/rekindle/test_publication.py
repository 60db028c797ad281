"""The CRM sees the last good night or the new one: never nothing, never a mixture, never an older one.

Death, lost connections and readers meanwhile: tests/faults.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from datetime import date, datetime, timedelta
from typing import Any

import psycopg
import pytest

from rekindle import publication, warehouse
from rekindle.fingerprint import Fingerprint
from rekindle.ledger import Run
from rekindle.publication import PublicationError
from tests.rekindle.warehouse_shop import DAY, LISTS, TABLES, WEEKS, Shop, batch, through


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


def test_what_a_rollback_went_back_to_was_seen_last_and_what_was_told_by_any_published_night_stays(shop: Shop) -> None:
    old, new, late = shop.run(DAY - timedelta(days=1)), shop.run(), shop.run(DAY - timedelta(days=9))
    for run, tries in ((old, (1, 2)), (new, (3,)), (late, (4,))):
        for number in tries:
            with shop.ledger.stage(run.run_id, "build_features") as detail:
                detail["number"] = number
        shop.publish(run)

    def seen(until: datetime | None = None) -> list[str]:
        return [one.run_id for one in shop.ledger.once_served(shop.source, until)]

    assert seen() == [new.run_id, old.run_id], "what was stored beside a newer night was never seen"
    with shop.connect() as conn:
        publication.roll_back(conn, shop.source, old.run_id, "ann", "complaints")
    assert seen() == [old.run_id, new.run_id]
    began = shop.ledger.run(new.run_id).published_at
    assert seen(began) == [old.run_id], "before the second night was published"
    told = shop.ledger.published_details(shop.source, "build_features")
    assert sorted(one["number"] for one in told) == [2, 3, 4], "the last try of each"
    assert [one["number"] for one in shop.ledger.published_details(shop.source, "build_features", began)] == [2]


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


def test_a_served_run_is_still_what_was_published_after_its_contract_has_grown(shop: Shop) -> None:
    run = shop.run()
    small = replace(LISTS, columns=tuple(c for c in LISTS.columns if c.name != "score"))
    with shop.connect() as conn:
        manifest = {
            table.name: publication.stage(conn, run, table, [batch(table, rows)])
            for table, rows in ((small, shop.rows(run)[LISTS]), (WEEKS, shop.rows(run)[WEEKS]))
        }
        publication.publish(conn, run, manifest, (small, WEEKS), through(DAY))
        assert publication.verify_served(conn, shop.source, TABLES) == [], "score came later, and is null there"


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


def test_the_date_guard_compares_business_dates_not_the_order_of_work(shop: Shop) -> None:
    days = [date(2026, 5, 1), date(2026, 4, 1), date(2026, 5, 2), date(2026, 4, 15)]
    outcomes = [shop.publish(shop.run(day)).status for day in days]
    assert outcomes == ["published", "stored_older", "published", "stored_older"]
