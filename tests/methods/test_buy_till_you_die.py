"""When buyers come back: published figures, the story by integration and by simulation, and what cannot be learnt."""

from __future__ import annotations

import csv
from collections import defaultdict
from datetime import date
from pathlib import Path

import numpy as np
import pytest
from scipy import optimize, stats

from rekindle.methods import buy_till_you_die as btyd
from rekindle.methods.buy_till_you_die import Buyers, Model
from tests.methods.buyers_story import BG, MBG, NBD, lived

ONLINE_RETAIL = Path(__file__).resolve().parent.parent.parent.parent / "shared/data/online-retail"
AGES = (20.0, 40.0)


def buyers(*rows: tuple[float, float, float]) -> Buyers:
    repeats, last, age = np.array(rows, dtype=np.float64).T
    return Buyers(repeats, last, age, np.ones(len(rows)))


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
    known = lived(1, 300, MBG, AGES, 0).buyers
    _, slope = btyd.log_likelihood(known, np.array(parameters), at_once)
    by_steps = optimize.approx_fprime(
        np.array(parameters), lambda p: btyd.log_likelihood(known, p, at_once)[0], epsilon=1e-7
    )
    np.testing.assert_allclose(slope, by_steps, rtol=2e-4, atol=2e-3)


@pytest.mark.parametrize("model", [BG, MBG])
def test_what_made_the_buyers_is_found_again_and_tells_what_they_do_next(model: Model) -> None:
    lives = lived(3, 40_000, model, AGES, 26.0)
    known, later = lives.buyers, lives.within(0, 26)
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


@pytest.mark.parametrize("model", [BG, MBG, NBD, Model(2.0, 8.0, 1.7, 0.6, False, 0.0)])
def test_who_is_silent_after_a_gap_and_when_the_next_purchase_comes_is_what_buyers_then_do(model: Model) -> None:
    lives = lived(11, 60_000, model, AGES, 400.0)
    known, wait = lives.buyers, lives.wait()
    silent, median = model.none_within(known, 13.0, gap=9.0), model.wait(known)
    none = lives.within(9.0, 22.0) == 0
    for part in (known.repeats == 0, (known.repeats > 0) & (known.repeats < 4), known.repeats >= 4):
        noise = 4 * np.sqrt(0.25 / part.sum())
        assert silent[part].mean() == pytest.approx(none[part].mean(), abs=noise), "no more than chance"
        assert (wait[part] <= np.minimum(median[part], 400)).mean() == pytest.approx(
            (1 - model.none_within(known, 400.0)[part] * (median[part] > 400) - 0.5 * (median[part] <= 400)).mean(),
            abs=noise,
        ), "half of those with a median before the end have bought by then, of the others whoever buys at all"
    if model.a is not None:
        far = np.abs(silent - model.none_within(known, 13.0))
        assert far.max() > 0.05, "to be lost in the gap matters"
    else:
        assert silent == pytest.approx(model.none_within(known, 13.0)), "who cannot be lost buys at his rate for ever"


@pytest.mark.parametrize("model", [BG, MBG, NBD])
def test_a_gap_of_nothing_is_no_gap_and_long_ones_and_heavy_buyers_are_summed_over_all_chances(model: Model) -> None:
    some = buyers((0, 0, 1), (1, 3, 400), (300, 364, 365), (1200, 1299, 1300))
    assert np.array_equal(model.none_within(some, 13.0, gap=0.0), model.none_within(some, 13.0))
    found = model.none_within(some, 90.0, gap=365.0)
    for n, (x, age, alive) in enumerate(zip(some.repeats, some.age, model.alive(some), strict=True)):
        chances = (np.arange(100_000) + 0.5) / 100_000
        loss = np.zeros(1) if model.a is None else stats.beta(model.a, model.b + x + model.at_once).ppf(chances)
        rate, shape = model.alpha + age, model.r + x
        some_later = (rate / (rate + 365 * loss)) ** shape - (rate / (rate + 365 * loss + 90)) ** shape
        assert found[n] == pytest.approx(1 - alive * some_later.mean(), abs=1e-6)


