"""Measure the landing days and check the night's lines; only then may anything build on them.

Reads   events, duplicates, quarantine, items, users, campaigns, campaign_targets, coupons, item_measures,
        day_profiles (of the night this one builds on), ops.fates
Writes  day_profiles, ops.checks, ops.run_tables (accepted), the lake's main
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from datetime import date, datetime, time, timedelta
from zoneinfo import ZoneInfo

import pyarrow as pa
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from expectations import (
    campaign_targets,
    campaigns,
    coupons,
    day_profiles,
    duplicates,
    events,
    item_measures,
    items,
    quarantine,
    users,
)
from expectations.drift.days import LOOK_BACK, Days, Row
from rekindle import checking, lake, night, quality
from rekindle.cli import Context, main
from rekindle.contract import Table
from rekindle.ledger import FileFate, LandedFile
from rekindle.quality import Suite
from rekindle.sources import INBOX_KIND, Ingest
from schemas.catalogue import REFERENCE
from schemas.day_profiles import DAY_PROFILES, DUE
from schemas.duplicates import DUPLICATES
from schemas.events import EVENT_TYPES, EVENTS
from schemas.quarantine import QUARANTINE

TABLES = (EVENTS, DUPLICATES, QUARANTINE)
# A log may use an address or a phone number as a key. Names like these are told; all others go by one name.
PLAIN_NAME = re.compile(r"(?!.*[0-9]{5})[\w .-]{1,40}")
OTHER_NAMES = "(another name)"
SHOWN_COLUMNS = 200  # of one kind of files

Quarantined = tuple[date, str, str, bool, int]  # landing date, kind of files, rule, by a fresh file, lines


def with_kinds(df: DataFrame, files: Sequence[LandedFile], fresh: Collection[str]) -> DataFrame:
    """The lines of these files, with `kind` and whether their file is one of `fresh`.

    The bound on the landing date lets Iceberg skip the data files of earlier nights: the cost is that of the files.
    """
    told = {"file_sha256": [f.sha256 for f in files], "kind": [f.kind for f in files]}
    columns = {name: pa.array(values, pa.string()) for name, values in told.items()}
    columns[events.FRESH] = pa.array([f.sha256 in fresh for f in files], pa.bool_())
    listed = df.sparkSession.createDataFrame(pa.table(columns))  # by Arrow: starts no Python worker
    first = min((f.landing_date for f in files), default=date.max)
    return df.where(F.col("landing_date") >= F.lit(first)).join(F.broadcast(listed), "file_sha256")


def file_figures(files: Sequence[LandedFile]) -> Iterator[Row]:
    """What the files themselves say: how many, how many lines, and which columns, by landing day and kind."""
    for (day, kind), of_kind in grouped(files).items():
        yield day, "files", kind, float(len(of_kind))
        yield day, "landed_lines", kind, float(sum(f.lines - f.header_lines for f in of_kind))
        named = [set(map(plain_name, f.columns)) for f in of_kind if f.columns]
        for name in sorted(set().union(*named))[:SHOWN_COLUMNS]:
            yield day, "column_share", f"{kind}.{name}", sum(name in names for names in named) / len(named)


def grouped(files: Sequence[LandedFile]) -> dict[tuple[date, str], list[LandedFile]]:
    """The files by landing day and kind."""
    found: dict[tuple[date, str], list[LandedFile]] = {}
    for file in files:
        found.setdefault((file.landing_date, file.kind), []).append(file)
    return found


def plain_name(name: str) -> str:
    """A column's name as it may be shown: one that could be about a person is not."""
    return name if PLAIN_NAME.fullmatch(name) else OTHER_NAMES


def event_figures(lines: DataFrame, zone: ZoneInfo) -> Iterator[Row]:
    """What the clean events are, by landing day, in one pass. All figures are exact, so that a retry finds the same.

    Sums of doubles and Spark's approximate median depend on the order of rows; counts and the exact median do not.
    """
    kind, due = F.col("event_type"), {column: F.expr(condition) for column, condition in DUE.items()}
    measured = lines.groupBy("landing_date").agg(
        F.unix_micros(F.max("event_ts")).alias("newest"),
        F.percentile(F.when(kind == "purchase", F.col("unit_price")), F.lit(0.5)).alias("price"),
        *[F.count_if(kind == k).alias(f"type_{k}") for k in EVENT_TYPES],
        *[F.count_if(belongs).alias(f"due_{c}") for c, belongs in due.items()],
        *[F.count_if(belongs & F.col(c).isNotNull()).alias(f"given_{c}") for c, belongs in due.items()],
    )
    for row in measured.toLocalIterator():
        day = row["landing_date"]
        end = datetime.combine(day + timedelta(days=1), time(), tzinfo=zone)
        if row["newest"] is not None:
            yield day, "newest_age_hours", "events", (end.timestamp() - row["newest"] / 1e6) / 3600
        if row["price"] is not None:
            yield day, "median_price", "purchase", row["price"]
        yield from ((day, "event_lines", k, float(row[f"type_{k}"])) for k in EVENT_TYPES if row[f"type_{k}"])
        for column in DUE:
            if row[f"due_{column}"]:
                yield day, "due_lines", column, float(row[f"due_{column}"])
                yield day, "given_lines", column, float(row[f"given_{column}"])


