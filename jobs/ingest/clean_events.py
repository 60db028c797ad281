"""Turn landed lines into clean events; every line ends as clean, duplicate or quarantined.

Reads   bronze, events (the night this one builds on)
Writes  events, items, users, campaigns, campaign_targets, coupons, item_measures, duplicates, quarantine,
        vault.user_keys, ops.fates
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial

from pyspark.sql import DataFrame, SparkSession

from rekindle import identity, lake, line_cleaning, night, warehouse
from rekindle.cli import Context, DataRefused, main
from rekindle.contract import Table
from rekindle.failpoints import failpoint
from rekindle.line_cleaning import Secret
from rekindle.methods import holdout
from schemas.catalogue import REFERENCE
from schemas.duplicates import DUPLICATES
from schemas.events import EVENTS
from schemas.quarantine import QUARANTINE

BY_NAME = {table.name: table for table in (EVENTS, *REFERENCE)}


def new_users(cleaned: Mapping[str, DataFrame]) -> Iterator[tuple[str, str]]:
    """(pseudonym, raw id) of the users of clean lines, streamed a partition at a time."""
    for lines in cleaned.values():
        if "user_id" in lines.columns:
            users = lines.where("fate = 'clean'").select("user_key", "user_id").distinct()
            yield from ((row.user_key, row.user_id) for row in users.toLocalIterator())


def tables_of(context: Context) -> list[Table]:
    """The tables that the source's files fill, and where its other lines go."""
    told = {file.table for file in context.source.files.values()}
    return [*(BY_NAME[name] for name in sorted(told)), DUPLICATES, QUARANTINE]


def rows_of(spark: SparkSession, table: Table, cleaned: Mapping[str, DataFrame]) -> DataFrame:
    """What tonight's lines add to a table: nothing, where no file of its kind came or a run only changes conf."""
    if table is DUPLICATES and cleaned:
        return line_cleaning.duplicates(cleaned)
    if table is QUARANTINE and cleaned:
        return line_cleaning.quarantined(cleaned)
    if table.name in cleaned:
        return cleaned[table.name].where("fate = 'clean'")
    return spark.createDataFrame([], table.spark_schema())


def base_snapshots(context: Context) -> dict[str, int]:
    """The snapshots this night builds on, by table; none when it cleans everything from bronze.

    A night whose snapshots the lake no longer holds cannot be built on.
    """
    base = context.this_run.plan["base"]
    kept = context.ledger.tables(base) if base else {}
    wanted = tables_of(context)
    found = {t.name: kept[t.name].snapshot_id for t in wanted if t.name in kept}
    whole = len(found) == len(wanted) and all(
        lake.exists(context.spark, context.source.name, t, found[t.name]) for t in wanted
    )
    return found if whole else {}


def run(context: Context) -> None:
    """Clean the files that this night adds to the one it builds on."""
    spark, source, ledger = context.spark, context.source, context.ledger
    environment = context.settings.environment
    base = base_snapshots(context)
    before = {f.sha256 for f in ledger.run_files(str(context.this_run.plan["base"]))} if base else set()
    files = [f for f in ledger.run_files(context.run_id) if f.sha256 not in before]
    told_before = lake.read(spark, source.name, EVENTS, base[EVENTS.name]) if base else None
    secret = Secret(identity.read_key(environment.identity.key_file), environment.identity.key_version)
    cleaned = line_cleaning.clean(spark, files, source, str(environment.lake.bronze), secret, told_before)

    told = line_cleaning.counted(cleaned, files)
    faults = line_cleaning.unbalanced(told.fates, {f.sha256: f.name for f in files})
    if faults:
        raise DataRefused(f"{source.name} {context.business_date}: lines do not add up: {'; '.join(faults[:5])}")
    failpoint("clean.before_keys")
    salt = identity.read_key(environment.identity.holdout_salt_file)
    with warehouse.connect(environment, "writer") as connection:
        warehouse.add_user_keys(
            connection, source.name, secret.version, new_users(cleaned), partial(holdout.draw, salt, source.name)
        )
        connection.commit()
        warehouse.analyse(connection, "vault", "user_keys")
    failpoint("clean.before_store")
    for table in tables_of(context):
        night.store(context, table, rows_of(spark, table, cleaned), base.get(table.name))
    failpoint("clean.before_fates")
    ledger.record_fates(context.run_id, told.fates)
    totals = {fate: sum(getattr(f, fate) for f in told.fates) for fate in ("landed", *line_cleaning.FATES)}
    context.detail.update(
        totals,
        rules=told.rules,
        repairs=told.repairs,
        files=len(files),
        base=context.this_run.plan["base"] if base else None,
    )
    context.log.info("fates source=%s date=%s %s", source.name, context.business_date, as_keys(totals))


def as_keys(totals: dict[str, int]) -> str:
    """Counts as keys and values for a log line."""
    return " ".join(f"{k}={v}" for k, v in totals.items())


if __name__ == "__main__":
    main(run, "clean_events")
