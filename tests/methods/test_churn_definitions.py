"""Who has stopped buying, by several definitions: each against a plain loop over days, and what none of them may do."""

from __future__ import annotations

import math
from dataclasses import replace
from datetime import date
from typing import Any

import duckdb
import numpy as np
import pytest
import yaml
from hypothesis import given
from hypothesis import settings as example_settings
from hypothesis import strategies as st
from sklearn.metrics import cohen_kappa_score

from rekindle import settings
from rekindle.methods import buy_till_you_die as btyd
from rekindle.methods import churn_definition_pages as pictures
from rekindle.methods import churn_definitions as definitions
from rekindle.methods import interpurchase
from rekindle.methods.churn_definitions import Call, Terms, Told
from rekindle.methods.cutoffs import TooLittleHistory
from rekindle.methods.interpurchase import Curve, PurchaseDays, Spells

EXAMPLES = example_settings(max_examples=25, deadline=None)
FEW = example_settings(max_examples=8, deadline=None)  # a fit of BG/NBD takes 10 to 50 ms, and there are several
TERMS = Terms(14, 3, 60, 30, 14, (7, 14, 28))
ROWS = st.lists(st.tuples(st.integers(0, 6), st.integers(0, 119)), min_size=8, max_size=60)


def history(*buyers: list[int]) -> PurchaseDays:
    rows = [(number, day) for number, days in enumerate(buyers) for day in days]
    return PurchaseDays.of(*np.array(rows, dtype=np.int64).T)


def spells(days: list[int], ended: list[bool]) -> Spells:
    number = np.ones(len(days), dtype=np.int64)
    return Spells(number, number, np.array(days, dtype=np.int64), np.array(ended))


def shop(seed: int = 4, buyers: int = 120, until: int = 200) -> list[list[int]]:
    """Buyers with a pace of their own; a third stops for good some day."""
    made = np.random.default_rng(seed)
    told = []
    for _ in range(buyers):
        pace, stops = made.uniform(5, 40), made.uniform(20, 150) if made.random() < 0.35 else 1e9
        day, days = made.uniform(0, 60), []
        while day < min(until, stops):
            days.append(int(day))
            day += made.exponential(pace) + 0.5
        told.append(days or [int(made.integers(0, 60))])
    return told


SHOP = shop()


def test_a_spell_lasts_to_the_next_purchase_day_or_is_a_silence() -> None:
    found = history([5, 0, 9, 5], [11]).spells(12)
    assert found.buyer.tolist() == [0, 0, 0, 1]
    assert found.number.tolist() == [1, 2, 3, 1]
    assert found.days.tolist() == [5, 4, 2, 0], "since day 9 nothing was bought on days 10 and 11"
    assert found.ended.tolist() == [True, True, False, False]


def test_a_purchase_that_is_not_known_yet_ends_no_spell() -> None:
    found = history([0, 5], [9]).spells(5)
    assert (found.days.tolist(), found.ended.tolist()) == ([4], [False])


def test_the_curve_is_the_published_one_of_kaplan_and_meier() -> None:
    """Freireich et al. 1963, 6-MP arm, as in Kalbfleisch and Prentice 2002, table 1.1: weeks in remission."""
    relapsed = [6, 6, 6, 7, 10, 13, 16, 22, 23]
    watched = [6, 9, 10, 11, 17, 19, 20, 25, 32, 32, 34, 35]
    curve = Curve.of(spells(relapsed + watched, [True] * 9 + [False] * 12))
    published = {5: 1.0, 6: 0.857, 7: 0.807, 10: 0.753, 13: 0.690, 16: 0.627, 22: 0.538, 23: 0.448, 35: 0.448}
    assert {week: round(float(curve.survival[week]), 3) for week in published} == published


