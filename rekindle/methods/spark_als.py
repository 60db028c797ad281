"""Implicit ALS on Spark: the interactions stay where they are, in blocks that numpy solves, and only factors travel.

Users and items are dealt out to blocks (als_packing.py); a block is solved as a whole (als_blocks.py), so neither the
number of partitions nor the order of rows changes a bit of the factors. The start is drawn by block from the seed.

Three ways to take a half-step, the same to the last bit; the first whose bounds hold is taken:

- on the driver by threads (als_driver.py), up to `driver_entries` interactions. An interaction takes 45 bytes there
  while blocks are made, 20 after, and 20 in Spark's cache before: 20 million take 0.9 GB beside the factors, which are
  held three times. Three jobs in all;
- by broadcast, one job a half-step, while 4 · rank · (users + items) bytes are within `broadcast_bytes`. So much is on
  every Python worker, and three times as much on the driver;
- by exchange (als_exchange.py), two jobs a half-step: a partition is sent the rows of factors that it needs.
  For n interactions in p partitions a task holds, twice while Arrow hands it over,

      10 · n/p  +  8 · rank · min(rows of the other side, n/p)  +  8 · rank · (rows of its own side)/p   bytes.

  The driver holds 8 · rank² bytes a block of BLOCK_ENTRIES interactions.

Beside that a worker holds 12 · GATHERED_CELLS bytes, and 40 an interaction of its partition while blocks are made. The
items' factors reach the driver once in any case: they are the result.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from rekindle.methods.als import gram
from rekindle.methods.als_blocks import STEPS, Basis, Block, Equation, Factors, solved, started
from rekindle.methods.als_driver import LocalSide, collected
from rekindle.methods.als_exchange import by_exchange
from rekindle.methods.als_packing import Mapper, Places, Side, blocks_of, factors_in, given, packed, places_of
from rekindle.methods.carried import HasValue, broadcast

if TYPE_CHECKING:
    import pyarrow as pa
    from pyspark.sql import DataFrame

DRIVER_ENTRIES = 20_000_000
BROADCAST_BYTES = 1_000_000_000

FOUND = "number int, factors binary"


def fit_item_factors(
    interactions: DataFrame,
    *,
    n_items: int,
    rank: int,
    regularisation: float,
    alpha: float,
    iterations: int,
    seed: int,
    partitions: int | None = None,
    broadcast_bytes: int = BROADCAST_BYTES,
    driver_entries: int = DRIVER_ENTRIES,
    steps: int = STEPS,
) -> Factors:
    """Item factors float32 [n_items, rank] of (user int, item int, strength float or double), one row a pair.

    Row i is item i's; zeros for an item without a strength above 0. `regularisation` is λ and `alpha` α of the equation
    in als.py; `steps` are those of conjugate gradients. No user's factors are kept: users are folded in when served.

    Raises:
        ValueError: no rows, fewer than two users or items, ids that are null, an item outside 0 … n_items − 1, a pair
            twice (its confidence would count twice), strengths that are null, NaN or infinite; all faults in one
            message with their counts. Settings out of bounds.
    """
    if rank < 1 or iterations < 1 or not (regularisation > 0 and alpha >= 0):
        raise ValueError(
            f"ALS: rank {rank}, iterations {iterations}, regularisation {regularisation}, alpha {alpha};"
            " expected 1 or more, 1 or more, above 0, and 0 or more"
        )
    equation = Equation(regularisation, alpha, steps)
    context = interactions.sparkSession.sparkContext
    threads = min(context.defaultParallelism, os.cpu_count() or 1)
    # One thread for BLAS: bits must not depend on how many cores there are.
    with threadpool_limits(1, "blas"), ThreadPoolExecutor(threads) as pool:
        start = Start(rank, iterations, seed)
        known = given(interactions, n_items)
        try:
            if known.entries <= driver_entries:
                users, items = collected(known, n_items, pool)
                known.frame.unpersist()
                return _item_factors(users, items, _by_threads(pool), start, equation, pool)
            shop = packed(known, n_items, partitions)
        finally:
            known.frame.unpersist()
        try:
            if 4 * rank * (shop.users.rows + n_items) <= broadcast_bytes:
                return _item_factors(shop.users, shop.items, _by_broadcast, start, equation, pool)
            return by_exchange(shop, rank, iterations, seed, equation)
        finally:
            shop.unpersist()


@dataclass(frozen=True)
class Start:
    """What is drawn, and how often it is improved."""

    rank: int
    iterations: int
    seed: int


@dataclass(frozen=True, eq=False)
class Task:
    """What a half-step needs beside the side's blocks.

    Attributes:
        other: the other side's table in the basis.
        own: the side's table as it was.
        starts: as `Side.starts` of the side.
    """

    other: Factors
    own: Factors
    basis: Basis
    equation: Equation
    starts: NDArray[np.int64] | None

    def of(self, block: Block) -> Factors:
        """The block's new factors."""
        place = places_of(block, self.starts)
        return solved(block, block.columns, self.other, self.own[place], self.basis, self.equation)


