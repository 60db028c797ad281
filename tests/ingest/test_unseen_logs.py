"""A log that nobody has seen before needs a mapping and nothing else: small logs of many shapes, each with its YAML.

Every line's fate is told beside it, by hand.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
import zstandard

from rekindle import settings
from rekindle.settings import ROOT
from tests.ingest.landed_files import cleaned, inspected

LANDED = date(2026, 3, 31)
CONF = """
name: unseen
description: A log of a test.
time_zone: Europe/Berlin
currency: EUR
first_date: 2026-01-01
on_missing_day: accept
quarantine_share_limit: 1.0
held_out_of_window_share: 1.0
churn: {horizon_days: 21, gap_days: 0, eligibility_days: 45, history_days: 30, cutoff_step_days: 7, training_cutoffs: 5}
recommend:
  {event_weights: {purchase: 1}, half_life_days: 30, judge_days: 7, popularity_days: 28, catalogue_days: 60,
   methods: {near: {method: item_neighbours, neighbours: 50, weighting: cosine}}}
files:
"""


@dataclass(frozen=True)
class Log:
    """A log: how it is mapped, its lines, and for each the broken rule, `duplicate`, or what the clean event says."""

    kind: str
    lines: list[tuple[str | bytes, str | dict[str, Any]]]
    header: str | None = None
    ending: str = "txt"
    end: bytes = b"\n"  # what follows the last line

    @property
    def content(self) -> bytes:
        told = [self.header] if self.header is not None else []
        lines = [x if isinstance(x, bytes) else x.encode() for x in [*told, *(x for x, _ in self.lines)]]
        whole = b"\n".join(lines) + self.end
        return zstandard.compress(whole) if self.ending.endswith("zst") else whole


def at(year: int, month: int, day: int, *clock: int) -> int:
    """An instant, told in UTC, as microseconds since 1970."""
    hour, minute, second, micros = (*clock, 0, 0, 0, 0)[:4]
    since = datetime(year, month, day, hour, minute, second, micros, UTC) - datetime(1970, 1, 1, tzinfo=UTC)
    return since // timedelta(microseconds=1)


LOGS = {
    "tabs without a header, signed 64-bit ids, unsorted, the last line cut short": Log(
        kind=r"""
    format: {kind: csv, delimiter: "\t", quote: null, fields: [id, who, what, item, at]}
    mapping:
      event_id: {column: id}
      event_time: {expression: at, epoch: seconds}
      event_type: what
      event_types: {view: view}
      user_id: who
      item_id: item
""",
        lines=[
            ("3\t9007199254740993\tview\t-7\t1774000000", {"user_id": "9007199254740993", "item_id": "-7"}),
            ("1\t9007199254740992\tview\t-7\t1773000000", {"user_id": "9007199254740992"}),
            ("2\t-9223372036854775808\tview\t9223372036854775807\t1773500000", {"item_id": "9223372036854775807"}),
            ("-2\t-9223372036854775807\tview\t1\t1772600000", {"event_id": "-2", "user_id": "-9223372036854775807"}),
            ("2\t-9223372036854775808\tview\t9223372036854775807\t1773500000", "duplicate"),
            ('4\t12\tview\t"inch\t1773500000', {"item_id": '"inch'}),
            ("5\t12\tview\t8", "malformed"),
        ],
        end=b"",
    ),
    "names of actions with spaces, in any case": Log(
        kind="""
    format: {kind: csv, header: true, fields: [Event Name, Customer, SKU, When]}
    mapping:
      event_id: {hash_of: [Event Name, Customer, SKU, When]}
      event_time: {expression: "`When`", format: "yyyy-MM-dd HH:mm"}
      event_type: lower(trim(`Event Name`))
      event_types: {product viewed: view, added to cart: cart, "saved, for later": favourite}
      user_id: Customer
      item_id: SKU
      repairs:
        - {id: action_case, when: "`Event Name` <> lower(trim(`Event Name`))"}
