"""Stage the night's tables in the warehouse and serve them to the CRM, in one transaction.

Reads   tables (all that are served)
Writes  the same tables of the warehouse, for the CRM's views

Reads the lake's snapshots straight from their metadata files, without Spark.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from datetime import date, datetime, timedelta
from datetime import time as clock
from functools import partial
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

from rekindle import old_runs, publication, warehouse
from rekindle.cli import Context, DataRefused, main
from rekindle.contract import Table
from rekindle.copy_text import BatchError
from rekindle.failpoints import failpoint
from rekindle.ledger import Run, TableVersion
from schemas.catalogue import SERVED

if TYPE_CHECKING:
    import pyarrow as pa


def data_through(business_date: date, zone: ZoneInfo) -> datetime:
    """The end of the business date: the next local midnight, daylight saving included."""
    return datetime.combine(business_date + timedelta(days=1), clock.min, tzinfo=zone)


def accepted_versions(versions: dict[str, TableVersion], run_id: str) -> dict[Table, TableVersion]:
    """The run's version of every served table.

    Raises:
        DataRefused: a table was not written, or its checks have not let it pass: no proof, no publication.
    """
    unproven = [
        f"{table.name} ({'not accepted by its checks' if table.name in versions else 'not written'})"
        for table in SERVED
        if table.name not in versions or not versions[table.name].accepted
    ]
    if unproven:
        raise DataRefused(
            f"run {run_id}: {', '.join(unproven)}; expected all of {', '.join(t.name for t in SERVED)} accepted:"
            " validate_outputs has to pass first. What is served stays"
        )
    return {table: versions[table.name] for table in SERVED}


def batches(version: TableVersion, table: Table) -> pa.RecordBatchReader:
    """The snapshot's rows, streamed from its files."""
    from pyiceberg.table import StaticTable

    snapshot = StaticTable.from_metadata(version.metadata_location)
    columns = tuple(table.names)
    return snapshot.scan(snapshot_id=version.snapshot_id, selected_fields=columns).to_arrow_batch_reader()


def stage_all(
    context: Context, night: Run, versions: Mapping[Table, TableVersion], connect: Callable[[], warehouse.Connection]
) -> None:
    """Copy every table's snapshot into the warehouse, a transaction each; nobody reads it before it is published.

    What an earlier attempt has staged and proved is not staged again.
    """
    with connect() as conn:
        publication.take_over(conn, night.run_id, publication.session_name(night))
        failpoint("publish.after_take_over")
        proved = publication.staged(conn, night.run_id)
        for table, version in versions.items():
            if proved.get(table.name) == version.fingerprint:
                context.log.info("staged before table=%s rows=%d", table.name, version.fingerprint.rows)
                continue
            failpoint("publish.between_tables")
            started = time.monotonic()
            held = publication.stage(conn, night, table, batches(version, table))
            seconds = round(time.monotonic() - started, 2)
            context.detail[table.name] = {"rows": held.rows, "seconds": seconds}
            context.log.info("staged table=%s rows=%d seconds=%.2f", table.name, held.rows, seconds)


def run(context: Context) -> None:
    """Stage every table, publish all at once, remove runs beyond those kept."""
    settings, log = context.settings, context.log
    # A publisher that still hangs somewhere holds its locks no longer, and by a new attempt it can no longer publish.
    with warehouse.connect(settings, "writer") as conn:
        ended = publication.take_over(conn, context.run_id)
    if ended:
        log.warning("ended sessions of earlier attempts run=%s sessions=%d", context.run_id, ended)
    night = context.ledger.new_attempt(context.run_id)
    failpoint("publish.before_stage")
    connect = partial(warehouse.connect, settings, "writer", publication.session_name(night))
    versions = accepted_versions(context.ledger.tables(night.run_id), night.run_id)
    try:
        if night.published_at is None:
            stage_all(context, night, versions, connect)
        manifest = {table.name: version.fingerprint for table, version in versions.items()}
        through = data_through(night.business_date, settings.source.zone)
        share = settings.business.holdout_share
        outcome = publication.publish_surely(connect, night, manifest, SERVED, through, share)
    except (publication.PublicationError, BatchError) as error:
        raise DataRefused(f"{error}. What is served stays") from error
    context.detail["outcome"] = outcome.status
    log.info("outcome=%s published_at=%s %s", outcome.status, outcome.published_at, outcome.message)
    if outcome.status == "fenced":
        raise DataRefused(outcome.message)
    with connect() as conn:
        business = settings.business
        removed = old_runs.remove_old_runs(
            conn, night.source, SERVED, business.kept_runs, timedelta(hours=business.kept_hours)
        )
    if removed:
        log.info("removed rows of old runs source=%s runs=%s", night.source, ",".join(removed))


if __name__ == "__main__":
    main(run, "publish_night", spark=False)
