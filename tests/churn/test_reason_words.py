"""Every input of the churn models can be said in words, with the user's own numbers."""

from __future__ import annotations

import pytest

from rekindle.methods.reason_words import PHRASES, associated, spoken
from schemas.user_features import MODEL_INPUTS, USER_FEATURES

VALUES: dict[str, float | None] = dict.fromkeys(MODEL_INPUTS, 2.0)


def test_every_model_input_has_words_and_no_words_are_left_over() -> None:
    assert set(PHRASES) == set(MODEL_INPUTS)


@pytest.mark.parametrize("name", MODEL_INPUTS)
@pytest.mark.parametrize("leaving", [True, False])
def test_an_input_is_said_in_words_whether_it_is_known_or_not(name: str, leaving: bool) -> None:
    said = list(spoken([name], VALUES, leaving, "EUR"))
    unknown = list(spoken([name], dict.fromkeys(MODEL_INPUTS), leaving, "EUR"))
    for (phrase,) in (said, unknown):
        assert phrase
        assert phrase == phrase.strip()
        assert "nan" not in phrase.lower().split()
        assert "None" not in phrase
        assert "_" not in phrase
    assert any(c.isdigit() for c in said[0])


@pytest.mark.parametrize("name", [c.name for c in USER_FEATURES.columns if c.nullable and c.name in MODEL_INPUTS])
def test_an_unknown_value_is_not_said_as_zero(name: str) -> None:
    known, unknown = VALUES | {name: 0.0}, VALUES | {name: None}
    nothing = VALUES | {name: float("nan")}
    assert spoken([name], unknown, True, "EUR") != spoken([name], known, True, "EUR")
    assert spoken([name], nothing, True, "EUR") == spoken([name], unknown, True, "EUR")


def test_the_words_carry_the_users_numbers() -> None:
    user = VALUES | {
        "recency_days": 34.4,
        "recency_to_interval": 3.09,
        "active_days_30d": 2.0,
        "activity_trend": -4.0,
        "spend_30d": 1234.5,
    }
    assert list(spoken(["recency_days", "activity_trend", "spend_30d"], user, True, "EUR")) == [
        "no purchase for 34 days, 3.1 times their usual interval",
        "active on 2 days of the last 30 (−4 on the 15 days before)",
        "spent 1,234.50 EUR in the last 30 days",
    ]
    assert list(spoken(["recency_days"], user, False, "EUR")) == [
        "last purchase 34 days ago, 3.1 times their usual interval"
    ]


def test_two_inputs_that_say_the_same_are_said_once_and_the_next_takes_the_place() -> None:
    order = ["recency_days", "recency_to_interval", "tenure_days", "frequency", "views_30d"]
    said = list(spoken(order, VALUES, True, "EUR"))
    assert said == [
        "no purchase for 2 days, 2.0 times their usual interval",
        "first seen 2 days ago",
        "2 orders ever",
    ]


def test_what_one_phrase_speaks_of_is_kept_together_and_no_phrase_comes_late() -> None:
    order = ["recency_days", "tenure_days", "frequency", "views_30d", "recency_to_interval"]
    assert list(spoken(order, VALUES, True, "EUR").values()) == [
        ["recency_days", "recency_to_interval"],
        ["tenure_days"],
        ["frequency"],
    ]


def test_a_reason_says_what_goes_together_and_never_because() -> None:
    assert associated("2 orders ever", True, 13.7) == "2 orders ever, is associated with leaving (+14 points)"
    assert associated("2 orders ever", False, -6.2) == "2 orders ever, is associated with staying (−6 points)"
    assert associated("2 orders ever", True, 0.2) == "2 orders ever, is associated with leaving (about a point or less)"