def fate_figures(
    files: Sequence[LandedFile], told_again: DataFrame, quarantined: Sequence[Quarantined]
) -> Iterator[Row]:
    """Lines by fate, landing day and kind of files, and quarantined lines by rule; the rest of what landed is clean."""
    counted = told_again.groupBy("landing_date", "kind").agg(F.count(F.lit(1)).alias("lines"))
    again = {(row["landing_date"], row["kind"]): row["lines"] for row in counted.toLocalIterator()}
    unusable: Counter[tuple[date, str]] = Counter()
    rules: Counter[tuple[date, str]] = Counter()
    for day, kind, rule, _, lines in quarantined:
        unusable[day, kind] += lines
        rules[day, rule] += lines
    for (day, kind), of_kind in grouped(files).items():
        landed = sum(f.lines - f.header_lines for f in of_kind)
        duplicate, bad = again.get((day, kind), 0), unusable[day, kind]
        yield day, "duplicate_lines", kind, float(duplicate)
        yield day, "quarantined_lines", kind, float(bad)
        yield day, "clean_lines", kind, float(landed - duplicate - bad)
    yield from ((day, "rule_lines", rule, float(lines)) for (day, rule), lines in rules.items())


def count_quarantined(lines: DataFrame) -> list[Quarantined]:
    """Quarantined lines by landing day, kind of files and rule, in one pass; a few dozen a day at most."""
    counted = lines.groupBy("landing_date", "kind", "rule", events.FRESH).agg(F.count(F.lit(1)).alias("lines"))
    return [
        (row["landing_date"], row["kind"], row["rule"], row[events.FRESH], row["lines"])
        for row in counted.toLocalIterator()
    ]


def by_rule(quarantined: Sequence[Quarantined]) -> Mapping[str, int]:
    """This run's own quarantined lines by rule."""
    found: Counter[str] = Counter()
    for _, _, rule, is_fresh, lines in quarantined:
        found[rule] += lines if is_fresh else 0
    return dict(+found)


def landed(
    fates: Sequence[FileFate],
    files: Sequence[LandedFile],
    base: Sequence[LandedFile],
    rules: Mapping[str, int],
    event_kinds: Collection[str],
) -> events.Landed:
    """The fates of this run's own lines together; `base` holds the files of the night it builds on."""
    known = {f.file_sha256 for f in fates} | {f.sha256 for f in base}
    of_events = {f.sha256 for f in files if f.kind in event_kinds}
    inbox = {f.sha256 for f in files if f.kind == INBOX_KIND}
    written_back = [f for f in fates if f.file_sha256 in inbox]
    return events.Landed(
        landed=sum(f.landed for f in fates),
        clean=sum(f.clean for f in fates if f.file_sha256 in of_events),
        duplicate=sum(f.duplicate for f in fates),
        quarantined=sum(f.quarantined for f in fates),
        by_rule=rules,
        uncounted_files=sum(f.sha256 not in known for f in files),
        written_back=sum(f.landed for f in written_back),
        written_back_quarantined=sum(f.quarantined for f in written_back),
    )


def reference_tables(source: Ingest) -> list[Table]:
    """What the source's files fill beside events."""
    told = {file.table for file in source.files.values()}
    return [table for table in REFERENCE if table.name in told]


def clean_lines(fates: Sequence[FileFate], files: Sequence[LandedFile], source: Ingest) -> Mapping[str, int]:
    """The clean lines of this run's own files by the table they fill; a table without such files has none."""
    kinds = {f.sha256: f.kind for f in files}
    found: Counter[str] = Counter()
    for fate in fates:
        found[source.kinds[kinds[fate.file_sha256]].table] += fate.clean
    return found