def test_the_curve_of_a_shop_is_that_of_a_database() -> None:
    found = history(*SHOP).spells(180)
    curve = Curve.of(found)
    with duckdb.connect() as base:
        base.execute("CREATE TABLE spell (days BIGINT, ended BOOLEAN)")
        rows = list(zip(found.days.tolist(), found.ended.tolist(), strict=True))
        base.executemany("INSERT INTO spell VALUES (?, ?)", rows)
        told = base.execute(
            "WITH day AS (SELECT unnest(range((SELECT max(days) FROM spell) + 1)) AS d),"
            " counted AS (SELECT d, (SELECT count(*) FROM spell WHERE days >= d) AS at_risk,"
            " (SELECT count(*) FROM spell WHERE days = d AND ended) AS ended FROM day)"
            " SELECT at_risk, product(1 - ended / at_risk) OVER (ORDER BY d) FROM counted ORDER BY d"
        ).fetchall()
    assert len(told) > 100
    assert curve.at_risk.tolist() == [row[0] for row in told]
    np.testing.assert_allclose(curve.survival, [row[1] for row in told], rtol=1e-12)


def test_beyond_what_enough_spells_reach_the_curve_goes_on_at_its_last_pace() -> None:
    made = np.random.default_rng(2)
    days = made.geometric(0.05, 4_000)
    curve = Curve.of(spells(np.minimum(days, 40).tolist(), (days <= 40).tolist()))
    assert curve.last == 40
    assert curve.none_within(np.array([0, 20, 39, 90]), 60) == pytest.approx(0.95**60, rel=0.3)
    assert (np.diff(curve.silent(np.arange(400))) < 0).all(), "nobody is silent for ever only because a log ends"


@pytest.mark.parametrize("corner", [10, 25, 60])
def test_the_knee_is_the_corner_of_a_curve_that_has_one(corner: int) -> None:
    rising = np.concatenate([np.linspace(0, 0.8, corner + 1), np.linspace(0.8, 1, 101 - corner)[1:]])
    assert interpurchase.knee(rising) == corner
    assert interpurchase.knee(1 - 0.7 * rising) == corner, "neither direction nor scale matter"


def test_the_knee_of_buying_at_a_steady_pace_is_where_calculus_says() -> None:
    pace, days = 30.0, 365
    curve = 1 - np.exp(-np.arange(days + 1) / pace)
    steepest = pace * math.log(days / (pace * (1 - math.exp(-days / pace))))
    assert interpurchase.knee(curve) == pytest.approx(steepest, abs=0.51)


def test_a_curve_that_does_not_bend_towards_its_beginning_has_no_knee() -> None:
    line = np.linspace(0, 1, 50)
    assert [interpurchase.knee(curve) for curve in (line, line**2, np.ones(9), np.array([0.0, 1.0]))] == [None] * 4


def test_eligible_ends_where_hardly_anybody_comes_back() -> None:
    """1,000 come back on days 1 to 40, 25 a day; 1,000 never do. Silent for s ≤ 40, 1,000 + 25 (40 − s) are left."""
    days = [day for day in range(1, 41) for _ in range(25)] + [300] * 1000
    curve = Curve.of(spells(days, [True] * 1000 + [False] * 1000))
    chance = interpurchase.come_back(curve, 10)
    by_hand = next(s for s in range(40) if 25 * min(10, 40 - s) / (1000 + 25 * (40 - s)) < 0.05)
    assert interpurchase.silence_without_return(chance) == by_hand == 38
    assert chance[[0, 37, 60]] == pytest.approx([250 / 2000, 75 / 1075, 0])
    assert interpurchase.silence_without_return(chance, share=0.0) is None


def proposal(days: list[int], ended: list[bool], logged: int) -> interpurchase.Proposal:
    first = date(2026, 1, 1)
    as_of = date.fromordinal(first.toordinal() + logged)
    return interpurchase.propose(Curve.of(spells(days, ended)), as_of, first, 30, 2, 90, 45, 14)