""",
        header="Event Name,Customer,SKU,When",
        lines=[
            ("product viewed,u1,a,2026-03-01 10:00", {"event_type": "view", "repairs": None}),
            ("Added To Cart ,u1,a,2026-03-01 10:01", {"event_type": "cart", "repairs": "action_case"}),
            ('"saved, for later",u1,a,2026-03-01 10:02', {"event_type": "favourite"}),
            ("saved, for later,u1,a,2026-03-01 10:02", "malformed"),
            ("productviewed,u1,a,2026-03-01 10:03", "unknown_action"),
            (",u1,a,2026-03-01 10:03", "unknown_action"),
            ("product viewed, ,a,2026-03-01 10:03", "no_user"),
        ],
    ),
    "day and time in two columns, the day first, across the hour that summer time skips": Log(
        kind="""
    format: {kind: csv, header: true, fields: [id, day, clock, user, item]}
    mapping:
      event_id: {column: id}
      event_time: {expression: "concat_ws(' ', day, clock)", format: "dd-MM-yyyy HH:mm:ss"}
      event_type: "'view'"
      event_types: {view: view}
      user_id: user
      item_id: item
""",
        header="id,day,clock,user,item",
        lines=[
            ("d1,03-02-2026,10:00:00,u,a", {"event_ts": at(2026, 2, 3, 9), "event_date": date(2026, 2, 3)}),
            ("d2,29-03-2026,00:30:00,u,a", {"event_ts": at(2026, 3, 28, 23, 30), "event_date": date(2026, 3, 29)}),
            ("d3,29-03-2026,03:30:00,u,a", {"event_ts": at(2026, 3, 29, 1, 30)}),
            ("d4,31-03-2026,23:59:59,u,a", {"event_ts": at(2026, 3, 31, 21, 59, 59), "event_date": date(2026, 3, 31)}),
            ("d5,03-13-2026,10:00:00,u,a", "unreadable_time"),
            ("d6,2026-03-02,10:00:00,u,a", "unreadable_time"),
            ("d7,30-02-2026,10:00:00,u,a", "unreadable_time"),
            ("d8,03-02-2026,,u,a", "unreadable_time"),
            ("d9,31-12-2025,23:59:59,u,a", "out_of_window"),
            ("d10,01-04-2026,00:00:00,u,a", "future"),
        ],
    ),
    "semicolons, decimal commas, points between thousands, returns by their sign": Log(
        kind="""
    format:
      kind: csv
      delimiter: ";"
      fields: [id, seen_at, user, item, pieces, price]
      numbers: {decimal: ",", grouping: "."}
    mapping:
      event_id: {column: id}
      event_time: {expression: seen_at, format: [dd.MM.yyyy HH:mm, dd.MM.yyyy]}
      event_type: CASE WHEN number(pieces) < 0 THEN 'back' ELSE 'sold' END
      event_types: {back: return, sold: purchase}
      user_id: user
      item_id: item
      quantity: abs(number(pieces))
      unit_price: number(price)
""",
        lines=[
            ("c1;01.03.2026 10:00;u;a;1;1.234,50", {"event_type": "purchase", "unit_price": 1234.5, "quantity": 1.0}),
            ("c2;01.03.2026;u;a;-2;12,5", {"event_type": "return", "quantity": 2.0, "event_ts": at(2026, 2, 28, 23)}),
            ('c3;01.03.2026 10:00;"u;2";a;1,5;"7"', {"user_id": "u;2", "quantity": 1.5, "unit_price": 7.0}),
            ("c4;01.03.2026 10:00;u;a;0;12,5", "bad_quantity"),
            ("c5;01.03.2026 10:00;u;a;x;12,5", "bad_quantity"),
            ("c6;01.03.2026 10:00;u;a;1;0,00", "bad_price"),
            ("c7;01.03.2026 10:00;u;a;1;12,5 EUR", "bad_price"),
            ("c8;01.03.2026 10:00;u;a;1;-3,00", "bad_price"),
        ],
    ),
    "Latin-1 beside UTF-8": Log(
        kind="""
    format: {kind: csv, delimiter: "|", quote: null, encoding: [utf-8, latin-1], fields: [id, at, user, item, name]}
    mapping:
      event_id: {column: id}
      event_time: {expression: at, format: yyyyMMdd}
      event_type: "'view'"
      event_types: {view: view}
      user_id: user
      item_id: item
      title: name
