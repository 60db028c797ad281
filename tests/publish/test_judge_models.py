"""A candidate takes over only where it is shown to be better; a broken champion never empties a table."""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from pathlib import Path

import pytest

from jobs.publish.judge_models import decide, servable
from rekindle import registry
from rekindle.cli import DataRefused
from rekindle.ledger import Model
from rekindle.registry import Comparison, Record

BASELINE = Record("churn", "recency", "shop", "r1", date(2026, 4, 1), "later days", {}, {}, {}, is_baseline=True)
CANDIDATE = replace(BASELINE, name="xgboost", is_baseline=False)


def against(other: str, low: float, high: float) -> Comparison:
    middle = (low + high) / 2
    return Comparison(other, f"name of {other}", "roc_auc", 0.7 + middle, 0.7, middle, low, high, 1234)


def candidate(*comparisons: Comparison, name: str = "xgboost") -> Record:
    return replace(CANDIDATE, name=name, comparisons=list(comparisons))


def test_without_a_champion_and_a_model_nothing_is_decided() -> None:
    assert decide(None, []) is None
    assert decide(None, [("c", candidate(against("b", 0.1, 0.2)))]) is None, "a candidate alone is no first champion"


def test_the_first_champion_is_the_baseline_unless_the_candidate_beats_it() -> None:
    only = decide(None, [("b", BASELINE)])
    assert only is not None
    assert (only.digest, only.changed, only.reason) == ("b", True, "the baseline is the first champion")
    for offered in ([("b", BASELINE), ("c", candidate(against("b", -0.01, 0.2)))],) * 2:
        kept = decide(None, offered[::-1])
        assert kept is not None
        assert (kept.digest, kept.changed) == ("b", True)
        assert kept.reason.endswith("the interval does not lie above zero, the champion stays")
    better = decide(None, [("c", candidate(against("b", 0.01, 0.2))), ("b", BASELINE)])
    assert better is not None
    assert (better.digest, better.changed) == ("c", True)
    assert better.comparison == against("b", 0.01, 0.2)
    assert better.reason == (
        "xgboost against name of b: roc_auc 0.8050 and 0.7000, difference +0.1050 [+0.0100, +0.2000] on 1234 rows:"
        " promoted"
    )


def test_a_night_without_training_keeps_its_champion() -> None:
    kept = decide("old", [])
    assert kept is not None
    assert (kept.digest, kept.changed, kept.reason) == ("old", False, "no candidate was trained")


@pytest.mark.parametrize(
    ("comparisons", "champion", "words"),
    [
        ([against("old", 0.001, 0.1)], "new", "promoted"),
        ([against("b", 0.3, 0.5), against("old", 0.001, 0.1)], "new", "promoted"),
        ([against("old", 0.0, 0.1)], "old", "the champion stays"),
        ([against("b", 0.3, 0.5), against("old", -0.2, -0.1)], "old", "the champion stays"),
        ([against("b", 0.3, 0.5)], "old", "xgboost was not compared with the champion; the champion stays"),
        ([], "old", "xgboost was not compared with the champion; the champion stays"),
    ],
)
def test_retraining_replaces_the_champion_only_by_a_better_one(
    comparisons: list[Comparison], champion: str, words: str
) -> None:
    decision = decide("old", [("b", BASELINE), ("new", candidate(*comparisons))])
    assert decision is not None
    assert (decision.digest, decision.changed) == (champion, champion != "old")
    assert decision.reason.endswith(words)


def test_training_the_champion_again_changes_nothing() -> None:
    decision = decide("same", [("b", BASELINE), ("same", candidate(against("b", 0.1, 0.2)))])
    assert decision is not None
    assert (decision.digest, decision.changed) == ("same", False)


def test_a_challenger_must_beat_whoever_stands_when_its_turn_comes() -> None:
    first = candidate(against("old", 0.1, 0.2))
    second = candidate(against("old", 0.1, 0.3), name="gbt")
    decision = decide("old", [("x", first), ("y", second)])
    assert decision is not None
    assert decision.digest == "x", "gbt was compared with the old champion only"


@pytest.fixture
def stored(tmp_path: Path) -> dict[str, Model]:
    """Three models in the registry, oldest first."""
    models = {}
    for name in ("baseline", "older", "champion"):
        digest = registry.save(tmp_path, {"model.json": name.encode()})
        models[name] = Model("shop", "churn", digest, str(tmp_path / digest), {}, date(2026, 4, 1), "r1")
    return models


def damage(model: Model) -> None:
    (Path(model.path) / "model.json").write_bytes(b"damaged")


def test_a_whole_champion_serves(stored: dict[str, Model], tmp_path: Path) -> None:
    champion = stored["champion"].digest
    assert servable(list(stored.values()), champion, tmp_path) == (champion, [])


def test_a_damaged_champion_falls_back_to_the_newest_whole_model_that_was_not_refused(
    stored: dict[str, Model], tmp_path: Path
) -> None:
    champion = stored["champion"].digest
    damage(stored["champion"])
    serving, faults = servable(list(stored.values()), champion, tmp_path)
    assert serving == stored["older"].digest
    assert len(faults) == 1
    assert faults[0].startswith(f"model {champion}: its files have digest ")
    refused = replace(stored["older"], status="refused")
    serving, _ = servable([stored["baseline"], refused, stored["champion"]], champion, tmp_path)
    assert serving == stored["baseline"].digest


def test_where_no_model_is_whole_the_night_is_refused_and_each_is_named(
    stored: dict[str, Model], tmp_path: Path
) -> None:
    for model in stored.values():
        damage(model)
    with pytest.raises(DataRefused) as refused:
        servable(list(stored.values()), stored["champion"].digest, tmp_path)
    assert all(model.digest in str(refused.value) for model in stored.values())
    assert str(refused.value).endswith("train anew (retrain)")
