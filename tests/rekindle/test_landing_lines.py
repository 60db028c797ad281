"""A landed file's lines are exact: number, offset and bytes, and what cannot be taken is refused by its reason."""

from __future__ import annotations

import gzip
import hashlib
import io
import os
from collections.abc import Callable
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rekindle import landing_blocks, landing_names, landing_streams
from rekindle.landing_lines import MAX_LINE_BYTES, READ_SCHEMA, Line, RefusedFile, lines, read_files, show_line, take
from rekindle.sources import LogFormat

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


def zstd(content: bytes) -> bytes:
    return zstandard.ZstdCompressor(write_checksum=True).compress(content)


def read(path: Path, encodings: tuple[str, ...] = ("utf-8",), header_lines: int = 0, chunk: int = 1 << 20) -> Any:
    """The file's rows as executors read them, and the number of batches they came in."""
    (path.parent / "copy").mkdir(exist_ok=True)
    copy = path.parent / "copy" / "0"
    copy.write_bytes(path.read_bytes())
    asked = {"file_sha256": "0", "landing_date": date(2026, 1, 1), "header_lines": header_lines}
    log_format = LogFormat(kind="json_lines", fields=("a",), encoding=encodings)
    found = list(read_files(str(copy.parent), log_format, chunk)(iter([pa.RecordBatch.from_pylist([asked])])))
    for batch in found:
        batch.validate(full=True)
    return [row for batch in found for row in batch.to_pylist()], len(found)


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
    for written in (content, gzip.compress(content), zstd(content)):
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
    [*broken_files().items(), ("gzip_damaged", gzip.compress(b"a\n", mtime=0) + b"junk that is no gzip member")],
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
    assert found == {"link": "link", "pipe": "not_a_file", "folder": "not_a_file", "absent": "vanished"}


def test_a_line_is_shown_by_its_number_or_the_files_length_is_told(landed: Callable[[bytes], Path]) -> None:
    path = landed(gzip.compress(b"a\nb\r\n" + b"x" * (MAX_LINE_BYTES + 1)))
    assert [show_line(path, n) for n in (1, 2, 3)] == [b"a", b"b\r", b"(longer than 65536 bytes)"]
    with pytest.raises(LookupError, match="has 3 lines; expected at least 4"):
        show_line(path, 4)


# Pieces that a line's end, a mark, a long line or a border between pieces can fall upon.
PARTS = (b"\n", b"\r", b"a", b"bc\n", b"\x00", b"\xff", "é\n".encode(), BOM, b"x" * 70, b"y" * (MAX_LINE_BYTES - 2))


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    content=st.lists(st.sampled_from(PARTS) | st.binary(max_size=9), max_size=12).map(b"".join),
    chunk=st.sampled_from([1, 2, 3, 7, 64, MAX_LINE_BYTES, MAX_LINE_BYTES + 5, 1 << 20]),
    pack=st.sampled_from([bytes, gzip.compress, zstd]),
)
def test_both_readers_find_the_same_lines_in_any_bytes(
    landed: Callable[[bytes], Path], content: bytes, chunk: int, pack: Callable[[bytes], bytes]
) -> None:
    if chunk < 64:
        content = content[:500]
    if pack is bytes and (
        landing_streams.packing_of(content) != "none" or content.startswith(landing_streams.PARQUET_MAGIC)
    ):
        return  # a file of another kind, which preflight looks at before anybody reads lines
    path = landed(pack(content))
    found, _ = read(path, chunk=chunk)
    assert [(r["line_number"], r["byte_offset"], r["value"]) for r in found] == told(path)


def test_a_line_that_fills_many_pieces_is_not_held_and_shifts_no_other() -> None:
    def stream() -> Any:
        yield b"a\n"
        yield from (b"x" * 100_000 for _ in range(50))
        yield b"x\nb"

    first, second, third = landing_blocks.blocks(stream())
    assert (first.text, second.text, third.text) == (b"a", b"", b"b")
    assert second.is_oversize.tolist() == [True]
    assert [b.first for b in (first, second, third)] == [1, 2, 3]
    assert [int(b.offsets[0]) for b in (first, second, third)] == [0, 2, 2 + 5_000_002]


