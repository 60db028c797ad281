"""make rollback-model: the champion before serves again, and no night brings the other one back by itself."""

from __future__ import annotations

import hashlib
import logging
import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from jobs.publish import judge_models, rollback_model
from rekindle import cli, registry, settings
from rekindle.ledger import Ledger, Model, RunKey
from rekindle.refusals import UsageError
from rekindle.registry import Comparison, Record
from rekindle.warehouse import connect

DAY = date(2026, 4, 30)
POPULARITY = Record("recommender", "popularity", "shop", "", DAY, "later days", {}, {}, {}, is_baseline=True)


@dataclass
class Nights:
    """A shop's ledger and registry, and its nights as far as judging goes."""

    settings: settings.Settings
    number: int = 0

    @property
    def source(self) -> str:
        return self.settings.source.name

    @property
    def ledger(self) -> Ledger:
        return Ledger(lambda: connect(self.settings.environment, "writer"))

    @property
    def artefacts(self) -> Path:
        return self.settings.environment.lake.artefacts

    @property
    def champion(self) -> str:
        found = self.ledger.champion(self.source, "recommender")
        assert found is not None
        return found.digest

    def night(self, *contents: str, better: bool = True, trains: bool = True) -> dict[str, Any]:
        """A night that trains popularity and one model of each content, better than all before it or not."""
        self.number += 1
        key = RunKey(f"{self.source}_{self.number}", self.source, DAY, "code", "conf", "ingest", 1, False)
        run = self.ledger.open_run(key, [], {})
        if trains:
            self.offer(run.run_id, "popularity", POPULARITY)
            others = {m.digest: m.method for m in self.ledger.models(self.source, "recommender")}
            for content in contents:
                mine = registry.digest_of({"model.json": content.encode()})
                told = [
                    Comparison(d, name, "ndcg_at_10", 0.3, 0.2, 0.1, 0.05 if better else -0.05, 0.2, 900)
                    for d, name in others.items()
                    if d != mine
                ]
                self.offer(run.run_id, content, replace(POPULARITY, name="als", is_baseline=False, comparisons=told))
        detail: dict[str, Any] = {}
        context = cli.Context(self.settings, DAY, self.ledger, False, run, None, detail, logging.getLogger("judge"))
        judge_models.judge(context, "recommender")
        return dict(detail["recommender"])

    def offer(self, run_id: str, content: str, record: Record) -> str:
        files = {"model.json": content.encode(), registry.RECORD: replace(record, run_id=run_id).to_json()}
        digest = registry.save(self.artefacts, files)
        path = str(self.artefacts / digest)
        model = Model(self.source, "recommender", digest, path, {}, DAY, run_id, method=record.name)
        self.ledger.add_model(model)
        return digest

    def roll_back(self, digest: str | None = None) -> str:
        return rollback_model.roll_back(self.settings, "recommender", digest, "complaints", "ann")

    def status(self, digest: str) -> str:
        return {m.digest: m.status for m in self.ledger.models(self.source, "recommender")}[digest]


def digest(content: str) -> str:
    return registry.digest_of({"model.json": content.encode()})


BASE, ONE, TWO, THREE = (digest(content) for content in ("popularity", "one", "two", "three"))


@pytest.fixture
def nights(environment: settings.Environment, tmp_path: Path, request: pytest.FixtureRequest) -> Nights:
    loaded = settings.load("simulated_shop")
    there = environment.lake.model_copy(update={"artefacts": tmp_path / "artefacts"})
    name = f"shop_{hashlib.sha256(request.node.nodeid.encode()).hexdigest()[:12]}"
    return Nights(
        loaded.model_copy(
            update={
                "home": tmp_path,
                "environment": environment.model_copy(update={"lake": there}),
                "source": loaded.source.model_copy(update={"name": name}),
            }
        )
    )


def test_the_champion_before_serves_from_the_next_night_on(nights: Nights) -> None:
    nights.night("one")
    nights.night("two")
    assert nights.champion == TWO
    told = nights.roll_back()
    assert told == (
        f"{nights.source}, recommender: {ONE} (als, trained through 2026-04-30) is champion instead of {TWO} (als)"
        " from the next night on"
    )
    assert nights.night(trains=False) == {"champion": ONE, "reason": "no candidate was trained"}
    assert (nights.status(ONE), nights.status(TWO)) == ("champion", "withdrawn")
    spooled = nights.settings.home / f"mlflow/spool/champion-{nights.source}-recommender.txt"
    assert spooled.read_text() == ONE, "MLflow's alias follows"


def test_what_was_rolled_back_is_not_promoted_again_and_what_is_trained_anew_is(nights: Nights) -> None:
    nights.night("one")
    nights.night("two")
    nights.roll_back()
    again = nights.night("two")
    assert again["champion"] == ONE
    assert again["reason"] == f"als was rolled back; make rollback-model DIGEST={TWO} would reinstate it"
    assert nights.night("two", "three")["champion"] == THREE


