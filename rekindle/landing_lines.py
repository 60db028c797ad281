"""The lines of a landed file, exactly: number, byte offset and bytes of each; nothing skipped, joined or mended.

One reader serves preflight (which counts), cleaning (which parses) and `make show-line` (which shows), so they
cannot disagree about what a line is. A line ends at \\n; a last line without one is a line; the file's first three
bytes are dropped if they are a UTF-8 byte order mark. Spark's own readers lose lines (docs/decisions/).
"""

from __future__ import annotations

import gzip
import hashlib
import io
import os
import stat
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    import pyarrow as pa

GZIP_MAGIC = b"\x1f\x8b"
BYTE_ORDER_MARK = b"\xef\xbb\xbf"
MAX_LINE_BYTES = 64 * 1024
# A gzip bomb expands a thousandfold; logs compress 5 to 20 times.
MAX_RATIO = 200
CHUNK = 1 << 20


class RefusedFile(Exception):
    """The file cannot be taken; `reason` is its id, the message says what was found."""

    def __init__(self, reason: str, found: str) -> None:
        super().__init__(f"{reason}: {found}")
        self.reason = reason


@dataclass(frozen=True)
class Line:
    """One line without its end. `value` is None where the line is longer than MAX_LINE_BYTES."""

    number: int
    offset: int
    value: bytes | None


@dataclass(frozen=True)
class Taken:
    """A file copied whole into bronze."""

    sha256: str
    size_bytes: int
    lines: int


def lines(path: Path) -> Iterator[Line]:
    """The lines of a bronze file, gzip or plain by its first bytes; memory is bounded by the longest legal line.

    Raises:
        OSError, EOFError, zlib.error: a gzip that is cut or damaged.
    """
    with path.open("rb") as raw:
        yield from _lines(_decompressed(raw))


def take(path: Path, bronze: Path) -> Taken:
    """Copy a landed file into `bronze/<sha256>` and count its lines; a second time changes nothing.

    The file is opened once, without following a link; what is counted is the copy, so that a file swapped in between
    cannot be counted as one and read as another.

    Raises:
        RefusedFile: a link, not a regular file, empty, or a gzip that is cut, damaged or a bomb.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError as error:
        raise RefusedFile("link" if path.is_symlink() else "unreadable", f"{error.strerror}") from None
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):  # asked first: Python opens no stream on a folder
        os.close(descriptor)
        raise RefusedFile("not_a_file", "expected a regular file")
    with os.fdopen(descriptor, "rb") as source:
        bronze.mkdir(parents=True, exist_ok=True)
        part = bronze / f".part-{os.getpid()}"
        try:
            sha256, size = _copy(source, part)
            counted = _count(part, size)
            part.replace(bronze / sha256)
        finally:
            part.unlink(missing_ok=True)
    return Taken(sha256, size, counted)


def read_files(bronze: str) -> Callable[[Iterable[pa.RecordBatch]], Iterator[pa.RecordBatch]]:
    """A function for `mapInArrow`: rows (file_sha256, landing_date, header_lines) in, one row a line out.

    Columns out: file_sha256, landing_date, line_number, byte_offset, value (binary; null where too long). Header
    lines are left out. Executors read bronze by path: it lies on storage that all nodes share.
    """

    def read(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        import pyarrow as pa

        for batch in batches:
            for file in batch.to_pylist():
                rows: list[Line] = []
                held = 0
                for line in lines(Path(bronze) / file["file_sha256"]):
                    if line.number <= file["header_lines"]:
                        continue
                    rows.append(line)
                    held += len(line.value or b"") + 64
                    if held > 4 * CHUNK:
                        yield _batch(pa, file, rows)
                        rows, held = [], 0
                if rows:
                    yield _batch(pa, file, rows)

    return read


READ_SCHEMA = "file_sha256 string, landing_date date, line_number bigint, byte_offset bigint, value binary"


def _batch(pa, file: dict[str, object], rows: list[Line]) -> pa.RecordBatch:  # type: ignore[no-untyped-def]
    count = len(rows)
    return pa.RecordBatch.from_arrays(
        [
            pa.array([file["file_sha256"]] * count, pa.string()),
            pa.array([file["landing_date"]] * count, pa.date32()),
            pa.array([r.number for r in rows], pa.int64()),
            pa.array([r.offset for r in rows], pa.int64()),
            pa.array([r.value for r in rows], pa.binary()),
        ],
        names=["file_sha256", "landing_date", "line_number", "byte_offset", "value"],
    )


def _decompressed(raw: IO[bytes]) -> IO[bytes]:
    magic = raw.read(2)
    raw.seek(0)
    return io.BufferedReader(gzip.GzipFile(fileobj=raw), CHUNK) if magic == GZIP_MAGIC else raw


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


def _copy(source: IO[bytes], part: Path) -> tuple[str, int]:
    digest, size = hashlib.sha256(), 0
    with part.open("wb") as target:
        part.chmod(0o600)
        while chunk := source.read(CHUNK):
            digest.update(chunk)
            size += len(chunk)
            target.write(chunk)
        target.flush()
        os.fsync(target.fileno())
    if size == 0:
        raise RefusedFile("empty_file", "0 bytes")
    return digest.hexdigest(), size


def _count(path: Path, size: int) -> int:
    count, last = 0, b"\n"
    unpacked = 0
    try:
        with path.open("rb") as raw:
            stream = _decompressed(raw)
            while chunk := stream.read(CHUNK):
                count += chunk.count(b"\n")
                last = chunk[-1:]
                unpacked += len(chunk)
                if unpacked > MAX_RATIO * size + CHUNK:
                    raise RefusedFile("bomb", f"more than {MAX_RATIO} times its {size} bytes when unpacked")
    except EOFError:
        raise RefusedFile("gzip_truncated", f"ends after {count} whole lines, in the middle of the stream") from None
    except (OSError, zlib.error) as error:
        raise RefusedFile("gzip_damaged", f"after {count} lines: {error}") from None
    return count + (last != b"\n")


def show_line(path: Path, number: int) -> bytes:
    """The raw bytes of one line of a bronze file.

    Raises:
        LookupError: the file has fewer lines.
    """
    count = 0
    for line in lines(path):
        count = line.number
        if line.number == number:
            return line.value if line.value is not None else b"(longer than %d bytes)" % MAX_LINE_BYTES
    raise LookupError(f"file {path.name} has {count} lines; expected at least {number}")
