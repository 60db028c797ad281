"""A small shop's log, and its retention counted from it in plain Python: event by event, nothing summed before."""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Callable, Iterable
from datetime import UTC, date, datetime, timedelta
from typing import Any

from rekindle.methods.activity import DIALOGUE
from rekindle.methods.retention_periods import UNITS, add_periods, period_start

Row = dict[str, Any]
Of = Callable[[Row], str | None]
FIRST = date(2026, 1, 1)
FUNNEL_DAYS, WINDOWS = 5, ((1, 7), (8, 30))
COHORTS = {"day": 20, "week": 12, "month": 6}
KINDS = ("view",) * 5 + ("cart",) * 3 + ("purchase",) * 3 + ("return", "search", "contact")


def random_log(seed: int, size: int = 700, users: int = 40, days: int = 100) -> list[Row]:
    """Users of different liveliness; lines land late, up to 40 days, and orders have lines on two days."""
    dice = random.Random(seed)  # noqa: S311 - the same log every time
    rows = []
    for number in range(size):
        back = int(days * dice.random())
        day = FIRST + timedelta(days=days - 1 - back)
        user, kind = f"u{int(users * dice.random() ** 2):02d}", dice.choice(KINDS)
        paid = kind in ("purchase", "return")
        rows.append(
            {
                "event_id": f"e{number}",
                "user_key": user,
                "event_type": kind,
                "event_ts": datetime(
                    day.year, day.month, day.day, dice.randrange(24), dice.randrange(3) * 20, tzinfo=UTC
                ),
                "event_date": day,
                "landing_date": day + timedelta(days=dice.choice((0, 0, 0, 0, 1, 3, 40))),
                "category": dice.choice(("tea", "mats", None)),
                "channel": dice.choice(("app", "web", None)),
                "order_id": f"{user} {day.toordinal() // 2}" if paid and dice.random() < 0.8 else None,
                "quantity": float(dice.randint(1, 3)) if paid else None,
                "unit_price": dice.choice((None, 0.1, 19.99, 7.005)) if paid else None,
            }
        )
    return rows


def late_beginnings(rows: list[Row], landed: date) -> list[Row]:
    """Lines that land on `landed` and change how users came: they tell of a day before the first or of the first one,
    before anything else was done there or in the same instant, by another name or by none. Every fifth user also looked
    around elsewhere before the first purchase, and bought there after it."""
    added = []
    for number, user in enumerate(sorted(users_of(rows))):
        own = sorted((r for r in rows if r["user_key"] == user), key=lambda r: (r["event_ts"], r["event_id"]))
        first = (of_type(own, "purchase") or own)[0] if number % 5 == 4 else own[0]
        day, midnight = first["event_date"], datetime.combine(first["event_date"], datetime.min.time(), UTC)
        named = {"channel": "web" if first["channel"] == "app" else "app", "category": "mats"}
        told = (
            named | {"event_date": day - timedelta(days=40), "event_ts": midnight - timedelta(days=40)},
            named | {"event_ts": midnight},
            named,
            {"channel": None, "category": None, "event_ts": midnight},
            named | {"event_ts": midnight},
        )[number % 5]
        late = {"event_id": f"{user} late", "order_id": None, "landing_date": max(landed, day)}
        kind = "view" if number % 5 == 4 or number % 2 else "purchase"
        added.append(first | late | {"event_type": kind} | told)
        if number % 5 == 4:
            bought = {"event_id": f"{user} later", "event_ts": midnight + timedelta(hours=23, minutes=59)}
            added.append(first | late | named | {"event_type": "purchase"} | bought)
    return rows + added


def order_of_lines(*days: date) -> list[Row]:
    """One order of a user of its own, a line on each of the days, which lands on it."""
    return [
        {
            "event_id": f"line of {day}",
            "user_key": "slow",
            "event_type": "purchase",
            "event_ts": datetime(day.year, day.month, day.day, 9, tzinfo=UTC),
            "event_date": day,
            "landing_date": day,
            "category": "tea",
            "channel": "web",
            "order_id": "in parts",
            "quantity": 1.0,
            "unit_price": 5.0,
        }
        for day in days
    ]


def members(rows: list[Row], segments: dict[str, str]) -> dict[tuple[str, str], list[Row]]:
    """The rows of each group, by kind and name."""
    asked: dict[str, Of] = {
        "all": lambda row: "all",
        "segment": lambda row: segments.get(row["user_key"]),
        "channel": lambda row: row["channel"],
        "category": lambda row: row["category"],
    }
    found: dict[tuple[str, str], list[Row]] = defaultdict(list)
    for row in rows:
        for kind, of in asked.items():
            name = of(row)
            if name is not None:
                found[kind, name].append(row)
    return found


def acted(rows: list[Row], as_of: date) -> list[Row]:
    return [row for row in rows if row["event_type"] not in DIALOGUE and row["event_date"] < as_of]


def money(row: Row) -> float:
    return (row["quantity"] or 0.0) * (row["unit_price"] or 0.0)


def of_type(rows: Iterable[Row], kind: str) -> list[Row]:
    return [row for row in rows if row["event_type"] == kind]


