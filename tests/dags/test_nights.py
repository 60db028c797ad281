"""How a night goes when its jobs answer one thing or another: the DAGs run for real, on small jobs."""

from typing import Any

import pytest

from tests.dags.small_airflow import JOBS, Airflow

EVERY_JOB = {job for jobs in JOBS.values() for job in jobs}
TRAINING = {"train_recommender", "train_churn"}
FIRST = ["land_simulated_day", "preflight_landing"]


@pytest.fixture(scope="module")
def nights(airflow: Airflow) -> dict[str, Any]:
    """All nights of this file, run in one process: starting Airflow costs more than a night."""
    return airflow.nights(
        {"name": "plain"},
        {"name": "not due", "jobs": {"preflight_landing": {"answer": {"due": False, "train": True}}}},
        {"name": "no training", "jobs": {"preflight_landing": {"answer": {"train": False}}}},
        {"name": "temporary", "jobs": {"clean_events": {"exit": [75, 0]}}},
        {"name": "refused", "jobs": {"validate_events": {"exit": [3, 0]}}},
        {"name": "usage", "jobs": {"preflight_landing": {"exit": [2, 0]}}},
        {"name": "silent preflight", "jobs": {"preflight_landing": {"answer": {"more": 1}}}},
        {"name": "misspelt", "conf": {"dat": "2026-04-30"}},
        {"name": "training failed", "jobs": {"train_churn": {"exit": [3]}}},
        {"name": "weekly", "dag": "train"},
    )


def jobs_called(night: dict[str, Any]) -> list[str]:
    return [call["job"] for call in night["calls"]]


def in_state(night: dict[str, Any], state: str) -> set[str]:
    return {task for task, found in night["tasks"].items() if found == state}


def test_a_plain_night_runs_every_job_once_and_is_green(nights: dict[str, Any]) -> None:
    night = nights["plain"]
    assert night["state"] == "success"
    assert sorted(jobs_called(night)) == sorted(EVERY_JOB)
    assert in_state(night, "success") == EVERY_JOB | {"night_is_due", "training_is_due"}


def test_everything_after_preflight_gets_its_run_id_and_no_setting_of_airflow(nights: dict[str, Any]) -> None:
    calls = nights["plain"]["calls"]
    common = ["--source", "simulated_shop", "--date", "2026-04-30"]
    assert calls[1]["arguments"] == [*common, "--env", "local", "--retrain", "false"]
    for call in calls[2:]:
        assert call["arguments"] == [*common, "--run", "r0123456789abcdef", "--env", "local"]
        assert call["airflow_settings"] == []


def test_a_night_that_is_not_due_skips_the_rest_and_stays_green(nights: dict[str, Any]) -> None:
    night = nights["not due"]
    assert night["state"] == "success"
    assert jobs_called(night) == FIRST
    assert in_state(night, "skipped") == (EVERY_JOB - set(FIRST)) | {"training_is_due"}


def test_a_night_without_training_skips_only_the_training(nights: dict[str, Any]) -> None:
    night = nights["no training"]
    assert night["state"] == "success"
    assert in_state(night, "skipped") == TRAINING
    assert set(jobs_called(night)) == EVERY_JOB - TRAINING


def test_a_temporary_failure_is_tried_again(nights: dict[str, Any]) -> None:
    night = nights["temporary"]
    assert night["state"] == "success"
    assert jobs_called(night).count("clean_events") == 2


@pytest.mark.parametrize(
    ("name", "job"),
    [("refused", "validate_events"), ("usage", "preflight_landing"), ("silent preflight", "preflight_landing")],
)
def test_what_no_retry_can_change_is_tried_once_and_the_run_is_red(nights: dict[str, Any], name: str, job: str) -> None:
    night = nights[name]
    assert night["state"] == "failed"
    assert jobs_called(night).count(job) == 1
    assert jobs_called(night)[-1] == job
    assert in_state(night, "failed") == {job}


def test_a_misspelt_parameter_is_refused_before_any_job(nights: dict[str, Any]) -> None:
    assert nights["misspelt"]["state"] == "failed"
    assert nights["misspelt"]["calls"] == []


def test_a_failed_training_publishes_nothing_and_is_not_hidden(nights: dict[str, Any]) -> None:
    night = nights["training failed"]
    assert night["state"] == "failed"
    assert {"judge_models", "publish_night", "report_night"} <= in_state(night, "upstream_failed")
    assert not {"judge_models", "publish_night"} & set(jobs_called(night))


def test_the_weekly_training_judges_and_publishes_nothing(nights: dict[str, Any]) -> None:
    night = nights["weekly"]
    assert night["state"] == "success"
    assert night["calls"][1]["arguments"][-2:] == ["--retrain", "true"]
    assert set(jobs_called(night)) == EVERY_JOB - {
        "recommend_items",
        "score_churn",
        "validate_outputs",
        "publish_night",
        "report_night",
    }


def test_each_final_failure_is_one_alert_that_says_why(nights: dict[str, Any], airflow: Airflow) -> None:
    alerts = [alert for alert in airflow.alerts() if alert["date"] == "2026-04-30"]
    assert {alert["task"] for alert in alerts} >= {"validate_events", "preflight_landing", "train_churn"}
    refused = next(alert for alert in alerts if alert["task"] == "validate_events")
    assert refused["error"] == (
        "validate_events refused the data (exit code 3, not retried): "
        "error: validate_events: table events: found 0 rows, expected at least 1"
    )
    assert (refused["dag"], refused["source"], refused["attempt"]) == ("nightly", "simulated_shop", 1)
    unknown = next(alert for alert in airflow.alerts() if "unknown parameter" in alert["error"])
    assert unknown["error"].startswith("unknown parameter 'dat', expected date, retrain, source")


def test_a_wrong_parameter_ends_the_command_before_any_task(airflow: Airflow) -> None:
    """The date; source and type are refused by the same check, seen over REST in test_services."""
    (airflow.home / "calls.jsonl").write_text("")
    done = airflow("airflow", "dags", "test", "nightly", "--conf", '{"date": "30.4.2026"}')
    assert done.returncode == 1
    assert "Invalid input for param date: '30.4.2026' is not a 'date'" in done.stderr
    assert (airflow.home / "calls.jsonl").read_text() == ""
