"""The report's words: a catalogue a language with the same keys, and how each language writes figures and days.

A text of a catalogue names its values in braces; `{n|user|users}` is the first word for 1 and the second otherwise.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from functools import cache
from pathlib import Path
from typing import Any

import yaml
from markupsafe import Markup, escape

TEMPLATES = Path(__file__).parent / "templates"
PLACE = re.compile(r"\{(\w+)(?:\|([^|{}]*)\|([^|{}]*))?\}")
# Places of generated sentences that hold one word or number; the others hold any text.
ONE_WORD = ("n", "x", "y", "z")
# The place that holds a sentence: where that is not known, the whole is not.
SENTENCE = "why"
NOTHING = "–"
WEEKDAYS = {"en": ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"), "zh": ("一", "二", "三", "四", "五", "六", "日")}
MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


def catalogue(language: str) -> dict[str, str]:
    """The texts of a language by key, from words.<language>.yaml beside the templates."""
    read: dict[str, str] = yaml.safe_load((TEMPLATES / f"words.{language}.yaml").read_text(encoding="utf-8"))
    return read


def sentences(language: str) -> list[tuple[str, str]]:
    """(English, translation) of the sentences that the tables hold; none for English itself."""
    path = TEMPLATES / f"sentences.{language}.yaml"
    if not path.exists():
        return []
    return [(english, told) for english, told in yaml.safe_load(path.read_text(encoding="utf-8"))]


def pattern(english: str) -> re.Pattern[str]:
    """What recognises a generated English sentence; each place in braces is a named group."""
    parts, at = [], 0
    for place in PLACE.finditer(english):
        what = r"\S+" if place[1] in ONE_WORD else ".+?"
        parts += [re.escape(english[at : place.start()]), f"(?P<{place[1]}>{what})"]
        at = place.end()
    return re.compile("".join([*parts, re.escape(english[at:])]), re.S)


@dataclass(frozen=True)
class Figure:
    """A figure of a table inside a sentence or a cell: what a program knows it by, its value and one of FORMS."""

    name: str
    value: Any
    form: str = "count"

    def __str__(self) -> str:
        return written(self.value, self.form)

    def __html__(self) -> Markup:
        raw = "" if self.value is None else str(self.value)
        return Markup('<data data-figure="{}" value="{}">{}</data>').format(self.name, raw, str(self))


class Name(str):
    """A name of a table, a stage or a method inside a sentence or a cell: the same in every language."""

    def __html__(self) -> Markup:
        return Markup('<code translate="no">{}</code>').format(str(self))


@dataclass(frozen=True)
class Words:
    """One language's texts and ways to write."""

    language: str
    texts: Mapping[str, str]
    known: Sequence[tuple[re.Pattern[str], str]]

    def __call__(self, key: str, /, **values: Any) -> str:
        """The text of that key with its values.

        Raises:
            KeyError: the catalogue has no such key, or a value is not given.
        """
        return _filled(self.texts[key], values, self.shown)

    def html(self, key: str, /, **values: Any) -> Markup:
        """The same as part of a page: figures can be read by programs, everything else is text."""

        def shown(value: Any) -> str:
            return str(escape(value if hasattr(value, "__html__") else self.shown(value)))

        return Markup(_filled(str(escape(self.texts[key])), values, shown))  # noqa: S704 - escaped in both halves

    def term(self, group: str, name: str) -> str:
        """A value of a column in words: the catalogue's `group.name`, else the value itself without underscores."""
        return self.texts.get(f"{group}.{name}", str(name).replace("_", " "))

    def has_term(self, group: str, name: str) -> bool:
        """Whether the catalogue has words for that value."""
        return f"{group}.{name}" in self.texts

    def sentence(self, english: str) -> str | None:
        """A sentence that a table holds, or several after one another ("; "), in this language; None where one of them
        is not known there."""
        if self.language == "en":
            return english
        for known, told in self.known:
            found = known.fullmatch(english)
            if found:
                inner = {name: self.sentence(value) for name, value in found.groupdict().items()}
                if SENTENCE in inner and inner[SENTENCE] is None:
                    return None
                return _filled(told, {name: value or found[name] for name, value in inner.items()}, str)
        several = [self.sentence(one) for one in english.split("; ")] if "; " in english else [None]
        parts = [one for one in several if one is not None]
        return "；".join(parts) if len(parts) == len(several) else None

    def shown(self, value: Any) -> str:
        """A value inside a sentence."""
        if value is None:
            return NOTHING
        if isinstance(value, date):
            return self.day(value)
        if isinstance(value, bool | str | Figure):
            return str(value)
        return f"{value:,}" if isinstance(value, int) else number(value)

    def day(self, day: date) -> str:
        """A calendar day with its weekday."""
        weekday = WEEKDAYS[self.language][day.weekday()]
        if self.language == "zh":
            return f"{day.year}年{day.month}月{day.day}日(周{weekday})"
        return f"{weekday} {day.day} {MONTHS[day.month - 1]} {day.year}"

    def short_day(self, day: date) -> str:
        """A calendar day without its year."""
        return f"{day.month}月{day.day}日" if self.language == "zh" else f"{day.day} {MONTHS[day.month - 1]}"

    def tick(self, day: date) -> str:
        """A calendar day on the axis of a plot, where wide characters would be cut."""
        return f"{day.month}/{day.day}" if self.language == "zh" else self.short_day(day)

    def month(self, day: date) -> str:
        """A calendar month."""
        return f"{day.year}年{day.month}月" if self.language == "zh" else f"{MONTHS[day.month - 1]} {day.year}"

    def duration(self, seconds: float) -> str:
        """A length of time as people say it."""
        if seconds < 100:
            return self("time.seconds", n=f"{seconds:.0f}")
        return self("time.minutes", n=f"{seconds / 60:.0f}")

    def listed(self, parts: Sequence[str]) -> str:
        """Several things one after the other."""
        return ("、" if self.language == "zh" else ", ").join(parts)

    def joined(self, parts: Sequence[str]) -> str:
        """Several sentences without full stops, as one text."""
        stop, gap = ("。", "") if self.language == "zh" else (".", " ")
        return gap.join(f"{part}{stop}" for part in parts)


