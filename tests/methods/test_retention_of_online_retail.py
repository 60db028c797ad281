"""Online Retail's retention is what DuckDB counts from the landed files by SQL that shares nothing with ours."""

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
       InvoiceNo LIKE 'C%' OR Quantity < 0 AS back, abs(Quantity) AS q, UnitPrice AS price
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
WITH months AS (SELECT DISTINCT u, date_trunc('month', d) AS m FROM lines WHERE NOT back),
     began AS (SELECT u, min(m) AS first, max(m) AS last FROM months GROUP BY u)
SELECT CAST(first AS DATE), CAST(date_diff('month', first, m) AS INT), count(*) FROM months JOIN began USING (u)
WHERE m + INTERVAL 1 month <= DATE '{as_of}' GROUP BY ALL
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
            **{"quantity": "q::DOUBLE", "unit_price": "price::DOUBLE"},
        }
        path = tmp_path / "lines.parquet"
        engine.execute("SET TimeZone = 'UTC'")
        chosen = ", ".join(f"{told[c]} AS {c}" for c in EVENTS.names if told[c] != "NULL")
        engine.execute(f"COPY (SELECT {chosen} FROM lines) TO '{path}' (FORMAT parquet)")
        periods = {u: engine.execute(PERIODS.format(unit=u, as_of=as_of)).fetchall() for u in ("week", "month")}
        cells = engine.execute(COHORTS.format(as_of=as_of)).fetchall()
        curve = engine.execute(CURVE.format(as_of=as_of)).fetchall()

    events = frame(spark, EVENTS).unionByName(spark.read.parquet(str(path)), allowMissingColumns=True)
    every = {"day": 1, "week": 100, "month": 100}
    counted = retention.count(user_days(events), None, None, as_of, 7, ((1, 7),), every)
    sums, counts = counted.sums.persist(), counted.cells.persist()
    night = as_of - timedelta(days=1)

    found = conform(period_metrics(sums, as_of, night, 7, every, 1), PERIOD_METRICS).collect()
    ours = {(row.period_unit, row.period_start): row for row in found if row.period_unit != "day" and row.active_users}
    assert [r.period_start for r in found if not r.active_users and r.period_unit == "week"] == [date(2010, 12, 27)]
    assert len(ours) == sum(map(len, periods.values()))
    for unit, rows in periods.items():
        for start, *figures in rows:
            row = ours[unit, start]
            mine = [-9 if row[name] is None else row[name] for name in COLUMNS]
            assert mine == pytest.approx(figures, abs=1e-6), (unit, start)

    cohorts = conform(cohort_retention(counts, as_of, night), COHORT_RETENTION)
    bought = cohorts.where("basis = 'purchase' AND period_unit = 'month' AND active_users > 0").collect()
    assert {(r.cohort_start, r.period_number, r.active_users) for r in bought} == set(cells)

    second = conform(repurchase_curves(counts, largest_groups(sums, 1), as_of, night, 59), REPURCHASE_CURVES).collect()
    steps = {r.day_number: (r.at_risk, r.repeats, r.repurchased) for r in second}
    assert len(steps) == len(curve)
    for day, *step in curve:
        assert steps[day] == pytest.approx(step, abs=1e-9), day
