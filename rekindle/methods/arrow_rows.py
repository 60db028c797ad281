"""Columns of Arrow batches as the arrays that algorithms take."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from rekindle.methods.ragged import Ragged, offsets_of

if TYPE_CHECKING:
    import pyarrow as pa


def ragged_of(batch: pa.RecordBatch, items: str, values: str | None = None) -> Ragged:
    """A column of arrays (null: an empty row), with the values beside them where `values` names their column.

    Raises:
        ValueError: an item is null, or a row has another number of values than of items.
    """
    column = batch.column(items)
    offsets = offsets_of(column.value_lengths().fill_null(0).to_numpy(zero_copy_only=False).astype(np.int64))
    flat = column.flatten()
    if flat.null_count:
        raise ValueError(f"{flat.null_count} entries of {items} are null")
    weights = None
    if values is not None:
        numbers = batch.column(values)
        if numbers.null_count or not numbers.value_lengths().equals(column.value_lengths()):
            raise ValueError(f"{items} and {values} must be arrays of equal length in every row")
        weights = numbers.flatten().to_numpy(zero_copy_only=False).astype(np.float64)
    return Ragged(offsets, flat.to_numpy(zero_copy_only=False).astype(np.int64), weights)
