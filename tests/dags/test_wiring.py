"""What the DAG files say: commands, order, documentation, schedule, parameters, weight."""

import json
import os
from pathlib import Path
from typing import Any

import pytest

from tests.dags.small_airflow import JOBS, REPOSITORY, Airflow

GOLDEN = REPOSITORY / "tests" / "golden" / "commands.json"


@pytest.fixture(scope="module")
def said(airflow: Airflow, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What Airflow understood from the DAG files."""
    path = tmp_path_factory.mktemp("said") / "dags.json"
    done = airflow("python", Path(__file__).parent / "inspect_dags.py", path)
    assert done.returncode == 0, done.stdout + done.stderr
    return json.loads(path.read_text())  # type: ignore[no-any-return]


def test_both_dags_are_understood(said: dict[str, Any]) -> None:
    assert said["errors"] == {}
    assert sorted(said["dags"]) == ["nightly", "train"]


def test_commands_are_the_agreed_ones(said: dict[str, Any]) -> None:
    """Rewrite the golden file with REWRITE_GOLDEN=1, then read its diff."""
    found = json.dumps(said["commands"], indent=2) + "\n"
    if os.environ.get("REWRITE_GOLDEN"):
        GOLDEN.write_text(found)
    assert json.loads(found) == json.loads(GOLDEN.read_text())


def test_every_command_names_a_job_that_exists(said: dict[str, Any]) -> None:
    named = {arguments[1] for arguments in said["commands"].values()}
    assert named == {f"jobs/{stage}/{job}.py" for stage, jobs in JOBS.items() for job in jobs}
    missing = sorted(path for path in named if not (REPOSITORY / path).is_file())
    assert missing == []


def test_parsing_loads_nothing_heavy(said: dict[str, Any]) -> None:
    assert said["heavy"] == []


def test_a_night_asks_for_at_most_eight_sparks(said: dict[str, Any]) -> None:
    tasks = said["dags"]["nightly"]["tasks"].values()
    assert sum(task["engine"] == "spark" for task in tasks) == 8


def test_one_spark_runs_at_a_time_and_its_pool_is_imported(said: dict[str, Any]) -> None:
    pools = json.loads((REPOSITORY / "conf" / "airflow" / "pools.json").read_text())
    for dag in said["dags"].values():
        assert {task["pool"] for task in dag["tasks"].values() if task["engine"] == "spark"} == {"spark"}
    assert pools["spark"]["slots"] == 1


def test_only_preflight_hands_something_on_and_it_is_no_data(said: dict[str, Any]) -> None:
    for dag in said["dags"].values():
        pushing = [name for name, task in dag["tasks"].items() if task["engine"] and task["pushes"]]
        assert pushing == ["preflight_landing"]


def test_whoever_finds_a_task_red_is_told_what_to_do(said: dict[str, Any]) -> None:
    for dag in said["dags"].values():
        assert "**If it fails**" in dag["doc"]
        assert dag["tags"][0] == "rekindle"
        for name, task in dag["tasks"].items():
            assert "**If it fails**" in task["doc"]
            assert f"| `{name}` |" in dag["doc"]
            assert task["retries"] == 2
            assert task["alerts"] == 1


def test_parameters_are_described_and_the_sources_are_those_of_the_configuration(said: dict[str, Any]) -> None:
    nightly, train = said["dags"]["nightly"]["params"], said["dags"]["train"]["params"]
    assert sorted(nightly) == ["date", "retrain", "source"]
    assert sorted(train) == ["date", "source"]
    assert all(len(param["doc"]) > 40 for param in [*nightly.values(), *train.values()])
    assert nightly["source"]["enum"] == ["online_retail", "simulated_shop"]
    assert nightly["date"]["type"] == ["null", "string"]


def test_the_business_date_is_the_one_asked_for_else_the_partition_else_yesterday(said: dict[str, Any]) -> None:
    assert said["days"] == {
        "parameter": "2026-04-30",
        "partition": "2026-03-09",
        "logical": "2026-05-01",
        "manual": "2026-05-01",
        "before_midnight": "2026-04-30",
    }


def test_every_day_has_one_scheduled_night_also_when_the_clocks_change(said: dict[str, Any]) -> None:
    assert said["spring"] == ["2026-03-28", "2026-03-29", "2026-03-30", "2026-03-31"]
    assert said["autumn"] == ["2026-10-24", "2026-10-25", "2026-10-26", "2026-10-27"]


def test_one_run_at_a_time_and_missed_nights_are_not_all_made_up_for(said: dict[str, Any]) -> None:
    for dag in said["dags"].values():
        assert (dag["max_active_runs"], dag["catchup"]) == (1, False)
