"""What each task reads and writes, as Airflow's assets: from landed files over the lake and the models to the CRM.

The names come from lineage.json beside this file, which `make docs` writes from the jobs' docstrings and the contracts;
a test fails when it is stale. An asset is a table of all sources: its events say source, day and run.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from _runtime import sources
from airflow.sdk import Asset

_TOLD = json.loads((Path(__file__).parent / "lineage.json").read_text("utf-8"))
TASKS: dict[str, dict[str, list[str]]] = _TOLD["tasks"]
# What a table has one row of, by the asset's name.
ROWS: dict[str, str] = _TOLD["assets"]
# One event a published or stored night, keyed by its business date: other DAGs may wait for it.
CRM_TABLES = Asset(name="crm_tables", uri="rekindle://warehouse/crm", group="rekindle")


def assets(names: list[str]) -> list[Asset]:
    """The assets of those names; "landing" stands for the landed files of every source."""
    spread = [f"landing/{source}" for source in sources()]
    found = [one for name in names for one in (spread if name == "landing" else [name])]
    return [
        Asset(
            name=name,
            uri=f"rekindle://{name}",
            group=name.partition("/")[0],
            extra={"holds": ROWS[name]} if name in ROWS else {},
        )
        for name in found
    ]


def reads(task_id: str) -> list[Asset]:
    """What the task reads; nothing where no asset stands for it."""
    return assets(TASKS.get(task_id, {}).get("reads", []))


def writes(task_id: str) -> list[Asset]:
    """What the task writes; nothing where no asset stands for it."""
    return assets(TASKS.get(task_id, {}).get("writes", []))


def told(day: str, params: dict[str, Any], run: str | None) -> dict[str, str]:
    """What an asset's event says beside its key, the day: whose it is, and the run that made it."""
    return {"source": str(params.get("source", "")), "date": day} | ({"run": run} if run else {})
