"""What became of each outcome that the CRM wrote back: its line in the night's files, and where that line ended.

A quarantined line is known by its file and number alone, so the line itself says which outcome it is.
"""

from __future__ import annotations

from collections.abc import Sequence

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from rekindle.ledger_rows import LandedFile
from rekindle.line_parsing import PLACE, field_of, landed_lines, parse
from rekindle.line_rules import event_instant
from rekindle.methods.activity import WRITTEN_BACK
from rekindle.sources import INBOX, INBOX_KIND

LINE = ["file_sha256", "line_number"]


def told(spark: SparkSession, files: Sequence[LandedFile], bronze: str) -> DataFrame:
    """One row a line of these files: its place, outcome_id, kind (null if it is none of ours) and happened_at."""
    lines = parse(landed_lines(spark, files, bronze, INBOX.format), INBOX.format)
    kind = F.trim(field_of("kind"))
    return lines.select(
        *PLACE,
        field_of("outcome_id").alias("outcome_id"),
        F.when(kind.isin(*WRITTEN_BACK), kind).alias("kind"),
        event_instant(INBOX.mapping.event_time, "UTC", field_of).alias("happened_at"),
    )


def outcome_fates(
    spark: SparkSession, files: Sequence[LandedFile], bronze: str, duplicates: DataFrame, quarantine: DataFrame
) -> DataFrame:
    """One row an outcome of these files (of kind `inbox`, at least one): as `told`, with its fate and rule.

    `duplicates` and `quarantine` are the night's; a line that is in neither is an event.

    Raises:
        ValueError: a file is of another kind.
    """
    others = [f.name for f in files if f.kind != INBOX_KIND]
    if others or not files:
        raise ValueError(f"files {', '.join(others) or 'none'}: expected some of kind {INBOX_KIND} and no others")
    digests = [f.sha256 for f in files]
    first = min(f.landing_date for f in files)

    def of_files(lines: DataFrame) -> DataFrame:
        return lines.where((F.col("landing_date") >= F.lit(first)) & F.col("file_sha256").isin(digests))

    unusable = of_files(quarantine).select(*LINE, "rule")
    again = of_files(duplicates).select(*LINE, F.lit(True).alias("is_again"))
    fate = F.when(F.col("rule").isNotNull(), "quarantined").when(F.col("is_again"), "duplicate").otherwise("event")
    lines = told(spark, files, bronze)
    return lines.join(unusable, LINE, "left").join(again, LINE, "left").withColumn("fate", fate)
