"""Nights that add to one another store the same rows of retention as one that counts everything: same fingerprints."""

from __future__ import annotations

import logging
from dataclasses import replace
from datetime import date, timedelta
from typing import Any

import pytest

from jobs.profile.build_features import COUNTED, store_retention
from rekindle import night, settings, warehouse
from rekindle.cli import Context
from rekindle.contract import frame
from rekindle.lake import LakeError
from rekindle.lake_schema import add_columns
from rekindle.ledger import Ledger, RunKey
from schemas.catalogue import LAKE
from schemas.cohort_retention import COHORT_RETENTION
from schemas.events import EVENTS
from schemas.period_counts import PERIOD_COUNTS
from schemas.period_metrics import PERIOD_METRICS
from schemas.repurchase_curves import REPURCHASE_CURVES
from schemas.retention_curves import RETENTION_CURVES
from schemas.retention_windows import RETENTION_WINDOWS
from schemas.user_segments import USER_SEGMENTS
from tests.methods import retention_story as story
from tests.rekindle.conftest import environment

__all__ = ["environment"]

TOLD = (PERIOD_METRICS, COHORT_RETENTION, RETENTION_CURVES, RETENTION_WINDOWS, REPURCHASE_CURVES)
NIGHTS = (date(2026, 3, 1), date(2026, 3, 2), date(2026, 4, 10))  # the last is older than its base by five weeks
LOG = story.late_beginnings(story.random_log(5, size=500), date(2026, 3, 20))
VERSION = "retention_version"


class Shop:
    """Nights of one source, each as clean_events and build_features leave it."""

    def __init__(self, spark: Any, environment: settings.Environment, name: str = "retention_shop") -> None:
        loaded = settings.load("simulated_shop")
        source = loaded.source.model_copy(update={"name": name})
        self.settings = loaded.model_copy(update={"environment": environment, "source": source})
        self.ledger = Ledger(lambda: warehouse.connect(environment, "writer"))
        self.spark = spark
        self.count = 0

    def context(self, day: date, base: Context | None) -> Context:
        self.count += 1
        key = RunKey(
            f"r00000000000080{self.count:02}", self.settings.source.name, day, "code", "conf", "ingest", 1, False
        )
        run = self.ledger.open_run(key, [], {"train": False, "base": base.run_id if base else None})
        return Context(self.settings, day, self.ledger, False, run, self.spark, {}, logging.getLogger("build_features"))

    def clean(self, context: Context, base: Context | None) -> None:
        after = base.business_date if base else date.min
        landed = [row for row in LOG if after < row["landing_date"] <= context.business_date]
        built_on = self.ledger.tables(base.run_id)[EVENTS.name].snapshot_id if base else None
        with self.ledger.stage(context.run_id, "clean_events") as detail:
            night.store(context, EVENTS, frame(self.spark, EVENTS, *landed), built_on)
            detail["base"] = base.run_id if base else None

    def night(self, day: date, base: Context | None = None) -> Context:
        context = self.context(day, base)
        self.clean(context, base)
        number = NIGHTS.index(day)
        moving = [{"user_key": f"u{n:02d}", "segment_id": f"s{(n + number * (n % 5 == 0)) % 3}"} for n in range(30)]
        with self.ledger.stage(context.run_id, "build_features") as detail:
            night.store(context, USER_SEGMENTS, frame(self.spark, USER_SEGMENTS, *moving))
            store_retention(context, night.read(context, EVENTS), day + timedelta(days=1))
            detail.update(context.detail)
        self.ledger.accept_tables(context.run_id, [t.name for t in (EVENTS, USER_SEGMENTS, *COUNTED, *TOLD)])
        return context

    def prints(self, context: Context) -> dict[str, str]:
        versions = self.ledger.tables(context.run_id)
        return {table.name: str(versions[table.name].fingerprint) for table in (*COUNTED, *TOLD)}


