"""A whole night on a real standalone Spark cluster with conf/environments/cluster.yaml: master, two workers, the lake's
catalog on PostgreSQL, processes that authenticate and encrypt. A worker dies in the middle."""

from __future__ import annotations

import random

import pytest

from tests.cluster import processes
from tests.cluster.shop_night import DAY, NIGHT_SECONDS, Night, commands, in_the_middle
from tests.cluster.standalone import Standalone

STAGES = ("clean_events", "build_features", "train_recommender", "recommend_items", "score_churn")


def said_with_another_secret(night: Night, name: str) -> str:
    """What a driver says that does not know the cluster's secret, until it is killed."""
    path = night.home / "secrets/spark"
    known = path.read_text()
    path.write_text("0" * len(known))
    job = night.start(name)
    processes.awaited(lambda: job.is_over() or "Failed to connect to master" in job.said(), NIGHT_SECONDS)
    processes.kill(job.of_its_own())
    night.finish(job)
    path.write_text(known)
    return job.said()


@pytest.mark.long
def test_a_night_that_loses_a_worker_publishes_what_a_night_in_one_process_publishes(
    plain_night: Night, cluster_night: tuple[Night, Standalone], chance: random.Random
) -> None:
    night, cluster = cluster_night
    struck = chance.choice(STAGES)
    plain_night.use("local[2]")
    plain_night.until("validate_outputs")
    delay = chance.uniform(0, plain_night.seconds[struck][0] / 4)
    for name in commands(""):
        if name == "clean_events":
            assert "Failed to connect to master" in said_with_another_secret(night, name)
        if name != struck:
            night.do(name)
            continue
        job = night.start(name)
        in_the_middle(job, night.mark, delay)
        running = processes.marked(night.mark)
        told = [word for process in running for word in processes.words(process)]
        cluster.kill_worker(chance.choice(["worker-0", "worker-1"]))
        code = night.finish(job)
        print(f"{name}: a worker killed {delay:.2f} s after it began, exit code {code}, {night.seconds[name]} s")  # noqa: T201
        if code:
            night.do(name)
    assert any(processes.EXECUTOR in word for word in told), "an executor was seen"
    assert [secret for secret in night.secrets() if any(secret in word for word in told)] == [], "a secret in argv"
    assert processes.left_behind(night.mark, but=cluster.pids()) == []

    assert night.query("SELECT DISTINCT source, business_date FROM crm.recommendations") == [("simulated_shop", DAY)]
    assert night.fingerprints() == plain_night.plain
    assert night.models() == plain_night.models()
    rows = night.query("SELECT t::text FROM crm.at_risk_users t ORDER BY 1")
    watched = plain_night.plain["at_risk_users"].rows
    assert 0.85 * watched < len(rows) < watched, "all but the one in twenty who are held out"
