"""The language of mappings: what is not of it is refused before Spark starts, and what is of it fails on no line."""

from __future__ import annotations

from datetime import date
from typing import Any

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as example_settings
from hypothesis import strategies as st

from rekindle import expression_columns, expressions, patterns
from rekindle.expressions import ExpressionError, Kind, Numbers

FIELDS = ("a", "b", "type", "unit price", "select", "a.b")
KINDS: tuple[Kind, ...] = ("text", "number", "flag", "day")

LEGAL: list[tuple[str, Kind]] = [
    ("a", "text"),
    ("'it''s'", "text"),
    ("`unit price`", "text"),
    ("`select`", "text"),
    ("`a.b`", "text"),
    ("type", "text"),
    ("Trim(a) || UPPER(b)", "text"),
    ("a -- a remark", "text"),
    ("a /* a remark */", "text"),
    ("CASE a WHEN 'x' THEN b ELSE NULL END", "text"),
    ("if(a = b, a, NULL)", "text"),
    (r"regexp_replace(a, '(x)(y)', '$2$1')", "text"),
    (r"regexp_replace(a, '\.0$', '\')", "text"),
    (r"regexp_extract(a, '^\p{L}+-(\d{2,4})$', 1)", "text"),
    ("split_part(a, '/', -1)", "text"),
    ("substring(a, -3)", "text"),
    ("-number(a) * 2.5e3 % 7", "number"),
    ("number(a) / 0", "number"),
    ("round(number(a), -2)", "number"),
    ("coalesce(number(a), NULL, -1)", "number"),
    ("a IS NOT NULL AND NOT a <=> b", "flag"),
    ("a NOT IN ('x', NULL) OR b NOT BETWEEN 'x' AND 'y'", "flag"),
    ("a NOT LIKE 'x%' AND a ILIKE '_y'", "flag"),
    (r"a RLIKE '(?i)^(?:x|y){0,3}$' AND a RLIKE '[\]x-z]++'", "flag"),
    ("day(a, 'yyyyMMdd') < day(b, 'd MMM yy')", "flag"),
    ("day(a, 'yyyy-MM-dd''T''HH:mm[:ss]')", "day"),
]

