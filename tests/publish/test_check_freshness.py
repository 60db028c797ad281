"""A source without a publication of its last night by the hour in conf is one alert a day, by the shop's clock."""

from __future__ import annotations

import json
from datetime import date, datetime, time, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from jobs.publish import check_freshness
from rekindle import settings
from rekindle.alert_conf import Alerts
from tests.rekindle.warehouse_shop import DAY, Shop

BERLIN, NEW_YORK = ZoneInfo("Europe/Berlin"), ZoneInfo("America/New_York")


@pytest.mark.parametrize(
    ("moment", "by", "zone", "due"),
    [
        ("2026-05-01T07:29:00+02:00", "07:30", BERLIN, "2026-04-29"),
        ("2026-05-01T07:30:00+02:00", "07:30", BERLIN, "2026-04-30"),
        ("2026-05-01T05:30:00+00:00", "07:30", BERLIN, "2026-04-30"),
        ("2026-05-01T05:30:00+00:00", "07:30", NEW_YORK, "2026-04-29"),
        ("2026-05-01T23:59:00+02:00", "07:30", BERLIN, "2026-04-30"),
        # The clocks go forward: half past seven comes an hour earlier, and half past two at half past three.
        ("2026-03-29T05:29:00+00:00", "07:30", BERLIN, "2026-03-27"),
        ("2026-03-29T05:30:00+00:00", "07:30", BERLIN, "2026-03-28"),
        ("2026-03-29T01:29:00+00:00", "02:30", BERLIN, "2026-03-27"),
        ("2026-03-29T01:30:00+00:00", "02:30", BERLIN, "2026-03-28"),
        # They go back: an hour later, and half past two at the first of the two.
        ("2026-10-25T06:29:00+00:00", "07:30", BERLIN, "2026-10-23"),
        ("2026-10-25T06:30:00+00:00", "07:30", BERLIN, "2026-10-24"),
        ("2026-10-25T00:30:00+00:00", "02:30", BERLIN, "2026-10-24"),
        ("2026-10-25T01:30:00+00:00", "02:30", BERLIN, "2026-10-24"),
    ],
)
def test_a_night_is_due_at_its_hour_of_the_shops_clock(moment: str, by: str, zone: ZoneInfo, due: str) -> None:
    found = check_freshness.last_due(datetime.fromisoformat(moment), time.fromisoformat(by), zone)
    assert found == date.fromisoformat(due)


def test_a_late_night_is_one_alert_until_it_is_published(
    shop: Shop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("REKINDLE_HOME", str(tmp_path))
    watched = Alerts.model_validate({"freshness": {"by": "07:30", "sources": [shop.source]}})
    environment = shop.environment.model_copy(update={"alerts": watched})
    real = settings.load("simulated_shop")
    monkeypatch.setattr(settings, "load_environment", lambda name: environment)
    monkeypatch.setattr(settings, "load", lambda name, env: real)
    shop.publish(shop.run(DAY - timedelta(days=1)))

    def look(moment: str) -> list[str]:
        assert check_freshness.main(["--moment", moment]) == 0
        told = json.loads(capsys.readouterr().out)
        assert told["watched"] == 1
        return list(told["late"])

    def spooled() -> int:
        return len(list((tmp_path / "alerts" / "spool").glob("*.json")))

    assert look("2026-05-01T07:00:00+02:00") == []
    late = f"{shop.source} has no publication of the night of 2026-04-30 by 07:30; the newest is 2026-04-29"
    assert look("2026-05-01T07:30:00+02:00") == [late]
    assert look("2026-05-01T23:30:00+02:00") == [late]
    assert spooled() == 1
    shop.publish(shop.run())
    assert look("2026-05-01T23:59:00+02:00") == []
    assert look("2026-05-02T07:30:00+02:00") != []
    assert spooled() == 2


@pytest.mark.parametrize("moment", ["", "now", "2026-05-01T07:30:00", "2026-05-01\n"])
def test_a_moment_without_its_offset_is_refused(moment: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert check_freshness.main(["--moment", moment]) == 2
    assert "expected a time with its offset" in capsys.readouterr().err
