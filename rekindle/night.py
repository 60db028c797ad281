"""How a job reads and stores a table of its own run: by the snapshot ids that the ledger holds, never "latest"."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rekindle import lake
from rekindle.cli import Context, UsageError
from rekindle.contract import Table
from rekindle.fingerprint import of_frame
from rekindle.ledger import TableVersion

if TYPE_CHECKING:
    from pyspark.sql import DataFrame


def read(context: Context, table: Table) -> DataFrame:
    """The run's own version of a table.

    Raises:
        UsageError: no earlier stage of this run has written it.
    """
    version = context.ledger.tables(context.run_id).get(table.name)
    if version is None:
        raise UsageError(f"run {context.run_id} has no {table.name} yet; run the stages before this one")
    return lake.read(context.spark, context.source.name, table, version.snapshot_id)


def store(context: Context, table: Table, df: DataFrame, base: int | None = None) -> TableVersion:
    """Write a table on the run's branch, fingerprint what the lake then holds, and tell the ledger.

    `base` is the snapshot of the night this one builds on, to which the rows are added: then only these are read back,
    and a night does not cost more because the shop grows older.
    """
    spark, source = context.spark, context.source.name
    snapshot = lake.write(spark, source, table, context.run_id, df, base)
    if base is None:
        fingerprint = of_frame(lake.read(spark, source, table, snapshot.snapshot_id), table)
    else:
        kept = context.ledger.tables(str(context.this_run.plan["base"]))[table.name]
        added = lake.read_added(spark, source, table, base, snapshot.snapshot_id)
        fingerprint = kept.fingerprint + of_frame(added, table)
    version = TableVersion(
        table=table.name,
        snapshot_id=snapshot.snapshot_id,
        metadata_location=snapshot.metadata_location,
        fingerprint=fingerprint,
        accepted=False,
    )
    context.ledger.record_table(context.run_id, version)
    context.log.info("stored table=%s rows=%d snapshot=%d", table.name, version.fingerprint.rows, snapshot.snapshot_id)
    return version
