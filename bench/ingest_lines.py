"""Made-up days of the simulated shop's log, as fast as the disk takes them, for `bench/ingest.py`.

The lines look like those of jobs/ingest/land_simulated_day.py, but no shop is simulated: every part of a line is taken
from a list of ready texts by a drawn index, so that ten million lines take seconds. The same count and seed give the
same bytes. About 1.7 % of the lines are bad, each by one fault of `FAULTS`; 0.25 % repeat a line of their own
file, 0.2 % one of the day before, and 0.05 % tell something else under an id that was used.
"""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

FIRST_DAY = date(2026, 1, 1)
SUMMER_TIME = date(2026, 3, 29)
DAYS = 120
USERS = 100_000
ITEMS = 20_000
SESSIONS = 6_000  # a day
ORDERS = 2_000  # a day
DAY_SECONDS = 86_400

TYPES = (b"pageview", b"add_to_cart", b"wishlist", b"order", b"refund", b"review", b"search")
SHARES = (0.72, 0.10, 0.03, 0.06, 0.01, 0.02, 0.06)
PAGEVIEW, ORDER, REFUND, REVIEW, SEARCH = 0, 3, 4, 5, 6

# Each fault strikes this share of the lines; the rule that it breaks is in brackets.
FAULTS = {
    "cut": 0.0015,  # malformed
    "two_objects": 0.0005,  # malformed
    "not_utf8": 0.001,  # encoding
    "no_id": 0.001,  # no_event_id
    "no_user": 0.003,  # no_user, of five kinds
    "unknown_type": 0.003,  # unknown_action
    "odd_case": 0.002,  # none: it is mended
    "unreadable_time": 0.001,  # unreadable_time
    "old": 0.001,  # out_of_window
    "future": 0.001,  # future
    "no_item": 0.001,  # no_item
    "bad_quantity": 0.001,  # bad_quantity on orders
    "bad_price": 0.002,  # bad_price
    "bad_stars": 0.001,  # bad_stars on reviews
}
REPEATED, CARRIED, CONFLICTING, LATE = 0.0025, 0.002, 0.0005, 0.02

NOUNS = ("Kettle", "Blanket", "Lantern", "Earbuds", "Trail Shoe", "Building Blocks", "Toner Black", "Müsli 500 g")
MAKERS = (
    "Kochwerk",
    "Federleicht",
    "Tonwerk",
    "Sonora",
    "Läufer",
    "Spielgut",
    "Papyrus",
    "Feldgut",
    "Gärtnerei Lohmann",
)
KINDS = ("kettles", "bedding", "decoration", "headphones", "running shoes", "toys", "printer ink", "snacks", "laundry")
WORDS = (
    "good",
    "value",
    "arrived",
    "late",
    "colour",
    "as",
    "shown",
    "would",
    "buy",
    "again",
    "schön",
    '\\"new\\"',
    "too",
)

Indices = npt.NDArray[np.int64]


@dataclass(frozen=True)
class MadeFile:
    """One day's file; `path` is also linked as `bronze/<sha256>`."""

    name: str
    landing_date: date
    sha256: str
    size_bytes: int
    lines: int


def make(folder: Path, lines: int, seed: int, compressed: bool = False) -> list[MadeFile]:
    """Write `lines` lines as 120 days' files below `folder/landing`, each linked from `folder/bronze` by its digest."""
    landing, bronze = folder / "landing", folder / "bronze"
    landing.mkdir(parents=True)
    bronze.mkdir()
    made = []
    for day, count, content in _days(lines, seed):
        data = memoryview(content)
        name = f"events-{day}.jsonl"
        if compressed:
            packer = zlib.compressobj(level=1, wbits=31)
            data = memoryview(packer.compress(data) + packer.flush())
            name += ".gz"
        (landing / name).write_bytes(data)
        sha256 = hashlib.sha256(data).hexdigest()
        (bronze / sha256).hardlink_to(landing / name)
        made.append(MadeFile(name, day, sha256, len(data), count))
    return made


