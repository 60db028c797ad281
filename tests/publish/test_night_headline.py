"""The one line of a night that the scheduler puts into the run's note."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import pytest

from rekindle import night_headline, settings
from rekindle.cli import Context
from rekindle.ledger import CheckRecord, FileFate
from tests.dags.small_airflow import HEADLINE
from tests.rekindle.warehouse_shop import DAY, Shop, landed, version


def test_a_night_is_told_in_one_line_with_the_ledgers_numbers(shop: Shop, capsys: pytest.CaptureFixture[str]) -> None:
    ledger, run = shop.ledger, shop.run()
    ledger.add_files(shop.source, [landed("a.jsonl", f"{shop.source}-a"), landed("b.jsonl", f"{shop.source}-b")])
    fates = [FileFate(f"{shop.source}-a", 10, 7, 2, 1), FileFate(f"{shop.source}-b", 5, 5, 0, 0)]
    ledger.record_fates(run.run_id, fates)
    ledger.record_table(run.run_id, version("recommendations", 40))
    kept = CheckRecord("events", "volume", "warning", False, "10 or more", "9")
    ledger.record_checks(run.run_id, "validate_events", [kept])
    for name in ("clean_events", "clean_events", "publish_night"):
        with ledger.stage(run.run_id, name):
            pass
    shop.publish(run)
    context = Context(
        settings.load("simulated_shop"), DAY, ledger, False, run, None, {}, logging.getLogger("report_night")
    )
    night_headline.say(night_headline.headline(context, Path("night.html"), users=9, at_risk=4))
    [line] = capsys.readouterr().out.splitlines()
    told = json.loads(line)
    assert set(told) == set(HEADLINE), "what the small Airflow of the tests answers"
    assert told.pop("seconds") >= 0
    assert told == {
        "source": shop.source, "date": "2026-04-30", "status": "published", "message": told["message"],
        "fates": {"landed": 15, "clean": 12, "duplicate": 2, "quarantined": 1}, "at_risk": 4, "users": 9,
        "recommendations": 40, "failed_checks": 1, "report": "night.html",
    }  # fmt: skip
