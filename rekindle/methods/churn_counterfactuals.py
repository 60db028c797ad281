"""What would go with a lower risk: a user as he is, and as he would be after doing something a shop can ask for.

A change is a whole story, not one number: who orders today has also been seen today, and every window counts it. What
comes out is what the model says of users like that. It is an association; who is talked into an order is not thereby
one of those who order by themselves.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import pandas as pd

    Outlook = Callable[[pd.DataFrame], Mapping[str, NDArray[np.float64]]]

LEAST_GAIN = 0.01  # a point of probability: less is not worth a sentence
MOST = 2
WINDOWS_OF_ACTIVITY = (7, 30, 90)


def visited(frame: pd.DataFrame, days: int) -> pd.DataFrame:
    """The users after visits on this many more of the last days, today among them."""
    changed: dict[str, Any] = {"days_since_activity": np.zeros(len(frame))}
    for window in WINDOWS_OF_ACTIVITY:
        name = f"active_days_{window}d"
        changed[name] = np.minimum(frame[name] + days, window)
    changed["activity_trend"] = np.minimum(frame["activity_trend"] + days, 15)
    if "views_30d" in frame:
        a_visit = frame["session_actions_30d"].fillna(1.0) if "session_actions_30d" in frame else 1.0
        changed |= {name: frame[name] + days * a_visit for name in ("views_30d", "views_trend")}
    if "sessions_30d" in frame:
        changed["sessions_30d"] = frame["sessions_30d"] + days
    return frame.assign(**changed)


def ordered(frame: pd.DataFrame, outlook: Outlook | None) -> pd.DataFrame:
    """The users after an order of their usual value today; `outlook` tells what a model of rhythms then expects."""
    usual = frame["order_value_mean"].fillna(0.0)
    seen = visited(frame, 1)
    changed: dict[str, Any] = {"recency_days": np.zeros(len(frame))}
    more = ("frequency", "orders_14d", "orders_30d", "orders_60d", "orders_90d", "orders_trend", "repeat_purchase_days")
    changed |= {name: frame[name] + 1 for name in more}
    changed |= {name: frame[name] + usual for name in ("monetary", "spend_30d", "spend_90d", "spend_trend")}
    changed["repeat_span_days"] = frame["customer_age_days"]
    changed["purchase_interval_days"] = frame["customer_age_days"] / changed["repeat_purchase_days"]
    for name in ("recency_to_interval", "recency_to_longest"):
        changed[name] = np.where(frame[name].isna(), np.nan, 0.0)
    after = seen.assign(**changed)
    return after if outlook is None else after.assign(**outlook(after))


def changes(frame: pd.DataFrame, outlook: Outlook | None, has_visits: bool) -> dict[str, pd.DataFrame]:
    """The same users after each change, by its words. Without visits in the log none is to be seen there."""
    found = {"an order today": ordered(frame, outlook)}
    if has_visits:
        found |= {"a visit today": visited(frame, 1), "visiting on three more days": visited(frame, 3)}
    return found


def sentences(now: NDArray[np.float64], then: Mapping[str, NDArray[np.float64]]) -> list[list[str]]:
    """For each user up to two changes that go with a lower probability, the largest first, with both probabilities."""
    words = list(then)
    after = np.stack([then[name] for name in words], axis=1)
    order = np.argsort(after, axis=1, kind="stable")[:, :MOST]
    told = []
    for row, places in enumerate(order):
        gains = [place for place in places if now[row] - after[row, place] >= LEAST_GAIN]
        told.append([f"{words[p]} is associated with {after[row, p]:.0%} instead of {now[row]:.0%}" for p in gains])
    return told
