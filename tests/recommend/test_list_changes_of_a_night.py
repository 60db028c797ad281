"""A night compares its lists with those that the CRM read when it began, and says what changed them."""

from __future__ import annotations

import logging
from dataclasses import replace
from datetime import UTC, date, datetime
from typing import Any

from jobs.recommend.recommend_items import store_changes
from rekindle import night, settings, warehouse
from rekindle.cli import Context
from rekindle.contract import frame
from rekindle.ledger import Ledger, Model, RunKey
from schemas.events import EVENTS
from schemas.list_changes import LIST_CHANGES
from schemas.recommendations import RECOMMENDATIONS

BEFORE, DAY = date(2026, 4, 29), date(2026, 4, 30)


def lists(first: dict[str, str], day: date) -> list[dict[str, Any]]:
    plain = {"reason": "r", "candidate_source": "als", "place": "by_score", "propensity": 1.0, "model_version": "m"}
    return [
        plain | {"user_key": user, "rank": 1, "item_id": item, "business_date": day} for user, item in first.items()
    ]


def test_what_landed_since_and_which_model_served_then_decide_the_cause(
    spark: Any, environment: settings.Environment
) -> None:
    loaded = settings.load("simulated_shop").model_copy(update={"environment": environment})
    source = loaded.source.model_copy(update={"name": "list_shop"})
    loaded = loaded.model_copy(update={"source": source})
    ledger = Ledger(lambda: warehouse.connect(environment, "writer"))

    def begun(number: int, day: date, digest: str) -> Context:
        run_id = f"r00000000000015{number:02}"
        run = ledger.open_run(RunKey(run_id, source.name, day, "code", "conf", "ingest", 1, False), [], {})
        ledger.add_model(Model(source.name, "recommender", digest, "p", {}, day, run_id))
        ledger.record_run_champion(run_id, "recommender", digest)
        return Context(loaded, day, ledger, False, run, spark, {}, logging.getLogger("recommend_items"))

    def told(context: Context, digest: str) -> dict[str, tuple[Any, ...]]:
        store_changes(context, events, digest)
        rows = night.read(context, LIST_CHANGES).collect()
        assert {(r.compared_date, r.business_date) for r in rows} <= {(BEFORE, DAY)}
        return {r.user_key: (r.change, r.item_before, r.item_after, r.cause) for r in rows}

    events = frame(
        spark,
        EVENTS,
        {"event_id": "1", "user_key": "idle", "landing_date": BEFORE, "event_date": BEFORE},
        # It happened before that night and came too late for it.
        {"event_id": "2", "user_key": "late", "landing_date": DAY, "event_date": date(2026, 4, 20)},
        {"event_id": "3", "user_key": "stays", "landing_date": DAY, "event_date": DAY},
    )
    first = begun(1, BEFORE, "d" * 16)
    before = dict.fromkeys(("idle", "late", "stays", "goes"), "tea")
    night.store(first, RECOMMENDATIONS, frame(spark, RECOMMENDATIONS, *lists(before, BEFORE)))
    assert told(first, "d" * 16) == {}, "nothing was served before a source's first night"

    with warehouse.connect(environment, "owner") as conn:
        conn.execute(
            "INSERT INTO serve.publications (source, run_id, business_date, data_through, key_version, attempt, status,"
            " manifest) VALUES (%s, %s, %s, %s, 1, 1, 'served', '{}')",
            [source.name, first.run_id, BEFORE, datetime(2026, 4, 30, tzinfo=UTC)],
        )
        conn.execute("INSERT INTO serve.pointers (source, run_id) VALUES (%s, %s)", [source.name, first.run_id])
        conn.execute(
            "INSERT INTO serve.pointer_moves (source, to_run, cause) VALUES (%s, %s, 'published')",
            [source.name, first.run_id],
        )
    second = begun(2, DAY, "d" * 16)
    tonight = {"idle": "mat", "late": "mat", "stays": "tea", "comes": "pot"}
    night.store(second, RECOMMENDATIONS, frame(spark, RECOMMENDATIONS, *lists(tonight, DAY)))
    same_model = told(second, "d" * 16)
    assert same_model == {
        "idle": ("moved", "tea", "mat", "rules"),
        "late": ("moved", "tea", "mat", "behaviour"),
        "comes": ("entered", None, "pot", "rules"),
        "goes": ("left", "tea", None, "rules"),
    }
    another = told(replace(second, detail={}), "e" * 16)
    assert {user: change[-1] for user, change in another.items()} == {
        "idle": "model",
        "late": "behaviour",
        "comes": "model",
        "goes": "model",
    }
