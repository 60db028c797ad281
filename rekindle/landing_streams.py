"""The bytes of a landed file: what it is by its first ones, and all of them unpacked in pieces of bounded size."""

from __future__ import annotations

import gzip
import io
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, Literal

import zstandard

Packing = Literal["none", "gzip", "zstd"]

MAX_LINE_BYTES = 64 * 1024
CHUNK = 2 << 20
PACKED_CHUNK = 64 * 1024  # a packed byte can be a thousand unpacked ones, so little is handed over at once
# `zstd -19` needs 8 MiB of memory, `--long` 128 MiB, and a file can ask for 4 GiB.
MAX_WINDOW = 32 << 20
BYTE_ORDER_MARK = b"\xef\xbb\xbf"
GZIP_MAGIC = b"\x1f\x8b"
ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"
PARQUET_MAGIC = b"PAR1"
WIDE_MARKS = (b"\xff\xfe", b"\xfe\xff", b"\x00\x00\xfe\xff")
HEAD = 512  # bytes that tell what a file is: the mark of a tar stands at 257
ARCHIVES = {b"PK\x03\x04": "zip", b"PK\x05\x06": "zip", b"PK\x07\x08": "zip", b"7z\xbc\xaf\x27\x1c": "7z"}
ARCHIVES |= {b"Rar!\x1a\x07": "rar"}
PACKERS = {b"\xfd7zXZ\x00": "xz", b"\x04\x22\x4d\x18": "lz4", b"\x1f\x9d": "compress", b"\x1f\xa0": "compress"}
BZIP2_BLOCKS = (b"1AY&SY", b"\x17rE8P\x90")  # "BZh9" alone could be the first word of a text


class RefusedFile(Exception):
    """The file cannot be taken; `reason` is its id, the message says what was found."""

    def __init__(self, reason: str, found: str) -> None:
        super().__init__(f"{reason}: {found}")
        self.reason = reason


def packing_of(head: bytes) -> Packing:
    """How a file that begins so is packed."""
    if head.startswith(GZIP_MAGIC):
        return "gzip"
    return "zstd" if head.startswith(ZSTD_MAGIC) or _is_skippable(head) else "none"


def archive_of(head: bytes) -> str | None:
    """The archive format of a file that begins so: a folder of files where one log is expected. Null if none."""
    if head[257:262] == b"ustar":
        return "tar"
    return next((name for magic, name in ARCHIVES.items() if head.startswith(magic)), None)


def foreign_packer_of(head: bytes) -> str | None:
    """The compression, none that is read here, of a file that begins so. Null if none."""
    if head.startswith(b"BZh") and head[4:10] in BZIP2_BLOCKS:
        return "bzip2"
    return next((name for magic, name in PACKERS.items() if head.startswith(magic)), None)


def is_parquet(path: Path) -> bool:
    """Whether the file begins and ends as Parquet files do."""
    with path.open("rb") as raw:
        if raw.read(4) != PARQUET_MAGIC:
            return False
        raw.seek(-4, io.SEEK_END)
        return raw.read(4) == PARQUET_MAGIC


def opened(raw: IO[bytes]) -> IO[bytes]:
    """The unpacked stream by the standard readers, for those who read line by line."""
    packing = packing_of(_head(raw))
    if packing == "gzip":
        return io.BufferedReader(gzip.GzipFile(fileobj=raw), CHUNK)
    return io.BufferedReader(_zstd_reader(raw), CHUNK) if packing == "zstd" else raw


def pieces(raw: IO[bytes], chunk: int = CHUNK) -> Iterator[bytes]:
    """The unpacked stream in pieces of `chunk` bytes, the last one shorter; memory does not grow with the file.

    Raises:
        EOFError: the packed stream is cut short.
        zlib.error, zstandard.ZstdError: it is damaged, or followed by something else.
    """
    packing = packing_of(_head(raw))
    if packing == "gzip":
        yield from _of_size(_gunzipped(raw, chunk), chunk)
    elif packing == "zstd":
        yield from _of_size(_read(_zstd_reader(raw), chunk), chunk)
    else:
        yield from _of_size(_read(raw, chunk), chunk)


