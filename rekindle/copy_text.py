"""Record batches as the text that PostgreSQL's COPY reads: vectorised, exact, no Python object a row."""

from __future__ import annotations

import io
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv

from rekindle.contract import Table

ARROW_TYPES: dict[str, Any] = {
    "string": pa.string(),
    "boolean": pa.bool_(),
    "int": pa.int32(),
    "bigint": pa.int64(),
    "double": pa.float64(),
    "decimal(38,6)": pa.decimal128(38, 6),
    "date": pa.date32(),
    "timestamp": pa.timestamp("us", "UTC"),
    "array<string>": pa.list_(pa.string()),
    "array<double>": pa.list_(pa.float64()),
}


class BatchError(Exception):
    """A batch does not fit its contract; the message lists every fault."""


def as_csv(table: Table, batch: pa.RecordBatch, constants: dict[str, str]) -> bytes:
    """The batch as CSV: the constants first, then the contract's columns in its order.

    Null is the empty unquoted field, the empty text the empty quoted one. Doubles are the shortest text that reads
    back as the same bits, NaN and the infinities included. An array is PostgreSQL's literal, `{"a",NULL}`.

    Raises:
        BatchError: a column is missing, or its values do not fit the contract's type without loss.
    """
    columns: list[Any] = [
        pa.array([value], pa.string()).take(pa.array([0] * batch.num_rows, pa.int32())) for value in constants.values()
    ]
    faults = []
    for column in table.columns:
        at = batch.schema.get_field_index(column.name)
        if at < 0:
            faults.append(f"{column.name} is missing")
            continue
        try:
            values = batch.column(at).cast(ARROW_TYPES[column.type])
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
            faults.append(f"{column.name} is {batch.schema.field(at).type}, expected {column.type} ({error})")
            continue
        columns.append(_array_text(values) if column.type.startswith("array<") else values)
    if faults:
        raise BatchError(f"table {table.name}: " + "; ".join(faults))
    out = io.BytesIO()
    ready = pa.record_batch(columns, names=[*constants, *table.names])
    pyarrow.csv.write_csv(ready, out, pyarrow.csv.WriteOptions(include_header=False))
    return out.getvalue()


def _array_text(lists: Any) -> Any:
    """PostgreSQL's array literals of a list column; a null list stays null."""
    values = pc.list_flatten(lists)
    if pa.types.is_string(values.type):
        escaped = pc.replace_substring(pc.replace_substring(values, "\\", "\\\\"), '"', '\\"')
        texts = pc.binary_join_element_wise('"', escaped, '"', "")
    else:
        texts = values.cast(pa.string())
    texts = pc.fill_null(texts, "NULL")
    lengths = pc.fill_null(pc.list_value_length(lists), 0)
    ends = pc.cumulative_sum(lengths.cast(pa.int32()))
    offsets = pa.concat_arrays([pa.array([0], pa.int32()), ends])
    joined = pc.binary_join(pa.ListArray.from_arrays(offsets, texts), ",")
    braced = pc.binary_join_element_wise("{", joined, "}", "")
    return pc.if_else(pc.is_valid(lists), braced, pa.scalar(None, pa.string()))
