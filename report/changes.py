"""What changed since the night before, and why, as sentences with their figures, in no language yet."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

from report.night import Night
from report.words import Figure, Name, Words

# A stage is told as slow from these on: both, so that neither a short stage nor a busy minute is news.
SLOWER, SLOWER_SECONDS = 1.5, 30.0
# New lines are told as many or few beyond this share of the usual number.
UNUSUAL = 0.3


@dataclass(frozen=True)
class Told:
    """A sentence: its key in the catalogue, its values, and the section that tells more."""

    key: str
    values: dict[str, Any]
    section: str


def told(night: Night, words: Words) -> list[Told]:
    """All that is worth a sentence, people first; empty where there is nothing to compare with."""
    return [
        *at_risk(night),
        *segments(night, words),
        *lists(night, words),
        *champions(night, words),
        *outcomes(night),
        *new_lines(night),
        *slow_stages(night, words),
    ]


def causes(rows: Iterable[dict[str, Any]], group: str, words: Words) -> str:
    """By what it came, most first: "220 by behaviour, 56 by labels" in the words of the catalogue."""
    found: Counter[str] = Counter()
    for row in rows:
        found[row["cause"]] += row["users"]
    ordered = sorted(found.items(), key=lambda pair: (-pair[1], pair[0]))
    return words.listed([words(f"because.{group}_{cause}", n=users) for cause, users in ordered])


def total(rows: Iterable[dict[str, Any]], change: str) -> int:
    """Users of a kind of change."""
    return sum(row["users"] for row in rows if row["change"] == change)


def at_risk(night: Night) -> list[Told]:
    """Who came under watch, who went out of it and who moved to a higher or a lower band."""
    if night.risk is None or not night.risk.changes:
        return []
    rows = night.risk.changes
    order = {band["risk_band"]: band["probability"] for band in night.risk.bands}
    moved = [row for row in rows if row["change"] == "moved"]
    up = sum(r["users"] for r in moved if order.get(r["band_after"], 0) > order.get(r["band_before"], 0))
    sentences = [
        Told(
            "changed.risk",
            {
                "left": Figure("changes.left", total(rows, "left")),
                "entered": Figure("changes.entered", total(rows, "entered")),
                "day": rows[0]["compared_date"],
            },
            "risk",
        ),
        Told(
            "changed.bands",
            {
                "up": Figure("changes.band_up", up),
                "down": Figure("changes.band_down", total(rows, "moved") - up),
            },
            "risk",
        ),
    ]
    by: Counter[str] = Counter()
    for row in rows:
        by[row["cause"]] += row["users"]
    for cause, users in sorted(by.items(), key=lambda pair: (-pair[1], pair[0])):
        sentences.append(Told(f"changed.risk_{cause}", {"n": Figure(f"changes.by_{cause}", users)}, "risk"))
    return sentences


def segments(night: Night, words: Words) -> list[Told]:
    """How many users are in another segment, and which segments are new or gone."""
    if night.groups is None:
        return []
    rows, found = night.groups.by_cause, []
    if rows:
        found.append(
            Told(
                "changed.segments",
                {
                    "moved": Figure("movements.moved", total(rows, "moved")),
                    "entered": Figure("movements.entered", total(rows, "entered")),
                    "left": Figure("movements.left", total(rows, "left")),
                    "causes": causes(rows, "segment", words),
                },
                "segments",
            )
        )
    compared = [one for one in night.groups.segments if one["compared_date"] is not None]
    for status in ("new", "dissolved"):
        ids = [one["segment_id"] for one in compared if one["status"] == status]
        if ids:
            found.append(Told(f"changed.segments_{status}", {"ids": Name(", ".join(ids))}, "segments"))
    return found


def lists(night: Night, words: Words) -> list[Told]:
    """Whose recommendations begin with another item."""
    if night.offers is None or not night.offers.changes:
        return []
    rows = night.offers.changes
    return [
        Told(
            "changed.lists",
            {
                "n": Figure("lists.changed", sum(row["users"] for row in rows)),
                "causes": causes(rows, "list", words),
            },
            "recommendations",
        )
    ]


def champions(night: Night, words: Words) -> list[Told]:
    """Which model took over tonight, or that none did."""
    found = []
    for one in night.models:
        promoted = any(d.decision == "promoted" and d.digest == one.digest for d in one.decisions)
        key = "changed.champion" if promoted else "changed.champion_stays"
        found.append(Told(key, {"kind": words.term("kind", one.kind), "method": Name(one.method)}, "models"))
    return found


def outcomes(night: Night) -> list[Told]:
    """Alarms of drift and calibration."""
    alarms = night.risk.alarms if night.risk else []
    return [
        Told(
            "changed.alarm",
            {
                "name": Name(one["name"]),
                "value": Figure(f"health.{one['kind']}.{one['name']}", one["value"], "three"),
                "limit": Figure("health.limit", one["alarm_above"], "limit"),
            },
            "models",
        )
        for one in alarms
    ]


def new_lines(night: Night) -> list[Told]:
    """Whether more or fewer lines landed than usual."""
    usual = [one.fates["landed"] for one in night.before if one.fates.get("landed")]
    landed = night.fates.get("landed", 0)
    if len(usual) < 2:
        return []
    middle = median(usual)
    if abs(landed - middle) <= UNUSUAL * middle:
        return []
    key = "changed.more_lines" if landed > middle else "changed.fewer_lines"
    return [Told(key, {"n": Figure("lines.landed", landed), "usual": round(middle)}, "lines")]


def slow_stages(night: Night, words: Words) -> list[Told]:
    """Stages that took much longer than they usually do."""
    usual = night.usual_seconds
    return [
        Told(
            "changed.slow",
            {"stage": Name(name), "now": words.duration(seconds), "usual": words.duration(usual[name])},
            "times",
        )
        for name, seconds, _ in night.stages
        if name in usual and seconds > SLOWER * usual[name] and seconds - usual[name] > SLOWER_SECONDS
    ]


def plain(sentences: Sequence[Told], words: Words) -> list[str]:
    """The sentences as text."""
    return [words(one.key, **one.values) for one in sentences]
