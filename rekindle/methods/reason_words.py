"""Why a user may leave or stay, in words with the user's own numbers: one phrase for each input of the churn models.

A phrase may speak of two inputs that belong together ("no purchase for 34 days, 3.1 times their usual interval");
it is then given once, whichever of the two weighs.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any

MOST_REASONS = 3
# For a user whom nothing sets apart: the probability is then the shop's own rate.
NOTHING_STANDS_OUT = "nothing stands out: as likely to leave as the shop's average buyer"


class Values:
    """A user's inputs by name; a null, a NaN and an absent one are None."""

    def __init__(self, values: Mapping[Any, float | None]) -> None:
        self._values = values

    def __getitem__(self, name: str) -> float | None:
        value = self._values.get(name)
        return None if value is None or math.isnan(value) else float(value)

    def number(self, name: str) -> float:
        """The value of an input that is never null; 0 where it is after all."""
        return self[name] or 0.0


Phrase = Callable[[Values, bool, str], str]


def spoken(
    heaviest: Iterable[str], values: Mapping[Any, float | None], leaving: bool, currency: str, most: int = MOST_REASONS
) -> dict[str, list[str]]:
    """Up to `most` different phrases for the inputs in this order, each with the inputs that it speaks of.

    Raises:
        KeyError: an input that has no words.
    """
    user = Values(values)
    said: dict[str, list[str]] = {}
    for name in heaviest:
        phrase = PHRASES[name](user, leaving, currency)
        if phrase in said or len(said) < most:
            said.setdefault(phrase, []).append(name)
    return said


def associated(phrase: str, leaving: bool, points: float) -> str:
    """The phrase as a reason: with what it goes together, and by how many points of probability.

    `points`: the probability less what it were without the inputs that the phrase speaks of, times 100. A model knows
    what goes together, not what causes what, and the words say no more.
    """
    size = f"{points:+.0f} points".replace("-", "−") if abs(points) >= 1.5 else "about a point or less"
    return f"{phrase}, is associated with {'leaving' if leaving else 'staying'} ({size})"


def _days(number: float) -> str:
    whole = math.floor(number)
    if whole == 0:
        return "less than a day"
    return "1 day" if whole == 1 else f"{whole} days"


def _active(number: float) -> str:
    return "1 day" if round(number) == 1 else f"{number:.0f} days"


def _count(number: float, one: str, many: str) -> str:
    return f"{number:.0f} {one if round(number) == 1 else many}" if round(number) else f"no {many}"


def _money(number: float, currency: str) -> str:
    return f"{number:,.2f} {currency}"


def _signed(number: float) -> str:
    return f"{'+' if number > 0 else '−' if number < 0 else '±'}{abs(number):.0f}"


def _last_purchase(user: Values, leaving: bool, currency: str) -> str:
    recency, ratio = user["recency_days"], user["recency_to_interval"]
    if recency is None:
        return "has never bought"
    said = f"no purchase for {_days(recency)}" if leaving else f"last purchase {_days(recency)} ago"
    return said if ratio is None else f"{said}, {ratio:.1f} times their usual interval"


def _orders_ever(user: Values, leaving: bool, currency: str) -> str:
    return f"{_count(user.number('frequency'), 'order', 'orders')} ever"


def _spread(user: Values, leaving: bool, currency: str) -> str:
    spread = user["interval_deviation_days"]
    return (
        "too few purchases to know a rhythm" if spread is None else f"time between purchases varies by {_days(spread)}"
    )


def _longest(user: Values, leaving: bool, currency: str) -> str:
    longest, ratio = user["interval_longest_days"], user["recency_to_longest"]
    if longest is None and ratio is None:
        return "bought on one day at most"
    if longest is None or ratio is None:
        return f"longest break between purchases {_days(longest or 0.0)}"
    times = f"{ratio:.1f} times" if ratio >= 1 else f"{ratio:.0%} of"
    return f"silent for {times} their longest break ({_days(longest)})"