def test_what_executors_read_is_what_lines_says_without_the_header(landed: Callable[[bytes], Path]) -> None:
    path = landed(b"h\n" + b"".join(b"%0300d\n" % n for n in range(20_000)))
    rows, batches = read(path, header_lines=1)
    assert batches > 1, "a large file comes in several batches"
    assert [(r["line_number"], r["byte_offset"], r["value"]) for r in rows] == told(path)[1:]
    assert {(r["file_sha256"], r["landing_date"], r["transcoded"]) for r in rows} == {("0", date(2026, 1, 1), None)}
    assert list(rows[0]) == [part.split()[0] for part in READ_SCHEMA.split(", ")]


def test_millions_of_empty_lines_come_in_batches_of_bounded_size(landed: Callable[[bytes], Path]) -> None:
    rows, batches = read(landed(b"\n" * 100_000))
    assert (len(rows), batches) == (100_000, 4)
    assert rows[-1]["line_number"] == 100_000


def test_each_line_is_brought_to_utf8_by_the_first_declared_encoding_that_reads_it(
    landed: Callable[[bytes], Path],
) -> None:
    """Lines meet only at their ends: the last one's first byte would complete the one before it."""
    content = [b"plain", "好".encode(), "中文".encode("gbk"), b"\xff\xff", b"", b"\xc3", b"\xa9x"]
    path = landed(b"\n".join(content))

    def found(*encodings: str) -> list[tuple[bytes, str | None]]:
        return [(r["value"], r["transcoded"]) for r in read(path, encodings)[0]]

    assert found("utf-8") == [(line, None) for line in content], "nothing is decoded where only UTF-8 is declared"
    assert found("utf-8", "gbk") == [
        (b"plain", None),
        ("好".encode(), None),
        ("中文".encode(), "gbk"),
        (b"\xff\xff", None),
        (b"", None),
        (b"\xc3", None),
        (b"\xa9x".decode("gbk").encode(), "gbk"),
    ], "what no encoding reads stays as it came"
    assert found("latin-1")[1] == ("好".encode().decode("latin-1").encode(), "latin-1")
    assert [r["byte_offset"] for r in read(path, ("utf-8", "gbk"))[0]] == [r["byte_offset"] for r in read(path)[0]], (
        "offsets are the file's, not the transcoded text's"
    )


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    content=st.lists(
        st.sampled_from(
            [b"\n", b"a", "é".encode(), b"\xe9", "中".encode("gbk"), "中".encode(), b"\x81", b"\xc3", b"\xa9"]
        )
    ).map(b"".join),
    encodings=st.sampled_from([("utf-8", "gbk"), ("gbk", "utf-8"), ("windows-1252",), ("shift_jis", "latin-1")]),
)
def test_transcoding_by_the_million_is_transcoding_line_by_line(
    landed: Callable[[bytes], Path], content: bytes, encodings: tuple[str, ...]
) -> None:
    path = landed(content)
    expected = []
    for line in lines(path):
        value = line.value or b""
        by = next((e for e in encodings if is_text(value, e)), None)
        is_same = value.isascii() or by in (None, "utf-8")
        expected.append((value, None) if is_same or by is None else (value.decode(by).encode(), by))
    assert [(r["value"], r["transcoded"]) for r in read(path, encodings)[0]] == expected


def is_text(value: bytes, encoding: str) -> bool:
    try:
        value.decode(encoding)
    except UnicodeDecodeError:
        return False
    return True


# ---------------------------------------------------------------------- zstd


