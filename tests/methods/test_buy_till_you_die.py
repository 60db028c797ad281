"""When buyers come back: published figures, the story by integration and by simulation, and what cannot be learnt."""

from __future__ import annotations

from collections import defaultdict
from datetime import date
from pathlib import Path

import numpy as np
import pytest
from scipy import optimize, stats
from sklearn.metrics import roc_auc_score

from rekindle.methods import buy_till_you_die as btyd
from rekindle.methods import gamma_gamma
from rekindle.methods.buy_till_you_die import Buyers, Model

CDNOW = Path(__file__).resolve().parent.parent.parent.parent / "shared/data/cdnow/CDNOW_sample.txt"
BG = Model(0.5, 8.0, 0.8, 2.5, False, 0.0)
MBG = Model(0.5, 8.0, 0.8, 2.5, True, 0.0)


def buyers(*rows: tuple[float, float, float]) -> Buyers:
    repeats, last, age = np.array(rows, dtype=np.float64).T
    return Buyers(repeats, last, age, np.ones(len(rows)))


def lived(seed: int, n: int, model: Model, until: float) -> tuple[Buyers, np.ndarray]:
    """What buyers who follow the model's story did up to an age of 20 to 40, and how often they bought up to `until`
    after it."""
    made = np.random.default_rng(seed)
    rate, age = made.gamma(model.r, 1 / model.alpha, n), made.uniform(20, 40, n)
    loss = np.zeros(n) if model.a is None else made.beta(model.a, model.b, n)
    there = made.random(n) >= loss if model.at_once else np.ones(n, dtype=bool)
    at, repeats, last, later = np.zeros(n), np.zeros(n), np.zeros(n), np.zeros(n)
    while there.any():
        at = at + made.exponential(1 / np.maximum(rate, 1e-12))
        before, after = there & (at <= age), there & (at > age) & (at <= age + until)
        repeats, last, later = repeats + before, np.where(before, at, last), later + after
        there = (before | after) & (made.random(n) >= loss)
    return Buyers(repeats, last, age, np.ones(n)), later


@pytest.mark.skipif(not CDNOW.is_file(), reason="../shared/data does not lie beside the clone")
def test_cdnow_has_the_published_parameters_and_holdout_figures() -> None:
    """Fader, Hardie and Lee 2005, table 2; Fader and Hardie 2013. Weeks; 39 to learn from, 39 to come."""
    days: defaultdict[str, defaultdict[date, float]] = defaultdict(lambda: defaultdict(float))
    for line in CDNOW.read_text(encoding="ascii").splitlines():
        _, buyer, day, _, value = line.split()
        days[buyer][date(int(day[:4]), int(day[4:6]), int(day[6:]))] += float(value)
    cut = date(1997, 9, 30)
    known = [sorted(day for day in told if day <= cut) for told in days.values()]
    later = np.array([sum(day > cut for day in told) for told in days.values()])
    summaries = [[len(k) - 1, (k[-1] - k[0]).days / 7, (cut - k[0]).days / 7] for k in known]
    rows, row = Buyers.grouped(*np.array(summaries).T)
    assert (len(row), len(rows)) == (2357, 1016)
    model = btyd.fit(rows)
    assert (model.r, model.alpha, model.a, model.b) == pytest.approx((0.243, 4.414, 0.793, 2.426), rel=0.01)
    assert model.log_likelihood == pytest.approx(-9582.4, abs=0.05)
    expected, silent = model.expected(rows, 39)[row], model.none_within(rows, 39)[row]
    assert np.abs(expected - later).mean() <= 0.79
    assert np.corrcoef(expected, later)[0, 1] >= 0.62
    assert roc_auc_score(later == 0, silent) >= 0.75
    assert roc_auc_score(later == 0, 1 - model.alive(rows)[row]) == pytest.approx(0.316, abs=0.002), "not a risk"
    assert ((later == 0) - silent).mean() == pytest.approx(0.0, abs=0.03)

    repeated = [(len(k) - 1, sum(told[d] for d in k[1:])) for k, told in zip(known, days.values(), strict=True)]
    paid = np.array([(x, total / x) for x, total in repeated if x and total > 0])
    assert len(paid) == 946
    worth = gamma_gamma.fit(*paid.T)
    assert (worth.p, worth.q, worth.v) == pytest.approx((6.25, 3.74, 15.44), rel=0.01)


