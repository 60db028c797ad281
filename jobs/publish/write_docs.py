"""Write the pages of docs/tables: one a table, and an index.

Reads   schemas
Writes  docs/tables

A manual job: `make docs` calls it, no DAG does. A test fails when the pages are not what it would write.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

from rekindle import settings
from rekindle.contract import Table, page
from rekindle.warehouse_tables import PUBLICATIONS
from rekindle.warehouse_views import ABOUT
from schemas.catalogue import LAKE, SERVED

FOLDER = "docs/tables"
INTRODUCTION = """# Tables

Written by `make docs` from the contracts in `schemas/`; change those, not these pages.

The lake holds one set of tables a source, as `lake.<source>.<table>`, and knows users by pseudonym (`user_key`). The
tables marked CRM are also staged in the warehouse; there the views of schema `crm` show them, with `source` first,
`user_id` in the place of `user_key`, and `run_id` and `published_at` last. How to query them: [the CRM's
views](../crm.md). What the words mean: [definitions](../definitions.md).

| table | one row per | key | CRM |
|---|---|---|---|
"""


def first_sentence(doc: str) -> str:
    """What one row is: the doc up to its first full stop, colon or semicolon, asides and "One row per" left out."""
    doc = re.sub(r" \([^)]*\)", "", doc)
    ends = [at for mark in (". ", ": ", "; ") if (at := doc.find(mark)) >= 0]
    return doc[: min(ends, default=len(doc))].rstrip(".").removeprefix("One row per ")


def index(tables: tuple[Table, ...]) -> str:
    """The page that lists all tables."""
    rows = []
    for table in tables:
        crm = "view only" if table in (PUBLICATIONS, *ABOUT) else "yes" if table in SERVED else ""
        key = ", ".join(f"`{k}`" for k in table.key)
        rows.append(f"| [{table.name}]({table.name}.md) | {first_sentence(table.doc)} | {key} | {crm} |\n")
    return INTRODUCTION + "".join(rows)


def pages() -> dict[str, str]:
    """Every page by its file name: the lake's tables, the CRM's own views, the index."""
    tables = (*LAKE, PUBLICATIONS, *ABOUT)
    return {"README.md": index(tables)} | {f"{table.name}.md": page(table) for table in tables}


def write(folder: Path) -> list[str]:
    """Make the folder hold exactly the pages; the names of those that changed or went."""
    folder.mkdir(parents=True, exist_ok=True)
    wanted = pages()
    changed = []
    for path in sorted(folder.glob("*.md")):
        if path.name not in wanted:
            path.unlink()
            changed.append(path.name)
    for name, text in wanted.items():
        path = folder / name
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            path.write_text(text, encoding="utf-8")
            changed.append(name)
    return changed


if __name__ == "__main__":
    written = write(settings.ROOT / FOLDER)
    sys.stdout.write(f"{FOLDER}: {len(pages())} pages, changed: {', '.join(written) or 'none'}\n")