def test_every_cut_of_a_zstd_file_is_found_and_no_whole_one_is_refused(landed: Callable[[bytes], Path]) -> None:
    skippable = b"\x53\x2a\x4d\x18" + (5).to_bytes(4, "little") + b"\n\n\n\n\n"
    frames = zstd(b"a\n" * 40_000 + b"b") + skippable + zstd(b"") + zstandard.ZstdCompressor().compress(b"c\n" * 9)
    path = landed(frames)
    whole = take(path, path.parent / "bronze")
    assert whole.lines == 40_009
    assert told(path)[-9][2] == b"bc"
    ends = {len(zstd(b"a\n" * 40_000 + b"b"))}
    ends |= {max(ends) + len(skippable), max(ends) + len(skippable) + len(zstd(b""))}
    for cut in set(range(5, len(frames))) - ends:
        path = landed(frames[:cut])
        with pytest.raises(RefusedFile) as refused:
            take(path, path.parent / "bronze")
        # Three bytes of a frame's first four tell not whose they are.
        assert refused.value.reason in ("zstd_truncated", "zstd_damaged")
        assert refused.value.reason == "zstd_truncated" or min(cut - e for e in ends if e < cut) < 4


def test_a_zstd_file_that_asks_for_more_memory_than_we_give_is_refused(landed: Callable[[bytes], Path]) -> None:
    greedy = zstandard.ZstdCompressionParameters.from_level(1, window_log=27)
    packer = zstandard.ZstdCompressor(compression_params=greedy).compressobj()
    path = landed(packer.compress(os.urandom(1000)) + packer.flush())
    with pytest.raises(RefusedFile, match=r"zstd_damaged: .*too much memory"):
        take(path, path.parent / "bronze")


# ---------------------------------------------------------------------- parquet


def test_a_parquet_row_is_a_json_line_of_texts_without_what_is_null(landed: Callable[[bytes], Path]) -> None:
    moment = datetime(2026, 3, 29, 0, 30, 0, 250_000, tzinfo=UTC)
    table = pa.table(
        {
            "id": pa.array([2**53 + 1, None], pa.int64()),
            "price": pa.array([1.5, 2.0]),
            "exact": pa.array([Decimal("1.50"), None]),
            "day": pa.array([date(2026, 1, 2), None]),
            "naive": pa.array([moment.replace(tzinfo=None)] * 2, pa.timestamp("ms")),
            "zoned": pa.array([moment] * 2, pa.timestamp("ms", "Europe/Berlin")),
            "word": pa.array(['naïve\n"x"', None]).dictionary_encode(),
            "flag": pa.array([True, None]),
            "blob": pa.array([b"\xff", None]),
            "many": pa.array([[1], None]),
        }
    )
    out = io.BytesIO()
    pq.write_table(table, out, row_group_size=1)
    path = landed(out.getvalue())
    log_format = LogFormat(kind="parquet", fields=("id",))
    taken = take(path, path.parent / "bronze", log_format)
    assert (taken.lines, taken.columns) == (2, tuple(table.schema.names))
    first = (
        '{"id":"9007199254740993","price":"1.5","exact":"1.50","day":"2026-01-02","naive":"2026-03-29T00:30:00.250",'
        '"zoned":"2026-03-29T01:30:00.250+01:00","word":"naïve\\n\\"x\\"","flag":"true"}'
    )
    second = '{"price":"2","naive":"2026-03-29T00:30:00.250","zoned":"2026-03-29T01:30:00.250+01:00"}'
    assert told(path) == [(1, 0, first.encode()), (2, 1, second.encode())]
    assert [(r["line_number"], r["byte_offset"], r["value"]) for r in read(path)[0]] == told(path)
    assert show_line(path, 2) == second.encode()


def test_text_in_parquet_that_is_no_utf8_stays_as_its_bytes_are(landed: Callable[[bytes], Path]) -> None:
    wrong = pa.Array.from_buffers(pa.string(), 1, pa.array([b"\xe9t\xe9"]).buffers())
    out = io.BytesIO()
    pq.write_table(pa.table({"a": wrong, "b": pa.array(["x" * MAX_LINE_BYTES])}), out)
    path = landed(out.getvalue())
    assert told(path) == [(1, 0, None)], "with its long neighbour the row is too long"
    assert read(path)[0][0]["value"] is None
    out = io.BytesIO()
    pq.write_table(pa.table({"a": wrong}), out)
    assert told(landed(out.getvalue())) == [(1, 0, b'{"a":"\xe9t\xe9"}')]


