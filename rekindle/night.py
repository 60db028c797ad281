"""How a job reads and stores a table of its own run: by the snapshot ids that the ledger holds, never "latest"."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING, Any

from rekindle import lake
from rekindle.cli import Context, UsageError
from rekindle.contract import Table
from rekindle.failpoints import failpoint
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


def read_if_any(context: Context, table: Table) -> DataFrame | None:
    """The run's own version of a table that not every source has; None where the run has none."""
    return read(context, table) if table.name in context.ledger.tables(context.run_id) else None


@dataclass(frozen=True)
class Past:
    """Tables as an earlier night served them, by name."""

    run_id: str
    business_date: date
    frames: Mapping[str, DataFrame]

    @property
    def frame(self) -> DataFrame:
        """The first of the tables that were asked for."""
        return next(iter(self.frames.values()))


def last_served(context: Context, *tables: Table) -> Past | None:
    """The tables of the publication that was served when this night began, or, where the lake does not keep them all,
    of the one that was served before it; None without any.

    What was served counts, whatever its date, and after a rollback what was rolled back to: what users of the tables
    saw last is what they compare with. As in `served_before`, a job that is started again finds what it found.
    """
    spark, source = context.spark, context.source.name
    for past in context.ledger.once_served(source, context.this_run.published_at):
        if past.run_id == context.run_id:
            continue
        versions = context.ledger.tables(past.run_id)
        kept = [(t, versions[t.name].snapshot_id) for t in tables if t.name in versions]
        if len(kept) == len(tables) and all(lake.exists(spark, source, t, snapshot) for t, snapshot in kept):
            frames = {t.name: lake.read(spark, source, t, snapshot) for t, snapshot in kept}
            return Past(past.run_id, past.business_date, frames)
    return None


def served_before(context: Context, table: Table, nights: int) -> list[tuple[date, DataFrame]]:
    """A table of the latest `nights` nights that were served before this one and that the lake still keeps, by
    business date, the latest first.

    Of several runs of a night the last that was served before this run was published counts: a job of a published run
    that is started again finds what it found.
    """
    source, until = context.source.name, context.this_run.published_at
    found: dict[date, DataFrame] = {}
    for past in context.ledger.history(source):
        day = past.business_date
        late = until is not None and past.published_at >= until
        if late or past.status != "served" or day >= context.business_date or day in found:
            continue
        version = context.ledger.tables(past.run_id).get(table.name)
        if version is not None and lake.exists(context.spark, source, table, version.snapshot_id):
            found[day] = lake.read(context.spark, source, table, version.snapshot_id)
    return sorted(found.items(), key=lambda pair: pair[0], reverse=True)[:nights]


@dataclass(frozen=True)
class Base:
    """The night to whose rows this one adds, and its versions of some tables."""

    run_id: str
    snapshots: dict[str, int]


def grown_from(context: Context, stage: str, tables: Sequence[Table], made_by: Mapping[str, object]) -> Base | None:
    """The night whose events tonight's were added to, where this stage may add to its `tables`, too; None otherwise.

    It may if checks accepted them, the lake still holds them, and that night's stage said `made_by` in its detail:
    what decides the rows, such as a digest of code and conf.
    """
    ledger, source = context.ledger, context.source.name
    base = _said(context, context.run_id, "clean_events").get("base")
    if base is None or base != context.this_run.plan["base"]:
        return None
    said = _said(context, base, stage)
    versions = ledger.tables(base)
    found = [versions.get(table.name) for table in tables]
    if any(said.get(key) != value for key, value in made_by.items()):
        return None
    if not all(version is not None and version.accepted for version in found):
        return None
    snapshots = {version.table: version.snapshot_id for version in found if version is not None}
    if not all(lake.exists(context.spark, source, table, snapshots[table.name]) for table in tables):
        return None
    return Base(base, snapshots)


def _said(context: Context, run_id: str, stage: str) -> dict[str, Any]:
    """What the stage told of itself when it was last done; nothing where it never was."""
    done = [
        record.detail for record in context.ledger.stages(run_id) if (record.name, record.status) == (stage, "done")
    ]
    return done[-1] if done else {}


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
    failpoint("night.before_record")
    context.ledger.record_table(context.run_id, version)
    context.log.info("stored table=%s rows=%d snapshot=%d", table.name, version.fingerprint.rows, snapshot.snapshot_id)
    return version
