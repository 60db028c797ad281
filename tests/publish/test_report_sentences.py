"""Sentences that jobs store in English are known in Chinese: each that the code has, taken from the code itself."""

from __future__ import annotations

import ast
import inspect
import re
import textwrap
from collections.abc import Callable, Iterable
from dataclasses import replace
from datetime import date
from typing import Any

import numpy as np
import pytest

from jobs.churn.train_churn import TooFewExamples, check_counts
from jobs.publish import judge_models
from rekindle.methods import buy_till_you_die, cutoffs, purchase_summaries, training_faults
from rekindle.methods.buy_till_you_die import Buyers
from rekindle.methods.comparison import Comparison
from rekindle.methods.training_faults import Counts
from rekindle.registry import Record
from report.words import words

DAY = date(2026, 4, 1)
BASELINE = Record("churn", "recency", "shop", "r1", DAY, "later days", {}, {}, {}, is_baseline=True)
# What a Chinese sentence keeps: names of models and figures, of settings and commands, parameters of a fit.
KEPT = {
    *("als", "bpr", "recency", "old", "roc", "auc", "gamma", "BG", "MBG", "NBD", "make", "rollback", "model", "DIGEST"),
    *("coverage", "margin", "band", "flip", "limit"),
}


def pieces(function: Callable[..., Any]) -> list[str]:
    """What the function has of sentences: each text in it with a blank, its docstring left out."""
    tree = ast.parse(textwrap.dedent(inspect.getsource(function)))
    docs = {id(n.body[0].value) for n in ast.walk(tree) if isinstance(n, ast.FunctionDef) and ast.get_docstring(n)}  # type: ignore[attr-defined]
    texts = [n.value for n in ast.walk(tree) if isinstance(n, ast.Constant) and id(n) not in docs]
    return [text.strip() for text in texts if isinstance(text, str) and " " in text.strip()]


def unsaid(functions: Iterable[Callable[..., Any]], said: Iterable[str]) -> list[str]:
    """Texts of the functions that are in no sentence said: a new one wants its case here, and its translation."""
    whole = "\n".join(said)
    return [text for function in functions for text in pieces(function) if text not in whole]


def untold(said: Iterable[str]) -> list[tuple[str, str | None]]:
    """Sentences without a translation, or with one that is English in part."""
    chinese = words("zh")
    told = {english: chinese.sentence(english) for english in said}
    return [
        (english, found)
        for english, found in told.items()
        if found is None or set(re.findall(r"[A-Za-z]{2,}", found)) - KEPT
    ]


def against(other: str, low: float, high: float, **more: Any) -> Comparison:
    middle = (low + high) / 2
    return replace(Comparison(other, other, "roc_auc", 0.7 + middle, 0.7, middle, low, high, 1234), **more)


def offer(name: str, *comparisons: Comparison) -> tuple[str, Record]:
    return name, replace(BASELINE, name=name, is_baseline=False, comparisons=list(comparisons))


def judged() -> set[str]:
    """What judge_models stores: of decisions with every fault that a candidate can have."""

    def both(low: float, high: float, **more: Any) -> list[Comparison]:
        return [against(other, low, high, **more) for other in ("old", "b")]

    better = both(0.1, 0.2)
    cases: list[tuple[str | None, list[tuple[str, Record]], dict[str, Any]]] = [
        (None, [], {}),
        (None, [], {"untrained": "nobody did anything that counts with an item (F94)"}),
        ("old", [], {"offered": ()}),
        ("old", [], {"untrained": "nobody did anything that counts with an item (F94)"}),
        ("old", [offer("als", *better), offer("bpr", *both(0.2, 0.4))], {}),
        ("als", [offer("als", *better)], {}),
        ("old", [offer("als", *better)], {"withdrawn": {"als"}}),
        ("als", [offer("als"), offer("bpr", against("als", 0.1, 0.2), against("b", 0.1, 0.2))], {}),
        *(
            ("old", [offer("als", *told)], {})
            for told in (
                [],
                [against("old", 0.1, 0.2)],
                both(0.1, 0.2, rows=29),
                both(-0.1, 0.2),
                both(0.1, 0.2, coverage=0.07, other_coverage=0.1),
                both(0.1, 0.2, flip_rate=0.5),
            )
        ),
        ("old", [offer("als", *both(0.01, 0.2)), *(offer(f"bpr{n}", *both(-0.1, 0.1)) for n in range(9))], {}),
    ]
    said = set()
    for champion, candidates, more in cases:
        limits = {"coverage_margin": 0.2, "band_flip_limit": 0.4}
        offered = [*more.pop("offered", [("b", BASELINE)]), *candidates]
        found = judge_models.decide(champion, offered, **limits, **more)
        assert found is not None
        said |= {found.reason, *(one.reason for one in found.verdicts)}
    return said


def raised(kind: type[Exception], call: Callable[[], object]) -> str:
    with pytest.raises(kind) as told:
        call()
    return str(told.value)


def untrained() -> set[str]:
    """Why no candidate was trained, as judge_models stores it after its own words."""
    plain = Counts(users=9, items=9, pairs=20, largest_user_pairs=3, unusable=0, eligible=9, eligible_known=9)
    faults = (
        plain,
        replace(plain, unusable=3, users=0),
        replace(plain, users=1),
        replace(plain, pairs=81),
        replace(plain, largest_user_pairs=19),
        replace(plain, eligible=1000),
    )
    found = {training_faults.find(one, 3, "2026-04-01 to 2026-04-09").fallback for one in faults}
    cuts = cutoffs.plan(DAY, date(2024, 1, 1), 21, 0, 90, 7, 5)
    found.add(raised(TooFewExamples, lambda: check_counts({}, cuts)))
    found.add(raised(cutoffs.TooLittleHistory, lambda: cutoffs.plan(DAY, DAY, 21, 0, 90, 7, 5)))
    return {f"no candidate was trained: {one}" for one in found}


def worthless() -> set[str]:
    """What score_churn stores of models of purchases that cannot be fitted, or stand in for others."""
    ones = np.ones(40)
    alone = Buyers(0 * ones, 0 * ones, 30 * ones, ones)
    regular = Buyers(10 * ones, 100 * ones, 100 * ones, ones)
    degraded = buy_till_you_die.fit(regular).degraded
    assert degraded is not None, "nobody of them was ever lost"
    said = {raised(ValueError, lambda: buy_till_you_die.fit(alone)), degraded}
    for mean, everybody in ((ones[:1], None), (ones, 1.0), ((1 - np.arange(400) / 400) ** -2.0, 5.0)):
        said.add(str(purchase_summaries._worth(np.ones(len(mean)), mean, everybody)[1]))
    return said


def test_every_sentence_that_judging_stores_is_known_in_chinese() -> None:
    said = judged()
    functions = ("figures", "unproven", "narrower", "unsteady", "fault_of", "decide")
    assert unsaid([getattr(judge_models, name) for name in functions], said) == []
    assert untold(said) == []
    assert words("zh").sentence("no candidate was trained: a reason that nobody translated") is None
    assert words("zh").sentence("no candidate was trained; what nobody translated") is None


def test_every_reason_for_no_training_and_for_no_value_is_known_in_chinese() -> None:
    learnt, worth = untrained(), worthless()
    night = "no item may be listed: expected at least one with an event within catalogue_days"  # refuses the night
    assert set(unsaid([training_faults.find, cutoffs.plan], learnt)) == {night}
    assert unsaid([purchase_summaries._worth, buy_till_you_die.fit], worth) == []
    assert untold(learnt | worth) == []
