"""The catalogue of hostile files, fault by fault: each is refused by its reason or counted to its last line, alone.

Lines within a file that is taken are cleaning's to judge. F51 (100,000 tiny files) stands here with 300.
"""

from __future__ import annotations

import bz2
import gzip
import hashlib
import io
import json
import lzma
import os
import random
import socket
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import pytest
import zstandard
from hypothesis import HealthCheck, given
from hypothesis import settings as examples
from hypothesis import strategies as st

from jobs.ingest.preflight_landing import inspect_landing
from rekindle import landing_copies, settings
from rekindle.landing_inspection import Listing, list_landing
from rekindle.landing_lines import RefusedFile, lines, take
from rekindle.ledger import LandedFile

DAY = date(2026, 1, 31)
LINE = b'{"event_id": "1", "ts": "2026-01-01T10:00:00Z", "type": "pageview", "customer": "c1"}\n'
NEIGHBOURS = {"2026-01-01-a.jsonl": LINE * 3, "2026-01-02-b.jsonl.gz": gzip.compress(LINE * 5, mtime=0)}
WHOLE = gzip.compress(b"".join(b'{"n": %d}\n' % n for n in range(20_000)), mtime=0)


def hostile(home: Path, **log_format: Any) -> settings.Settings:
    """A shop that takes every name with a date in it, so that nothing but a file's content can refuse it."""
    loaded = settings.load("simulated_shop")
    told = loaded.source.model_dump(mode="json")
    told["files"]["events"]["landing"]["pattern"] = r"(?s).*?(?P<date>\d{4}-\d{2}-\d{2}).*"
    told["files"]["events"]["format"] |= log_format
    lake = loaded.environment.lake.model_copy(update={"bronze": home / "bronze"})
    parts = {"home": home, "source": settings.Source.model_validate(told)}
    parts["environment"] = loaded.environment.model_copy(update={"lake": lake})
    made = settings.Settings(**({n: getattr(loaded, n) for n in settings.Settings.model_fields} | parts))
    made.landing.mkdir(parents=True)
    for name, content in NEIGHBOURS.items():
        (made.landing / name).write_bytes(content)
    return made


def listing_of(made: settings.Settings) -> Listing:
    return list_landing(made.landing, made.source, DAY)


def fates(made: settings.Settings, listing: Listing | None = None) -> dict[str, str | int]:
    """Each file's lines, or why it is refused; the neighbours, proven untouched, are left out (I10)."""
    found = inspect_landing(made, listing or listing_of(made), DAY, ())
    for name, content in NEIGHBOURS.items():
        (one,) = (f for f in found if f.name == name)
        assert (one.status, one.lines) == ("accepted", 3 if name.endswith("a.jsonl") else 5)
        assert one.sha256 == hashlib.sha256(content).hexdigest()
        assert (made.environment.lake.bronze / one.sha256).read_bytes() == content
    return {f.name: fate(f) for f in found if f.name not in NEIGHBOURS}


def fate(file: LandedFile) -> str | int:
    assert (file.status == "refused") == bool(file.reason)
    return file.lines if file.status == "accepted" else str(file.reason).split(":")[0]


def zstd(content: bytes) -> bytes:
    return zstandard.ZstdCompressor(write_checksum=True).compress(content)


def flipped(content: bytes, at: int) -> bytes:
    return content[:at] + bytes([content[at] ^ 0xFF]) + content[at:][1:]


def zipped(*names: str) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for name in names:
            archive.writestr(name, LINE)
    return out.getvalue()


def tarred() -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        info = tarfile.TarInfo("../../etc/cron.d/x")
        info.size = len(LINE)
        archive.addfile(info, io.BytesIO(LINE))
    return out.getvalue()


def text(encoding: str) -> bytes:
    return '{"title": "Käse"}\n{"title": "Brot"}\n'.encode(encoding)


