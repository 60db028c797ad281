"""The night's summary and page say what came out, without a raw user id and without foreign markup."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from jobs.publish.report_night import ChurnNight, Night, last_attempts, number, page, summary, value_words
from rekindle.ledger import CheckRecord, StageRecord

COMPARED = {
    "other": "d0", "other_name": "popularity", "metric": "ndcg_at_10", "candidate_value": 0.3123, "other_value": 0.2,
    "difference": 0.1123, "low": 0.0456, "high": 0.15, "rows": 1902, "candidate": "als", "coverage": 0.61,
    "overlap": 0.372, "flip_rate": 0.83,
}  # fmt: skip


JUDGED = {
    "method": "xgboost", "group": "all", "rows": 3153, "base_rate": 0.41, "roc_auc": 0.8381, "roc_auc_low": 0.824,
    "roc_auc_high": 0.853, "pr_auc": 0.77, "lift_top_decile": 2.1, "brier_skill": 0.35, "ece": 0.0211,
    "calibration_slope": 1.02, "accuracy": 0.7611, "precision": 0.7, "recall": 0.8, "f1": 0.7467,
}  # fmt: skip


@pytest.fixture
def night() -> Night:
    return Night(
        source="simulated_shop",
        date="2026-04-30",
        run_id="r0123456789abcdef",
        status="published",
        served="2026-04-30 (run r0123456789abcdef)",
        fates={"landed": 123456, "clean": 121000, "duplicate": 1456, "quarantined": 1000},
        quarantined=[("malformed", 700), ("no_user", 300)],
        tables=[("events", 121000), ("recommendations", 84000)],
        checks=[
            CheckRecord("events", "row_count", "critical", True, "1 or more", "121000"),
            CheckRecord("events", "share_views", "warning", False, "0.5 to 0.99", "0.31"),
        ],
        models=[
            {
                "kind": "recommender", "method": "als", "digest": "d1", "judged_on": "2026-04-24 to 2026-04-30",
                "is_new": True, "metrics": {"ndcg_at_10": 0.3123, "judged_users": 1902.0}, "comparisons": [COMPARED],
                "reason": "als against popularity: promoted",
            }
        ],
        stages=[("clean_events", 41.25, 12.0), ("publish_night", 3.5, 0.0)],
        at_risk=[
            {
                "user": "ab12cd34", "churn_probability": 0.8123, "risk_band": "critical", "recency_days": 41,
                "reasons": ["41 days without an order", "<b>usual</b> every 9"], "frequency": 7,
                "lowers_risk": ["an order today is associated with 40% instead of 81%"], "value_at_stake": 1234.5,
                "value_at_stake_low": 400.0, "value_at_stake_high": 2500.0, "expected_days_to_purchase": 33.2,
                "suggested_action": "voucher",
            }
        ],
        recommendations=[
            {
                "user": "ef56ab78", "rank": 1, "item": "Teapot <script>alert(1)</script>", "category": None,
                "last_price": None, "reason": "popular: 12 buyers in the last 28 days",
            }
        ],
        churn=ChurnNight(
            bands=[{"risk_band": "critical", "users": 512, "probability": 0.83, "value": 4321.0, "at_risk": 1}],
            actions=[{"suggested_action": "voucher", "users": 300, "value": 4000.0}],
            changes=[
                {"change": "moved", "cause": "behaviour", "band_before": "low", "band_after": "high", "users": 17},
                {"change": "moved", "cause": "behaviour", "band_before": "high", "band_after": "low", "users": 4},
                {"change": "left", "cause": "labels", "band_before": "low", "band_after": "–", "users": 9},
            ],
            watched=[
                {"kind": "calibration", "name": "ece", "value": 0.21, "alarm_above": 0.1, "is_alarm": True,
                 "known_as_of": "2026-04-10"},
                {"kind": "value", "name": "tenth_10_said", "value": 77.5, "alarm_above": None, "is_alarm": False,
                 "known_as_of": "2026-04-10"},
                {"kind": "value", "name": "tenth_10_came", "value": 81.25, "alarm_above": None, "is_alarm": False,
                 "known_as_of": "2026-04-10"},
                {"kind": "feature_drift", "name": "views_30d", "value": 0.01, "alarm_above": 0.25, "is_alarm": False,
                 "known_as_of": "2026-04-10"},
            ],
            table=[
                JUDGED | {"method": "xgboost", "fit_seconds": 4.25},
                {"method": "majority", "group": "all", "roc_auc": 0.5, "roc_auc_low": 0.5, "roc_auc_high": 0.5,
                 "fit_seconds": None},
            ],
            groups=[JUDGED | {"group": "one_time_buyers", "rows": 611}],
            threshold={"probability": 0.27},
            pictures=[("ROC curves", "aGVsbG8=")],
            written_back="12 event, 1 quarantined: unknown_user",
            suppressed="31 contacted, 2 consent",
            holdout=(
                {"name": "all who are watched", "held_out": 157, "others": 2996, "rate": 0.41, "seen": 0.1131},
                {"name": "at risk", "held_out": 0, "others": 80, "rate": 0.7, "seen": None},
            ),
            value=value_words({"model": "NBD", "buyers": 3031, "degraded": ["BG/NBD has no finite optimum"]}),
        ),
        look=[("this night as a page", "night.html"), ("a quarantined line", "make show-line FILE=<sha256> LINE=<n>")],
    )  # fmt: skip


FACTS = (
    "simulated_shop", "2026-04-30", "r0123456789abcdef", "published", "123,456", "121,000", "1,456", "malformed", "700",
    "share_views", "0.5 to 0.99", "0.31", "als", "popularity", "0.3123", "+0.1123", "+0.0456", "1,902", "clean_events",
    "41.2", "publish_night", "ab12cd34", "voucher", "1,234", "critical", "512", "41 days without an order", "ef56ab78",
    "Teapot", "–",
    "popular: 12 buyers", "als against popularity", "promoted",
)  # fmt: skip


def test_the_summary_tells_fates_checks_models_times_and_samples(night: Night) -> None:
    told = summary(night)
    flat = " ".join(told.split())
    assert [fact for fact in FACTS if fact not in flat] == []
    assert "1 of 2 hold" in told
    assert "44.8" in told, "all stages together"
    assert max(len(line) for line in told.splitlines()) <= 110


def test_the_page_tells_the_same_and_runs_nothing(night: Night) -> None:
    told = page(night)
    flat = " ".join(told.split())
    assert [fact for fact in FACTS if fact not in flat] == []
    for share in ("61%", "37%", "83%"):
        assert f">{share}</td>" in flat
    assert "<script" not in told, "what a title says is text"
    assert "&lt;script&gt;" in told
    assert "<b>usual" not in told
    assert "an order today is associated with 40% instead of 81%" in flat
    inside = told.replace('src="data:image/png;base64,', "")
    assert not any(outside in inside for outside in ("src=", "href=", "url(", "@import"))


def test_who_may_leave_is_told_with_what_changed_and_what_not_to_believe(night: Night) -> None:
    told = " ".join(summary(night).split())
    assert "21 moved by behaviour, 9 left by labels" in told
    for shown in (told, " ".join(page(night).split())):
        assert "Purchases to come by NBD of 3,031 buyers; BG/NBD has no finite optimum" in shown
        assert "12 event, 1 quarantined: unknown_user" in shown
        assert "31 contacted, 2 consent" in shown
        assert "all who are watched: 157 of 3,153 are held out; 41% are expected to leave, and a true" in shown
        assert "difference of 11.3 points between the groups would be seen" in shown
        assert "at risk: 0 of 80 are held out; nothing can be seen without both groups" in shown
    assert value_words({"not_told": "nobody came back"}) == "No value is told: nobody came back"
    assert "Alarm: calibration ece is 0.210, limit 0.1" in told
    shown = " ".join(page(night).split())
    for fact in (
        "calibration: ece (alarm)",
        "0.838",
        "0.824 to 0.853",
        "at probability 0.27",
        "one time buyers",
        "4.2",
    ):
        assert fact in shown
    assert '<td class="n">77.50</td><td class="n">81.25</td>' in shown
    assert "views 30d" not in shown, "a feature that has not drifted is not told"
    assert '<img alt="ROC curves" src="data:image/png;base64,aGVsbG8=">' in shown


def test_a_night_of_which_nothing_is_known_yet_can_be_told(night: Night) -> None:
    nothing = replace(night, quarantined=[], tables=[], checks=[], models=[], stages=[], at_risk=[])
    empty = replace(nothing, recommendations=[], fates={}, churn=None, status="not published")
    assert "not published" in summary(empty)
    assert '<span class="bad">not published</span>' in page(empty)


def test_a_stage_is_told_by_its_last_finished_try_in_the_order_they_ended() -> None:
    at = datetime(2026, 4, 30, tzinfo=UTC)

    def tried(name: str, seconds: float | None, **detail: Any) -> StageRecord:
        return StageRecord(name, 1, "done" if seconds else "running", at, at, seconds, detail)

    tries = [tried("a", 9.0), tried("b", 2.0, spark_start_s=1.5), tried("a", 4.0), tried("c", None)]
    assert last_attempts(tries) == [("b", 2.0, 1.5), ("a", 4.0, 0.0)]


def test_figures_are_written_as_people_read_them() -> None:
    assert [number(v) for v in (None, 0.12345, 12345.6, 7, -0.5)] == ["–", "0.1235", "12,346", "7", "-0.5000"]
