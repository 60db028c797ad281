"""The ledger keeps what a night found and made; what contradicts itself is refused."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import psycopg
import pytest

from rekindle import warehouse
from rekindle.fingerprint import Fingerprint
from rekindle.ledger import CheckRecord, FileFate, Ledger, LedgerError, Model, ModelDecision, Run, RunKey
from tests.rekindle.warehouse_shop import DAY, TABLES, Shop, landed, version


def key(shop: Shop, run_id: str, **other: Any) -> RunKey:
    return replace(RunKey(f"{shop.source}_{run_id}", shop.source, DAY, "code", "conf", "ingest", 1, False), **other)


def accepted(shop: Shop, run_id: str, **other: Any) -> Run:
    """A run whose events the checks let pass."""
    run = shop.ledger.open_run(key(shop, run_id, **other), [], {})
    shop.ledger.record_table(run.run_id, version("events"))
    shop.ledger.accept_tables(run.run_id, ["events"])
    return run


# ---------------------------------------------------------------------- files


def test_files_are_told_back_in_landing_order_and_recorded_once(shop: Shop) -> None:
    late, early = landed("b.gz", "2"), landed("a.gz", "1", landing_date=DAY - timedelta(days=1))
    shop.ledger.add_files(shop.source, [late, early])
    shop.ledger.add_files(shop.source, [late])
    assert shop.ledger.files(shop.source) == [early, late]


def test_a_content_delivered_under_two_names_is_accepted_once(shop: Shop) -> None:
    first, again = landed("a.gz", "1"), landed("b.gz", "1")
    shop.ledger.add_files(shop.source, [first])
    with pytest.raises(LedgerError, match=r"already accepted under another name.*duplicate_delivery"):
        shop.ledger.add_files(shop.source, [again])
    refused = replace(again, status="refused", reason="duplicate_delivery: a.gz")
    shop.ledger.add_files(shop.source, [refused])
    assert shop.ledger.files(shop.source) == [first, refused]


def test_a_files_kind_and_columns_are_told_back_in_the_files_order(shop: Shop) -> None:
    file = landed("a.csv", "1", kind="items", columns=("sku", "a,b", "", "\\x00"))
    shop.ledger.add_files(shop.source, [replace(file, kind="", columns=())])
    shop.ledger.add_files(shop.source, [file])
    assert shop.ledger.files(shop.source) == [file], "what is told later replaces what was told before"
    run = shop.ledger.open_run(key(shop, "r"), ["1"], {})
    assert shop.ledger.run_files(run.run_id) == [file]


def test_a_ledger_from_before_files_had_kinds_is_migrated_and_keeps_its_files(shop: Shop) -> None:
    with shop.connect("owner") as conn:
        conn.execute("ALTER TABLE ops.files DROP COLUMN kind, DROP COLUMN columns")
        conn.execute(
            "INSERT INTO ops.files (source, name, landing_date, sha256, size_bytes, mtime_ns, lines, header_lines,"
            " status) VALUES (%s, 'a.gz', %s, '1', 10, 1, 3, 0, 'accepted')",
            [shop.source, DAY],
        )
    warehouse.migrate(shop.environment, TABLES)
    warehouse.migrate(shop.environment, TABLES)
    assert shop.ledger.files(shop.source) == [landed("a.gz", "1")]


def test_a_file_whose_landing_day_the_conf_tells_otherwise_is_accepted_for_the_new_day_alone(shop: Shop) -> None:
    file = landed("a.gz", "1")
    shop.ledger.add_files(shop.source, [file])
    moved = replace(file, landing_date=DAY + timedelta(days=1))
    shop.ledger.add_files(shop.source, [moved])
    shop.ledger.add_files(shop.source, [moved])
    reason = f"moved: it landed on {moved.landing_date}"
    assert shop.ledger.files(shop.source) == [replace(file, status="refused", reason=reason), moved]


def test_a_refused_file_needs_a_reason(shop: Shop) -> None:
    with pytest.raises(psycopg.errors.CheckViolation):
        shop.ledger.add_files(shop.source, [landed("a.gz", "1", status="refused")])


# ---------------------------------------------------------------------- runs


def test_opening_the_same_work_again_is_another_attempt_of_the_same_run(shop: Shop) -> None:
    shop.ledger.add_files(shop.source, [landed("a.gz", "1"), landed("b.gz", "2")])
    first = shop.ledger.open_run(key(shop, "r"), ["1"], {"base": None})
    again = shop.ledger.open_run(key(shop, "r"), ["1"], {"base": "another"})
    assert (first.attempt, again.attempt) == (1, 2)
    assert again.plan == {"base": None}, "the plan of the first attempt holds"
    assert [f.name for f in shop.ledger.run_files(first.run_id)] == ["a.gz"]
    assert shop.ledger.run(first.run_id) == again


def test_a_run_id_cannot_stand_for_other_work(shop: Shop) -> None:
    shop.ledger.open_run(key(shop, "r"), [], {})
    with pytest.raises(LedgerError, match=r"already known with another code_version \(code, now other\)"):
        shop.ledger.open_run(key(shop, "r", code_version="other"), [], {})
    assert shop.ledger.run(f"{shop.source}_r").attempt == 1, "the refused opening counted no attempt"


def test_a_run_takes_only_accepted_files(shop: Shop) -> None:
    shop.ledger.add_files(shop.source, [landed("bad.gz", "9", status="refused", reason="truncated")])
    with pytest.raises(LedgerError, match="files 9 are not accepted files"):
        shop.ledger.open_run(key(shop, "r"), ["9"], {})
    with pytest.raises(LedgerError, match="is not in the ledger"):
        shop.ledger.run(f"{shop.source}_r")


def test_a_failed_run_opens_again_and_a_published_one_stays_published(shop: Shop) -> None:
    run = shop.run()
    shop.ledger.mark(run.run_id, "failed", "the checks said no")
    assert (shop.ledger.run(run.run_id).status, shop.ledger.run(run.run_id).message) == ("failed", "the checks said no")
    again = shop.ledger.new_attempt(run.run_id)
    assert (again.status, again.message) == ("open", None)
    shop.publish(again)
    shop.ledger.mark(run.run_id, "failed", "the report could not be written")
    assert shop.ledger.run(run.run_id).status == "published"
    with pytest.raises(LedgerError, match="cannot be marked"):
        shop.ledger.mark("nowhere", "failed")


def test_a_night_builds_on_the_newest_accepted_run_not_later_than_itself(shop: Shop) -> None:
    accepted(shop, "old", business_date=DAY - timedelta(days=2))
    shop.ledger.open_run(key(shop, "unproven"), [], {})
    accepted(shop, "later", business_date=DAY + timedelta(days=1))
    accepted(shop, "other_rules", ingest_version="other")
    assert shop.ledger.base_run(shop.source, DAY, "ingest") == shop.ledger.run(f"{shop.source}_old")
    accepted(shop, "first", business_date=DAY)
    second = accepted(shop, "second", business_date=DAY)
    found = shop.ledger.base_run(shop.source, DAY, "ingest")
    assert found is not None
    assert found.run_id == second.run_id, "of one date the one accepted last"
    found = shop.ledger.base_run(shop.source, DAY, "ingest", second.run_id)
    assert found is not None
    assert found.run_id == f"{shop.source}_first", "a run is no base of itself"
    assert shop.ledger.base_run(shop.source, DAY - timedelta(days=3), "ingest") is None
    assert shop.ledger.base_run("another source", DAY, "ingest") is None


# ---------------------------------------------------------------------- what a run made


def test_a_retrys_table_replaces_the_earlier_and_has_to_be_accepted_anew(shop: Shop) -> None:
    run = shop.run()
    big = Fingerprint(10, 10, 2**75, 2**59)
    shop.ledger.record_table(run.run_id, version("events", fingerprint=big))
    shop.ledger.accept_tables(run.run_id, ["events"])
    assert shop.ledger.tables(run.run_id)["events"] == version("events", fingerprint=big, accepted=True)
    shop.ledger.record_table(run.run_id, version("events", snapshot_id=2))
    assert shop.ledger.tables(run.run_id) == {"events": version("events", snapshot_id=2)}
    with pytest.raises(LedgerError, match="lists cannot be accepted: never recorded"):
        shop.ledger.accept_tables(run.run_id, ["events", "lists"])
    assert not shop.ledger.tables(run.run_id)["events"].accepted, "all or none"


def test_a_published_runs_tables_are_not_rewritten(shop: Shop) -> None:
    run = shop.run()
    shop.ledger.record_table(run.run_id, version("lists", accepted=True))
    shop.publish(run)
    shop.ledger.record_table(run.run_id, version("lists", snapshot_id=77))
    assert shop.ledger.tables(run.run_id)["lists"] == version("lists", accepted=True), "the same rows again: a no-op"
    with pytest.raises(LedgerError, match="the same work must make the same rows"):
        shop.ledger.record_table(run.run_id, version("lists", rows=2))


def test_lines_that_do_not_add_up_are_refused(shop: Shop) -> None:
    run = shop.run()
    good = FileFate("a", landed=10, clean=7, duplicate=1, quarantined=2)
    shop.ledger.record_fates(run.run_id, [good])
    with pytest.raises(LedgerError, match=r"file b landed 10, but clean 7 \+ duplicate 1 \+ quarantined 1 = 9"):
        shop.ledger.record_fates(run.run_id, [good, FileFate("b", 10, 7, 1, 1)])
    assert shop.ledger.fates(run.run_id) == [good]
    with shop.connect() as conn, pytest.raises(psycopg.errors.CheckViolation):
        conn.execute("INSERT INTO ops.file_fates VALUES (%s, 'c', 10, 7, 1, 1)", [run.run_id])


def test_checks_are_told_back_in_order_and_a_retrys_replace_them(shop: Shop) -> None:
    run = shop.run()
    checks = [
        CheckRecord("events", "row_count", "critical", True, "1 to 10", "3"),
        CheckRecord("events", "known_type", "warning", False, "a known type", "'zap'", 2),
    ]
    shop.ledger.record_checks(run.run_id, "validate_events", checks)
    shop.ledger.record_checks(run.run_id, "validate_events", checks)
    assert shop.ledger.checks(run.run_id) == checks


def fails(ledger: Ledger, run_id: str) -> None:
    with ledger.stage(run_id, "build_features") as detail:
        detail["rows"] = 1
        raise ValueError("no such\ncolumn")


def test_a_stage_is_recorded_whether_it_ends_well_or_badly(shop: Shop) -> None:
    run = shop.run()
    with shop.ledger.stage(run.run_id, "clean_events") as detail:
        detail["rows"] = 3
    shop.ledger.new_attempt(run.run_id)
    with pytest.raises(ValueError, match="no such"):
        fails(shop.ledger, run.run_id)
    first, second = shop.ledger.stages(run.run_id)
    assert (first.name, first.attempt, first.status, first.detail) == ("clean_events", 1, "done", {"rows": 3})
    assert first.seconds is not None
    assert first.seconds >= 0
    assert (second.attempt, second.status) == (2, "failed")
    assert second.detail == {"rows": 1, "error": "ValueError: no such column"}


def test_a_stage_that_was_killed_has_failed_once_it_is_started_again(shop: Shop) -> None:
    run = shop.run()
    killed = shop.ledger._stage_started(run.run_id, "clean_events")  # whoever is killed says no more
    shop.ledger._stage_started(run.run_id, "validate_events")
    with shop.ledger.stage(run.run_id, "clean_events"):
        pass
    told = [(s.name, s.status, "error" in s.detail) for s in shop.ledger.stages(run.run_id)]
    assert told == [
        ("clean_events", "failed", True),
        ("validate_events", "running", False),
        ("clean_events", "done", False),
    ]
    shop.ledger._stage_ended(killed, "done", {"rows": 3})
    assert shop.ledger.stages(run.run_id)[0].status == "done", "it had only been stopped"


# ---------------------------------------------------------------------- models


def model(shop: Shop, run: Run, digest: str, **other: Any) -> Model:
    return replace(Model(shop.source, "churn", digest, f"models/{digest}", {"auc": 0.7}, DAY, run.run_id), **other)


def test_the_champion_is_who_was_last_made_it_and_every_decision_is_kept(shop: Shop) -> None:
    run = shop.run()
    assert shop.ledger.champion(shop.source, "churn") is None
    for digest in ("baseline", "boosted", "worse"):
        shop.ledger.add_model(model(shop, run, digest))
    shop.ledger.add_model(model(shop, run, "boosted", metrics={"auc": 0.71}))  # the same model, judged again
    shop.ledger.set_champion(shop.source, "churn", "baseline", run.run_id, {"why": "first"})
    shop.ledger.set_champion(shop.source, "churn", "boosted", run.run_id, {"why": "+0.05"})
    shop.ledger.set_champion(shop.source, "churn", "boosted", run.run_id, {"why": "+0.05"})
    shop.ledger.refuse_model(shop.source, "churn", "worse")
    shop.ledger.refuse_model(shop.source, "churn", "boosted")
    champion = shop.ledger.champion(shop.source, "churn")
    assert champion == model(shop, run, "boosted", status="champion", metrics={"auc": 0.71})
    statuses = {m.digest: m.status for m in shop.ledger.models(shop.source, "churn")}
    assert statuses == {"baseline": "retired", "boosted": "champion", "worse": "refused"}
    kept = shop.read(
        f"SELECT before_digest, digest, decision FROM ops.champion_decisions WHERE source = '{shop.source}'"
        " ORDER BY number",
        "writer",
    )
    assert kept == [(None, "baseline", {"why": "first"}), ("baseline", "boosted", {"why": "+0.05"})]
    assert shop.ledger.champion(shop.source, "recommender") is None
    with pytest.raises(LedgerError, match="there is no churn model nobody"):
        shop.ledger.set_champion(shop.source, "churn", "nobody", run.run_id, {})


def test_a_retry_serves_what_the_run_served_whoever_is_champion_now(shop: Shop) -> None:
    run = shop.run()
    for digest in ("one", "two"):
        shop.ledger.add_model(model(shop, run, digest))
    shop.ledger.record_run_champion(run.run_id, "churn", "one")
    shop.ledger.record_run_champion(run.run_id, "churn", "two")
    assert {k: m.digest for k, m in shop.ledger.run_champions(run.run_id).items()} == {"churn": "one"}
    assert [m.digest for m in shop.ledger.models(shop.source, "churn", run.run_id)] == ["one", "two"]
    assert shop.ledger.models(shop.source, "churn", "another run") == []


def decided(shop: Shop, run: Run, digest: str, verdict: Any = "promoted", **other: Any) -> ModelDecision:
    return replace(ModelDecision(run.run_id, shop.source, "churn", digest, "gbt", verdict, "better"), **other)


def test_a_runs_decisions_and_champions_are_made_together_or_not_at_all(shop: Shop) -> None:
    run = shop.run()
    for digest in ("b", "x", "y"):
        shop.ledger.add_model(model(shop, run, digest))
    rows = [decided(shop, run, "x", against="b", low=0.1, judged_rows=90, flip_rate=0.25), decided(shop, run, "b")]
    moves: list[tuple[str, dict[str, Any]]] = [("b", {}), ("x", {})]
    assert shop.ledger.conclude(shop.source, "churn", run.run_id, None, moves, rows)
    assert not shop.ledger.conclude(shop.source, "churn", run.run_id, None, [("y", {})], rows), "x stands by now"
    assert shop.ledger.conclude(shop.source, "churn", run.run_id, "x", [], [decided(shop, run, "b", "kept")])
    assert shop.ledger.model_decisions(shop.source) == rows, "the first word of a run counts"
    assert shop.ledger.model_decisions(shop.source, run.run_id) == rows
    assert shop.ledger.model_decisions(shop.source, "another run") == []
    assert shop.ledger.champions_before(shop.source, "churn") == ["b", "x"]
    with pytest.raises(LedgerError, match="there is no churn model nobody"):
        shop.ledger.conclude(
            shop.source, "churn", run.run_id, "x", [("y", {}), ("nobody", {})], [decided(shop, run, "y")]
        )
    champion = shop.ledger.champion(shop.source, "churn")
    assert champion is not None
    assert champion.digest == "x"
    assert shop.ledger.model_decisions(shop.source) == rows


def test_a_ledger_from_before_models_could_be_rolled_back_is_migrated_and_keeps_its_champions(shop: Shop) -> None:
    run = shop.run()
    shop.ledger.add_model(model(shop, run, "b"))
    shop.ledger.set_champion(shop.source, "churn", "b", run.run_id, {"reason": "first"})
    with shop.connect("owner") as conn:
        conn.execute("DROP TABLE ops.model_decisions")
        conn.execute("DELETE FROM ops.champion_decisions WHERE run_id IS NULL")
        conn.execute("DELETE FROM ops.champions WHERE since_run IS NULL")
        conn.execute("ALTER TABLE ops.champion_decisions ALTER COLUMN run_id SET NOT NULL")
        conn.execute("ALTER TABLE ops.champions ALTER COLUMN since_run SET NOT NULL")
    for _ in range(2):
        warehouse.migrate(shop.environment, TABLES)
    shop.ledger.add_model(model(shop, run, "c"))
    shop.ledger.roll_back_model(shop.source, "churn", "b", "c", "why", "ann")
    assert shop.ledger.champions_before(shop.source, "churn") == ["b", "c"]
    assert [(d.digest, d.against, d.decided_by) for d in shop.ledger.model_decisions(shop.source)] == [
        ("c", "b", "ann")
    ]


# ---------------------------------------------------------------------- connections


def test_a_lost_connection_is_tried_again_and_a_wrong_statement_is_not(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = shop.run()
    monkeypatch.setattr("tenacity.nap.time.sleep", lambda seconds: None)
    tries = []

    def flaky() -> Any:
        tries.append(1)
        if len(tries) < 3:
            raise psycopg.OperationalError("connection refused")
        return shop.connect()

    assert Ledger(flaky).run(run.run_id) == run
    assert len(tries) == 3
    tries[:] = [1, 1, 1]
    with pytest.raises(psycopg.errors.CheckViolation):
        Ledger(flaky).mark(run.run_id, "nonsense")  # type: ignore[arg-type]
    assert len(tries) == 4


def test_a_server_that_stays_away_is_given_up_with_its_own_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tenacity.nap.time.sleep", lambda seconds: None)

    def down() -> Any:
        raise psycopg.OperationalError("connection refused")

    with pytest.raises(psycopg.OperationalError, match="connection refused"):
        Ledger(down).served("shop")
