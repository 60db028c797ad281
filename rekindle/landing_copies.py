"""Taking landed files into bronze: copied whole, known by their digest, counted, or refused by a reason."""

from __future__ import annotations

import hashlib
import os
import stat
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING

import zstandard

from rekindle.landing_names import KeySample, header_names
from rekindle.landing_streams import (
    CHUNK,
    HEAD,
    MAX_LINE_BYTES,
    PARQUET_MAGIC,
    WIDE_MARKS,
    Packing,
    RefusedFile,
    archive_of,
    check_frames,
    foreign_packer_of,
    is_parquet,
    packing_of,
    pieces,
)

if TYPE_CHECKING:
    from rekindle.sources import LogFormat

# A bomb expands a thousandfold and more; logs compress 5 to 20 times.
MAX_RATIO = 200
# A night's file, unpacked: at 300 MB/s a core reads so much in four minutes.
MAX_BYTES = 64 << 30


@dataclass(frozen=True)
class Taken:
    """A file copied whole into bronze. `columns` are the names it gives its fields, empty where it gives none.

    Of CSV the header's in the file's order, of Parquet the schema's, of JSON the sorted keys of a sample of lines.
    """

    sha256: str
    size_bytes: int
    lines: int
    columns: tuple[str, ...] = ()


def take(path: Path, bronze: Path, log_format: LogFormat | None = None) -> Taken:
    """Copy a landed file into `bronze/<sha256>` and count its lines; a second time changes nothing.

    The file is opened once, without following a link; what is counted is the copy, so that a file swapped in between
    cannot be counted as one and read as another. `log_format` is what it is declared to be; without one, whatever can
    be read is taken, and no columns are told.

    Raises:
        RefusedFile: gone, a link, not a regular file, empty, an archive, not packed or written as declared, cut,
            damaged, or a bomb.
    """
    with _opened(path) as source:
        size = os.fstat(source.fileno()).st_size
        if size > MAX_BYTES:
            raise RefusedFile("too_large", f"{size} bytes; expected at most {MAX_BYTES}")
        bronze.mkdir(parents=True, exist_ok=True)
        part = bronze / f".part-{os.getpid()}"
        try:
            sha256, size = _copy(source, part, path.name, log_format)
            found = _looked_through(part, size, log_format)
            part.replace(bronze / sha256)
        finally:
            part.unlink(missing_ok=True)
    return Taken(sha256, size, *found)


def _opened(path: Path) -> IO[bytes]:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except FileNotFoundError:
        raise RefusedFile("vanished", "it was listed, and is no longer there") from None
    except OSError as error:
        if path.is_symlink():
            raise RefusedFile("link", "expected a regular file") from None
        if path.is_socket():  # the one kind of file that cannot even be opened
            raise RefusedFile("not_a_file", "expected a regular file, found a socket") from None
        raise RefusedFile("unreadable", f"{error.strerror}") from None
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):  # asked first: Python opens no stream on a folder
        os.close(descriptor)
        raise RefusedFile("not_a_file", "expected a regular file")
    return os.fdopen(descriptor, "rb")


def _copy(source: IO[bytes], part: Path, name: str, log_format: LogFormat | None) -> tuple[str, int]:
    digest, size = hashlib.sha256(), 0
    with part.open("wb") as target:
        part.chmod(0o600)
        for chunk in _read(source):
            if size == 0:
                check_head(chunk[:HEAD], name, log_format)
            digest.update(chunk)
            size += len(chunk)
            if size > MAX_BYTES:
                raise RefusedFile("too_large", f"it grew to more than {MAX_BYTES} bytes while it was read")
            target.write(chunk)
        target.flush()
        os.fsync(target.fileno())
    if size == 0:
        raise RefusedFile("empty_file", "0 bytes")
    return digest.hexdigest(), size


def _read(source: IO[bytes]) -> Iterator[bytes]:
    try:
        while chunk := source.read(CHUNK):
            yield chunk
    except OSError as error:
        raise RefusedFile("unreadable", f"{error.strerror}") from None


