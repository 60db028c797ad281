"""From the bytes of landed lines to the log's own fields, all text; what is not exactly one record says why.

Spark's own readers lose, join and half-read lines (docs/decisions/0008); here a line is parsed where it stands.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F

from rekindle.landing_blocks import CONTROL, ESCAPE, NUL, WIDE
from rekindle.landing_lines import MAX_LINE_BYTES, READ_SCHEMA, TOLD_SCHEMA, read_files, read_objects
from rekindle.ledger_rows import LandedFile
from rekindle.sources import CORRUPT, LogFormat

# Where a line stands; the order in which equal events are told: the first is clean.
PLACE = ("landing_date", "file_sha256", "line_number")
LINEAGE = (*PLACE, "byte_offset")

PARSE_REASONS = {
    "oversize": "the line is longer than 64 KiB",
    "encoding": "the bytes are in none of the declared encodings",
    "control_character": "the line holds a NUL, half of a surrogate pair, or a byte order mark after the file's start",
    "malformed": "the line is not exactly one record of the declared format",
    "duplicate_key": "the object names a key twice",
    "key_case": "the object names a declared field in another case",
}
# Single quotes, NaN and Infinity are no JSON, though Spark reads them.
STRICT = {"mode": "PERMISSIVE", "allowSingleQuotes": "false", "allowNonNumericNumbers": "false"}
# Univocity throws at 20,480 columns, whatever the mode, and one line would stop the night.
MAX_COLUMNS = str(MAX_LINE_BYTES + 1)
WRITTEN_NUL = r"(?<!\\)(?:\\\\)*\\u0000"
# Written out by escapes, the half of a pair: Spark would make ? of it, and two ids would be one.
LONE_SURROGATE = (
    r"(?i)(?<!\\)(?:\\\\)*\\ud[89ab][0-9a-f]{2}(?!\\ud[c-f][0-9a-f]{2})"
    r"|(?i)(?<!\\ud[89ab][0-9a-f]{2})(?<!\\)(?:\\\\)*\\ud[c-f][0-9a-f]{2}"
)


def landed_lines(spark: SparkSession, files: Sequence[LandedFile], bronze: str, log_format: LogFormat) -> DataFrame:
    """Every line of the files but their headers, with its place and its bytes; one task reads whole files.

    Where lines are objects, most are told already: `is_told`, `told`; these come without their bytes.
    """
    tasks = max(1, min(len(files), 4 * spark.sparkContext.defaultParallelism))
    # Neighbouring days in one task: what it writes then lies in one month or two.
    rows = sorted((f.landing_date, f.sha256, f.header_lines) for f in files)
    listed = spark.createDataFrame(
        spark.sparkContext.parallelize(rows, tasks), "landing_date date, file_sha256 string, header_lines int"
    )
    if log_format.is_objects:
        fields = ", ".join(f"`{name}` string" for name in log_format.names)
        return listed.mapInArrow(read_objects(bronze, log_format), TOLD_SCHEMA.format(fields=fields))
    return listed.mapInArrow(read_files(bronze, log_format), READ_SCHEMA)


def parse(landed: DataFrame, log_format: LogFormat, columns: Sequence[str] = ()) -> DataFrame:
    """The declared fields as text in the struct `told`, beside the line's place and `unreadable`, its reason or null.

    `columns` are the names in the header of these files, in its order; without any, fields are told by position.
    A field that the files do not have is null. `escaped`: characters may be there that the line's bytes do not show.
    """
    text = F.col("value").cast("string")
    is_told = F.lit(False)
    if log_format.is_objects:
        is_told = F.col("is_told")
        landed = landed.withColumn("parsed", _json_struct(text, log_format))
        fields = [F.when(is_told, F.col("told")[n]).otherwise(F.col("parsed")[n]).alias(n) for n in log_format.names]
        told, fault = F.struct(*fields), F.when(~is_told, _json_fault(text, log_format))
    else:
        row = F.regexp_replace(text, "\r$", "")  # a line's last \\r belongs to its end, not to its field
        if log_format.kind == "csv":
            landed = landed.withColumns(_csv_parts(row, log_format, columns or log_format.names))
            told = _csv(row, log_format, columns or log_format.names)
        else:
            told = _fixed_width(row, log_format)
        fault = F.when(F.col("told").isNull(), "malformed")
    unreadable = F.coalesce(
        F.when(F.col("value").isNull() & ~is_told, "oversize")
        .when(_marked(WIDE) & ~F.expr("is_valid_utf8(cast(value AS string))"), "encoding")
        .when(_marked(NUL) | (_marked(WIDE) & F.contains(text, F.lit("\ufeff"))), "control_character"),
        fault,
    )
    return landed.withColumn("told", told).select(
        *LINEAGE,
        "transcoded",
        "told",
        _marked(ESCAPE | CONTROL).alias("escaped"),
        unreadable.alias("unreadable"),
    )


def _marked(bits: int) -> Column:
    return F.col("marks").bitwiseAND(F.lit(bits)) != 0


def field_of(name: str) -> Column:
    """A field of the log, by its own name, in a frame of `parse`."""
    return F.col("told").getField(name)


def _json_struct(text: Column, log_format: LogFormat) -> Column:
    fields = ", ".join(f"`{name}` string" for name in (*log_format.names, CORRUPT))
    # Any option keeps Spark from parsing the line once for every field that is asked for.
    return F.from_json(text, fields, STRICT | {"columnNameOfCorruptRecord": CORRUPT})


def _json_fault(text: Column, log_format: LogFormat) -> Column:
    """Why a line is not exactly one object whose declared keys are told once, or null.

    Spark's parser stops behind the first complete value, takes the last of two equal keys, and half of a surrogate pair
    becomes a question mark. Looking for these costs more than parsing; few lines get here (landing_objects).
    """
    # A list of exactly one object, and the parser must reach what stands behind it: the end is the line's own digest,
    # which the line cannot tell, so that none can bring an end, or a list, of its own.
    digest = F.sha2(text, 256)
    wrapped = F.concat(F.lit('{"lines":['), text, F.lit('],"end":"'), digest, F.lit('"}'))
    whole = F.from_json(wrapped, "lines array<struct<`-` string>>, end string", STRICT)
    is_whole = (
        (F.size(whole["lines"]) == 1)
        & whole["lines"][0].isNotNull()
        & (whole["end"] == digest)
        & (F.size(F.json_object_keys(wrapped)) == 2)
    )
    keys = F.json_object_keys(text)
    names = F.array(*map(F.lit, log_format.names))
    lower = [name.lower() for name in log_format.names]
    closely = (
        F.when(text.rlike(WRITTEN_NUL) | text.rlike(LONE_SURROGATE), "control_character")
        .when(~F.coalesce(is_whole, F.lit(False)), "malformed")
        .when(F.size(F.array_distinct(keys)) < F.size(keys), "duplicate_key")
        .when(F.exists(F.array_except(keys, names), lambda key: F.lower(key).isin(*lower)), "key_case")
    )
    return F.when(F.col("parsed")[CORRUPT].isNotNull() & ~_marked(ESCAPE), "malformed").otherwise(closely)


def _csv_parts(text: Column, log_format: LogFormat, columns: Sequence[str]) -> dict[str, Column]:
    """`parts`, what stands between the delimiters of a line without a quote; of other lines `parsed`, by the parser.

    The parser takes 12 µs a line, splitting 2, and both tell the same of such a line.
    """
    quote = log_format.quote
    is_plain = text != ""
    if quote:
        is_plain &= ~F.contains(text, F.lit(quote))
    schema = ", ".join(f"`{n}` string" for n in range(len(columns)))
    # Ragged rows fill the column of corrupt records; a quote within quotes is doubled (RFC 4180), where Spark by itself
    # would expect a backslash.
    parsed = F.from_csv(
        F.when(~is_plain, text),
        f"{schema}, {CORRUPT} string",
        {
            "sep": log_format.delimiter,
            "quote": quote or "\0",  # lines with a NUL never get here
            "escape": quote or "\0",
            "columnNameOfCorruptRecord": CORRUPT,
            "emptyValue": "",
            "maxColumns": MAX_COLUMNS,
        },
    )
    return {"parts": F.when(is_plain, F.split(text, re.escape(log_format.delimiter), -1)), "parsed": parsed}


def _csv(text: Column, log_format: LogFormat, columns: Sequence[str]) -> Column:
    parts, parsed, quote = F.col("parts"), F.col("parsed"), log_format.quote
    place = {name: n for n, name in enumerate(columns)}

    def field(name: str) -> Column:
        if name not in place:
            return F.lit(None).cast("string")
        part = F.nullif(F.get(parts, F.lit(place[name])), F.lit(""))
        return F.when(parts.isNotNull(), part).otherwise(parsed[str(place[name])])

    whole = parsed[CORRUPT].isNull() & (F.lit(len(columns) == 1) | (text != ""))
    if quote:
        whole &= _is_quoted_well(text, quote, log_format.delimiter)
    whole = F.when(parts.isNotNull(), F.size(parts) == len(columns)).otherwise(whole)
    return F.when(whole, F.struct(*[field(name).alias(name) for name in log_format.names]))


def _is_quoted_well(text: Column, quote: str, delimiter: str) -> Column:
    """Whether quotes only surround whole fields, or are doubled within such.

    A quote that is opened and not closed swallows the rest of the line, and the next line is its other half.
    """
    parts = F.split(text, re.escape(quote))  # the even ones stand outside of quotes
    last = F.size(parts) - 1

    def is_bad(part: Column, place: Column) -> Column:
        starts = (place == 0) | F.startswith(part, F.lit(delimiter))
        ends = (place == last) | F.endswith(part, F.lit(delimiter))
        return (place % 2 == 0) & (part != "") & ~(starts & ends)

    return (last % 2 == 0) & ~F.exists(F.transform(parts, is_bad), lambda bad: bad)


def _fixed_width(text: Column, log_format: LogFormat) -> Column:
    starts = [1 + sum(log_format.widths[:n]) for n in range(len(log_format.widths))]
    told = F.struct(
        *[
            F.substring(text, start, width).alias(name)
            for name, start, width in zip(log_format.names, starts, log_format.widths, strict=True)
        ]
    )
    return F.when(F.length(text) == sum(log_format.widths), told)
