"""Who entered, left or moved since the publication before, and what did it."""

from __future__ import annotations

from typing import Any

from rekindle.methods.churn_changes import changes

NOW = (
    "user_key string, risk_band string, churn_probability double, horizon_days int,"
    " band_by_behaviour string, band_by_labels string"
)
THEN = "user_key string, risk_band string, churn_probability double, horizon_days int"


def found(spark: Any, now: list[tuple[Any, ...]], then: list[tuple[Any, ...]]) -> dict[str, tuple[Any, ...]]:
    tonight, before = spark.createDataFrame(now, NOW), spark.createDataFrame(then, THEN)
    return {r.user_key: (r.change, r.band_before, r.band_after, r.cause) for r in changes(tonight, before).collect()}


def test_every_change_is_told_once_with_the_step_that_decided_it(spark: Any) -> None:
    now = [
        ("stays", "low", 0.1, 21, "low", "low"),
        ("comes", "high", 0.6, 21, "high", "high"),
        ("silent", "high", 0.6, 21, "high", "high"),
        ("outcomes", "medium", 0.4, 21, "low", "medium"),
        ("model", "critical", 0.9, 21, "low", "medium"),
        ("back_and_forth", "high", 0.6, 21, "high", "medium"),
        ("unasked", "high", 0.6, 21, None, None),
        ("other_question", "high", 0.6, 21, "high", "high"),
    ]
    then = [(name, "low", 0.2, 14 if name == "other_question" else 21) for name, *_ in now if name != "comes"]
    assert found(spark, now, [*then, ("goes", "critical", 0.9, 21)]) == {
        "comes": ("entered", None, "high", "behaviour"),
        "goes": ("left", "critical", None, "behaviour"),
        "silent": ("moved", "low", "high", "behaviour"),
        "outcomes": ("moved", "low", "medium", "labels"),
        "model": ("moved", "low", "critical", "model"),
        # The outcomes took back what behaviour had done, and the model did it again.
        "back_and_forth": ("moved", "low", "high", "model"),
        "unasked": ("moved", "low", "high", "model"),
        "other_question": ("moved", "low", "high", "labels"),
    }