def order_days(rows: list[Row]) -> dict[str, list[date]]:
    """For each buyer the first day of every order, rising."""
    days: dict[tuple[str, str], date] = {}
    for row in of_type(rows, "purchase"):
        key = (row["user_key"], row["order_id"] or row["event_id"])
        days[key] = min(days.get(key, row["event_date"]), row["event_date"])
    found: dict[str, list[date]] = defaultdict(list)
    for (user, _), day in days.items():
        found[user].append(day)
    return {user: sorted(by_user) for user, by_user in found.items()}


def users_of(rows: Iterable[Row]) -> set[str]:
    return {row["user_key"] for row in rows}


def ratio(part: float, whole: float) -> float | None:
    return part / whole if whole else None


def funnel(rows: list[Row], viewed: list[Row]) -> tuple[set[str], set[str], set[str]]:
    """Of the views' users those who then put into the cart, who then bought, and who bought at all, within the days."""
    carted, bought, directly = set(), set(), set()
    by_user: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        by_user[row["user_key"]].append(row)
    for view in viewed:
        last = view["event_date"] + timedelta(days=FUNNEL_DAYS - 1)
        after = [r for r in by_user[view["user_key"]] if r["event_ts"] >= view["event_ts"] and r["event_date"] <= last]
        carts, purchases = of_type(after, "cart"), of_type(after, "purchase")
        if carts:
            carted.add(view["user_key"])
        if purchases:
            directly.add(view["user_key"])
        if any(p["event_ts"] >= c["event_ts"] for c in carts for p in purchases):
            bought.add(view["user_key"])
    return carted, bought, directly


def net_of(rows: list[Row]) -> dict[str, float]:
    found: dict[str, float] = defaultdict(float)
    for row in rows:
        found[row["user_key"]] += {"purchase": 1, "return": -1}.get(row["event_type"], 0) * money(row)
    return found


def period_metrics(log: list[Row], as_of: date, segments: dict[str, str]) -> dict[tuple[Any, ...], Row]:
    """By key what the contract of period_metrics says, without business_date."""
    found: dict[tuple[Any, ...], Row] = {}
    for (kind, name), rows in members(acted(log, as_of), segments).items():
        orders = order_days(rows)
        for unit in UNITS[1:] if kind == "category" else UNITS:
            start = period_start(unit, min(row["event_date"] for row in rows))
            before: list[Row] = []
            while (after := add_periods(unit, start, 1)) <= as_of:
                here = [row for row in rows if start <= row["event_date"] < after]
                found[unit, start, kind, name] = _period(rows, here, before, orders, unit, start, after, as_of)
                before, start = here, after
    return found


def _period(
    rows: list[Row],
    here: list[Row],
    before: list[Row],
    orders: dict[str, list[date]],
    unit: str,
    start: date,
    after: date,
    as_of: date,
) -> Row:
    active, active_before = users_of(here), users_of(before)
    known = users_of(row for row in rows if row["event_date"] < start)
    retained, lost = active & active_before, active_before - active
    views = of_type(here, "view")
    carted, bought, directly = funnel(rows, views)
    is_over = after + timedelta(days=FUNNEL_DAYS - 1) <= as_of
    viewers = users_of(views)
    purchases = of_type(here, "purchase")
    gross = sum(money(row) for row in purchases)
    returned = sum(money(row) for row in of_type(here, "return"))
    so_far = {user: [day for day in days if day < after] for user, days in orders.items()}
    buyers, repeaters = (sum(len(days) >= n for days in so_far.values()) for n in (1, 2))
    net, net_before = net_of(here), {user: net for user, net in net_of(before).items() if net > 1e-9}
    base = sum(net_before.values())
    kept = sum(net.get(user, 0.0) for user in net_before)
    capped = sum(min(net.get(user, 0.0), value) for user, value in net_before.items())
    days = len({(row["user_key"], row["event_date"]) for row in here})
    rolling = {
        n: users_of(row for row in rows if after - timedelta(days=n) <= row["event_date"] < after) for n in (7, 30)
    }
    is_day = unit == "day"
    sticky = len(active) / len(rolling[30]) if is_day and rolling[30] else None
    if not is_day and active:
        sticky = days / (after - start).days / len(active)
    return {
        "active_users": len(active),
        "new_users": len(active - known),
        "retained_users": len(retained),
        "resurrected_users": len((active & known) - active_before),
        "lost_users": len(lost),
        "churn_rate": ratio(len(lost), len(active_before)),
        "retention_rate": ratio(len(retained), len(active_before)),
        "active_days": days,
        "users_7d": len(rolling[7]) if is_day else None,
        "users_30d": len(rolling[30]) if is_day else None,
        "stickiness": sticky if active else None,
        "viewers": len(viewers),
        "funnel_carters": len(carted) if is_over else None,
        "funnel_buyers": len(bought) if is_over else None,
        "view_buyers": len(directly) if is_over else None,
        "view_to_cart": ratio(len(carted), len(viewers)) if is_over else None,
        "cart_to_purchase": ratio(len(bought), len(carted)) if is_over else None,
        "view_to_purchase": ratio(len(directly), len(viewers)) if is_over else None,
        "buyers": len(users_of(purchases)),
        "orders": len({(row["user_key"], row["order_id"] or row["event_id"]) for row in purchases}),
        "gross_revenue": gross,
        "returned_revenue": returned,
        "net_revenue": gross - returned,
        "buyers_so_far": buyers,
        "repeat_buyers_so_far": repeaters,
        "repurchase_rate": ratio(repeaters, buyers),
        "base_revenue": base,
        "gross_revenue_retention": ratio(capped, base),
        "net_revenue_retention": ratio(kept, base),
    }


