"""The night's report from a real warehouse: every figure of it is a table's, in two languages, and nothing foreign
in it runs."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from jobs.publish import report_night
from rekindle import settings
from tests.publish.reported_shop import DAY, ReportedShop, reported_shop


@pytest.fixture(scope="module")
def shop(environment: settings.Environment, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ReportedShop]:
    """Three nights, each reported when it was published."""
    made = reported_shop(environment, tmp_path_factory.mktemp("home"))
    for day in (DAY - timedelta(days=7), DAY - timedelta(days=1), DAY):
        context = made.context(day)
        with made.ledger.stage(context.run_id, "report_night") as detail:
            report_night.run(context)
            detail |= context.detail
    yield made


def folder(shop: ReportedShop) -> Path:
    return shop.settings.home / "reports" / shop.settings.source.name / f"{DAY}-{shop.runs[DAY].run_id}"


def test_draft(shop: ReportedShop) -> None:
    assert (folder(shop) / "night.html").exists()
    told: dict[str, Any] = json.loads((folder(shop) / "summary.json").read_text())
    assert told["headline"]["left"] == 5
