"""Implicit ALS in the driver's memory: the blocks of als_packing.py, solved by threads.

numpy and BLAS let go of the interpreter's lock, so threads need no copies and nothing travels.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rekindle.methods.als_blocks import Block
from rekindle.methods.als_packing import Given, Places, blocks_in, numbers_of, places_of

RANGES = 8  # of block numbers, sorted beside each other: 11 million pairs took 3.5 s instead of 6.3


@dataclass(frozen=True, eq=False)
class LocalSide:
    """The users' blocks by number, or the items'; `starts` and `rows` as of `als_packing.Side`."""

    blocks: list[Block]
    starts: NDArray[np.int64] | None
    rows: int

    def places(self) -> Places:
        """(block number, the places of its rows in the table) by number."""
        return [(block.number, places_of(block, self.starts)) for block in self.blocks]


def collected(known: Given, n_items: int, pool: ThreadPoolExecutor) -> tuple[LocalSide, LocalSide]:
    """(users, items): one job, and the same blocks as `als_packing.packed` makes, sorted by the pool's threads.

    Raises:
        ValueError: as `spark_als.fit_item_factors` says.
    """
    table = known.frame.select("row", "column", "strength").toArrow()
    row, column, strength = (table.column(name).to_numpy() for name in ("row", "column", "strength"))
    del table
    count = known.block_count
    found = _all_blocks(pool, count, row, column, strength)
    known.refuse(sum(twice for _, twice in found))
    del row, column, strength
    users = [block for block, _ in found]
    sizes = np.zeros(count + 1, dtype=np.int64)
    for block in users:
        sizes[block.number + 1] = len(block.ids)
    starts = np.cumsum(sizes)
    entries = [block.entries() for block in users]
    item = np.concatenate([items for _, items, _ in entries])
    place = np.concatenate([starts[b.number] + rows for b, (rows, _, _) in zip(users, entries, strict=True)])
    strength = np.concatenate([strengths for _, _, strengths in entries])
    del entries
    turned = _all_blocks(pool, count, item, place.astype(np.int32), strength)
    return LocalSide(users, starts, int(starts[-1])), LocalSide([block for block, _ in turned], None, n_items)


def _all_blocks(
    pool: ThreadPoolExecutor,
    count: int,
    row: NDArray[np.int32],
    column: NDArray[np.int32],
    strength: NDArray[np.float32],
) -> list[tuple[Block, int]]:
    """As `blocks_in`, a range of block numbers a thread at a time."""
    number = numbers_of(row, count)

    def part(n: int) -> list[tuple[Block, int]]:
        mine = np.flatnonzero((number >= n * count // RANGES) & (number < (n + 1) * count // RANGES))
        return list(blocks_in(number[mine], row[mine], column[mine], strength[mine]))

    return [block for some in pool.map(part, range(RANGES)) for block in some]
