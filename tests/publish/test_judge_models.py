"""A candidate takes over only where it is shown to be better; a broken champion never empties a table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import date
from pathlib import Path
from random import Random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jobs.publish import judge_models
from jobs.publish.judge_models import Decision, evidence, lower_bound, servable
from rekindle import registry
from rekindle.cli import DataRefused
from rekindle.ledger import Model
from rekindle.methods.model_gate import FEWEST_JUDGED
from rekindle.registry import Comparison, Record

BASELINE = Record("churn", "recency", "shop", "r1", date(2026, 4, 1), "later days", {}, {}, {}, is_baseline=True)
CANDIDATE = replace(BASELINE, name="xgboost", is_baseline=False)
MARGIN, FLIPS = 0.2, 0.4


def against(other: str, low: float, high: float, **more: float) -> Comparison:
    middle = (low + high) / 2
    told = Comparison(other, f"name of {other}", "roc_auc", 0.7 + middle, 0.7, middle, low, high, 1234)
    return replace(told, **more)


def candidate(*comparisons: Comparison, name: str = "xgboost") -> Record:
    return replace(CANDIDATE, name=name, comparisons=list(comparisons))


def decide(champion: str | None, offered: Sequence[tuple[str, Record]], **more: object) -> Decision | None:
    return judge_models.decide(champion, offered, coverage_margin=MARGIN, band_flip_limit=FLIPS, **more)  # type: ignore[arg-type]


def decided(champion: str | None, offered: Sequence[tuple[str, Record]], **more: object) -> Decision:
    found = decide(champion, offered, **more)
    assert found is not None
    return found


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
    decision = decided("same", [("b", BASELINE), ("same", candidate(against("b", 0.1, 0.2)))])
    assert (decision.digest, decision.changed) == ("same", False)
    assert {v.digest: v.decision for v in decision.verdicts} == {"b": "baseline", "same": "kept"}


def both(low: float, high: float, **more: float) -> list[Comparison]:
    """The same against the champion and the baseline."""
    return [against("old", low, high, **more), against("b", low, high, **more)]


def test_of_several_that_are_better_the_best_takes_over_and_each_is_told_why() -> None:
    offered = [
        ("b", BASELINE),
        ("x", candidate(*both(0.1, 0.2), name="als")),
        ("y", candidate(*both(0.2, 0.4), name="bpr")),
        ("z", candidate(*both(-0.1, 0.5), name="words")),
        ("w", candidate(against("b", 0.5, 0.6), name="users")),
    ]
    decision = decided("old", offered)
    assert (decision.digest, decision.changed) == ("y", True)
    assert decision.reason.endswith("on 1234 rows: promoted")
    told = {v.record.name: (v.decision, v.reason) for v in decision.verdicts}
    assert told["recency"] == ("baseline", "the measure that a candidate has to beat")
    assert told["als"] == ("refused", "als passed, and bpr is better")
    assert told["words"][1].endswith("the interval does not lie above zero, the champion stays")
    assert told["users"][1] == "users was not compared with the champion; the champion stays"


def test_whoever_beats_the_champion_and_not_the_baseline_does_not_take_over() -> None:
    weak = candidate(against("old", 0.1, 0.2), against("b", -0.2, 0.1))
    decision = decided("old", [("b", BASELINE), ("x", weak)])
    assert decision.digest == "old"
    assert "against name of b" in decision.reason
    assert decision.reason.endswith("the interval does not lie above zero, the champion stays")
    untold = decided("old", [("b", BASELINE), ("x", candidate(against("old", 0.1, 0.2)))])
    assert untold.reason == "xgboost was not compared with the baseline recency; the champion stays"


def test_whoever_lists_far_fewer_items_does_not_take_over_however_much_better() -> None:
    narrow = both(0.3, 0.4, coverage=0.0799, other_coverage=0.1)
    decision = decided("old", [("b", BASELINE), ("x", candidate(*narrow))])
    assert decision.digest == "old"
    assert "lists 7.99% of the catalogue and name of old 10.00%; more than 20% of that is lost" in decision.reason
    just = both(0.3, 0.4, coverage=0.0801, other_coverage=0.1)
    assert decided("old", [("b", BASELINE), ("x", candidate(*just))]).digest == "x"


def test_whoever_would_move_too_many_users_between_bands_at_once_does_not_take_over() -> None:
    restless = both(0.3, 0.4, flip_rate=0.401)
    decision = decided("old", [("b", BASELINE), ("x", candidate(*restless))])
    assert decision.digest == "old"
    assert (
        "it would put 40.1% of the users into another risk band than name of old, at most 40% may be (band_flip_limit);"
        " make rollback-model installs it all the same; the champion stays"
    ) in decision.reason
    assert decided("old", [("b", BASELINE), ("x", candidate(*both(0.3, 0.4, flip_rate=0.4)))]).digest == "x"


def test_in_place_of_a_baseline_a_model_may_move_every_user() -> None:
    anew = replace(against("b", 0.3, 0.4, flip_rate=0.9), other_name=BASELINE.name)
    assert decided(None, [("b", BASELINE), ("x", candidate(anew))]).digest == "x"
    older = replace(anew, other="old")
    assert decided("old", [("b", BASELINE), ("x", candidate(older, anew))]).digest == "x", "last month's baseline"


def test_first_items_of_a_recommender_may_change_as_they_like() -> None:
    lists = replace(candidate(*both(0.3, 0.4, flip_rate=0.95)), kind="recommender")
    baseline = replace(BASELINE, kind="recommender")
    assert decided("old", [("b", baseline), ("x", lists)]).digest == "x"


def test_scores_without_a_model_are_told_and_stop_nobody() -> None:
    beaten = replace(against("score:frequency", -0.3, -0.2), other_name="score:frequency")
    offered = [("b", BASELINE), ("x", candidate(*both(0.1, 0.2), beaten))]
    decision = decided("old", offered)
    assert decision.digest == "x"
    rows = evidence("r1", "shop", "churn", decision, None)
    assert [(r.against, r.difference) for r in rows if r.digest == "x"][2] == ("score:frequency", pytest.approx(-0.25))


def test_a_handful_of_users_makes_nobody_champion() -> None:
    few = both(0.3, 0.4, rows=FEWEST_JUDGED - 1)
    decision = decided("old", [("b", BASELINE), ("x", candidate(*few))])
    assert decision.digest == "old"
    assert decision.reason.endswith("on 29 rows: expected at least 30 rows to judge on, the champion stays")


def test_the_more_candidates_the_surer_the_best_of_them_has_to_be() -> None:
    narrowly = candidate(*both(0.01, 0.2), name="a lucky one")
    others = [(f"o{n}", candidate(*both(-0.1, 0.1), name=f"other {n}")) for n in range(9)]
    assert decided("old", [("b", BASELINE), ("x", narrowly)]).digest == "x"
    crowded = decided("old", [("b", BASELINE), ("x", narrowly), *others])
    assert crowded.digest == "old"
    assert crowded.reason.startswith("none of 10 candidates takes over; the best: a lucky one against name of old")
    assert "the interval, widened for 10 candidates, does not lie above zero" in crowded.reason


def test_ten_candidates_as_good_as_the_champion_replace_it_in_no_more_nights_than_one() -> None:
    """Differences drawn around zero with known error: the share of 4,000 nights in which the best of ten passes."""
    dice = np.random.default_rng(3)
    nights = dice.normal(size=(4000, 10))
    passed = [
        max(lower_bound(replace(against("old", -1, 1), difference=d, low=d - 1.959964), 10) for d in night) > 0
        for night in nights
    ]
    naive = (nights.max(axis=1) > 1.959964).mean()
    assert naive > 0.2, "taken one by one, in every fifth night"
    assert 0.015 < np.mean(passed) < 0.035


OFFERS = st.lists(
    st.tuples(
        st.sampled_from(["old", "b", "both", "none"]),
        st.floats(-0.2, 0.2).map(lambda x: round(x, 2)),
        st.sampled_from([0.01, 0.05, 0.15]),
        st.sampled_from([None, 0.0, 0.05, 0.1, 0.5]),
    ),
    max_size=6,
)


@settings(max_examples=60, deadline=None)
@given(OFFERS, st.randoms(use_true_random=False), st.sampled_from([None, "old"]))
def test_whatever_is_offered_in_any_order_the_worse_the_narrower_and_the_uncompared_never_win(
    drawn: list[tuple[str, float, float, float | None]], dice: Random, champion: str | None
) -> None:
    offered = [("b", BASELINE)]
    for number, (known, difference, half, coverage) in enumerate(drawn):
        others = {"old": ["old"], "b": ["b"], "both": ["old", "b"], "none": []}[known]
        told = [
            replace(against(o, difference - half, difference + half), coverage=coverage, other_coverage=0.1)
            for o in others
        ]
        offered.append((f"d{number}", candidate(*told, name=f"method {number}")))
    found = decided(champion, offered, withdrawn={"d0"})
    shuffled = list(offered)
    dice.shuffle(shuffled)
    assert decided(champion, shuffled, withdrawn={"d0"}) == found
    promoted = {v.digest for v in found.verdicts if v.decision == "promoted"}
    assert promoted == {d for d in (found.first, found.digest) if d is not None} - {champion}
    if found.digest.startswith("d"):
        known, difference, half, coverage = drawn[int(found.digest[1:])]
        assert known == "both" or (known == "b" and champion is None)
        assert difference - half > 0
        assert coverage is None or coverage >= (1 - MARGIN) * 0.1
        assert found.digest != "d0", "what an operator rolled back is not promoted again"
    else:
        assert found.digest == (champion or "b")


def test_of_equals_the_first_by_name_takes_over() -> None:
    twins = [("x", candidate(*both(0.1, 0.2), name="second")), ("y", candidate(*both(0.1, 0.2), name="first"))]
    for offered in (twins, twins[::-1]):
        assert decided("old", [("b", BASELINE), *offered]).digest == "y"


def test_what_an_operator_rolled_back_is_refused_by_that_reason_and_its_successor_is_judged() -> None:
    again = [("b", BASELINE), ("x", candidate(*both(0.1, 0.2)))]
    refused = decided("old", again, withdrawn={"x"})
    assert (refused.digest, refused.changed) == ("old", False)
    assert refused.reason == "xgboost was rolled back; make rollback-model DIGEST=x would reinstate it"
    anew = [*again, ("x2", candidate(*both(0.1, 0.2)))]
    assert decided("old", anew, withdrawn={"x"}).digest == "x2"


def test_where_nothing_could_be_learnt_the_reason_says_why() -> None:
    first = decided(None, [("b", BASELINE)], untrained="nobody did anything")
    assert (first.digest, first.reason) == ("b", "the baseline is the first champion: nobody did anything")
    assert decided("old", [("b", BASELINE)], untrained="too few").reason == "no candidate was trained: too few"


def test_the_evidence_has_a_row_for_each_candidate_and_other_and_for_a_champion_that_was_not_offered() -> None:
    told = both(0.05, 0.2, coverage=0.3, other_coverage=0.2, overlap=0.4, flip_rate=0.35, list_flip_rate=0.9)
    offered = [("b", BASELINE), ("x", candidate(*told)), ("y", candidate(*both(-0.1, 0.1), name="gbt"))]
    standing = Model("shop", "churn", "old", "", {}, date(2026, 4, 1), "r0", method="elder")
    rows = evidence("r1", "shop", "churn", decided("old", offered), standing)
    assert [(r.method, r.against, r.decision) for r in rows] == [
        ("gbt", "old", "refused"), ("gbt", "b", "refused"), ("recency", None, "baseline"),
        ("xgboost", "old", "promoted"), ("xgboost", "b", "promoted"),
    ]  # fmt: skip
    row = rows[3]
    assert (row.metric, row.value, row.against_value, row.low, row.high, row.judged_rows) == (
        "roc_auc", pytest.approx(0.825), 0.7, 0.05, 0.2, 1234,
    )  # fmt: skip
    assert (row.coverage, row.against_coverage, row.overlap, row.flip_rate, row.list_flip_rate) == (
        0.3, 0.2, 0.4, 0.35, 0.9,
    )  # fmt: skip
    kept = evidence("r1", "shop", "churn", decided("old", []), standing)
    assert [(r.digest, r.method, r.against, r.decision, r.reason) for r in kept] == [
        ("old", "elder", None, "kept", "no candidate was trained")
    ]


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
    for barred in (replace(stored["older"], status="refused"), replace(stored["older"], status="withdrawn")):
        serving, _ = servable([stored["baseline"], barred, stored["champion"]], champion, tmp_path)
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
