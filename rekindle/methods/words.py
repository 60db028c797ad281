"""The words of a text, in whatever language it is: Chinese is cut by a dictionary, everything else at its spaces.

Chinese writes no spaces. jieba (0.42.1) finds the cut of a run of Han characters that its dictionary holds most likely,
and what the dictionary does not hold by a hidden Markov model; both are fixed tables, so a text has one cut for ever.
The dictionary takes a second and 150 MB, so a process reads it once, and only if a Chinese text comes along.
"""

from __future__ import annotations

import logging
import re
import unicodedata
import warnings
from functools import cache
from typing import Any

WORD = re.compile(r"\w+")
HAN = re.compile(r"[\u3400-\u4dbf\u4e00-\u9fff\U00020000-\U0003ffff]+")
# What stands in every text and tells nothing of any; a rare one costs nothing, idf weighs a frequent one down.
_STOP = """
a an and are as at be but by for from has have i in is it its my not of on or so that the this to was were will with you
your 的 了 和 是 在 我 有 就 不 也 都 很 到 说 要 去 你 会 着 没有 看 好 这 那 与 及 或 等 被 把 为 对 而 之
der die das und mit von für ein eine im ist zu den
"""
STOP_WORDS = frozenset(_STOP.split())


def words(text: str) -> list[str]:
    """The words of a text in lower case, in order; one written in two ways of Unicode is one word (NFKC)."""
    found = []
    for run in WORD.findall(unicodedata.normalize("NFKC", text).lower()):
        at = 0
        for han in HAN.finditer(run):
            found += [run[at : han.start()]] if han.start() > at else []
            found += _chinese().cut(han[0], HMM=True)
            at = han.end()
        found += [run[at:]] if at < len(run) else []
    return found


def telling_words(text: str) -> list[str]:
    """Those of the words that can tell a taste: no numbers, no single letters (a Han character is a word), no words
    that stand in every text."""
    return [w for w in words(text) if w not in STOP_WORDS and not w.isnumeric() and (len(w) > 1 or HAN.match(w))]


@cache
def _chinese() -> Any:
    """jieba's tokenizer with its own dictionary.

    Its own `initialize` would keep the read dictionary in the machine's shared temporary folder, in a format that runs
    what somebody else put there, and tell so on the standard error.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of its age: invalid escapes, pkg_resources
        import jieba
    jieba.setLogLevel(logging.WARNING)
    tokenizer = jieba.Tokenizer()
    tokenizer.FREQ, tokenizer.total = tokenizer.gen_pfdict(tokenizer.get_dict_file())
    tokenizer.initialized = True
    return tokenizer
