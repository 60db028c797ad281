"""Turn landed lines into clean events; every line ends as clean, duplicate or quarantined.

Reads   bronze, events (the night this one builds on)
Writes  events, duplicates, quarantine, vault.user_keys, ops.fates
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from pyspark import StorageLevel
from pyspark.sql import Column, DataFrame, SparkSession, Window
from pyspark.sql import functions as F

from rekindle import identity, lake, night, warehouse
from rekindle.cli import Context, DataRefused, main
from rekindle.landing_lines import READ_SCHEMA, read_files
from rekindle.ledger import FileFate, LandedFile
from rekindle.settings import LogFormat, Source
from schemas.duplicates import DUPLICATES
from schemas.events import EVENTS
from schemas.quarantine import QUARANTINE

# Where a line stands; the order in which equal events are told: the first is clean.
PLACE = ("landing_date", "file_sha256", "line_number")
LINEAGE = (*PLACE, "byte_offset")
WITHOUT_ITEM = ("search", "contact", "redeem")
WITH_QUANTITY = ("purchase", "return")


def landed_lines(spark: SparkSession, files: Sequence[LandedFile], bronze: str) -> DataFrame:
    """Every line of the files but their headers, with its place and its bytes; one task reads whole files."""
    listed = spark.createDataFrame(
        [(f.sha256, f.landing_date, f.header_lines) for f in files],
        "file_sha256 string, landing_date date, header_lines int",
    )
    partitions = max(1, min(len(files), 4 * spark.sparkContext.defaultParallelism))
    return listed.repartition(partitions, "file_sha256").mapInArrow(read_files(bronze), READ_SCHEMA)


def parse(landed: DataFrame, log_format: LogFormat) -> DataFrame:
    """The source's own fields as text columns, beside the line's place and `unreadable`: why it has none, or null."""
    text = F.col("value").cast("string")
    fields = ", ".join(f"`{name}` string" for name in log_format.fields)
    if log_format.kind == "json_lines":
        # A list of exactly one object, and the parser must reach what stands behind it: two objects on a line, or a
        # cut one, are null and not half-read (Spark does not look at what follows a complete value).
        whole = F.from_json(
            F.concat(F.lit('{"lines":['), text, F.lit('],"end":true}')),
            f"lines array<struct<{fields}>>, end boolean",
            {"mode": "PERMISSIVE"},  # any option keeps Spark from parsing once for each of the two fields
        )
        told = F.when((F.size(whole["lines"]) == 1) & whole["end"], whole["lines"][0])
    else:
        # Ragged rows fill the column of corrupt records; a line's last \r belongs to its end, not to its field; a quote
        # within quotes is doubled (RFC 4180), where Spark by itself would expect a backslash.
        row = F.from_csv(
            F.regexp_replace(text, "\r$", ""),
            f"{fields}, ragged_ string",
            {"sep": log_format.delimiter, "escape": '"', "columnNameOfCorruptRecord": "ragged_"},
        )
        told = F.when(row["ragged_"].isNull(), row)
    unreadable = (
        F.when(F.col("value").isNull(), "oversize")
        .when(~F.expr("is_valid_utf8(cast(value AS string))"), "encoding")
        .when(F.locate("\0", text) + F.locate("\\u0000", text) > 0, "control_character")
        .when(F.col("told").isNull(), "malformed")
    )
    return landed.withColumn("told", told).withColumn("unreadable", unreadable).select(*LINEAGE, "unreadable", "told.*")


def canonical(parsed: DataFrame, source: Source) -> DataFrame:
    """Canonical columns by the source's mapping; what cannot be read is null.

    `own_rule` is the first of the source's own rules that the line breaks. Everything is computed in one projection,
    so that expressions see the source's fields and never a canonical column of the same name.
    """
    mapping = source.mapping
    instant = F.try_to_timestamp(F.expr(mapping.event_time.expression), F.lit(mapping.event_time.format))
    if not mapping.event_time.has_offset:
        instant = F.to_utc_timestamp(instant, source.time_zone)
    code = F.expr(mapping.event_type)
    event_type = F.coalesce(*[F.when(code == k, F.lit(v)) for k, v in mapping.event_types.items()])
    own_rule = F.coalesce(F.lit(None).cast("string"), *[F.when(F.expr(r.when), F.lit(r.id)) for r in mapping.rules])
    repairs = F.concat_ws(",", *[F.when(F.expr(r.when), F.lit(r.id)) for r in mapping.repairs])
    as_text = ("user_id", "item_id", "title", "category", "order_id", "text", "session_id")
    as_number = ("quantity", "unit_price", "stars")
    blank = F.lit(" \t\r\n")  # SQL's own trim takes spaces only, and a tab is no user
    return parsed.select(
        *LINEAGE,
        "unreadable",
        own_rule.alias("own_rule"),
        event_id(mapping.event_id.column, mapping.event_id.hash_of).alias("event_id"),
        instant.alias("event_ts"),
        F.to_date(F.from_utc_timestamp(instant, source.time_zone)).alias("event_date"),
        event_type.alias("event_type"),
        F.nullif(repairs, F.lit("")).alias("repairs"),
        *[F.nullif(F.btrim(F.expr(getattr(mapping, c)).cast("string"), blank), F.lit("")).alias(c) for c in as_text],
        *[F.expr(getattr(mapping, c)).cast("double").alias(c) for c in as_number],
    )


def event_id(column: str | None, hash_of: Sequence[str]) -> Column:
    """The source's own id, or SHA-256 of the business key, absent parts told apart from empty ones."""
    if column:
        return F.nullif(F.col(f"`{column}`"), F.lit(""))
    return F.sha2(F.concat_ws("\x1f", *[F.coalesce(F.col(f"`{c}`"), F.lit("\\N")) for c in hash_of]), 256)


