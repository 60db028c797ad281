"""The night in one JSON line: what the scheduler writes into the run's note (`dags/plugins/run_notes.py`)."""

from __future__ import annotations

from pathlib import Path

from report import changes
from report.answers import joined, reason_words
from report.night import Night
from report.words import words

# What an analyst asks first: of each, the first sentence of what changed.
SECTIONS = ("risk", "segments")


def note(night: Night, page: Path) -> dict[str, object]:
    """The night's numbers and, in English as the note itself, what changed and whether the night can be trusted.

    `seconds` are those of each stage's last finished try; the report's own stage, which is not over, is not among
    them. `recommendations` counts rows, `users` those who are watched, `page` is where the report lies.
    """
    w = words("en")
    against, looked_at = night.trust.against, len(night.trust.reasons)
    believed = [w.html(f"verdict_words.{night.trust.verdict}", n=len(against), all=looked_at)]
    believed += [reason_words(one, w) for one in against[:1]]
    firsts = {one.section: one for one in reversed(changes.told(night, w))}
    return {
        "source": night.source,
        "date": str(night.date),
        "status": night.status,
        "message": night.message,
        "trust": joined(believed, w).striptags(),
        "changed": changes.plain([firsts[section] for section in SECTIONS if section in firsts], w),
        "fates": night.fates if night.fates.get("landed") else {},
        "at_risk": int(night.figures.get("at_risk") or 0),
        "users": int(night.figures.get("watched") or 0),
        "recommendations": dict(night.tables).get("recommendations", 0),
        "failed_checks": len(night.failed_checks),
        "seconds": round(night.seconds, 1),
        "report": str(page),
    }