def test_the_lines_for_conf_are_legal_conf() -> None:
    days = [day for day in range(1, 41) for _ in range(25)] + [300] * 1000
    found = proposal(days, [True] * 1000 + [False] * 1000, logged=400)
    told = yaml.safe_load(found.fragment)["churn"]
    assert told == {"horizon_days": 42, "gap_days": 2, "eligibility_days": found.eligibility_days}
    assert (found.knee, found.reached) == (40, True)
    conf = settings.Churn(**told, history_days=45, cutoff_step_days=14, training_cutoffs=6)
    assert conf.horizon_days == 42


def test_a_horizon_is_proposed_only_if_the_log_can_train_on_it() -> None:
    days = [day for day in range(1, 41) for _ in range(25)] + [300] * 1000
    ended = [True] * 1000 + [False] * 1000
    assert proposal(days, ended, logged=3 * (28 + 2) + 45).horizon_days == 28
    kept = proposal(days, ended, logged=50)
    assert kept.horizon_days == 30
    assert "kept" in kept.why["horizon_days"]


def test_a_log_that_shows_no_end_of_coming_back_says_so() -> None:
    days = np.random.default_rng(1).geometric(0.02, 3_000)
    found = proposal(np.minimum(days, 60).tolist(), (days <= 60).tolist(), logged=400)
    assert not found.reached
    assert found.eligibility_days == 60 - found.horizon_days
    assert "still buy within" in found.why["eligibility_days"]


def test_of_silences_that_few_have_nothing_is_said() -> None:
    """Of 150 who are silent for longer than 20 days a tenth comes back: too few to tell that from a twentieth."""
    days = [5] * 400 + [60] * 15 + [90] * 135
    curve = Curve.of(spells(days, [True] * 415 + [False] * 135))
    assert len(interpurchase.come_back(curve, 10)) == 6, "silences of 0 to 5 days"
    few = proposal([5] * 100 + [60] * 90, [True] * 100 + [False] * 90, logged=400)
    assert few.eligibility_days == 90
    assert few.why["eligibility_days"].startswith("kept")


@pytest.mark.parametrize(("gap", "horizon"), [(0, 10), (3, 7)])
def test_a_window_calls_gone_who_buys_nothing_in_it(gap: int, horizon: int) -> None:
    asked, t = np.arange(len(SHOP)), 90
    found = definitions.fixed_window(history(*SHOP), t, asked, horizon, gap)
    assert found.gone.tolist() == [not any(t + gap <= day < t + gap + horizon for day in days) for days in SHOP]
    assert 20 < found.gone.sum() < 110
    assert np.where(found.gone, gap + horizon, np.inf).tolist() == found.wait.tolist()


def test_cadence_measures_everybody_by_his_own_habit_and_newcomers_by_the_shop_s() -> None:
    weekly, monthly, once = list(range(0, 71, 7)), [0, 30, 60], [65]
    found = definitions.cadence(history(weekly, monthly, once), 80, np.arange(3), quantile=0.9, weight=5)
    shops = np.quantile([7] * 10 + [30] * 2, 0.9)
    by_hand = [(10 * 7 + 5 * shops) / 15, (2 * 30 + 5 * shops) / 7, shops]
    assert found.needed.tolist() == [math.ceil(days) for days in by_hand]
    assert found.gone.tolist() == (np.array([9, 19, 14]) >= found.needed).tolist()


def test_cadence_takes_the_quantile_of_a_buyer_s_own_intervals() -> None:
    gaps = [3, 20, 5, 11, 8]
    days = np.cumsum([0, *gaps]).tolist()
    found = definitions.cadence(history(days, [0, 4], [1]), 60, np.array([0]), weight=1e-9)
    assert found.needed.tolist() == [math.ceil(float(np.quantile(gaps, 0.9)))]


