"""Who may leave, what changed about it, and whether the probabilities can be believed."""

from __future__ import annotations

import base64
import json
from collections import Counter
from dataclasses import dataclass
from math import fsum
from typing import Any

from rekindle import registry
from rekindle.methods.holdout import detectable_difference
from report.asking import Ask
from report.earlier import detail_of

SAMPLE = 5
# Drawn by training where its figures do not tell the points of a curve: older artefacts.
PICTURES = {"reliability": "reliability.png", "roc": "roc.png"}
Rows = list[dict[str, Any]]


@dataclass(frozen=True)
class Risk:
    """What is shown of who may leave.

    Attributes:
        bands: users, mean probability and money by band, highest first.
        actions, changes: counts.
        watched: every figure of churn_health, alarms first.
        table: every method of the champion's training on all judged users, best first; `groups` the champion's.
        curves: points of curves on the judging slice by kind and method; `pictures` (kind, PNG in base64) where an
            older training told none.
        value: what score_churn told of the models of purchases.
        holdout: of all who are watched and of those at risk, how many are held out, how many not, the share that is
            expected to leave, and the least true difference in it that would be seen (null without either group).
        written_back: (fate: rule, outcomes); suppressed: (reason, users).
        sample: a few users at risk, most to lose first, by the first digits of their pseudonyms.
    """

    bands: Rows
    actions: Rows
    changes: Rows
    watched: Rows
    table: Rows
    groups: Rows
    threshold: dict[str, Any]
    curves: dict[str, dict[str, list[list[float]]]]
    pictures: list[tuple[str, str]]
    value: dict[str, Any]
    holdout: Rows
    written_back: list[tuple[str, int]]
    suppressed: list[tuple[str, int]]
    sample: Rows

    @property
    def tenths(self) -> list[tuple[float, float]]:
        """(money expected, money spent) of a user on average, by tenths of what was expected, least first."""
        found = {one["name"]: one["value"] for one in self.watched if one["kind"] == "value"}
        said = sorted(name for name in found if name.startswith("tenth_") and name.endswith("_said"))
        return [(found[name], found[name.replace("_said", "_came")]) for name in said]

    @property
    def alarms(self) -> Rows:
        """Figures past their limit."""
        return [one for one in self.watched if one["is_alarm"]]

    @property
    def told(self) -> Rows:
        """Figures worth a line: no feature that has not drifted, no tenth of value, no past base rate."""
        quiet = ("tenth_", "left_as_of_")
        return [
            one
            for one in self.watched
            if (one["kind"] != "feature_drift" or one["is_alarm"]) and not one["name"].startswith(quiet)
        ]

    def figure(self, name: str) -> float | None:
        """One figure of churn_health by name."""
        return next((one["value"] for one in self.watched if one["name"] == name), None)


def by_cause(changes: Rows) -> Rows:
    """Changes counted by kind and cause, most first."""
    counted: Counter[tuple[str, str]] = Counter()
    for one in changes:
        counted[one["change"], one["cause"]] += one["users"]
    ordered = sorted(counted.items(), key=lambda pair: (-pair[1], pair[0]))
    return [{"change": change, "cause": cause, "users": users} for (change, cause), users in ordered]


def watched_users(ask: Ask) -> Rows:
    """Everybody who is watched, counted by band, action and whether at risk: a few rows, of one pass over the table.

    Joined to the few who are held out, not to every user of the vault: 4 s instead of 17 for five million.
    """
    return ask.rows(
        "SELECT t.risk_band, t.suggested_action, t.is_at_risk, count(*) AS users, count(k.user_key) AS held_out,"
        " sum(t.churn_probability) AS expected, sum(t.value_at_stake) AS value FROM serve.at_risk_users t"
        " LEFT JOIN (SELECT user_key FROM vault.user_keys WHERE source = %(source)s AND key_version = %(version)s"
        " AND holdout_draw < %(share)s) k USING (user_key) WHERE t.run_id = %(run)s GROUP BY 1, 2, 3 ORDER BY 1, 2, 3",
        source=ask.context.source.name,
        share=ask.context.settings.business.holdout_share,
        version=ask.context.this_run.key_version,
    )


