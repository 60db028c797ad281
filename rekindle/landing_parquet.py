"""The rows of a landed Parquet file as lines: one compact JSON object a row, every value as text, null left out.

Numbers, dates and booleans are written as Arrow writes them; a time is ISO 8601 with as many digits as its column
keeps, and with its UTC offset if the column has a zone. Columns of bytes and nested ones have no text and are left out.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

ROWS = 4096


def columns(path: Path) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The names of all columns in the file's order, and of those that have no text.

    Raises:
        OSError, pyarrow.ArrowException: the file's foot cannot be read.
    """
    schema = pq.read_schema(path)
    return tuple(schema.names), tuple(f.name for f in schema if not _has_text(f.type))


def tables(path: Path) -> Iterator[pa.RecordBatch]:
    """The rows in order, a few thousand at a time.

    Raises:
        OSError, pyarrow.ArrowException: a part of the file is damaged.
    """
    with pq.ParquetFile(path, buffer_size=1 << 20, pre_buffer=False, page_checksum_verification=True) as file:
        yield from file.iter_batches(batch_size=ROWS, use_threads=False)


def rows(path: Path) -> Iterator[list[bytes]]:
    """The rows as JSON lines. Text that is no UTF-8 stays as its bytes are, for cleaning to find."""
    for batch in tables(path):
        named = [(n, c) for n, c in zip(batch.schema.names, batch.columns, strict=True) if _has_text(c.type)]
        told = [_texts(column) for _, column in named]
        names = [name for name, _ in named]
        yield [
            json.dumps(
                {n: t[k] for n, t in zip(names, told, strict=True) if t[k] is not None},
                ensure_ascii=False,
                separators=(",", ":"),
            ).encode("utf-8", "surrogateescape")
            for k in range(batch.num_rows)
        ]


def _texts(column: pa.Array) -> list[str | None]:
    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    kind = column.type
    text = column.cast(pa.string(), safe=False) if not pa.types.is_string_view(kind) else column.cast(pa.string())
    if pa.types.is_timestamp(kind):
        text = pc.replace_substring(text, " ", "T", max_replacements=1)
        if kind.tz is not None:
            text = pc.replace_substring_regex(text, r"([+-]\d{2})(\d{2})$", r"\1:\2")
    found = text.cast(pa.binary()).to_pylist()
    return [None if value is None else value.decode("utf-8", "surrogateescape") for value in found]


def _has_text(kind: pa.DataType) -> bool:
    types = pa.types
    if types.is_dictionary(kind):
        return _has_text(kind.value_type)
    return any(
        is_one(kind)
        for is_one in (
            types.is_string,
            types.is_large_string,
            types.is_string_view,
            types.is_integer,
            types.is_floating,
            types.is_decimal,
            types.is_boolean,
            types.is_date,
            types.is_time,
            types.is_timestamp,
        )
    )
