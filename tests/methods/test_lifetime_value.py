"""What buyers will be worth: sums against those who follow the story, intervals that hold, one buyer beside others."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from rekindle.methods import lifetime_value
from rekindle.methods.buy_till_you_die import Buyers, Model
from rekindle.methods.gamma_gamma import GammaGamma
from rekindle.methods.lifetime_value import Terms, value

BG = Model(0.5, 8.0, 0.8, 2.5, False, 0.0)
WORTH = GammaGamma(3.0, 4.0, 30.0, 0.0)
TERMS = Terms(horizon=26.0, discount=0.002, margin=0.4)


def lived(seed: int, n: int, model: Model) -> tuple[Buyers, np.ndarray, np.ndarray, np.ndarray]:
    """Buyers of an age of 30 who follow the story; the mean value of their repeat purchases; how many purchases they
    made in the 26 units after it, and what these were worth, discounted."""
    made = np.random.default_rng(seed)
    rate, own = made.gamma(model.r, 1 / model.alpha, n), made.gamma(WORTH.q, 1 / WORTH.v, n)
    loss = np.zeros(n) if model.a is None else made.beta(model.a, model.b, n)
    there = made.random(n) >= loss if model.at_once else np.ones(n, dtype=bool)
    at, repeats, last, spent, later, worth = (np.zeros(n) for _ in range(6))
    while there.any():
        at = at + made.exponential(1 / np.maximum(rate, 1e-12))
        paid = made.gamma(WORTH.p, 1, n) / own
        before, after = there & (at <= 30), there & (at > 30) & (at <= 56)
        repeats, last, spent = repeats + before, np.where(before, at, last), spent + paid * before
        later, worth = later + after, worth + after * paid * TERMS.margin * (1 + TERMS.discount) ** -(at - 30)
        there = (before | after) & (made.random(n) >= loss)
    mean = np.where(repeats > 0, spent / np.maximum(repeats, 1), np.nan)
    return Buyers(repeats, last, np.full(n, 30.0), np.ones(n)), mean, later, worth


@pytest.mark.parametrize("model", [BG, replace(BG, at_once=True), replace(BG, a=None, b=None)])
def test_values_add_up_to_what_buyers_then_bring_and_nine_of_ten_are_within_their_interval(model: Model) -> None:
    known, mean, later, worth = lived(1, 30_000, model)
    found = value(model, WORTH, known, mean, TERMS, draws=200, seed=1)
    for part in (known.repeats == 0, known.repeats > 0, known.repeats > 3):
        for told, done in ((found.purchases[part], later[part]), (found.expected[part], worth[part])):
            assert abs((done - told).sum()) < 4 * np.std(done - told) * np.sqrt(len(told)), "no more than chance"
            assert 4 * np.std(done - told) * np.sqrt(len(told)) < 0.15 * done.sum(), "and that is little"
        # Most values are 0, and so are most lower bounds: more than nine of ten are inside.
        assert (worth[part] <= found.high[part]).mean() == pytest.approx(0.95, abs=0.015)
        assert (worth[part] >= found.low[part]).mean() >= 0.94
    assert (found.low <= found.high).all()


def test_money_tomorrow_is_worth_less_and_all_of_it_is_the_margin_and_no_more() -> None:
    known, mean, *_ = lived(2, 300, BG)
    now, later, whole = (
        value(BG, WORTH, known, mean, terms, draws=50, seed=1)
        for terms in (
            replace(TERMS, discount=0.0),
            replace(TERMS, discount=0.05),
            replace(TERMS, discount=0.0, margin=1.0),
        )
    )
    assert (later.expected < now.expected).all()
    assert (later.expected > now.expected * 1.05**-26).all()
    assert now.expected == pytest.approx(0.4 * whole.expected)
    assert now.expected == pytest.approx(0.4 * now.purchases * WORTH.mean(known.repeats, mean), rel=1e-9)
    assert now.high == pytest.approx(0.4 * whole.high)


def test_fifty_parts_of_the_horizon_are_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    known, mean, *_ = lived(3, 200, BG)
    terms = Terms(horizon=1.0, discount=0.2, margin=1.0)
    few = value(BG, WORTH, known, mean, terms, draws=20, seed=1).expected
    monkeypatch.setattr(lifetime_value, "STEPS", 1_000)
    assert few == pytest.approx(value(BG, WORTH, known, mean, terms, draws=20, seed=1).expected, rel=2e-5)


def test_a_buyer_has_the_value_he_has_among_fewer_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lifetime_value, "BLOCK", 50)
    known, mean, *_ = lived(4, 170, BG)
    whole = value(BG, WORTH, known, mean, TERMS, draws=40, seed=7)
    first = Buyers(known.repeats[:100], known.last[:100], known.age[:100], known.count[:100])
    part = value(BG, WORTH, first, mean[:100], TERMS, draws=40, seed=7)
    for name in ("purchases", "expected", "low", "high"):
        assert np.array_equal(getattr(whole, name)[:100], getattr(part, name))
    assert not np.array_equal(whole.high, value(BG, WORTH, known, mean, TERMS, draws=40, seed=8).high)


@pytest.mark.parametrize(
    ("terms", "words"),
    [
        ({"horizon": 0.0}, "a horizon of 0.0"),
        ({"discount": -0.1}, "a discount of -0.1"),
        ({"margin": 1.2}, "a margin of 1.2"),
        ({"margin": float("nan")}, "a margin of nan"),
    ],
)
def test_terms_out_of_their_bounds_are_refused(terms: dict[str, float], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        replace(TERMS, **terms)


def test_rows_of_several_buyers_and_too_few_draws_are_refused() -> None:
    known, mean, *_ = lived(5, 10, BG)
    with pytest.raises(ValueError, match="10 means for 20 buyers in 10 rows"):
        value(BG, WORTH, replace(known, count=np.full(10, 2.0)), mean, TERMS, draws=20, seed=1)
    with pytest.raises(ValueError, match="19 draws"):
        value(BG, WORTH, known, mean, TERMS, draws=19, seed=1)
