"""A landed file's lines are exact: number, offset and bytes, and what cannot be taken is refused by its reason."""

from __future__ import annotations

import gzip
import hashlib
import os
from collections.abc import Callable
from datetime import date
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rekindle.landing_lines import MAX_LINE_BYTES, Line, RefusedFile, lines, read_files, show_line, take

BOM = b"\xef\xbb\xbf"


@pytest.fixture
def landed(tmp_path: Path) -> Callable[[bytes], Path]:
    """A landed file of these bytes."""

    def write(content: bytes) -> Path:
        path = tmp_path / "landed"
        path.write_bytes(content)
        return path

    return write


def told(path: Path) -> list[tuple[int, int, bytes | None]]:
    return [(line.number, line.offset, line.value) for line in lines(path)]


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"a\nbc\n", [(1, 0, b"a"), (2, 2, b"bc")]),
        (b"a\nbc", [(1, 0, b"a"), (2, 2, b"bc")]),
        (b"\n\na\n\n", [(1, 0, b""), (2, 1, b""), (3, 2, b"a"), (4, 4, b"")]),
        (b"a\r\nb\rc\n", [(1, 0, b"a\r"), (2, 3, b"b\rc")]),
        (BOM + b"a\n" + BOM + b"b\n", [(1, 0, b"a"), (2, 5, BOM + b"b")]),
        ("a\u2028b\x85c\x0bd\n".encode(), [(1, 0, "a\u2028b\x85c\x0bd".encode())]),
        (b"\x00\xff\n", [(1, 0, b"\x00\xff")]),
    ],
)
def test_lines_are_told_by_number_offset_and_bytes(
    landed: Callable[[bytes], Path], content: bytes, expected: list[tuple[int, int, bytes]], packed: bool
) -> None:
    path = landed(gzip.compress(content) if packed else content)
    assert told(path) == expected
    assert take(path, path.parent / "bronze").lines == len(expected)


def test_concatenated_gzip_members_are_one_file_even_inside_a_line(landed: Callable[[bytes], Path]) -> None:
    path = landed(gzip.compress(b"a\nb") + gzip.compress(b"c\n") + gzip.compress(b"") + gzip.compress(b"d"))
    assert told(path) == [(1, 0, b"a"), (2, 2, b"bc"), (3, 5, b"d")]
    assert take(path, path.parent / "bronze").lines == 3


@pytest.mark.parametrize("mark", [b"", BOM])
@pytest.mark.parametrize("length", [MAX_LINE_BYTES - 1, MAX_LINE_BYTES, MAX_LINE_BYTES + 1, 3 * MAX_LINE_BYTES])
def test_a_line_over_64_kib_is_named_without_its_bytes_and_loses_no_other(
    landed: Callable[[bytes], Path], length: int, mark: bytes
) -> None:
    path = landed(mark + b"x" * length + b"\ny\n")
    first, second = lines(path)
    assert first == Line(1, 0, b"x" * length if length <= MAX_LINE_BYTES else None)
    assert second == Line(2, len(mark) + length + 1, b"y")


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(content=st.lists(st.sampled_from([b"\n", b"\r", b"a", b"\x00", b"\xc3", b'"']), min_size=1).map(b"".join))
def test_joined_lines_give_the_file_back(landed: Callable[[bytes], Path], content: bytes) -> None:
    for written in (content, gzip.compress(content)):
        path = landed(written)
        found = list(lines(path))
        assert b"\n".join(line.value or b"" for line in found) == content.removesuffix(b"\n")
        assert [line.number for line in found] == list(range(1, len(found) + 1))
        assert all(content[line.offset :].startswith(line.value or b"") for line in found)
        assert take(path, path.parent / "bronze").lines == len(found)


def test_taking_twice_is_once(landed: Callable[[bytes], Path]) -> None:
    content = gzip.compress(b"a\nb\n")
    path = landed(content)
    bronze = path.parent / "bronze"
    once, again = take(path, bronze), take(path, bronze)
    assert once == again
    assert (once.sha256, once.size_bytes, once.lines) == (hashlib.sha256(content).hexdigest(), len(content), 2)
    assert [p.name for p in bronze.iterdir()] == [once.sha256]
    copy = bronze / once.sha256
    assert copy.read_bytes() == content
    assert copy.stat().st_mode & 0o777 == 0o600, "raw ids are for the pipeline alone"


def broken_files() -> dict[str, bytes]:
    whole = gzip.compress(b"".join(b"line %d\n" % n for n in range(5000)), mtime=0)
    damaged = bytearray(whole)
    damaged[len(whole) // 2] ^= 0xFF
    return {
        "empty_file": b"",
        "gzip_truncated": whole[:-20],
        "gzip_damaged": bytes(damaged),
        "bomb": gzip.compress(b"\n" * 8_000_000),
    }


@pytest.mark.parametrize(
    ("reason", "content"),
    [*broken_files().items(), ("gzip_damaged", gzip.compress(b"a\n") + b"junk that is no gzip member")],
)
def test_a_file_that_is_not_whole_is_refused_and_leaves_nothing_behind(
    landed: Callable[[bytes], Path], reason: str, content: bytes
) -> None:
    path = landed(content)
    with pytest.raises(RefusedFile) as refused:
        take(path, path.parent / "bronze")
    assert refused.value.reason == reason
    assert str(refused.value).startswith(f"{reason}: ")
    assert list((path.parent / "bronze").iterdir()) == []


def test_what_is_not_a_regular_file_is_refused_without_waiting_for_it(tmp_path: Path) -> None:
    (tmp_path / "secret").write_bytes(b"a\n")
    (tmp_path / "link").symlink_to(tmp_path / "secret")
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "folder").mkdir()
    found = {}
    for name in ("link", "pipe", "folder", "absent"):
        with pytest.raises(RefusedFile) as refused:
            take(tmp_path / name, tmp_path / "bronze")
        found[name] = refused.value.reason
    assert found == {"link": "link", "pipe": "not_a_file", "folder": "not_a_file", "absent": "unreadable"}


def test_a_line_is_shown_by_its_number_or_the_files_length_is_told(landed: Callable[[bytes], Path]) -> None:
    path = landed(gzip.compress(b"a\nb\r\n" + b"x" * (MAX_LINE_BYTES + 1)))
    assert [show_line(path, n) for n in (1, 2, 3)] == [b"a", b"b\r", b"(longer than 65536 bytes)"]
    with pytest.raises(LookupError, match="has 3 lines; expected at least 4"):
        show_line(path, 4)


def test_what_executors_read_is_what_lines_says_without_the_header(landed: Callable[[bytes], Path]) -> None:
    import pyarrow as pa

    path = landed(b"h\n" + b"".join(b"%0300d\n" % n for n in range(20_000)))
    taken = take(path, path.parent / "bronze")
    listed = pa.RecordBatch.from_pylist(
        [{"file_sha256": taken.sha256, "landing_date": date(2026, 1, 1), "header_lines": 1}]
    )
    read = list(read_files(str(path.parent / "bronze"))(iter([listed])))
    assert len(read) > 1, "a large file comes in several batches"
    rows = [row for batch in read for row in batch.to_pylist()]
    assert [(r["line_number"], r["byte_offset"], r["value"]) for r in rows] == told(path)[1:]
    assert {(r["file_sha256"], r["landing_date"]) for r in rows} == {(taken.sha256, date(2026, 1, 1))}
