"""Lines by the million: the line ends of a piece are found at once, and Arrow takes the bytes as they lie."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from itertools import pairwise
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from rekindle.landing_streams import BYTE_ORDER_MARK, MAX_LINE_BYTES, decoded

# What may stand before a line's end and the line still be legal: the first may carry a byte order mark.
MAX_HELD = MAX_LINE_BYTES + len(BYTE_ORDER_MARK)
BATCH_ROWS = 32_768
NEWLINE, FIRST_WIDE = 0x0A, 0x80
# What a line's bytes say of it, so that cleaning looks closer only where something is to be found.
WIDE, NUL, ESCAPE, CONTROL, SPACED = 1, 2, 4, 8, 16
Longs = NDArray[np.int64]


@dataclass(frozen=True)
class Block:
    """Lines that follow each other. Line k, from 0, is text[bounds[k]:bounds[k + 1]]; one that is too long is empty.

    `offsets` are their bytes' places in the unpacked file; `encodings`, by which each was transcoded to UTF-8, null
    where it was not; without any, none was.
    """

    first: int
    offsets: Longs
    bounds: Longs
    text: bytes
    is_oversize: NDArray[np.bool_]
    encodings: Sequence[str | None] | None = None


def blocks(pieces: Iterable[bytes]) -> Iterator[Block]:
    """Every line of a stream that comes in pieces; a line too long is let go as it comes, so memory stays flat."""
    number, offset, dropped, carry = 1, 0, 0, b""
    for piece in pieces:
        end = piece.rfind(b"\n") + 1
        if not end:
            carry += piece
        else:
            data = carry + piece[:end]
            block = _block(number, offset, dropped, data)
            yield block
            number += len(block.offsets)
            offset += dropped + len(data)
            dropped, carry = 0, piece[end:]
        if dropped or len(carry) > MAX_HELD:
            dropped, carry = dropped + len(carry), b""
    if carry or dropped:
        yield _block(number, offset, dropped, carry + b"\n")


def _block(number: int, offset: int, dropped: int, data: bytes) -> Block:
    """`data` are whole lines from `offset` on, of whose first one `dropped` bytes are gone already."""
    mark = len(BYTE_ORDER_MARK) if number == 1 and not dropped and data.startswith(BYTE_ORDER_MARK) else 0
    data = data[mark:]
    codes = np.frombuffer(data, np.uint8)
    ends = np.flatnonzero(codes == NEWLINE)
    starts = np.concatenate([np.zeros(1, np.int64), ends[:-1] + 1])
    lengths = ends - starts
    offsets = starts + (offset + dropped + mark)
    offsets[0] = offset
    is_oversize = lengths > MAX_LINE_BYTES
    is_oversize[0] |= dropped > 0
    if is_oversize.any():
        is_kept = codes != NEWLINE
        for k in np.flatnonzero(is_oversize):
            is_kept[starts[k] : ends[k]] = False
        text = codes[is_kept].tobytes()
        lengths[is_oversize] = 0
    else:
        text = data.replace(b"\n", b"")
    return Block(number, offsets, _bounds(lengths), text, is_oversize)


def block_of(values: Sequence[bytes], first: int) -> Block:
    """Rows of a table as lines from number `first` on. They have no bytes of their own: their offset is their index."""
    lengths = np.fromiter(map(len, values), np.int64, len(values))
    is_oversize = lengths > MAX_LINE_BYTES
    kept = values if not is_oversize.any() else [v for v in values if len(v) <= MAX_LINE_BYTES]
    lengths[is_oversize] = 0
    offsets = np.arange(first - 1, first - 1 + len(values))
    return Block(first, offsets, _bounds(lengths), b"".join(kept), is_oversize)


def transcoded(block: Block, encodings: Sequence[str]) -> Block:
    """The block in UTF-8, each line by the first encoding that can read it; a line that none can stays as it came.

    Nothing is looked at where only UTF-8 is declared, and ASCII is the same in all encodings.
    """
    if tuple(encodings) == ("utf-8",) or block.text.isascii():
        return block
    if encodings[0] == "utf-8" and _is_utf8(block):
        return block
    wide_before = np.concatenate([np.zeros(1, np.int64), np.cumsum(np.frombuffer(block.text, np.uint8) >= FIRST_WIDE)])
    is_wide = np.diff(wide_before[block.bounds]) > 0
    bounds = block.bounds.tolist()
    values = [block.text[start:end] for start, end in pairwise(bounds)]
    told: list[str | None] = [None] * len(values)
    for k in np.flatnonzero(is_wide).tolist():
        found = decoded(values[k], encodings)
        if found and found[1] != "utf-8":
            values[k], told[k] = found[0].encode(), found[1]
    lengths = np.fromiter(map(len, values), np.int64, len(values))
    return Block(block.first, block.offsets, _bounds(lengths), b"".join(values), block.is_oversize, told)


def _is_utf8(block: Block) -> bool:
    """Whether every line is UTF-8: all of them together are, and none begins within a character."""
    starts = block.bounds[:-1][np.diff(block.bounds) > 0]
    codes = np.frombuffer(block.text, np.uint8)
    return decoded(block.text, ("utf-8",)) is not None and not (codes[starts] & 0xC0 == 0x80).any()


def marks(block: Block) -> NDArray[np.int32]:
    """A line's marks added up: WIDE a byte beyond ASCII, NUL, ESCAPE a backslash, CONTROL another control character.

    SPACED: a blank stands before a colon. Nine of ten blocks have none of the rare ones, and are asked so as a whole.
    """
    codes = np.frombuffer(block.text, np.uint8)
    found = np.zeros(len(block.bounds) - 1, np.int32)

    def mark(bit: int, is_there: NDArray[np.bool_]) -> None:
        found[_lines_of(block, np.flatnonzero(is_there))] |= bit

    if not block.text.isascii():
        mark(WIDE, codes >= FIRST_WIDE)
    if b"\\" in block.text:
        mark(ESCAPE, codes == ord("\\"))
    if block.text and codes.min() < 0x20:
        mark(NUL, codes == 0)
        mark(CONTROL, (codes < 0x20) & (codes != 0) & (codes != ord("\t")) & (codes != ord("\r")))
    return found


def object_marks(block: Block) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """Beside `marks` those of JSON objects, and how many colons of a line follow a quote: its keys, at least."""
    codes = np.frombuffer(block.text, np.uint8)
    found = marks(block)
    colons = np.flatnonzero(codes == ord(":"))
    before = codes[np.maximum(colons - 1, 0)]
    found[_lines_of(block, colons[before <= ord(" ")])] |= SPACED
    keys = np.bincount(_lines_of(block, colons[before == ord('"')]), minlength=len(found))
    return found, keys.astype(np.int32)


def _lines_of(block: Block, places: Longs) -> Longs:
    return np.searchsorted(block.bounds, places, side="right") - 1


def batches(
    block: Block, sha256: str, landing_date: date, header_lines: int, are_objects: bool = False
) -> Iterator[pa.RecordBatch]:
    """The block as rows of `landing_lines.READ_SCHEMA`, without those of the file's first `header_lines` it holds."""
    count = len(block.offsets)
    is_there = None
    if block.is_oversize.any():
        is_there = pa.py_buffer(np.packbits(~block.is_oversize, bitorder="little").tobytes())
    ends = pa.py_buffer(block.bounds.astype(np.int32).tobytes())
    values = pa.Array.from_buffers(pa.binary(), count, [is_there, ends, pa.py_buffer(block.text)])
    offsets = pa.array(block.offsets)
    found, keys = object_marks(block) if are_objects else (marks(block), None)
    for start in range(max(0, header_lines - block.first + 1), count, BATCH_ROWS):
        end = min(start + BATCH_ROWS, count)
        rows = end - start
        told = pa.nulls(rows, pa.string())
        if block.encodings is not None:
            told = pa.array(block.encodings[start:end], pa.string())
        columns: dict[str, Any] = {
            "file_sha256": pa.repeat(pa.scalar(sha256, pa.string()), rows),
            "landing_date": pa.repeat(pa.scalar(landing_date, pa.date32()), rows),
            "line_number": pa.array(np.arange(block.first + start, block.first + end)),
            "byte_offset": offsets[start:end],
            "value": values[start:end],
            "transcoded": told,
            "marks": pa.array(found[start:end]),
            "keys": pa.nulls(rows, pa.int32()) if keys is None else pa.array(keys[start:end]),
        }
        yield pa.RecordBatch.from_arrays(list(columns.values()), names=list(columns))


def _bounds(lengths: Longs) -> Longs:
    return np.concatenate([np.zeros(1, np.int64), np.cumsum(lengths)])
