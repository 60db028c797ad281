"""Who has truly left the simulated shop, against what the served night says: `make bench-churn`.

The shop is lived through anew in memory from conf/simulation.yaml, so nobody tells the night anything. Truth is who is
gone for good (or within their last fade) on the morning after the night; a person on a break is still there.
"""

from __future__ import annotations

from datetime import date

import numpy as np
import yaml
from rich.console import Console
from rich.table import Table

from rekindle import identity, settings, warehouse
from rekindle.methods import bootstrap, classification
from rekindle.methods.shop_simulation import SimulationConf, customer_id, open_shop

SOURCE = "simulated_shop"


def truly_gone(through_day: int, conf: SimulationConf) -> dict[str, tuple[bool, bool]]:
    """By the shop's own customer id, after living through this many days: (gone for good, gone or fading for good)."""
    world = open_shop(conf)
    for _ in range(through_day):
        world.next_day()
    people = world.people
    gone = people.left <= through_day
    fading = (people.fade_start <= through_day) & ~people.recovers
    return {customer_id(n): (bool(gone[n]), bool(gone[n] or fading[n])) for n in range(len(people))}


def served() -> tuple[settings.Settings, list[tuple[str, float, float, str]], date]:
    """(settings, a row a scored user: key, probability, recency, band; the day after the served night).

    Raises:
        SystemExit: no night of the simulated shop is served.
    """
    told = settings.load(SOURCE)
    with warehouse.connect(told.environment, "writer") as connection:
        rows = connection.execute(
            "SELECT r.user_key, r.churn_probability, r.recency_days, r.risk_band, r.business_date FROM"
            " serve.at_risk_users r JOIN serve.pointers p ON p.run_id = r.run_id WHERE p.source = %s ORDER BY 1",
            (SOURCE,),
        ).fetchall()
    if not rows:
        raise SystemExit("no night of the simulated shop is served; run `make nightly` first")
    return told, [row[:4] for row in rows], told.as_of(rows[0][4])


def main() -> None:
    """Print how well the night's probability, and recency alone, find who has truly left."""
    told, rows, as_of = served()
    conf = SimulationConf(**yaml.safe_load((settings.conf_folder() / "simulation.yaml").read_text(encoding="utf-8")))
    key = identity.read_key(told.environment.identity.key_file)
    truth = {
        identity.pseudonym(key, SOURCE, name): state
        for name, state in truly_gone((as_of - conf.first_day).days, conf).items()
    }
    probability, recency = (np.array([row[place] for row in rows], dtype=np.float64) for place in (1, 2))
    found = Table("truth", "users", "ROC-AUC, probability", "recency", "difference, 95 %", "lift, top tenth")
    states = np.array([truth[row[0]] for row in rows])
    for place, name in enumerate(("gone for good", "gone or fading for good")):
        label = states[:, place]
        against = bootstrap.paired_auc_difference(label, probability, recency, seed=conf.seed)
        found.add_row(
            name,
            f"{label.sum():,} of {len(label):,}",
            *(f"{classification.roc_auc(label, score):.3f}" for score in (probability, recency)),
            f"{against.point:+.3f} [{against.low:+.3f}, {against.high:+.3f}]",
            f"{classification.lift(label, probability):.2f}",
        )
    console = Console(width=110)
    console.print(f"{SOURCE}, on the morning of {as_of}: eligible users against the simulation's own truth")
    console.print(found)
    bands = Table("band", "users", "mean probability", "truly gone", "gone or fading")
    for band in ("critical", "high", "medium", "low"):
        inside = np.array([row[3] == band for row in rows])
        shares = (f"{states[inside, place].mean():.0%}" for place in (0, 1)) if inside.any() else ("–", "–")
        mean = f"{probability[inside].mean():.2f}" if inside.any() else "–"
        bands.add_row(band, f"{inside.sum():,}", mean, *shares)
    console.print(bands)


if __name__ == "__main__":
    main()