def broken_rule(source: Source) -> Column:
    """The id of the first rule that a canonical line breaks, or null if it can be used."""
    kind, price, quantity = F.col("event_type"), F.col("unit_price"), F.col("quantity")
    denied = F.lower("user_id").isin(*source.mapping.denied_user_ids)
    stars = F.col("stars")
    return (
        F.when(F.col("unreadable").isNotNull(), F.col("unreadable"))
        .when(F.col("event_id").isNull(), "no_event_id")
        .when(F.coalesce(denied, F.lit(True)), "no_user")
        .when(F.col("own_rule").isNotNull(), F.col("own_rule"))
        .when(kind.isNull(), "unknown_action")
        .when(F.col("event_ts").isNull(), "unreadable_time")
        .when(F.col("event_date") < F.lit(source.first_date), "out_of_window")
        .when(F.col("event_date") > F.col("landing_date"), "future")
        .when(F.col("item_id").isNull() & ~kind.isin(*WITHOUT_ITEM), "no_item")
        .when(kind.isin(*WITH_QUANTITY) & ~F.coalesce(positive(quantity), F.lit(False)), "bad_quantity")
        .when((kind == "purchase") & ~F.coalesce(positive(price), F.lit(False)), "bad_price")
        .when(price.isNotNull() & ~(positive(price) | (price == 0)), "bad_price")
        .when(stars.isNotNull() & ~stars.between(1, 5), "bad_stars")
    )


def positive(number: Column) -> Column:
    """Whether a number is above zero and finite: NaN compares as larger than everything in Spark."""
    return (number > 0) & (number < F.lit(float("inf")))


REASONS = {
    "oversize": "the line is longer than 64 KiB",
    "encoding": "the bytes are not UTF-8",
    "control_character": "the line holds a NUL character",
    "malformed": "the line is not exactly one record of the declared format",
    "no_event_id": "the event id is missing",
    "no_user": "the user is missing or on the deny list",
    "unknown_action": "the event type is none of the mapping's",
    "unreadable_time": "the time cannot be read by the declared format",
    "out_of_window": "the event is older than the source's first date",
    "future": "the event is dated after the day its file landed",
    "no_item": "the action needs an item and names none",
    "bad_quantity": "the quantity is missing, zero, negative or not a number",
    "bad_price": "the price is missing, zero, negative or not a number",
    "bad_stars": "the stars are not between 1 and 5",
}


def reason(source: Source) -> Column:
    """The broken rule in words."""
    words = REASONS | {r.id: r.reason for r in source.mapping.rules}
    return F.coalesce(*[F.when(F.col("rule") == k, F.lit(v)) for k, v in words.items()])


def with_fates(ruled: DataFrame, told_before: DataFrame) -> DataFrame:
    """Lines with `fate` and, for duplicates, the place of the line that was kept.

    `told_before` holds event_id and place of the events of the night this one builds on; all of them come before
    every line here. Among equal ids the smallest place is clean.
    """
    # No filter on the rule before the window: Spark pushes it down and writes the whole parsing into the condition
    # once for every field it names (153 s instead of 13 s for 320,000 lines). An unusable line is alone in its group.
    own = F.concat_ws(":", "file_sha256", "line_number")
    usable = F.col("rule").isNull()
    same_event = Window.partitionBy("told_id").orderBy(*PLACE)
    before = told_before.select(F.col("event_id").alias("told_id"), F.struct(*PLACE).alias("before"))
    place = F.struct(*PLACE)
    fate = F.when(~usable, "quarantined").when(F.col("kept") == place, "clean").otherwise("duplicate")
    return (
        ruled.withColumn("told_id", F.when(usable, F.col("event_id")).otherwise(own))
        .withColumn("first_told", F.first(place).over(same_event))
        .join(before, "told_id", "left")
        .withColumn("kept", F.coalesce("before", "first_told"))
        .drop("before", "first_told", "told_id")
        .withColumn("fate", fate)
    )


