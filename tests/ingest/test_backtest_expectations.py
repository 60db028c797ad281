"""The back-test of drift: what each check would have done on each past day, and what to write to change that."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, timedelta
from typing import Any

import pytest

from expectations.drift.checks import CHECKS, severities
from expectations.drift.days import Days, Row
from jobs.ingest import backtest_expectations
from jobs.ingest.backtest_expectations import Past, look_back, told, words
from rekindle import settings, warehouse
from rekindle.fingerprint import Fingerprint
from rekindle.ledger import Ledger, RunKey, TableVersion
from rekindle.refusals import UsageError
from schemas.catalogue import SERVED
from tests.rekindle import conftest as warehouse_server

environment = warehouse_server.environment

FIRST = date(2026, 1, 1)
BROKEN = FIRST + timedelta(days=63)


def landed(days: int = 84) -> Iterator[Row]:
    """A day's figures: 1,000 lines, on one day a tenth of them, and events that are late on the last day."""
    for n in range(days):
        day = FIRST + timedelta(days=n)
        lines = 100.0 if day == BROKEN else 1000.0 + n
        yield from ((day, measure, "log", lines) for measure in ("landed_lines", "clean_lines"))
        yield day, "event_lines", "view", lines
        yield day, "newest_age_hours", "events", 9.0 if n == days - 1 else 1.0


DECLARED = severities("shop", {})


def past(chosen: dict[str, Any] | None = None) -> dict[str, Past]:
    return {p.check_id: p for p in look_back(Days.of(landed()), DECLARED | (chosen or {}))}


def test_each_day_is_judged_as_its_own_night_would_have() -> None:
    found = past()
    assert set(found) == {c.check_id for c in CHECKS}
    assert found["volume"].alarms == (BROKEN,)
    assert found["volume"].judged == tuple(FIRST + timedelta(days=n) for n in range(28, 84)), "from the fifth week on"
    assert found["freshness"].judged[0] == FIRST + timedelta(days=7)
    assert found["freshness"].alarms == (FIRST + timedelta(days=83),)
    assert found["price_level"].judged == ()
    assert found["price_level"].rate is None
    assert found["volume"].rate == pytest.approx(1 / 56)
    until = [row for row in landed() if row[0] <= BROKEN]
    earlier = {p.check_id: p for p in look_back(Days.of(until), DECLARED)}
    assert earlier["volume"].alarms == found["volume"].alarms, "what came later changes nothing"


def test_the_table_tells_refusals_from_warnings_and_names_the_days() -> None:
    days, found = Days.of(landed()), past()
    text = told("shop", days, list(found.values()))
    line = {row.split()[0]: row.split() for row in text.splitlines() if row.strip()}
    assert line["volume"] == ["volume", "critical", "56", "1", "0", "1.8", "%", str(BROKEN)]
    assert line["usual_volume"] == ["usual_volume", "warning", "56", "0", "1", "1.8", "%", str(BROKEN)]
    assert line["price_level"] == ["price_level", "critical", "0", "0", "0", "-"]
    assert "shop: 84 landing days, 2026-01-01 to 2026-03-25." in text
    disarmed = told("shop", days, list(past({"volume": "warning"}).values()))
    assert "warning (declared critical)" in disarmed


def test_it_says_what_to_write_to_disarm_a_check_that_refuses_often_and_to_arm_a_quiet_one() -> None:
    days, found = Days.of(landed()), past()
    text = words("shop", days, list(found.values()))
    assert "  volume: warning    # disarms: it would have refused 1 of 56" in text
    assert "  quarantine_rise: critical    # arms: it was quiet on all 77" in text
    assert "freshness: critical" not in text, "it alarmed"
    assert "`severities` in conf/sources/shop.yaml" in text
    quiet = [found["unknown_share"], found["price_level"]]
    assert words("shop", days, quiet).endswith("This past gives no reason to change one.")


def test_many_alarms_are_cut_to_the_newest() -> None:
    alarms = tuple(FIRST + timedelta(days=n) for n in range(9))
    text = told("shop", Days.of(landed(9)), [Past("volume", "critical", "critical", alarms, alarms)])
    assert "2026-01-06, 2026-01-07, 2026-01-08, 2026-01-09 and 5 more" in text
    assert "100.0 %" in text


def test_without_a_served_night_or_its_figures_it_says_what_to_do(environment: settings.Environment) -> None:
    warehouse.migrate(environment, SERVED)
    ledger = Ledger(lambda: warehouse.connect(environment, "writer"))
    with pytest.raises(UsageError, match="nothing of unseen_shop is served yet"):
        backtest_expectations.served_profiles(ledger, "unseen_shop")
    key = RunKey("r" + "7" * 16, "older_shop", FIRST, "code", "conf", "ingest", 1, False)
    run = ledger.open_run(key, [], {"train": False, "base": None})
    version = TableVersion("events", 1, "s3a://lake/older_shop/events.json", Fingerprint(0, 0, 0, "0" * 16), True)
    ledger.record_table(run.run_id, version)
    with warehouse.connect(environment, "writer") as connection:
        connection.execute(
            "INSERT INTO serve.publications (run_id, source, business_date, data_through, key_version, attempt, status,"
            " manifest) VALUES (%s, %s, %s, now(), 1, 1, 'served', '{}')",
            [run.run_id, key.source, FIRST],
        )
        connection.execute("INSERT INTO serve.pointers (source, run_id) VALUES (%s, %s)", [key.source, run.run_id])
    with pytest.raises(UsageError, match=r"the served night of older_shop \(2026-01-01.* has no day_profiles"):
        backtest_expectations.served_profiles(ledger, key.source)
    with_figures = TableVersion("day_profiles", 2, "memory", Fingerprint(0, 0, 0, "0" * 16), True)
    ledger.record_table(run.run_id, with_figures)
    assert backtest_expectations.served_profiles(ledger, key.source).snapshot_id == 2


def test_an_unknown_source_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert backtest_expectations.main(["--source", "simulated_shopp"]) == 2
    told = capsys.readouterr().err
    assert told.startswith("error: SOURCE='simulated_shopp' is unknown; legal values: ")
    assert told.count("\n") == 1
