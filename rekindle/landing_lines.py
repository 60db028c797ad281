"""The lines of a landed file, exactly: number, byte offset and bytes of each; nothing skipped, joined or mended.

Preflight (which counts), cleaning (which parses) and `make show-line` (which shows) agree about what a line is. A line
ends at \\n; a last line without one is a line; the file's first three bytes are dropped if they are a UTF-8 byte order
mark. Spark's own readers lose lines (docs/decisions/). `lines` is the plain reader; `read_files` gives the same by the
million (a test compares them on random bytes). A row of a Parquet file is a line, too: rekindle/landing_parquet.py.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING

from rekindle.landing_copies import MAX_RATIO, Taken, take
from rekindle.landing_streams import (
    BYTE_ORDER_MARK,
    CHUNK,
    MAX_LINE_BYTES,
    RefusedFile,
    is_parquet,
    opened,
    pieces,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    import pyarrow as pa

    from rekindle.sources import LogFormat

__all__ = [
    "MAX_LINE_BYTES",
    "MAX_RATIO",
    "READ_SCHEMA",
    "TOLD_SCHEMA",
    "Line",
    "RefusedFile",
    "Taken",
    "lines",
    "read_files",
    "read_objects",
    "show_line",
    "take",
]

READ_SCHEMA = (
    "file_sha256 string, landing_date date, line_number bigint, byte_offset bigint, value binary, transcoded string,"
    " marks int, keys int"
)
TOLD_SCHEMA = f"{READ_SCHEMA}, is_told boolean, told struct<{{fields}}>"


@dataclass(frozen=True)
class Line:
    """One line without its end. `value` is None where the line is longer than MAX_LINE_BYTES."""

    number: int
    offset: int
    value: bytes | None


def lines(path: Path) -> Iterator[Line]:
    """The lines of a bronze file, unpacked by its first bytes; memory is bounded by the longest legal line.

    Raises:
        OSError, EOFError, zlib.error: a gzip that is cut or damaged.
    """
    if is_parquet(path):
        yield from _rows(path)
        return
    with path.open("rb") as raw:
        yield from _lines(opened(raw))


def read_files(
    bronze: str, log_format: LogFormat | None = None, chunk: int = CHUNK
) -> Callable[[Iterable[pa.RecordBatch]], Iterator[pa.RecordBatch]]:
    """A function for `mapInArrow`: rows (file_sha256, landing_date, header_lines) in, one row a line out.

    Rows out are READ_SCHEMA's: `value` is the line in UTF-8, null where it is too long, and its own bytes where no
    declared encoding reads it; `transcoded` names the encoding from which it was brought to UTF-8, null where its bytes
    are the file's; `marks` and `keys` are those of landing_blocks, `keys` null unless lines are objects. A Parquet
    row's `byte_offset` is its index. Header lines are left out. Executors read bronze by path: it lies on storage that
    all nodes share.
    """
    encodings = log_format.encoding if log_format else ("utf-8",)  # all that executors need of it
    are_objects = log_format is not None and log_format.is_objects

    def read(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        from rekindle import landing_blocks, landing_parquet

        for batch in batches:
            for file in batch.to_pylist():
                path = Path(bronze) / file["file_sha256"]
                told = (file["file_sha256"], file["landing_date"], file["header_lines"])
                if is_parquet(path):
                    first = 1
                    for values in landing_parquet.rows(path):
                        yield from landing_blocks.batches(landing_blocks.block_of(values, first), *told, are_objects)
                        first += len(values)
                    continue
                with path.open("rb") as raw:
                    for block in landing_blocks.blocks(pieces(raw, chunk)):
                        yield from landing_blocks.batches(
                            landing_blocks.transcoded(block, encodings), *told, are_objects
                        )

    return read


def read_objects(bronze: str, log_format: LogFormat) -> Callable[[Iterable[pa.RecordBatch]], Iterator[pa.RecordBatch]]:
    """As `read_files`, for lines that are objects: rows out are TOLD_SCHEMA's, by landing_objects."""
    read, names = read_files(bronze, log_format), log_format.names

    def read_and_tell(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        from rekindle.landing_objects import Teller

        return map(Teller(names).tell, read(batches))

    return read_and_tell


def show_line(path: Path, number: int) -> bytes:
    """The raw bytes of one line of a bronze file; a Parquet row is shown as the JSON object that cleaning reads.

    Raises:
        LookupError: the file has fewer lines.
    """
    count = 0
    for line in lines(path):
        count = line.number
        if line.number == number:
            return line.value if line.value is not None else b"(longer than %d bytes)" % MAX_LINE_BYTES
    raise LookupError(f"file {path.name} has {count} lines; expected at least {number}")


def _lines(stream: IO[bytes]) -> Iterator[Line]:
    number, offset = 0, 0
    # One byte over the limit plus the line end tells a line that just fits from one that is too long; the first may
    # carry a byte order mark, which does not count.
    longest = MAX_LINE_BYTES + len(BYTE_ORDER_MARK) + 2
    while piece := stream.readline(longest):
        number += 1
        size, kept = len(piece), piece.removesuffix(b"\n")
        while not piece.endswith(b"\n") and (piece := stream.readline(longest)):
            size += len(piece)
        if number == 1:
            kept = kept.removeprefix(BYTE_ORDER_MARK)
        yield Line(number, offset, kept if len(kept) <= MAX_LINE_BYTES else None)
        offset += size


def _rows(path: Path) -> Iterator[Line]:
    from rekindle import landing_parquet

    number = 0
    for values in landing_parquet.rows(path):
        for value in values:
            number += 1
            yield Line(number, number - 1, value if len(value) <= MAX_LINE_BYTES else None)