# Fault, file's name behind its date, its bytes, and its lines or the reason's id.
CONTENTS: list[tuple[str, str, bytes, str | int]] = [
    ("F39", "again.jsonl", LINE * 3, "duplicate_delivery"),
    ("F39", "again.jsonl.gz", gzip.compress(LINE * 3, mtime=7), 3),  # packed anew: its lines are the duplicates
    ("F39", "again.jsonl.zst", zstd(LINE * 3), 3),
    ("F40", "a.jsonl.gz.part", WHOLE, "name"),
    ("F40", "a.jsonl._COPYING_", LINE, "name"),
    ("F40", "a.jsonl.gz.crdownload", WHOLE[:99], "name"),
    ("F42", "cut.jsonl.gz", WHOLE[: len(WHOLE) // 100], "gzip_truncated"),
    ("F42", "cut.jsonl.gz", WHOLE[: len(WHOLE) // 2], "gzip_truncated"),
    ("F42", "cut.jsonl.gz", WHOLE[:-1], "gzip_truncated"),
    ("F42", "cut.jsonl.zst", zstd(os.urandom(50_000))[:500], "zstd_truncated"),
    ("F42", "cut.jsonl.zst", zstd(os.urandom(500_000))[:250_000], "zstd_truncated"),
    ("F42", "cut.jsonl.zst", zstd(LINE * 50_000)[:-1], "zstd_truncated"),
    ("F43", "more.jsonl.gz", WHOLE + b"trailing garbage", "gzip_damaged"),
    ("F43", "more.jsonl.gz", WHOLE + b"\0" * 1000, 20_000),  # padding, which gzip itself ignores
    ("F43", "more.jsonl.gz", WHOLE + gzip.compress(LINE), 20_001),
    ("F43", "more.jsonl.gz", gzip.compress(LINE) * 1000, 1000),
    ("F43", "crc.jsonl.gz", flipped(WHOLE, len(WHOLE) - 6), "gzip_damaged"),
    ("F43", "crc.jsonl.gz", flipped(WHOLE, len(WHOLE) // 2), "gzip_damaged"),
    ("F43", "text.jsonl.gz", LINE, "compression"),
    ("F43", "packed.jsonl", WHOLE, "compression"),
    ("F43", "zstd.jsonl.gz", zstd(LINE), "compression"),
    ("F43", "gzip.jsonl.zst", WHOLE, "compression"),
    ("F43", "more.jsonl.zst", zstd(LINE) + zstd(LINE), 2),
    ("F43", "more.jsonl.zst", zstd(LINE) + b"trailing garbage", "zstd_damaged"),
    ("F43", "sum.jsonl.zst", flipped(zstd(LINE), len(zstd(LINE)) - 1), "zstd_damaged"),
    ("F44", "bomb.jsonl.gz", gzip.compress(b"x" * 30_000_000), "bomb"),
    ("F44", "bomb.jsonl.zst", zstd(b"\n" * 30_000_000), "bomb"),
    ("F44", "bomb.jsonl.gz", gzip.compress(gzip.compress(b"x" * 30_000_000)), "compression"),
    ("F45", "a.jsonl", zipped("../../etc/cron.d/x"), "archive"),
    ("F45", "a.jsonl", zipped("/etc/cron.d/x", "b"), "archive"),
    ("F45", "a.jsonl", zipped(), "archive"),
    ("F45", "a.jsonl", tarred(), "archive"),
    ("F45", "a.jsonl.gz", gzip.compress(tarred()), "archive"),
    ("F45", "a.jsonl.gz", gzip.compress(zipped("a")), "archive"),
    ("F45", "a.jsonl", b"7z\xbc\xaf\x27\x1c" + LINE, "archive"),
    ("F45", "a.jsonl", b"Rar!\x1a\x07\x01\x00" + LINE, "archive"),
    ("F45", "a.jsonl", bz2.compress(LINE), "compression"),
    ("F45", "a.jsonl", lzma.compress(LINE), "compression"),
    ("F46", "nothing.jsonl", b"", "empty_file"),
    ("F46", "nothing.jsonl.gz", b"", "empty_file"),
    ("F46", "nothing.jsonl.gz", gzip.compress(b""), 0),
    ("F46", "nothing.jsonl.zst", zstd(b""), 0),
    ("F46", "mark.jsonl", b"\xef\xbb\xbf", 1),
    ("F46", "last.jsonl", LINE + LINE[:-1], 2),
    ("F46", "last.jsonl.gz", gzip.compress(LINE + LINE[:20]), 2),
    ("F46", "blank.jsonl", b"\n\n\n", 3),
    ("F52", "wide.jsonl", text("utf-16"), "encoding"),
    ("F52", "wide.jsonl", b"\xfe\xff" + text("utf-16-be"), "encoding"),
    ("F52", "wide.jsonl.gz", gzip.compress(text("utf-32")), "encoding"),
    ("F52", "latin.jsonl", text("latin-1"), 2),  # line by line: the second is plain ASCII
    ("F52", "table.jsonl", b"PAR1" + LINE + b"PAR1", "format"),
    ("F60", "long.jsonl", LINE + b'{"a": "' + b"x" * 10_000_000 + b'"}\n' + LINE, 3),
    ("F60", "long.jsonl.gz", gzip.compress(LINE + os.urandom(15_000_000).hex().encode() + b"\n" + LINE, 1), 3),
]


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [pytest.param(*case[1:], id=f"{case[0]}-{n}-{case[1]}") for n, case in enumerate(CONTENTS)],
)
def test_a_hostile_file_meets_its_fate_and_its_neighbours_do_not_notice(
    tmp_path: Path, name: str, content: bytes, expected: str | int
) -> None:
    made = hostile(tmp_path)
    (made.landing / f"2026-01-03-{name}").write_bytes(content)
    assert fates(made) == {f"2026-01-03-{name}": expected}
    bronze = made.environment.lake.bronze
    kept = bronze / hashlib.sha256(content).hexdigest()
    if isinstance(expected, int):
        assert sum(1 for _ in lines(kept)) == expected, "what is counted can be read"
    elif expected != "duplicate_delivery":
        assert len(list(bronze.iterdir())) == len(NEIGHBOURS), "nothing of it is left"


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        (b"InvoiceNo,StockCode,Description,Quantity,InvoiceDate,UnitPrice,CustomerID,Country", 1),  # F46
        (b"\xef\xbb\xbf", "header"),  # F46
        (gzip.compress(b"", mtime=0), "compression"),  # F46
        (b"InvoiceNo;StockCode;Description;Quantity;InvoiceDate;UnitPrice;CustomerID;Country\n", "header"),
        (b"Country,InvoiceNo,StockCode,Description,Quantity,InvoiceDate,UnitPrice,CustomerID\n", 1),
        (b"InvoiceNo,InvoiceNo,StockCode,Description,Quantity,InvoiceDate,UnitPrice,CustomerID,Country\n", "header"),
        (b'InvoiceNo,StockCode,"Descri\nption",Quantity,InvoiceDate,UnitPrice,CustomerID,Country\n', "header"),
    ],
)
def test_a_file_of_nothing_but_a_header_is_counted_and_a_wrong_header_is_refused(
    tmp_path: Path, header: bytes, expected: str | int
) -> None:
    landed = settings.load("online_retail")
    made = landed.model_copy(update={"home": tmp_path, "environment": hostile(tmp_path).environment})
    made.landing.mkdir(parents=True)
    (made.landing / "2026-01-03.csv").write_bytes(header)
    (found,) = inspect_landing(made, listing_of(made), DAY, ())
    assert fate(found) == expected


def test_odd_names_are_taken_or_refused_and_told_in_one_printable_line(tmp_path: Path) -> None:
    """F41. With the shop's own narrow pattern, too, none is left out."""
    made = hostile(tmp_path)
    day = "2026-01-03"
    names = [
        f".{day}.jsonl", f"_{day}.jsonl", f"{day} b.jsonl", f"{day}#?*[]{{}}.jsonl", f"{day}\n.jsonl",
        f"{day}\\n.jsonl", f"{day}$(touch x).jsonl", f"{day}{{{{ x }}}}.jsonl", f"{day}é.jsonl", f"{day}\u202e.jsonl",
        f"{day}.JSONL", f"-{day}.jsonl", f"{day}" + "x" * 240,
    ]  # fmt: skip
    for n, name in enumerate(names):
        (made.landing / name).write_bytes(LINE * (10 + n))
    (made.landing / f"{day}.JSONL.GZ").write_bytes(gzip.compress(LINE * 30))
    Path(os.fsdecode(os.fsencode(made.landing) + b"/2026-01-03\xff.jsonl")).write_bytes(LINE * 31)
    (made.landing / "no date.jsonl").write_bytes(LINE)
    found = fates(made)
    assert len(found) == len(names) + 3
    assert sorted(v for v in found.values() if v != "name") == [*range(10, 10 + len(names)), 30, 31]
    assert [name for name, told in found.items() if told == "name"] == ["no date.jsonl"]
    assert {r"2026-01-03\xff.jsonl", r"2026-01-03\n.jsonl", r"2026-01-03\\n.jsonl"} <= set(found)
    assert all(name.isprintable() for name in found)
    narrow = settings.load("simulated_shop").source
    refused = inspect_landing(made.model_copy(update={"source": narrow}), listing_of(made), DAY, ())
    assert len(refused) == len(found) + len(NEIGHBOURS)


def test_of_ten_thousand_names_each_is_taken_refused_later_or_ignored(tmp_path: Path) -> None:
    """G5. Names from pieces that matter to patterns, shells and readers; 1 in 30 is whole."""
    made = hostile(tmp_path)
    narrow = made.model_copy(update={"source": settings.load("simulated_shop").source})
    dice = random.Random(41)  # noqa: S311
    pieces = [
        ".",
        "_",
        "events-",
        "2026-01-03",
        "2026-02-30",
        "2027-01-01",
        ".jsonl",
        ".gz",
        ".GZ",
        "README",
        " ",
        "\n",
    ]
    pieces += ["*", "\\", "é", "\udcff", "~", ".part", "$(x)", "%2e", "SOURCE.md", "..", "'", "x"]
    names = {f"events-2026-01-{n % 28 + 1:02}.jsonl.gz" for n in range(28)}
    names |= {f"events-20{n}-01-01.jsonl.gz" for n in range(10, 99)}
    while len(names) < 10_000:
        names.add("".join(dice.choices(pieces, k=dice.randint(1, 6))))
    names -= {".", ".."}
    for name in names:
        if not os.path.lexists(made.landing / name):
            (made.landing / name).write_bytes(gzip.compress(name.encode("utf-8", "surrogateescape")))
    listing = listing_of(narrow)
    found = inspect_landing(narrow, listing, DAY, ())
    counted = len(found) + len(listing.later) + len(listing.ignored)
    assert counted == len(list(made.landing.iterdir())) == len(names) + len(NEIGHBOURS)
    assert len({f.name for f in found}) == len(found), "no two names are shown alike"
    accepted = [f for f in found if f.status == "accepted"]
    assert (len(accepted), len(listing.later)) == (28 + 16, 99 - 27), "2010 to 2026 have landed, less one told twice"
    assert all(f.reason for f in found if f.status == "refused")


def test_what_is_no_regular_file_of_the_folder_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """F47. A hard link is a file like any other."""
    made = hostile(tmp_path)
    outside = tmp_path / "outside"
    outside.write_bytes(LINE * 9)
    monkeypatch.chdir(made.landing)  # a socket's path has to be short
    Path("2026-01-03-passwd").symlink_to("/etc/passwd")
    Path("2026-01-03-loop").symlink_to(".")
    Path("2026-01-03-itself").symlink_to("2026-01-03-itself")
    Path("2026-01-03-device").symlink_to("/dev/zero")
    Path("2026-01-03-neighbour").symlink_to("2026-01-01-a.jsonl")
    Path("2026-01-03-folder").mkdir()
    Path("folder").mkdir()
    os.mkfifo("2026-01-03-pipe")
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind("2026-01-03-socket")
        os.link(outside, "2026-01-03-hard")
        assert fates(made) == {
            "2026-01-03-passwd": "link", "2026-01-03-loop": "link", "2026-01-03-itself": "link",
            "2026-01-03-device": "link", "2026-01-03-neighbour": "link", "2026-01-03-folder": "not_a_file",
            "folder": "not_a_file", "2026-01-03-pipe": "not_a_file", "2026-01-03-socket": "not_a_file",
            "2026-01-03-hard": 9,
        }  # fmt: skip
    with pytest.raises(RefusedFile, match="not_a_file"):
        take(Path("/dev/zero"), tmp_path / "bronze")


def test_a_file_exchanged_between_copy_and_count_is_counted_as_it_was_copied(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """F48."""
    landed, bronze = tmp_path / "landed", tmp_path / "bronze"
    landed.write_bytes(LINE)
    real = landing_copies._looked_through

    def exchanged(*arguments: Any) -> Any:
        (tmp_path / "new").write_bytes(LINE * 1000)
        (tmp_path / "new").replace(landed)
        return real(*arguments)

    monkeypatch.setattr(landing_copies, "_looked_through", exchanged)
    taken = take(landed, bronze)
    assert (taken.sha256, taken.lines) == (hashlib.sha256(LINE).hexdigest(), 1)
    assert landed.stat().st_size == 1000 * len(LINE)


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda path: path.unlink(), "vanished"),  # F49
        (lambda path: path.write_bytes(LINE * 3 + b"\n"), "not_ready"),  # F40, F48
        (lambda path: (path.unlink(), path.symlink_to("/etc/passwd")), "link"),  # F48
        (lambda path: (path.unlink(), path.mkdir()), "not_a_file"),  # F48
    ],
)
def test_what_happens_to_a_file_after_it_was_listed_is_noticed(
    tmp_path: Path, change: Callable[[Path], Any], expected: str
) -> None:
    made = hostile(tmp_path)
    path = made.landing / "2026-01-03-c.jsonl"
    path.write_bytes(LINE * 2)
    listing = listing_of(made)
    change(path)
    assert fates(made, listing) == {path.name: expected}


def test_a_file_deleted_after_it_was_copied_is_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """F49."""
    made = hostile(tmp_path)
    path = made.landing / "2026-01-03-c.jsonl"
    path.write_bytes(LINE * 2)
    real = landing_copies._looked_through

    def deleted(*arguments: Any) -> Any:
        if arguments[0].read_bytes() == LINE * 2:
            path.unlink()
        return real(*arguments)

    monkeypatch.setattr(landing_copies, "_looked_through", deleted)
    assert fates(made) == {path.name: 2}


def test_three_hundred_tiny_files_are_three_hundred_files(tmp_path: Path) -> None:
    """F51, small: each has its digest, its count and its copy."""
    made = hostile(tmp_path)
    for n in range(300):
        (made.landing / f"2026-01-03-{n:03}.jsonl").write_bytes(b'{"n": %d}\n' % n)
    assert fates(made) == {f"2026-01-03-{n:03}.jsonl": 1 for n in range(300)}
    assert len(list(made.environment.lake.bronze.iterdir())) == 302


def test_an_encoding_that_is_declared_is_no_fault(tmp_path: Path) -> None:
    """F52. The two bytes of a UTF-16 mark are letters of Latin-1."""
    made = hostile(tmp_path, encoding="latin-1")
    (made.landing / "2026-01-03-c.jsonl").write_bytes(b"\xff\xfe" + text("latin-1"))
    assert fates(made) == {"2026-01-03-c.jsonl": 2}


def test_a_declared_compression_counts_more_than_the_name(tmp_path: Path) -> None:
    made = hostile(tmp_path, compression="gzip")
    (made.landing / "2026-01-01-a.jsonl").unlink()
    (made.landing / "2026-01-03-c.jsonl").write_bytes(WHOLE)
    (made.landing / "2026-01-03-d.jsonl").write_bytes(LINE)
    found = inspect_landing(made, listing_of(made), DAY, ())
    assert [fate(f) for f in found] == [5, 20_000, "compression"]


def test_a_bombs_memory_stays_small(tmp_path: Path) -> None:
    """F44, G20. 1.5 GB in one line from 1.5 MB, and from 50 kB, in the smallest process that can take a file."""
    (tmp_path / "bomb.gz").write_bytes(gzip.compress(b"x" * 10_000_000) * 150)
    (tmp_path / "bomb.zst").write_bytes(zstd(b"x" * 10_000_000) * 150)
    greedy = zstandard.ZstdCompressionParameters.from_level(1, window_log=27)
    (tmp_path / "greedy.zst").write_bytes(
        zstandard.ZstdCompressor(compression_params=greedy).compress(LINE * 2_000_000)
    )
    (tmp_path / "nested.gz").write_bytes(gzip.compress(gzip.compress(b"x" * 10_000_000) * 150))
    (tmp_path / "giant.gz").write_bytes(gzip.compress(os.urandom(20_000_000).hex().encode(), 1))  # one line, no bomb
    program = """
import json, pathlib, sys
from rekindle.landing_copies import RefusedFile, take
found = {}
for path in sorted(pathlib.Path(sys.argv[1]).iterdir()):
    try:
        found[path.name] = take(path, pathlib.Path(sys.argv[2])).lines
    except RefusedFile as refused:
        found[path.name] = refused.reason
# Not getrusage: a process inherits the peak of the one that started it.
told = pathlib.Path("/proc/self/status").read_text()
print(json.dumps([found, int(told.split("VmHWM:")[1].split()[0])]))
"""
    done = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path), str(tmp_path / "bronze")],
        capture_output=True, text=True, check=True, cwd=settings.ROOT,
    )  # fmt: skip
    found, peak_kib = json.loads(done.stdout)
    assert found == {
        "bomb.gz": "bomb", "bomb.zst": "bomb", "giant.gz": 1, "greedy.zst": "zstd_damaged", "nested.gz": "compression"
    }  # fmt: skip
    assert peak_kib < 64 * 1024


