"""What the DAG files say: commands, order, documentation, schedule, parameters, weight."""

import json
import os
from pathlib import Path
from typing import Any

import pytest

from jobs.publish import write_docs
from schemas.catalogue import SERVED
from tests.dags.small_airflow import HEADLINE, JOBS, OTHERS, REPOSITORY, Airflow

GOLDEN = REPOSITORY / "tests" / "golden" / "commands.json"


@pytest.fixture(scope="module")
def said(airflow: Airflow, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What Airflow understood from the DAG files."""
    path = tmp_path_factory.mktemp("said") / "dags.json"
    done = airflow("python", Path(__file__).parent / "inspect_dags.py", path)
    assert done.returncode == 0, done.stdout + done.stderr
    return json.loads(path.read_text())  # type: ignore[no-any-return]


def test_all_dags_are_understood(said: dict[str, Any]) -> None:
    assert said["errors"] == {}
    by_hand = ["replay_quarantine", "rerun", "rollback", "rollback_model"]
    assert sorted(said["dags"]) == sorted([*by_hand, "freshness", "nightly", "sweep", "train"])
    assert [name for name, dag in sorted(said["dags"].items()) if dag["tags"][0] == "by hand"] == by_hand


def test_commands_are_the_agreed_ones(said: dict[str, Any]) -> None:
    """Rewrite the golden file with REWRITE_GOLDEN=1, then read its diff."""
    found = json.dumps(said["commands"], indent=2) + "\n"
    if os.environ.get("REWRITE_GOLDEN"):
        GOLDEN.write_text(found)
    assert json.loads(found) == json.loads(GOLDEN.read_text())


def test_every_command_names_a_job_that_exists(said: dict[str, Any]) -> None:
    named = {arguments[1] for arguments in said["commands"].values()}
    expected = [*JOBS.items(), *OTHERS.items()]
    assert named == {f"jobs/{stage}/{job}.py" for stage, jobs in expected for job in jobs}
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
        assert {task["pool"] for task in dag["tasks"].values() if task["engine"] == "spark"} <= {"spark"}
        used = {task["pool"] for task in dag["tasks"].values()}
        assert used <= {*pools, "default_pool"}
    assert pools["spark"]["slots"] == 1
    # A night that is waited for holds the one slot while it is deferred: so they run in order.
    assert (pools["waiting"]["slots"], pools["waiting"]["include_deferred"]) == (1, True)


def test_what_a_task_hands_on_is_no_data(said: dict[str, Any]) -> None:
    """Run id, what is due, and the numbers of a run's note."""
    pushing = {
        name
        for dag in said["dags"].values()
        for name, task in dag["tasks"].items()
        if task["engine"] and task["pushes"]
    }
    assert pushing == {"preflight_landing", "report_night", "night_to_replay", "check_freshness"}
    # The same keys that the night's job prints (tests/publish/test_report_night.py).
    assert set(said["dags"]["nightly"]["tasks"]["report_night"]["result"]) == set(HEADLINE)


def test_whoever_finds_a_task_red_is_told_what_to_do(said: dict[str, Any]) -> None:
    silent = {"send_alerts", "everything_is_fresh"}
    waiting = {"run_one_day", "run_the_night"}
    for dag in said["dags"].values():
        assert "**If it fails**" in dag["doc"]
        assert "rekindle" in dag["tags"]
        assert len(dag["description"]) > 30
        for name, task in dag["tasks"].items():
            assert "**If it fails**" in task["doc"]
            assert f"| `{name}` |" in dag["doc"]
            # What waits for a night leaves the retries to it; what tells of alerts does not tell by an alert.
            assert task["retries"] == (0 if name in silent | waiting else 2), name
            assert task["alerts"] == (0 if name in silent else 1), name


def test_parameters_are_described_and_the_sources_are_those_of_the_configuration(said: dict[str, Any]) -> None:
    params = {name: dag["params"] for name, dag in said["dags"].items()}
    assert {name: list(fields) for name, fields in params.items()} == {
        "freshness": [],
        "nightly": ["date", "source", "retrain"],
        "replay_quarantine": ["source", "date", "apply"],
        "rerun": ["first_day", "last_day", "source", "stop_at_failure"],
        "rollback": ["source", "run", "why"],
        "rollback_model": ["source", "kind", "digest", "why"],
        "sweep": ["source"],
        "train": ["date", "source"],
    }
    for fields in params.values():
        for name, field in fields.items():
            assert len(field["doc"]) > 40, name
            assert field["title"] not in (name, ""), name
            # A text is one of a few, a day, or has a pattern.
            assert field["type"] == "boolean" or {"enum", "format", "pattern"} & set(field), name
    assert params["nightly"]["source"]["enum"] == ["online_retail", "simulated_shop"]
    assert params["nightly"]["date"]["type"] == ["null", "string"]
    required = {(dag, name) for dag, fields in params.items() for name, f in fields.items() if not f["has_default"]}
    span = {("rerun", "first_day"), ("rerun", "last_day")}
    assert required == span | {("rollback", "run"), ("rollback", "why"), ("rollback_model", "why")}


def test_every_table_leads_from_the_landed_files_to_its_crm_view(said: dict[str, Any]) -> None:
    """As Airflow draws it: assets and the tasks of `nightly` between them."""
    tasks = said["dags"]["nightly"]["tasks"]
    views = {f"crm/{table.name}" for table in SERVED} | {"crm/publications"}
    assert set(tasks["publish_night"]["writes"]) == views | {"crm_tables"}
    for view in sorted(views - {"crm/publications"}):
        table, reached = view.replace("crm/", "lake/"), set[str]()
        assert table in tasks["publish_night"]["reads"]
        todo = [table]
        while todo:
            asset = todo.pop()
            reached.add(asset)
            makers = [task for task in tasks.values() if asset in task["writes"]]
            todo += [found for task in makers for found in task["reads"] if found not in reached]
        assert {"landing/simulated_shop", "landing/online_retail", "lake/bronze"} <= reached, view
    drawn = json.loads((REPOSITORY / write_docs.LINEAGE).read_text())
    assert drawn == {"assets": write_docs.described(), "tasks": write_docs.lineage()}, "run make docs"


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
