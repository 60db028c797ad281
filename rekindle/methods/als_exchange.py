"""Half-steps of spark_als where factors do not fit a broadcast: each partition is sent the rows that it needs.

As Spark ML's ALS does, a block of factors goes to the partitions that have one of its rows among their columns, in a
shuffle; a partition then has all it needs for its own blocks. No table of users' or items' factors exists anywhere.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from rekindle.methods.als import gram
from rekindle.methods.als_blocks import Basis, Block, Equation, Factors, solved, started
from rekindle.methods.als_packing import Mapper, Packed, Side, blocks_of, factors_in, integers_in, numbers_of, places_of

if TYPE_CHECKING:
    import pyarrow as pa
    from pyspark.sql import DataFrame

# A block's factors, where its rows stand in the side's table, Σ y yᵀ, and which rows each partition of the other side
# needs (bits, partitions times rows).
HELD = "number int, part int, places binary, factors binary, gram binary, needed binary"
SENT = "part int, own boolean, number int, places binary, factors binary"


@dataclass(frozen=True, eq=False)
class Frame:
    """What every task knows of one side; numbers and settings, no factors.

    Attributes:
        starts: as `Side.starts` of the side.
        other_starts: the same of the other side.
    """

    starts: NDArray[np.int64] | None
    other_starts: NDArray[np.int64] | None
    block_count: int
    partitions: int
    rank: int
    seed: int
    equation: Equation

    def needed(self, block: Block) -> NDArray[np.bool_]:
        """[partitions, rows]: whether a partition of the other side has the row among its columns."""
        row, column, _ = block.entries()
        if self.other_starts is None:
            number = numbers_of(column, self.block_count)
        else:
            number = (np.searchsorted(self.other_starts, column, side="right") - 1).astype(np.int32)
        found = np.zeros((self.partitions, len(block.ids)), dtype=np.bool_)
        found[number % self.partitions, row] = True
        return found

    def held(self, block: Block, factors: Factors) -> pa.RecordBatch:
        """The block's row as HELD."""
        import pyarrow as pa

        binary = (
            places_of(block, self.starts).astype(np.int32),
            factors,
            gram(factors),
            np.packbits(self.needed(block)),
        )
        return pa.RecordBatch.from_arrays(
            [
                pa.array([block.number], pa.int32()),
                pa.array([block.number % self.partitions], pa.int32()),
                *(pa.array([part.tobytes()], pa.binary()) for part in binary),
            ],
            names=["number", "part", "places", "factors", "gram", "needed"],
        )


def by_exchange(shop: Packed, rank: int, iterations: int, seed: int, equation: Equation) -> Factors:
    """Item factors float32 [n_items, rank], the same bits as by broadcast."""

    def frame(side: Side, other: Side) -> Frame:
        return Frame(side.starts, other.starts, shop.block_count, shop.partitions, rank, seed, equation)

    user_frame, item_frame = frame(shop.users, shop.items), frame(shop.items, shop.users)
    # So that a half-step moves factors alone.
    user_blocks = shop.users.blocks.repartition(shop.partitions, "part").persist()
    item_blocks = shop.items.blocks.repartition(shop.partitions, "part").persist()
    items = item_blocks.mapInArrow(starter(item_frame), HELD).persist()
    users: DataFrame | None = None
    try:
        for _ in range(iterations):
            users = _half_step(user_blocks, user_frame, users, items)
            items = _half_step(item_blocks, item_frame, items, users)
        result = np.zeros((shop.items.rows, rank), dtype=np.float32)
        for row in items.select("places", "factors").toLocalIterator():
            place = np.frombuffer(row.places, dtype=np.int32)
            result[place] = np.frombuffer(row.factors, dtype=np.float32).reshape(-1, rank)
        return result
    finally:
        for persisted in (user_blocks, item_blocks, items, users):
            if persisted is not None:
                persisted.unpersist()


def _half_step(blocks: DataFrame, frame: Frame, own: DataFrame | None, other: DataFrame) -> DataFrame:
    """The side's new HELD, persisted and computed; its old one is let go."""
    grams = other.select("number", "gram").orderBy("number").toArrow().column("gram")
    total = np.zeros((frame.rank, frame.rank))
    for cell in grams:
        total += np.frombuffer(cell.as_buffer(), dtype=np.float64).reshape(frame.rank, frame.rank)
    basis = Basis.of(total)
    sent = other.mapInArrow(sender(basis, frame), SENT)
    if own is not None:
        sent = sent.unionByName(own.selectExpr("part", "true AS own", "number", "places", "factors"))
    by_part = blocks.groupBy("part").cogroup(sent.groupBy("part"))
    found = by_part.applyInArrow(receiver(basis, frame), HELD).persist()
    found.count()
    if own is not None:
        own.unpersist()
    return found


def starter(frame: Frame) -> Mapper:
    """For `mapInArrow`: blocks into HELD, with the random start."""

    def make(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        with threadpool_limits(1, "blas"):
            for batch in batches:
                for block in blocks_of(batch):
                    yield frame.held(block, started(frame.seed, block.number, len(block.ids), frame.rank))

    return make


def sender(basis: Basis, frame: Frame) -> Mapper:
    """For `mapInArrow`: the other side's HELD into SENT, in the basis, to each partition what it needs."""

    def make(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        import pyarrow as pa

        with threadpool_limits(1, "blas"):
            for batch in batches:
                for n in range(batch.num_rows):
                    turned = factors_in(batch.column("factors")[n], frame.rank) @ basis.turn
                    places = integers_in(batch.column("places")[n])
                    bits = np.frombuffer(batch.column("needed")[n].as_buffer(), dtype=np.uint8)
                    needed = np.unpackbits(bits, count=frame.partitions * len(places)).astype(np.bool_)
                    for part, rows in enumerate(needed.reshape(frame.partitions, len(places))):
                        if rows.any():
                            yield pa.RecordBatch.from_arrays(
                                [
                                    pa.array([part], pa.int32()),
                                    pa.array([False]),
                                    batch.column("number").slice(n, 1),
                                    pa.array([places[rows].tobytes()], pa.binary()),
                                    pa.array([turned[rows].tobytes()], pa.binary()),
                                ],
                                names=["part", "own", "number", "places", "factors"],
                            )

    return make


def receiver(basis: Basis, frame: Frame) -> Callable[[pa.Table, pa.Table], pa.Table]:
    """For `applyInArrow`: a partition's blocks, and what was SENT to it, into HELD."""

    def make(mine: pa.Table, sent: pa.Table) -> pa.Table:
        import pyarrow as pa

        before: dict[int, Factors] = {}
        places, rows = [], []
        for n, is_own in enumerate(sent.column("own").to_pylist()):
            factors = factors_in(sent.column("factors")[n], frame.rank)
            if is_own:
                before[sent.column("number")[n].as_py()] = factors
            else:
                places.append(integers_in(sent.column("places")[n]))
                rows.append(factors)
        place = np.concatenate(places)
        order = np.argsort(place)
        place, table = place[order], np.concatenate(rows)[order]
        del rows
        made = []
        with threadpool_limits(1, "blas"):
            for block in blocks_of(mine):
                # Padding may point nowhere; its strength of 0 makes it nothing.
                columns = np.minimum(np.searchsorted(place, block.columns), len(place) - 1).astype(np.int32)
                previous = before.get(block.number, np.zeros((len(block.ids), frame.rank), dtype=np.float32))
                made.append(frame.held(block, solved(block, columns, table, previous, basis, frame.equation)))
        return pa.Table.from_batches(made)

    return make
