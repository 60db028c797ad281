"""A publisher that is stopped in its sleep and goes on after another attempt has published changes nothing (F16)."""

from __future__ import annotations

import os

import pytest

from rekindle import settings
from tests.faults import kills, tally
from tests.faults.fault_shop import Chronicle, NightShop
from tests.faults.kills import Lake
from tests.faults.readers import log, reading

ZOMBIES = int(os.environ.get("FAULT_ZOMBIES") or 3)  # at each failpoint
STOPS = (
    *("publish.before_stage", "publish.after_take_over", "publish.between_tables"),
    *("stage.begun", "stage.batch", "stage.before_check", "stage.before_fence", "stage.before_proof"),
    *("stage.before_commit", "stage.after_commit"),
    *("publish.begun", "publish.locked", "publish.before_pointer", "publish.before_commit"),
)


@pytest.fixture
def chronicle(shop: NightShop) -> Chronicle:
    """A shop with one published run, and what is done with it."""
    shop.users = 20
    made = Chronicle(shop)
    made.publish(shop.open())
    return made


def fence_off(chronicle: Chronicle, lake: Lake, environment: settings.Environment, stop: str) -> str:
    """One zombie: stopped at `stop`, overtaken by one plain retry, let go on; what the zombie then said."""
    shop, loaded = chronicle.shop, kills.night_settings(environment)
    run = shop.open()
    lake.make(shop, run)
    with chronicle.act(run.run_id):
        zombie = kills.start(loaded, shop, run.run_id, f"{stop}=stop")
        zombie.wait_until_stopped()
        try:
            living = kills.start(loaded, shop, run.run_id)
            assert living.finish() == "published", f"the retry beside a zombie at {stop}: {living.told}"
            history = shop.ledger.history(shop.source)
        finally:
            zombie.go_on()
            zombie.finish()
    assert shop.served() == shop.manifest(run.run_id)
    assert shop.ledger.history(shop.source) == history, f"the zombie stopped at {stop} changed the history"
    tally.add("zombies fenced")
    return zombie.told


@pytest.mark.faults
@pytest.mark.parametrize("stop", STOPS)
def test_a_stopped_publisher_that_goes_on_after_a_new_attempt_published_changes_nothing(
    chronicle: Chronicle, lake: Lake, environment: settings.Environment, stop: str
) -> None:
    with reading(environment, chronicle.shop.source, pause=0.01) as readers:
        for _ in range(ZOMBIES):
            told = fence_off(chronicle, lake, environment, stop)
            assert told != "published", f"the zombie stopped at {stop}"
    assert chronicle.violations(log(readers)) == []


@pytest.mark.parametrize("stop", ["stage.before_commit", "publish.before_commit"])
def test_a_zombie_with_the_locks_in_its_hands_is_fenced_off_by_one_plain_retry(
    chronicle: Chronicle, lake: Lake, environment: settings.Environment, stop: str
) -> None:
    told = fence_off(chronicle, lake, environment, stop)
    assert told != "published"
    assert chronicle.violations([]) == []