def test_btyd_calls_gone_whom_the_model_gives_less_than_even_chances() -> None:
    some, t, window = history(*SHOP), 120, (28.0, 4.0)
    asked = np.flatnonzero(some.before(t) > 0)
    found, _ = definitions.no_purchase(some, t, asked, 28, 4)
    known = [[day for day in sorted(set(SHOP[n])) if day < t] for n in asked]
    summaries = np.array([[len(k) - 1, k[-1] - k[0], t - 1 - k[0]] for k in known], dtype=np.float64).T
    buyers = btyd.Buyers(*summaries, np.ones(len(known)))
    model = btyd.fit(btyd.Buyers.grouped(*summaries)[0])
    assert found.gone.tolist() == (model.none_within(buyers, *window) > 0.5).tolist()
    assert 0 < found.gone.sum() < len(asked)
    for shift, is_gone in ((0, True), (-1, False)):
        some_day = (found.needed + shift >= 0) & (found.needed < definitions.FARTHEST)
        at = np.where(some_day, found.needed + shift, 0)
        then = btyd.Buyers(buyers.repeats, buyers.last, buyers.last + at, buyers.count)
        assert some_day.sum() > 10
        assert ((model.none_within(then, *window) > 0.5) == is_gone)[some_day].all(), (
            "the first day of silence that tells"
        )


def test_survival_goes_by_the_curve_after_as_many_purchases() -> None:
    """Of 200 who bought once a fifth comes back, after 10 days; who has bought twice does so again after 5."""
    once, regulars = [[0]] * 160, [[0, *range(10, 60, 5)]] * 40
    some = history(*once, *regulars, [40], [35, 55], [30, 40])
    found = definitions.survival(some, 60, np.array([200, 201, 202]), 20)
    assert found.gone.tolist() == [True, False, True], "once; twice, silent for 4 days; twice, silent for 19"
    assert found.wait.tolist() == [0, 1, 0], "who has not come on the fifth day is one of few, and goes by all"
    assert found.needed.tolist() == [0, 5, 5]


def test_a_curve_that_few_reach_goes_on_as_that_of_all() -> None:
    few, all_ = spells([3, 3, 9], [True, True, False]), spells([2] * 40 + [8] * 40, [True] * 40 + [False] * 40)
    everybody = Curve.of(all_)
    assert Curve.of(few).then(everybody).survival.tolist() == everybody.survival.tolist(), (
        "three are too few for any day"
    )
    many = Curve.of(spells([1] * 10 + [4] * 30, [True] * 10 + [False] * 30))
    assert many.then(everybody).survival.tolist() == [1.0] + [0.75] * 8, "the 40 who came on day 2 are past"


def past_calls(some: PurchaseDays, t: int) -> list[Call]:
    asked = np.flatnonzero(some.before(t) > 0)
    return [
        definitions.cadence(some, t, asked),
        definitions.no_purchase(some, t, asked, 20, 2)[0],
        definitions.survival(some, t, asked, 20),
    ]


def known(rows: list[tuple[int, int]], until: int = 120) -> PurchaseDays:
    """Seven buyers, one of them known to have come back: so that there is something to learn from at day 60."""
    base = [(number, number) for number in range(7)] + [(0, 30)]
    return PurchaseDays.of(*np.array([*base, *(row for row in rows if row[1] < until)], dtype=np.int64).T)


def same(one: list[Call], other: list[Call]) -> bool:
    return all(
        np.array_equal(getattr(told, what), getattr(again, what))
        for told, again in zip(one, other, strict=True)
        for what in ("gone", "wait", "needed")
    )


@FEW
@given(ROWS)
def test_what_is_bought_later_changes_nothing_of_what_was_known(rows: list[tuple[int, int]]) -> None:
    assert same(past_calls(known(rows), 60), past_calls(known(rows, until=60), 60))