def reference_suites(source: Ingest, business_date: date, key_version: int, clean: Mapping[str, int]) -> list[Suite]:
    """The checks of the tables that the source's files fill beside events; `clean` as of `clean_lines`."""
    made = {
        "items": items.suite(business_date, clean["items"]),
        "users": users.suite(business_date, key_version, clean["users"]),
        "campaigns": campaigns.suite(business_date, clean["campaigns"]),
        "campaign_targets": campaign_targets.suite(business_date, key_version, clean["campaign_targets"]),
        "coupons": coupons.suite(business_date, clean["coupons"]),
        "item_measures": item_measures.suite(business_date, clean["item_measures"]),
    }
    return [made[table.name] for table in reference_tables(source)]


def as_frame(spark: SparkSession, rows: Sequence[Row]) -> DataFrame:
    """The rows as a frame, by Arrow: starts no Python worker."""
    kinds = (pa.date32(), pa.string(), pa.string(), pa.float64())
    columns = [pa.array([row[at] for row in rows], kind) for at, kind in enumerate(kinds)]
    return spark.createDataFrame(pa.Table.from_arrays(columns, names=DAY_PROFILES.names))


def profiles_to_build_on(context: Context, fresh: Collection[str], base: Sequence[LandedFile]) -> int | None:
    """The snapshot with the figures of all days before tonight's files.

    None where every day is measured anew: a first night, one that cleaned everything from bronze, or one that builds
    on a night of before there were figures.
    """
    before = context.this_run.plan["base"]
    version = context.ledger.tables(before).get(DAY_PROFILES.name) if before else None
    if version is None or not version.accepted or any(f.sha256 in fresh for f in base):
        return None
    found = lake.exists(context.spark, context.source.name, DAY_PROFILES, version.snapshot_id)
    return version.snapshot_id if found else None


def days_to_judge(business_date: date, measured: Sequence[LandedFile], builds_on: int | None) -> list[date]:
    """The business date, and each landing day that no accepted night has judged.

    A day that was refused and is left as it is would else slip in with the next night's.
    """
    late = {f.landing_date for f in measured} if builds_on is not None else set()
    return sorted({business_date} | late)


def read_days(profiles: DataFrame, first: date) -> Days:
    """The figures from 28 weeks before `first` on: some 60 rows a day, so 12,000 at most for one judged day."""
    start = first - timedelta(weeks=LOOK_BACK)
    recent = profiles.where(F.col("landing_date") >= F.lit(start))
    return Days.of((row["landing_date"], row["measure"], row["name"], row["value"]) for row in recent.toLocalIterator())


def run(context: Context) -> None:
    """Measure, evaluate, and let the tables pass or refuse the night."""
    ledger, source, before = context.ledger, context.source, context.this_run.plan["base"]
    fates, files = ledger.fates(context.run_id), ledger.run_files(context.run_id)
    base = ledger.run_files(before) if before else []
    fresh = {f.file_sha256 for f in fates}
    builds_on = profiles_to_build_on(context, fresh, base)
    # What the CRM writes back is no day of the shop's log: it moves no check of drift.
    landed_files = [f for f in files if f.kind != INBOX_KIND]
    measured = landed_files if builds_on is None else [f for f in landed_files if f.sha256 in fresh]

    tables = (*TABLES, *reference_tables(source))
    frames = {t.name: night.read(context, t) for t in tables}
    lines = {t.name: with_kinds(frames[t.name], measured, fresh) for t in TABLES}
    quarantined = count_quarantined(lines[QUARANTINE.name])
    figures = [
        *file_figures(measured),
        *event_figures(lines[EVENTS.name], source.zone),
        *fate_figures(measured, lines[DUPLICATES.name], quarantined),
    ]
    profiles = night.store(context, DAY_PROFILES, as_frame(context.spark, figures), builds_on)
    judged = days_to_judge(context.business_date, measured, builds_on)
    days = read_days(night.read(context, DAY_PROFILES), judged[0])

    event_kinds = {name for name, kind in source.kinds.items() if kind.table == EVENTS.name}
    counts = landed(fates, files, base, by_rule(quarantined), event_kinds)
    key_version = context.settings.environment.identity.key_version
    suites = (
        events.suite(source, context.business_date, key_version, counts),
        duplicates.suite(counts),
        quarantine.suite(counts),
        *reference_suites(source, context.business_date, key_version, clean_lines(fates, files, source)),
    )
    versions = ledger.tables(context.run_id)
    batches = [
        quality.Batch(s, events.with_fresh(frames[s.table], fresh), versions[s.table].fingerprint.rows) for s in suites
    ]
    drift = quality.Batch(
        day_profiles.suite(source, days, judged), night.read(context, DAY_PROFILES), profiles.fingerprint.rows
    )
    checking.examine(context, "validate_events", [*batches, drift])
    checking.accept(context, (*tables, DAY_PROFILES))


if __name__ == "__main__":
    main(run, "validate_events")
