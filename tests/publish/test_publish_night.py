"""The night's publication: what Spark wrote into the lake is what the CRM reads, or nothing changes."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, date, datetime
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from jobs.publish import publish_night
from rekindle import contract, lake, settings, warehouse
from rekindle.cli import Context, DataRefused
from rekindle.contract import Table
from rekindle.fingerprint import Fingerprint, of_frame
from rekindle.ledger import Ledger, Run, RunKey, TableVersion
from schemas.catalogue import SERVED

DAY = date(2026, 4, 30)
VALUES: dict[str, Any] = {
    "string": "x",
    "boolean": True,
    "int": 1,
    "bigint": 1,
    "double": 0.5,
    "date": DAY,
    "timestamp": datetime(2026, 4, 30, tzinfo=UTC),
    "array<string>": ['a "quoted" word', "b"],
    "array<double>": [0.25, 0.125],
}


def some_rows(table: Table, count: int) -> list[dict[str, Any]]:
    """Rows that differ in their key; nullable columns are null in every other row."""
    rows = []
    for n in range(count):
        row = {c.name: None if c.nullable and n % 2 else VALUES[c.type] for c in table.columns}
        row.update(
            {
                k: v
                for k, v in {
                    "user_key": f"k{n}",
                    "rank": n + 1,
                    "week_start": date(2026, 1, 1 + n),
                    "name": f"f{n}",
                    "outcome_id": f"o{n}",
                    "segment_id": f"s{n}",
                    "group_name": f"g{n}",
                    "cohort_start": date(2026, 1, 1 + n),
                    "period_number": n,
                }.items()
                if k in row
            }
        )
        rows.append(row)
    return rows


@pytest.fixture(scope="module")
def shop_settings(environment: settings.Environment) -> settings.Settings:
    """The simulated shop's settings with the tests' warehouse."""
    warehouse.migrate(environment, SERVED)
    return settings.load("simulated_shop").model_copy(update={"environment": environment})


@pytest.fixture(scope="module")
def written(_session: Any) -> list[TableVersion]:
    """All served tables, written once by Spark: a commit to the lake costs seconds."""
    versions = []
    for table in SERVED:
        df = contract.frame(_session, table, *some_rows(table, 5))
        snapshot = lake.write(_session, "simulated_shop", table, "r" + "0" * 16, df)
        content = lake.read(_session, "simulated_shop", table, snapshot.snapshot_id)
        versions.append(
            TableVersion(
                table.name, snapshot.snapshot_id, snapshot.metadata_location, of_frame(content, table), accepted=True
            )
        )
    return versions


@pytest.fixture
def night(shop_settings: settings.Settings, written: list[TableVersion]) -> Callable[[str], Context]:
    """`night(run id)`: a context whose run has made all served tables, accepted."""

    def make(run_id: str) -> Context:
        ledger = Ledger(lambda: warehouse.connect(shop_settings, "writer"))
        source = shop_settings.source.name
        run = ledger.open_run(RunKey(run_id, source, DAY, "code", "conf", "ingest", 1, False), [], {})
        with warehouse.connect(shop_settings, "writer") as conn:
            users = [(f"k{n}", f"user {n}") for n in range(6)]  # the last has no rows and is held out
            warehouse.add_user_keys(conn, source, 1, users, lambda user_id: 0.01 if user_id == "user 5" else 0.5)
        for version in written:
            ledger.record_table(run_id, version)
        return context_of(shop_settings, ledger, run)

    return make


def context_of(loaded: settings.Settings, ledger: Ledger, run: Run) -> Context:
    return Context(loaded, run.business_date, ledger, False, run, None, {}, logging.getLogger("publish_night"))


def test_what_spark_wrote_is_what_the_crm_reads_and_again_is_a_no_op(night: Any) -> None:
    context = night("r" + "a" * 16)
    publish_night.run(context)
    assert context.detail["outcome"] == "published"
    with warehouse.connect(context.settings, "crm_reader") as conn:
        for table in SERVED:
            names = ["user_id" if n == "user_key" else n for n in table.names]
            found = conn.execute(
                f"SELECT {', '.join(names)} FROM {table.name} WHERE source = 'simulated_shop'"
            ).fetchall()
            expected = [
                tuple(f"user {v[1:]}" if k == "user_key" else v for k, v in row.items()) for row in some_rows(table, 5)
            ]
            assert sorted(map(repr, found)) == sorted(map(repr, expected))
        [(reach,)] = conn.execute(
            "SELECT data_through FROM publications WHERE source = 'simulated_shop' AND is_served"
        ).fetchall()
    assert reach == datetime(2026, 4, 30, 22, tzinfo=UTC), "midnight in Berlin, summer time"
    before = context.ledger.served("simulated_shop")
    again = replace(context, detail={})
    publish_night.run(again)
    assert again.detail == {"outcome": "already"}
    assert context.ledger.served("simulated_shop") == before


def test_without_accepted_checks_nothing_is_published(night: Any) -> None:
    context = night("r" + "b" * 16)
    before = context.ledger.served("simulated_shop")
    versions = context.ledger.tables(context.run_id)
    context.ledger.record_table(context.run_id, replace(versions["at_risk_users"], accepted=False))
    with pytest.raises(
        DataRefused, match=r"at_risk_users \(not accepted by its checks\); expected all of recommendations"
    ):
        publish_night.run(context)
    assert context.ledger.served("simulated_shop") == before


def test_a_lake_that_is_not_what_the_ledger_says_is_refused(night: Any) -> None:
    context = night("r" + "c" * 16)
    before = context.ledger.served("simulated_shop")
    version = context.ledger.tables(context.run_id)["user_profiles"]
    context.ledger.record_table(context.run_id, replace(version, fingerprint=Fingerprint(6, 6, 1, 1)))
    with pytest.raises(DataRefused, match=r"serve.user_profiles: expected 6 rows.*found 5 rows.*What is served stays"):
        publish_night.run(context)
    assert context.ledger.served("simulated_shop") == before


@pytest.mark.parametrize(
    ("day", "expected"),
    [
        (date(2026, 3, 28), datetime(2026, 3, 28, 23, tzinfo=UTC)),
        (date(2026, 3, 29), datetime(2026, 3, 29, 22, tzinfo=UTC)),
        (date(2026, 10, 25), datetime(2026, 10, 25, 23, tzinfo=UTC)),
    ],
)
def test_data_reach_to_local_midnight_across_the_change_of_clocks(day: date, expected: datetime) -> None:
    assert publish_night.data_through(day, ZoneInfo("Europe/Berlin")) == expected


def test_every_query_of_the_clients_guide_answers(night: Any) -> None:
    context = night("r" + "d" * 16)
    publish_night.run(context)
    text = (settings.ROOT / "docs/crm.md").read_text(encoding="utf-8")
    queries = [
        q for block in re.findall(r"```sql\n(.*?)```", text, re.DOTALL) for q in re.sub(r"--.*", "", block).split(";")
    ]
    queries = [q for q in queries if q.strip()]
    values = {":run": f"'{context.run_id}'", ":last_user_id": "''", ":last_rank": "0", "u0001": "user 1"}
    answered = []
    with warehouse.connect(context.settings, "crm_reader") as conn:
        for query in queries:
            for name, value in values.items():
                query = query.replace(name, value)
            answered.append(len(conn.execute(query).fetchall()))  # type: ignore[call-overload]
    assert len(answered) == 10
    assert all(answered), answered