def test_rolling_back_again_goes_further_back_and_ends_at_the_first_champion(nights: Nights) -> None:
    nights.night("one")
    nights.night("two")
    nights.night("three")
    for expected in (TWO, ONE, BASE):
        nights.roll_back()
        assert nights.champion == expected
    with pytest.raises(UsageError, match=r"there was no other champion before this one; name a model by DIGEST="):
        nights.roll_back()
    assert nights.champion == BASE


def test_a_rollback_can_be_undone_by_name_and_then_nothing_is_barred_but_what_was(nights: Nights) -> None:
    nights.night("one")
    nights.night("two")
    nights.roll_back()
    nights.roll_back(TWO)
    assert nights.champion == TWO
    assert (nights.status(ONE), nights.status(TWO)) == ("retired", "champion")
    assert nights.roll_back(TWO) == (
        f"{nights.source}, recommender: {TWO} (als) is the champion already; nothing was changed"
    )
    nights.roll_back()
    assert nights.champion == ONE


def test_who_and_why_stand_in_both_tables_beside_what_the_nights_decided(nights: Nights) -> None:
    nights.night("one")
    nights.night("two", better=False)
    nights.roll_back()
    rows = nights.ledger.model_decisions(nights.source)
    assert [(r.digest, r.decision, r.against, r.decided_by) for r in rows] == [
        (ONE, "promoted", BASE, None), (BASE, "promoted", None, None),
        (TWO, "refused", BASE, None), (TWO, "refused", ONE, None), (BASE, "baseline", None, None),
        (ONE, "kept", None, None),
        (BASE, "rolled_back", ONE, "ann"),
    ]  # fmt: skip
    assert rows[-1].reason == "complaints"
    assert rows[-1].run_id is None
    with connect(nights.settings.environment, "writer") as conn:
        found = conn.execute(
            "SELECT before_digest, digest, decision FROM ops.champion_decisions WHERE source = %s ORDER BY number DESC",
            [nights.source],
        ).fetchone()
    assert found == (ONE, BASE, {"cause": "rolled_back", "reason": "complaints", "by": "ann"})


def test_the_runbooks_query_reads_what_was_decided(nights: Nights) -> None:
    nights.night("one")
    page = (settings.ROOT / "docs/operations/runbook.md").read_text(encoding="utf-8")
    query = re.search(r"SELECT decided_at.*?LIMIT 20", page, re.S)
    assert query is not None
    with connect(nights.settings.environment, "writer") as conn:
        rows = conn.execute(query[0].replace("simulated_shop", nights.source).encode()).fetchall()
    assert [(row[2], row[4], row[5]) for row in rows] == [
        ("popularity", "promoted", None), ("als", "promoted", "popularity"),
    ]  # fmt: skip


def test_a_model_that_is_unknown_or_broken_is_one_line_and_the_champion_stays(nights: Nights) -> None:
    with pytest.raises(UsageError, match=f"{nights.source} has no recommender champion yet.*make nightly"):
        nights.roll_back()
    nights.night("one")
    nights.night("two")
    with pytest.raises(UsageError, match=rf"DIGEST='feed' is no such model of the source; there are: .*{TWO} \(als"):
        nights.roll_back("feed")
    (nights.artefacts / ONE / "model.json").write_bytes(b"damaged")
    with pytest.raises(UsageError, match=rf"model {ONE}: its files have digest .*; the champion stays {TWO}"):
        nights.roll_back()
    assert nights.champion == TWO
    nights.roll_back(BASE)
    assert nights.champion == BASE


def test_a_night_that_judged_against_a_champion_that_is_rolled_back_meanwhile_decides_again(
    nights: Nights, monkeypatch: pytest.MonkeyPatch
) -> None:
    nights.night("one")
    nights.night("two")
    real: Callable[..., Any] = judge_models.decide
    seen: list[str | None] = []

    def decide(champion: str | None, *args: Any, **more: Any) -> Any:
        seen.append(champion)
        found = real(champion, *args, **more)
        if len(seen) == 1:
            nights.roll_back()
        return found

    monkeypatch.setattr(judge_models, "decide", decide)
    assert nights.night("three")["champion"] == THREE
    assert seen == [TWO, ONE]
    assert [r.against for r in nights.ledger.model_decisions(nights.source) if r.decision == "rolled_back"] == [TWO]


def test_a_retry_repeats_no_decision(nights: Nights) -> None:
    nights.night("one")
    before = nights.ledger.model_decisions(nights.source)
    run = nights.ledger.run(f"{nights.source}_1")
    context = cli.Context(nights.settings, DAY, nights.ledger, False, run, None, {}, logging.getLogger("judge"))
    assert judge_models.conclude(context, "recommender").digest == ONE, "as after a crash between two steps"
    judge_models.judge(context, "recommender")
    assert nights.ledger.model_decisions(nights.source) == before


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--source", "nowhere"], "SOURCE='nowhere' is unknown"),
        (["--source", "simulated_shop", "--kind", "weather"], "KIND='weather' is unknown; legal values: recommender"),
    ],
)
def test_a_wrong_word_is_one_line_and_exit_2(words: list[str], told: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert rollback_model.main(words) == 2
    found = capsys.readouterr()
    assert told in found.err
    assert found.err.count("\n") == 1
    assert found.out == ""