@pytest.mark.parametrize("model", [BG, MBG, NBD])
def test_the_chances_of_so_many_purchases_add_up_to_those_expected(model: Model) -> None:
    some = buyers((0, 0, 30), (1, 12, 30), (6, 29, 30), (30, 25, 30))
    told = model.at_least(some, np.arange(1.0, 1_000.0)[:, None], 26.0)
    assert told.sum(axis=0) == pytest.approx(model.expected(some, 26.0), rel=1e-6)
    assert told[0] == pytest.approx(1 - model.none_within(some, 26.0), rel=1e-9)
    assert np.array_equal(model.at_least(some, 3.0, 26.0), told[2])


def test_half_have_bought_at_the_median_and_who_is_more_likely_lost_never_gets_there() -> None:
    some = buyers((0, 0, 30), (1, 12, 30), (6, 29, 30), (30, 5, 30))
    for n, wait in enumerate(MBG.wait(some)):
        if np.isfinite(wait):
            assert MBG.none_within(some, float(wait))[n] == pytest.approx(0.5, abs=1e-9)
        else:
            assert MBG.alive(some)[n] <= 0.5
    assert np.isfinite(MBG.wait(some)).tolist() == [True, True, True, False]


def test_who_bought_once_is_alive_for_certain_only_where_the_first_purchase_cannot_be_the_last() -> None:
    once = buyers((0, 0, 1), (0, 0, 100))
    assert BG.alive(once).tolist() == [1.0, 1.0]
    assert 1 > MBG.alive(once)[0] > MBG.alive(once)[1]
    assert BG.none_within(once, 10)[1] > BG.none_within(once, 10)[0] > 0
    assert BG.none_within(once, 0).tolist() == [1.0, 1.0], "nobody buys in no time"
    assert MBG.none_within(once, 1e30) == pytest.approx(1 - MBG.alive(once)), "who is there buys sooner or later"


def test_equal_buyers_as_one_row_and_days_instead_of_weeks_change_nothing() -> None:
    known = lived(5, 2_000, BG, AGES, 0).buyers
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
    lives = lived(7, 5_000, Model(1.5, 10.0, None, None, False, 0.0), AGES, 26.0)
    known, later = lives.buyers, lives.within(0, 26)
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


@pytest.mark.skipif(not ONLINE_RETAIL.is_dir(), reason="../shared/data does not lie beside the clone")
@pytest.mark.parametrize(("at_once", "name"), [(False, "BG/NBD"), (True, "MBG/NBD")])
def test_online_retail_shows_no_losses_and_both_models_say_so(at_once: bool, name: str) -> None:
    """Seven months of a wholesaler; purchase days of customers before 2011-07-14. Its regulars buy every few months, so
    nobody has been silent for long enough: the likelihood rises as a → 0, b → ∞."""
    as_of, days = date(2011, 7, 14), defaultdict(set)
    for path in sorted(ONLINE_RETAIL.glob("*.csv")):
        day = date.fromisoformat(path.stem)
        if day < as_of:
            with path.open(encoding="utf-8", newline="") as lines:
                for line in csv.DictReader(lines):
                    if line["CustomerID"] and int(line["Quantity"]) > 0 and not line["InvoiceNo"].startswith("C"):
                        days[line["CustomerID"]].add(day)
    summaries = [(len(d) - 1, (max(d) - min(d)).days, (as_of - min(d)).days) for d in days.values()]
    rows, row = Buyers.grouped(*np.array(summaries, dtype=np.float64).T)
    assert (len(row), len(rows)) == (3033, 1778)
    found = btyd.fit(rows, at_once=at_once)
    assert found.degraded is not None
    assert found.degraded.startswith(f"{name} has no finite optimum on these 3033 buyers")
    # No loss that is looked for on a grid explains more than losing nobody does.
    for a in (1e-4, 0.01, 0.1, 1.0, 10.0):
        for b in (1.0, 10.0, 100.0, 10_000.0):
            at = np.array([found.r, found.alpha, a, b])
            assert btyd.log_likelihood(rows, at, at_once)[0] < found.log_likelihood + btyd.LEAST_GAIN


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
    with pytest.raises(ValueError, match="a gap of -2"):
        BG.none_within(buyers((0, 0, 3)), 1, gap=-2)
