"""What would go with a lower risk is a whole story about the user, told as what goes together."""

from __future__ import annotations

import numpy as np
import pandas as pd

from rekindle.methods import churn_counterfactuals
from schemas.user_features import MODEL_INPUTS


def user(**known: float) -> pd.DataFrame:
    plain: dict[str, float] = dict.fromkeys(MODEL_INPUTS, 1.0)
    plain |= {"customer_age_days": 90.0, "recency_days": 30.0, "order_value_mean": 20.0, "active_days_7d": 7.0}
    return pd.DataFrame([plain | known])


def test_who_orders_today_has_been_seen_today_and_every_window_counts_it() -> None:
    before = user()
    after = churn_counterfactuals.ordered(before, None).iloc[0]
    assert (after["recency_days"], after["days_since_activity"], after["recency_to_interval"]) == (0, 0, 0)
    assert [after[f"orders_{d}d"] for d in (14, 30, 60, 90)] == [2, 2, 2, 2]
    assert (after["frequency"], after["repeat_purchase_days"], after["repeat_span_days"]) == (2, 2, 90)
    assert (after["monetary"], after["spend_30d"]) == (21, 21)
    assert after["active_days_7d"] == 7, "a week has seven days"
    assert before["recency_days"][0] == 30, "nothing is changed but in the story"


def test_a_rhythm_is_asked_anew_and_what_was_unknown_stays_so() -> None:
    def outlook(frame: pd.DataFrame) -> dict[str, np.ndarray]:
        return {"no_purchase_probability": 1 / (1 + frame["repeat_purchase_days"].to_numpy())}

    after = churn_counterfactuals.ordered(user(recency_to_longest=np.nan), outlook).iloc[0]
    assert after["no_purchase_probability"] == 1 / 3
    assert np.isnan(after["recency_to_longest"])


def test_a_log_without_visits_knows_of_orders_alone() -> None:
    assert list(churn_counterfactuals.changes(user(), None, has_visits=False)) == ["an order today"]
    assert len(churn_counterfactuals.changes(user(), None, has_visits=True)) == 3


def test_the_largest_fall_is_told_first_and_no_rise_at_all() -> None:
    then = {
        "an order": np.array([0.4, 0.9, 0.5]),
        "a visit": np.array([0.6, 0.95, 0.3]),
        "no news": np.array([0.69] * 3),
    }
    assert churn_counterfactuals.sentences(np.array([0.7, 0.8, 0.7]), then) == [
        ["an order is associated with 40% instead of 70%", "a visit is associated with 60% instead of 70%"],
        ["no news is associated with 69% instead of 80%"],
        ["a visit is associated with 30% instead of 70%", "an order is associated with 50% instead of 70%"],
    ]
    assert churn_counterfactuals.sentences(np.array([0.2]), {"an order": np.array([0.195])}) == [[]]
