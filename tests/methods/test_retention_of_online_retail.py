"""Online Retail's retention is what DuckDB counts from the landed files by SQL that shares nothing with ours.

The shop logs neither channel nor category. The buyer's country stands for the one and the stock code's first character
for the other: an invoice has many lines in one instant, so how a buyer came is often decided by name.
"""

from __future__ import annotations

from datetime import date, timedelta
from pathlib import Path
from typing import Any

import duckdb
import pytest

from rekindle.contract import conform, frame
from rekindle.methods import retention
from rekindle.methods.retention_cohorts import cohort_retention
from rekindle.methods.retention_days import user_days
from rekindle.methods.retention_period_metrics import largest_groups, period_metrics
from rekindle.methods.retention_repurchase import repurchase_curves
from schemas.cohort_retention import COHORT_RETENTION
from schemas.events import EVENTS
from schemas.period_metrics import PERIOD_METRICS
from schemas.repurchase_curves import REPURCHASE_CURVES

SHOP = Path(__file__).resolve().parents[3] / "shared/data/online-retail"
pytestmark = pytest.mark.skipif(not SHOP.is_dir(), reason="../shared/data does not lie beside the clone")

LINES = """
CREATE TABLE lines AS
SELECT row_number() OVER () AS n, CustomerID AS u, InvoiceNo AS o, CAST(InvoiceDate AS DATE) AS d, InvoiceDate AS ts,
       InvoiceNo LIKE 'C%' OR Quantity < 0 AS back, abs(Quantity) AS q, UnitPrice AS price,
       Country AS channel, StockCode[1] AS category
FROM read_csv([{files}], types = {{'InvoiceNo': 'VARCHAR', 'StockCode': 'VARCHAR', 'CustomerID': 'VARCHAR'}})
WHERE CustomerID IS NOT NULL
"""
# Rounded: of who returned all he bought, doubles left 1e-14, and so a spender (week of 11 April 2011, 0.0001 of its
# revenue retention).
PERIODS = """
WITH money AS (SELECT *, date_trunc('{unit}', d) AS p, CASE WHEN back THEN 0 ELSE q * price END AS bought,
                      CASE WHEN back THEN q * price ELSE 0 END AS returned FROM lines),
     users AS (SELECT u, p, sum(bought) AS bought, sum(returned) AS returned, round(sum(bought - returned), 6) AS net,
                      count(DISTINCT o) FILTER (NOT back) AS orders FROM money GROUP BY ALL),
     began AS (SELECT u, min(p) AS first FROM users GROUP BY u),
     here AS (SELECT p, count(*) AS active, sum(CASE WHEN p = first THEN 1 ELSE 0 END) AS new, sum(orders) AS orders,
                     count(*) FILTER (orders > 0) AS buyers, sum(bought) AS gross, sum(returned) AS returned
              FROM users JOIN began USING (u) GROUP BY p),
     pairs AS (SELECT a.p + INTERVAL 1 {unit} AS p, count(b.u) AS retained, count(*) - count(b.u) AS lost,
                      sum(a.net) FILTER (a.net > 0) AS base, sum(coalesce(b.net, 0)) FILTER (a.net > 0) AS kept,
                      sum(least(coalesce(b.net, 0), a.net)) FILTER (a.net > 0) AS capped
               FROM users a LEFT JOIN users b ON a.u = b.u AND b.p = a.p + INTERVAL 1 {unit} GROUP BY 1)
SELECT CAST(p AS DATE), active, new, coalesce(retained, 0), coalesce(lost, 0), orders, buyers, gross, returned,
       coalesce(base, 0), coalesce(capped / base, -9), coalesce(kept / base, -9)
FROM here LEFT JOIN pairs USING (p) WHERE p + INTERVAL 1 {unit} <= DATE '{as_of}' ORDER BY 1
"""
COLUMNS = (
    *("active_users", "new_users", "retained_users", "lost_users", "orders", "buyers", "gross_revenue"),
    *("returned_revenue", "base_revenue", "gross_revenue_retention", "net_revenue_retention"),
)
COHORTS = """
WITH acts AS (SELECT * FROM lines WHERE {acted}),
     ranked AS (SELECT u, channel, category, min(ts) OVER (PARTITION BY u) = ts AS is_first FROM acts),
     of AS (SELECT DISTINCT u, 'all' AS kind, 'all' AS name FROM acts UNION ALL
            SELECT u, 'channel', min(channel) FROM ranked WHERE is_first GROUP BY u UNION ALL
            SELECT u, 'category', min(category) FROM ranked WHERE is_first GROUP BY u),
     months AS (SELECT DISTINCT u, date_trunc('month', d) AS m FROM acts),
     began AS (SELECT u, min(m) AS first FROM months GROUP BY u),
     sizes AS (SELECT kind, name, count(DISTINCT (u, date_trunc('month', d))) AS size FROM
               (SELECT u, d, 'channel' AS kind, channel AS name FROM lines UNION ALL
                SELECT u, d, 'category', category FROM lines) GROUP BY kind, name
               QUALIFY row_number() OVER (PARTITION BY kind ORDER BY size DESC, name) <= 3)
SELECT kind, name, CAST(first AS DATE), CAST(date_diff('month', first, m) AS INT), count(*)
FROM months JOIN began USING (u) JOIN of USING (u)
WHERE m + INTERVAL 1 month <= DATE '{as_of}' AND (kind = 'all' OR (kind, name) IN (SELECT (kind, name) FROM sizes))
GROUP BY ALL
"""
# S(t) = exp of the sum of ln(1 - d/n), t by t.
CURVE = """
WITH orders AS (SELECT u, o, min(d) AS d FROM lines WHERE NOT back GROUP BY ALL),
     placed AS (SELECT u, d, lead(d) OVER w AS second, row_number() OVER w AS k FROM orders
                WINDOW w AS (PARTITION BY u ORDER BY d, o)),
     spells AS (SELECT date_diff('day', d, coalesce(second, DATE '{as_of}' - 1)) AS days, second IS NOT NULL AS ended
                FROM placed WHERE k = 1),
     told AS (SELECT t, count(*) FILTER (days >= t) AS n, count(*) FILTER (days = t AND ended) AS d
              FROM spells, range(0, 60) r(t) GROUP BY t)
SELECT t, n, d, 1 - exp(sum(ln(1 - d / n)) OVER (ORDER BY t)) FROM told WHERE n > 0 ORDER BY t
"""