def by(column: str, users: Rows) -> Rows:
    """`watched_users` by one column: users, mean probability, money (null: none is known), whether any is at risk."""
    found = []
    for name in sorted({row[column] for row in users}):
        rows = [row for row in users if row[column] == name]
        money = [row["value"] for row in rows if row["value"] is not None]
        whole = sum(row["users"] for row in rows)
        found.append(
            {
                column: name,
                "users": whole,
                "probability": fsum(row["expected"] for row in rows) / whole,
                "value": fsum(money) if money else None,
                "at_risk": any(row["is_at_risk"] for row in rows),
            }
        )
    return found


def held_out(users: Rows) -> Rows:
    """Tonight's holdout among all of `watched_users` and among those at risk, with what can be seen by it."""
    groups = []
    for name, rows in (("watched", users), ("at_risk", [row for row in users if row["is_at_risk"]])):
        held, whole = sum(row["held_out"] for row in rows), sum(row["users"] for row in rows)
        if whole:
            rate = fsum(row["expected"] for row in rows) / whole
            seen = detectable_difference(held, whole - held, rate)
            groups.append({"name": name, "held_out": held, "others": whole - held, "rate": rate, "seen": seen})
    return groups


def counted(ask: Ask, statement: str) -> list[tuple[str, int]]:
    """A query's names and counts."""
    return [(str(name), int(n)) for name, n in (row.values() for row in ask.rows(statement))]


def read(ask: Ask) -> Risk | None:
    """Who may leave, from the warehouse and the champion's artefact; None where the night has no champion or no such
    table."""
    champion = ask.context.ledger.run_champions(ask.run_id).get("churn")
    if champion is None or not ask.has("at_risk_users"):
        return None
    folder = ask.context.settings.environment.lake.artefacts / champion.digest
    judged = json.loads((folder / registry.JUDGED).read_bytes()) if (folder / registry.JUDGED).exists() else {}
    methods = judged.get("methods", [])
    everybody = [one for one in methods if one["group"] == "all" and "roc_auc" in one]
    curves, users = judged.get("curves", {}), watched_users(ask)
    return Risk(
        bands=sorted(by("risk_band", users), key=lambda one: -one["probability"]),
        actions=sorted(by("suggested_action", users), key=lambda one: (one["value"] is None, -(one["value"] or 0.0))),
        changes=ask.rows(
            "SELECT change, cause, band_before, band_after, count(*) AS users, min(compared_date) AS compared_date"
            " FROM serve.churn_changes WHERE run_id = %(run)s GROUP BY 1, 2, 3, 4 ORDER BY 5 DESC, 1, 2, 3, 4",
        ),
        watched=ask.rows(
            "SELECT kind, name, value, alarm_above, is_alarm, known_as_of FROM serve.churn_health"
            " WHERE run_id = %(run)s ORDER BY is_alarm DESC, kind, name",
        ),
        table=sorted(everybody, key=lambda one: (-one["roc_auc"], one["method"])),
        groups=[one for one in methods if one["method"] == champion.method and "roc_auc" in one],
        threshold=judged.get("threshold", {}),
        curves=curves,
        pictures=[
            (kind, base64.b64encode((folder / name).read_bytes()).decode())
            for kind, name in PICTURES.items()
            if kind not in curves and (folder / name).exists()
        ],
        value=detail_of(ask.context.ledger.stages(ask.run_id), "score_churn").get("value", {}),
        holdout=held_out(users),
        written_back=counted(
            ask,
            "SELECT concat_ws(': ', fate, rule), count(*) FROM serve.outcomes WHERE run_id = %(run)s GROUP BY 1"
            " ORDER BY 2 DESC, 1",
        ),
        suppressed=counted(
            ask,
            "SELECT reason, count(*) FROM serve.suppressed_users WHERE run_id = %(run)s GROUP BY 1 ORDER BY 2 DESC, 1",
        ),
        sample=ask.rows(
            "SELECT left(user_key, 8) AS user, churn_probability, risk_band, reasons, lowers_risk, value_at_stake,"
            " value_at_stake_low, value_at_stake_high, expected_days_to_purchase, suggested_action,"
            " round(recency_days::numeric) AS recency_days, frequency FROM serve.at_risk_users"
            " WHERE run_id = %(run)s AND is_at_risk"
            " ORDER BY churn_probability * value_at_stake DESC NULLS LAST, user_key LIMIT %(n)s",
            n=SAMPLE,
        ),
    )
