"""What must hold of a night's events, beyond their contract.

`Landed` is what the ledger says of the lines that this run's own files brought; all else is about the whole snapshot,
and costs one pass over it, so a stage's time grows with the lake (about a second for 300,000 rows). How the landing day
compares with those before is asked of `day_profiles`, not here.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta

import pyarrow as pa
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from rekindle.methods.activity import WITHOUT_ITEM
from rekindle.quality import Check, Figure, Suite, always, suite_for
from rekindle.settings import Source
from rekindle.sources import INBOX_EVENT
from schemas.events import EVENTS

FRESH = "landed_by_this_run"


@dataclass(frozen=True)
class Landed:
    """Lines of the files that this run added to the night it builds on, by fate; `by_rule` counts quarantined ones.

    `clean` counts those of files of events alone, for other kinds fill other tables.
    `uncounted_files` are the run's files that neither have fates nor belong to the night it builds on. `written_back`
    are those of the lines that the CRM wrote back: they are no sign of what state the shop's log is in.
    """

    landed: int
    clean: int
    duplicate: int
    quarantined: int
    by_rule: Mapping[str, int]
    uncounted_files: int = 0
    written_back: int = 0
    written_back_quarantined: int = 0

    @property
    def lines_of_log(self) -> int:
        """The landed lines of the shop's own log."""
        return self.landed - self.written_back

    @property
    def quarantined_of_log(self) -> int:
        """Those of them that are quarantined."""
        return self.quarantined - self.written_back_quarantined

    @property
    def quarantined_share(self) -> float:
        """Their share; 0 where nothing landed, as in a run that only changes conf."""
        return self.quarantined_of_log / self.lines_of_log if self.lines_of_log else 0.0

    @property
    def rules(self) -> str:
        """The quarantined lines by rule, most first, for whoever reads a refusal."""
        return ", ".join(f"{rule} {n:,}" for rule, n in sorted(self.by_rule.items(), key=lambda r: (-r[1], r[0])))


def with_fresh(df: DataFrame, files: Collection[str]) -> DataFrame:
    """The frame with a column that says whether the line came by one of these files (their digests)."""
    digests = pa.table({"file_sha256": pa.array(sorted(files), pa.string())})  # by Arrow: starts no Python worker
    listed = df.sparkSession.createDataFrame(digests).withColumn(FRESH, F.lit(True))
    return df.join(F.broadcast(listed), "file_sha256", "left").withColumn(FRESH, F.coalesce(FRESH, F.lit(False)))


def landed_lines(what: str, business_date: date, clean: int) -> tuple[Check, ...]:
    """The checks of every table that holds landed lines; the frame is one of `with_fresh`.

    `clean` is how many lines of this run's files the ledger says the table got.
    """
    in_time = F.col("landing_date") <= F.lit(business_date)
    return (
        always("landed_in_time", f"{what} whose file landed after the business date", in_time),
        Figure("lines_add_up", "clean lines of this run's files", F.count_if(FRESH), clean, clean),
    )


def one_key(what: str, key_version: int) -> Check:
    """Two versions of the key are two pseudonyms for one person: every count of users would be wrong."""
    told = f"{what} keyed by another key than version {key_version}"
    return always("one_key", told, F.col("key_version") == key_version)


def suite(source: Source, business_date: date, key_version: int, landed: Landed) -> Suite:
    """The checks of a night's events; the frame is one of `with_fresh`."""
    end = datetime.combine(business_date + timedelta(days=1), time(), tzinfo=source.zone)
    kind, day, today = F.col("event_type"), F.col("event_date"), F.lit(business_date)
    of_log = ~F.startswith("event_id", F.lit(INBOX_EVENT))
    # A log may tell no prices, or tell them of some purchases: what is missing is then no fault, what is there counts.
    may_lack_price = F.lit(not all(file.mapping.tells_prices for file in source.events))
    return suite_for(
        EVENTS,
        # The night of D may not see the future: one event of tomorrow in a feature is a leak into every model.
        always("before_the_end", "events at or after the end of the business date", F.col("event_ts") < F.lit(end)),
        always("not_before_it_happened", "events dated after their file landed", day <= F.col("landing_date")),
        always("after_first_date", "events before the source's first date", day >= F.lit(source.first_date)),
        # A session in another zone shifts the evening's events to the next day and nothing else would show it.
        always(
            "day_is_local",
            f"events whose event_date is not the day of event_ts in {source.time_zone}",
            day == F.to_date(F.from_utc_timestamp("event_ts", source.time_zone)),
        ),
        one_key("events", key_version),
        # Contracts allow null here because other actions have none; where it belongs it may not be missing.
        always(
            "item_given",
            "item actions with item_id null",
            F.col("item_id").isNotNull(),
            where=~kind.isin(*WITHOUT_ITEM),
        ),
        always(
            "price_given",
            "purchase lines whose unit_price is not positive, or null where the log tells prices",
            (F.col("unit_price") > 0) | (may_lack_price & F.col("unit_price").isNull()),
            where=kind == "purchase",
        ),
        always(
            "quantity_given",
            "purchase and return lines with quantity null or not positive",
            F.col("quantity") > 0,
            where=kind.isin("purchase", "return"),
        ),
        # A day without a line is a broken upload; one where all lines are unusable looks the same from here. What the
        # CRM wrote back is no line of the shop's.
        Figure("day_has_events", f"events of {business_date}", F.count_if((day == today) & of_log), 1),
        # Without one purchase there is no buyer, and nothing that this pipeline makes means anything.
        Figure("purchases", "purchase lines", F.count_if(kind == "purchase"), 1),
        Figure(
            "day_has_purchases",
            f"purchase lines of {business_date}",
            F.count_if((kind == "purchase") & (day == today)),
            1,
            severity="warning",
        ),
        *landed_lines("events", business_date, landed.clean),
        Figure("files_counted", "files whose lines nobody counted", F.max(F.lit(landed.uncounted_files)), 0, 0),
        # Beyond the source's usual dirt, what is left of the day no longer stands for the day.
        Figure(
            "quarantine_share",
            "share of landed lines quarantined",
            F.max(F.lit(landed.quarantined_share)),
            maximum=source.quarantine_share_limit,
            note=f"{landed.quarantined_of_log:,} of {landed.lines_of_log:,}"
            + (f": {landed.rules}" if landed.rules else ""),
        ),
    )
