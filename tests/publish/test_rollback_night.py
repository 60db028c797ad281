"""make rollback and make janitor: an earlier night is served again by name, and what nobody reads any more goes."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from jobs.publish import rollback_night, sweep_runs
from rekindle import settings
from tests.rekindle.warehouse_shop import DAY, TABLES, Shop

Ask = Callable[..., int]


@pytest.fixture
def loaded(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> settings.Settings:
    """The simulated shop's settings under the test's own source, as the commands load them."""
    real = settings.load("simulated_shop")
    source = real.source.model_copy(update={"name": shop.source})
    business = real.business.model_copy(update={"kept_runs": 2, "kept_hours": 0})
    made = real.model_copy(update={"environment": shop.environment, "source": source, "business": business})
    monkeypatch.setattr(settings, "load", lambda name, environment: made)
    monkeypatch.setattr(sweep_runs, "SERVED", TABLES)
    return made


def test_an_earlier_night_is_served_again_by_its_run_id(
    shop: Shop, loaded: settings.Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    old, new = shop.run(DAY - timedelta(days=1)), shop.run()
    shop.publish(old)
    shop.publish(new)
    asked = ["--source", shop.source, "--run", old.run_id, "--why", "the lists are odd"]
    assert rollback_night.main(asked) == 0
    told = capsys.readouterr().out
    assert f"run {old.run_id} of 2026-04-29 is served instead of {new.run_id}" in told
    assert told.strip().endswith("the lists are odd")
    assert shop.read(f"SELECT DISTINCT run_id FROM lists WHERE source = '{shop.source}'") == [(old.run_id,)]
    assert rollback_night.main(asked) == 0
    assert "is served already; nothing was changed" in capsys.readouterr().out


@pytest.mark.parametrize("asked", ["nowhere", "", "'; DROP TABLE serve.lists; --", "%s", "r" * 300])
def test_a_run_that_there_is_not_is_refused_with_those_there_are(
    shop: Shop, loaded: settings.Settings, asked: str, capsys: pytest.CaptureFixture[str]
) -> None:
    run = shop.run()
    shop.publish(run)
    assert rollback_night.main(["--source", shop.source, "--run", asked]) == 2
    [line] = capsys.readouterr().err.splitlines()
    assert f"there are: {run.run_id} (2026-04-30)" in line
    assert shop.read(f"SELECT DISTINCT run_id FROM lists WHERE source = '{shop.source}'") == [(run.run_id,)]


def test_the_janitor_removes_what_is_not_kept_and_says_that_the_rest_is_whole(
    shop: Shop, loaded: settings.Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    runs = [shop.run(DAY + timedelta(days=n)) for n in range(3)]
    for run in runs:
        shop.publish(run)
    assert sweep_runs.main(["--source", shop.source]) == 0
    told = capsys.readouterr().out
    assert f"removed 1 old runs: {runs[0].run_id}" in told
    assert "the served rows are those that were published" in told


def test_the_janitor_is_alarmed_by_served_rows_that_somebody_changed(
    shop: Shop, loaded: settings.Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    run = shop.run()
    shop.publish(run)
    with shop.connect("owner") as conn:
        conn.execute("DELETE FROM serve.lists WHERE run_id = %s AND user_key = 'k0'", [run.run_id])
    assert sweep_runs.main(["--source", shop.source]) == 3
    assert f"serve.lists, run {run.run_id}: published" in capsys.readouterr().err


def test_a_warehouse_that_does_not_answer_is_temporary(loaded: settings.Settings, monkeypatch: Any) -> None:
    nobody = loaded.environment.warehouse.model_copy(update={"port": 1})
    gone = loaded.model_copy(update={"environment": loaded.environment.model_copy(update={"warehouse": nobody})})
    monkeypatch.setattr(settings, "load", lambda name, environment: gone)
    assert rollback_night.main(["--source", "s", "--run", "r"]) == 75
    assert sweep_runs.main(["--source", "s"]) == 75
