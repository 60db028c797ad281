"""Retention is what plain Python counts from the same log, whether it is counted anew or night by night."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

import pytest

from rekindle.contract import Table, conform, frame
from rekindle.methods import retention
from rekindle.methods.retention_cohorts import cohort_retention, retention_curves, retention_windows
from rekindle.methods.retention_days import user_days
from rekindle.methods.retention_period_metrics import largest_groups, period_metrics
from rekindle.methods.retention_periods import GROUP_KINDS
from rekindle.methods.retention_repurchase import repurchase_curves
from schemas.cohort_retention import COHORT_RETENTION
from schemas.events import EVENTS
from schemas.period_counts import PERIOD_COUNTS
from schemas.period_metrics import PERIOD_METRICS
from schemas.repurchase_curves import REPURCHASE_CURVES
from schemas.retention_counts import RETENTION_COUNTS
from schemas.retention_curves import RETENTION_CURVES
from schemas.retention_windows import RETENTION_WINDOWS
from schemas.user_days import USER_DAYS
from tests.methods import retention_story as story

NIGHTS = (date(2026, 3, 2), date(2026, 4, 10))  # the second builds on one of five weeks before
AS_OF = NIGHTS[-1] + timedelta(days=1)
TOLD = {"day": 40, "week": 100, "month": 100}
JANUARY, SATURDAY = date(2026, 1, 1), date(2026, 3, 28)
LONGEST = 60
COUNTS = ("cohort_users", "active_users", "active_or_later_users")


def segments(night: int) -> dict[str, str]:
    """Some users are in none, and some move."""
    named = {f"u{n:02d}": f"s{(n + (night if n % 5 == 0 else 0)) % 3}" for n in range(40)}
    return {user: name for user, name in named.items() if (int(user[1:]) + night) % 7}


def rows(table: Table, df: Any) -> dict[tuple[Any, ...], dict[str, Any]]:
    found = [row.asDict() for row in conform(df, table).collect()]
    keyed = {tuple(row[k] for k in table.key): row for row in found}
    assert len(keyed) == len(found)
    return keyed


def log_of(seed: int) -> list[story.Row]:
    """A log whose late lines change days that were counted, and how users came; of the last order's lines the second
    comes long after the first, in the same month."""
    log = story.late_beginnings(story.random_log(seed), date(2026, 3, 20))
    return [*log, *story.order_of_lines(date(2026, 3, 1), date(2026, 3, 20))]


LOG = log_of(8)


@dataclass
class Shop:
    """What each of the nights made of the log, and what the last one makes of all of it at once."""

    nights: list[tuple[dict[Any, Any], dict[Any, Any]]]
    anew: tuple[dict[Any, Any], dict[Any, Any]]
    sums: Any
    cells: Any


@pytest.fixture(scope="module")
def shop(_session: Any) -> Shop:
    return counted_in_both_ways(_session, LOG)


def counted_in_both_ways(session: Any, log: list[story.Row]) -> Shop:
    """Night by night, and all at once."""

    def days(low: date | None, high: date) -> Any:
        landed = [r for r in log if (low is None or low < r["landing_date"]) and r["landing_date"] <= high]
        return conform(user_days(frame(session, EVENTS, *landed)), USER_DAYS).localCheckpoint()

    def counted(added: Any, known: retention.Known | None, number: int) -> tuple[Any, Any]:
        told = session.createDataFrame(sorted(segments(number).items()), "user_key string, segment_id string")
        as_of = NIGHTS[number] + timedelta(days=1)
        made = retention.count(added, known, told, as_of, story.FUNNEL_DAYS, story.WINDOWS, story.COHORTS)
        sums, cells = made.sums.localCheckpoint(), made.cells.localCheckpoint()
        made.release()
        return conform(sums, PERIOD_COUNTS), conform(cells, RETENTION_COUNTS)

    found = []
    known, last = None, None
    for number, night in enumerate(NIGHTS):
        added = days(last, night)
        sums, cells = counted(added, known, number)
        found.append((rows(PERIOD_COUNTS, sums), rows(RETENTION_COUNTS, cells)))
        told = session.createDataFrame(sorted(segments(number).items()), "user_key string, segment_id string")
        known, last = retention.Known(days(None, night), sums, cells, told), night
    # All at once in another order, with what had not happened by then.
    seen = sorted(
        (r for r in log if r["landing_date"] <= NIGHTS[-1]), key=lambda r: (r["unit_price"] or 0, r["event_id"])
    )
    future = [r | {"event_id": f"{r['event_id']} later", "event_date": AS_OF} for r in seen[::9]]
    sums, cells = counted(user_days(frame(session, EVENTS, *future, *seen)), None, len(NIGHTS) - 1)
    anew = (rows(PERIOD_COUNTS, sums), rows(RETENTION_COUNTS, cells))
    return Shop(found, anew, sums, cells)


def near(value: Any) -> Any:
    return pytest.approx(value, abs=1e-9) if isinstance(value, float) else value


def test_night_by_night_is_all_at_once_in_any_order_without_the_future(shop: Shop) -> None:
    late = [r for r in LOG if r["landing_date"] > NIGHTS[0] >= r["event_date"] and r["landing_date"] <= NIGHTS[1]]
    assert len(late) > 20, "days that were counted are touched again"
    moved = {u for u, name in segments(0).items() if segments(1).get(u) != name}
    assert len(moved) > 5, "users change their segment"
    for basis in ("activity", "purchase"):
        for column in ("channel", "category"):
            before, after = (
                story.came_by([r for r in LOG if r["landing_date"] <= night], night, basis, column) for night in NIGHTS
            )
            changed = [user for user, name in before.items() if after.get(user) != name]
            assert len(changed) > 2, f"late lines change the {column} by which users came ({basis})"
    assert shop.nights[-1] == shop.anew


@pytest.mark.long
@pytest.mark.parametrize("seed", range(1, 6))
def test_any_log_is_counted_alike_night_by_night_all_at_once_and_user_by_user(spark: Any, seed: int) -> None:
    log = log_of(seed)
    shop = counted_in_both_ways(spark, log)
    assert shop.nights[-1] == shop.anew
    cohorts = cohort_retention(shop.cells, largest_groups(shop.sums, 10), AS_OF, NIGHTS[-1])
    found = {key: tuple(row[c] for c in COUNTS) for key, row in rows(COHORT_RETENTION, cohorts).items()}
    landed = [row for row in log if row["landing_date"] <= NIGHTS[-1]]
    assert found == story.cohort_retention(landed, AS_OF, segments(len(NIGHTS) - 1))


def test_periods_are_what_is_counted_event_by_event(shop: Shop) -> None:
    landed = [row for row in LOG if row["landing_date"] <= NIGHTS[-1]]
    told = period_metrics(shop.sums, largest_groups(shop.sums, 10), AS_OF, NIGHTS[-1], story.FUNNEL_DAYS, TOLD)
    found = rows(PERIOD_METRICS, told)
    expected = {
        key: row
        for key, row in story.period_metrics(landed, AS_OF, segments(len(NIGHTS) - 1)).items()
        if key[0] != "day" or key[1] >= AS_OF - timedelta(days=TOLD["day"])
    }
    assert set(found) == set(expected)
    for key, row in expected.items():
        given = {name: found[key][name] for name in row}
        assert given == {name: near(value) for name, value in row.items()}, key
    assert {kind for _, _, kind, _ in found} == {"all", "segment", "channel", "category"}
    assert any(row["resurrected_users"] for row in found.values())
    assert any((row["gross_revenue_retention"] or 0) < 0 for row in found.values()), "more returned than bought"


def test_cohorts_windows_and_their_means_are_what_is_counted_user_by_user(shop: Shop) -> None:
    landed = [row for row in LOG if row["landing_date"] <= NIGHTS[-1]]
    groups, tonight = largest_groups(shop.sums, 10), segments(len(NIGHTS) - 1)
    cohorts = cohort_retention(shop.cells, groups, AS_OF, NIGHTS[-1]).localCheckpoint()
    found = rows(COHORT_RETENTION, cohorts)
    expected = story.cohort_retention(landed, AS_OF, tonight)
    assert {key: tuple(row[c] for c in COUNTS) for key, row in found.items()} == expected
    for key, row in found.items():
        users, active, later = expected[key]
        before = expected[(*key[:-1], key[-1] - 1)][1] if key[-1] else 0
        kept = active / before if before else None
        assert row["retention"] == active / users
        assert row["unbounded_retention"] == later / users
        assert (row["period_over_period"], row["attrition"]) == (kept, None if kept is None else near(1 - kept))
        gone = any(expected[(*key[:-1], n)][1] == 0 for n in range(key[-1]))
        assert row["product_retention"] == (None if gone else pytest.approx(active / users, abs=1e-12))
    windows = rows(RETENTION_WINDOWS, retention_windows(shop.cells, groups, AS_OF, NIGHTS[-1], story.WINDOWS))
    seen = {key: (row["cohort_users"], row["active_users"]) for key, row in windows.items()}
    assert seen == story.retention_windows(landed, AS_OF, tonight)
    for key, row in rows(RETENTION_CURVES, retention_curves(cohorts)).items():
        mine = [value for other, value in expected.items() if (*other[:4], other[5]) == key]
        weights = [users for users, _, _ in mine]
        mean = sum(users * (active / users) for users, active, _ in mine) / sum(weights)
        assert (row["cohorts"], row["cohort_users"]) == (len(mine), sum(weights))
        assert row["retention"] == pytest.approx(mean)
    assert {kind for _, _, kind, *_ in found} == set(GROUP_KINDS)
    assert {unit for _, unit, kind, *_ in found if kind != "all"} == {"month"}
    few = cohort_retention(shop.cells, largest_groups(shop.sums, 1), AS_OF, NIGHTS[-1])
    told = few.where("group_kind <> 'all'").select("group_kind", "group_name").distinct().collect()
    assert sorted(row.group_kind for row in told) == sorted(GROUP_KINDS[1:]), "the largest of each kind"


def test_second_orders_come_as_the_product_over_those_still_waiting_says(shop: Shop) -> None:
    landed = [row for row in LOG if row["landing_date"] <= NIGHTS[-1]]
    groups = largest_groups(shop.sums, 10)
    found = rows(REPURCHASE_CURVES, repurchase_curves(shop.cells, groups, AS_OF, NIGHTS[-1], LONGEST))
    expected = story.repurchase_curves(landed, AS_OF, segments(len(NIGHTS) - 1), LONGEST)
    assert set(found) == set(expected)
    for key, row in expected.items():
        assert {name: found[key][name] for name in row} == {name: near(value) for name, value in row.items()}, key
        reached = [
            n for (kind, name, n), r in expected.items() if (kind, name) == key[:2] and r["repurchased"] > 0.4999
        ]
        assert found[key]["median_days"] == (min(reached) if reached else None)


def test_ninety_and_ninety_five_percent_make_eighty_five_and_a_half(spark: Any) -> None:
    """docs/definitions.md. A cohort that everybody left has no product from then on."""
    month, day = (("activity", unit, "all", "all", start) for unit, start in (("month", JANUARY), ("day", SATURDAY)))
    cells = [("active", *month, n, users) for n, users in enumerate((1000, 900, 855))]
    cells += [("last", *month, n, users) for n, users in enumerate((20, 80, 900))]
    cells += [("active", *day, n, users) for n, users in ((0, 2), (2, 1))]
    counts = spark.createDataFrame(cells, RETENTION_COUNTS.spark_schema())
    groups = spark.createDataFrame([("all", "all")], "group_kind string, group_name string")
    told = rows(COHORT_RETENTION, cohort_retention(counts, groups, date(2026, 4, 1), date(2026, 3, 31)))
    months = [told[(*month, n)] for n in range(3)]
    assert [row["period_over_period"] for row in months] == [None, 0.9, 0.95]
    assert [row["product_retention"] for row in months] == [1.0, 0.9, pytest.approx(0.855)]
    assert [row["retention"] for row in months] == [1.0, 0.9, 0.855]
    assert [row["unbounded_retention"] for row in months] == [1.0, 0.98, 0.9]
    days = [told[(*day, n)] for n in range(4)]
    assert [row["active_users"] for row in days] == [2, 0, 1, 0]
    assert [row["period_over_period"] for row in days] == [None, 0.0, None, 0.0]
    assert [row["product_retention"] for row in days] == [1.0, 0.0, None, None]


def test_the_curve_is_that_published_for_the_leukaemia_trial(spark: Any) -> None:
    """Freireich et al. (1963), 21 patients on 6-MP: survival as in Kleinbaum and Klein, Survival Analysis, ch. 2; the
    log-log intervals as R's survfit(conf.type = "log-log") prints them."""
    as_of = date(2026, 1, 1)
    relapsed, censored = (6, 6, 6, 7, 10, 13, 16, 22, 23), (6, 9, 10, 11, 17, 19, 20, 25, 32, 32, 34, 35)
    of = ("purchase", "day", "all", "all")
    cells = [("repeat", *of, date(1970, 1, 1), n, relapsed.count(n)) for n in sorted(set(relapsed))]
    cells += [("waiting", *of, as_of - timedelta(days=1 + n), 0, censored.count(n)) for n in sorted(set(censored))]
    counts = spark.createDataFrame(cells, RETENTION_COUNTS.spark_schema())
    groups = spark.createDataFrame([("all", "all")], "group_kind string, group_name string")
    found = rows(REPURCHASE_CURVES, repurchase_curves(counts, groups, as_of, as_of - timedelta(days=1), 180))
    assert len(found) == 36
    published = {
        6: (0.857, 0.620, 0.952),
        7: (0.807, 0.563, 0.923),
        10: (0.753, 0.503, 0.889),
        13: (0.690, 0.432, 0.849),
        16: (0.627, 0.368, 0.805),
        22: (0.538, 0.268, 0.747),
        23: (0.448, 0.188, 0.680),
    }
    for week, (survival, low, high) in published.items():
        row = found["all", "all", week]
        told = (1 - row["repurchased"], 1 - row["repurchased_high"], 1 - row["repurchased_low"])
        assert told == pytest.approx((survival, low, high), abs=0.0006), week
    assert found["all", "all", 5]["repurchased_low"] is None, "nobody has relapsed yet"
    assert {row["median_days"] for row in found.values()} == {23}
