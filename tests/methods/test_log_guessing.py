"""What a log's lines, times and columns are taken for, on small samples written by hand."""

from __future__ import annotations

from datetime import date
from typing import Any

import pytest

from rekindle.methods import log_guessing, log_shapes, log_times
from schemas.events import EVENT_TYPES

WRITTEN = [
    ("2026-04-01 10:15:30", "yyyy-MM-dd HH:mm:ss", "2026-04-01 10:15:30"),
    ("2026-04-01T10:15:30+02:00", "yyyy-MM-dd'T'HH:mm:ssXXX", "2026-04-01 08:15:30"),
    ("2026-04-01T10:15:30Z", "yyyy-MM-dd'T'HH:mm:ssXXX", "2026-04-01 10:15:30"),
    ("2019-10-01 00:00:00 UTC", "yyyy-MM-dd HH:mm:ss 'UTC'", "2019-10-01 00:00:00"),
    ("10/Oct/2000:13:55:36 -0700", "dd/MMM/yyyy:HH:mm:ss XX", "2000-10-10 20:55:36"),
    ("31.12.2025 9:05", "dd.MM.yyyy H:mm", "2025-12-31 09:05:00"),
    ("4/13/2026 10:15:30 PM", "M/d/yyyy hh:mm:ss a", "2026-04-13 22:15:30"),
    ("20260401101530", "yyyyMMddHHmmss", "2026-04-01 10:15:30"),
    ("19970118", "yyyyMMdd", "1997-01-18 00:00:00"),
    ("01-Jan-1995", "dd-MMM-yyyy", "1995-01-01 00:00:00"),
]


@pytest.mark.parametrize(("value", "pattern", "instant"), WRITTEN)
def test_a_written_time_is_read_by_its_pattern(value: str, pattern: str, instant: str) -> None:
    choice = log_times.choose(log_times.readings([value]))
    assert choice is not None
    assert (choice.patterns, str(choice.first), choice.rivals) == ((pattern,), instant, ())


def test_spark_reads_by_each_pattern_what_was_guessed(spark: Any) -> None:
    from pyspark.sql import functions as F

    optional = [
        ("2019-11-24 00:00:35.120000", "yyyy-MM-dd HH:mm:ss[.SSSSSS]", "2019-11-24 00:00:35.12"),
        ("2019-11-24 00:00:36", "yyyy-MM-dd HH:mm:ss[.SSSSSS]", "2019-11-24 00:00:36"),
    ]
    cases = WRITTEN + optional
    read = [F.try_to_timestamp(F.lit(value), F.lit(pattern)).cast("string") for value, pattern, _ in cases]
    row = spark.range(1).select(*[column.alias(str(n)) for n, column in enumerate(read)]).collect()[0]
    assert list(row) == [instant for _, _, instant in cases]


def test_a_fraction_that_is_sometimes_missing_and_seconds_that_are_do_not_lose_a_line() -> None:
    fraction = log_times.choose(log_times.readings(["2019-11-24 00:00:35.123456", "2019-11-24 00:00:36"]))
    seconds = log_times.choose(log_times.readings(["2026-04-01 10:15", "2026-04-01 10:15:30"]))
    assert fraction is not None
    assert seconds is not None
    assert (fraction.patterns, fraction.share) == (("yyyy-MM-dd HH:mm:ss[.SSSSSS]",), 1)
    assert (seconds.patterns, seconds.share) == (("yyyy-MM-dd HH:mm", "yyyy-MM-dd HH:mm:ss"), 1)


def test_day_and_month_that_can_be_either_way_round_are_left_to_the_user_unless_something_decides() -> None:
    either = log_times.readings(["03-04-2026", "05-04-2026"])
    undecided = log_times.choose(either)
    assert undecided is not None
    assert {*undecided.patterns, *(r.pattern for r in undecided.rivals)} == {"dd-MM-yyyy", "MM-dd-yyyy"}
    landed = log_times.choose(either, date(2026, 4, 5))
    assert landed is not None
    assert (landed.patterns, landed.rivals) == (("dd-MM-yyyy",), ())
    same_last_day = log_times.choose(log_times.readings(["03-04-2026", "04-04-2026"]), date(2026, 4, 4))
    assert same_last_day is not None
    assert len(same_last_day.rivals) == 1, "the third and fourth of April, or the fourth of March and of April"
    above = log_times.choose(log_times.readings(["03-04-2026", "13-04-2026"]))
    assert above is not None
    assert (above.patterns, above.rivals) == (("dd-MM-yyyy",), ())


def test_words_now_and_then_dates_are_no_time_and_no_day_is_the_thirtieth_of_february() -> None:
    assert log_times.choose(log_times.readings(["hello", "2026-04-01"])) is None
    assert log_times.readings(["2026-02-30"]) == []