def fate_lines(landed: DataFrame, source: Source, key: bytes, key_version: int, told_before: DataFrame) -> DataFrame:
    """The whole of cleaning as one frame: every landed line with its fate, canonical columns and pseudonym."""
    ruled = landed.transform(parse, source.format).transform(canonical, source).withColumn("rule", broken_rule(source))
    keyed = ruled.withColumns(
        {
            "reason": reason(source),
            "user_key": identity.pseudonym_column(key, source.name, F.col("user_id")),
            "key_version": F.lit(key_version),
        }
    )
    return with_fates(keyed, told_before)


def duplicates(fated: DataFrame) -> DataFrame:
    """The duplicate lines with the pointer to the line that was kept."""
    kept = {f"kept_{c}": F.col(f"kept.{c}") for c in PLACE}
    return fated.where("fate = 'duplicate'").withColumns(kept)


def count_fates(fated: DataFrame, files: Sequence[LandedFile]) -> list[FileFate]:
    """Lines by fate for every file, those without a line of some fate included."""
    counted = fated.groupBy("file_sha256").agg(
        *[F.count_if(F.col("fate") == fate).alias(fate) for fate in ("clean", "duplicate", "quarantined")]
    )
    found = {row.file_sha256: row for row in counted.toLocalIterator()}
    fates = []
    for file in files:
        row = found.get(file.sha256)
        clean, duplicate, quarantined = (row.clean, row.duplicate, row.quarantined) if row else (0, 0, 0)
        fates.append(FileFate(file.sha256, file.lines - file.header_lines, clean, duplicate, quarantined))
    return fates


def unbalanced(fates: Sequence[FileFate], names: dict[str, str]) -> list[str]:
    """A sentence for every file whose lines do not add up."""
    return [
        f"file {names[f.file_sha256]}: {f.landed} lines landed, but {f.clean} clean + {f.duplicate} duplicate"
        f" + {f.quarantined} quarantined"
        for f in fates
        if f.landed != f.clean + f.duplicate + f.quarantined
    ]


def new_users(fated: DataFrame) -> Iterator[tuple[str, str]]:
    """(pseudonym, raw id) of the users of clean lines, streamed a partition at a time."""
    users = fated.where("fate = 'clean'").select("user_key", "user_id").distinct()
    return ((row.user_key, row.user_id) for row in users.toLocalIterator())


def base_snapshots(context: Context) -> dict[str, int]:
    """The snapshots this night builds on, by table; none when it cleans everything from bronze.

    A night whose snapshots the lake no longer holds cannot be built on.
    """
    base = context.this_run.plan["base"]
    kept = context.ledger.tables(base) if base else {}
    found = {t.name: kept[t.name].snapshot_id for t in (EVENTS, DUPLICATES, QUARANTINE) if t.name in kept}
    whole = len(found) == 3 and all(
        lake.exists(context.spark, context.source.name, t, found[t.name]) for t in (EVENTS, DUPLICATES, QUARANTINE)
    )
    return found if whole else {}


def run(context: Context) -> None:
    """Clean the files that this night adds to the one it builds on."""
    spark, source, ledger = context.spark, context.source, context.ledger
    environment = context.settings.environment
    base = base_snapshots(context)
    before = {f.sha256 for f in ledger.run_files(str(context.this_run.plan["base"]))} if base else set()
    files = [f for f in ledger.run_files(context.run_id) if f.sha256 not in before]
    told_before = (
        lake.read(spark, source.name, EVENTS, base[EVENTS.name])
        if base
        else spark.createDataFrame([], EVENTS.spark_schema())
    )
    key, version = identity.read_key(environment.identity.key_file), environment.identity.key_version
    fated = fate_lines(
        landed_lines(spark, files, str(environment.lake.bronze)), source, key, version, told_before
    ).persist(StorageLevel.MEMORY_AND_DISK)

    fates = count_fates(fated, files)
    faults = unbalanced(fates, {f.sha256: f.name for f in files})
    if faults:
        raise DataRefused(f"{source.name} {context.business_date}: lines do not add up: {'; '.join(faults[:5])}")
    with warehouse.connect(environment, "writer") as connection:
        warehouse.add_user_keys(connection, source.name, version, new_users(fated))
    written = {
        EVENTS: fated.where("fate = 'clean'"),
        DUPLICATES: duplicates(fated),
        QUARANTINE: fated.where("fate = 'quarantined'"),
    }
    for table, rows in written.items():
        night.store(context, table, rows, base.get(table.name))
    ledger.record_fates(context.run_id, fates)
    totals = {fate: sum(getattr(f, fate) for f in fates) for fate in ("landed", "clean", "duplicate", "quarantined")}
    by_rule = fated.where("fate = 'quarantined'").groupBy("rule").count().toLocalIterator()
    context.detail["rules"] = {row["rule"]: row["count"] for row in by_rule}
    context.detail.update(totals, files=len(files), base=context.this_run.plan["base"] if base else None)
    context.log.info("fates source=%s date=%s %s", source.name, context.business_date, as_keys(totals))


def as_keys(totals: dict[str, int]) -> str:
    """Counts as keys and values for a log line."""
    return " ".join(f"{k}={v}" for k, v in totals.items())


if __name__ == "__main__":
    main(run, "clean_events")