def test_a_declared_column_without_text_refuses_the_file_and_another_one_does_not(
    landed: Callable[[bytes], Path],
) -> None:
    out = io.BytesIO()
    pq.write_table(pa.table({"a": pa.array([b"\xff"]), "b": pa.array(["x"])}), out)
    path = landed(out.getvalue())
    with pytest.raises(RefusedFile, match="format: columns a are bytes or nested"):
        take(path, path.parent / "bronze", LogFormat(kind="parquet", fields=("a",)))
    assert take(path, path.parent / "bronze", LogFormat(kind="parquet", fields=("b",))).columns == ("a", "b")


@pytest.mark.parametrize("where", ["foot", "page", "end"])
def test_damaged_parquet_is_refused(landed: Callable[[bytes], Path], where: str) -> None:
    out = io.BytesIO()
    table = pa.table({"a": [str(n) for n in range(5000)]})
    pq.write_table(table, out, write_page_checksum=True, use_dictionary=False)
    content = bytearray(out.getvalue())
    if where == "end":
        content = content[:-9]
    else:
        content[-20 if where == "foot" else 400] ^= 0xFF
        content[-8] ^= where == "foot"
    path = landed(bytes(content))
    with pytest.raises(RefusedFile) as refused:
        take(path, path.parent / "bronze", LogFormat(kind="parquet", fields=("a",)))
    assert refused.value.reason == "parquet_damaged"


# ---------------------------------------------------------------------- names of fields


def test_the_keys_of_json_lines_are_sampled_over_the_whole_file(landed: Callable[[bytes], Path]) -> None:
    log_format = LogFormat(kind="json_lines", fields=("a",))
    first, last = b'{"first": 1}\n', b'{"a": 1, "last": 1}\n'
    few = landed(BOM + first + b"no json\n[1]\n" + last[:-1])
    assert take(few, few.parent / "bronze", log_format).columns == ("a", "first", "last")
    many = landed(b'{"a": 1}\n' * 300_000 + b'{"a": 1, "late": 1}\n' * 3000)
    assert take(many, many.parent / "bronze", log_format).columns == ("a", "late"), "1 % of the lines, all at the end"
    odd = landed(b'{"\\u0000\\ud800": 1, "' + b"k" * 101 + b'": 1}\n{"\\u0000\\ud800": 1}')
    assert take(odd, odd.parent / "bronze", log_format).columns == ("\\x00\\ud800",), "as PostgreSQL can store it"


@settings(max_examples=30, deadline=None)
@given(lengths=st.lists(st.integers(8, 5000), min_size=1, max_size=60), chunk=st.sampled_from([50, 1000, 10**6]))
def test_a_sample_is_a_function_of_the_bytes_and_never_large(lengths: list[int], chunk: int) -> None:
    content = b"".join(b'{"k%d": "%s"}\n' % (n, b"v" * size) for n, size in enumerate(lengths)) * 40

    def sample() -> tuple[str, ...]:
        made = landing_names.KeySample(("utf-8",))
        for start in range(0, len(content), chunk):
            made.add(content[start : start + chunk])
        assert len(made._kept) < landing_names.MAX_SAMPLES
        return made.names()

    assert sample() == sample()
    if chunk >= len(content) and 40 * len(lengths) < landing_names.MAX_SAMPLES:
        assert sample() == tuple(sorted(f"k{n}" for n in range(len(lengths)))), "a small file is seen whole"


@pytest.mark.parametrize(
    ("parts", "line", "expected"),
    [
        ({}, BOM + b'a,"b ""x"", y",c\r', ("a", 'b "x", y', "c")),
        ({"delimiter": "\t", "quote": None}, b'a\t"b"', ("a", '"b"')),
        ({"delimiter": "::"}, b'a::"b"::c', ("a", "b", "c")),
        ({"encoding": ("utf-8", "gbk")}, "用户,b".encode("gbk"), ("用户", "b")),
        ({}, b"\xff,b", ()),
        ({}, b"", ()),
    ],
)
def test_a_headers_names_are_read_as_declared(parts: dict[str, Any], line: bytes, expected: tuple[str, ...]) -> None:
    log_format = LogFormat(kind="csv", header=True, fields=("a",), **parts)
    assert landing_names.header_names(line, log_format) == expected
