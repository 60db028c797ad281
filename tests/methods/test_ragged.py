"""Rows of unequal length."""

from __future__ import annotations

import numpy as np
import pytest

from rekindle.methods.ragged import Ragged, offsets_of


def test_rows_come_back_as_they_were_given() -> None:
    rows = [[3, 1], [], [7]]
    ragged = Ragged.from_lists(rows, [[0.5, 2.0], [], [1.0]])
    back = [ragged.items[ragged.offsets[r] : ragged.offsets[r + 1]].tolist() for r in range(len(ragged))]
    assert back == rows
    assert ragged.lengths().tolist() == [2, 0, 1]
    assert ragged.rows().tolist() == [0, 0, 2]


def test_a_part_of_the_rows_is_those_rows() -> None:
    ragged = Ragged.from_lists([[3, 1], [], [7], [2, 4]], [[1, 2], [], [3], [4, 5]])
    part = ragged.between(1, 3)
    assert part.offsets.tolist() == [0, 0, 1]
    assert part.items.tolist() == [7]
    assert part.values is not None
    assert part.values.tolist() == [3.0]


@pytest.mark.parametrize(
    ("offsets", "items", "values", "fault"),
    [
        ([1, 2], [5, 5], None, "begin with 0"),
        ([0, 2, 1], [5], None, "never fall"),
        ([0, 3], [5], None, "end at 3, expected 1"),
        ([0, 1], [-1], None, "-1 found"),
        ([0, 1], [5], [1.0, 2.0], "2 values for 1"),
        ([0, 1], [5], [np.nan], "1 values are NaN"),
    ],
)
def test_arrays_that_are_not_rows_are_refused(
    offsets: list[int], items: list[int], values: list[float] | None, fault: str
) -> None:
    weights = None if values is None else np.array(values)
    with pytest.raises(ValueError, match=fault):
        Ragged(np.array(offsets), np.array(items), weights)


def test_uneven_values_are_refused() -> None:
    with pytest.raises(ValueError, match="as many values"):
        Ragged.from_lists([[1, 2]], [[1.0]])


def test_no_rows_are_rows_too() -> None:
    assert len(Ragged.empty(0)) == 0
    assert offsets_of(np.zeros(0, dtype=np.int64)).tolist() == [0]