def _purchase_days(user: Values, leaving: bool, currency: str) -> str:
    repeats = user["repeat_purchase_days"]
    return "has never bought" if repeats is None else f"bought again on {_count(repeats, 'day', 'days')}"


def _none_or(name: str, words: Callable[[float, str], str], nothing: str) -> Phrase:
    def phrase(user: Values, leaving: bool, currency: str) -> str:
        value = user[name]
        return nothing if value is None else words(value, currency)

    return phrase


def _interval(user: Values, leaving: bool, currency: str) -> str:
    interval = user["purchase_interval_days"]
    if interval is None:
        orders = user.number("frequency")
        return _orders_ever(user, leaving, currency) if orders <= 1 else f"all {orders:.0f} orders on one day"
    return f"buys every {interval:.0f} days on average" if round(interval) != 1 else "buys every day on average"


def _active_days(user: Values, leaving: bool, currency: str) -> str:
    days, trend = user.number("active_days_30d"), user.number("activity_trend")
    return f"active on {_active(days)} of the last 30 ({_signed(trend)} on the 15 days before)"


def _orders_month(user: Values, leaving: bool, currency: str) -> str:
    orders, trend = user.number("orders_30d"), user.number("orders_trend")
    return f"{_count(orders, 'order', 'orders')} in the last 30 days ({_signed(trend)} on the 30 before)"


def _within(name: str, one: str, many: str, days: int) -> Phrase:
    return lambda user, leaving, currency: f"{_count(user.number(name), one, many)} in the last {days} days"


def _abandonment(user: Values, leaving: bool, currency: str) -> str:
    share = user["cart_abandonment_30d"]
    if share is None:
        return "put nothing into the cart in the last 30 days"
    return f"left {share:.0%} of the items in the cart unbought in the last 30 days"


def _order_value(user: Values, leaving: bool, currency: str) -> str:
    value = user["order_value_mean"]
    return "has no order yet" if value is None else f"orders worth {_money(value, currency)} on average"


def _return_rate(user: Values, leaving: bool, currency: str) -> str:
    rate = user["return_rate"]
    return "has bought nothing to return" if rate is None else f"returns {rate:.0%} of what they buy"


def _stars(name: str, given: str, never: str) -> Phrase:
    def words(user: Values, leaving: bool, currency: str) -> str:
        stars = user[name]
        return never if stars is None else f"{given} {stars:.1f} of 5 stars"

    return words


