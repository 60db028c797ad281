"""The first figures of a night, beside those of the day before and of the same weekday a week ago.

What the shop's days were like is told by tonight's tables for all three days, late lines included. What only a night
knows (who was at risk then) is told by that night: the report keeps its figures in the stage's detail, and a run whose
rows are still kept is asked itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta

from report.asking import Ask
from report.earlier import Earlier

Figures = dict[str, float | None]
# In the order of the page; `up` is whether more of it is good news, bad news or neither.
SHOP = ("active_users", "buyers", "orders", "revenue")
NIGHT = ("left", "at_risk", "value_at_stake", "listed_share")
GOOD_NEWS = {"active_users": 1, "buyers": 1, "orders": 1, "revenue": 1, "left": -1, "at_risk": -1, "value_at_stake": -1}
BACK = {"yesterday": 1, "last_week": 7}


@dataclass(frozen=True)
class Card:
    """A headline figure; `before` maps yesterday and last_week to (day, figure), null where nothing is known."""

    name: str
    value: float | None
    before: dict[str, tuple[date, float | None]]

    @property
    def is_alone(self) -> bool:
        """Whether nothing is known to compare it with."""
        return self.value is None or all(past is None for _, past in self.before.values())

    def trend(self, when: str) -> str:
        """good, bad or even: what the difference to that day means."""
        past = self.before[when][1]
        if self.value is None or past is None or self.value == past:
            return "even"
        sign = GOOD_NEWS.get(self.name, 0) * (1 if self.value > past else -1)
        return {1: "good", -1: "bad", 0: "even"}[sign]


def of_the_night(ask: Ask, run_id: str, tables: frozenset[str]) -> Figures:
    """Who is at risk, who left and who has a list, as that run's rows say; null for what it has no table of.

    `left`: users who were watched at the publication before and no longer are; null where there was none before.
    `watched`: users with a probability.
    """
    found: Figures = dict.fromkeys(("left", "at_risk", "value_at_stake", "watched", "users", "listed", "listed_share"))
    if "at_risk_users" in tables:
        found |= ask.row(
            "SELECT count(*) AS watched, count(*) FILTER (WHERE is_at_risk) AS at_risk,"
            " sum(value_at_stake) FILTER (WHERE is_at_risk) AS value_at_stake FROM serve.at_risk_users"
            " WHERE run_id = %(of)s",
            of=run_id,
        )
    if "churn_changes" in tables:
        found |= ask.row(
            "SELECT CASE WHEN EXISTS (SELECT FROM serve.publications p WHERE p.source = %(source)s"
            " AND p.status = 'served' AND p.run_id <> %(of)s AND p.number < coalesce("
            "(SELECT number FROM serve.publications WHERE run_id = %(of)s), 9223372036854775807))"
            " THEN count(*) FILTER (WHERE change = 'left') END AS left FROM serve.churn_changes WHERE run_id = %(of)s",
            of=run_id,
            source=ask.context.source.name,
        )
    if {"recommendations", "user_profiles"} <= tables:
        lists = ask.row(
            "SELECT (SELECT count(*) FROM (SELECT user_key FROM serve.recommendations WHERE run_id = %(of)s GROUP BY 1)"
            " t) AS listed,"
            " (SELECT count(*) FROM serve.user_profiles WHERE run_id = %(of)s) AS users",
            of=run_id,
        )
        found |= lists
        found["listed_share"] = lists["listed"] / lists["users"] if lists["users"] else None
    return {name: value if value is None else float(value) for name, value in found.items()}


def of_days(ask: Ask, days: Sequence[date]) -> dict[date, Figures]:
    """The shop's figures of these days by tonight's tables; a day without a row has none."""
    if not ask.has("period_metrics"):
        return {}
    rows = ask.rows(
        "SELECT period_start, active_users, buyers, orders, net_revenue AS revenue FROM serve.period_metrics"
        " WHERE run_id = %(run)s AND period_unit = 'day' AND group_kind = 'all' AND period_start = ANY(%(days)s)",
        days=list(days),
    )
    return {row.pop("period_start"): {k: None if v is None else float(v) for k, v in row.items()} for row in rows}


def past_figures(ask: Ask, nights: Sequence[Earlier], day: date) -> Figures:
    """What the night of that day knew; empty where none was published, or its rows are gone and no report told."""
    night = next((one for one in nights if one.business_date == day), None)
    if night is None:
        return {}
    if night.headline:
        return night.headline
    if not night.is_kept:
        return {}
    return of_the_night(ask, night.run_id, frozenset(ask.context.ledger.tables(night.run_id)))


def cards(ask: Ask, tonight: Figures, nights: Sequence[Earlier]) -> list[Card]:
    """All headline figures in the order of the page."""
    today = ask.context.business_date
    back = {when: today - timedelta(days=days) for when, days in BACK.items()}
    shop = of_days(ask, [today, *back.values()])
    past = {when: past_figures(ask, nights, day) for when, day in back.items()}
    return [
        *(
            Card(name, shop.get(today, {}).get(name), {w: (d, shop.get(d, {}).get(name)) for w, d in back.items()})
            for name in SHOP
        ),
        *(Card(name, tonight.get(name), {w: (d, past[w].get(name)) for w, d in back.items()}) for name in NIGHT),
    ]
