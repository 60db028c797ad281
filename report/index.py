"""The index of nights: one page a source and one over all, made of what the nights' own reports left beside them."""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

from report.headline import NIGHT, SHOP
from report.page import FORMS, page_name, templates
from report.words import words

SUMMARY = "summary.json"


@dataclass(frozen=True)
class Entry:
    """A reported night; `address` leads to its page from the index that lists it."""

    source: str
    day: date
    told: dict[str, Any]
    folder: str

    @property
    def order(self) -> tuple[str, str]:
        """By date, then run."""
        return (self.day.isoformat(), self.folder)


def entries(folder: Path) -> list[Entry]:
    """The nights reported below a source's folder, newest first; what is no report of ours is passed over."""
    found = []
    for path in folder.glob(f"*/{SUMMARY}"):
        told = json.loads(path.read_text(encoding="utf-8"))
        found.append(Entry(told["source"], date.fromisoformat(told["date"]), told, path.parent.name))
    return sorted(found, key=lambda one: one.order, reverse=True)


def replace(path: Path, text: str) -> None:
    """Write a file as a whole: whoever reads meanwhile sees the old one or the new one."""
    part = path.with_name(f".{path.name}.{os.getpid()}")
    part.write_text(text, encoding="utf-8")
    part.replace(path)


@contextmanager
def alone(reports: Path) -> Iterator[None]:
    """One process at a time lists the nights: else one that looked earlier could write later."""
    with (reports / ".index.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def write(reports: Path, source: str, served: set[str], languages: tuple[str, ...]) -> None:
    """The source's index and the one over all sources, in every language; `served` are the runs that the CRM reads."""
    with alone(reports):
        _write(reports, source, served, languages)


def _write(reports: Path, source: str, served: set[str], languages: tuple[str, ...]) -> None:
    nights = {
        path.name: entries(path)
        for path in sorted(reports.iterdir())
        if path.is_dir() and next(path.glob(f"*/{SUMMARY}"), None) is not None
    }
    for language in languages:
        one = {source: nights.get(source, [])}
        name = page_name("index", language, languages)
        replace(reports / source / name, page(one, language, languages, "", served))
        replace(reports / name, page(nights, language, languages, "source", served))


def page(
    nights: dict[str, list[Entry]], language: str, languages: tuple[str, ...], below: str, served: set[str]
) -> str:
    """An index as HTML; `below` is "source" where the nights lie a folder deeper."""
    w = words(language)
    made = templates(w)
    made.globals |= {
        "nights": nights,
        "figures": (*SHOP, *NIGHT),
        "forms": {name: FORMS.get(name, "count") for name in (*SHOP, *NIGHT)},
        "page_name": lambda stem, which: page_name(stem, which, languages),
        "others": [(other, page_name("index", other, languages)) for other in languages if other != language],
        "below": below,
        "served": served,
    }
    text = made.get_template("index.html").render()
    return "\n".join(line.rstrip() for line in text.splitlines() if line.strip()) + "\n"
