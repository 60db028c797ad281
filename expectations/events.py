"""What must hold of a night's events, beyond their contract.

`Landed` is what the ledger says of the lines that this run's own files brought; all else is about the whole snapshot,
and costs one pass over it, so a stage's time grows with the lake (about a second for 300,000 rows).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta

import pyarrow as pa
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from rekindle.quality import Figure, Suite, always, suite_for
from rekindle.settings import Source
from schemas.events import EVENTS

WITHOUT_ITEM = ("search", "contact", "redeem")
# A shop's new or renamed action shows in a few percent of a day's lines; a collector's noise stays far below this.
UNKNOWN_SHARE_LIMIT = 0.01
SAME_WEEKDAYS = 4  # weeks looked back at for a day's usual volume
# Seasons and campaigns move a day by half or double; further off, a file is cut or told twice under new ids.
VOLUME_RANGE = (0.5, 2.0)
# Which optional columns may not fall silent from one day to the next, and on which lines they belong.
TOLD = {"title": "item_id IS NOT NULL", "category": "item_id IS NOT NULL", "order_id": "event_type = 'purchase'"}
SILENCE_LIMIT = 0.5
SILENCE_DAYS = 28
FRESH = "landed_by_this_run"


@dataclass(frozen=True)
class Landed:
    """Lines of the files that this run added to the night it builds on, by fate; `by_rule` counts quarantined ones.

    `uncounted_files` are the run's files that neither have fates nor belong to the night it builds on.
    """

    landed: int
    clean: int
    duplicate: int
    quarantined: int
    by_rule: Mapping[str, int]
    uncounted_files: int = 0

    def share(self, lines: int) -> float:
        """A part of the landed lines; 0 where nothing landed, as in a run that only changes conf."""
        return lines / self.landed if self.landed else 0.0

    @property
    def rules(self) -> str:
        """The quarantined lines by rule, most first, for whoever reads a refusal."""
        return ", ".join(f"{rule} {n:,}" for rule, n in sorted(self.by_rule.items(), key=lambda r: (-r[1], r[0])))


def with_fresh(df: DataFrame, files: Collection[str]) -> DataFrame:
    """The frame with a column that says whether the line came by one of these files (their digests)."""
    digests = pa.table({"file_sha256": pa.array(sorted(files), pa.string())})  # by Arrow: starts no Python worker
    listed = df.sparkSession.createDataFrame(digests).withColumn(FRESH, F.lit(True))
    return df.join(F.broadcast(listed), "file_sha256", "left").withColumn(FRESH, F.coalesce(FRESH, F.lit(False)))


def suite(source: Source, business_date: date, key_version: int, landed: Landed) -> Suite:
    """The checks of a night's events; the frame is one of `with_fresh`."""
    end = datetime.combine(business_date + timedelta(days=1), time(), tzinfo=source.zone)
    kind, day, today = F.col("event_type"), F.col("event_date"), F.lit(business_date)
    positive_price = F.col("unit_price") > 0
    return suite_for(
        EVENTS,
        # The night of D may not see the future: one event of tomorrow in a feature is a leak into every model.
        always("before_the_end", "events at or after the end of the business date", F.col("event_ts") < F.lit(end)),
        always("landed_in_time", "events whose file landed after the business date", F.col("landing_date") <= today),
        always("not_before_it_happened", "events dated after their file landed", day <= F.col("landing_date")),
        always("after_first_date", "events before the source's first date", day >= F.lit(source.first_date)),
        # A session in another zone shifts the evening's events to the next day and nothing else would show it.
        always(
            "day_is_local",
            f"events whose event_date is not the day of event_ts in {source.time_zone}",
            day == F.to_date(F.from_utc_timestamp("event_ts", source.time_zone)),
        ),
        # Two versions of the key are two pseudonyms for one person: every count of users would be wrong.
        always(
            "one_key", f"events keyed by another key than version {key_version}", F.col("key_version") == key_version
        ),
        # Contracts allow null here because other actions have none; where it belongs it may not be missing.
        always(
            "item_given",
            "item actions with item_id null",
            F.col("item_id").isNotNull(),
            where=~kind.isin(*WITHOUT_ITEM),
        ),
        always(
            "price_given",
            "purchase lines with unit_price null or not positive",
            positive_price,
            where=kind == "purchase",
        ),
        always(
            "quantity_given",
            "purchase and return lines with quantity null or not positive",
            F.col("quantity") > 0,
            where=kind.isin("purchase", "return"),
        ),
        # A day without a line is a broken upload; one where all lines are unusable looks the same from here.
        Figure("day_has_events", f"events of {business_date}", F.count_if(day == today), 1),
        # Without one purchase there is no buyer, and nothing that this pipeline makes means anything.
        Figure("purchases", "purchase lines", F.count_if(kind == "purchase"), 1),
        Figure(
            "day_has_purchases",
            f"purchase lines of {business_date}",
            F.count_if((kind == "purchase") & (day == today)),
            1,
            severity="warning",
        ),
        Figure("lines_add_up", "clean lines of this run's files", F.count_if(FRESH), landed.clean, landed.clean),
        Figure("files_counted", "files whose lines nobody counted", F.max(F.lit(landed.uncounted_files)), 0, 0),
        # Beyond the source's usual dirt, what is left of the day no longer stands for the day.
        Figure(
            "quarantine_share",
            "share of landed lines quarantined",
            F.max(F.lit(landed.share(landed.quarantined))),
            maximum=source.quarantine_share_limit,
            note=f"{landed.quarantined:,} of {landed.landed:,}" + (f": {landed.rules}" if landed.rules else ""),
        ),
        Figure(
            "unknown_share",
            "share of landed lines whose action the mapping does not know",
            F.max(F.lit(landed.share(landed.by_rule.get("unknown_action", 0)))),
            maximum=UNKNOWN_SHARE_LIMIT,
            note=f"{landed.by_rule.get('unknown_action', 0):,} of {landed.landed:,}; see mapping.event_types",
        ),
        Figure(
            "usual_volume",
            f"events of {business_date} over the median of the {SAME_WEEKDAYS} same weekdays before",
            volume_ratio(business_date),
            *VOLUME_RANGE,
            severity="warning",
        ),
        *[
            Figure(
                f"{column}_told",
                f"fall of the share of lines with {column}, against the {SILENCE_DAYS} days before",
                silence(column, belongs, business_date),
                maximum=SILENCE_LIMIT,
                severity="warning",
            )
            for column, belongs in TOLD.items()
        ],
    )


