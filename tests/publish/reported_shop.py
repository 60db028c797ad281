"""A shop of 160 users with three published nights in a real warehouse, every served table with rows: what the report's
tests tell, and look at. Numbers are made by arithmetic: each night has others, and every rebuild the same."""

from __future__ import annotations

import json
import logging
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

from rekindle import publication, registry, settings, warehouse
from rekindle.cli import Context
from rekindle.contract import Table
from rekindle.ledger import (
    CheckRecord,
    FileFate,
    Fingerprint,
    LandedFile,
    Ledger,
    Model,
    ModelDecision,
    Run,
    RunKey,
    TableVersion,
)
from rekindle.methods.comparison import Comparison
from schemas.catalogue import SERVED
from tests.rekindle.warehouse_shop import batch, through

DAY = date(2026, 4, 30)
USERS = 160
ALL = {"group_kind": "all", "group_name": "all"}
SOURCE = "simulated_shop"
TITLES = ("Teapot <script>alert(1)</script>", "Mio Mango “dried” 200 g", "紫砂茶壶", "Cup & saucer")
BANDS = ((0.75, "critical"), (0.55, "high"), (0.35, "medium"), (0.0, "low"))
LOWERS = ["an order today is associated with 40% instead of 81%"]
PLAIN: dict[str, Any] = {
    "string": "x", "boolean": False, "int": 1, "bigint": 1, "double": 0.5, "date": DAY,
    "timestamp": datetime(2026, 4, 30, tzinfo=UTC), "array<string>": ["x"], "array<double>": [0.5],
}  # fmt: skip
Rows = list[dict[str, Any]]


def filled(table: Table, rows: Rows, day: date) -> Rows:
    """The rows with a value in every column that may not be null; business dates are the night's."""
    plain = {c.name: None if c.nullable else PLAIN[c.type] for c in table.columns}
    plain |= {name: day for name in ("business_date",) if name in plain}
    return [plain | row for row in rows]


def wave(n: int, night: int, size: float = 1.0) -> float:
    """A number in [0, size) that differs by user and night."""
    return ((n * 37 + night * 11) % 100) / 100 * size


def drawn(user_id: str) -> float:
    """A user's draw for the holdout."""
    return int(user_id.removeprefix("user ")) * 7 % USERS / USERS


def user(n: int) -> str:
    """A pseudonym."""
    return f"{n:08x}deadbeef"


def of_users(night: int, day: date) -> dict[str, Rows]:
    """Profiles, risk, lists and what changed of them."""
    watched = range(10 + night, USERS - 20)
    risk = []
    for n in watched:
        probability = wave(n, night)
        band = next(name for least, name in BANDS if probability >= least)
        risk.append(
            {
                "user_key": user(n), "churn_probability": probability, "is_at_risk": probability >= 0.55,
                "risk_band": band, "recency_days": 3.0 + n % 40, "frequency": 1 + n % 7, "monetary": 20.0 + n,
                "reasons": [
                    f"not seen for {2 + n % 40} days, is associated with leaving (+{5 + n % 9} points)",
                    "<b>usual</b> every 9",
                ],
                "lowers_risk": LOWERS if probability >= 0.55 else None,
                "value_at_stake": None if n % 11 == 0 else 10.0 + n * 1.25, "value_at_stake_low": 1.0,
                "value_at_stake_high": 900.0, "expected_days_to_purchase": 12.4, "horizon_days": 21,
                "suggested_action": ("do_nothing", "voucher", "reminder")[n % 3], "model_version": "c" * 16,
            }
        )  # fmt: skip
    compared = day - timedelta(days=1)
    bands = [name for _, name in BANDS]
    changes = [
        {
            "user_key": user(n), "change": "moved", "band_before": bands[n % 3], "band_after": bands[n % 3 + 1],
            "probability_before": 0.5, "probability_after": 0.4, "cause": ("behaviour", "labels", "model")[n % 3],
            "compared_date": compared,
        }
        for n in range(20, 31 + night)
    ]  # fmt: skip
    changes += [
        {"user_key": user(n), "change": "left", "band_before": "critical", "probability_before": 0.9,
         "cause": "behaviour", "compared_date": compared}
        for n in range(3 + night)
    ]  # fmt: skip
    items = [
        {
            "user_key": user(n), "rank": rank, "item_id": f"i{(n + rank) % 30}", "title": TITLES[(n + rank) % 4],
            "last_price": 2.5 * rank, "score": 1.0 / rank, "propensity": 1.0, "place": "by_score",
            "candidate_source": ("als", "popularity", "item_neighbours")[(n + rank) % 3],
            "reason": "popular: 12 buyers in the last 28 days", "model_version": "d" * 16,
        }
        for n in range(USERS - 5 - night)
        for rank in (1, 2, 3, 4)
    ]  # fmt: skip
    lists = [
        {"user_key": user(n), "change": "moved", "item_before": "i1", "item_after": "i2",
         "cause": ("behaviour", "rules")[n % 2], "compared_date": compared}
        for n in range(9 + night)
    ]  # fmt: skip
    return {
        "user_profiles": [{"user_key": user(n)} for n in range(USERS)],
        "at_risk_users": risk,
        "churn_changes": changes if night else [],
        "recommendations": items,
        "list_changes": lists if night else [],
        "suppressed_users": [
            {"user_key": user(n), "reason": ("consent", "contacted")[n % 2], "since": PLAIN["timestamp"]}
            for n in range(5)
        ],
        "outcomes": [
            {"outcome_id": f"o{n}", "fate": "event" if n else "quarantined", "rule": None if n else "unknown_user",
             "landing_date": day, "happened_at": PLAIN["timestamp"]}
            for n in range(13)
        ],
    }  # fmt: skip


