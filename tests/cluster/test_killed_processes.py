"""Kill -9 of the driver and of an executor in the middle of a stage, on a cluster of processes: one plain retry of the
same command makes the tables of a night that nothing happened to, and nothing of the dead keeps running."""

from __future__ import annotations

import random

import pytest

from tests.cluster import processes
from tests.cluster.shop_night import Job, Night, in_the_middle

PROCESSES = "local-cluster[2,1,1024]"
MADE = {
    "clean_events": ("events", "duplicates", "quarantine"),
    "train_recommender": (),  # models, no table
    "score_churn": ("at_risk_users", "churn_changes", "churn_health"),
}


def started_and_hit(night: Night, stage: str, chance: random.Random, victim: str) -> Job:
    """The stage, started on a cluster of processes, whose driver or one of whose executors was killed in the middle."""
    job = night.start(stage)
    delay = chance.uniform(0, night.seconds[stage][0] / 4)
    in_the_middle(job, night.mark, delay)
    workers = processes.executors(night.mark)
    if victim == "driver":
        processes.kill([p for p in processes.marked(night.mark) if processes.is_driver(p)])
    else:
        processes.kill([chance.choice(workers)])
    print(f"{stage}: killed {victim} of {len(workers)} executors' job {delay:.2f} s after it began")  # noqa: T201
    return job


def snapshots(night: Night, stage: str) -> dict[str, int]:
    """The snapshot of each of the stage's tables."""
    versions = night.versions()
    return {name: versions[name].snapshot_id for name in MADE[stage]}


def assert_as_if_nothing_happened(night: Night, stage: str, before: dict[str, int], models: set[str]) -> None:
    """The stage has written its tables anew since `before`, with the rows and models of its first, undisturbed run."""
    print(f"{stage}: {night.seconds[stage]} s, the first undisturbed")  # noqa: T201
    done = [s for s in night.ledger().stages(night.run) if (s.name, s.status) == (stage, "done")]
    assert done[-1].detail.get("candidates") == done[0].detail.get("candidates"), "models and what they are worth"
    versions = night.versions()
    assert [name for name in MADE[stage] if versions[name].snapshot_id == before[name]] == []
    assert {name: versions[name].fingerprint for name in MADE[stage]} == {n: night.plain[n] for n in MADE[stage]}
    assert night.models() == models


@pytest.mark.long
@pytest.mark.parametrize("stage", list(MADE))
def test_a_killed_driver_costs_one_plain_retry_and_leaves_nobody_behind(
    plain_night: Night, stage: str, chance: random.Random
) -> None:
    night = plain_night
    night.use("local[2]")
    night.until(stage)
    models = night.models()
    night.use(PROCESSES)
    job = started_and_hit(night, stage, chance, "driver")
    assert night.finish(job) == -9
    assert processes.left_behind(night.mark) == []
    before = snapshots(night, stage)
    assert night.ledger().stages(night.run)[-1].status != "done"

    again = night.start(stage)
    assert night.finish(again) == 0, again.said()[-3000:]
    assert processes.left_behind(night.mark) == []
    assert_as_if_nothing_happened(night, stage, before, models)


@pytest.mark.long
@pytest.mark.parametrize("stage", list(MADE))
def test_a_killed_executor_is_made_good_or_is_loud_and_then_costs_one_plain_retry(
    plain_night: Night, stage: str, chance: random.Random
) -> None:
    night = plain_night
    night.use("local[2]")
    night.until(stage)
    before, models = snapshots(night, stage), night.models()
    night.use(PROCESSES)
    job = started_and_hit(night, stage, chance, "executor")
    code = night.finish(job)
    assert processes.left_behind(night.mark) == []
    if code:
        assert "Error" in job.said(), "it failed without a word"
        again = night.start(stage)
        assert night.finish(again) == 0, again.said()[-3000:]
        assert processes.left_behind(night.mark) == []
    assert_as_if_nothing_happened(night, stage, before, models)