def volume_ratio(business_date: date) -> Column:
    """The day's events over the median of the same weekdays before; 1 where none of those has an event."""
    weeks = [business_date - timedelta(weeks=n) for n in range(1, SAME_WEEKDAYS + 1)]
    counts = F.sort_array(F.filter(F.array(*[_events_on(d) for d in weeks]), lambda n: n > 0))
    size = F.size(counts)
    low, high = F.floor((size - 1) / 2).cast("int"), F.floor(size / 2).cast("int")
    median = (F.get(counts, low) + F.get(counts, high)) / 2
    return F.coalesce(_events_on(business_date) / median, F.lit(1.0))


def silence(column: str, belongs: str, business_date: date) -> Column:
    """By how much the share of lines that have the column fell; 0 where either period has no line it belongs on."""
    day, expected = F.col("event_date"), F.expr(belongs)
    before = (day < F.lit(business_date)) & (day >= F.lit(business_date - timedelta(days=SILENCE_DAYS)))
    given = F.col(column).isNotNull().cast("double")
    shares = [F.avg(F.when(expected & period, given)) for period in (before, day == F.lit(business_date))]
    return F.coalesce(shares[0] - shares[1], F.lit(0.0))


def _events_on(day: date) -> Column:
    return F.count_if(F.col("event_date") == F.lit(day)).cast("double")
