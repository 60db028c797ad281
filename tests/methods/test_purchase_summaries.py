"""What a night learns of its buyers on Spark: counted once each, whatever their order, and what it says of them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from rekindle.methods import buy_till_you_die, gamma_gamma, purchase_summaries
from rekindle.methods.buy_till_you_die import Buyers, Model
from rekindle.methods.lifetime_value import Terms, value
from rekindle.methods.purchase_summaries import SCORED, STEPS, TIMES, WORTH, Fits, fit_night, grouped, scorer
from tests.methods.buyers_story import WORTH as STORY
from tests.methods.buyers_story import lived

COLUMNS = ("user_key", *TIMES, WORTH)
SCHEMA = "user_key string, " + ", ".join(f"{name} double" for name in COLUMNS[1:])
SLOW = Model(0.6, 50.0, 0.8, 2.5, True, 0.0)  # days
FITS = Fits(SLOW, SLOW, STORY, 11.0, None, 1, 3)
TERMS = Terms(365.0, 0.0003, 0.4)
WINDOWS = {"horizon_days": 42, "gap_days": 7, "keys": ["user_key"]}


def shop(n: int = 3_000) -> pd.DataFrame:
    """Buyers in whole days, and one of ten who never bought."""
    lives = lived(1, n, SLOW, (30.0, 400.0), 0)
    made, known = np.random.default_rng(2), lives.buyers
    mean = np.where(known.repeats > 0, lives.mean, STORY.p * STORY.v / (STORY.q - 1))
    columns = (known.repeats, np.ceil(known.last), np.ceil(known.age), np.where(made.random(n) < 0.05, -4.0, mean))
    told = pd.DataFrame(dict(zip(COLUMNS[1:], columns, strict=True)))
    told.loc[made.random(n) < 0.1] = np.nan
    told.insert(0, "user_key", [f"u{number}" for number in range(n)])
    return told


def frame_of(spark: Any, rows: pd.DataFrame) -> Any:
    return spark.createDataFrame(rows.astype(object).where(rows.notna(), None).values.tolist(), SCHEMA)


def said(fits: Fits, *parts: pd.DataFrame, terms: Terms = TERMS) -> pd.DataFrame:
    """What a worker says that is handed these frames one after another."""
    return pd.concat(scorer(fits, terms, **WINDOWS)(iter(parts)))


@pytest.fixture(scope="module")
def rows() -> pd.DataFrame:
    return shop()


def test_everybody_who_bought_is_counted_once_among_those_who_are_alike(spark: Any, rows: pd.DataFrame) -> None:
    found = grouped(frame_of(spark, rows))
    bought = rows.dropna(subset=[TIMES[0]])
    wanted, _ = Buyers.grouped(*bought[list(TIMES)].to_numpy().T)
    assert found.step_days == 1
    assert len(found.buyers) < len(bought) < len(rows)
    for name in ("repeats", "last", "age", "count"):
        assert np.array_equal(getattr(found.buyers, name), getattr(wanted, name)), name


def test_where_there_are_too_many_kinds_times_are_rounded_and_that_is_told(spark: Any, rows: pd.DataFrame) -> None:
    frame = frame_of(spark, rows)
    exact = grouped(frame).buyers
    found = grouped(frame, most=len(exact) - 1)
    assert found.step_days == 7
    assert len(found.buyers) < len(exact)
    assert found.buyers.count.sum() == exact.count.sum()
    assert (found.buyers.repeats @ found.buyers.count) == exact.repeats @ exact.count, "purchases stay"
    assert set(found.buyers.age % 7) == {0.0}
    assert (found.buyers.age @ found.buyers.count) == pytest.approx(exact.age @ exact.count, rel=0.01)
    weekly, daily = buy_till_you_die.fit(found.buyers, at_once=True), buy_till_you_die.fit(exact, at_once=True)
    assert (weekly.r, weekly.alpha) == pytest.approx((daily.r, daily.alpha), rel=0.25)
    silent = weekly.none_within(found.buyers, 42) @ found.buyers.count, daily.none_within(exact, 42) @ exact.count
    assert silent[0] == pytest.approx(silent[1], rel=0.01)
    with pytest.raises(ValueError, match=f"more than 2 kinds of .* even with times in steps of {STEPS[-1]} days"):
        grouped(frame, most=2)


def test_who_came_back_at_once_still_came_back_when_times_are_rounded(spark: Any) -> None:
    close = [
        ["a", 1.0, 1.0, 2.0, 9.0],
        ["b", 0.0, 0.0, 1.0, 9.0],
        ["c", 3.0, 3.0, 90.0, 9.0],
        ["d", 0.0, 0.0, 2.0, 9.0],
    ]
    found = grouped(spark.createDataFrame(close, SCHEMA), most=3)
    told = zip(found.buyers.repeats, found.buyers.last, found.buyers.age, found.buyers.count, strict=True)
    assert (found.step_days, list(told)) == (7, [(0, 0, 0, 2), (1, 7, 7, 1), (3, 7, 91, 1)])


def test_a_night_learns_the_same_from_rows_in_any_order_and_it_can_be_kept(spark: Any, rows: pd.DataFrame) -> None:
    fits = fit_night(frame_of(spark, rows))
    shuffled = frame_of(spark, rows.sample(frac=1, random_state=5)).repartition(5, TIMES[1])
    assert fit_night(shuffled).to_json() == fits.to_json()
    assert Fits.from_json(fits.to_json()) == fits

    bought = rows.dropna(subset=[TIMES[0]])
    known, _ = Buyers.grouped(*bought[list(TIMES)].to_numpy().T)
    assert fits.bg == buy_till_you_die.fit(known)
    assert fits.mbg == buy_till_you_die.fit(known, at_once=True)
    assert fits.model == fits.mbg, "who made the story is found out"
    back = bought[(bought[TIMES[0]] > 0) & (bought[WORTH] > 0)]
    worth = gamma_gamma.fit(back[TIMES[0]].to_numpy() + 1, back[WORTH].to_numpy())
    assert fits.worth is not None
    assert (fits.worth.p, fits.worth.q, fits.worth.v) == pytest.approx((worth.p, worth.q, worth.v), rel=1e-3)
    days = bought[TIMES[0]] + 1
    assert fits.mean == pytest.approx((bought[WORTH] * days).sum() / days.sum())
    assert (fits.buyers, fits.step_days, fits.degraded) == (len(bought), 1, ())


def test_what_purchases_are_worth_is_learnt_from_no_more_than_a_sample(
    spark: Any, rows: pd.DataFrame, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(purchase_summaries, "SAMPLED", 1_500)
    fits = fit_night(frame_of(spark, rows))
    assert fits.worth is not None
    everybodys = STORY.p * STORY.v / (STORY.q - 1)
    assert fits.worth.p * fits.worth.v / (fits.worth.q - 1) == pytest.approx(everybodys, rel=0.15)
    assert fits.buyers > 2_500, "times are learnt from all"


@pytest.mark.parametrize(
    ("means", "words", "mean"),
    [
        ([10.0, 10.0, 10.0, 10.0], "all 3 means are 10; .*: each purchase counts as 10, everybody's mean", 10.0),
        ([-1.0, -2.0, 6.0, 5.0], "gamma-gamma: 1 counts .*: each purchase counts as 2.125, everybody's mean", 2.125),
        ([-1.0, -2.0, -6.0, 5.0], "gamma-gamma: 0 counts .*: each purchase counts as 0, everybody's mean", 0.0),
        ([None] * 4, "gamma-gamma: 0 counts .*: no value is known", None),
    ],
)
def test_where_worth_cannot_be_learnt_everybodys_mean_stands_in_and_that_is_told(
    spark: Any, means: list[float | None], words: str, mean: float | None
) -> None:
    times = [(1.0, 9.0, 90.0), (1.0, 40.0, 80.0), (2.0, 30.0, 60.0), (0.0, 0.0, 50.0)]
    listed = [[f"u{n}", *told, paid] for n, (told, paid) in enumerate(zip(times, means, strict=True))]
    fits = fit_night(spark.createDataFrame(listed, SCHEMA))
    assert fits.worth is None
    assert Fits.from_json(fits.to_json()) == fits
    assert pd.Series([fits.worth_degraded]).str.contains(words).all(), fits.worth_degraded
    assert fits.worth_degraded in fits.degraded
    assert fits.mean == mean
    scored = said(fits, pd.DataFrame(listed, columns=COLUMNS).astype({WORTH: float}), terms=Terms(42.0, 0.0, 0.5))
    if mean is None:
        assert scored[["value", "value_low", "value_high"]].isna().all().all()
    else:
        assert scored["value"].to_numpy() == pytest.approx(0.5 * mean * scored["expected_purchases"].to_numpy())
    assert (scored["expected_purchases"] > 0).all()


def test_values_without_a_finite_mean_count_as_everybodys(spark: Any) -> None:
    lives = lived(8, 2_000, SLOW, (30.0, 400.0), 0, worth=replace(STORY, q=0.7))
    known, back = lives.buyers, lives.buyers.repeats > 0
    columns = (known.repeats[back], known.last[back], known.age[back], lives.mean[back])
    listed = [[f"u{n}", *row] for n, row in enumerate(np.array(columns).T.tolist())]
    fits = fit_night(spark.createDataFrame(listed, SCHEMA))
    assert fits.worth is None
    assert fits.worth_degraded is not None
    assert fits.worth_degraded.startswith("gamma-gamma: q 0.")
    assert "the mean of everybody is not finite: each purchase counts as" in fits.worth_degraded


def test_a_shop_without_losses_is_told_so(spark: Any) -> None:
    regular = [[f"u{n}", float(3 + n % 4), 196.0 + n % 4, 200.0, 5.0 + n] for n in range(400)]
    fits = fit_night(spark.createDataFrame(regular, SCHEMA))
    assert fits.degraded[0].startswith("BG/NBD has no finite optimum on these 400 buyers")
    assert fits.model.alive(Buyers(*np.ones((4, 1)))).tolist() == [1.0]


def test_nobody_who_came_back_teaches_nothing(spark: Any) -> None:
    with pytest.raises(ValueError, match="2 buyers, none with a repeat purchase"):
        fit_night(spark.createDataFrame([["a", 0.0, 0.0, 5.0, 9.0], ["b", 0.0, 0.0, 7.0, 9.0]], SCHEMA))


def test_what_is_said_of_a_user_is_his_alone_on_any_worker(spark: Any, rows: pd.DataFrame) -> None:
    whole = said(FITS, rows).set_index("user_key")
    shuffled = rows.sample(frac=1, random_state=9)
    parts = said(FITS, *[shuffled[start : start + 271] for start in range(0, len(shuffled), 271)])
    pd.testing.assert_frame_equal(parts.set_index("user_key").loc[whole.index], whole, check_exact=True)
    on_spark = frame_of(spark, shuffled).repartition(5, "user_key")
    found = on_spark.mapInPandas(scorer(FITS, TERMS, **WINDOWS), "user_key string, " + SCORED)
    assert [column.split()[0] for column in SCORED.split(", ")] == found.columns[1:]
    told = found.selectExpr("*", "expected_purchases IS NULL AS is_null").toPandas().set_index("user_key")
    pd.testing.assert_frame_equal(told.loc[whole.index, list(whole)], whole, check_exact=True)
    never = rows[rows[TIMES[0]].isna()]["user_key"]
    assert sorted(told.index[told["is_null"]]) == sorted(never), "null and not NaN"
    assert len(never) > 200
    assert whole.loc[never].isna().all().all()


def test_what_is_said_is_what_the_models_say(rows: pd.DataFrame) -> None:
    bought = rows.dropna(subset=[TIMES[0]])
    x, last, age, mean = (bought[name].to_numpy() for name in COLUMNS[1:])
    known = Buyers(x, last, age, np.ones(len(x)))
    scored = said(FITS, bought)
    assert scored["expected_purchases"].to_numpy() == pytest.approx(SLOW.expected(known, 42))
    assert scored["no_purchase_probability"].to_numpy() == pytest.approx(SLOW.none_within(known, 42, gap=7))
    wait = SLOW.wait(known)
    assert scored["next_purchase_days"].isna().to_numpy().tolist() == (wait > 365).tolist()
    assert 0.2 < (wait > 365).mean() < 0.9
    assert np.nanmax(np.abs(scored["next_purchase_days"] - wait)) < 1e-9
    worth = value(SLOW, STORY, known, np.where(mean > 0, x + 1, 0), mean, TERMS)
    for name, wanted in (("value", worth.expected), ("value_low", worth.low), ("value_high", worth.high)):
        assert scored[name].to_numpy() == pytest.approx(wanted), name
    unknown = said(FITS, bought.assign(**{WORTH: np.nan}))["value"].to_numpy()
    assert (mean < 0).sum() > 50
    assert np.array_equal(unknown[mean < 0], scored["value"].to_numpy()[mean < 0]), "as if it were not known"


def test_frames_of_nobody_and_of_those_who_never_bought_say_nothing(rows: pd.DataFrame) -> None:
    never = rows[rows[TIMES[0]].isna()]
    assert said(FITS, never)["user_key"].tolist() == never["user_key"].tolist()
    assert said(FITS, never[:0], never).drop(columns="user_key").isna().all().all()


def test_windows_and_summaries_that_cannot_be_are_refused() -> None:
    for wrong in ({"gap_days": -1}, {"horizon_days": 0}):
        with pytest.raises(ValueError, match="buyers: a gap of"):
            scorer(FITS, TERMS, **(WINDOWS | wrong))
    wrong_row = pd.DataFrame([["a", 1.0, 50.0, 20.0, 9.0]], columns=COLUMNS)
    with pytest.raises(ValueError, match="1 of 1 rows have a last purchase outside 0 to the age"):
        said(FITS, wrong_row)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[]", "list found, expected the keys"),
        ('{"bg": 1}', r"\['bg'\] found, expected the keys"),
        (FITS.to_json().replace('"alpha"', '"beta"'), "unexpected keyword argument 'beta'"),
    ],
)
def test_other_texts_are_no_fits(text: str, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        Fits.from_json(text)


def test_money_expected_is_purchases_times_a_worth_drawn_towards_everybodys() -> None:
    made = np.random.default_rng(4)
    frame = pd.DataFrame(
        {"repeat_purchase_days": made.poisson(2, 500).astype(float), "purchase_value_mean": made.gamma(4, 10, 500)}
    )
    frame.loc[:1, "purchase_value_mean"] = [400.0, np.nan]
    said = purchase_summaries.spend_expected(frame, np.full(500, 2.0))
    assert frame["purchase_value_mean"].mean() * 2 < said[0] < 800, "one dear day is partly luck"
    assert said[1] == pytest.approx(2 * frame["purchase_value_mean"].mean(), rel=0.1), "a stranger is like everybody"
    alike = frame.assign(purchase_value_mean=7.0)
    assert purchase_summaries.spend_expected(alike, np.full(500, 3.0)) == pytest.approx(np.full(500, 21.0))
    with pytest.raises(ValueError, match="no value of any purchase is known of 500 buyers"):
        purchase_summaries.spend_expected(frame.assign(purchase_value_mean=np.nan), np.full(500, 1.0))