def active_days(log: list[Row], as_of: date, basis: str) -> dict[str, list[date]]:
    rows = acted(log, as_of)
    found: dict[str, set[date]] = defaultdict(set)
    for row in of_type(rows, "purchase") if basis == "purchase" else rows:
        found[row["user_key"]].add(row["event_date"])
    return {user: sorted(days) for user, days in found.items()}


def came_by(log: list[Row], as_of: date, basis: str, column: str) -> dict[str, str]:
    """By which channel or category each user came: the first that is named on the first day."""
    rows = acted(log, as_of)
    named: dict[str, list[tuple[datetime, str]]] = defaultdict(list)
    firsts = {user: days[0] for user, days in active_days(log, as_of, basis).items()}
    for row in of_type(rows, "purchase") if basis == "purchase" else rows:
        if row["event_date"] == firsts[row["user_key"]] and row[column] is not None:
            named[row["user_key"]].append((row["event_ts"], row[column]))
    return {user: min(at)[1] for user, at in named.items()}


def cohorts(
    log: list[Row], as_of: date, basis: str, segments: dict[str, str]
) -> dict[tuple[str, str, str, date], dict[str, list[date]]]:
    """By unit, group and start the users of every ended cohort that is followed, with their days."""
    found: dict[tuple[str, str, str, date], dict[str, list[date]]] = defaultdict(dict)
    came = {column: came_by(log, as_of, basis, column) for column in ("channel", "category")}
    for user, days in active_days(log, as_of, basis).items():
        own = {"segment": segments.get(user)} | {column: by.get(user) for column, by in came.items()}
        for unit in UNITS:
            start = period_start(unit, days[0])
            oldest = add_periods(unit, period_start(unit, as_of - timedelta(days=1)), 1 - COHORTS[unit])
            if start < oldest or add_periods(unit, start, 1) > as_of:
                continue
            found[unit, "all", "all", start][user] = days
            for kind, name in own.items():
                if unit == "month" and name is not None:
                    found[unit, kind, name, start][user] = days
    return found


def cohort_retention(
    log: list[Row], as_of: date, segments: dict[str, str]
) -> dict[tuple[Any, ...], tuple[int, int, int]]:
    """By key: users of the cohort, those active in the period, those active in it or later."""
    found = {}
    for basis in ("activity", "purchase"):
        for (unit, *group, start), users in cohorts(log, as_of, basis, segments).items():
            number = 0
            while (after := add_periods(unit, start, number + 1)) <= as_of:
                begin = add_periods(unit, start, number)
                here = sum(any(begin <= day < after for day in days) for days in users.values())
                later = sum(days[-1] >= begin for days in users.values())
                found[basis, unit, *group, start, number] = (len(users), here, later)
                number += 1
    return found


def retention_windows(log: list[Row], as_of: date, segments: dict[str, str]) -> dict[tuple[Any, ...], tuple[int, int]]:
    """By key: users of the cohort, those active in the window."""
    found = {}
    for basis in ("activity", "purchase"):
        for (unit, *group, start), users in cohorts(log, as_of, basis, segments).items():
            for low, high in WINDOWS:
                if add_periods(unit, start, 1) - timedelta(days=1) + timedelta(days=high) < as_of:
                    ages = [{(day - days[0]).days for day in days} for days in users.values()]
                    seen = sum(bool(age & set(range(low, high + 1))) for age in ages)
                    found[basis, unit, *group, start, low, high] = (len(users), seen)
    return found


def repurchase_curves(
    log: list[Row], as_of: date, segments: dict[str, str], longest: int
) -> dict[tuple[Any, ...], Row]:
    """By key: buyers, at risk, repeats, and 1 - S(t) by its definition."""
    found = {}
    for (kind, name), rows in members(acted(log, as_of), segments).items():
        spells = [
            ((days[1] - days[0]).days, True) if len(days) > 1 else ((as_of - days[0]).days - 1, False)
            for days in order_days(rows).values()
        ]
        survival = 1.0
        for day in range(min(longest, max((n for n, _ in spells), default=-1)) + 1):
            at_risk = sum(length >= day for length, _ in spells)
            repeats = sum((length, ended) == (day, True) for length, ended in spells)
            survival *= 1 - repeats / at_risk
            found[kind, name, day] = {
                "buyers": len(spells),
                "at_risk": at_risk,
                "repeats": repeats,
                "repurchased": 1 - survival,
            }
    return found