@FEW
@given(ROWS, st.randoms(use_true_random=False))
def test_neither_the_order_of_purchases_nor_a_second_one_on_a_day_matters(rows: list[Any], dice: Any) -> None:
    shuffled = [*rows, *rows[:5]]
    dice.shuffle(shuffled)
    assert same(past_calls(known(rows), 60), past_calls(known(shuffled), 60))
    one, other = (definitions.compare(known(some), 120, replace(TERMS, step_days=30)) for some in (rows, shuffled))
    np.testing.assert_array_equal(one.kappa, other.kappa)
    for told, again in zip(one.told, other.told, strict=True):
        np.testing.assert_array_equal([told.regret, *told.base, *told.lead], [again.regret, *again.base, *again.lead])


@EXAMPLES
@given(ROWS)
def test_who_stays_silent_is_called_gone_after_the_days_he_was_said_to_wait(rows: list[tuple[int, int]]) -> None:
    """Nobody buys after day 60, so a habit learnt then is learnt on every later day."""
    some, asked = known(rows, until=60), np.arange(7)
    wait = definitions.cadence(some, 60, asked).wait
    for buyer, days in enumerate(wait.astype(int).tolist()):
        assert definitions.cadence(some, 60 + days, asked).gone[buyer]
        assert days == 0 or not definitions.cadence(some, 60 + days - 1, asked).gone[buyer]


@EXAMPLES
@given(st.integers(1, 40), st.integers(0, 2**32 - 1))
def test_agreement_is_mutual_and_that_of_scikit_learn(size: int, seed: int) -> None:
    flags = np.random.default_rng(seed).random((4, size)) < np.array([[0.5], [0.5], [0.9], [1.1]])
    alike, kappa = definitions.agreement(flags)
    np.testing.assert_array_equal(alike, alike.T)
    np.testing.assert_array_equal(kappa, kappa.T)
    np.testing.assert_allclose(np.diag(alike), 1)
    constant = flags.all(axis=1) | ~flags.any(axis=1)
    np.testing.assert_allclose(np.diag(kappa), np.where(constant, np.nan, 1.0))
    for row, one in enumerate(flags):
        for column, other in enumerate(flags):
            assert alike[row, column] == pytest.approx((one == other).mean())
            if not (constant[row] and constant[column]):
                assert kappa[row, column] == pytest.approx(cohen_kappa_score(one, other), abs=1e-12)


def test_the_figures_of_a_comparison_are_those_of_a_plain_loop() -> None:
    some, as_of = history(*SHOP), 200
    found = definitions.compare(some, as_of, TERMS)
    first = min(day for days in SHOP for day in days)
    last_cut = as_of - 3 - 28
    assert found.cutoffs == tuple(t for t in range(last_cut - 7 * 14, last_cut + 1, 14) if t >= first + 30)
    assert [told.name for told in found.told] == ["7 days", "14 days", "28 days", "cadence", "BTYD", "survival"]
    seen: dict[str, list[tuple[bool, bool | None, bool]]] = {told.name: [] for told in found.told}
    for place, t in enumerate(found.cutoffs):
        asked = [n for n, days in enumerate(SHOP) if any(t - 60 <= day < t for day in days)]
        assert found.asked[place] == len(asked)
        calls = {
            "cadence": definitions.cadence(some, t, np.array(asked)).gone,
            "BTYD": definitions.no_purchase(some, t, np.array(asked), 14, 3)[0].gone,
            "survival": definitions.survival(some, t, np.array(asked), 17).gone,
        }
        for row, n in enumerate(asked):
            never = not any(day >= t for day in SHOP[n])
            for days in (7, 14, 28):
                gone = not any(t + 3 <= day < t + 3 + days for day in SHOP[n])
                again = any(t + 3 + days <= day < t + 3 + 2 * days for day in SHOP[n])
                seen[f"{days} days"].append((gone, again if t + 3 + 2 * days <= as_of else None, never))
            for name, call in calls.items():
                seen[name].append((bool(call[row]), any(t <= day < t + 14 for day in SHOP[n]), never))
    for told in found.told:
        rows = seen[told.name]
        regretted = [again for gone, again, _ in rows if gone and again is not None]
        assert told.regret == pytest.approx(np.mean(regretted))
        assert told.precision == pytest.approx(np.mean([never for gone, _, never in rows if gone]))
        assert told.recall == pytest.approx(np.mean([gone for gone, _, never in rows if never]))
        assert float(told.base @ found.asked) == pytest.approx(sum(gone for gone, _, _ in rows))
    assert found.told[2].regret_cutoffs < found.told[0].regret_cutoffs == len(found.cutoffs)


