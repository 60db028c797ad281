"""The CRM's views about its other views: what changed in any of them, and which columns each has in which version."""

from __future__ import annotations

from collections.abc import Sequence

from rekindle.contract import Changes, Column, Table
from rekindle.warehouse_tables import View, views_of

CHANGES = Table(
    name="changes",
    doc="One row per user and table in which the user entered, left or moved since the publication before.",
    key=("table_name", "user_id"),
    readers="CRM (crm.changes)",
    columns=(
        Column("table_name", "string", "The table in which it happened, as the view is named."),
        Column("user_id", "string", "The shop's own id of the user.", privacy="personal"),
        Column("change", "string", "What happened to the user there.", allowed=("entered", "left", "moved")),
        Column("before", "string", "What stood there then; null for who entered.", nullable=True),
        Column("after", "string", "What stands there now; null for who left.", nullable=True),
        Column("cause", "string", "What did it, in the words of the table that tells this change."),
        Column("compared_date", "date", "Business date of the publication before."),
    ),
)
CONTRACTS = Table(
    name="contracts",
    doc="One row per column of a view: what a reader can rely on as long as the view's version is the same.",
    key=("view_name", "column_name"),
    readers="CRM (crm.contracts)",
    columns=(
        Column("view_name", "string", "A view of schema crm."),
        Column("version", "int", "The view's version: it rises when a column goes or gets another type.", minimum=1),
        Column("column_name", "string", "A column of the view."),
        Column("data_type", "string", "Its type, as PostgreSQL spells it."),
        Column("position", "int", "Its place in the view, from 1; new columns may come between.", minimum=1),
    ),
)
ABOUT = (CHANGES, CONTRACTS)


def about(tables: Sequence[Table]) -> list[View]:
    """The views about the views of `tables`."""
    return [*_changes_views([table for table in tables if table.changes]), _contracts_view()]


def rights(tables: Sequence[Table]) -> list[str]:
    """Who may read them."""
    views = ", ".join(f"crm.{view.name}" for view in about(tables))
    return [f"GRANT SELECT ON {views} TO writer, crm_reader"]


def _changes_views(tables: Sequence[Table]) -> list[View]:
    """`crm.changes` of the served run and `crm.changes_by_run` of every kept one; none where no table tells changes.

    Made of the tables' own views, word for word, so that who is withheld from those is withheld here.
    """
    if not tables:
        return []
    made = []
    for at, name, doc in (
        (0, CHANGES.name, CHANGES.doc),
        (1, f"{CHANGES.name}_by_run", f"{CHANGES.doc} Of every kept published run: filter on run_id."),
    ):
        parts = [(views_of(table)[at], table) for table in tables]
        tail = parts[0][0].columns[1 + len(parts[0][1].columns) :]  # what every view ends with: run_id and so on
        told = (
            ("source", "The shop; first part of every key."),
            *((c.name, c.meaning) for c in CHANGES.columns),
            *tail,
        )
        selects = [_selected(view, table.changes, [c for c, _ in tail]) for view, table in parts if table.changes]
        made.append(View(name, " UNION ALL ".join(selects), doc, told, CHANGES.version))
    return made


def _selected(view: View, changes: Changes, tail: Sequence[str]) -> str:
    return (
        f"SELECT c.source, text '{changes.of}' AS table_name, c.user_id, c.change,"  # noqa: S608 (our own names)
        f" c.{changes.before}::text AS before, c.{changes.after}::text AS after, c.cause, c.compared_date,"
        f" {', '.join(f'c.{name}' for name in tail)} FROM ({view.definition}) c"
    )


def _contracts_view() -> View:
    select = (
        "SELECT v.name AS view_name, v.version, a.attname::text AS column_name,"
        " format_type(a.atttypid, a.atttypmod) AS data_type, a.attnum::integer AS position"
        " FROM ops.views v JOIN pg_class c ON c.relname = v.name AND c.relnamespace = 'crm'::regnamespace"
        " JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped"
    )
    return View(CONTRACTS.name, select, CONTRACTS.doc, tuple((c.name, c.meaning) for c in CONTRACTS.columns))