REFUSED = [
    # What asks the clock, the machine, other lines or other tables, or runs code.
    ("current_date()", "unknown function current_date"),
    ("CURRENT_TIMESTAMP", "unknown field `CURRENT_TIMESTAMP`"),
    ("current_user", "unknown field `current_user`"),
    ("rand()", "unknown function rand, did you mean round?"),
    ("reflect('java.lang.System', 'exit', '1')", "unknown function reflect"),
    ("java_method('java.lang.System', 'exit', '1')", "unknown function java_method"),
    ("input_file_name()", "unknown function input_file_name"),
    ("(SELECT 1)", "no casts, queries or windows"),
    ("a IN (SELECT b FROM t)", "no casts, queries or windows"),
    ("EXISTS (SELECT 1)", "no casts, queries or windows"),
    ("DROP TABLE events", "no casts, queries or windows"),
    ("sum(a)", "unknown function sum"),
    ("number(a) OVER (ORDER BY b)", "no casts, queries or windows"),
    ("coalesce(a, b) FILTER (WHERE a = b)", "no casts, queries or windows"),
    ("trim(DISTINCT a)", "no casts, queries or windows"),
    ("transform(a, x -> x)", "unknown function transform"),
    # What Spark would stop at, on some line or on the first.
    ("CAST(a AS int)", "unknown function cast"),
    ("a::int", "no casts, queries or windows"),
    ("date '2026-01-01'", "no casts, queries or windows"),
    ("INTERVAL 1 DAY", "no casts, queries or windows"),
    ("number(a) DIV 2", "no casts, queries or windows"),
    ("a[0]", "no casts, queries or windows"),
    ("split_part(a, '/', 0)", "split_part counts from 1"),
    ("regexp_extract(a, '(x)', 2)", "group 2 of '(x)', which has 1"),
    ("regexp_extract(a, 'x')", "group 1 of 'x', which has 0"),
    ("regexp_replace(a, '(x)', '$9')", "$9 in '$9'; the pattern has 1 groups"),
    ("regexp_replace(a, '(x)', 'costs $')", "the pattern has 1 groups"),
    ("regexp_replace(a, '(x)', '${name}')", "the pattern has 1 groups"),
    ("regexp_replace(a, '(x)', '$²')", "the pattern has 1 groups"),
    ("a RLIKE '('", "unterminated subpattern"),
    ("a RLIKE '(x|y)*'", "a group repeated without end"),
    ("a RLIKE '(?<n>x)'", "regular expression '(?<n>x)': only"),
    (r"a RLIKE '\p{Foo}'", r"`\p` is not read alike by all"),
    ("a RLIKE '[[:alpha:]]'", "`[` inside […] needs a backslash"),
    ("a RLIKE '{x}'", "`{` needs a backslash"),
    ("lpad(a, 2000000000, '0')", "expected at most 1,000"),
    ("round(number(a), 400)", "expected at most 15"),
    ("substring(a, 99999999999)", "expected at most 65,536"),
    (r"a LIKE 'x\y'", "LIKE takes no backslash"),
    ("day(a, 'YYYY-MM-dd')", "`YYYY` is none of G y M"),
    ("day(a, 'yyyy-MM')", "tells no whole day"),
    ("day(a, 'yyyy-MM-dd''T')", "a quote is not closed"),
    ("day(a, 'yyyy-MM-dd[')", "a bracket is not closed"),
    # What means something else than its writer thinks.
    ("a = 1", "= takes values of one kind, found a number"),
    ("a IN ('x', 1)", "IN takes values of one kind"),
    ("CASE WHEN a THEN b END", "expected true or false, found text"),
    ("CASE WHEN a = b THEN 'y' ELSE 1 END", "CASE takes values of one kind"),
    ("-a", "needs a number"),
    ("NOT a", "needs true or false"),
    ("a || 1", "needs text, found a number"),
    ("number(1)", "number takes text, found a number"),
    ("lower(number(a))", "lower takes text, found a number"),
    ("contains(a, b)", "contains: expected a text written out, found b"),
    ("left(a, 1.5)", "left: expected a whole number"),
    ("left(a)", "left takes text, count; 1 given"),
    ("concat_ws('-')", "concat_ws takes literal, text; 1 given"),
    ("a LIKE b", "expected a pattern written out"),
    ("a IS TRUE", "no casts, queries or windows"),
    # What cannot be read.
    ("", "is not one expression"),
    ("-- a", "is not one expression"),
    ("a; b", "is not one expression"),
    ("a b", "no casts, queries or windows"),
    ("*", "no casts, queries or windows"),
    ("a,", "cannot be read"),
    ('"a"', "cannot be read"),
    ("select", "no casts, queries or windows"),
    ("a.b", "a field has one name; put names with dots in backticks"),
    ("typ", "unknown field `typ`, did you mean type? Fields: a, b, type"),
    ("A", "unknown field `A`"),
    ("trimm(a)", "unknown function trimm, did you mean trim? Legal: trim, lower"),
    ("sys.trim(a)", "no casts, queries or windows"),
    (":a", "no casts, queries or windows"),
    ("(" * 2_000 + "a" + ")" * 2_000, "is nested too deep"),
    ("a = b" + " OR a = b" * 3_000, "is nested too deep, or too long"),
]


def kinds_of(text: str) -> list[Kind]:
    """The kinds for which an expression over `a` and `b` is taken."""
    found: list[Kind] = []
    for kind in KINDS:
        try:
            expressions.check(text, ("a", "b"), kind)
        except ExpressionError:
            continue
        found.append(kind)
    return found


@pytest.mark.parametrize(("text", "kind"), LEGAL)
def test_an_expression_of_the_language_is_taken_for_its_kind_alone(text: str, kind: Kind) -> None:
    expressions.check(text, FIELDS, kind)
    for other in (k for k in KINDS if k != kind):
        with pytest.raises(ExpressionError, match=r"gives .*, expected "):
            expressions.check(text, FIELDS, other)


def test_null_is_of_every_kind() -> None:
    assert kinds_of("NULL") == kinds_of("if(a = b, NULL, NULL)") == list(KINDS)


@pytest.mark.parametrize(("text", "words"), REFUSED, ids=[text[:40] for text, _ in REFUSED])
def test_what_is_not_of_the_language_is_refused_with_a_reason(text: str, words: str) -> None:
    told = set()
    for kind in KINDS:
        with pytest.raises(ExpressionError) as refused:
            expressions.check(text, FIELDS, kind)
        told.add(str(refused.value))
    assert len(told) == 1, "whatever is wanted of it"
    assert words in next(iter(told))
    assert "\n" not in next(iter(told))


