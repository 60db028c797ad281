"""Every input of the churn models can be said in words, with the user's own numbers."""

from __future__ import annotations

import pytest

from rekindle.methods.reason_words import NOTHING_STANDS_OUT, PHRASES, reasons
from schemas.user_features import MODEL_INPUTS, USER_FEATURES

VALUES: dict[str, float | None] = dict.fromkeys(MODEL_INPUTS, 2.0)


def test_every_model_input_has_words_and_no_words_are_left_over() -> None:
    assert set(PHRASES) == set(MODEL_INPUTS)


@pytest.mark.parametrize("name", MODEL_INPUTS)
@pytest.mark.parametrize("leaving", [True, False])
def test_an_input_is_said_in_words_whether_it_is_known_or_not(name: str, leaving: bool) -> None:
    said = reasons([name], VALUES, leaving, "EUR")
    unknown = reasons([name], dict.fromkeys(MODEL_INPUTS), leaving, "EUR")
    for (phrase,) in (said, unknown):
        assert phrase
        assert phrase == phrase.strip()
        assert "nan" not in phrase.lower().split()
        assert "None" not in phrase
        assert "_" not in phrase
    assert any(c.isdigit() for c in said[0])


@pytest.mark.parametrize("name", [c.name for c in USER_FEATURES.columns if c.nullable])
def test_an_unknown_value_is_not_said_as_zero(name: str) -> None:
    known, unknown = VALUES | {name: 0.0}, VALUES | {name: None}
    nothing = VALUES | {name: float("nan")}
    assert reasons([name], unknown, True, "EUR") != reasons([name], known, True, "EUR")
    assert reasons([name], nothing, True, "EUR") == reasons([name], unknown, True, "EUR")


def test_the_words_carry_the_users_numbers() -> None:
    user = VALUES | {
        "recency_days": 34.4,
        "recency_to_interval": 3.09,
        "active_days_30d": 2.0,
        "activity_trend": -4.0,
        "spend_30d": 1234.5,
    }
    assert reasons(["recency_days", "activity_trend", "spend_30d"], user, True, "EUR") == [
        "no purchase for 34 days, 3.1 times their usual interval",
        "active on 2 days of the last 30 (−4 on the 15 days before)",
        "spent 1,234.50 EUR in the last 30 days",
    ]
    assert reasons(["recency_days"], user, False, "EUR") == [
        "last purchase 34 days ago, 3.1 times their usual interval"
    ]


def test_two_inputs_that_say_the_same_are_said_once_and_the_next_takes_the_place() -> None:
    order = ["recency_days", "recency_to_interval", "tenure_days", "frequency", "views_30d"]
    said = reasons(order, VALUES, True, "EUR")
    assert said == [
        "no purchase for 2 days, 2.0 times their usual interval",
        "first seen 2 days ago",
        "2 orders ever",
    ]


def test_a_user_whom_nothing_sets_apart_is_told_so() -> None:
    assert reasons([], VALUES, True, "EUR") == [NOTHING_STANDS_OUT]
