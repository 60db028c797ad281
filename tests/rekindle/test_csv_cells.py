"""No text of a shop becomes a formula in whoever's spreadsheet, and every text can be had back as it was."""

from __future__ import annotations

import csv
import io
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rekindle.csv_cells import as_it_was, cell, line, neutral

CALLS = ("=cmd|' /C calc'!A0", '=HYPERLINK("x","y")', "=1+1", "+1+1", "-1+1", "-2+3+cmd|' /C calc'!A0", "@SUM(1+1)")
FORMULAS = [
    *CALLS,
    *(f"{before}=1+1" for before in (" ", "   ", "\t", "\n", "\r", "\r\n", "\u00a0", "\ufeff", "\ufeff ", "\u200b")),
    *(f"{before}+1" for before in ("\u3000", "\u2003", "\x0b", "\x1f", "\u2060", "\u202e")),
    *("＝1+1", "＋1+1", "－1+1", "＠SUM(1+1)", "﹦1+1", " ＝1+1", "\ufeff＝1+1"),
    *('"=1+1"', "'=1+1", "''=1+1", '" =1+1', "'\ufeff=1+1"),
    *("\tx", "\rx", "\nx", "'\tx", "=", "-", "@", "+"),
    *("=DDE(\"cmd\";\"/C calc\")", "-cmd|'/C calc'!A1", "=IMPORTXML(CONCAT(1))", "=A1\n=A2", "+\u200b=1"),
]  # fmt: skip
WITHIN = ["Mug;=1+1", "Mug\n=1+1", "Mug\r+1", "Mug\t@SUM(1)", "Mug; ＝1", 'Mug;"=1"', "Mug;'=1", "a;;-b", "a\n\t=1"]
HARMLESS = ["", "Mug", "a=b", "a-b", "1+1", "Mug; blue", "x@y", "'quoted'", "'", "it's", "\u2212 5", "tea, +1", "é😀"]


def read(text: str, delimiter: str = ",") -> list[list[str]]:
    return list(csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=False))


def is_formula(cell: str) -> bool:
    """By other means than ours: what is left of a cell without blanks, quotes and invisible characters."""
    bare = cell.lstrip("".join(map(chr, range(0x21))) + '\x7f\u00a0\u2003\u3000\u200b\u2060\u202e\ufeff"')
    return cell[:1] in ("\t", "\r", "\n") or bare[:1] in tuple("=+-@＝＋－＠﹦")


@pytest.mark.parametrize("text", FORMULAS)
def test_a_text_that_begins_as_a_formula_is_a_text_to_every_spreadsheet(text: str) -> None:
    assert is_formula(text.lstrip("'")), "the payload is one"
    [[read_back]] = read(line([text]))
    assert read_back.startswith("'")
    assert not is_formula(read_back)
    assert as_it_was(read_back) == text


@pytest.mark.parametrize("text", WITHIN)
def test_a_text_cut_by_a_spreadsheet_of_other_settings_begins_no_formula_either(text: str) -> None:
    written = line(["shop", text, 1])
    for delimiter in (",", ";", "\t"):
        assert not [part for row in read(written, delimiter) for part in row if is_formula(part)]
    assert as_it_was(read(written)[0][1]) == text


@pytest.mark.parametrize("text", HARMLESS)
def test_other_texts_stay_as_they_are(text: str) -> None:
    assert neutral(text) == text
    assert read(line([text, 1])) == [[text, "1"]]


def test_forty_ways_to_begin_a_formula_are_tried() -> None:
    assert len(set(FORMULAS)) >= 40


@given(st.text(st.one_of(st.sampled_from("=+-@＝'\";,\t\r\n \ufeffa"), st.characters(exclude_categories=("Cs",)))))
def test_whatever_the_text_it_can_be_had_back(text: str) -> None:
    [row] = read(line([text, "end"])) if "\0" not in text else [[neutral(text), "end"]]
    assert as_it_was(row[0]) == text
    assert not is_formula(row[0])


@pytest.mark.parametrize(
    ("value", "written"),
    [
        (None, ""),
        ("", '""'),
        (True, "true"),
        (-7, "-7"),
        (-3.5, "-3.5"),
        (1 / 3, "0.3333333333333333"),
        (float("nan"), "NaN"),
        (float("-inf"), "-Infinity"),
        (Decimal("-1.50"), "-1.50"),
        (date(2026, 4, 30), "2026-04-30"),
        (datetime(2026, 4, 30, 1, 2, 3, tzinfo=UTC), "2026-04-30T01:02:03+00:00"),
        (["a", None, 'b"c'], '"[""a"", null, ""b\\""c""]"'),
        (["=1+1", "x;=2"], '"[""=1+1"", ""x;\'=2""]"'),
        ([-0.5], "[-0.5]"),
        (" a ", '" a "'),
        ("a\r\nb", '"a\r\nb"'),
    ],
)
def test_typed_values_are_written_as_they_are_and_null_is_empty(value: Any, written: str) -> None:
    assert cell(value) == written
    assert line([value, 1]) == f"{written},1\r\n"
