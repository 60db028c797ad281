"""Tens of thousands of reads of three kinds while runs are published, rolled back and swept: none bad."""

from __future__ import annotations

import os
from datetime import timedelta

import pytest

from rekindle import old_runs, publication, settings
from tests.faults.fault_shop import TABLES, Chronicle, NightShop
from tests.faults.readers import KINDS, log, reading

READS = int(os.environ.get("FAULT_READS") or 50_000)  # the other tests' readers add theirs


def publish_until(chronicle: Chronicle, environment: settings.Environment, reads: int) -> int:
    """Publish, roll back and sweep until the readers have read so often; bad reads."""
    shop = chronicle.shop
    served = [shop.open()]
    chronicle.publish(served[0])
    with reading(environment, shop.source) as readers:
        while sum(len(reader.reads) for reader in readers) < reads or len(served) < 5:
            day = max(run.business_date for run in served)
            served.append(shop.open(day + timedelta(days=len(served) % 2)))
            assert chronicle.publish(served[-1]).status == "published"
            with shop.connect() as conn:
                if len(served) % 5 == 0:
                    with chronicle.act(served[-2].run_id, "rolled_back"):
                        publication.roll_back(conn, shop.source, served[-2].run_id, "an operator", "a test")
                # A page of a pinned run takes milliseconds: twenty runs are far more than one reader outlives.
                old_runs.remove_old_runs(conn, shop.source, TABLES, 20, timedelta(0))
    found = log(readers)
    assert {read.kind for read in found} == set(KINDS)
    return len(chronicle.violations(found))


@pytest.mark.faults
def test_no_read_of_many_is_bad(shop: NightShop, environment: settings.Environment) -> None:
    assert publish_until(Chronicle(shop), environment, READS) == 0


def test_no_read_of_a_few_is_bad(shop: NightShop, environment: settings.Environment) -> None:
    assert publish_until(Chronicle(shop), environment, 1_000) == 0
