"""What the night makes of its events: each thing that must hold of lists, scores and profiles, shown not to."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date, timedelta
from typing import Any

from expectations import (
    at_risk_users,
    excluded_users,
    item_features,
    item_similarities,
    outcomes,
    recommendations,
    retention_metrics,
    suppressed_users,
    user_features,
    user_profiles,
    user_vectors,
)
from rekindle import settings
from rekindle.sources import Mark, NotCustomers
from schemas.at_risk_users import AT_RISK_USERS
from schemas.events import EVENTS
from schemas.excluded_users import EXCLUDED_USERS
from schemas.item_features import ITEM_FEATURES
from schemas.item_similarities import ITEM_SIMILARITIES
from schemas.outcomes import OUTCOMES
from schemas.recommendations import RECOMMENDATIONS
from schemas.retention_metrics import RETENTION_METRICS
from schemas.suppressed_users import SUPPRESSED_USERS
from schemas.user_features import USER_FEATURES
from schemas.user_profiles import USER_PROFILES
from schemas.user_vectors import USER_VECTORS

Broken = Callable[..., dict[str, str]]
Frame = Callable[..., Any]

DAY, AS_OF = date(2026, 4, 30), date(2026, 5, 1)
ANNA, BERT, CLEO, DORA = (c * 64 for c in "abcd")


def listed(user: str, *ranked: tuple[int, str], **more: Any) -> list[dict[str, Any]]:
    made = {"user_key": user, "score": 1.0, "reason": "words", "candidate_source": "als", "model_version": "m"}
    return [made | {"rank": r, "item_id": i, "business_date": DAY} | more for r, i in ranked]


def test_lists_are_of_known_items_of_one_model_and_of_this_night(broken: Broken, frame: Frame) -> None:
    items = frame(ITEM_FEATURES, {"item_id": "i"}, {"item_id": "j"})

    def found(*rows: dict[str, Any]) -> dict[str, str]:
        lists = recommendations.with_known(frame(RECOMMENDATIONS, *rows), items)
        return broken(recommendations.suite(DAY), lists)

    anna, bert = listed(ANNA, (1, "i"), (2, "j")), listed(BERT, (1, "j"), (2, "i"))
    assert found(*anna, *bert) == {}
    stray = listed(BERT, (1, "k"), model_version="n", business_date=date(2026, 4, 29))
    assert found(*anna, *stray) == {"item_known": "1 of 3", "of_this_night": "1 of 3", "one_model": "2"}
    assert found(*anna, *listed(BERT, (1, "i"))) == {"not_all_alike": "1"}


def test_every_user_has_one_whole_list(broken: Broken, frame: Frame) -> None:
    profiles = frame(USER_PROFILES, *[{"user_key": u} for u in (ANNA, BERT)])

    def found(*rows: dict[str, Any]) -> dict[str, str]:
        lists = recommendations.by_user(frame(RECOMMENDATIONS, *rows), profiles)
        return {k.removeprefix("by_user_"): v for k, v in broken(recommendations.suite_by_user(2, 2), lists).items()}

    anna = listed(ANNA, (1, "i"), (2, "j"))
    assert found(*anna, *listed(BERT, (1, "j"), (2, "i"))) == {}
    assert found(*anna) == {"has_list": "1 of 2"}
    assert found(*anna, *listed(BERT, (1, "j"))) == {"is_whole": "1 of 2"}
    assert found(*anna, *listed(BERT, (1, "j"), (3, "i"))) == {"has_no_gap": "1 of 2"}
    assert found(*anna, *listed(BERT, (1, "j"), (2, "j"))) == {"has_no_item_twice": "1 of 2"}
    stranger = found(*anna, *listed(BERT, (1, "j"), (2, "i")), *listed(CLEO, (1, "j"), (2, "i")))
    assert stranger == {"row_count": "3", "has_profile": "1 of 3"}


def test_neighbours_are_known_items_nearest_first(broken: Broken, frame: Frame) -> None:
    items = frame(ITEM_FEATURES, *[{"item_id": i} for i in "ijk"])

    def found(*rows: tuple[str, int, str, float], day: date = DAY) -> dict[str, str]:
        names = ("item_id", "rank", "similar_item_id", "similarity")
        told = [dict(zip(names, row, strict=True)) | {"business_date": day} for row in rows]
        similarities = item_similarities.with_known(frame(ITEM_SIMILARITIES, *told), items)
        return broken(item_similarities.suite(DAY), similarities)

    assert found(("i", 1, "j", 0.9), ("i", 2, "k", 0.2), ("j", 1, "i", 0.9)) == {}
    assert found() == {}, "users who share nothing are no fault"
    assert found(("i", 1, "x", 0.9), ("x", 1, "i", 0.9)) == {"item_known": "2 of 2"}
    assert found(("i", 1, "i", 0.9)) == {"not_itself": "1 of 1"}
    assert found(("i", 1, "j", 0.2), ("i", 2, "k", 0.9)) == {"nearest_first": "2 of 2"}
    assert found(("i", 1, "j", 0.9), ("i", 3, "k", 0.2)) == {"nearest_first": "1 of 2"}
    assert found(("i", 1, "j", 0.9), day=date(2026, 4, 29)) == {"of_this_night": "1 of 1"}


BUSINESS = settings.load("simulated_shop").business
WIN_BACK = settings.load("simulated_shop").source.win_back
SCORED = {
    "churn_probability": 0.6,
    "is_at_risk": True,
    "risk_band": "high",
    "reasons": ["no purchase for 34 days, is associated with leaving (+9 points)"],
    "lowers_risk": [],
    "suggested_action": "voucher",
    "recency_days": 34.0,
    "frequency": 2,
    "monetary": 10.0,
    "horizon_days": 21,
    "model_version": "m",
    "business_date": DAY,
}


def test_band_flag_and_reasons_fit_the_probability(broken: Broken, frame: Frame) -> None:
    def found(*rows: dict[str, Any]) -> dict[str, str]:
        users = [{"user_key": f"{n:064x}"} | SCORED | row for n, row in enumerate(rows)]
        return broken(at_risk_users.suite(BUSINESS.risk_bands, WIN_BACK, 21, DAY), frame(AT_RISK_USERS, *users))

    edges = [(0.0, "low"), (0.35, "medium"), (0.55, "high"), (0.75, "critical"), (1.0, "critical")]
    good = [
        {"churn_probability": p, "risk_band": b, "is_at_risk": p >= 0.55, "lowers_risk": [] if p >= 0.55 else None}
        for p, b in edges
    ]
    assert found(*good) == {}
    assert found({}) == {}, "a lone user has no choice of probability"
    assert found(
        *good,
        {"risk_band": "critical"},
        {"is_at_risk": False},
        {"reasons": []},
        {"reasons": SCORED["reasons"] * 4},
        {"reasons": [*SCORED["reasons"], " "]},
        {"reasons": ["because they are bored"]},
        {"lowers_risk": None},
        {"value_at_stake": 5.0, "value_at_stake_low": 9.0, "value_at_stake_high": 7.0},
        {"value_at_stake": 5.0},
        {"suggested_action": "a_kiss"},
        {"days_since_contact": 2.0},
        {"suppressed_by": "complaint"},
        {"horizon_days": 20},
        {"business_date": date(2026, 4, 29)},
        {"model_version": "n"},
    ) == {
        "band_fits": "1 of 20",
        "flag_fits": "1 of 20",
        "reasons_counted": "2 of 20",
        "reasons_in_words": "1 of 20",
        "reasons_associate": "2 of 20",
        "advice_for_those_at_risk": "2 of 20",
        "value_inside_its_interval": "2 of 20",
        "action_of_the_catalogue": "1 of 20",
        "nobody_bothered_twice": "1 of 1",
        "suppressed_left_alone": "1 of 1",
        "horizon_is_confs": "1 of 20",
        "of_this_night": "1 of 20",
        "one_model": "2",
    }
    assert found({}, {}) == {"not_all_alike": "1"}


def test_whom_nobody_may_contact_is_told_until_when_and_by_every_score(broken: Broken, frame: Frame) -> None:
    def found(*rows: tuple[str, date | None], day: date = DAY) -> dict[str, str]:
        told = [{"reason": reason, "until": until, "business_date": day} for reason, until in rows]
        users = frame(SUPPRESSED_USERS, *[{"user_key": f"{n:064x}"} | row for n, row in enumerate(told)])
        return broken(suppressed_users.suite(DAY, AS_OF), users)

    assert found() == {}
    assert found(("consent", None), ("contacted", AS_OF)) == {}
    assert found(("consent", AS_OF), ("complaint", None)) == {"ends_but_for_consent": "2 of 2"}
    assert found(("contacted", DAY)) == {"still_holds": "1 of 1"}
    assert found(("consent", None), day=AS_OF) == {"of_this_night": "1 of 1"}

    suppressed = frame(SUPPRESSED_USERS, {"user_key": ANNA, "reason": "consent"}, {"user_key": DORA})

    def scored(anna: str | None, bert: str | None = None) -> dict[str, str]:
        rows = ({"user_key": ANNA, "suppressed_by": anna}, {"user_key": BERT, "suppressed_by": bert})
        users = suppressed_users.by_user(suppressed, frame(AT_RISK_USERS, *rows))
        return broken(suppressed_users.suite_by_user(), users)

    assert scored("consent") == {}
    assert scored(None, "complaint") == {"by_user_scores_say_so": "2 of 2"}


def test_the_crm_is_told_of_every_outcome_and_only_of_events_that_there_are(broken: Broken, frame: Frame) -> None:
    def found(*rows: dict[str, Any], lines: int, events: int = 1) -> dict[str, str]:
        good = {"fate": "event", "landing_date": DAY}
        table = frame(OUTCOMES, *[good | {"outcome_id": str(n)} | row for n, row in enumerate(rows)])
        return broken(outcomes.suite(DAY, 90, outcomes.Taken(lines, events)), table)

    unusable = {"fate": "quarantined", "rule": "unknown_user"}
    first = date(2026, 1, 31)
    assert found({}, unusable, {"fate": "duplicate"}, lines=3) == {}
    assert found(lines=0, events=0) == {}
    assert found({"landing_date": first}, lines=1) == {}
    late = [{"landing_date": day} for day in (first - timedelta(days=1), AS_OF)]
    assert found(*late, lines=2, events=2) == {"taken_in_time": "2 of 2"}
    assert found({"rule": "unknown_user"}, {"fate": "quarantined"}, lines=2) == {"rule_of_the_quarantined": "2 of 2"}
    assert found({}, lines=2) == {"every_line_is_told": "1"}
    assert found(unusable, lines=1) == {"events_are_events": "0"}


def test_exactly_the_eligible_users_are_scored(broken: Broken, frame: Frame) -> None:
    def found(scored: list[str], eligible: list[str]) -> dict[str, str]:
        at_risk = frame(AT_RISK_USERS, *[{"user_key": u} for u in scored])
        features = frame(USER_FEATURES, *[{"user_key": u} for u in eligible])
        return broken(at_risk_users.suite_by_user(), at_risk_users.by_user(at_risk, features))

    assert found([ANNA, BERT], [BERT, ANNA]) == {}
    assert found([ANNA, BERT], [BERT, CLEO, DORA]) == {"by_user_is_scored": "2 of 3", "by_user_is_eligible": "1 of 2"}
    assert found([], []) == {"by_user_row_count": "0"}


BUYER = {
    "business_date": DAY,
    "recency_days": 3.5,
    "frequency": 1,
    "monetary": 5.0,
    "recency_score": 5,
    "frequency_score": 1,
    "monetary_score": 2,
    "first_seen_date": date(2026, 4, 1),
    "last_activity_date": date(2026, 4, 28),
    "last_purchase_date": date(2026, 4, 27),
    "active_days_7d": 1,
    "active_days_30d": 2,
    "active_days_90d": 2,
    "top_categories": ["a", "b"],
    "top_category_shares": [0.6, 0.4],
    "rfm_class": "potential_loyal",
    "life_cycle": "active",
    "usual_interval_days": 3.0,
    "current_streak_days": 0,
    "longest_streak_days": 2,
    "usual_channel": "app",
    "usual_channel_share": 1.0,
    "price_band": 2,
    "price_level": 2.4,
    "keywords": ["tea", "cup"],
    "keyword_weights": [0.9, 0.2],
    "return_rate": 0.5,
    "stars_mean": 4.0,
    "stars_count": 1,
}
SCORES = ("recency_days", "recency_score", "frequency_score", "monetary_score", "rfm_class")
BOUGHT = (*SCORES, "last_purchase_date", "price_band", "price_level", "return_rate")
VISITOR = BUYER | dict.fromkeys((*BOUGHT, "top_categories", "top_category_shares")) | {"frequency": 0}


def test_profiles_tell_rfm_of_buyers_only_and_shares_of_a_whole(broken: Broken, frame: Frame) -> None:
    def found(*rows: dict[str, Any]) -> dict[str, str]:
        users = [{"user_key": f"{n:064x}"} | row for n, row in enumerate(rows)]
        return broken(user_profiles.suite(DAY), frame(USER_PROFILES, *users))

    assert found(BUYER, VISITOR) == {}
    faults: dict[str, dict[str, Any]] = {
        "of_this_night": BUYER | {"business_date": date(2026, 4, 29)},
        "dates_in_order": VISITOR | {"first_seen_date": date(2026, 4, 29)},
        "purchase_is_activity": BUYER | {"last_purchase_date": date(2026, 4, 29)},
        "recency_days_for_buyers": BUYER | {"recency_days": None},
        "recency_score_for_buyers": VISITOR | {"recency_score": 1},
        "frequency_score_for_buyers": BUYER | {"frequency_score": None},
        "monetary_score_for_buyers": BUYER | {"monetary_score": None},
        "frequency_for_buyers": VISITOR | {"frequency": 2},
        "top_category_shares_fit_names": BUYER | {"top_category_shares": [0.6]},
        "top_category_shares_within_one": BUYER | {"top_category_shares": [0.6, 0.6]},
        "top_category_shares_are_shares": BUYER | {"top_category_shares": [1.0, 0.0]},
        "rfm_class_for_buyers": VISITOR | {"rfm_class": "lost"},
        "class_of_scores": BUYER | {"rfm_class": "lost"},
        "streaks_fit_dates": BUYER | {"current_streak_days": 1},
        "interval_of_two_days": BUYER | {"usual_interval_days": None},
        "current_category_shares_fit_names": BUYER | {"current_categories": ["a"]},
        "current_category_shares_within_one": BUYER | shared("current_category_shares", "current_categories", 0.6, 0.6),
        "current_category_shares_are_shares": BUYER | shared("current_category_shares", "current_categories", 1.0, 0.0),
        "current_brand_shares_fit_names": BUYER | shared("current_brand_shares", "current_brands", *[0.1] * 4),
        "current_brand_shares_within_one": BUYER | shared("current_brand_shares", "current_brands", 0.6, 0.6),
        "current_brand_shares_are_shares": BUYER | shared("current_brand_shares", "current_brands", 1.0, 0.0),
        "keyword_weights_fit_names": BUYER | {"keywords": ["tea"]},
        "strongest_first": BUYER | {"keyword_weights": [0.2, 0.9]},
        "usual_channel_with_usual_channel_share": BUYER | {"usual_channel": None},
        "price_band_with_price_level": BUYER | {"price_level": None},
        "stars_of_reviews": BUYER | {"stars_count": 0},
        "bought_to_tell": VISITOR | {"discount_line_share": 0.5},
    }
    told = found(BUYER, *faults.values())
    # No class is of a score that is not there, and no streak is of days in the wrong order.
    more = {"class_of_scores": "3", "streaks_fit_dates": "2"}
    assert {name: words.split(" of ")[0] for name, words in told.items()} == dict.fromkeys(faults, "1") | more
    assert told["of_this_night"] == f"1 of {1 + len(faults)}"


def shared(shares: str, names: str, *parts: float) -> dict[str, Any]:
    return {shares: list(parts), names: [str(n) for n in range(len(parts))]}


def test_directions_are_of_one_space_and_of_length_one(broken: Broken, frame: Frame) -> None:
    def found(*rows: dict[str, Any]) -> dict[str, str]:
        good = {"business_date": DAY, "vector": [0.6, -0.8], "items": 1}
        users = [good | {"user_key": f"{n:064x}"} | row for n, row in enumerate(rows)]
        return broken(user_vectors.suite(DAY, 2), frame(USER_VECTORS, *users))

    assert found() == {}
    assert found({}, {"vector": [1.0, 0.0]}) == {}
    faults = ({"business_date": AS_OF}, {"vector": [1.0]}, {"vector": [0.6, 0.6]})
    assert found(*faults) == dict.fromkeys(("of_this_night", "of_one_space", "of_length_one"), "1 of 3")

    vectors = frame(USER_VECTORS, {"user_key": ANNA}, {"user_key": BERT})
    known = user_vectors.by_user(vectors, frame(USER_PROFILES, {"user_key": ANNA}))
    assert broken(user_vectors.suite_by_user(), known) == {"by_user_has_profile": "1 of 2"}


def test_every_user_with_events_has_a_profile(broken: Broken, frame: Frame) -> None:
    def found(profiles: list[str], seen: list[str]) -> dict[str, str]:
        described = frame(USER_PROFILES, *[{"user_key": u} for u in profiles])
        views = [{"user_key": u, "event_id": str(n), "event_type": "view"} for n, u in enumerate(seen)]
        events = frame(EVENTS, *views, {"user_key": DORA, "event_id": "mail", "event_type": "contact"})
        return broken(user_profiles.suite_by_user(), user_profiles.by_user(described, events))

    assert found([ANNA, BERT], [ANNA, BERT, ANNA]) == {}
    assert found([ANNA, CLEO], [ANNA, BERT, ANNA]) == {"by_user_has_profile": "1 of 2", "by_user_has_events": "1 of 2"}


def test_whoever_is_left_out_of_the_models_is_so_by_a_declared_rule(broken: Broken, frame: Frame) -> None:
    source = settings.load("simulated_shop").source
    rules = NotCustomers(events_in_an_hour=100, share_of_events=0.05)
    (kind,) = source.events
    flags = (Mark(id="test_account", when="customer = 'test'"),)
    flagging = kind.model_copy(update={"mapping": kind.mapping.model_copy(update={"flags": flags})})
    told = {"not_customers": rules, "files": {"events": flagging}}
    strict = settings.Source.model_validate({name: getattr(source, name) for name in source.model_fields_set} | told)
    hour = {"as_of": AS_OF, "rule": "events_in_an_hour", "value": 100.0, "threshold": 100.0}
    flag = {"as_of": AS_OF, "rule": "flag_test_account", "value": 1.0}

    def found(of: settings.Source, *rows: dict[str, Any]) -> dict[str, str]:
        users = [{"user_key": f"{n:064x}"} | row for n, row in enumerate(rows)]
        return broken(excluded_users.suite(of, AS_OF), frame(EXCLUDED_USERS, *users))

    assert found(strict) == {}, "nobody is the usual night"
    assert found(strict, hour, flag, hour | {"rule": "share_of_events", "value": 0.05, "threshold": 0.05}) == {}
    faults: dict[str, dict[str, Any]] = {
        "as_of_this_night": flag | {"as_of": DAY},
        "rule_declared": flag | {"rule": "events_of_one_item"},
        "threshold_declared": hour | {"threshold": 99.0},
        "is_met": hour | {"value": 99.0},
    }
    assert found(strict, hour, *faults.values()) == dict.fromkeys(faults, "1 of 5")
    none = source.model_copy(update={"not_customers": NotCustomers()})
    assert found(none, flag) == {"rule_declared": "1 of 1"}


def test_excluded_users_are_few_have_profiles_and_are_named_there(broken: Broken, frame: Frame) -> None:
    def found(excluded: list[tuple[str, str]], told: dict[str, str | None]) -> dict[str, str]:
        out = frame(EXCLUDED_USERS, *[{"user_key": u, "rule": r} for u, r in excluded])
        profiles = frame(USER_PROFILES, *[{"user_key": u, "excluded_as": r} for u, r in told.items()])
        results = broken(excluded_users.suite_by_user(), excluded_users.by_user(out, profiles))
        return {k.removeprefix("by_user_"): v for k, v in results.items()}

    both = [(ANNA, "share_of_events"), (ANNA, "events_in_an_hour")]
    assert found(both, {ANNA: "events_in_an_hour,share_of_events", BERT: None}) == {}
    assert found([], {ANNA: None}) == {}
    assert found(both, {ANNA: "share_of_events", BERT: None}) == {"profile_says_so": "1 of 2"}
    assert found(both, {BERT: None, CLEO: None}) == {"has_profile": "1 of 1", "profile_says_so": "1 of 3"}
    many = found([(ANNA, "a"), (BERT, "a")], {ANNA: "a", BERT: "a", CLEO: None})
    assert set(many) == {"most_are_customers"}


MONDAY = date(2026, 4, 6)
WEEK = {"business_date": DAY, "active_users": 5, "new_users": 2, "buyers": 3, "orders": 4, "conversion_rate": 0.5}


def weeks(*starts: date, **more: Any) -> list[dict[str, Any]]:
    return [WEEK | {"week_start": start, "retained_users": 1, "churn_rate": 0.5} | more for start in starts]


def test_weeks_follow_each_other_have_ended_and_add_up(broken: Broken, frame: Frame) -> None:
    def found(expected: int, *rows: dict[str, Any]) -> dict[str, str]:
        return broken(retention_metrics.suite(DAY, expected), frame(RETENTION_METRICS, *rows))

    three = [MONDAY + timedelta(weeks=n) for n in range(3)]
    assert found(3, *weeks(*three)) == {}
    assert found(0) == {}, "a shop's first days have no whole week"
    assert found(3, *weeks(three[0], three[2])) == {"weeks_counted": "2", "weeks_without_gap": "1"}
    bad = [
        *weeks(three[0] + timedelta(days=1)),
        *weeks(three[1], new_users=6),
        *weeks(three[2], orders=2),
        *weeks(three[2] + timedelta(weeks=1), retained_users=None, business_date=date(2026, 4, 29)),
    ]
    found_bad = found(4, *bad)
    assert found_bad.pop("weeks_without_gap")
    assert found_bad == {
        "starts_on_monday": "1 of 4",
        "has_ended": "1 of 4",
        "of_this_night": "1 of 4",
        "parts_within_whole": "1 of 4",
        "orders_fit_buyers": "1 of 4",
        "first_week_has_no_before": "1 of 4",
    }


def test_whole_weeks_are_counted_from_the_first_events_monday() -> None:
    assert retention_metrics.whole_weeks(date(2026, 1, 1), date(2026, 1, 4)) == 0, "Thursday to Saturday"
    assert retention_metrics.whole_weeks(date(2026, 1, 1), date(2026, 1, 5)) == 1, "Sunday has ended"
    assert retention_metrics.whole_weeks(date(2026, 1, 5), date(2026, 1, 11)) == 0
    assert retention_metrics.whole_weeks(date(2026, 5, 4), date(2026, 5, 1)) == 0


def test_features_nest_and_tonight_is_whole(broken: Broken, frame: Frame) -> None:
    user = dict.fromkeys(USER_FEATURES.names, 1.0) | {"as_of": AS_OF, "user_key": ANNA, "days_since_activity": 1.0}
    past = user | {"as_of": date(2026, 4, 1)}

    def found(users: int, *rows: dict[str, Any]) -> dict[str, str]:
        return broken(user_features.suite(AS_OF, users), frame(USER_FEATURES, *rows))

    assert found(1, user, past) == {}
    assert found(3, user, past, user | {"user_key": BERT, "as_of": date(2026, 5, 2)}) == {
        "not_of_the_future": "1 of 3",
        "tonight_is_whole": "1",
    }
    bad = [user | {"user_key": BERT, "orders_14d": 2.0}, user | {"user_key": CLEO, "recency_days": 0.5}]
    assert found(3, user, *bad) == {"windows_nest": "1 of 3", "recency_fits": "1 of 3"}


def test_items_are_seen_in_order_and_before_the_nights_end(broken: Broken, frame: Frame) -> None:
    item = {"as_of": AS_OF, "item_id": "i", "is_durable": False, "first_seen_date": DAY, "last_seen_date": DAY}
    item |= dict.fromkeys(("views_28d", "carts_28d", "buyers_28d", "purchases_28d"), 1)

    def found(*rows: dict[str, Any]) -> dict[str, str]:
        return broken(item_features.suite(AS_OF), frame(ITEM_FEATURES, *rows))

    assert found(item) == {}
    assert found(
        item,
        item | {"item_id": "j", "last_seen_date": AS_OF},
        item | {"item_id": "k", "first_seen_date": AS_OF},
        item | {"item_id": "l", "as_of": DAY, "first_seen_date": date(2026, 4, 1), "last_seen_date": date(2026, 4, 1)},
        item | {"item_id": "m", "buyers_28d": 2},
    ) == {"dates_in_order": "2 of 5", "of_this_night": "1 of 5", "buyers_have_purchases": "1 of 5"}
