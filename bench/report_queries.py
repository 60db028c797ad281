"""How long the report asks the warehouse of a shop with millions of users.

    python -m bench.report_queries USERS   (5000000: 12 GB of disk, 6 minutes)

The shop of the report's tests, whose last night is made so large: a row a user of risk, segments and profiles, as many
places in lists of ten items, and a fifth as many changes of each kind. All is removed at the end.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
import time
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

from rekindle import embedded, warehouse
from report import asking
from report.night import collect
from tests.publish.reported_shop import DAY, SOURCE, reported_shop
from tests.rekindle.conftest import local_environment

KEY = "encode(sha256(n::text::bytea), 'hex')"
CHANGE = {
    "change": "(ARRAY['moved', 'entered', 'left'])[n % 3 + 1]",
    "cause": "(ARRAY['behaviour', 'labels', 'model'])[n % 3 + 1]",
    "compared_date": f"date '{DAY - timedelta(days=1)}'",
}
# (share of the users, column by SQL of a user's number n and of p, a probability that n gives)
LARGE: dict[str, tuple[float, dict[str, str]]] = {
    "at_risk_users": (1, {
        "churn_probability": "p", "is_at_risk": "p >= 0.55", "recency_days": "n % 90", "frequency": "n % 7",
        "risk_band": "CASE WHEN p >= 0.75 THEN 'critical' WHEN p >= 0.55 THEN 'high' WHEN p >= 0.35 THEN 'medium'"
        " ELSE 'low' END",
        "reasons": "ARRAY['not seen for ' || n % 40 || ' days, is associated with leaving (+7 points)', 'no order']",
        "lowers_risk": "ARRAY['an order today is associated with 40% instead of 81%']", "monetary": "20 + n % 500",
        "value_at_stake": "10 + (n * 7919 % 100003) / 17.0", "value_at_stake_low": "1", "value_at_stake_high": "900",
        "expected_days_to_purchase": "12.4", "horizon_days": "21", "model_version": "repeat('c', 16)",
        "suggested_action": "(ARRAY['do_nothing', 'voucher', 'reminder'])[n % 3 + 1]",
    }),
    "user_segments": (1, {
        "segment_id": "'s00' || n % 8", "unsegmented_as": "CASE WHEN n % 9 = 0 THEN 'silent' END",
    }),
    "user_profiles": (1, {
        "frequency": "n % 7", "monetary": "10", "first_seen_date": f"date '{DAY}'", "active_days_7d": "1",
        "last_activity_date": f"date '{DAY}'", "active_days_30d": "2", "active_days_90d": "3", "life_cycle": "'active'",
        "current_streak_days": "1", "longest_streak_days": "1", "usual_hour_strength": "0.5", "usual_weekday": "1",
        "usual_weekday_share": "0.5", "stars_count": "0",
    }),
    "recommendations": (1, {
        "user_key": KEY.replace("n::", "(n / 10)::"), "rank": "n % 10 + 1", "item_id": "'item ' || n * 31 % 20000",
        "title": "'a title of some length, number ' || n % 20000", "category": "'category'", "last_price": "9.99",
        "score": "0.5", "reason": "'popular: 12 buyers in the last 28 days'", "place": "'by_score'", "propensity": "1",
        "candidate_source": "(ARRAY['als', 'popularity', 'item_neighbours', 'content'])[n % 4 + 1]",
        "model_version": "repeat('d', 16)",
    }),
    "segment_movements": (0.2, CHANGE | {"segment_before": "'s00' || n % 8", "segment_after": "'s00' || n % 7"}),
    "churn_changes": (0.2, CHANGE | {"band_before": "'low'", "band_after": "'high'"}),
    "list_changes": (0.2, CHANGE | {"item_before": "'i1'", "item_after": "'i2'"}),
}  # fmt: skip


def enlarge(conn: warehouse.Connection, run_id: str, users: int) -> None:
    """The run's rows of LARGE tables, and the vault's users, made anew; keys are checked once at the end of each."""
    conn.execute("SET maintenance_work_mem = '512MB'")
    conn.execute("ALTER TABLE vault.user_keys DROP CONSTRAINT user_keys_pkey")
    conn.execute(
        "INSERT INTO vault.user_keys (source, key_version, user_key, user_id, holdout_draw)"  # noqa: S608 - our own
        f" SELECT '{SOURCE}', 1, {KEY}, 'user ' || n, n * 7 % 1000 / 1000.0 FROM generate_series(1, {users}::bigint) n"
    )
    conn.execute(
        "ALTER TABLE vault.user_keys ADD CONSTRAINT user_keys_pkey PRIMARY KEY (source, key_version, user_key)"
    )
    for table, (share, made) in LARGE.items():
        columns = {"run_id": f"'{run_id}'", "source": f"'{SOURCE}'", "user_key": KEY, "business_date": f"date '{DAY}'"}
        columns |= made
        [[name, key]] = conn.execute(
            "SELECT conname, pg_get_constraintdef(oid) FROM pg_constraint"
            " WHERE conrelid = %s::regclass AND contype = 'p'",
            [f"serve.{table}"],
        ).fetchall()
        conn.execute(f"ALTER TABLE serve.{table} DROP CONSTRAINT {name}")
        conn.execute(f"DELETE FROM serve.{table} WHERE run_id = '{run_id}'")  # noqa: S608 - our own names
        conn.execute(
            f"INSERT INTO serve.{table} ({', '.join(columns)}) SELECT {', '.join(columns.values())}"  # noqa: S608
            f" FROM generate_series(1, {round(share * users)}::bigint) n"
            " CROSS JOIN LATERAL (SELECT (n * 37 % 1000) / 1000.0::float8 AS p) u"
        )
        conn.execute(f"ALTER TABLE serve.{table} ADD CONSTRAINT {name} {key}")
    conn.commit()
    for table in LARGE:
        warehouse.analyse(conn, "serve", table)
        conn.execute(f"SELECT count(t) FROM serve.{table} t WHERE run_id = '{run_id}'")  # noqa: S608 - staging reads them
    warehouse.analyse(conn, "vault", "user_keys")


def main(argv: Sequence[str]) -> None:
    [users] = (int(given) for given in argv)
    home = Path(tempfile.mkdtemp(prefix="rekindle-bench-"))
    home.chmod(0o711)
    took: list[tuple[float, str]] = []
    plain = asking.Ask.rows

    def rows(self: asking.Ask, statement: str, **values: Any) -> list[dict[str, Any]]:
        started = time.perf_counter()
        found = plain(self, statement, **values)
        took.append((time.perf_counter() - started, statement))
        return found

    try:
        embedded.start(home)
        (home / "shop").mkdir()
        shop = reported_shop(local_environment(home), home / "shop")
        with warehouse.connect(shop.settings, "owner") as conn:
            enlarge(conn, shop.runs[DAY].run_id, users)
        asking.Ask.rows = rows  # type: ignore[method-assign]
        for _ in range(2):
            took.clear()
            collect(shop.context())
            sys.stdout.write(f"{users} users: {len(took)} queries in {sum(each for each, _ in took):.1f} s\n")
        for seconds, statement in sorted(took, reverse=True)[:8]:
            sys.stdout.write(f"{seconds:8.2f} s  {statement[:90]}\n")
    finally:
        asking.Ask.rows = plain  # type: ignore[method-assign]
        embedded.stop(home)
        shutil.rmtree(home)


if __name__ == "__main__":
    main(sys.argv[1:])