def test_the_checked_functions_are_those_that_can_be_built() -> None:
    assert {*expression_columns.CALLS, "number"} == set(expressions.FUNCTIONS)


def test_the_fields_of_an_expression_are_named_once_in_order() -> None:
    text = "CASE WHEN b = a THEN `unit price` ELSE trim(b) || 'select' END"
    assert expressions.fields_of(text) == ["b", "a", "unit price"]


@pytest.mark.parametrize(
    ("pattern", "carries"),
    [
        ("yyyy-MM-dd'T'HH:mm:ss[.SSSSSS]XXX", True),
        ("yyyy-MM-dd HH:mm:ss 'UTC'", False),
        ("yyyy-MM-dd HH:mm:ss VV", True),
        ("yyyyDDD", False),
    ],
)
def test_a_time_carries_its_offset_where_a_letter_outside_quotes_says_so(pattern: str, carries: bool) -> None:
    patterns.check_day(pattern)
    assert patterns.tells_offset(pattern) == carries


@pytest.mark.parametrize(
    "pattern", ["yyyyyyy-MM-dd", "yyyy-MM-dd V", "yyyy-MM-dd E", "yyyy-MM-dd #", "yyyy]-MM-dd[", ""]
)
def test_a_pattern_that_spark_stops_at_is_no_pattern(pattern: str) -> None:
    with pytest.raises(patterns.PatternError, match="pattern "):
        patterns.check_day(pattern)


# ---------------------------------------------------------------------- on Spark


def frame_of(spark: Any, rows: list[tuple[str | None, str | None]]) -> Any:
    return spark.createDataFrame(rows, "a string, b string").repartition(1)


def columns(frame: Any, texts: list[str], numbers: Numbers) -> list[Any]:
    return [expressions.column(text, lambda name: frame[name], numbers).alias(f"c{n}") for n, text in enumerate(texts)]