PHRASES: dict[str, Phrase] = {
    "days_since_activity": lambda u, leaving, c: (
        f"not seen for {_days(u.number('days_since_activity'))}"
        if leaving
        else f"last seen {_days(u.number('days_since_activity'))} ago"
    ),
    "recency_days": _last_purchase,
    "tenure_days": lambda u, leaving, c: f"first seen {_days(u.number('tenure_days'))} ago",
    "frequency": _orders_ever,
    "monetary": lambda u, leaving, c: f"spent {_money(u.number('monetary'), c)} ever, net of returns",
    "orders_14d": _within("orders_14d", "order", "orders", 14),
    "orders_30d": _orders_month,
    "orders_60d": _within("orders_60d", "order", "orders", 60),
    "orders_90d": _within("orders_90d", "order", "orders", 90),
    "spend_30d": lambda u, leaving, c: f"spent {_money(u.number('spend_30d'), c)} in the last 30 days",
    "spend_90d": lambda u, leaving, c: f"spent {_money(u.number('spend_90d'), c)} in the last 90 days",
    "spend_trend": lambda u, leaving, c: (
        f"spent {_money(abs(u.number('spend_trend')), c)} {'more' if u.number('spend_trend') > 0 else 'less'}"
        " in the last 30 days than in the 30 before"
    ),
    "order_value_mean": _order_value,
    "orders_trend": _orders_month,
    "purchase_interval_days": _interval,
    "recency_to_interval": _last_purchase,
    "interval_deviation_days": _spread,
    "interval_longest_days": _longest,
    "recency_to_longest": _longest,
    "repeat_purchase_days": _purchase_days,
    "repeat_span_days": _none_or(
        "repeat_span_days", lambda v, c: f"{_days(v)} from first to last purchase", "has never bought"
    ),
    "customer_age_days": _none_or("customer_age_days", lambda v, c: f"first bought {_days(v)} ago", "has never bought"),
    "purchase_value_mean": _none_or(
        "purchase_value_mean", lambda v, c: f"{_money(v, c)} a purchase day, net of returns", "has never bought"
    ),
    "expected_purchases": _none_or(
        "expected_purchases", lambda v, c: f"a rhythm that lets expect {v:.1f} purchases to come", "no known rhythm"
    ),
    "no_purchase_probability": _none_or(
        "no_purchase_probability", lambda v, c: f"a rhythm by which {v:.0%} of such buyers stay away", "no known rhythm"
    ),
    "active_days_7d": lambda u, leaving, c: f"active on {_active(u.number('active_days_7d'))} of the last 7",
    "active_days_30d": _active_days,
    "active_days_90d": lambda u, leaving, c: f"active on {_active(u.number('active_days_90d'))} of the last 90",
    "activity_trend": _active_days,
    "views_30d": _within("views_30d", "item view", "item views", 30),
    "views_trend": lambda u, leaving, c: (
        f"{_signed(u.number('views_trend'))} item views in the last 30 days on the 30 before"
    ),
    "carts_30d": _within("carts_30d", "item put into the cart", "items put into the cart", 30),
    "favourites_30d": _within("favourites_30d", "favourite marked", "favourites marked", 30),
    "searches_30d": _within("searches_30d", "search", "searches", 30),
    "cart_abandonment_30d": _abandonment,
    "categories_30d": lambda u, leaving, c: (
        f"looked at {_count(u.number('categories_30d'), 'category', 'categories')} in the last 30 days"
    ),
    "categories_ever": lambda u, leaving, c: f"{_count(u.number('categories_ever'), 'category', 'categories')} ever",
    "sessions_30d": _none_or(
        "sessions_30d", lambda v, c: f"{_count(v, 'visit', 'visits')} in the last 30 days", "visits are not known"
    ),
    "session_actions_30d": _none_or(
        "session_actions_30d",
        lambda v, c: f"{v:.1f} actions a visit in the last 30 days",
        "no visit in the last 30 days",
    ),
    "items_bought": lambda u, leaving, c: (
        f"{_count(u.number('items_bought'), 'different item', 'different items')} bought ever"
    ),
    "returns_60d": _within("returns_60d", "item returned", "items returned", 60),
    "return_rate": _return_rate,
    "return_value_share": _none_or(
        "return_value_share", lambda v, c: f"money of {v:.0%} of what they bought went back", "has spent nothing so far"
    ),
    "discount_mean_90d": _none_or(
        "discount_mean_90d",
        lambda v, c: f"paid {v:.0%} less than the highest price in the last 90 days",
        "no priced purchase in the last 90 days",
    ),
    "reviews_90d": _within("reviews_90d", "review", "reviews", 90),
    "stars_mean": _stars("stars_mean", "gives on average", "has never given stars"),
    "stars_last": _stars("stars_last", "last gave", "has given no stars so far"),
    "weekend_share": lambda u, leaving, c: f"{u.number('weekend_share'):.0%} of their actions fall on weekends",
    "night_share": lambda u, leaving, c: (
        f"{u.number('night_share'):.0%} of their actions fall between midnight and six"
    ),
    "morning_share": lambda u, leaving, c: f"{u.number('morning_share'):.0%} of their actions fall in the morning",
    "evening_share": lambda u, leaving, c: f"{u.number('evening_share'):.0%} of their actions fall in the evening",
}
