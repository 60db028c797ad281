"""What buyers will be worth: CDNOW's published figures, sums and intervals against those who follow the story."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace
from datetime import date
from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from rekindle.methods import buy_till_you_die as btyd
from rekindle.methods import gamma_gamma, lifetime_value
from rekindle.methods.buy_till_you_die import Buyers, Model
from rekindle.methods.gamma_gamma import GammaGamma
from rekindle.methods.lifetime_value import Terms, value
from rekindle.methods.value_figures import figures
from tests.methods.buyers_story import BG, MBG, NBD, WORTH, lived

CDNOW = Path(__file__).resolve().parent.parent.parent.parent / "shared/data/cdnow/CDNOW_sample.txt"
TERMS = Terms(horizon=26.0, discount=0.002, margin=0.4)
AGES = (30.0, 30.0)


@pytest.mark.skipif(not CDNOW.is_file(), reason="../shared/data does not lie beside the clone")
def test_cdnow_has_the_published_parameters_and_holdout_figures() -> None:
    """Fader, Hardie and Lee 2005, table 2; Batislam, Denizel and Filiztekin 2007; Fader and Hardie 2013. Weeks; 39 to
    learn from, 39 to come."""
    days: defaultdict[str, defaultdict[date, float]] = defaultdict(lambda: defaultdict(float))
    for line in CDNOW.read_text(encoding="ascii").splitlines():
        _, buyer, day, _, paid = line.split()
        days[buyer][date(int(day[:4]), int(day[4:6]), int(day[6:]))] += float(paid)
    cut = date(1997, 9, 30)
    known = [sorted(day for day in told if day <= cut) for told in days.values()]
    later = np.array([float(sum(day > cut for day in told)) for told in days.values()])
    spent = np.array([sum(paid for day, paid in told.items() if day > cut) for told in days.values()])
    summaries = np.array([[len(k) - 1, (k[-1] - k[0]).days / 7, (cut - k[0]).days / 7] for k in known]).T
    rows, row = Buyers.grouped(*summaries)
    assert (len(row), len(rows)) == (2357, 1016)

    bg, mbg = btyd.fit(rows), btyd.fit(rows, at_once=True)
    assert (bg.r, bg.alpha, bg.a, bg.b) == pytest.approx((0.243, 4.414, 0.793, 2.426), rel=0.01)
    assert bg.log_likelihood == pytest.approx(-9582.4, abs=0.05)
    assert bg.log_likelihood < mbg.log_likelihood < bg.log_likelihood + 0.5, "barely the likelier"
    assert (mbg.r, mbg.alpha, mbg.a, mbg.b) == pytest.approx((0.525, 6.183, 0.891, 1.614), rel=0.01)
    assert roc_auc_score(later == 0, 1 - bg.alive(rows)[row]) == pytest.approx(0.316, abs=0.002), "not a risk"

    times = np.array([len(k) - 1.0 for k in known])
    mean = np.array([sum(told[d] for d in k[1:]) for k, told in zip(known, days.values(), strict=True)])
    mean = mean / np.maximum(times, 1)
    paid = mean > 0
    assert paid.sum() == 946
    worth = gamma_gamma.fit(times[paid], mean[paid])
    assert (worth.p, worth.q, worth.v) == pytest.approx((6.25, 3.74, 15.44), rel=0.01)

    everybody = Buyers(*summaries, np.ones(len(row)))
    for model, worst, off in ((bg, 0.79, 0.03), (mbg, 0.77, 0.055)):
        expected, silent = model.expected(rows, 39)[row], model.none_within(rows, 39)[row]
        bought = figures(expected, later)
        assert bought.mae <= worst
        assert bought.correlation >= 0.62
        assert roc_auc_score(later == 0, silent) >= 0.75
        assert ((later == 0) - silent).mean() == pytest.approx(0.0, abs=off)
        said = value(model, worth, everybody, np.where(paid, times, 0), mean, Terms(39, 0, 1))
        assert said.purchases == pytest.approx(expected)
        brought = figures(said.expected, spent)
        assert brought.mae <= 30.5, "dollars; a mean of 30.1 came"
        assert (brought.spearman, brought.normalised_gini) >= (0.42, 0.63)
        assert brought.top_share >= 0.50, "of the money; who knew the future would have 0.76"
        assert brought.top_share_best == pytest.approx(0.763, abs=0.001)
        least, most = brought.deciles[0], brought.deciles[-1]
        assert most[1] == pytest.approx(most[2], rel=0.08), "the best tenth is told what it brings"
        assert least[1] < least[2] < 0.15 * most[2]
        assert ((spent >= said.low) & (spent <= said.high)).mean() == pytest.approx(0.93, abs=0.01)


@pytest.mark.parametrize("model", [BG, MBG, NBD])
def test_values_add_up_to_what_buyers_then_bring_and_nine_of_ten_are_within_their_interval(model: Model) -> None:
    lives = lived(1, 30_000, model, AGES, 26.0)
    known, later, worth = lives.buyers, lives.within(0, 26), TERMS.margin * lives.spent(TERMS.discount)
    found = value(model, WORTH, known, known.repeats, lives.mean, TERMS)
    for part in (known.repeats == 0, known.repeats > 0, known.repeats > 3):
        for told, done in ((found.purchases[part], later[part]), (found.expected[part], worth[part])):
            assert abs((done - told).sum()) < 4 * np.std(done - told) * np.sqrt(len(told)), "no more than chance"
            assert 4 * np.std(done - told) * np.sqrt(len(told)) < 0.15 * done.sum(), "and that is little"
        # Most values are 0, and so are most lower bounds: more than nine of ten are inside.
        assert (worth[part] <= found.high[part]).mean() == pytest.approx(0.95, abs=0.01)
        assert (worth[part] >= found.low[part]).mean() >= 0.94
    assert (found.low <= found.high).all()


@pytest.mark.parametrize("model", [BG, MBG, NBD])
def test_bounds_are_the_quantiles_of_futures_that_are_drawn(model: Model) -> None:
    """The story of one buyer, as the papers tell it, a quarter of a million times; without discount."""
    made, draws = np.random.default_rng(5), 250_000
    repeats, last, age = np.array([[0, 0, 30], [2, 25, 30], [9, 29, 30], [120, 29, 30]], dtype=np.float64).T
    mean, k = np.array([0.0, 20.0, 8.0, 8.0]), np.array([0.0, 2.0, 10.0, 121.0])
    known = Buyers(repeats, last, age, np.ones(4))
    found = value(model, WORTH, known, k, mean, Terms(26.0, 0.0, 1.0))
    for n, alive in enumerate(model.alive(known)):
        many = made.poisson(made.gamma(model.r + repeats[n], 1 / (model.alpha + age[n]), draws) * 26.0)
        if model.a is not None and model.b is not None:
            loss = made.beta(model.a, model.b + repeats[n] + model.at_once, draws)
            many = np.where(made.random(draws) < alive, np.minimum(many, made.geometric(loss)), 0)
        own = made.gamma(WORTH.q + WORTH.p * k[n], 1 / (WORTH.v + k[n] * mean[n]), draws)
        spent = np.where(many > 0, made.gamma(np.maximum(WORTH.p * many, 1e-9)) / own, 0.0)
        # Not the bound itself, whose noise grows where values are rare, but how many futures are below it.
        assert (spent <= found.high[n]).mean() == pytest.approx(max(0.95, (many == 0).mean()), abs=0.003)
        assert (spent < found.low[n]).mean() == pytest.approx(0.05 if found.low[n] > 0 else 0.0, abs=0.003)
        assert (found.low[n] > 0) == ((many == 0).mean() < 0.05)


@pytest.mark.parametrize("model", [BG, NBD])
def test_where_a_purchase_is_worth_one_number_a_bound_is_a_number_of_purchases(model: Model) -> None:
    lives = lived(6, 20_000, model, AGES, 26.0)
    known, later = lives.buyers, lives.within(0, 26)
    found = value(model, 7.0, known, known.repeats, lives.mean, Terms(26.0, 0.0, 1.0))
    assert found.expected == pytest.approx(7 * found.purchases)
    assert (found.high % 7 == 0).all()
    rows = np.arange(len(known))[:500]
    few = Buyers(known.repeats[rows], known.last[rows], known.age[rows], known.count[rows])
    high = found.high[rows] / 7
    assert (model.at_least(few, high + 1, 26.0) <= 0.05).all()
    assert (model.at_least(few, np.maximum(high, 1), 26.0) > 0.05)[high > 0].all()
    assert (7 * later <= found.high).mean() >= 0.95


def test_money_tomorrow_is_worth_less_and_all_of_it_is_the_margin_and_no_more() -> None:
    lives = lived(2, 300, BG, AGES, 0)
    known, mean = lives.buyers, lives.mean
    now, later, whole = (
        value(BG, WORTH, known, known.repeats, mean, terms)
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


def test_a_dozen_points_of_the_horizon_are_as_good_as_thousands_of_parts() -> None:
    lives = lived(3, 50, MBG, AGES, 0)
    known, terms = lives.buyers, Terms(horizon=365.0, discount=0.01, margin=1.0)
    ends = np.linspace(0, 365, 4_001)
    expected = np.stack([MBG.expected(known, float(end)) for end in ends])
    counted = (np.diff(expected, axis=0) * 1.01 ** -((ends[1:] + ends[:-1]) / 2)[:, None]).sum(axis=0)
    found = value(MBG, WORTH, known, known.repeats, lives.mean, terms).expected
    assert found == pytest.approx(counted * WORTH.mean(known.repeats, lives.mean), rel=1e-5)


def test_a_buyer_has_the_value_he_has_among_others_and_in_any_place(monkeypatch: pytest.MonkeyPatch) -> None:
    lives = lived(4, 1_700, MBG, (20.0, 40.0), 0)
    known, mean = lives.buyers, lives.mean
    whole = value(MBG, WORTH, known, known.repeats, mean, TERMS)
    monkeypatch.setattr(lifetime_value, "BLOCK", 50)
    some = np.random.default_rng(1).permutation(1_700)[:601]
    few = Buyers(known.repeats[some], known.last[some], known.age[some], known.count[some])
    part = value(MBG, WORTH, few, few.repeats, mean[some], TERMS)
    for name in ("purchases", "expected", "low", "high"):
        assert np.array_equal(getattr(whole, name)[some], getattr(part, name)), name
    assert len(np.unique(whole.high)) > 500


def test_nobody_is_valued_at_nothing() -> None:
    none = value(BG, WORTH, Buyers(*[np.zeros(0)] * 4), np.zeros(0), np.zeros(0), TERMS)
    assert (len(none.expected), len(none.low), len(none.high)) == (0, 0, 0)


def test_a_mean_that_is_not_finite_is_no_value_and_bounds_still_hold() -> None:
    heavy = GammaGamma(3.0, 0.9, 30.0, 0.0)
    known = Buyers(np.array([0.0, 2.0]), np.array([0.0, 9.0]), np.array([30.0, 30.0]), np.ones(2))
    found = value(BG, heavy, known, known.repeats, np.array([np.nan, 12.0]), TERMS)
    assert np.isnan(found.expected).tolist() == [True, False]
    assert (found.high > 0).all()


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


def test_rows_of_several_buyers_and_other_numbers_of_means_are_refused() -> None:
    known = lived(5, 10, BG, AGES, 0).buyers
    with pytest.raises(ValueError, match="10 means for 20 buyers in 10 rows"):
        value(BG, WORTH, replace(known, count=np.full(10, 2.0)), known.repeats, np.ones(10), TERMS)
    with pytest.raises(ValueError, match="9 means for 10 buyers in 10 rows"):
        value(BG, WORTH, known, known.repeats, np.ones(9), TERMS)


def test_steps_of_a_sixteenth_are_as_good_as_single_purchases(monkeypatch: pytest.MonkeyPatch) -> None:
    repeats = np.array([30.0, 80.0, 150.0])
    known = Buyers(repeats, np.full(3, 29.0), np.full(3, 30.0), np.ones(3))
    coarse = value(BG, WORTH, known, repeats + 1, np.full(3, 9.0), Terms(60.0, 0.0, 1.0))
    monkeypatch.setattr(lifetime_value, "EDGES", np.arange(1.0, 1_500.0))
    fine = value(BG, WORTH, known, repeats + 1, np.full(3, 9.0), Terms(60.0, 0.0, 1.0))
    assert fine.high.min() > 500
    assert coarse.high == pytest.approx(fine.high, rel=2e-3)
    assert coarse.low == pytest.approx(fine.low, rel=2e-3)