""",
        lines=[
            ("l1|20260301|Jørgen|a|Fußmatte".encode("latin-1"), {"title": "Fußmatte", "repairs": "transcoded_latin_1"}),
            ("l2|20260301|Jørgen|a|Fußmatte".encode(), {"user_id": "Jørgen", "repairs": None}),
            ("l3|20260301|小明|a|灯".encode(), {"user_id": "小明", "title": "灯"}),
            (b"l4|20260301|plain|a|mat", {"title": "mat"}),
        ],
    ),
    "seconds": Log(
        kind="""
    format: {kind: csv, fields: [id, seen_at, user, item]}
    mapping:
      event_id: {column: id}
      event_time: {expression: seen_at, epoch: seconds}
      event_type: "'view'"
      event_types: {view: view}
      user_id: user
      item_id: item
""",
        lines=[
            ("s1,1772323200,u,a", {"event_ts": at(2026, 3, 1)}),
            ("s2,1772323200000,u,a", "unreadable_time"),  # in seconds, a year of five digits
            ("s7,17723232000,u,a", "future"),
            ("s3,-1,u,a", "out_of_window"),
            ("s4,0,u,a", "out_of_window"),
            ("s5,later,u,a", "unreadable_time"),
            ("s6,99999999999999999999,u,a", "unreadable_time"),
        ],
    ),
    "milliseconds, compressed by zstd": Log(
        kind="""
    format: {kind: json_lines, fields: [id, t, user, item]}
    mapping:
      event_id: {column: id}
      event_time: {expression: t, epoch: milliseconds}
      event_type: "'view'"
      event_types: {view: view}
      user_id: user
      item_id: item
""",
        ending="jsonl.zst",
        lines=[
            ('{"id":"m1","t":1772323200250,"user":"u","item":"a"}', {"event_ts": at(2026, 3, 1, 0, 0, 0, 250000)}),
            ('{"id":"m2","t":"1772323200250","user":7,"item":9007199254740993}', {"item_id": "9007199254740993"}),
            ('{"id":"m3","t":1772323200,"user":"u","item":"a"}', "out_of_window"),
            ('{"id":"m4","t":1772323200250,"user":"u","item":"a"', "malformed"),
        ],
    ),
    "microseconds, without items": Log(
        kind="""
    format: {kind: json_lines, fields: [id, t, user, words]}
    mapping:
      event_id: {column: id}
      event_time: {expression: t, epoch: microseconds}
      event_type: "'search'"
      event_types: {search: search}
      user_id: user
      text: words
""",
        lines=[
            ('{"id":701,"t":1772323200000001,"user":"u","words":"lamp"}', {"event_ts": at(2026, 3, 1, 0, 0, 0, 1)}),
            ('{"id":702,"t":1772323200000,"user":"u","words":"lamp"}', "out_of_window"),
            ('{"id":701,"t":1772323200000001,"user":"u","words":"lamp"}', "duplicate"),
            ('{"id":701,"t":1772323200000001,"user":"u","words":"desk"}', "id_conflict"),
        ],
    ),
    "several columns tell the action": Log(
        kind="""
    format: {kind: csv, header: true, fields: [id, when, user, item, is_order, is_refund, page, pieces, price]}
    mapping:
      event_id: {column: id}
      event_time: {expression: "`when`", format: "yyyy-MM-dd'T'HH:mm:ssXXX", has_offset: true}
      event_type: >-
        CASE WHEN is_refund = '1' THEN 'refund' WHEN is_order = '1' THEN 'order'
        WHEN page LIKE '/item/%' THEN 'page' END
      event_types: {refund: return, order: purchase, page: view}
      user_id: user
      item_id: coalesce(item, regexp_extract(page, '^/item/([a-z]+)$', 1))
      quantity: number(pieces)
      unit_price: number(price)
