"""How users stay: cohorts, mean curves, periods and the second purchase, as the tables of retention tell."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from typing import Any

from report.asking import Ask

Rows = list[dict[str, Any]]
PERIODS = 12  # newest cohorts and periods of a heat map
CURVE = 26
WEEKS, DAYS = 12, 60
GROUPS = 8  # largest of each kind
CAME_BY, FIRST_MONTHS = 5, 3  # largest of each kind by how users came, and months after the first
# (what counts, length of a period) of the heat maps, in the order of the page.
MAPS = (("activity", "week"), ("purchase", "month"))
AT_DAYS = (30, 60, 90)


@dataclass(frozen=True)
class HeatMap:
    """Retention of the newest cohorts: `cells` by (cohort, period number)."""

    basis: str
    unit: str
    cohorts: list[tuple[date, int]]
    numbers: list[int]
    cells: dict[tuple[date, int], dict[str, Any]]


@dataclass(frozen=True)
class Staying:
    """What is shown of how users stay.

    Attributes:
        maps: heat maps that have cohorts. curves: rows of retention_curves by (basis, unit).
        windows: n-m retention over all cohorts whose window ended, by basis and window.
        days: the newest days of everybody, oldest first; weeks, months: so too.
        groups: the newest ended week by group, largest first, by kind.
        came_by: the first months after the first action by the channel and the category by which users came, everybody
            first, then the largest of each kind; empty where nobody came by any.
        repurchase: the curve of everybody, oldest day first; `repurchase_groups` a row a group.
    """

    maps: list[HeatMap]
    curves: dict[tuple[str, str], Rows]
    windows: Rows
    days: Rows
    weeks: Rows
    months: Rows
    groups: dict[str, Rows]
    came_by: Rows
    repurchase: Rows
    repurchase_groups: Rows

    @property
    def last_week(self) -> dict[str, Any] | None:
        """The newest ended week."""
        return self.weeks[-1] if self.weeks else None


def heat_map(ask: Ask, basis: str, unit: str) -> HeatMap | None:
    """The newest cohorts of a kind; None where there are none."""
    rows = ask.rows(
        "SELECT cohort_start, period_number, cohort_users, active_users, retention FROM serve.cohort_retention"
        " WHERE run_id = %(run)s AND basis = %(basis)s AND period_unit = %(unit)s AND group_kind = 'all'"
        " AND period_number < %(periods)s"
        " AND cohort_start IN (SELECT DISTINCT cohort_start FROM serve.cohort_retention WHERE run_id = %(run)s"
        " AND basis = %(basis)s AND period_unit = %(unit)s AND group_kind = 'all' ORDER BY 1 DESC LIMIT %(periods)s)"
        " ORDER BY cohort_start, period_number",
        basis=basis,
        unit=unit,
        periods=PERIODS,
    )
    if not rows:
        return None
    cohorts = {row["cohort_start"]: row["cohort_users"] for row in rows}
    numbers = sorted({row["period_number"] for row in rows})
    cells = {(row["cohort_start"], row["period_number"]): row for row in rows}
    return HeatMap(basis, unit, list(cohorts.items()), numbers, cells)


def newest(ask: Ask, unit: str, most: int) -> Rows:
    """The newest periods of everybody, oldest first."""
    rows = ask.rows(
        "SELECT * FROM serve.period_metrics WHERE run_id = %(run)s AND period_unit = %(unit)s AND group_kind = 'all'"
        " ORDER BY period_start DESC LIMIT %(most)s",
        unit=unit,
        most=most,
    )
    return rows[::-1]


def by_group(ask: Ask) -> dict[str, Rows]:
    """The newest ended week of each group, the largest groups of a kind first; a segment by its name of tonight."""
    names = (
        "LEFT JOIN serve.segments s ON s.run_id = p.run_id AND p.group_kind = 'segment' AND s.segment_id = p.group_name"
        if ask.has("segments")
        else "CROSS JOIN (SELECT NULL::text AS name, NULL::text[] AS name_parts) s"
    )
    rows = ask.rows(
        "SELECT * FROM (SELECT p.*, s.name AS segment_name, s.name_parts,"  # noqa: S608 - our own names
        " row_number() OVER (PARTITION BY p.group_kind ORDER BY p.active_users DESC, p.group_name) AS place"
        f" FROM serve.period_metrics p {names} WHERE p.run_id = %(run)s AND p.period_unit = 'week'"
        " AND p.group_kind <> 'all' AND p.period_start = (SELECT max(period_start) FROM serve.period_metrics"
        " WHERE run_id = %(run)s AND period_unit = 'week' AND group_kind = 'all')) t WHERE place <= %(most)s"
        " ORDER BY group_kind DESC, place",
        most=GROUPS,
    )
    found: dict[str, Rows] = {}
    for row in rows:
        found.setdefault(row["group_kind"], []).append(row)
    return found


def came_by(ask: Ask) -> Rows:
    """Mean retention of the first months by how users came: everybody, the largest channels, the largest categories.

    A row has `users`, those of all ended monthly cohorts, and `months`, the share active so many months later by
    number. Segments are left out: they are tonight's, and who has left is in one of those who have.
    """
    rows = ask.rows(
        "SELECT * FROM (SELECT group_kind, group_name, max(cohort_users) FILTER (WHERE period_number = 0) AS users,"
        " jsonb_object_agg(period_number, retention) AS months, row_number() OVER (PARTITION BY group_kind"
        " ORDER BY max(cohort_users) FILTER (WHERE period_number = 0) DESC, group_name) AS place"
        " FROM serve.retention_curves WHERE run_id = %(run)s AND basis = 'activity' AND period_unit = 'month'"
        " AND group_kind <> 'segment' AND period_number <= %(months)s GROUP BY 1, 2) t WHERE place <= %(most)s"
        " ORDER BY group_kind <> 'all', group_kind DESC, place",
        months=FIRST_MONTHS,
        most=CAME_BY,
    )
    return rows if any(row["group_kind"] != "all" and "1" in row["months"] for row in rows) else []


def read(ask: Ask) -> Staying | None:
    """Tonight's tables of retention; None where the run has none of them."""
    if not ask.has("cohort_retention", "retention_curves", "period_metrics", "repurchase_curves"):
        return None
    curves: dict[tuple[str, str], Rows] = {}
    for row in ask.rows(
        "SELECT basis, period_unit, period_number, cohorts, cohort_users, active_users, retention,"
        " unbounded_retention FROM serve.retention_curves WHERE run_id = %(run)s AND group_kind = 'all'"
        " AND period_number <= %(most)s"
        " ORDER BY basis, period_unit, period_number",
        most=CURVE,
    ):
        curves.setdefault((row["basis"], row["period_unit"]), []).append(row)
    windows = (
        ask.rows(
            "SELECT basis, first_day, last_day, sum(cohort_users)::bigint AS cohort_users,"
            " sum(active_users)::bigint AS active_users,"
            " sum(active_users)::double precision / sum(cohort_users) AS retention FROM serve.retention_windows"
            " WHERE run_id = %(run)s AND period_unit = 'week' AND group_kind = 'all' GROUP BY 1, 2, 3 ORDER BY 1, 2, 3"
        )
        if ask.has("retention_windows")
        else []
    )
    return Staying(
        maps=[found for basis, unit in MAPS if (found := heat_map(ask, basis, unit)) is not None],
        curves=curves,
        windows=windows,
        days=newest(ask, "day", DAYS),
        weeks=newest(ask, "week", WEEKS),
        months=newest(ask, "month", WEEKS),
        groups=by_group(ask),
        came_by=came_by(ask),
        repurchase=ask.rows(
            "SELECT day_number, buyers, at_risk, repeats, repurchased, repurchased_low, repurchased_high, median_days"
            " FROM serve.repurchase_curves WHERE run_id = %(run)s AND group_kind = 'all' ORDER BY day_number"
        ),
        repurchase_groups=ask.rows(
            "SELECT group_kind, group_name, max(buyers) AS buyers, max(median_days) AS median_days,"
            " max(repurchased) FILTER (WHERE day_number <= 30) AS by_30,"
            " max(repurchased) FILTER (WHERE day_number <= 60) AS by_60,"
            " max(repurchased) FILTER (WHERE day_number <= 90) AS by_90, max(day_number) AS followed_days"
            " FROM serve.repurchase_curves WHERE run_id = %(run)s GROUP BY 1, 2"
            " ORDER BY group_kind <> 'all', group_kind DESC, buyers DESC, group_name LIMIT %(most)s",
            most=1 + 2 * GROUPS,
        ),
    )
