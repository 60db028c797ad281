"""Write the pages of docs/tables, one a table, and an index; and what each task of a DAG reads and writes, for Airflow.

Reads   schemas (and the jobs' docstrings)
Writes  docs/tables, dags/lineage.json

A manual job: `make docs` calls it, no DAG does. A test fails when the files are not what it would write.
"""

from __future__ import annotations

import ast
import json
import re
import sys
from pathlib import Path

from rekindle import settings
from rekindle.contract import Table, page
from rekindle.warehouse_tables import PUBLICATIONS
from rekindle.warehouse_views import ABOUT
from schemas.catalogue import LAKE, SERVED

FOLDER = "docs/tables"
LINEAGE = "dags/lineage.json"
# What a docstring names beside tables, and what Airflow's UI calls it. "{kind}" is the model that a job is about.
ASSETS = {
    "the landing folder": ("landing",),
    "landing/simulated_shop/events-YYYY-MM-DD.jsonl.gz": ("landing/simulated_shop",),
    "bronze": ("lake/bronze",),
    "ops.champions": ("models/champions",),
    "the run's champion": ("models/champions",),
    "reports/<source>/<date>-<run>/summary.txt": ("reports/nights",),
    "tables": tuple(f"lake/{table.name}" for table in SERVED),  # read by whoever judges or publishes all of them
    "the same tables of the warehouse": tuple(f"crm/{table.name}" for table in (*SERVED, PUBLICATIONS)),
}
NOT_NIGHTLY = {"prepare_warehouse"}  # it makes the tables, empty
KINDS = {"train_recommender": ("recommender",), "train_churn": ("churn",)}
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


def named(doc: str, what: str) -> list[str]:
    """What a job's docstring names under Reads or Writes, asides in brackets left out."""
    told = re.search(rf"^{what}\s+(.+(?:\n +.+)*)$", doc, re.M)
    return [part.strip() for part in re.split(r"[,;]\s+| and ", re.sub(r"\s?\([^)]*\)", "", told[1]))] if told else []


def assets(job: str, parts: list[str]) -> list[str]:
    """The names of Airflow's assets for what a docstring names; what the UI does not show (the ledger) has none."""
    tables = {table.name for table in LAKE}
    found: list[str] = []
    for part in parts:
        if part in tables:
            found.append(f"lake/{part}")
        elif part == "the registry":
            found += (f"models/{kind}" for kind in KINDS.get(job, ("recommender", "churn")))
        else:
            found += ASSETS.get(part, ())
    return list(dict.fromkeys(found))


def described() -> dict[str, str]:
    """What each asset of a table holds, in a few words."""
    rows = {f"lake/{table.name}": first_sentence(table.doc) for table in LAKE}
    rows |= {f"crm/{table.name}": first_sentence(table.doc) for table in (*SERVED, PUBLICATIONS)}
    return {name: f"one row per {doc}" for name, doc in rows.items()}


def lineage(root: Path = settings.ROOT) -> dict[str, dict[str, list[str]]]:
    """For each job that reads or writes an asset: which, from its docstring.

    What a job both reads and writes (the night before, on which this one builds) it only writes here: Airflow draws
    one night, and an arrow back would be a circle.
    """
    found = {}
    for path in sorted((root / "jobs").rglob("*.py")):
        doc = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
        reads, writes = (assets(path.stem, named(doc, what)) for what in ("Reads", "Writes"))
        if (reads or writes) and path.stem not in NOT_NIGHTLY:
            found[path.stem] = {"reads": [name for name in reads if name not in writes], "writes": writes}
    return found


def write_lineage(path: Path) -> bool:
    """Make the file hold `described()` and `lineage()`; whether that changed it."""
    wanted = json.dumps({"assets": described(), "tasks": lineage()}, indent=2) + "\n"
    if path.exists() and path.read_text(encoding="utf-8") == wanted:
        return False
    path.write_text(wanted, encoding="utf-8")
    return True


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
    written = write(settings.ROOT / FOLDER) + [LINEAGE] * write_lineage(settings.ROOT / LINEAGE)
    sys.stdout.write(f"{FOLDER}: {len(pages())} pages, changed: {', '.join(written) or 'none'}\n")
