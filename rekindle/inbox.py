"""Taking what the CRM wrote back: outcomes become a landed file of the night, cleaned and counted like any other.

First the outcomes are given a landing date and a batch, in one transaction; then each batch that the ledger does not
know is written out and taken into bronze. A night that dies in between finds the batch and writes the same bytes.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import TYPE_CHECKING, Any

from psycopg import sql
from psycopg.rows import dict_row

from rekindle.failpoints import failpoint
from rekindle.inbox_tables import OPTIONAL
from rekindle.landing_copies import take
from rekindle.ledger_access import Access, repeatable
from rekindle.ledger_rows import LandedFile
from rekindle.refusals import DataRefused
from rekindle.sources import INBOX, INBOX_EVENT, INBOX_KIND

if TYPE_CHECKING:
    from pathlib import Path

    from rekindle.ledger import Ledger
    from rekindle.settings import Settings

TOLD = ("outcome_id", "kind", "user_id", "happened_at", *OPTIONAL, "is_user_known")
ROWS_AT_A_TIME = 2_000


@dataclass(frozen=True)
class Batch:
    """The outcomes that one night took together; numbered within their source."""

    source: str
    landing_date: date
    number: int
    outcomes: int

    @property
    def file_name(self) -> str:
        """The name of the file that they become."""
        return f"inbox-{self.landing_date}-{self.number}.jsonl"


class Inbox(Access):
    """The inbox through connections of the role writer, one per call."""

    @repeatable
    def assign(self, source: str, day: date, end: datetime, wait_days: int) -> int:
        """Give the outcomes that happened before `end`, the end of `day`, that landing date and one batch; how many.

        Those of a user whom the vault does not know wait until `wait_days` after they happened, and are then taken as
        such. A night of a day for which, or for a later one, a run was opened before takes nothing: what it makes when
        it is repeated must not hang on what was written since.
        """
        values = {"source": source, "day": day, "end": end, "waited": end - timedelta(days=wait_days)}
        with self._connect() as conn:
            conn.execute("INSERT INTO inbox.sources (source) VALUES (%(source)s) ON CONFLICT DO NOTHING", values)
            # Of two nights at once the second sees what the first has taken, and a batch never grows.
            conn.execute("SELECT FROM inbox.sources WHERE source = %(source)s FOR NO KEY UPDATE", values)
            taken = conn.execute(
                "WITH next AS (SELECT coalesce(max(number), 0) + 1 AS batch FROM inbox.batches"
                " WHERE source = %(source)s),"
                " waiting AS (SELECT outcome_id, EXISTS (SELECT FROM vault.user_keys k WHERE k.source = i.source"
                " AND k.user_id = i.user_id) AS is_known FROM inbox.outcomes i WHERE source = %(source)s"
                " AND landing_date IS NULL AND happened_at < %(end)s"
                " AND NOT EXISTS (SELECT FROM ops.runs WHERE source = %(source)s AND business_date >= %(day)s)),"
                " taken AS (UPDATE inbox.outcomes o SET landing_date = %(day)s, batch = next.batch,"
                " is_user_known = waiting.is_known FROM next, waiting"
                " WHERE o.source = %(source)s AND o.outcome_id = waiting.outcome_id"
                " AND (waiting.is_known OR o.happened_at <= %(waited)s) RETURNING o.batch)"
                " INSERT INTO inbox.batches (source, number, landing_date, outcomes)"
                " SELECT %(source)s, batch, %(day)s, count(*) FROM taken GROUP BY batch RETURNING outcomes",
                values,
            ).fetchone()
            return taken[0] if taken else 0

    @repeatable
    def batches(self, source: str, day: date) -> list[Batch]:
        """The batches that landed until `day`, in the order of their numbers."""
        rows = self._rows(
            "SELECT source, landing_date, number, outcomes FROM inbox.batches"
            " WHERE source = %s AND landing_date <= %s ORDER BY number",
            *(source, day),
        )
        return [Batch(**row) for row in rows]

    def lines(self, batch: Batch) -> Iterator[bytes]:
        """The batch as lines of JSON in the order in which it was written; the same batch is the same bytes."""
        statement = sql.SQL(
            "SELECT {} FROM inbox.outcomes WHERE source = %s AND batch = %s AND landing_date = %s ORDER BY number"
        ).format(sql.SQL(", ").join(map(sql.Identifier, TOLD)))
        with self._connect() as conn, conn.cursor("outcomes", row_factory=dict_row) as cursor:
            cursor.itersize = ROWS_AT_A_TIME
            for row in cursor.execute(statement, [batch.source, batch.number, batch.landing_date]):
                yield line(row)


def line(outcome: dict[str, Any]) -> bytes:
    """An outcome as one line in the format of `sources.INBOX`."""
    at = outcome["happened_at"].astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    told = outcome | {"event_id": INBOX_EVENT + outcome["outcome_id"], "happened_at": at}
    text = json.dumps(told, ensure_ascii=False, sort_keys=True, separators=(",", ":"))
    return text.replace("\ufeff", "\\ufeff").encode() + b"\n"  # within a line, that character would be a fault


def file_of(batch: Batch, lines: Iterable[bytes], bronze: Path) -> LandedFile:
    """The batch's lines as a file in bronze; a second time changes nothing.

    Raises:
        DataRefused: there are fewer or more lines than outcomes were taken.
    """
    bronze.mkdir(parents=True, exist_ok=True)
    part = bronze / f".part-inbox-{os.getpid()}"
    try:
        with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as target:
            for text in lines:
                target.write(text)
        copy = take(part, bronze, INBOX.format) if part.stat().st_size else None
    finally:
        part.unlink(missing_ok=True)
    found = copy.lines if copy else 0
    if copy is None or found != batch.outcomes:
        raise DataRefused(
            f"inbox.outcomes, {batch.source}: batch {batch.number} of {batch.landing_date} has {found} outcomes,"
            f" expected {batch.outcomes} as taken; no row may go before {batch.file_name} is in bronze"
        )
    return LandedFile(
        name=batch.file_name,
        landing_date=batch.landing_date,
        sha256=copy.sha256,
        size_bytes=copy.size_bytes,
        mtime_ns=0,
        lines=copy.lines,
        header_lines=0,
        status="accepted",
        kind=INBOX_KIND,
        columns=copy.columns,
    )


def files_until(ledger: Ledger, settings: Settings, day: date) -> list[LandedFile]:
    """What the CRM wrote back until the night of `day`, in bronze and in the ledger; none where it wrote nothing."""
    inbox, source = Inbox(ledger.connect), settings.source
    end = datetime.combine(settings.as_of(day), time(), tzinfo=source.zone).astimezone(UTC)
    inbox.assign(source.name, day, end, settings.business.inbox.wait_days)
    failpoint("inbox.after_assign")
    batches = inbox.batches(source.name, day)
    known = {f.name: f for f in ledger.files(source.name) if f.kind == INBOX_KIND and f.status == "accepted"}
    bronze = settings.environment.lake.bronze
    fresh = [file_of(batch, inbox.lines(batch), bronze) for batch in batches if batch.file_name not in known]
    failpoint("inbox.before_record")
    ledger.add_files(source.name, fresh)
    return [*(known[batch.file_name] for batch in batches if batch.file_name in known), *fresh]
