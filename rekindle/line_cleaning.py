"""The whole of cleaning, without a lake: landed files in, a frame a table out, in which every line has its fate."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from itertools import groupby

from pyspark import StorageLevel
from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F

from rekindle import identity, line_fates, line_rules
from rekindle.ledger_rows import FileFate, LandedFile
from rekindle.line_parsing import PLACE, landed_lines, parse
from rekindle.sources import INBOX_KIND, Ingest, SourceFile

FATES = ("clean", "duplicate", "quarantined")


@dataclass(frozen=True)
class Secret:
    """What makes pseudonyms: the key and its version."""

    key: bytes
    version: int


def clean(
    spark: SparkSession,
    files: Sequence[LandedFile],
    source: Ingest,
    bronze: str,
    secret: Secret,
    told_before: DataFrame | None = None,
) -> dict[str, DataFrame]:
    """By table, every landed line with canonical columns, `rule`, `reason`, `fate` and, for a duplicate, `kept`.

    `told_before` holds the events of the night this one builds on. What the frames are made of is persisted: a job
    goes over them several times.
    """
    found: dict[str, DataFrame] = {}
    for table in sorted({source.kinds[f.kind].table for f in files}):
        own = [f for f in files if source.kinds[f.kind].table == table]
        ruled = _persisted(ruled_lines(spark, own, source, bronze, secret))
        late = line_fates.out_of_window_files(ruled, source.held_out_of_window_share) if table == "events" else []
        # What the CRM wrote of some old day says nothing of the rows beside it.
        late = sorted(set(late) - {f.sha256 for f in own if f.kind == INBOX_KIND})
        usable = line_fates.held(ruled, late)
        before = None
        if table == "events" and told_before is not None:
            before = told_before.withColumn("row_id", F.col("event_id")).withColumn("payload", line_fates.payload())
        decided = _persisted(line_fates.verdicts(usable, before))
        decided.count()  # known to be small, it is sent to the lines and not the lines to it
        words = line_rules.reason_words(source)
        reason = F.coalesce(*[F.when(F.col("rule") == k, F.lit(v)) for k, v in words.items()])
        lines = line_fates.with_fates(usable, decided).withColumn("reason", reason)
        found[table] = lines.withColumn("event_id", F.col("row_id")) if table == "events" else lines
    return found


def _persisted(frame: DataFrame) -> DataFrame:
    """The frame, kept in memory and beyond it on disk."""
    return frame.persist(StorageLevel.MEMORY_AND_DISK)


def ruled_lines(
    spark: SparkSession, files: Sequence[LandedFile], source: Ingest, bronze: str, secret: Secret
) -> DataFrame:
    """The lines of one table's files with canonical columns, `row_id`, `payload` and the first rule broken."""

    def shape(file: LandedFile) -> tuple[str, tuple[str, ...]]:
        by_name = source.kinds[file.kind].format.header
        return file.kind, file.columns if by_name else ()

    frames = []
    for (kind, columns), group in groupby(sorted(files, key=shape), key=shape):
        conf = source.kinds[kind]
        landed = landed_lines(spark, list(group), bronze, conf.format)
        lines = line_rules.canonical(parse(landed, conf.format, columns), source, conf)
        frames.append(lines.withColumns(_keyed(lines, source, conf, secret)))
    lines = reduce(DataFrame.unionByName, frames)
    if "event_ts" not in lines.columns:
        return lines.withColumn("payload", F.xxhash64("row_id"))
    return lines.withColumn("payload", line_fates.payload())


def _keyed(lines: DataFrame, source: Ingest, file: SourceFile, secret: Secret) -> dict[str, Column]:
    """The columns that need the key: the user's pseudonym, and ids that are hashes of what may identify a user.

    Without a key, who knows the rest of a row could find its user by trying all ids.
    """
    found: dict[str, Column] = {}
    if "user_id" in lines.columns:
        found["user_key"] = identity.pseudonym_column(secret.key, source.name, F.col("user_id"))
        found["key_version"] = F.lit(secret.version)
    if not line_rules.has_own_id(file):
        found["row_id"] = identity.keyed_column(secret.key, f"{source.name}/rows", F.col("row_id"))
    return found


@dataclass(frozen=True)
class Counted:
    """Every file's lines by fate, quarantined lines by rule, and clean lines by repair (two repairs: for both)."""

    fates: list[FileFate]
    rules: dict[str, int]
    repairs: dict[str, int]


def counted(cleaned: Mapping[str, DataFrame], files: Sequence[LandedFile]) -> Counted:
    """What became of the lines, also of files without a line of some fate; one pass a table."""
    found: dict[str, dict[str, int]] = {f.sha256: dict.fromkeys(FATES, 0) for f in files}
    rules, repairs = Counter[str](), Counter[str]()
    for lines in cleaned.values():
        # Files times rules and combinations of repairs: some thousands of groups on a first night.
        for row in lines.groupBy("file_sha256", "fate", "rule", "repairs").count().toLocalIterator():
            found[row["file_sha256"]][row["fate"]] += row["count"]
            if row["rule"]:
                rules[row["rule"]] += row["count"]
            if row["fate"] == "clean" and row["repairs"]:
                repairs.update(dict.fromkeys(row["repairs"].split(","), row["count"]))
    fates = [FileFate(f.sha256, f.lines - f.header_lines, *found[f.sha256].values()) for f in files]
    return Counted(fates, dict(sorted(rules.items())), dict(sorted(repairs.items())))


def unbalanced(fates: Sequence[FileFate], names: Mapping[str, str]) -> list[str]:
    """A sentence for every file whose lines do not add up."""
    return [
        f"file {names[f.file_sha256]}: {f.landed} lines landed, but {f.clean} clean + {f.duplicate} duplicate"
        f" + {f.quarantined} quarantined"
        for f in fates
        if f.landed != f.clean + f.duplicate + f.quarantined
    ]


def duplicates(cleaned: Mapping[str, DataFrame]) -> DataFrame:
    """The duplicate lines of all tables, each with the pointer to the line that was kept."""
    told = [
        lines.where("fate = 'duplicate'").select(
            F.col("row_id").alias("event_id"),
            *PLACE,
            *[F.col(f"kept.{c}").alias(f"kept_{c}") for c in PLACE],
        )
        for lines in cleaned.values()
    ]
    return reduce(DataFrame.unionByName, told)


def quarantined(cleaned: Mapping[str, DataFrame]) -> DataFrame:
    """The unusable lines of all tables: rule, reason and place, never the text."""
    columns = ("rule", "reason", *PLACE, "byte_offset")
    return reduce(
        DataFrame.unionByName, [lines.where("fate = 'quarantined'").select(*columns) for lines in cleaned.values()]
    )
