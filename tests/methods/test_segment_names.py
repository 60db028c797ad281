"""Names say what sets a segment apart, differ within a method, stay while they hold, and exist in two languages."""

from __future__ import annotations

from rekindle.methods.segment_features import FEATURES
from rekindle.methods.segment_names import HEADS, PHRASES, TOLD, name, parts_of, word_parts

LOYAL = ({"frequency": 1.0, "orders_90d": 1.2, "days_since_activity": -1.0, "spend_90d": 0.9}, 9.0)
SILENT = ({"frequency": 0.1, "orders_90d": -0.1, "days_since_activity": 1.4, "spend_90d": -0.6}, 4.0)
NEW = ({"frequency": -0.9, "tenure_days": -1.5, "days_since_activity": -0.5}, 1.2)


def test_a_name_is_the_kind_of_buyer_and_the_two_clearest_things() -> None:
    parts = parts_of([LOYAL, SILENT, NEW, ({}, 0.2)])
    assert [name(one) for one in parts] == [
        "frequent buyers, lately active, spend much",
        "buyers, lately silent, spend little",
        "one-time buyers, newcomers, lately active",
        "have hardly bought",
    ]
    assert name(parts[0], "zh") == "频繁购买者，近期活跃，消费高"


def test_segments_of_one_name_are_told_more_of_and_then_numbered() -> None:
    more = ({**SILENT[0], "return_rate": 0.5}, 4.0)
    parts = parts_of([SILENT, more, SILENT, SILENT])
    assert parts == [
        ["buyers", "lately_silent", "low_spenders"],
        ["buyers", "lately_silent", "low_spenders", "return_much"],
        ["buyers", "lately_silent", "low_spenders", "2"],
        ["buyers", "lately_silent", "low_spenders", "3"],
    ]
    assert len({name(one, "zh") for one in parts}) == 4


def test_a_segment_keeps_its_name_while_it_is_still_true() -> None:
    faded = ({**SILENT[0], "days_since_activity": 0.5, "spend_90d": -0.25, "return_rate": 2.0}, 4.0)
    old = ["buyers", "lately_silent", "low_spenders"]
    assert parts_of([faded], [old]) == [old]
    assert parts_of([faded], [None]) == [["buyers", "return_much", "lately_silent"]]
    over = ({**SILENT[0], "days_since_activity": -0.1}, 4.0)
    assert parts_of([over], [old]) == [["buyers", "low_spenders"]]


def test_topics_are_named_by_their_words() -> None:
    leading = [["tea", "mugs", "pots"], ["tea", "mugs", "yarn"], ["wool", "yarn"]]
    assert word_parts(leading) == [["tea", "mugs"], ["tea", "mugs", "yarn"], ["wool", "yarn"]]
    assert word_parts(leading, [None, ["tea", "mugs"], ["yarn", "felt"]]) == [
        ["tea", "mugs", "pots"],
        ["tea", "mugs"],
        ["wool", "yarn"],
    ]
    assert word_parts([["tea"], ["tea"]]) == [["tea"], ["tea", "2"]]


def test_every_theme_has_words_in_both_languages() -> None:
    assert {one.theme for one in FEATURES} == {"buying", *TOLD}
    codes = {*HEADS, *(code for pair in TOLD.values() for code in pair)}
    assert codes == set(PHRASES)
    for language in ("en", "zh"):
        assert len({PHRASES[code][language] for code in codes}) == len(codes)
