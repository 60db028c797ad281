"""Patterns written in a conf, checked before Spark starts: it would stop at the first line that meets a wrong one.

Regular expressions are those that Java and Python read alike. Times and days are written in Spark's letters.
"""

from __future__ import annotations

import re

# Java's own classes of characters, which Python does not know.
PROPERTY = re.compile(
    r"\\[pP]\{(?:[LMNPSZC][a-z]?|Is(?:Alphabetic|Digit|Han|Hangul|Hiragana|Katakana|Latin|Cyrillic|Greek|Arabic|Hebrew)"
    r"|Alpha|Alnum|Digit|Punct|Space|Upper|Lower|ASCII)\}"
)
ESCAPES, IN_CLASSES = "dDwWsSbBAtnrf", "dDwWsStnrf"
COUNTED = re.compile(r"\{(\d{1,4})(?:(,)(\d{1,4})?)?\}")
MOST_REPEATS = 1_000
# How often at most each of Spark's letters may stand in a row.
LETTERS = {
    "G": 4, "y": 6, "M": 4, "L": 4, "d": 2, "D": 3, "a": 1, "h": 2, "H": 2, "k": 2, "K": 2, "m": 2, "s": 2, "S": 9,
    "V": 2, "z": 4, "O": 4, "X": 5, "x": 5, "Z": 5,
}  # fmt: skip
OFFSETS = frozenset("VzOXxZ")


class PatternError(ValueError):
    """A pattern is not legal: what was found, and what to write instead."""


def groups_of(pattern: str) -> int:
    """How many groups a regular expression has.

    Raises:
        PatternError: it is none, or Java would read it otherwise, or give up on a long text.
    """
    at, in_class, after_group = 0, False, False
    while at < len(pattern):
        sign, rest = pattern[at], pattern[at:]
        step = 1
        if sign == "\\":
            step = _escape(pattern, rest, in_class)
        elif in_class:
            if sign == "[" or rest.startswith(("&&", "--", "||", "~~")):
                raise PatternError(f"regular expression '{pattern}': `{sign}` inside […] needs a backslash")
            in_class = sign != "]"
        elif sign == "[":
            in_class, step = True, 2 if rest.startswith("[^") else 1
            if pattern[at + step : at + step + 1] == "]":
                raise PatternError(f"regular expression '{pattern}': `]` inside […] needs a backslash")
        elif rest.startswith("(?"):
            _group(pattern, rest)
        elif sign in "*+{":
            step = _repeat(pattern, rest, after_group)
        after_group = sign == ")" and not in_class
        at += step
    try:
        return re.compile(PROPERTY.sub(r"\\w", pattern)).groups
    except (re.error, OverflowError, RecursionError) as error:
        raise PatternError(f"regular expression '{pattern}': {error}") from None


def _escape(pattern: str, rest: str, in_class: bool) -> int:
    """The length of an escape."""
    told = PROPERTY.match(rest) or re.match(r"\\x[0-9a-fA-F]{2}|\\u[0-9a-fA-F]{4}", rest)
    if told:
        return told.end()
    sign = rest[1:2]
    letters = IN_CLASSES if in_class else ESCAPES + "123456789"
    if not sign or not (sign in letters or (sign.isascii() and not sign.isalnum())):
        raise PatternError(f"regular expression '{pattern}': `\\{sign}` is not read alike by all; write it otherwise")
    return 2


def _group(pattern: str, rest: str) -> None:
    if not re.match(r"\(\?(?::|=|!|<=|<!|[ims]+[:)])", rest):
        raise PatternError(f"regular expression '{pattern}': only (…), (?:…), (?=…), (?!…), (?<=…), (?<!…), (?i)…")


def _repeat(pattern: str, rest: str, after_group: bool) -> int:
    """The length of a sign of repetition."""
    counted = COUNTED.match(rest)
    if rest[0] == "{" and not counted:
        raise PatternError(f"regular expression '{pattern}': `{{` needs a backslash, or a count as in {{2,5}}")
    most = None if not counted else int(counted[3] or counted[1]) if counted[3] or not counted[2] else None
    if most is not None and most > MOST_REPEATS:
        raise PatternError(f"regular expression '{pattern}': at most {MOST_REPEATS} times, found {most}")
    if after_group and most is None:
        # Java goes one call deeper for each repetition: (a|b)* ends the process's stack on some thousand characters.
        raise PatternError(f"regular expression '{pattern}': a group repeated without end; say how often: {{0,9}}")
    return counted.end() if counted else 1


def check_day(pattern: str) -> None:
    """Nothing, where Spark reads a whole day by the pattern.

    Raises:
        PatternError: an unknown letter, one too often, an open quote or bracket, or no year, month and day.
    """
    told = re.sub(r"'[^']*'", "", pattern)
    if "'" in told:
        raise PatternError(f"pattern {pattern!r}: a quote is not closed; texts stand in '…'")
    if re.search(r"[{}#]", told):
        raise PatternError(f"pattern {pattern!r}: {{, }} and # stand in quotes")
    depth = 0
    for sign in told:
        depth += (sign == "[") - (sign == "]")
        if depth < 0:
            break
    if depth:
        raise PatternError(f"pattern {pattern!r}: a bracket is not closed; what may be missing stands in […]")
    for run in re.finditer(r"([A-Za-z])\1*", told):
        letter, times = run[1], len(run[0])
        legal = {"V": times == 2, "O": times in (1, 4)}.get(letter, times <= LETTERS.get(letter, 0))
        if not legal:
            known = "too short or too long" if letter in LETTERS else f"none of {' '.join(LETTERS)}"
            raise PatternError(f"pattern {pattern!r}: `{run[0]}` is {known}; texts stand in '…'")
    if "y" not in told or not ("D" in told or ("d" in told and ("M" in told or "L" in told))):
        raise PatternError(f"pattern {pattern!r} tells no whole day; expected year, month and day, as in yyyy-MM-dd")


def tells_offset(pattern: str) -> bool:
    """Whether a time by this pattern carries its zone or its offset from UTC."""
    return not OFFSETS.isdisjoint(re.sub(r"'[^']*'", "", pattern))
