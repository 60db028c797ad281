"""The files of a night's report: its pages, its summaries, and the index that lists it."""

from __future__ import annotations

import json
from pathlib import Path

from rekindle import warehouse
from rekindle.cli import Context
from report import index
from report.night import Night, folder_of, summary_of
from report.page import page, page_name
from report.summary import summary
from report.words import Words, words


def write(context: Context, night: Night) -> Path:
    """Write them all, each as a whole, and the indexes last; the path of the first language's page."""
    folder = folder_of(context)
    folder.mkdir(parents=True, exist_ok=True)
    languages = context.settings.business.report_language
    pages = {page_name("night", one, languages): page(night, one, languages) for one in languages}
    for name, text in pages.items():
        index.replace(folder / name, text)
    for stale in set(folder.glob("night*.html")) - {folder / name for name in pages}:
        stale.unlink()
    index.replace(folder / "summary.txt", summary(night, look_at(context, folder, words(languages[0])), languages[0]))
    told = summary_of(night) | {"pages": list(pages)}
    index.replace(folder / index.SUMMARY, json.dumps(told, indent=1, sort_keys=True, ensure_ascii=False) + "\n")
    with warehouse.connect(context.settings, "writer", "rekindle report") as connection:
        served = {
            str(row[0]) for row in connection.execute("SELECT run_id FROM serve.pointers WHERE run_id IS NOT NULL")
        }
    index.write(context.settings.home / "reports", context.source.name, served, languages)
    return folder / page_name("night", languages[0], languages)


def look_at(context: Context, folder: Path, w: Words) -> list[tuple[str, str]]:
    """Where to look, (what, where or which command)."""
    docs = context.settings.home / "reports" / "data_docs" / context.source.name / context.run_id
    return [
        (w("look.page"), str(folder / "night.html")),
        (w("look.nights"), str(folder.parent / "index.html")),
        (w("look.crm"), 'make crm SQL="select * from crm.at_risk_users limit 5"'),
        (w("look.docs"), str(docs)),
        (w("look.control"), "make up"),
        (w("look.line"), "make show-line FILE=<sha256> LINE=<number>"),
    ]