def check_head(head: bytes, name: str, log_format: LogFormat | None) -> None:
    """Refuse a file that its first bytes show to be something else than a log packed as declared.

    Raises:
        RefusedFile: an archive, a packing that is not read or not declared, Parquet for text or text for Parquet.
    """
    _check_not_packed_twice(head)
    if log_format is None:
        return
    found, expected = packing_of(head), _declared(name, log_format)
    if found != expected:
        by = "by its name's ending" if log_format.compression == "by_name" else "as declared"
        raise RefusedFile("compression", f"expected {expected} {by}, found {found}")
    if (log_format.kind == "parquet") != head.startswith(PARQUET_MAGIC):
        is_text = log_format.kind != "parquet"
        raise RefusedFile("format", f"expected {log_format.kind}, found {'Parquet' if is_text else 'no Parquet'}")


def _declared(name: str, log_format: LogFormat) -> Packing:
    if log_format.compression != "by_name":
        return log_format.compression
    ending = name.lower()
    return "gzip" if ending.endswith(".gz") else "zstd" if ending.endswith(".zst") else "none"


def _check_not_packed_twice(head: bytes) -> None:
    if archive := archive_of(head):
        raise RefusedFile("archive", f"a {archive} archive; expected one log, plain or packed by gzip or zstd")
    if packer := foreign_packer_of(head):
        raise RefusedFile("compression", f"packed by {packer}; expected gzip, zstd or none")


def _looked_through(path: Path, size: int, log_format: LogFormat | None) -> tuple[int, tuple[str, ...]]:
    """The file's lines and columns, after all of its bytes were seen."""
    if is_parquet(path):
        return _table(path, size, log_format)
    if log_format and log_format.kind == "parquet":
        raise RefusedFile("parquet_damaged", "it does not end as a Parquet file does: it is cut short")
    with path.open("rb") as raw:
        packing = packing_of(raw.read(4))
        raw.seek(0)
        count = 0
        try:
            if packing == "zstd":
                check_frames(raw)
            first, sample, last = b"", KeySample(log_format.encoding if log_format else ()), b""
            unpacked = 0
            for piece in pieces(raw):
                if unpacked == 0:
                    _check_text(piece, packing, log_format)
                    first = piece[: MAX_LINE_BYTES + 4].partition(b"\n")[0]
                unpacked += len(piece)
                if unpacked > min(MAX_RATIO * size + CHUNK, MAX_BYTES):
                    raise RefusedFile("bomb", f"{size} bytes are more than {unpacked - len(piece)} when unpacked")
                count += piece.count(b"\n")
                last = piece
                if log_format and log_format.kind == "json_lines":
                    sample.add(piece, len(piece) < CHUNK)
        except EOFError:
            raise RefusedFile(f"{packing}_truncated", f"ends after {count} whole lines, within the stream") from None
        except (zlib.error, zstandard.ZstdError) as error:
            raise RefusedFile(f"{packing}_damaged", f"after {count} lines: {error}") from None
    columns = header_names(first, log_format) if log_format and log_format.header else sample.names()
    return count + (last != b"" and not last.endswith(b"\n")), columns


def _check_text(piece: bytes, packing: Packing, log_format: LogFormat | None) -> None:
    if packing != "none":
        _check_not_packed_twice(piece[:HEAD])
        if (within := packing_of(piece)) != "none":
            raise RefusedFile("compression", f"packed by {packing} and within by {within}; expected one of them")
    if log_format and "utf-8" in log_format.encoding and piece.startswith(WIDE_MARKS):
        raise RefusedFile("encoding", f"UTF-16 or UTF-32 by its first bytes; expected {', '.join(log_format.encoding)}")


def _table(path: Path, size: int, log_format: LogFormat | None) -> tuple[int, tuple[str, ...]]:
    import pyarrow as pa

    from rekindle import landing_parquet

    count = unpacked = 0
    try:
        names, without_text = landing_parquet.columns(path)
        unreadable = sorted(set(without_text).intersection(log_format.names if log_format else ()))
        if unreadable:
            raise RefusedFile("format", f"columns {', '.join(unreadable)} are bytes or nested; expected plain values")
        for batch in landing_parquet.tables(path):
            count += batch.num_rows
            unpacked += batch.nbytes
            if unpacked > min(MAX_RATIO * size + CHUNK, MAX_BYTES):
                raise RefusedFile("bomb", f"{size} bytes are more than {unpacked - batch.nbytes} when unpacked")
    except (OSError, pa.ArrowException) as error:
        raise RefusedFile("parquet_damaged", f"after {count} rows: {' '.join(str(error).split())}") from None
    return count, names
