"""How a night goes when its jobs answer one thing or another: the DAGs run for real, on small jobs."""

from typing import Any

import pytest

from rekindle.alerts import Letter
from tests.dags.small_airflow import JOBS, Airflow

EVERY_JOB = {job for jobs in JOBS.values() for job in jobs}
TRAINING = {"train_recommender", "train_churn"}
FIRST = ["land_simulated_day", "preflight_landing"]
HOSTILE = "x\r\nBcc: x@y </b><script>alert(1)</script> [a](javascript:alert(1)) {{ 7 * 7 }} `$(id)` " + "é" * 3000
LATE = "simulated_shop has no publication of the night of 2026-04-30 by 07:30; the newest is 2026-04-29"
ROLLBACK = {"run": "r0123456789abcdef", "why": "lists of one category; $(id) {{ 7 * 7 }} --run=x"}


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
        {"name": "hostile", "jobs": {"preflight_landing": {"exit": [3], "says": HOSTILE}}},
        {"name": "weekly", "dag": "train"},
        {"name": "late", "dag": "freshness", "conf": {}, "jobs": {"check_freshness": {"answer": {"late": [LATE]}}}},
        {"name": "undelivered", "dag": "freshness", "conf": {}, "jobs": {"send_alerts": {"exit": [75]}}},
        {"name": "rollback", "dag": "rollback", "conf": ROLLBACK},
        {"name": "look", "dag": "replay_quarantine", "conf": {"date": None}},
    )


def jobs_called(night: dict[str, Any]) -> list[str]:
    """Without the sender of alerts, which every red task starts beside the night."""
    return [call["job"] for call in night["calls"] if call["job"] != "send_alerts"]


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
    assert jobs_called(nights["misspelt"]) == []


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


def test_the_note_of_a_run_says_what_came_out_or_why_nothing_did(nights: dict[str, Any]) -> None:
    assert nights["plain"]["note"] == (
        "▸ Published, simulated_shop 2026-04-30: 551 at risk, 84,000 recommendations, 187 s  \n"
        "Can it be trusted? With care: 1 of 14 things looked at needs a look. 1 of 120 checks warns.  \n"
        "12 users have come under watch and 5 have left since Wed 29 Apr 2026.  \n"
        "new lines 12,345: clean 12,000, duplicate 300, quarantined 45  \n"
        "users watched 2,131  \n"
        "warnings: 1 of its checks did not hold, the report says which  \n"
        "report: `reports/night.html`"
    )
    notes = {name: night["note"] for name, night in nights.items()}
    assert notes["not due"] == "▸ Nothing to do: run r0123456789abcdef has done this very work  \n2026-04-30"
    assert notes["refused"] == (
        "▸ Not published, what was served stays served: validate_events refused the data (exit code 3, not retried): "
        "error: validate_events: table events: found 0 rows, expected at least 1  \n2026-04-30"
    )
    assert "unknown parameter 'dat', expected date, retrain, source" in notes["misspelt"]
    assert notes["late"] == f"▸ Failed: {LATE}"
    assert notes["weekly"] is None
    assert len(notes["hostile"]) <= 1000
    assert r"\<script\>" in notes["hostile"]
    assert r"\[a\](javascript" in notes["hostile"]


def test_every_asset_of_a_night_has_one_event_keyed_by_its_day(nights: dict[str, Any]) -> None:
    events = nights["plain"]["events"]
    assert {"landing/simulated_shop", "lake/events", "models/champions", "crm/at_risk_users", "crm_tables"} <= set(
        events
    )
    assert {tuple(keys) for keys in events.values()} == {("2026-04-30",)}
    assert set(nights["weekly"]["events"]) == {"models/recommender", "models/churn", "models/champions"}
    assert "crm_tables" not in nights["refused"]["events"]


def test_each_alert_is_one_letter_that_says_what_to_do(nights: dict[str, Any], airflow: Airflow) -> None:
    """The sender of the tests' tree delivers nothing, so all letters lie in the spool."""
    spool = sorted((airflow.home / "alerts" / "spool").glob("*.json"))
    letters = [Letter.model_validate_json(path.read_text()) for path in spool]
    assert {f"{letter.id}.json" for letter in letters} == {path.name for path in spool}
    assert len(letters) == len(airflow.alerts())
    [refused] = [letter for letter in letters if letter.title.startswith("validate_events failed")]
    assert refused.title == "validate_events failed: simulated_shop 2026-04-30 (nightly)"
    assert refused.why.endswith("found 0 rows, expected at least 1")
    assert "the data is bad, and the last good night stays served" in refused.to_do
    assert (refused.link or "").startswith("http")
    [hostile] = [letter for letter in letters if "<script>" in letter.why]
    assert len(hostile.why) <= 4000
    assert sum(call["job"] == "send_alerts" for call in nights["refused"]["calls"]) == 1


def test_a_late_source_makes_the_run_red_without_one_more_alert(nights: dict[str, Any], airflow: Airflow) -> None:
    assert nights["late"]["state"] == "failed"
    assert in_state(nights["late"], "failed") == {"everything_is_fresh"}
    assert nights["undelivered"]["state"] == "failed"
    assert in_state(nights["undelivered"], "failed") == {"send_alerts"}
    assert [alert for alert in airflow.alerts() if alert["dag"] == "freshness"] == []


def test_who_goes_back_gives_a_reason_and_it_is_handed_on_as_one_text(nights: dict[str, Any]) -> None:
    assert nights["rollback"]["state"] == "success"
    [call] = nights["rollback"]["calls"]
    assert call["arguments"][:4] == ["--source", "simulated_shop", "--run", "r0123456789abcdef"]
    assert call["arguments"][4] == f"--why={ROLLBACK['why']} (in Airflow, by dag_test)"


def test_a_look_at_the_quarantine_runs_no_night(nights: dict[str, Any]) -> None:
    look = nights["look"]
    assert look["state"] == "success"
    assert [call["arguments"] for call in look["calls"]] == [
        ["--source", "simulated_shop", "--date", "", "--env", "local", "--night-only", "--json"],
        ["--source", "simulated_shop", "--date", "2026-04-30", "--env", "local"],
    ]
    assert in_state(look, "skipped") == {"run_the_night"}


def test_a_wrong_parameter_ends_the_command_before_any_task(airflow: Airflow) -> None:
    """The date; source and type are refused by the same check, seen over REST in test_services."""
    (airflow.home / "calls.jsonl").write_text("")
    done = airflow("airflow", "dags", "test", "nightly", "--conf", '{"date": "30.4.2026"}')
    assert done.returncode == 1
    assert "Invalid input for param date: '30.4.2026' is not a 'date'" in done.stderr
    assert (airflow.home / "calls.jsonl").read_text() == ""
