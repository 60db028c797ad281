"""A small made-up shop whose people do leave, its features, and a night of it in a lake and a warehouse of its own."""

from __future__ import annotations

import logging
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rekindle import embedded, night, settings, warehouse
from rekindle.churn_conf import Offer
from rekindle.cli import Context
from rekindle.ledger import Ledger, RunKey
from schemas.catalogue import SERVED
from schemas.events import EVENTS
from schemas.excluded_users import EXCLUDED_USERS
from schemas.suppressed_users import SUPPRESSED_USERS
from schemas.user_features import USER_FEATURES

FIRST = date(2026, 1, 1)
AS_OF = date(2026, 4, 1)  # nothing is known from here on
CHURN = settings.Churn(
    horizon_days=14,
    gap_days=0,
    eligibility_days=40,
    history_days=30,
    cutoff_step_days=7,
    training_cutoffs=3,
    search_trials=3,
    offer=Offer(cost=0.2, saves=0.1, margin=0.25),
)


def shop_rows(users: int, seed: int = 5) -> list[dict[str, Any]]:
    """People who come every few days and buy now and then; a third leaves, and looks in less often before that."""
    generator = np.random.default_rng(seed)
    days = (AS_OF - FIRST).days
    rows = []
    for user in range(users):
        every = generator.uniform(2, 9)
        leaves = generator.uniform(15, 90) if generator.random() < 0.5 else 10_000.0
        day = generator.uniform(0, 12)
        while day < min(days, leaves):
            kinds = ["view"] * int(generator.integers(1, 4)) + ["purchase"] * int(generator.random() < 0.55)
            for place, kind in enumerate(kinds):
                at = datetime(2026, 1, 1, tzinfo=UTC) + timedelta(days=float(day), minutes=place)
                if at.date() >= AS_OF:
                    continue
                number = f"{user}-{day:.3f}"
                rows.append(
                    {
                        "event_id": f"{number}-{place}",
                        "user_key": f"u{user:04d}",
                        "event_type": kind,
                        "event_ts": at,
                        "event_date": at.date(),
                        "item_id": f"i{generator.integers(0, 40)}",
                        "category": f"c{generator.integers(0, 5)}",
                        "order_id": number if kind == "purchase" else None,
                        "quantity": 1.0 if kind == "purchase" else None,
                        "unit_price": 10.0,
                    }
                )
            fading = 2.0 if leaves - day < 20 else 1.0
            day += generator.exponential(every * fading) + 0.3
    return rows


@dataclass
class Night:
    """One night of the shop, ready to train and to score."""

    context: Context

    @property
    def ledger(self) -> Ledger:
        return self.context.ledger

    @property
    def artefacts(self) -> Path:
        return self.context.settings.environment.lake.artefacts

    def once_more(self, train: bool = True, business_date: date | None = None) -> Context:
        """The same run, as another attempt of a job would see it."""
        run = replace(self.context.this_run, plan={"train": train})
        return replace(self.context, run=run, detail={}, business_date=business_date or self.context.business_date)


@pytest.fixture(scope="session")
def shop_night(_session: Any) -> Iterator[Night]:
    """The shop's events and features stored in a lake by a run that a real ledger knows."""
    from rekindle.contract import frame
    from rekindle.methods import cutoffs
    from rekindle.methods.user_features import user_features

    # Not pytest's own folder: that is closed to others, and for root the server is another user.
    home = Path(tempfile.mkdtemp(prefix="rekindle-test-"))
    home.chmod(0o711)
    try:
        embedded.start(home)
        local = settings.load_environment("local")
        at_home = local.warehouse.model_copy(update={"secrets": home / "secrets", "port": embedded.port(home)})
        lake = local.lake.model_copy(update={"artefacts": home / "artefacts"})
        environment = local.model_copy(update={"warehouse": at_home, "lake": lake})
        warehouse.migrate(environment, SERVED)
        loaded = settings.load("simulated_shop")
        source = loaded.source.model_copy(
            update={"name": "churn_shop", "churn": CHURN, "first_date": FIRST, "time_zone": "UTC"}
        )
        loaded = loaded.model_copy(update={"environment": environment, "source": source})
        ledger = Ledger(lambda: warehouse.connect(environment, "writer"))
        day = AS_OF - timedelta(days=1)
        key = RunKey("r0000000000000c40", source.name, day, "code", "conf", "ingest", 1, False)
        run = ledger.open_run(key, [], {"train": True})
        context = Context(loaded, day, ledger, False, run, _session, {}, logging.getLogger("churn"))
        night.store(context, EVENTS, frame(_session, EVENTS, *shop_rows(500)))
        cuts = cutoffs.plan(AS_OF, FIRST, CHURN.horizon_days, 0, CHURN.history_days, 7, 3)
        features = user_features(
            night.read(context, EVENTS), [AS_OF, *cuts.all], "UTC", CHURN.gap_days, CHURN.horizon_days
        )
        night.store(context, USER_FEATURES, features)
        night.store(context, EXCLUDED_USERS, frame(_session, EXCLUDED_USERS))
        night.store(context, SUPPRESSED_USERS, frame(_session, SUPPRESSED_USERS))
        yield Night(context)
    finally:
        embedded.stop(home)
        shutil.rmtree(home)