def test_lead_is_how_much_earlier_than_the_longest_window_silence_is_told() -> None:
    found = {told.name: told for told in definitions.compare(history(*SHOP), 200, TERMS).told}
    assert [found[name].lead.tolist() for name in ("7 days", "14 days", "28 days")] == [[21] * 3, [14] * 3, [0] * 3]
    assert [found[name].found for name in ("7 days", "14 days", "28 days")] == [1, 1, 1]
    for name in ("cadence", "BTYD", "survival"):
        assert 0 <= found[name].lead[0] <= found[name].lead[1] <= found[name].lead[2] <= 31
        assert found[name].found <= 1


def test_where_nobody_is_ever_lost_btyd_says_what_stands_in() -> None:
    steady = [list(range(n % 9, 200, 5 + n % 9)) for n in range(60)]
    found = definitions.compare(history(*steady), 200, TERMS)
    assert any("NBD, which loses nobody, stands in" in note for note in found.notes)


def test_too_short_a_log_is_refused_with_what_it_needs() -> None:
    with pytest.raises(TooLittleHistory, match="30 days of log before a cut-off and 31 after it"):
        definitions.compare(history(*[[0, 20, 50]] * 9), 55, TERMS)
    with pytest.raises(TooLittleHistory, match="nobody has bought on two days"):
        definitions.compare(history(*[[n] for n in range(40)]), 80, TERMS)


def test_windows_stand_around_conf_and_knee_and_fit_the_log() -> None:
    assert definitions.windows_of(45, 73, room=201) == (14, 28, 45, 56, 73, 120)
    assert definitions.windows_of(45, 50, room=60) == (14, 28, 45, 56)
    assert definitions.windows_of(200, None, room=100) == (14, 28, 56, 84, 200), "conf's own always"


def test_the_pictures_load_nothing_and_are_the_same_twice() -> None:
    some = history(*SHOP)
    found = definitions.compare(some, 200, TERMS)
    curve, days = Curve.of(some.spells(200)), [interpurchase.as_date(t) for t in found.cutoffs]
    by_number = interpurchase.curves_by_number(some.spells(200))
    assert list(by_number)[:2] == ["1", "2"]

    def drawn() -> list[str]:
        return [
            pictures.curve_plot(curve, by_number, 20),
            pictures.return_plot(interpurchase.come_back(curve, 14), 14, 40, 60),
            pictures.base_plot(found, days),
            pictures.lead_plot(found, 31),
        ]

    once = drawn()
    assert drawn() == once
    for picture, word in zip(once, ("knee 20 days", "proposed 40", "1970-", "cadence"), strict=True):
        assert picture.startswith("<svg")
        assert word in picture
        assert not any(loading in picture for loading in ("<script", "href=", "@import", "url(http"))


def test_a_picture_of_leads_leaves_out_who_never_is_called_gone() -> None:
    nobody = np.full(3, np.nan)
    told = Told("cadence", False, np.zeros(2), math.nan, 0, np.full(3, np.inf), nobody, 0.0, math.nan, 0.0)
    found = definitions.compare(history(*SHOP), 200, TERMS)
    some = replace(found, told=(found.told[0], told))
    assert "7 days" in pictures.lead_plot(some, 31)
    assert ">cadence<" not in pictures.lead_plot(some, 31)