@pytest.mark.parametrize("model", [BG, MBG])
@pytest.mark.parametrize("row", [(0, 0, 30), (1, 12, 30), (6, 29, 30), (4, 5, 30)])
def test_a_likelihood_is_the_story_summed_over_all_rates_and_chances_of_being_lost(
    model: Model, row: tuple[float, float, float]
) -> None:
    x, last, age = row
    quantiles = (np.arange(2_000) + 0.5) / 2_000
    rate = stats.gamma(model.r, scale=1 / model.alpha).ppf(quantiles)[:, None]
    loss = stats.beta(model.a, model.b).ppf(quantiles)
    n = x + model.at_once
    story = rate**x * (1 - loss) ** n * np.exp(-rate * age)
    if n:
        story = story + rate**x * loss * (1 - loss) ** (n - 1) * np.exp(-rate * last)
    told, _ = btyd.log_likelihood(buyers(row), np.array([model.r, model.alpha, model.a, model.b]), model.at_once)
    assert np.exp(told) == pytest.approx(story.mean(), rel=2e-3)


@pytest.mark.parametrize("parameters", [(0.4, 7.0), (0.4, 7.0, 0.9, 2.0), (2.0, 30.0, 3.0, 0.7)])
@pytest.mark.parametrize("at_once", [False, True])
def test_the_gradient_is_that_of_finite_differences(parameters: tuple[float, ...], at_once: bool) -> None:
    known, _ = lived(1, 300, MBG, 1.0)
    _, slope = btyd.log_likelihood(known, np.array(parameters), at_once)
    by_steps = optimize.approx_fprime(
        np.array(parameters), lambda p: btyd.log_likelihood(known, p, at_once)[0], epsilon=1e-7
    )
    np.testing.assert_allclose(slope, by_steps, rtol=2e-4, atol=2e-3)


@pytest.mark.parametrize("model", [BG, MBG])
def test_what_made_the_buyers_is_found_again_and_tells_what_they_do_next(model: Model) -> None:
    known, later = lived(3, 40_000, model, 26.0)
    found = btyd.fit(known, at_once=model.at_once)
    assert (found.r, found.alpha, found.a, found.b) == pytest.approx((0.5, 8.0, 0.8, 2.5), rel=0.15)
    for part in (known.repeats == 0, (known.repeats > 0) & (known.repeats < 4), known.repeats >= 4):
        some = Buyers(known.repeats[part], known.last[part], known.age[part], known.count[part])
        assert found.expected(some, 26.0).sum() == pytest.approx(later[part].sum(), rel=0.05)
        assert found.none_within(some, 26.0).mean() == pytest.approx((later[part] == 0).mean(), abs=0.02)


@pytest.mark.parametrize(
    "model", [BG, MBG, Model(0.5, 8.0, 1.0, 2.5, False, 0.0), Model(2.0, 8.0, 1.7, 0.6, False, 0.0)]
)
def test_expected_purchases_are_those_of_whoever_is_there_summed_over_all_chances_of_being_lost(model: Model) -> None:
    some = buyers((0, 0, 30), (1, 12, 30), (6, 29, 30), (40, 25, 30))
    found = model.expected(some, 13.0)
    for n, (x, age, alive) in enumerate(zip(some.repeats, some.age, model.alive(some), strict=True)):
        chance, rate = stats.beta(model.a, model.b + x + model.at_once), model.alpha + age  # of who is there
        mean = chance.expect(lambda p, x=x, rate=rate: (1 - (rate / (rate + 13.0 * p)) ** (model.r + x)) / p)
        assert found[n] == pytest.approx(alive * mean, rel=1e-4)