def _days(lines: int, seed: int) -> Iterator[tuple[date, int, pa.Buffer]]:
    draw = np.random.default_rng(seed)
    texts = _Texts(draw)
    sizes = draw.multinomial(lines, np.full(DAYS, 1 / DAYS))
    carried = pa.array([], pa.binary())
    for n, size in enumerate(sizes.tolist()):
        repeated = int(size * REPEATED)
        fresh = size - repeated - len(carried)
        written = texts.day(draw, FIRST_DAY + timedelta(days=n), fresh, int(sizes[max(n - 1, 0)]) // 2)
        again = np.sort(draw.integers(1, fresh, repeated))
        order = np.insert(np.arange(fresh), again, (draw.random(repeated) * again).astype(np.int64))
        file = pa.concat_arrays([carried, written.take(pa.array(order))])
        yield FIRST_DAY + timedelta(days=n), size, _bytes_of(file)
        carried = written.take(pa.array(np.sort(draw.choice(fresh, int(fresh * CARRIED), replace=False))))


def _bytes_of(lines: pa.BinaryArray) -> pa.Buffer:
    """The lines as they stand one after the other in memory, which is the file."""
    ends = np.frombuffer(lines.buffers()[1], np.int32)
    first, last = int(ends[lines.offset]), int(ends[lines.offset + len(lines)])
    return lines.buffers()[2].slice(first, last - first)


class _Texts:
    """The lists of ready texts from which lines are put together."""

    def __init__(self, draw: np.random.Generator) -> None:
        clock = [f"T{s // 3600:02d}:{s // 60 % 60:02d}:{s % 60:02d}" for s in range(DAY_SECONDS)]
        self.clock = pa.array([c.encode() for c in clock])
        odd = [b"", b" ", b"null", b"0"]
        users = [b'","customer":"C%06d"' % n for n in range(USERS)]
        self.users = pa.array(users + [b'","customer":"%s"' % o for o in odd] + [b'","customer":null'])
        strange = [b"heartbeat", b"scroll", b"banner_shown", b"page_leave"]
        self.types = pa.array([*TYPES, *strange, b"PageView", b" Pageview "])
        self.items = pa.array(self._items(draw))
        self.quantities = pa.array([b"", *[b',"qty":%d' % q for q in (1, 1, 1, 2, 3, 12, 0, -1)], b',"qty":"two"'])
        reviews = [self._words(draw, 20) for _ in range(5_000)]
        self.reviews = pa.array(
            [b',"stars":%d,"text":"%s"' % (n % 5 + 1, text) for n, text in enumerate(reviews)]
            + [b',"stars":%s,"text":"?"' % s for s in (b"0", b"6", b'"many"')]
        )
        self.queries = pa.array([b',"query":"%s"' % self._words(draw, 3) for _ in range(2_000)])
        self.ends = pa.array([b',"synthetic":true}\n', b',"synth\n', b'}{"event_id":"e1"}\n'])

    @staticmethod
    def _words(draw: np.random.Generator, count: int) -> bytes:
        return " ".join(draw.choice(WORDS, count)).encode()

    @staticmethod
    def _items(draw: np.random.Generator) -> list[bytes]:
        """Items as they stand in a line; the last seven are faults, the one before them none at all."""
        prices = draw.integers(99, 20_000, ITEMS)

        def told(n: int, price: str, title: bytes = b"") -> bytes:
            maker, kind = MAKERS[n % len(MAKERS)], KINDS[n // 7 % len(KINDS)]
            made = title or f"{maker} {NOUNS[n % len(NOUNS)]} Series {n % 9} Model {n}".encode()
            rest = f'","category":"{kind}","brand":"{maker}","price":{price}'.encode()
            return f',"sku":"{kind[:2].upper()}-{n:05d}","title":"'.encode() + made + rest

        items = [told(n, f"{cents / 100:.2f}") for n, cents in enumerate(prices.tolist())]
        prices_faulty = [told(1, "-4.50"), told(2, '"free"'), told(3, "-0.01")]
        missing = [b',"title":"Kettle","price":9.80', b',"sku":"undefined","title":"Kettle","price":9.80']
        return [*items, b"", *prices_faulty, *missing, told(4, "9.80", b"Caf\xe9 \xff"), told(5, "9.80", b"Caf\xe9")]

    def day(self, draw: np.random.Generator, day: date, count: int, used_before: int) -> pa.BinaryArray:
        """`count` lines of one day by time; a few take the ids of the day before, below number `used_before`."""
        faults = self._faults(draw, count)
        kind = np.searchsorted(np.cumsum(SHARES)[:-1], draw.random(count), side="right").astype(np.int64)
        kind[_any(faults, "no_item", "not_utf8", "odd_case")] = PAGEVIEW
        kind[_any(faults, "bad_quantity", "bad_price")] = ORDER
        kind[faults["bad_stars"]] = REVIEW
        ids, times = self._ids(draw, day, count, used_before, faults), self._times(draw, day, count, faults)
        parts = [
            ids,
            times,
            _constant(b'","type":"', count),
            _take(self.types, _strike(draw, kind, faults, {"unknown_type": (7, 11), "odd_case": (11, 13)})),
            _take(self.users, self._user(draw, count, faults)),
            _take(self.items, self._item(draw, kind, faults)),
            _take(self.quantities, self._quantity(draw, kind, faults)),
            self._order(draw, day, kind),
            self._told(draw, kind, faults),
            self._session(draw, day, count),
            _take(self.ends, _strike(draw, np.zeros(count, np.int64), faults, {"cut": (1, 2), "two_objects": (2, 3)})),
        ]
        return pc.binary_join_element_wise(*parts, b"")

    @staticmethod
    def _faults(draw: np.random.Generator, count: int) -> dict[str, Indices]:
        """The lines that each fault strikes; no line has two."""
        struck = draw.permutation(count)
        found, start = {}, 0
        for name, share in FAULTS.items():
            end = start + max(1, int(count * share))
            found[name] = np.sort(struck[start:end])
            start = end
        return found

    def _ids(
        self, draw: np.random.Generator, day: date, count: int, used_before: int, faults: dict[str, Indices]
    ) -> pa.BinaryArray:
        before = day - timedelta(days=1)
        openings = [b'{"event_id":"e%s-' % d.strftime("%Y%m%d").encode() for d in (day, before)]
        numbers = np.arange(count)
        again = np.sort(draw.integers(1, count, max(2, int(count * CONFLICTING))))
        half = len(again) // 2
        numbers[again] = (draw.random(len(again)) * again).astype(np.int64)
        opening = np.zeros(count, np.int64)
        if used_before and day > FIRST_DAY:
            numbers[again[:half]] = draw.integers(0, used_before, half)
            opening[again[:half]] = 1
        padded = pc.cast(pc.utf8_lpad(pc.cast(pa.array(numbers), pa.string()), 8, "0"), pa.binary())
        missing = np.zeros(count, bool)
        missing[faults["no_id"]] = True
        told = pc.binary_join_element_wise(_take(pa.array(openings), opening), padded, b'","ts":"', b"")
        return pc.if_else(pa.array(missing), pa.scalar(b'{"event_id":"","ts":"', pa.binary()), told)

    def _times(self, draw: np.random.Generator, day: date, count: int, faults: dict[str, Indices]) -> pa.BinaryArray:
        offset = b"+02:00" if day >= SUMMER_TIME else b"+01:00"
        odd = [b"yesterday", b"2026-13-45T25:61:00+01:00", b"2019-05-05T12:00:00+02:00", b"2061-05-05T12:00:00+02:00"]
        days = [d.isoformat().encode() for d in (day, max(day - timedelta(days=1), FIRST_DAY))]
        ready = [pc.binary_join_element_wise(d, self.clock, offset, b"") for d in days]
        # Most of a day happens in the afternoon and evening.
        second = np.sort(np.minimum(draw.beta(3, 2, count) * DAY_SECONDS, DAY_SECONDS - 1)).astype(np.int64)
        second[draw.random(count) < LATE] += DAY_SECONDS
        start = 2 * DAY_SECONDS
        strange = {
            "unreadable_time": (start, start + 2),
            "old": (start + 2, start + 3),
            "future": (start + 3, start + 4),
        }
        return _take(pa.concat_arrays([*ready, pa.array(odd)]), _strike(draw, second, faults, strange))

    @staticmethod
    def _user(draw: np.random.Generator, count: int, faults: dict[str, Indices]) -> Indices:
        # A few users do much: the square of a uniform draw.
        user = (draw.random(count) ** 2 * USERS).astype(np.int64)
        return _strike(draw, user, faults, {"no_user": (USERS, USERS + 5)})

    @staticmethod
    def _item(draw: np.random.Generator, kind: Indices, faults: dict[str, Indices]) -> Indices:
        item = (draw.random(len(kind)) ** 3 * ITEMS).astype(np.int64)
        item[kind == SEARCH] = ITEMS
        at = ITEMS + 1
        strange = {"bad_price": (at, at + 3), "no_item": (at + 3, at + 5), "not_utf8": (at + 5, at + 7)}
        return _strike(draw, item, faults, strange)

    @staticmethod
    def _quantity(draw: np.random.Generator, kind: Indices, faults: dict[str, Indices]) -> Indices:
        quantity = np.where((kind == ORDER) | (kind == REFUND), draw.integers(1, 7, len(kind)), 0)
        return _strike(draw, quantity, faults, {"bad_quantity": (7, 10)})

    @staticmethod
    def _order(draw: np.random.Generator, day: date, kind: Indices) -> pa.BinaryArray:
        ready = [b',"order_id":"o%s-%05d"' % (day.strftime("%Y%m%d").encode(), n) for n in range(ORDERS)]
        order = np.where((kind == ORDER) | (kind == REFUND), draw.integers(0, ORDERS, len(kind)), ORDERS)
        return _take(pa.array([*ready, b""]), order)

    def _told(self, draw: np.random.Generator, kind: Indices, faults: dict[str, Indices]) -> pa.BinaryArray:
        """Reviews' stars and text, searches' words."""
        whole, count = len(self.reviews) - 3, len(kind)
        review = _strike(draw, draw.integers(0, whole, count), faults, {"bad_stars": (whole, whole + 3)})
        query = draw.integers(0, len(self.queries), count) + len(self.reviews)
        nothing = len(self.reviews) + len(self.queries)
        told = np.where(kind == REVIEW, review, np.where(kind == SEARCH, query, nothing))
        return _take(pa.concat_arrays([self.reviews, self.queries, pa.array([b""])]), told)

    @staticmethod
    def _session(draw: np.random.Generator, day: date, count: int) -> pa.BinaryArray:
        devices = (b"phone", b"desktop", b"tablet")
        told = day.strftime("%Y%m%d").encode()
        ready = [b',"session":"s%s-%05d","device":"%s"' % (told, n, devices[n % 3]) for n in range(SESSIONS)]
        return _take(pa.array(ready), draw.integers(0, SESSIONS, count))


def _take(texts: pa.BinaryArray, which: Indices) -> pa.BinaryArray:
    return texts.take(pa.array(which))


def _constant(text: bytes, count: int) -> pa.BinaryArray:
    return pa.repeat(pa.scalar(text, pa.binary()), count)


def _any(faults: dict[str, Indices], *names: str) -> Indices:
    return np.concatenate([faults[n] for n in names])


def _strike(
    draw: np.random.Generator, which: Indices, faults: dict[str, Indices], strange: dict[str, tuple[int, int]]
) -> Indices:
    """The drawn indices, where a fault strikes one of its strange texts in turn."""
    struck = which.copy()
    for name, (first, end) in strange.items():
        struck[faults[name]] = draw.integers(first, end, len(faults[name]))
    return struck
