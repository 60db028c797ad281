"""How good a prediction of value is: figures against scipy and literal sums; the order of buyers says nothing."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from rekindle.methods import value_figures
from rekindle.methods.value_figures import figures, normalised_gini, top_share

PAIRS = st.lists(st.tuples(st.integers(0, 6), st.integers(0, 9)), min_size=2, max_size=40).filter(
    lambda pairs: len({came for _, came in pairs}) > 1
)


def columns(pairs: list[tuple[int, int]]) -> tuple[np.ndarray, np.ndarray]:
    said, came = np.array(pairs, dtype=np.float64).T
    return said, came


def curve_area(said: np.ndarray, came: np.ndarray) -> float:
    """Area between the curve of cumulated value, buyers from the most said to the least, and the diagonal."""
    gained = came[np.argsort(-said, kind="stable")]
    share = np.cumsum(gained) / came.sum()
    return float((share - np.arange(1, len(came) + 1) / len(came)).sum())


@settings(max_examples=150, deadline=None)
@given(PAIRS)
def test_figures_are_those_of_scipy_and_of_plain_sums(pairs: list[tuple[int, int]]) -> None:
    said, came = columns(pairs)
    found = figures(said, came)
    assert found.mae == pytest.approx(np.mean([abs(s - c) for s, c in pairs]))
    assert (found.buyers, found.mean_said, found.mean_came) == pytest.approx((len(pairs), said.mean(), came.mean()))
    if len(set(said)) > 1:
        assert found.correlation == pytest.approx(stats.pearsonr(said, came).statistic)
        assert found.spearman == pytest.approx(stats.spearmanr(said, came).statistic)
    else:
        assert (found.correlation, found.spearman, found.normalised_gini) == (0.0, 0.0, 0.0)
    assert found.top_share_best >= found.top_share - 1e-12
    assert sum(size for size, _, _ in found.deciles) == len(pairs)
    assert sum(size * mean for size, mean, _ in found.deciles) == pytest.approx(said.sum())
    assert sum(size * mean for size, _, mean in found.deciles) == pytest.approx(came.sum())
    assert [mean for _, mean, _ in found.deciles] == sorted(mean for _, mean, _ in found.deciles)


@settings(max_examples=150, deadline=None)
@given(PAIRS, st.randoms(use_true_random=False))
def test_the_order_of_buyers_says_nothing_to_the_digit(pairs: list[tuple[int, int]], dice: object) -> None:
    shuffled = list(pairs)
    dice.shuffle(shuffled)  # type: ignore[attr-defined]
    assert figures(*columns(shuffled)) == figures(*columns(pairs))


@settings(max_examples=150, deadline=None)
@given(st.permutations(range(12)), st.lists(st.integers(0, 50), min_size=12, max_size=12).filter(lambda v: any(v)))
def test_the_gini_is_the_area_under_the_curve_over_the_best_area(order: list[int], values: list[int]) -> None:
    said, came = np.array(order, dtype=np.float64), np.array(values, dtype=np.float64)
    if len(set(values)) > 1:
        assert normalised_gini(said, came) == pytest.approx(curve_area(said, came) / curve_area(came, came))


@settings(max_examples=150, deadline=None)
@given(PAIRS)
def test_the_right_order_is_one_its_opposite_less_than_nothing(pairs: list[tuple[int, int]]) -> None:
    said, came = columns(pairs)
    assert normalised_gini(came**3, came) == pytest.approx(1.0), "sizes do not matter"
    assert normalised_gini(-came, came) == pytest.approx(-1.0)
    assert normalised_gini(said, came) == pytest.approx(normalised_gini(said * 7 + 3, came))
    assert -1 - 1e-9 <= normalised_gini(said, came) <= 1 + 1e-9


def test_equal_predictions_count_as_every_order_of_them_on_average() -> None:
    made = np.random.default_rng(1)
    said, came = made.integers(0, 4, 60).astype(np.float64), made.gamma(0.5, 10.0, 60)
    drawn = [said + made.random(60) * 0.5 for _ in range(4_000)]
    assert normalised_gini(said, came) == pytest.approx(
        np.mean([normalised_gini(one, came) for one in drawn]), abs=0.01
    )
    assert top_share(said, came) == pytest.approx(np.mean([top_share(one, came) for one in drawn]), abs=0.01)


def test_the_top_tenth_is_a_tenth_of_the_buyers_long() -> None:
    said, came = np.arange(20.0), np.array([1.0] * 18 + [30.0, 52.0])
    assert top_share(said, came) == pytest.approx(0.82)
    assert top_share(-said, came) == pytest.approx(0.02)
    assert top_share(said[:15], came[5:]) == pytest.approx((52 + 0.5 * 30) / 95), "one and a half of fifteen"
    assert top_share(np.zeros(20), came) == pytest.approx(0.1), "knowing nothing"
    assert top_share(said, came, share=1.0) == pytest.approx(1.0)


def test_a_decile_says_what_was_said_and_what_came() -> None:
    said = np.repeat([1.0, 5.0], 50)
    found = figures(said, np.concatenate([np.zeros(50), np.full(50, 4.0)]))
    assert found.deciles == ((10, 1.0, 0.0),) * 5 + ((10, 5.0, 4.0),) * 5


@pytest.mark.parametrize(
    ("said", "came", "words"),
    [
        ([], [], "0 predictions, 0 outcomes"),
        ([1.0], [1.0, 2.0], "1 predictions, 2 outcomes"),
        ([1.0, np.nan], [1.0, 2.0], "1 of 2 predictions or outcomes are no finite numbers"),
        ([1.0, 2.0], [3.0, 3.0], "the same came of all 2 buyers: 3"),
        ([1.0, 2.0], [-3.0, 1.0], "what came adds up to -2"),
    ],
)
def test_what_cannot_be_judged_is_refused(said: list[float], came: list[float], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        figures(np.array(said), np.array(came))
    with pytest.raises(ValueError, match="0 bins"):
        value_figures.calibration_by_bin(np.ones(2), np.ones(2), bins=0)
    with pytest.raises(ValueError, match="top share: 0"):
        top_share(np.ones(2), np.ones(2), share=0)
