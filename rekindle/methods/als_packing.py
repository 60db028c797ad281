"""Interactions on Spark into the blocks of als_blocks.py: users' and items', checked on the way.

How many blocks there are depends on the number of interactions alone, and an id's block on the id: so partitions and
the order of rows change nothing in any block.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from rekindle.methods.als_blocks import BLOCK_ENTRIES, Block, Factors
from rekindle.methods.carried import HasValue, broadcast

if TYPE_CHECKING:
    import pyarrow as pa
    from pyspark.sql import DataFrame

Mapper = Callable[[Iterable["pa.RecordBatch"]], Iterator["pa.RecordBatch"]]

Places = list[tuple[int, NDArray[np.int64]]]

GOLDEN, MASK = 2_654_435_769, 0xFFFF_FFFF  # Knuth's multiplicative hash: neighbouring ids go to different blocks
ENTRIES = "number int, row int, column int, strength float"
BLOCKS = "number int, part int, twice long, ids binary, widths binary, columns binary, strengths binary"
BLOCKS_A_PARTITION = 16  # at most, unless there are fewer partitions than cores: 2 million interactions


@dataclass(frozen=True, eq=False)
class Side:
    """The users' blocks, or the items'.

    Attributes:
        blocks: one row a block, as BLOCKS; persisted.
        starts: int64 [blocks + 1], by block number the row of the side's table where it begins; None: a row's id is its
            place in the table (items).
        rows: of the side's table of factors.
    """

    blocks: DataFrame
    starts: NDArray[np.int64] | None
    rows: int

    def places(self) -> Places:
        """(block number, the places of its rows in the table) by number; items' ids are collected for it."""
        if self.starts is not None:
            cuts = pairwise(self.starts.tolist())
            return [(n, np.arange(low, high)) for n, (low, high) in enumerate(cuts) if low < high]
        found = self.blocks.select("number", "ids").orderBy("number").toArrow()
        ids = [integers_in(cell).astype(np.int64) for cell in found.column("ids")]
        return list(zip(found.column("number").to_pylist(), ids, strict=True))


def places_of(block: Block, starts: NDArray[np.int64] | None) -> NDArray[np.int64]:
    """Where the block's rows stand in its side's table; `starts` as in `Side`."""
    if starts is None:
        return block.ids.astype(np.int64)
    found: NDArray[np.int64] = starts[block.number] + np.arange(len(block.ids))
    return found


@dataclass(frozen=True, eq=False)
class Packed:
    """All interactions, as users' rows and as items' rows. `part` of a block is its number modulo `partitions`."""

    users: Side
    items: Side
    entries: int
    block_count: int
    partitions: int

    def unpersist(self) -> None:
        """Let go of the blocks."""
        self.users.blocks.unpersist()
        self.items.blocks.unpersist()