def test_expressions_give_what_sql_and_the_page_say(spark: Any) -> None:
    """Over a = ` 12.50 ` and b = `x/y`."""
    expected: dict[str, Any] = {
        "number(a)": 12.5,
        "number(b) = number(b)": True,  # NaN equals itself here
        "number('')": None,
        "number(' \t')": None,
        "number(a) / 0": None,
        "number(a) % 0": None,
        "-number(a) * 2": -25.0,
        "floor(-number(a))": -13.0,
        "round(number('2.345'), 2)": 2.35,
        "abs(-1)": 1.0,
        "length(b)": 3.0,
        "trim(a)": "12.50",
        "trim(nullif(b, 'x/y'))": None,
        "concat_ws('-', b, NULL, 'z')": "x/y-z",
        "concat(b, NULL)": None,
        "b || '''s'": "x/y's",
        "split_part(b, '/', 2)": "y",
        "split_part(b, '/', -1)": "y",
        "split_part(b, '/', 9)": "",
        "substring(b, 2)": "/y",
        "substring(b, -1, 1)": "y",
        "left(b, 1) || right(b, 1)": "xy",
        "lpad(b, 5, '0')": "00x/y",
        "replace(b, '/', '')": "xy",
        "translate(b, 'xy', 'ab')": "a/b",
        r"regexp_replace(b, '(.)/(.)', '$2\$1')": r"y\x",
        "regexp_extract(b, '/(.)')": "y",
        "regexp_extract(b, '[0-9]+', 0)": "",
        "get_json_object('{\"x\": {\"y\": 1}}', '$.x.y')": "1",
        "contains(b, '/') AND startswith(b, 'x') AND endswith(b, 'y')": True,
        "b LIKE 'x_y' AND b ILIKE 'X%' AND NOT b RLIKE '^y'": True,
        "b NOT LIKE 'x_y'": False,
        "b NOT ILIKE 'Y%' AND b NOT RLIKE '^y' AND b NOT IN ('x') AND b NOT BETWEEN 'y' AND 'z'": True,
        "NOT b NOT LIKE 'x_y'": True,
        "CASE b WHEN 'x/y' THEN 1 WHEN NULL THEN 2 END": 1.0,
        "if(b IS NULL, 'none', upper(b))": "X/Y",
        "coalesce(NULL, nullif(b, ''), 'z')": "x/y",
        "nullif('x', NULL) <=> 'x'": True,
        "NULL AND b = 'x/y'": None,
        "day('28.2.2026', 'd.M.yyyy')": date(2026, 2, 28),
        "day('29.2.2026', 'd.M.yyyy')": date(1, 1, 1),
        "day(' ', 'd.M.yyyy')": None,
        "sha256('')": "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    }
    assert [text for text in expected if len(kinds_of(text)) != 1] == []
    frame = frame_of(spark, [(" 12.50 ", "x/y")])
    (row,) = frame.select(*columns(frame, list(expected), Numbers())).collect()
    assert dict(zip(expected, row, strict=True)) == expected


def test_a_null_in_the_place_of_anything_is_a_null(spark: Any) -> None:
    texts = [
        *(
            "NOT NULL",
            "-NULL",
            "NULL + NULL",
            "NULL / 1",
            "NULL LIKE 'x'",
            "NULL RLIKE 'x'",
            "NULL || NULL",
            "abs(NULL)",
        ),
        *("NULL IN (NULL)", "NULL = NULL", "NULL BETWEEN NULL AND NULL", "upper(NULL)", "number(NULL)", "length(NULL)"),
        *("day(NULL, 'yyyyMMdd')", "coalesce(NULL, NULL)", "nullif(NULL, NULL)", "CASE WHEN NULL THEN NULL END"),
        *(
            "CASE NULL WHEN NULL THEN 'x' END",
            "if(NULL, 'x', NULL)",
            "contains(NULL, 'x')",
            "round(NULL)",
            "floor(NULL)",
        ),
    ]
    assert [text for text in texts if not kinds_of(text)] == []
    frame = frame_of(spark, [("x", "y")])
    (row,) = frame.select(*columns(frame, texts, Numbers())).collect()
    assert [text for text, value in zip(texts, row, strict=True) if value is not None] == []


@pytest.mark.parametrize(
    ("numbers", "written"),
    [
        (
            Numbers(),
            {"1.5": 1.5, "1,5": None, "1e3": 1000.0, "-0": 0.0, "+7": 7.0, "1d": None, "2F": None, "1 2": None},
        ),
        (Numbers(",", "."), {"1.234,5": 1234.5, "1,5": 1.5, "-1.000": -1000.0, "1,2,3": None, "abc": None}),
        (Numbers(",", " "), {"1 234,5": 1234.5, "1.5": None, "1,5": 1.5}),
        (Numbers(".", "'"), {"1'234.5": 1234.5, "1,5": None, "0x1F": None, "٣": None}),
    ],
    ids=["plain", "comma and point", "comma and blank", "point and apostrophe"],
)
def test_a_number_is_read_as_the_source_writes_it_and_nothing_else_is_one(
    spark: Any, numbers: Numbers, written: dict[str, float | None]
) -> None:
    """None stands for what is no number: NaN, so that nobody takes it for a value that is missing."""
    frame = frame_of(spark, [(text, None) for text in written])
    found = {row[0]: row[1] for row in frame.select("a", *columns(frame, ["number(a)"], numbers)).collect()}
    assert None not in found.values()
    assert {text: None if value != value else value for text, value in found.items()} == written


HOSTILE = [
    *(
        None,
        "",
        " ",
        "\t",
        "\x00",
        "abc",
        "1d",
        "2f",
        "1e400",
        "-1e400",
        "1e-400",
        "NaN",
        "nan",
        "Infinity",
        "-Infinity",
    ),
    *("0", "-0", "1", "+1", "-", ".", "1.", ".5", "1e", "0x1F", "1_000", "9" * 400, "-" + "9" * 40, "1" + "0" * 308),
    *("1,5", "1.234,5", "1 234,5", "1'234", "1.2.3", "٣", "１２", "null", "NULL", "true", "9007199254740993"),
    *("2026-02-29", "2026-02-28", "28.02.2026", "0000-00-00", "9999-12-31", "99999-01-01", "+999999-12-31"),
    *("999999-01-01", "-0001-01-01", "20260228", "2026-02-28T24:00:00", "31 Feb 26", "2026-366", "00:60"),
    *("é", "e\u0301", "\U0001f600", "\u202e", "\ud7ff", "$1", "${x}", "\\", "\\1", "'", '"', "`", "%", "_", "a\nb"),
    *('{"x": 1}', '{"x":', "[" * 3_000, '{"x": ' + "9" * 2_000 + "}", "xy" * 2_000, "a/" * 1_000, " " * 3_000 + "x"),
]
WORDS = ["", " ", "/", "x", "'", "$", "\\", "1", "NaN", "é", "00", "2026-02-28", "%", "(", "a.b"]
WITH_GROUP = ["(.*)", r"(\d+)[,.](\d{0,3})", "(x)?", r"(\p{L}{1,3})"]
REGULAR = [*WITH_GROUP, "x", "", "^$", ".*", r"\.0$", "(?i)[a-z]+?", "(?:x|y){0,9}", "[^x]++", r"\p{IsHan}|\P{Alpha}"]
NEW = ["", "x", "$0", "\\", "\\n", "a$0b"]
DAYS = [
    *("yyyy-MM-dd", "yyyyMMdd", "dd.MM.yyyy", "d MMM yy", "yyyy-DDD", "yyyyyy-MM-dd", "yyyy-MM-dd'T'HH:mm:ss[XXX]"),
    *(
        "GGGGyyyyMMdd",
        "yyyy-MM-dd[ hh:mm a]",
        "yyyy-MM-ddVV",
        "yyyy-MM-dd kk:mm",
        "y-M-d SSSSSSSSS",
        "MMMM d, yyyy zzzz",
    ),
]
COUNTS = [-65_536, -1_000, -7, -1, 0, 1, 2, 3, 15, 1_000, 65_536]
PATHS = ["$.x", "$", "x[", "$.x[*].y", "", "$..x"]


@st.composite
def expression(draw: st.DrawFn, kind: str, depth: int = 2) -> str:
    """An expression of the language over `a` and `b` that gives the kind."""

    def some(wanted: str) -> str:
        return draw(expression(wanted, depth - 1))

    def one(of: list[str]) -> str:
        return draw(st.sampled_from(of))

    def quoted(of: list[str]) -> str:
        return "'" + one(of).replace("'", "''") + "'"

    def count(most: int = 65_536) -> int:
        return draw(st.sampled_from([n for n in COUNTS if abs(n) <= most]))

    if depth == 0:
        day = f"day({one(['a', 'b'])}, {quoted(DAYS)})"
        return {
            "text": one(["a", "b", quoted(WORDS), "NULL"]),
            "number": one(["number(a)", "number(b)", "0", "-2.5", "1e308"]),
            "flag": one(["TRUE", "a = b", "a IS NULL"]),
            "day": day,
        }[kind]
    compared = list(expressions.COMPARISONS.values())
    same = [
        lambda: f"coalesce({some(kind)}, {some(kind)})",
        lambda: f"nullif({some(kind)}, {some(kind)})",
        lambda: f"if({some('flag')}, {some(kind)}, {some(kind)})",
        lambda: f"CASE WHEN {some('flag')} THEN {some(kind)} WHEN {some('flag')} THEN NULL ELSE {some(kind)} END",
        lambda: f"CASE {some('text')} WHEN {some('text')} THEN {some(kind)} END",
    ]
    own = {
        "text": [
            lambda: f"{one(['trim', 'lower', 'upper', 'sha256'])}({some('text')})",
            lambda: f"concat({some('text')}, {some('text')})",
            lambda: f"concat_ws({quoted(WORDS)}, {some('text')}, {some('text')})",
            lambda: f"{one(['replace', 'translate'])}({some('text')}, {quoted(WORDS)}, {quoted(WORDS)})",
            lambda: f"regexp_replace({some('text')}, {quoted(REGULAR)}, {quoted(NEW)})",
            lambda: f"regexp_extract({some('text')}, {quoted(REGULAR)}, 0)",
            lambda: f"regexp_extract({some('text')}, {quoted(WITH_GROUP)})",
            lambda: f"substring({some('text')}, {count()}, {count()})",
            lambda: f"{one(['left', 'right'])}({some('text')}, {count()})",
            lambda: f"lpad({some('text')}, {count(1_000)}, {quoted(WORDS)})",
            lambda: f"split_part({some('text')}, {quoted(WORDS)}, {count() or 1})",
            lambda: f"get_json_object({some('text')}, {quoted(PATHS)})",
            lambda: f"({some('text')} || {some('text')})",
        ],
        "number": [
            lambda: f"number({some('text')})",
            lambda: f"length({some('text')})",
            lambda: f"{one(['abs', 'floor', '-'])}({some('number')})",
            lambda: f"round({some('number')}, {count(15)})",
            lambda: f"({some('number')} {one(['+', '-', '*', '/', '%'])} {some('number')})",
        ],
        "flag": [
            lambda: f"({some('number')} {one(compared)} {some('number')})",
            lambda: f"({some('text')} {one(compared)} {some('text')})",
            lambda: f"({some('day')} {one(compared)} {some('day')})",
            lambda: f"({some('flag')} {one(['AND', 'OR'])} NOT ({some('flag')}))",
            lambda: f"(({some('text')}) {one(['RLIKE', 'NOT RLIKE'])} {quoted(REGULAR)})",
            lambda: f"(({some('text')}) {one(['LIKE', 'ILIKE'])} '%_x')",
            lambda: f"(({some('number')}) BETWEEN {some('number')} AND {some('number')})",
            lambda: f"(({some('text')}) IN ({some('text')}, {some('text')}, NULL))",
            lambda: f"(({some('number')}) IS NOT NULL)",
            lambda: f"{one(['contains', 'startswith', 'endswith'])}({some('text')}, {quoted(WORDS)})",
        ],
        "day": [lambda: f"day({some('text')}, {quoted(DAYS)})"],
    }
    return draw(st.sampled_from(own[kind] + same))()


def evaluated(spark: Any, texts: list[str], numbers: Numbers) -> int:
    """On how many hostile texts every expression, each of the language, is evaluated."""
    assert spark.conf.get("spark.sql.ansi.enabled") == "true"
    assert [text for text in texts if not kinds_of(text)] == []
    frame = frame_of(spark, [(one, HOSTILE[(n * 7 + 3) % len(HOSTILE)]) for n, one in enumerate(HOSTILE)])
    told = frame.select(*columns(frame, texts, numbers)).toLocalIterator()
    return sum(len(row) == len(texts) for row in told)


def test_no_function_and_no_pattern_stops_on_a_line(spark: Any) -> None:
    written = {
        **dict.fromkeys(("trim", "lower", "upper", "sha256", "length", "number"), "a"),
        **{"concat": "a, b", "concat_ws": "'-', a, b", "replace": "a, '', 'x'", "translate": "a, 'x/', 'y'"},
        **{"regexp_replace": "a, '(.)', '$1$0'", "regexp_extract": "a, '(.)'", "substring": "a, -65536, 65536"},
        **{"left": "a, -1", "right": "a, 65536", "lpad": "a, 1000, ''", "split_part": "a, '', -65536"},
        **{"get_json_object": "a, '$.x[*]'", "contains": "a, ''", "startswith": "a, 'x'", "endswith": "a, 'x'"},
        **{"abs": "number(a)", "round": "number(a), -15", "floor": "number(a)", "day": "a, 'yyyyMMdd'"},
        **{"coalesce": "number(a), 1e308", "nullif": "a, b", "if": "a < b, a, b"},
    }
    assert set(written) == set(expressions.FUNCTIONS)
    plain = [f"{name}({given})" for name, given in written.items()]
    regular = [f"a RLIKE '{pattern}' OR regexp_replace(b, '{pattern}', '$0') = b" for pattern in REGULAR]
    days = ["day(a, '" + pattern.replace("'", "''") + "')" for pattern in DAYS]
    signs = [f"number(a) {sign} number(b)" for sign in ("+", "-", "*", "/", "%", *expressions.COMPARISONS.values())]
    assert evaluated(spark, [*plain, *regular, *days, *signs], Numbers(",", ".")) == len(HOSTILE)


SLOW = [HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large]


@example_settings(
    max_examples=6, deadline=None, derandomize=True, suppress_health_check=[*SLOW, HealthCheck.large_base_example]
)
@given(
    texts=st.lists(st.sampled_from(KINDS).flatmap(expression), min_size=25, max_size=25),
    numbers=st.sampled_from([Numbers(), Numbers(",", "."), Numbers(",", " "), Numbers(".", "'")]),
)
def test_no_expression_stops_on_a_line_whatever_stands_in_it(spark: Any, texts: list[str], numbers: Numbers) -> None:
    assert evaluated(spark, texts, numbers) == len(HOSTILE)
