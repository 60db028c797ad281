"""A log that tells no prices: its buyers are buyers, with orders and a recency, and with no money."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import Any

from expectations import user_features as features_suite
from jobs.profile.build_features import item_features, user_features, user_profiles
from rekindle import quality, settings
from rekindle.contract import conform, frame
from rekindle.methods.user_features import amount
from schemas.events import EVENTS
from schemas.excluded_users import EXCLUDED_USERS
from schemas.item_features import ITEM_FEATURES
from schemas.user_features import USER_FEATURES
from schemas.user_profiles import USER_PROFILES

AS_OF = date(2015, 9, 19)
NOON = datetime(2015, 9, 18, 12, tzinfo=UTC)
BUYER, LOOKER, PAYER = "aa" * 32, "bb" * 32, "cc" * 32


def act(user: str, days_ago: int, kind: str, order: str | None = None, price: float | None = None) -> dict[str, Any]:
    at = NOON - timedelta(days=days_ago)
    told: dict[str, Any] = {"event_id": f"{user[0]} {days_ago} {kind}", "user_key": user, "event_type": kind}
    told |= {"order_id": order, "event_ts": at, "event_date": at.date(), "item_id": "i"}
    return told | {"quantity": 1.0 if order else None, "unit_price": price}


def test_a_buyer_without_prices_has_orders_and_no_money(spark: Any) -> None:
    source = settings.load("retailrocket").source
    events = frame(
        spark,
        EVENTS,
        *[act(BUYER, 9, "purchase", "o1"), act(BUYER, 2, "purchase", "o2"), act(BUYER, 1, "return", "o2")],
        *[act(LOOKER, 2, "view"), act(PAYER, 5, "purchase", "o3", 2.5), act(PAYER, 4, "purchase", "o4")],
    )
    told = conform(user_features(events, [AS_OF], source.time_zone, 0, 21), USER_FEATURES).persist()
    users = {row["user_key"]: row for row in told.collect()}
    buyer = users[BUYER]
    assert (buyer["frequency"], buyer["items_bought"], buyer["return_rate"]) == (2, 1, 0.5)
    assert (buyer["monetary"], buyer["spend_30d"], buyer["order_value_mean"]) == (0, 0, 0)
    assert buyer["recency_days"] == 2.5
    assert users[LOOKER]["order_value_mean"] is None
    assert (users[PAYER]["monetary"], users[PAYER]["order_value_mean"]) == (2.5, 1.25), "what has a price counts"

    results = quality.evaluate([quality.Batch(features_suite.suite(AS_OF, 3), told, None)], "r" + "1" * 16)
    assert [r.check_id for r in results if not r.success] == []

    logged = item_features(events, AS_OF, [])
    profiles = user_profiles(told, events, frame(spark, EXCLUDED_USERS), AS_OF, NOON.date(), source, logged)
    scores = {row["user_key"]: row["monetary_score"] for row in conform(profiles, USER_PROFILES).collect()}
    assert scores == {BUYER: 1, LOOKER: None, PAYER: 5}

    (item,) = conform(item_features(events, AS_OF, []), ITEM_FEATURES).collect()
    assert (item["last_price"], item["purchases_28d"], item["buyers_28d"]) == (2.5, 4, 2)
    assert events.where(amount().isNull()).count() == 4, "the log's own gaps stay gaps"
