"""The lake: Iceberg tables by source, written on a run's branch, read by snapshot id, never "latest".

A job writes to the run's branch; checks look at that snapshot; main only follows, for people. Later stages read the
snapshot ids that the ledger holds.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING, Any

from rekindle.contract import IDENTIFIER, Table, conform
from rekindle.failpoints import failpoint
from rekindle.spark_conf import CATALOG

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

RUN_ID = re.compile(r"r[0-9a-f]{16}")


class LakeError(Exception):
    """The lake does not hold what the ledger says, or a name is not legal."""


@dataclass(frozen=True)
class Snapshot:
    """One version of one table: enough to read it with or without a catalog."""

    table: str
    snapshot_id: int
    metadata_location: str


def qualified(source: str, table: Table) -> str:
    """The table's full name.

    Raises:
        LakeError: the source is not an identifier.
    """
    if not IDENTIFIER.fullmatch(source):
        raise LakeError(f"source {source!r} is not an identifier")
    return f"{CATALOG}.{source}.{table.name}"


def read(spark: SparkSession, source: str, table: Table, snapshot_id: int) -> DataFrame:
    """The table as of a snapshot, in the contract's columns."""
    return conform(spark.read.option("versionAsOf", snapshot_id).table(qualified(source, table)), table)


def read_added(spark: SparkSession, source: str, table: Table, base: int, snapshot_id: int) -> DataFrame:
    """The rows that were appended between two snapshots, in the contract's columns."""
    if base == snapshot_id:  # Iceberg calls a snapshot no ancestor of itself
        return spark.createDataFrame([], table.spark_schema())
    added = spark.read.option("start-snapshot-id", base).option("end-snapshot-id", snapshot_id)
    return conform(added.table(qualified(source, table)), table)


def write(
    spark: SparkSession, source: str, table: Table, run_id: str, df: DataFrame, base: int | None = None
) -> Snapshot:
    """Write `df` on the run's branch and return the new snapshot.

    With `base` the branch starts at that snapshot and the rows are added to it; without, the branch starts at main
    and its whole content is replaced. A retry makes the branch anew, so that twice is once.

    Raises:
        LakeError: the table is older than its contract and lacks a column.
    """
    name = qualified(source, table)
    branch = _branch(run_id)
    spark.sql(f"CREATE NAMESPACE IF NOT EXISTS {CATALOG}.{source}")
    spark.sql(table.iceberg_ddl(name))
    absent = [c for c in table.names if c not in spark.table(name).columns]
    if absent:
        raise LakeError(f"table {name} has no {', '.join(absent)}, which its contract has: run `make migrate`")
    if base is not None:
        spark.sql(f"ALTER TABLE {name} CREATE OR REPLACE BRANCH {branch} AS OF VERSION {int(base)}")
    elif _load(spark, name).currentSnapshot() is not None:
        spark.sql(f"ALTER TABLE {name} CREATE OR REPLACE BRANCH {branch}")
    else:
        # A table's first night, perhaps its second attempt: Iceberg replaces no branch of a main without a snapshot,
        # and need not, since the branch's whole content is replaced below.
        spark.sql(f"ALTER TABLE {name} CREATE BRANCH IF NOT EXISTS {branch}")
    failpoint("lake.before_write")
    # Rows are written where they are: a shuffle by month and a sort would cost more than a few files more.
    writer = (
        conform(df, table)
        .writeTo(f"{name}.branch_{branch}")
        .options(**{"distribution-mode": "none", "fanout-enabled": "true"})
    )
    if base is not None:
        writer.append()
    else:
        from pyspark.sql import functions as F

        writer.overwrite(F.lit(True))
    failpoint("lake.after_write")
    return _snapshot_of(spark, name, table.name, branch)


def follow(
    spark: SparkSession, source: str, table: Table, run_id: str, day: date, snapshot_id: int, keep_days: int
) -> bool:
    """Pin the accepted snapshot by the night's tag, let main follow it if it can, and drop the run's branch.

    Returns whether main moved. It does not where a newer night went before: main is for people, and every job reads
    the ledger's snapshot, which the tag keeps for `keep_days`.
    """
    name = qualified(source, table)
    branch = _branch(run_id)
    loaded = _load(spark, name)
    tag = f"night_{day:%Y_%m_%d}_{branch}"
    spark.sql(f"ALTER TABLE {name} CREATE OR REPLACE TAG {tag} AS OF VERSION {snapshot_id} RETAIN {keep_days} DAYS")
    failpoint("lake.before_main")
    main = loaded.currentSnapshot()
    moved = main is None or _is_ancestor(loaded, main.snapshotId(), snapshot_id)
    if moved and (main is None or int(main.snapshotId()) != snapshot_id):  # a retry finds main there already
        spark.sql(f"CALL {CATALOG}.system.fast_forward('{source}.{table.name}', 'main', '{branch}')")
    spark.sql(f"ALTER TABLE {name} DROP BRANCH IF EXISTS {branch}")
    return moved


def exists(spark: SparkSession, source: str, table: Table, snapshot_id: int) -> bool:
    """Whether the table still holds that snapshot."""
    name = qualified(source, table)
    return bool(spark.catalog.tableExists(name)) and _load(spark, name).snapshot(int(snapshot_id)) is not None


def _branch(run_id: str) -> str:
    if not RUN_ID.fullmatch(run_id):
        raise LakeError(f"run id {run_id!r} is not r and 16 hex digits")
    return run_id


def _load(spark: SparkSession, name: str) -> Any:
    """Iceberg's own table object. Its metadata tables would say the same at the price of a Spark job each."""
    jvm: Any = spark._jvm
    return jvm.org.apache.iceberg.spark.Spark3Util.loadIcebergTable(spark._jsparkSession, name)


def _snapshot_of(spark: SparkSession, name: str, table: str, branch: str) -> Snapshot:
    loaded = _load(spark, name)
    loaded.refresh()
    found = loaded.snapshot(branch)
    if found is None:
        raise LakeError(f"{name}: the branch {branch} has no snapshot after it was written")
    return Snapshot(table, int(found.snapshotId()), str(loaded.operations().current().metadataFileLocation()))


def _is_ancestor(loaded: Any, ancestor: int, snapshot_id: int) -> bool:
    """Whether `ancestor` lies on the way back from `snapshot_id`; walks at most the table's kept snapshots."""
    current = loaded.snapshot(snapshot_id)
    while current is not None:
        if int(current.snapshotId()) == ancestor:
            return True
        parent = current.parentId()
        current = None if parent is None else loaded.snapshot(parent)
    return False
