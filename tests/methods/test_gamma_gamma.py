"""What a purchase of a buyer is worth: the story by integration and by simulation, and what cannot be learnt."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import integrate, optimize, stats

from rekindle.methods import gamma_gamma
from rekindle.methods.gamma_gamma import GammaGamma

MODEL = GammaGamma(3.0, 4.0, 30.0, 0.0)


def paid(seed: int, n: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Purchases, their mean, and the mean of all the buyer's purchases to come."""
    made = np.random.default_rng(seed)
    purchases = made.geometric(0.4, n).astype(np.float64)
    own = made.gamma(MODEL.q, 1 / MODEL.v, n)
    return purchases, made.gamma(MODEL.p * purchases) / own / purchases, MODEL.p / own


def test_a_likelihood_is_the_story_summed_over_all_buyers_there_can_be() -> None:
    own = stats.gamma(MODEL.q, scale=1 / MODEL.v)
    for purchases, mean in ((1.0, 12.0), (5.0, 40.0)):
        story, _ = integrate.quad(
            lambda nu, x=purchases, m=mean: stats.gamma.pdf(m, MODEL.p * x, scale=1 / (nu * x)) * own.pdf(nu), 0, 3
        )
        told, _ = gamma_gamma.log_likelihood(
            np.array([purchases]), np.array([mean]), np.array([MODEL.p, MODEL.q, MODEL.v])
        )
        assert np.exp(told) == pytest.approx(story, rel=1e-6)


def test_the_gradient_is_that_of_finite_differences() -> None:
    purchases, mean, _ = paid(1, 200)
    at = np.array([2.0, 3.0, 20.0])
    _, slope = gamma_gamma.log_likelihood(purchases, mean, at)
    steps = optimize.approx_fprime(at, lambda p: gamma_gamma.log_likelihood(purchases, mean, p)[0], epsilon=1e-7)
    np.testing.assert_allclose(slope, steps, rtol=1e-4, atol=1e-3)


def test_what_made_the_values_is_found_again_and_tells_those_to_come() -> None:
    purchases, mean, own = paid(3, 40_000)
    found = gamma_gamma.fit(purchases, mean)
    assert (found.p, found.q, found.v) == pytest.approx((3.0, 4.0, 30.0), rel=0.1)
    told = found.mean(purchases, mean)
    for few in (purchases == 1, purchases > 3):
        assert told[few].mean() == pytest.approx(own[few].mean(), rel=0.03)
    assert np.abs(told - own).mean() < np.abs(mean - own).mean(), "drawn towards everybody's"
    everybody = MODEL.p * MODEL.v / (MODEL.q - 1)
    assert MODEL.mean(np.array([0.0, 1000.0]), np.array([np.nan, 7.0])) == pytest.approx([everybody, 7.0], rel=0.02)


def test_money_in_another_unit_is_the_same_model() -> None:
    purchases, mean, _ = paid(4, 3_000)
    euro, cent = gamma_gamma.fit(purchases, mean), gamma_gamma.fit(purchases, 100 * mean)
    assert (cent.p, cent.q, cent.v) == pytest.approx((euro.p, euro.q, 100 * euro.v), rel=1e-3)
    at = np.array([euro.p, euro.q, euro.v])
    assert euro.log_likelihood == pytest.approx(gamma_gamma.log_likelihood(purchases, mean, at)[0], rel=1e-9)


@pytest.mark.parametrize(
    ("purchases", "mean", "words"),
    [
        ([1, 2], [3, 4], "expected 3 or more of each"),
        ([1, 2, 0], [3, 4, 5], "1 buyers have no purchase"),
        ([1, 2, 3], [3, -4, np.nan], "2 buyers have no purchase, or a mean that is not above 0"),
        ([1, 2, 3], [7, 7, 7], "all 3 means are 7"),
    ],
)
def test_values_that_teach_nothing_are_refused(purchases: list[float], mean: list[float], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        gamma_gamma.fit(np.array(purchases, dtype=np.float64), np.array(mean, dtype=np.float64))
