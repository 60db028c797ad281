"""Rows of unequal length held in three flat arrays (compressed sparse rows), without a Python object a row.

The layout is Arrow's list array and scipy's CSR: row r owns `items[offsets[r]:offsets[r + 1]]`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class Ragged:
    """Item indexes a row, and a value for each if there are values.

    Attributes:
        offsets: int64 [rows + 1], from 0, never falling.
        items: int64 [entries], each ≥ 0.
        values: float64 [entries], all finite; None where only membership matters.

    Raises:
        ValueError: the three arrays do not describe rows; the message says which and how.
    """

    offsets: NDArray[np.int64]
    items: NDArray[np.int64]
    values: NDArray[np.float64] | None = None

    def __post_init__(self) -> None:
        if self.offsets.ndim != 1 or len(self.offsets) == 0 or self.offsets[0] != 0:
            raise ValueError("Ragged: offsets must be one-dimensional and begin with 0")
        if (np.diff(self.offsets) < 0).any():
            raise ValueError("Ragged: offsets must never fall")
        if self.offsets[-1] != len(self.items):
            raise ValueError(f"Ragged: offsets end at {self.offsets[-1]}, expected {len(self.items)} (entries)")
        if len(self.items) and self.items.min() < 0:
            raise ValueError(f"Ragged: item index {self.items.min()} found, expected 0 or more")
        if self.values is not None:
            if len(self.values) != len(self.items):
                raise ValueError(f"Ragged: {len(self.values)} values for {len(self.items)} items")
            if not np.isfinite(self.values).all():
                raise ValueError(f"Ragged: {int((~np.isfinite(self.values)).sum())} values are NaN or infinite")

    @classmethod
    def from_lists(cls, items: Sequence[Sequence[int]], values: Sequence[Sequence[float]] | None = None) -> Ragged:
        """The same rows from Python lists (for tests and small inputs)."""
        lengths = np.array([len(row) for row in items], dtype=np.int64)
        flat = np.array([item for row in items for item in row], dtype=np.int64)
        weights = None
        if values is not None:
            if [len(row) for row in values] != lengths.tolist():
                raise ValueError("Ragged: every row needs as many values as items")
            weights = np.array([value for row in values for value in row], dtype=np.float64)
        return cls(offsets_of(lengths), flat, weights)

    @classmethod
    def empty(cls, rows: int) -> Ragged:
        """`rows` rows without entries."""
        return cls(np.zeros(rows + 1, dtype=np.int64), np.zeros(0, dtype=np.int64))

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def lengths(self) -> NDArray[np.int64]:
        """Entries of each row, int64 [rows]."""
        return np.diff(self.offsets)

    def rows(self) -> NDArray[np.int64]:
        """The row of each entry, int64 [entries]."""
        return np.repeat(np.arange(len(self), dtype=np.int64), self.lengths())

    def between(self, start: int, stop: int) -> Ragged:
        """Rows start (in) to stop (out), as views."""
        low, high = int(self.offsets[start]), int(self.offsets[stop])
        values = None if self.values is None else self.values[low:high]
        return Ragged(self.offsets[start : stop + 1] - low, self.items[low:high], values)


def offsets_of(lengths: NDArray[np.int64]) -> NDArray[np.int64]:
    """Offsets int64 [rows + 1] of rows with these lengths."""
    return np.concatenate([np.zeros(1, dtype=np.int64), np.cumsum(lengths, dtype=np.int64)])
