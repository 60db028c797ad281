"""Validation of a night's outputs: tables that fit each other pass, contracts included; one that does not is named."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, date, datetime
from typing import Any

import pytest

from expectations.outcomes import Taken
from jobs.publish import validate_outputs
from rekindle import checking, quality, settings
from rekindle.cli import DataRefused
from rekindle.contract import Table
from rekindle.gate import gate, settle
from schemas.at_risk_users import AT_RISK_USERS
from schemas.churn_changes import CHURN_CHANGES
from schemas.churn_health import CHURN_HEALTH
from schemas.cohort_retention import COHORT_RETENTION
from schemas.events import EVENTS
from schemas.excluded_users import EXCLUDED_USERS
from schemas.item_features import ITEM_FEATURES
from schemas.item_similarities import ITEM_SIMILARITIES
from schemas.list_changes import LIST_CHANGES
from schemas.outcomes import OUTCOMES
from schemas.period_counts import PERIOD_COUNTS
from schemas.period_metrics import PERIOD_METRICS
from schemas.recommendations import RECOMMENDATIONS
from schemas.repurchase_curves import REPURCHASE_CURVES
from schemas.retention_counts import RETENTION_COUNTS
from schemas.retention_curves import RETENTION_CURVES
from schemas.retention_metrics import RETENTION_METRICS
from schemas.retention_windows import RETENTION_WINDOWS
from schemas.segment_models import SEGMENT_MODELS
from schemas.segment_movements import SEGMENT_MOVEMENTS
from schemas.segments import SEGMENTS
from schemas.suppressed_users import SUPPRESSED_USERS
from schemas.user_days import USER_DAYS
from schemas.user_features import USER_FEATURES
from schemas.user_profiles import USER_PROFILES
from schemas.user_segments import USER_SEGMENTS
from schemas.user_vectors import USER_VECTORS

RUN = "r" + "1" * 16
DAY, AS_OF = date(2026, 1, 5), date(2026, 1, 6)  # the shop opened on Thursday: one whole week
FIRST = date(2026, 1, 1)
BUYER, VISITOR = "a" * 64, "b" * 64
ITEMS = ("i", "j")  # fewer than a list has places


def neutral(table: Table, **given: Any) -> dict[str, Any]:
    """A row that the contract allows: null where it may be, else the least legal value."""
    plain = {
        "string": "words",
        "boolean": False,
        "date": DAY,
        "timestamp": datetime(2026, 1, 1, 12, tzinfo=UTC),
    }
    row: dict[str, Any] = {}
    for c in table.columns:
        if c.nullable or c.type.startswith("array<"):
            row[c.name] = None
        elif c.type in plain:
            row[c.name] = c.allowed[0] if c.allowed else plain[c.type]
        else:
            row[c.name] = float(c.minimum or 0) if c.type == "double" else int(c.minimum or 0)
    return row | given


def night() -> dict[Table, list[dict[str, Any]]]:
    """A shop with a buyer, a visitor and two items on its fifth day."""
    seen = {"first_seen_date": FIRST, "last_activity_date": FIRST}
    bought = dict.fromkeys(("recency_score", "frequency_score", "monetary_score"), 5) | {
        "last_purchase_date": FIRST,
        "rfm_class": "champions",
        "return_rate": 0.0,
    }
    features = {"days_since_activity": 4.5, "tenure_days": 4.5}
    return {
        EVENTS: [
            neutral(EVENTS, event_id=u, user_key=u, event_date=FIRST, landing_date=FIRST) for u in (BUYER, VISITOR)
        ],
        USER_FEATURES: [
            neutral(USER_FEATURES, as_of=AS_OF, user_key=BUYER, frequency=1.0, recency_days=4.5, **features),
            neutral(USER_FEATURES, as_of=AS_OF, user_key=VISITOR, **features),
        ],
        ITEM_FEATURES: [
            neutral(ITEM_FEATURES, as_of=AS_OF, item_id=i, first_seen_date=FIRST, last_seen_date=FIRST) for i in ITEMS
        ],
        EXCLUDED_USERS: [],
        USER_PROFILES: [
            neutral(USER_PROFILES, user_key=BUYER, frequency=1, recency_days=4.5, **bought, **seen),
            neutral(USER_PROFILES, user_key=VISITOR, **seen),
        ],
        USER_VECTORS: [neutral(USER_VECTORS, user_key=BUYER, items=1, vector=[1.0] + [0.0] * 31)],
        USER_SEGMENTS: [neutral(USER_SEGMENTS, user_key=u, unsegmented_as="too_few_users") for u in (BUYER, VISITOR)],
        SEGMENTS: [],
        SEGMENT_MOVEMENTS: [],
        SEGMENT_MODELS: [],
        RETENTION_METRICS: [
            neutral(RETENTION_METRICS, week_start=date(2025, 12, 29), active_users=2, new_users=2, buyers=1, orders=1)
        ],
        PERIOD_METRICS: [
            neutral(
                PERIOD_METRICS, period_unit="week", period_start=date(2025, 12, 29), group_name="all",
                active_users=2, new_users=2, buyers=1, orders=1,
            )
        ],
        COHORT_RETENTION: [
            neutral(
                COHORT_RETENTION, period_unit="week", cohort_start=date(2025, 12, 29), group_name="all",
                cohort_users=2, active_users=2, active_or_later_users=2, retention=1.0, unbounded_retention=1.0,
            )
        ],
        **{
            table: []
            for table in (
                *(USER_DAYS, PERIOD_COUNTS, RETENTION_COUNTS),
                *(RETENTION_CURVES, RETENTION_WINDOWS, REPURCHASE_CURVES),
            )
        },
        RECOMMENDATIONS: [
            neutral(RECOMMENDATIONS, user_key=user, rank=rank, item_id=item)
            for user, items in ((BUYER, ITEMS), (VISITOR, ITEMS[::-1]))
            for rank, item in enumerate(items, 1)
        ],
        ITEM_SIMILARITIES: [
            neutral(ITEM_SIMILARITIES, item_id=item, rank=1, similar_item_id=other)
            for item, other in (ITEMS, ITEMS[::-1])
        ],
        LIST_CHANGES: [],
        AT_RISK_USERS: [
            neutral(
                AT_RISK_USERS, user_key=BUYER, churn_probability=0.9, is_at_risk=True, risk_band="critical",
                reasons=["no purchase for 4 days, is associated with leaving (+9 points)"], lowers_risk=[],
                suggested_action="do_nothing", horizon_days=21, frequency=1,
            )
        ],
        CHURN_CHANGES: [],
        CHURN_HEALTH: [],
        SUPPRESSED_USERS: [],
        OUTCOMES: [neutral(OUTCOMES, outcome_id="o", kind="open", fate="event")],
    }  # fmt: skip


@pytest.fixture
def verdict(frame: Callable[..., Any]) -> Callable[..., Any]:
    """`verdict(tables)`: what the gate says of these tables by what they hold."""
    shop = settings.load("simulated_shop")

    def run(tables: dict[Table, list[dict[str, Any]]]) -> Any:
        frames = {t.name: frame(t, *rows) for t, rows in tables.items()}
        rows = {t.name: len(rows) for t, rows in tables.items()}
        batches = validate_outputs.batches(frames, rows, shop.source, shop.business, DAY, AS_OF, Taken(1, 1))
        return gate(checking.declared(batches, RUN), quality.evaluate(batches, RUN))

    return run


def test_tables_that_fit_each_other_pass(verdict: Callable[..., Any]) -> None:
    found = verdict(night())
    assert found.failed == ()
    assert found.not_run == ()
    assert found.passed
    assert found.warnings == ()


def test_a_night_with_faults_across_tables_is_refused_and_each_is_named(verdict: Callable[..., Any]) -> None:
    tables = night()
    tables[RECOMMENDATIONS].pop()  # the visitor's list lacks rank 2
    tables[AT_RISK_USERS][0]["user_key"] = VISITOR  # who never bought
    tables[EVENTS].append(tables[EVENTS][0] | {"event_id": "c", "user_key": "c" * 64})
    tables[RETENTION_METRICS][0]["churn_rate"] = 1.5
    tables[PERIOD_METRICS][0]["active_users"] = 3
    tables[COHORT_RETENTION][0]["cohort_users"] = 3
    tables[SUPPRESSED_USERS].append(neutral(SUPPRESSED_USERS, user_key=VISITOR, reason="consent"))
    tables[OUTCOMES][0] |= {"fate": "duplicate"}
    tables[EXCLUDED_USERS].append(
        neutral(EXCLUDED_USERS, user_key=BUYER, rule="events_in_an_hour", value=1e6, threshold=1000.0, as_of=AS_OF)
    )
    tables[LIST_CHANGES].append(
        neutral(LIST_CHANGES, user_key=BUYER, change="entered", item_after=ITEMS[1], cause="rules")
    )
    tables[USER_SEGMENTS].pop()
    tables[SEGMENT_MOVEMENTS].append(
        neutral(SEGMENT_MOVEMENTS, user_key=BUYER, segment_after="s001", name_after="words")
    )
    weeks = "table retention_metrics:"
    found = verdict(tables)
    with pytest.raises(DataRefused, match="table excluded_users: users whose profile names other rules"):
        settle(found)
    assert set(found.failed) == {
        "table recommendations: users whose list has not 2 items: expected 0 rows, found 1 of 2",
        "table list_changes: changes whose item after is not the first of recommendations:"
        " expected 0 rows, found 1 of 1",
        "table user_segments: users with a profile but without a row: expected 0 rows, found 1 of 2",
        "table segment_movements: movements whose segment after is not that of user_segments:"
        " expected 0 rows, found 1 of 1",
        "table at_risk_users: eligible users without a score: expected 0 rows, found 1 of 1",
        "table suppressed_users: scored users who are suppressed by another reason than their score tells:"
        " expected 0 rows, found 1 of 1",
        "table outcomes: outcomes told to be events, of the events that came of them: expected 1, found 0",
        "table at_risk_users: scored users who are not eligible: expected 0 rows, found 1 of 1",
        "table user_profiles: users with events but without a profile: expected 0 rows, found 1 of 3",
        f"{weeks} rows whose churn_rate is outside 0 to 1 or not a number: expected 0 rows, found 1 of 1",
        "table excluded_users: users whose profile names other rules than they are excluded by:"
        " expected 0 rows, found 1 of 2",
        "table period_metrics: periods whose parts are not their active users: expected 0 rows, found 1 of 1",
        "table period_metrics: weeks in which retention_metrics, counted from all events, says other users, buyers or"
        " orders: expected 0 rows, found 1 of 1",
        "table cohort_retention: cohorts not all of whose users acted in period 0: expected 0 rows, found 1 of 1",
        "table cohort_retention: periods whose retention is not that of their users: expected 0 rows, found 1 of 1",
        "table cohort_retention: cohorts with other users than period_metrics says began in their period:"
        " expected 0 rows, found 1 of 1",
        f"{weeks} weeks with a churn rate but without retained users: expected 0 rows, found 1 of 1",
    }