@dataclass(frozen=True, eq=False)
class Given:
    """Interactions (row int, column int, strength float), persisted and checked as far as no grouping is needed."""

    frame: DataFrame
    entries: int
    faults: list[str]

    @property
    def block_count(self) -> int:
        """How many blocks a side has."""
        return max(1, -(-self.entries // BLOCK_ENTRIES))

    def refuse(self, twice: int) -> None:
        """Raises ValueError with all faults where there are any; `twice` pairs stand in more than one row."""
        repeated = f"{twice} (user, item) pairs stand in more than one row; sum their strengths first"
        faults = [repeated, *self.faults] if twice else self.faults
        if faults:
            raise ValueError("ALS interactions: " + "; ".join(faults))


def given(interactions: DataFrame, n_items: int) -> Given:
    """Of (user int, item int, strength): one job."""
    from pyspark.sql import functions as F

    frame = interactions.select(
        F.coalesce(F.col("user").cast("int"), F.lit(-1)).alias("row"),
        F.coalesce(F.col("item").cast("int"), F.lit(-1)).alias("column"),
        F.coalesce(F.col("strength").cast("float"), F.lit(float("nan"))).alias("strength"),
        (F.col("user").isNull() | F.col("item").isNull()).alias("nameless"),
    ).persist()
    try:
        entries, faults = _faults(frame, n_items)
    except BaseException:
        frame.unpersist()
        raise
    return Given(frame, entries, faults)


def packed(known: Given, n_items: int, partitions: int | None) -> Packed:
    """The blocks, persisted: two shuffles of the interactions.

    Raises:
        ValueError: as `spark_als.fit_item_factors` says.
    """
    from pyspark.sql import functions as F

    context = known.frame.sparkSession.sparkContext
    count = known.block_count
    if partitions is None:
        partitions = max(context.defaultParallelism, -(-count // BLOCKS_A_PARTITION))
    partitions = min(partitions, count)
    hashed = (F.col("row").cast("bigint") * F.lit(GOLDEN)).bitwiseAND(F.lit(MASK)) * F.lit(count)
    numbered = known.frame.select(F.shiftright(hashed, 32).cast("int").alias("number"), "row", "column", "strength")
    users = numbered.repartitionById(partitions, "number").mapInArrow(packer(partitions), BLOCKS).persist()
    found = users.select("number", "twice", (F.length("ids") / 4).cast("bigint").alias("rows")).toArrow()
    try:
        known.refuse(sum(found.column("twice").to_pylist()))
    except ValueError:
        users.unpersist()
        raise
    sizes = np.zeros(count + 1, dtype=np.int64)
    sizes[found.column("number").to_numpy() + 1] = found.column("rows").to_numpy()
    starts = np.cumsum(sizes)
    carried = broadcast(context, starts)
    turned = users.mapInArrow(transposer(carried, count), ENTRIES)
    items = turned.repartitionById(partitions, "number").mapInArrow(packer(partitions), BLOCKS).persist()
    return Packed(Side(users, starts, int(starts[-1])), Side(items, None, n_items), known.entries, count, partitions)


def _faults(given: DataFrame, n_items: int) -> tuple[int, list[str]]:
    """(rows, what is wrong with them) as far as it can be seen without grouping."""
    from pyspark.sql import functions as F

    unusable = F.isnan("strength") | (F.abs("strength") == F.lit(float("inf")))
    found = given.agg(
        F.count(F.lit(1)).alias("rows"),
        F.count_if(unusable).alias("unusable"),
        F.count_if("nameless").alias("nameless"),
        F.count_if((F.col("column") < 0) | (F.col("column") >= n_items)).alias("outside"),
        # min ≠ max says "at least two" without the memory of a distinct count
        (F.min("row") < F.max("row")).alias("users"),
        (F.min("column") < F.max("column")).alias("items"),
    ).first()
    if found is None:
        raise ValueError("ALS: the interactions gave no summary row")
    faults = []
    if found["unusable"]:
        faults.append(f"{found['unusable']} strengths are null, NaN or infinite")
    if found["nameless"]:
        faults.append(f"{found['nameless']} rows have no user or no item")
    elif found["outside"]:
        faults.append(f"{found['outside']} rows have an item outside 0 to {n_items - 1}")
    if not found["users"] or not found["items"]:
        faults.append("fewer than two users or two items; there is nothing to factorise, use popularity")
    return int(found["rows"]), faults


def hashes_of(ids: NDArray[np.int32]) -> NDArray[np.int64]:
    """Of each id its own, 0 to 2^32 - 1."""
    return (ids.astype(np.int64) * GOLDEN) & MASK


def numbers_of(ids: NDArray[np.int32], count: int) -> NDArray[np.int32]:
    """The block of each id, of so many blocks: what the expression in `packed` computes."""
    return ((hashes_of(ids) * count) >> 32).astype(np.int32)


def packer(partitions: int) -> Mapper:
    """For `mapInArrow`: a partition's ENTRIES into BLOCKS, by number; a block's entries are all in one partition."""

    def make(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        arrays = [[column.to_numpy(zero_copy_only=False) for column in batch.columns] for batch in batches]
        if not arrays:
            return
        number, row, column, strength = (np.concatenate(parts) for parts in zip(*arrays, strict=True))
        del arrays
        for block, twice in blocks_in(number, row, column, strength):
            yield _emitted(block, twice, partitions)

    return make


def blocks_in(
    number: NDArray[np.int32], row: NDArray[np.int32], column: NDArray[np.int32], strength: NDArray[np.float32]
) -> Iterator[tuple[Block, int]]:
    """(block, how many of its pairs stand in more than one entry) of entries in any order, by number."""
    # One key of 64 bits, sorted in a quarter of the time of three; a block's number is the hash's highest bits.
    order = np.argsort(((hashes_of(row) << 32) | (column.astype(np.int64) & MASK)).view(np.uint64))
    number, row, column, strength = number[order], row[order], column[order], strength[order]
    cuts = np.append(np.flatnonzero(np.diff(number, prepend=number[:1] - 1)), len(number))
    for low, high in pairwise(cuts.tolist()):
        part = slice(low, high)
        same = (np.diff(row[part]) == 0) & (np.diff(column[part]) == 0)
        twice = int(np.count_nonzero(same & ~np.concatenate([[False], same[:-1]])))
        yield Block.packed(int(number[low]), row[part], column[part], strength[part]), twice


def _emitted(block: Block, twice: int, partitions: int) -> pa.RecordBatch:
    import pyarrow as pa

    binary = [[part.tobytes()] for part in (block.ids, block.widths, block.columns, block.strengths)]
    return pa.RecordBatch.from_arrays(
        [
            pa.array([block.number], pa.int32()),
            pa.array([block.number % partitions], pa.int32()),
            pa.array([twice], pa.int64()),
            *(pa.array(one, pa.binary()) for one in binary),
        ],
        names=["number", "part", "twice", "ids", "widths", "columns", "strengths"],
    )


def blocks_of(table: pa.RecordBatch | pa.Table) -> Iterator[Block]:
    """The blocks of rows as BLOCKS, in their order."""
    for row in range(table.num_rows):
        ids, widths, columns = (integers_in(table.column(name)[row]) for name in ("ids", "widths", "columns"))
        strengths = np.frombuffer(table.column("strengths")[row].as_buffer(), dtype=np.float32)
        yield Block(table.column("number")[row].as_py(), ids, widths, columns, strengths)


def integers_in(cell: pa.BinaryScalar) -> NDArray[np.int32]:
    """Integers of their bytes."""
    return np.frombuffer(cell.as_buffer(), dtype=np.int32)


def factors_in(cell: pa.BinaryScalar, rank: int) -> Factors:
    """Factors [rows, rank] of their bytes."""
    found: Factors = np.frombuffer(cell.as_buffer(), dtype=np.float32).reshape(-1, rank)
    return found


def transposer(carried: HasValue[NDArray[np.int64]], count: int) -> Mapper:
    """For `mapInArrow`: users' blocks into ENTRIES of items' rows; `carried` holds the users' starts."""

    def make(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        import pyarrow as pa

        for batch in batches:
            for block in blocks_of(batch):
                row, item, strength = block.entries()
                place = (carried.value[block.number] + row).astype(np.int32)
                arrays = [pa.array(part) for part in (numbers_of(item, count), item, place, strength)]
                yield pa.RecordBatch.from_arrays(arrays, names=["number", "row", "column", "strength"])

    return make