""",
        header="id,when,user,item,is_order,is_refund,page,pieces,price",
        lines=[
            ("k1,2026-03-01T10:00:00Z,u,a,1,0,/pay,2,3.5", {"event_type": "purchase", "event_ts": at(2026, 3, 1, 10)}),
            ("k2,2026-03-01T10:00:00+05:30,u,a,1,1,/,1,3", {"event_type": "return", "event_ts": at(2026, 3, 1, 4, 30)}),
            (
                "k3,2026-03-01T10:00:00Z,u,,0,0,/item/lamp,,",
                {"event_type": "view", "item_id": "lamp", "quantity": None},
            ),
            ("k4,2026-03-01T10:00:00Z,u,,0,0,/help,,", "unknown_action"),
            ("k5,2026-03-01T10:00:00,u,a,1,0,/pay,1,3", "unreadable_time"),
        ],
    ),
    "a header in another order, with a column too many and an optional one missing": Log(
        kind="""
    format: {kind: csv, header: true, fields: [id, seen_at, user, item], optional: [title, shop]}
    mapping:
      event_id: {column: id}
      event_time: {expression: seen_at, format: yyyy-MM-dd}
      event_type: "'view'"
      event_types: {view: view}
      user_id: user
      item_id: item
      title: title
      category: shop
""",
        header="item,new column,shop,user,id,seen_at",
        lines=[
            ("a,x,north,u1,h1,2026-03-01", {"item_id": "a", "category": "north", "title": None, "event_id": "h1"}),
            ("b,,,u2,h2,2026-03-02", {"item_id": "b", "category": None, "user_id": "u2"}),
            ("c,x,north,u1,,2026-03-01", "no_event_id"),
            ("d,x,north,u1,h4", "malformed"),
        ],
    ),
    "fields by their place in the line, ids printed as floats": Log(
        kind=r"""
    format: {kind: fixed_width, fields: [user, item, seen_on], widths: [8, 4, 8]}
    mapping:
      event_id: {hash_of: [user, item, seen_on]}
      event_time: {expression: seen_on, format: yyyyMMdd}
      event_type: "'view'"
      event_types: {view: view}
      user_id: regexp_replace(trim(user), '\.0$', '')
      item_id: item
""",
        lines=[
            ("  1001.0  a120260301", {"user_id": "1001", "item_id": "a1"}),
            ("  1001.0  a120260301", "duplicate"),
            ("  1001.0  a1202603", "malformed"),
            ("          a120260301", "no_user"),
        ],
    ),
}


KINDS = dict(zip(LOGS, (f"log_{n}" for n in range(len(LOGS))), strict=True))


@pytest.fixture(scope="module")
def fated(_session: Any, tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[Any]]:
    """The lines of each log in order, cleaned together: to one source they are so many kinds of files."""
    folder = tmp_path_factory.mktemp("unseen")
    shutil.copytree(ROOT / "conf", folder / "conf")
    text = CONF
    for name, log in LOGS.items():
        pattern = rf"{KINDS[name]}-(?P<date>[0-9-]+)\..*"
        text += f"  {KINDS[name]}:\n    table: events\n    landing: {{pattern: '{pattern}'}}{log.kind}"
    (folder / "conf/sources/unseen.yaml").write_text(text, encoding="utf-8")
    source = settings.load("unseen", "local", folder).source
    landing = folder / "landing"
    landing.mkdir()
    for name, log in LOGS.items():
        (landing / f"{KINDS[name]}-{LANDED}.{log.ending}").write_bytes(log.content)
    files = inspected(landing, source, folder / "bronze", *sorted(p.name for p in landing.iterdir()))
    lines = cleaned(_session, source, folder / "bronze", files)
    rows = lines.selectExpr("* EXCEPT (event_ts)", "unix_micros(event_ts) AS event_ts").orderBy("line_number").collect()
    _session.catalog.clearCache()
    return {f.kind: [row for row in rows if row.file_sha256 == f.sha256] for f in files}


@pytest.mark.parametrize("name", LOGS)
def test_a_log_of_another_shape_needs_a_mapping_and_nothing_else(name: str, fated: dict[str, list[Any]]) -> None:
    log, rows = LOGS[name], fated[KINDS[name]]
    first = 1 if log.header is None else 2
    assert [r.line_number for r in rows] == list(range(first, first + len(log.lines)))
    assert {r.landing_date for r in rows} == {LANDED}
    for (text, expected), row in zip(log.lines, rows, strict=True):
        if isinstance(expected, dict):
            found = {key: row[key] for key in expected}
            assert (row.fate, row.rule, found) == ("clean", None, expected), text
        else:
            assert (row.rule or row.fate) == expected, text