@cache
def words(language: str) -> Words:
    """The words of a language, read once."""
    return Words(language, catalogue(language), [(pattern(english), told) for english, told in sentences(language)])


def _filled(text: str, values: Mapping[str, Any], shown: Any) -> str:
    def put(place: re.Match[str]) -> str:
        value = values[place[1]]
        if place[2] is None:
            return str(shown(value))
        count = value.value if isinstance(value, Figure) else value
        return place[2] if count == 1 else place[3]

    return PLACE.sub(put, text)


def number(value: Any) -> str:
    """A figure as people read it; a dash for nothing."""
    if value is None:
        return NOTHING
    return f"{value:,.4f}" if isinstance(value, float) and abs(value) < 10 else f"{value:,.0f}"


def _signed(value: Any) -> str:
    return f"{value:+,.0f}".replace("-", "−")


FORMS: dict[str, Callable[[Any], str]] = {
    "count": lambda v: f"{v:,.0f}",
    "signed": _signed,
    "money": lambda v: f"{v:,.0f}",
    "cents": lambda v: f"{v:,.2f}",
    "share": lambda v: f"{v:.0%}",
    "tenths": lambda v: f"{v:.1%}",
    "two": lambda v: f"{v:,.2f}",
    "three": lambda v: f"{v:.3f}",
    "four": lambda v: f"{v:.4f}",
    "signed_four": lambda v: f"{v:+.4f}",
    "one": lambda v: f"{v:,.1f}",
    "number": number,
    "limit": lambda v: f"{v:g}",
}


def written(value: Any, form: str) -> str:
    """A figure in one of FORMS; a dash for nothing."""
    return NOTHING if value is None else str(FORMS[form](value))