@pytest.mark.parametrize("months", [2, pytest.param(9, marks=pytest.mark.long)])
def test_a_real_shops_retention_is_that_of_plain_sql(spark: Any, tmp_path: Path, months: int) -> None:
    as_of = date(2010 + (11 + months) // 12, (11 + months) % 12 + 1, 1)
    files = [p for p in sorted(SHOP.glob("*.csv")) if p.stem < as_of.isoformat()]
    with duckdb.connect() as engine:
        engine.execute(LINES.format(files=", ".join(f"'{p}'" for p in files)))
        told = dict.fromkeys(EVENTS.names, "NULL") | {
            **{
                "event_id": "'e' || n",
                "user_key": "u",
                "event_type": "CASE WHEN back THEN 'return' ELSE 'purchase' END",
            },
            **{"event_ts": "ts::TIMESTAMPTZ", "event_date": "d", "landing_date": "d", "order_id": "o"},
            **{"quantity": "q::DOUBLE", "unit_price": "price::DOUBLE", "channel": "channel", "category": "category"},
        }
        path = tmp_path / "lines.parquet"
        engine.execute("SET TimeZone = 'UTC'")
        chosen = ", ".join(f"{told[c]} AS {c}" for c in EVENTS.names if told[c] != "NULL")
        engine.execute(f"COPY (SELECT {chosen} FROM lines) TO '{path}' (FORMAT parquet)")
        periods = {u: engine.execute(PERIODS.format(unit=u, as_of=as_of)).fetchall() for u in ("week", "month")}
        acted = {"activity": "true", "purchase": "NOT back"}
        cells = {b: engine.execute(COHORTS.format(as_of=as_of, acted=sql)).fetchall() for b, sql in acted.items()}
        curve = engine.execute(CURVE.format(as_of=as_of)).fetchall()

    events = frame(spark, EVENTS).unionByName(spark.read.parquet(str(path)), allowMissingColumns=True)
    every = {"day": 1, "week": 100, "month": 100}
    counted = retention.count(user_days(events), None, None, as_of, 7, ((1, 7),), every)
    sums, counts = counted.sums.persist(), counted.cells.persist()
    night = as_of - timedelta(days=1)

    told = conform(period_metrics(sums, largest_groups(sums, 1), as_of, night, 7, every), PERIOD_METRICS)
    found = told.where("group_kind = 'all'").collect()
    ours = {(row.period_unit, row.period_start): row for row in found if row.period_unit != "day" and row.active_users}
    assert [r.period_start for r in found if not r.active_users and r.period_unit == "week"] == [date(2010, 12, 27)]
    assert len(ours) == sum(map(len, periods.values()))
    for unit, rows in periods.items():
        for start, *figures in rows:
            row = ours[unit, start]
            mine = [-9 if row[name] is None else row[name] for name in COLUMNS]
            assert mine == pytest.approx(figures, abs=1e-6), (unit, start)

    groups = largest_groups(sums, 3)
    cohorts = conform(cohort_retention(counts, groups, as_of, night), COHORT_RETENTION)
    months_told = cohorts.where("period_unit = 'month' AND active_users > 0").collect()
    for basis, counted_by_sql in cells.items():
        assert {
            (row.group_kind, row.group_name, row.cohort_start, row.period_number, row.active_users)
            for row in months_told
            if row.basis == basis
        } == set(counted_by_sql)
        assert len({row[:2] for row in counted_by_sql}) == 7, "all, three countries and three first characters"

    curves = repurchase_curves(counts, groups.where("group_kind = 'all'"), as_of, night, 59)
    second = conform(curves, REPURCHASE_CURVES).collect()
    steps = {r.day_number: (r.at_risk, r.repeats, r.repurchased) for r in second}
    assert len(steps) == len(curve)
    for day, *step in curve:
        assert steps[day] == pytest.approx(step, abs=1e-9), day