@pytest.mark.parametrize(
    ("count", "unit"),
    [("881250949", "seconds"), ("1433221332117", "milliseconds"), ("1433221332117000", "microseconds")],
)
def test_an_epoch_has_the_one_unit_in_which_its_year_is_plausible(count: str, unit: str) -> None:
    found = log_times.epoch_unit(log_times.epoch_units([count]))
    assert found is not None
    assert found.name == unit
    assert found.first is not None
    assert 1990 <= found.first.year < 2100


@pytest.mark.parametrize("count", ["1515915625519429853", "12", "0", "-5"])
def test_an_id_or_a_small_number_is_no_epoch_in_any_unit(count: str) -> None:
    assert log_times.epoch_unit(log_times.epoch_units([count])) is None


@pytest.mark.parametrize(
    ("lines", "delimiter", "header", "fields"),
    [
        (["196\t242\t3", "186\t302\t3"], "\t", False, ("c1", "c2", "c3")),
        (["who;paid", "a b;1,50", "c;2,75", "d, e;3,00"], ";", True, ("who", "paid")),
        (["1|Toy Story (1995), again|x", "2|GoldenEye|y"], "|", False, ("c1", "c2", "c3")),
        (["1::2::978300760", "3::4::978302109"], "::", False, ("c1", "c2", "c3")),
        (["id,name", '1,"a, b"', '2,"say ""x"""'], ",", True, ("id", "name")),
        (["who,did", "ann,view", "bob,cart"], ",", True, ("who", "did")),
        (["ann,view", "bob,view"], ",", False, ("c1", "c2")),
    ],
)
def test_the_delimiter_and_the_header_are_seen(
    lines: list[str], delimiter: str, header: bool, fields: tuple[str, ...]
) -> None:
    shape = log_shapes.shape_of(lines)
    assert shape is not None
    assert (shape.delimiter, shape.header, shape.fields, shape.share) == (delimiter, header, fields, 1)
    assert len(list(log_shapes.rows(shape, lines))) == len(lines) - header


def test_a_quote_within_a_text_is_a_quote_and_one_that_opens_a_field_is_read() -> None:
    shape = log_shapes.shape_of(["id;title", '1;"A; B"', '2;7" FRAME', "3;C"])
    assert shape is not None
    found = [row["title"] for row in log_shapes.rows(shape, ["id;title", '1;"A; B"', '2;7" FRAME'])]
    assert (shape.quote, found) == ('"', ["A; B", '7" FRAME'])


def test_columns_of_blanks_make_fixed_widths() -> None:
    lines = [" 00004 0001 19970101  2   29.33", " 00021 0002 19970101 13    7.50"]
    shape = log_shapes.shape_of(lines)
    assert shape is not None
    assert (shape.kind, shape.widths) == ("fixed_width", (6, 5, 9, 3, 8))
    assert [row["c5"] for row in log_shapes.rows(shape, lines)] == ["   29.33", "    7.50"]


def test_keys_that_some_objects_lack_are_optional_and_names_that_differ_in_case_are_told_once() -> None:
    shape = log_shapes.shape_of(['{"id":1,"at":"x"}', '{"id":2,"at":"y","note":null,"ID":3}', '{"id":3,"at":"z"}'])
    assert shape is not None
    assert (shape.kind, shape.fields, shape.optional, shape.left_out) == (
        "json_lines",
        ("id", "at"),
        ("note",),
        ("ID",),
    )


def test_prose_is_no_log() -> None:
    assert log_shapes.shape_of(["A sentence.", "And another one, longer.", "End"]) is None
    assert log_shapes.shape_of(["", "  "]) is None


@pytest.mark.parametrize(
    ("text", "encoding"),
    [
        ("年龄在26到35岁之间的用户，女性", "gbk"),
        ("カートに入れる、購入しました", "shift_jis"),
        ("장바구니에 담았습니다", "euc-kr"),
        ("商品已經加入購物車了", "big5"),
        ("Привет, товар добавлен в корзину", "windows-1251"),
        ("les misérables à côté", "latin-1"),
    ],
)
def test_the_encoding_is_told_from_the_bytes(text: str, encoding: str) -> None:
    lines = [f"{n},{text}".encode(encoding) for n in range(20)]
    assert log_shapes.encoding_of(lines).names == (encoding,)
    mixed = log_shapes.encoding_of([*lines, f"20,{text}".encode()])
    assert mixed.names == ("utf-8", encoding)
    assert (mixed.lines, mixed.beyond_ascii, mixed.decodable["utf-8"]) == (21, 21, 1)
    assert {log_shapes.text_of(line, mixed.names) for line in lines} == {f"{n},{text}" for n in range(20)}


