"""A text's words, in English and in Chinese, and which of them can tell a taste."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from rekindle.methods.words import telling_words, words


def test_chinese_is_cut_by_its_dictionary_and_the_rest_at_its_spaces() -> None:
    assert words("苹果手机壳 iPhone12防摔Case") == ["苹果", "手机", "壳", "iphone12", "防", "摔", "case"]
    assert words("电热水壶, stainless steel") == ["电热水壶", "stainless", "steel"]
    assert words("ｶﾌｪ café") == ["カフェ", "café"]  # Japanese syllables stay in one piece


def test_what_stands_in_every_text_tells_no_taste() -> None:
    assert telling_words("The kettle of 500 ml, size M, 我的水壶") == ["kettle", "ml", "size", "水壶"]
    assert telling_words("12 & 3") == []


def test_the_dictionary_is_read_in_silence_and_leaves_nothing_in_the_shared_folder(tmp_path: Path) -> None:
    code = "from rekindle.methods.words import words; words('手机壳')"
    environment = os.environ | {"TMPDIR": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment)
    assert (done.stdout, done.stderr, list(tmp_path.iterdir())) == ("", "", [])