def test_who_bought_once_is_alive_for_certain_only_where_the_first_purchase_cannot_be_the_last() -> None:
    once = buyers((0, 0, 1), (0, 0, 100))
    assert BG.alive(once).tolist() == [1.0, 1.0]
    assert 1 > MBG.alive(once)[0] > MBG.alive(once)[1]
    assert BG.none_within(once, 10)[1] > BG.none_within(once, 10)[0] > 0
    assert BG.none_within(once, 0).tolist() == [1.0, 1.0], "nobody buys in no time"
    assert MBG.none_within(once, 1e30) == pytest.approx(1 - MBG.alive(once)), "who is there buys sooner or later"


def test_equal_buyers_as_one_row_and_days_instead_of_weeks_change_nothing() -> None:
    known, _ = lived(5, 2_000, BG, 1.0)
    whole = Buyers(known.repeats, np.ceil(known.last), np.ceil(known.age), known.count)
    rows, row = Buyers.grouped(whole.repeats, whole.last, whole.age)
    assert len(rows) < 0.5 * len(whole)
    assert rows.count.sum() == len(whole)
    assert np.array_equal(rows.last[row], whole.last)
    weekly = btyd.fit(whole)
    grouped = btyd.fit(rows)
    daily = btyd.fit(Buyers(rows.repeats, rows.last * 7, rows.age * 7, rows.count))
    assert grouped.none_within(rows, 4)[row] == pytest.approx(weekly.none_within(whole, 4), rel=1e-4)
    assert daily.alpha == pytest.approx(7 * grouped.alpha, rel=1e-3)
    assert daily.none_within(Buyers(rows.repeats, rows.last * 7, rows.age * 7, rows.count), 28) == pytest.approx(
        grouped.none_within(rows, 4), rel=1e-4
    )
    at = np.array([grouped.r, grouped.alpha, grouped.a, grouped.b])
    assert grouped.log_likelihood == pytest.approx(btyd.log_likelihood(whole, at, False)[0], rel=1e-9)


@pytest.mark.parametrize("at_once", [False, True])
def test_where_nobody_seems_lost_it_says_so_and_counts_on_everybody(at_once: bool) -> None:
    known, later = lived(7, 5_000, Model(1.5, 10.0, None, None, False, 0.0), 26.0)
    often = known.repeats > 0
    bought_lately = np.where(often, 0.98 * known.age, 0.0)  # nobody is silent for long: no loss explains anything
    found = btyd.fit(Buyers(known.repeats, bought_lately, known.age, known.count), at_once=at_once)
    assert found.degraded is not None
    assert "has no finite optimum on these 5000 buyers" in found.degraded
    assert (found.a, found.b) == (None, None)
    assert (found.r, found.alpha) == pytest.approx((1.5, 10.0), rel=0.1)
    assert found.alive(known).tolist() == [1.0] * 5_000
    assert found.expected(known, 26.0).sum() == pytest.approx(later.sum(), rel=0.03)
    assert found.none_within(known, 26.0).mean() == pytest.approx((later == 0).mean(), abs=0.01)


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        ([(1.5, 3, 9)], "1 of 1 rows have repeats that are no whole number"),
        ([(-1, 0, 9), (1, 3, 9)], "1 of 2 rows have repeats"),
        ([(1, 10, 9)], "a last purchase outside 0 to the age"),
        ([(0, 3, 9)], "a last repeat purchase without repeats"),
        ([(2, 0, 9)], "a last repeat purchase without repeats"),
        ([(1, 3, np.nan)], "an age that is no number"),
    ],
)
def test_summaries_that_cannot_be_are_refused(rows: list[tuple[float, float, float]], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        buyers(*rows)


def test_nobody_who_came_back_teaches_no_rate() -> None:
    with pytest.raises(ValueError, match="2 buyers, none with a repeat purchase"):
        btyd.fit(buyers((0, 0, 3), (0, 0, 9)))
    with pytest.raises(ValueError, match="a horizon of -1"):
        BG.none_within(buyers((0, 0, 3)), -1)