def health(night: int, day: date) -> Rows:
    """What is watched of the probabilities; on the last night the calibration is off."""
    known = day - timedelta(days=21)
    figures = [
        ("calibration", "ece", 0.21 if night == 2 else 0.02, 0.1),
        ("base_rate", "share_that_left", 0.41 + night / 100, None),
        ("value", "tenth_10_said", 77.5, None),
        ("value", "tenth_10_came", 81.25, None),
        ("feature_drift", "views_30d", 0.01, 0.25),
    ]
    return [
        {"kind": kind, "name": name, "value": value, "alarm_above": limit, "known_as_of": known,
         "is_alarm": limit is not None and value > limit}
        for kind, name, value, limit in figures
    ]  # fmt: skip


def of_segments(night: int, day: date) -> dict[str, Rows]:
    """Segments of three methods, and who went where."""
    names = {
        "k_means": (["frequent_buyers", "lately_active"], ["rare_buyers", "lately_silent"], ["one_time_buyers"]),
        "bisecting": (["buyers"], ["hardly_buyers"]),
        "topics": (["tea", "cup"], ["toy", "game"]),
    }
    segments: Rows = []
    for method, found in names.items():
        for at, parts in enumerate(found):
            users = 30 + 7 * at + night
            segments.append(
                {
                    "segment_id": f"{ {'k_means': 's', 'bisecting': 'b', 'topics': 't'}[method]}{at + 1:03d}",
                    "method": method, "name": ", ".join(parts).replace("_", " "), "name_parts": parts,
                    "status": "new" if at == 2 and night == 2 else "kept", "users": users, "share": users / 120,
                    "users_before": users - 1, "users_entered": 3, "users_left": 2, "spend_90d": 1000.0 * (at + 1),
                    "spend_90d_mean": 1000.0 * (at + 1) / users, "value_at_stake": 55.5 * (at + 1),
                    "features": ["frequency", "days_since_activity"] if method != "topics" else parts,
                    "feature_means": [4.2, 17.0], "overall_means": [2.0, 9.0], "z_differences": [1.2, 0.8],
                    "stability": 0.91, "adjusted_rand": 0.97, "silhouette": 0.31, "highest_number": 9,
                    "fitted_date": day, "compared_date": day - timedelta(days=1) if night else None,
                }
            )  # fmt: skip
    moved = [
        {"user_key": user(n), "change": "moved", "segment_before": "s001", "segment_after": f"s00{2 + n % 2}",
         "name_before": "frequent buyers, lately active", "name_after": "rare buyers, lately silent",
         "cause": ("behaviour", "borders")[n % 2], "compared_date": day - timedelta(days=1)}
        for n in range(6 + night)
    ]  # fmt: skip
    members = [
        {"user_key": user(n), "segment_id": f"s00{1 + n % 3}" if n < 120 else None,
         "unsegmented_as": None if n < 120 else "silent"}
        for n in range(USERS)
    ]  # fmt: skip
    return {"segments": segments, "segment_movements": moved if night else [], "user_segments": members}