@pytest.mark.long
def test_adding_to_a_night_leaves_what_counting_everything_leaves(
    spark: Any, environment: settings.Environment
) -> None:
    shop = Shop(spark, environment)
    first = shop.night(NIGHTS[0])
    assert first.detail["retention_base"] is None
    second = shop.night(NIGHTS[1], first)
    third = shop.night(NIGHTS[2], second)
    assert [n.detail["retention_base"] for n in (second, third)] == [first.run_id, second.run_id]
    assert shop.prints(third) == shop.prints(shop.night(NIGHTS[2]))
    skipped = shop.night(NIGHTS[2], first)
    assert skipped.detail["retention_base"] == first.run_id
    assert shop.prints(skipped) == shop.prints(third)


@pytest.mark.long
def test_a_lake_from_before_groups_is_migrated_counted_once_and_then_added_to(
    spark: Any, environment: settings.Environment
) -> None:
    shop = Shop(spark, environment, "older_shop")
    shop.count = 70
    first = shop.context(NIGHTS[0], None)
    shop.clean(first, None)
    later = {"group_kind", "group_name", "first_ts", "first_purchase_ts"}
    with shop.ledger.stage(first.run_id, "build_features") as detail:
        night.store(first, USER_SEGMENTS, frame(spark, USER_SEGMENTS))
        for table in (*COUNTED, *TOLD):
            keeps = later if table in (PERIOD_COUNTS, PERIOD_METRICS, REPURCHASE_CURVES) else set()
            names = [name for name in table.names if name not in later - keeps]
            key = tuple(name for name in table.key if name in names)
            older = replace(table, key=key, columns=tuple(table.by_name[name] for name in names))
            night.store(first, older, frame(spark, older, {}))
        detail[VERSION] = "before groups"
    shop.ledger.accept_tables(first.run_id, [t.name for t in (EVENTS, USER_SEGMENTS, *COUNTED, *TOLD)])
    with pytest.raises(LakeError, match=r"has no first_ts, first_purchase_ts, .*run `make migrate`"):
        shop.night(NIGHTS[1], first)
    held = {key: spark.conf.get(f"spark.sql.catalog.lake.{key}") for key in ("uri", "warehouse")}
    lake = environment.lake.model_copy(update={"catalog_uri": held["uri"], "warehouse": held["warehouse"]})
    added = add_columns(environment.model_copy(update={"lake": lake}), LAKE)
    assert len([column for column in added if column.startswith("older_shop.")]) == 10
    for table in LAKE:
        if spark.catalog.tableExists(f"lake.older_shop.{table.name}"):
            spark.catalog.refreshTable(f"lake.older_shop.{table.name}")
    second = shop.night(NIGHTS[1], first)
    third = shop.night(NIGHTS[2], second)
    assert [n.detail["retention_base"] for n in (second, third)] == [None, second.run_id]
    assert shop.prints(third) == shop.prints(shop.night(NIGHTS[2]))


def test_a_night_adds_only_to_what_was_accepted_and_made_by_the_same_code_and_conf(
    spark: Any, environment: settings.Environment
) -> None:
    shop = Shop(spark, environment)
    shop.count = 50
    first = shop.context(NIGHTS[0], None)
    shop.clean(first, None)
    with shop.ledger.stage(first.run_id, "build_features") as detail:
        night.store(first, COUNTED[1], spark.createDataFrame([], COUNTED[1].spark_schema()))
        detail[VERSION] = "this"
    second = shop.context(NIGHTS[1], first)

    def base(version: str = "this", stage: str = "build_features") -> night.Base | None:
        return night.grown_from(second, stage, (EVENTS, COUNTED[1]), {VERSION: version})

    assert base() is None, "clean_events has not said that it added to anything"
    shop.clean(second, first)
    assert base() is None, "nothing was accepted"
    shop.ledger.accept_tables(first.run_id, [EVENTS.name, COUNTED[1].name])
    versions = shop.ledger.tables(first.run_id)
    held = {table.name: versions[table.name].snapshot_id for table in (EVENTS, COUNTED[1])}
    assert base() == night.Base(first.run_id, held)
    assert base("another") is None
    assert base(stage="another") is None
    gone = replace(versions[COUNTED[1].name], snapshot_id=4711)
    shop.ledger.record_table(first.run_id, gone)
    assert base() is None, "the lake no longer holds it"