class AnySide(Protocol):
    """`als_packing.Side` or `als_driver.LocalSide`."""

    @property
    def starts(self) -> NDArray[np.int64] | None: ...
    @property
    def rows(self) -> int: ...
    def places(self) -> Places: ...


S = TypeVar("S", bound=AnySide)


def _item_factors(
    user_side: S,
    item_side: S,
    half_step: Callable[[S, Task], Mapping[int, Factors]],
    start: Start,
    equation: Equation,
    pool: ThreadPoolExecutor,
) -> Factors:
    """All half-steps, with both tables on the driver; `half_step` gives new factors by block number."""
    user_places, item_places = user_side.places(), item_side.places()
    users, items = (np.zeros((side.rows, start.rank), dtype=np.float32) for side in (user_side, item_side))
    for number, place in item_places:
        items[place] = started(start.seed, number, len(place), start.rank)
    for _ in range(start.iterations):
        basis, turned = _turned(items, item_places, pool)
        found = half_step(user_side, Task(turned, users, basis, equation, user_side.starts))
        users = _table(found, user_places, users)
        basis, turned = _turned(users, user_places, pool)
        found = half_step(item_side, Task(turned, items, basis, equation, item_side.starts))
        items = _table(found, item_places, items)
    return items


def _turned(table: Factors, places: Places, pool: ThreadPoolExecutor) -> tuple[Basis, Factors]:
    """(basis, the table in it), block by block: so the exchange, which never sees a table, computes the same bits."""
    rank = table.shape[1]
    total = np.zeros((rank, rank))
    for one in pool.map(lambda of: gram(table[of[1]]), places):
        total += one
    basis = Basis.of(total)
    turned = np.zeros_like(table)

    def turn(of: tuple[int, NDArray[np.int64]]) -> None:
        turned[of[1]] = table[of[1]] @ basis.turn

    list(pool.map(turn, places))
    return basis, turned


def _table(found: Mapping[int, Factors], places: Places, like: Factors) -> Factors:
    table = np.zeros_like(like)
    for number, place in places:
        table[place] = found[number]
    return table


def _by_threads(pool: ThreadPoolExecutor) -> Callable[[LocalSide, Task], Mapping[int, Factors]]:
    def half_step(side: LocalSide, task: Task) -> Mapping[int, Factors]:
        return dict(zip((block.number for block in side.blocks), pool.map(task.of, side.blocks), strict=True))

    return half_step


def _by_broadcast(side: Side, task: Task) -> dict[int, Factors]:
    carried = broadcast(side.blocks.sparkSession.sparkContext, task)
    try:
        found = side.blocks.drop("part", "twice").mapInArrow(solver(carried), FOUND).toArrow()
    finally:
        carried.destroy()
    rank = task.own.shape[1]
    numbers, factors = found.column("number").to_pylist(), found.column("factors")
    return {n: factors_in(factors[row], rank) for row, n in enumerate(numbers)}


def solver(carried: HasValue[Task]) -> Mapper:
    """For `mapInArrow`: blocks into (number, factors)."""

    def make(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        import pyarrow as pa

        with threadpool_limits(1, "blas"):
            for batch in batches:
                for block in blocks_of(batch):
                    found = carried.value.of(block)
                    columns = [pa.array([block.number], pa.int32()), pa.array([found.tobytes()], pa.binary())]
                    yield pa.RecordBatch.from_arrays(columns, names=["number", "factors"])

    return make