def cohort_rows(day: date) -> dict[str, Rows]:
    """Cohorts by week and month, their mean curves and windows, and the curve of second purchases."""
    cohorts: Rows = []
    monday = day - timedelta(days=day.weekday())
    starts = [("activity", "week", monday - timedelta(weeks=w), w) for w in range(1, 11)]
    starts += [("purchase", "month", date(2026, month, 1), 4 - month) for month in (1, 2, 3)]
    for basis, unit, start, ended in starts:
        whole = 40 + ended
        for number in range(ended):
            active = whole if number == 0 else max(0, whole // (1 + number) - number)
            cohorts.append(
                {
                    "basis": basis, "period_unit": unit, **ALL, "cohort_start": start, "period_number": number,
                    "cohort_users": whole, "active_users": active, "active_or_later_users": active,
                    "retention": active / whole, "unbounded_retention": active / whole,
                }
            )  # fmt: skip
    curves = [
        {
            "basis": basis, "period_unit": "week", **ALL, "period_number": number, "cohorts": 9 - number,
            "cohort_users": 40 * (9 - number), "active_users": 40 * (9 - number) // (1 + number),
            "active_or_later_users": 40 * (9 - number) // (1 + number), "retention": 1 / (1 + number),
            "unbounded_retention": min(1.0, 1.3 / (1 + number)),
        }
        for basis in ("activity", "purchase")
        for number in range(8)
    ]  # fmt: skip
    windows = [
        {
            "basis": basis, "period_unit": "week", **ALL, "cohort_start": monday - timedelta(weeks=w),
            "first_day": first, "last_day": last, "cohort_users": 40, "active_users": 30 - 2 * w,
            "retention": (30 - 2 * w) / 40,
        }
        for basis in ("activity", "purchase")
        for w in (6, 7)
        for first, last in ((1, 7), (8, 30))
    ]  # fmt: skip
    repurchase = [
        {
            "group_kind": kind, "group_name": name, "day_number": n, "buyers": 130, "at_risk": 130 - n, "repeats": 1,
            "median_days": 71 if kind == "channel" else None,
            "repurchased": n / 200, "repurchased_low": n / 230 if n else None,
            "repurchased_high": n / 180 if n else None,
        }
        for kind, name in (("all", "all"), ("channel", "web"))
        for n in range(91)
    ]  # fmt: skip
    grouped, means = came_by_rows()
    return {
        "cohort_retention": cohorts + grouped,
        "retention_curves": curves + means,
        "retention_windows": windows,
        "repurchase_curves": repurchase,
    }


def came_by_rows() -> tuple[Rows, Rows]:
    """Monthly cohorts of first actions by how users came, six channels among them, and their means."""
    names = [("all", "all"), *(("channel", f"shop {n}") for n in range(5)), ("channel", "小程序")]
    names += [("category", "tea <b>"), ("category", "玩具"), ("segment", "s001")]
    cohorts, means = [], []
    for place, (kind, name) in enumerate(names):
        group = {"basis": "activity", "period_unit": "month", "group_kind": kind, "group_name": name}
        users = {month: 300 // (1 + place) + 10 * month for month in (1, 2, 3)}
        for month, whole in users.items():
            for number in range(4 - month):
                counts = {"cohort_users": whole, "active_users": whole // (1 + number)}
                cohorts.append(
                    {
                        **group, **counts, "cohort_start": date(2026, month, 1), "period_number": number,
                        "active_or_later_users": whole, "retention": counts["active_users"] / whole,
                        "unbounded_retention": 1.0,
                    }
                )  # fmt: skip
        for number in range(3):
            whole = sum(users[month] for month in range(1, 4 - number))
            active = sum(users[month] // (1 + number) for month in range(1, 4 - number))
            means.append(
                {
                    **group, "period_number": number, "cohorts": 3 - number, "cohort_users": whole,
                    "active_users": active, "active_or_later_users": whole, "retention": active / whole,
                    "unbounded_retention": 1.0,
                }
            )  # fmt: skip
    return cohorts, means


def periods(day: date) -> Rows:
    """Days, weeks and months of everybody, and the last week by group."""
    monday = day - timedelta(days=day.weekday())
    spans = [("day", day - timedelta(days=n)) for n in range(30)]
    spans += [("week", monday - timedelta(weeks=w)) for w in range(1, 10)] + [
        ("month", date(2026, m, 1)) for m in (2, 3)
    ]
    rows = [told(unit, start, "all", "all", 3) for unit, start in spans]
    last = monday - timedelta(weeks=1)
    groups = {"channel": ("web", "app"), "category": ("tea <b>", "玩具"), "segment": ("s001", "s002")}
    return rows + [told("week", last, kind, name, 1) for kind, names in groups.items() for name in names]


def told(unit: str, start: date, kind: str, name: str, times: int) -> dict[str, Any]:
    """One row of period_metrics, by its first day."""
    seed = start.toordinal() % 17 + len(name)
    retained, new, resurrected, lost = 20 * times + seed, 5 + seed % 4, 3, 6 + seed % 5
    return {
        "period_unit": unit, "period_start": start, "group_kind": kind, "group_name": name,
        "active_users": retained + new + resurrected, "new_users": new, "retained_users": retained,
        "resurrected_users": resurrected, "lost_users": lost, "churn_rate": lost / (retained + lost),
        "retention_rate": retained / (retained + lost), "buyers": 8 + seed, "orders": 9 + seed,
        "gross_revenue": 310.25 + seed, "returned_revenue": 10.0, "net_revenue": 300.25 + seed,
        "repurchase_rate": 0.4, "view_to_cart": 0.3, "cart_to_purchase": 0.5, "view_to_purchase": 0.2,
        "gross_revenue_retention": 0.7, "net_revenue_retention": 0.9, "users_7d": 300, "users_30d": 700,
        "stickiness": 0.125,
    }  # fmt: skip


def rows_of(night: int, day: date) -> dict[Table, Rows]:
    """The night's rows of every served table, none of tables that the report does not read."""
    made = of_users(night, day) | of_segments(night, day) | cohort_rows(day)
    made |= {"period_metrics": periods(day), "churn_health": health(night, day)}
    return {table: filled(table, made.get(table.name, []), day) for table in SERVED}


def registered(artefacts: Path, run: Run, kind: str, method: str, metric: str, **beside: Any) -> str:
    """A model's artefact with its record; its digest."""
    against = Comparison("b" * 16, "baseline", metric, 0.8381, 0.72, 0.1181, 0.09, 0.14, 1902)
    record = registry.Record(
        kind, method, SOURCE, run.run_id, DAY - timedelta(days=30), "2026-04-09 to 2026-04-30", {},
        {metric: 0.8381}, {}, comparisons=[against],
    )  # fmt: skip
    files = {"model.json": method.encode(), registry.RECORD: record.to_json()}
    return registry.save(artefacts, files | {name: json.dumps(one).encode() for name, one in beside.items()})


JUDGED = {
    "threshold": {"probability": 0.27},
    "methods": [
        {"method": method, "group": group, "rows": 611, "base_rate": 0.41, "roc_auc": auc, "roc_auc_low": auc - 0.02,
         "roc_auc_high": auc + 0.02, "pr_auc": 0.77, "ece": 0.0211, "fit_seconds": 4.25}
        for method, auc in (("xgboost", 0.838), ("recency_logistic", 0.72))
        for group in ("all", "one_time_buyers")
    ],
    "curves": {
        "reliability": {"xgboost": [[61, n / 10, n / 10 + 0.01] for n in range(10)]},
        "roc": {"xgboost": [[n / 20, (n / 20) ** 0.5] for n in range(21)]},
    },
}  # fmt: skip


@dataclass(frozen=True)
class ReportedShop:
    """The shop's settings, and its runs by business date."""

    settings: settings.Settings
    runs: dict[date, Run]

    @property
    def ledger(self) -> Ledger:
        return Ledger(lambda: warehouse.connect(self.settings, "writer"))

    def context(self, day: date = DAY) -> Context:
        """As a job of that night would get it."""
        run = self.ledger.run(self.runs[day].run_id)
        return Context(self.settings, day, self.ledger, False, run, None, {}, logging.getLogger("report_night"))

    def rows(self, statement: str) -> list[tuple[Any, ...]]:
        """What an independent query finds."""
        with warehouse.connect(self.settings, "writer") as conn:
            return conn.execute(statement).fetchall()

    def publish(self, night: int, day: date) -> None:
        """One night as its stages leave it, the report apart."""
        ledger = self.ledger
        file = LandedFile(f"log-{day}.csv", day, f"{night}" * 64, 10, 1, 100 + night, 0, "accepted")
        ledger.add_files(SOURCE, [file])
        run = ledger.open_run(
            RunKey(f"r{night:016x}", SOURCE, day, "code", "conf", "ingest", 1, False), [file.sha256], {}
        )
        self.runs[day] = run
        with ledger.stage(run.run_id, "clean_events") as detail:
            detail |= {"spark_start_s": 0.0, "rules": {"malformed": 3 + night, "no_user": 2}}
        ledger.record_fates(run.run_id, [FileFate(file.sha256, 100 + night, 90, 5, 5 + night)])
        ledger.record_checks(
            run.run_id,
            "validate_outputs",
            [
                CheckRecord("events", "row_count", "critical", True, "1 or more", "121000"),
                CheckRecord("events", "share_views", "warning", night != 2, "0.5 to 0.99", "0.31 <i>"),
            ],
        )
        self.models(run)
        with warehouse.connect(self.settings, "writer") as conn:
            warehouse.add_user_keys(conn, SOURCE, 1, [(user(n), f"user {n}") for n in range(USERS)], drawn)
            conn.commit()
            held: dict[str, Fingerprint] = {}
            for table, rows in rows_of(night, day).items():
                held[table.name] = publication.stage(conn, run, table, [batch(table, rows)])
                ledger.record_table(run.run_id, TableVersion(table.name, night, "file:/m.json", held[table.name], True))
            publication.publish(conn, run, held, SERVED, through(day), self.settings.business.holdout_share)

    def models(self, run: Run) -> None:
        """Two champions of the first night, which serve all three."""
        artefacts = self.settings.environment.lake.artefacts
        digests = {
            "churn": registered(artefacts, run, "churn", "xgboost", "roc_auc", **{registry.JUDGED: JUDGED}),
            "recommender": registered(artefacts, run, "recommender", "two_stages", "ndcg_at_10"),
        }
        first = len(self.runs) == 1
        for kind, digest in digests.items():
            method = "xgboost" if kind == "churn" else "two_stages"
            if first:
                self.ledger.add_model(Model(SOURCE, kind, digest, str(artefacts), {}, DAY, run.run_id, method=method))  # type: ignore[arg-type]
                decision = ModelDecision(run.run_id, SOURCE, kind, digest, method, "promoted", "the first")  # type: ignore[arg-type]
                self.ledger.conclude(SOURCE, kind, run.run_id, None, [(digest, {})], [decision])  # type: ignore[arg-type]
            self.ledger.record_run_champion(run.run_id, kind, digest)  # type: ignore[arg-type]
        with self.ledger.stage(run.run_id, "judge_models") as detail:
            detail |= {kind: {"reason": "no candidate was trained"} for kind in digests}


def reported_shop(environment: settings.Environment, home: Path) -> ReportedShop:
    """The shop with its three nights published, in a database of its own."""
    conf = environment.warehouse.model_copy(update={"database": "reported"})
    lake = environment.lake.model_copy(update={"artefacts": home / "artefacts"})
    made = environment.model_copy(update={"warehouse": conf, "lake": lake})
    warehouse.migrate(made, SERVED)
    (home / "artefacts").mkdir()
    loaded = settings.load(SOURCE)
    business = loaded.business.model_copy(update={"report_language": ("en", "zh")})
    shop = ReportedShop(loaded.model_copy(update={"environment": made, "home": home, "business": business}), {})
    for night, back in enumerate((7, 1, 0)):
        shop.publish(night, DAY - timedelta(days=back))
    return shop