def test_a_file_larger_than_a_night_can_read_is_refused_before_it_is_copied(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(landing_copies, "MAX_BYTES", 3_000_000)
    sparse, packed = tmp_path / "sparse", tmp_path / "packed"
    sparse.touch()
    os.truncate(sparse, 3_000_001)
    packed.write_bytes(gzip.compress(os.urandom(2_000_000).hex().encode()))
    with pytest.raises(RefusedFile, match="too_large: 3000001 bytes"):
        take(sparse, tmp_path / "bronze")
    with pytest.raises(RefusedFile, match=r"bomb: \d+ bytes are more than"):
        take(packed, tmp_path / "bronze")


@examples(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    content=st.lists(st.sampled_from([LINE, b"\n", b"\r\n", b"\xff", b"\x00", b"x" * 70_000])).map(b"".join),
    pack=st.sampled_from([bytes, gzip.compress, zstd]),
    changes=st.lists(st.tuples(st.sampled_from(["cut", "flip", "add", "twice"]), st.integers(0, 10**6)), max_size=2),
)
def test_a_file_is_refused_or_read_to_its_last_line_whatever_was_done_to_it(
    tmp_path: Path, content: bytes, pack: Callable[[bytes], bytes], changes: list[tuple[str, int]]
) -> None:
    landed = pack(content)
    for kind, where in changes:
        at = where % (len(landed) + 1)
        if kind == "flip" and at < len(landed):
            landed = flipped(landed, at)
        landed = {"cut": landed[:at], "add": landed + LINE[: where % 90], "twice": landed * 2}.get(kind, landed)
    path = tmp_path / "landed"
    path.write_bytes(landed)
    try:
        taken = take(path, tmp_path / "bronze")
    except RefusedFile:
        taken = None
    if taken is not None:
        assert taken.lines == sum(1 for _ in lines(tmp_path / "bronze" / taken.sha256))
    if not changes and (content or pack is not bytes):
        assert taken is not None
        assert taken.lines == content.count(b"\n") + (content[-1:] not in (b"", b"\n"))