def decoded(value: bytes, encodings: Sequence[str]) -> tuple[str, str] | None:
    """The text and the first of the encodings by which the bytes are text; null if by none."""
    for encoding in encodings:
        try:
            return value.decode(encoding), encoding
        except UnicodeDecodeError:
            continue
    return None


def check_frames(raw: IO[bytes]) -> None:
    """Walk a zstd file from block to block: the decoder itself takes a file that is cut short for a shorter file.

    Raises:
        EOFError: it ends within a frame.
        zstandard.ZstdError: something else stands after a frame.
    """
    size = raw.seek(0, io.SEEK_END)
    raw.seek(0)
    while head := raw.read(4):
        if _is_skippable(head):
            raw.seek(int.from_bytes(_exactly(raw, 4), "little"), io.SEEK_CUR)
        elif head == ZSTD_MAGIC:
            _pass_frame(raw)
        elif len(head) < 4 and ZSTD_MAGIC.startswith(head):
            raise EOFError
        else:
            raise zstandard.ZstdError(f"at byte {raw.tell() - len(head)} stands {head!r}, which begins no frame")
        if raw.tell() > size:
            raise EOFError
    raw.seek(0)


def _pass_frame(raw: IO[bytes]) -> None:
    # RFC 8878, 3.1.1: descriptor, window, dictionary id and content size, then blocks, then perhaps a checksum.
    descriptor = _exactly(raw, 1)[0]
    single = descriptor >> 5 & 1
    content_size = (single, 2, 4, 8)[descriptor >> 6]
    raw.seek((1 - single) + (0, 1, 2, 4)[descriptor & 3] + content_size, io.SEEK_CUR)
    is_last = 0
    while not is_last:
        block = int.from_bytes(_exactly(raw, 3), "little")
        is_last = block & 1
        repeats_a_byte = block >> 1 & 3 == 1
        raw.seek(1 if repeats_a_byte else block >> 3, io.SEEK_CUR)
    if descriptor & 4:
        raw.seek(4, io.SEEK_CUR)


def _exactly(raw: IO[bytes], count: int) -> bytes:
    found = raw.read(count)
    if len(found) < count:
        raise EOFError
    return found


def _is_skippable(head: bytes) -> bool:
    return len(head) >= 4 and head[0] >> 4 == 5 and head[1:4] == b"\x2a\x4d\x18"


def _head(raw: IO[bytes]) -> bytes:
    found = raw.read(4)
    raw.seek(0)
    return found


def _zstd_reader(raw: IO[bytes]) -> zstandard.ZstdDecompressionReader:
    decoder = zstandard.ZstdDecompressor(max_window_size=MAX_WINDOW)
    return decoder.stream_reader(raw, read_size=PACKED_CHUNK, read_across_frames=True, closefd=False)


def _read(stream: IO[bytes] | zstandard.ZstdDecompressionReader, chunk: int) -> Iterator[bytes]:
    while piece := stream.read(chunk):
        yield piece


def _gunzipped(raw: IO[bytes], chunk: int) -> Iterator[bytes]:
    """The members of a gzip file one after the other; zeros behind a member are padding, as gzip itself takes them."""
    member, is_begun, packed = zlib.decompressobj(31), False, b""
    while True:
        if not packed and not (packed := raw.read(PACKED_CHUNK)):
            break
        if not is_begun and not (packed := packed.lstrip(b"\0")):
            continue
        is_begun = True
        piece = member.decompress(packed, chunk)
        packed = member.unconsumed_tail
        yield piece
        while len(piece) == chunk and not member.eof and not packed:  # what was unpacked and not yet handed out
            piece = member.decompress(b"", chunk)
            yield piece
        if member.eof:
            packed = member.unused_data
            member, is_begun = zlib.decompressobj(31), False
    if is_begun:
        raise EOFError


def _of_size(found: Iterator[bytes], chunk: int) -> Iterator[bytes]:
    held = bytearray()
    for piece in found:
        if not held and len(piece) == chunk:
            yield piece
            continue
        held += piece
        while len(held) >= chunk:
            yield bytes(held[:chunk])
            del held[:chunk]
    if held:
        yield bytes(held)