def test_ascii_and_utf_8_need_nothing_declared() -> None:
    assert log_shapes.encoding_of([b"a,b", "ü,岁".encode()]).names == ("utf-8",)


@pytest.mark.parametrize(
    ("values", "style"),
    [
        (["1,5", "2,75"], (",", "", True)),
        (["1.234,50", "17,00"], (",", ".", True)),
        (["1,234.50", "17.00"], (".", ",", True)),
        (["1234.5", "-2", "1e3"], (".", "", True)),
        (["536365", "C536365"], (".", "", False)),
    ],
)
def test_decimal_signs_are_told_from_signs_of_groups(values: list[str], style: tuple[str, str, bool]) -> None:
    assert log_guessing.number_style(values) == style


def test_a_column_is_counted_whole_and_shows_three_samples_at_most() -> None:
    found = log_guessing.profile("CustomerID", ["17850.0", "", None, "12431.0", "17850.0", "13047.0", "14000.0"])
    assert (found.kind, found.is_whole_float, found.values, found.blank, found.distinct) == ("number", True, 7, 2, 4)
    assert (found.smallest, found.largest, len(found.samples)) == ("12431.0", "17850.0", 3)
    assert found.share_blank == pytest.approx(2 / 7)


@pytest.mark.parametrize(
    ("word", "kind"),
    [
        ("addToCart", "cart"),
        ("Add to Cart", "cart"),
        ("PAGE_VIEW", "view"),
        ("order", "purchase"),
        ("refund", "return"),
        ("remove_from_cart", None),
        ("3", None),
    ],
)
def test_a_word_is_an_event_type_only_if_it_says_so(word: str, kind: str | None) -> None:
    assert log_guessing.event_type_of(word) == kind


def test_the_words_lead_to_event_types_that_there_are_and_none_to_two() -> None:
    words = [word for known in log_guessing.EVENT_WORDS.values() for word in known]
    assert set(log_guessing.EVENT_WORDS) <= set(EVENT_TYPES)
    assert len(words) == len(set(words))


def roles_of(columns: dict[str, list[str]], named: bool = True) -> log_guessing.Guess:
    rows = [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]
    return log_guessing.guess([log_guessing.profile(n, list(v)) for n, v in columns.items()], rows, named)


def test_names_tell_the_parts_and_the_last_word_counts_most() -> None:
    guess = roles_of(
        {
            "user_session": ["s1", "s2", "s2"],
            "userId": ["u1", "u2", "u2"],
            "category_id": ["7", "8", "8"],
            "product_id": ["p1", "p1", "p2"],
            "event_time": ["2026-04-01 10:00:00", "2026-04-01 10:00:01", "2026-04-01 10:00:02"],
            "event_type": ["view", "cart", "view"],
            "coupon_id": ["k1", "k2", "k3"],
            "UnitPrice": ["1.5", "2.5", "3.5"],
        }
    )
    assert guess.roles == {
        "event_time": "event_time",
        "user_id": "userId",
        "item_id": "product_id",
        "event_type": "event_type",
        "session_id": "user_session",
        "unit_price": "UnitPrice",
        "category": "category_id",
    }
    assert guess.together == ("userId", "event_time")


def test_without_names_the_second_id_is_the_item_unless_it_is_the_user_again() -> None:
    users, at = ["7", "7", "8", "9"], ["881250949", "881250950", "881250951", "881250952"]
    rated = roles_of({"c1": users, "c2": ["11", "12", "11", "13"], "c3": ["5", "3", "4", "1"], "c4": at}, named=False)
    assert rated.roles == {"event_time": "c4", "stars": "c3", "user_id": "c1", "item_id": "c2"}
    assert rated.by_position == {"user_id", "item_id"}
    alias = roles_of({"c1": users, "c2": ["101", "101", "102", "103"], "c4": at}, named=False)
    assert alias.roles == {"event_time": "c4", "user_id": "c1"}


def test_a_day_and_a_time_of_day_in_two_columns_are_put_together() -> None:
    guess = roles_of({"date": ["01-04-2026", "13-04-2026"], "clock": ["10:00", "11:30"], "user": ["a", "b"]})
    assert (guess.roles["event_time"], guess.clock) == ("date", "clock")


def test_an_id_of_events_is_one_that_no_two_lines_share() -> None:
    shared = {"event_id": ["e1", "e1", "e2"], "user_id": ["a", "a", "a"]}
    assert "event_id" not in roles_of(shared).roles
    assert roles_of(shared).repeated == 1
    assert roles_of({"event_id": ["e1", "e2", "e3"], "user_id": ["a", "a", "a"]}).roles["event_id"] == "event_id"
