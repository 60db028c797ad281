"""Who is held out is decided once and for ever, by no score, and what can be seen by it is said truly."""

from __future__ import annotations

import numpy as np
import pytest

from rekindle.methods.holdout import detectable_difference, draw

SALT = bytes(range(32))
DRAWS = np.array([draw(SALT, "shop", f"user {n}") for n in range(20_000)])


def test_draws_are_uniform_and_independent_of_the_order_of_ids() -> None:
    counts = np.histogram(DRAWS, bins=20, range=(0, 1))[0]
    # chi-square with 19 degrees of freedom: 43.8 is passed once in a thousand
    assert ((counts - 1000) ** 2 / 1000).sum() < 43.8
    assert abs(np.corrcoef(DRAWS[:-1], DRAWS[1:])[0, 1]) < 4 / np.sqrt(len(DRAWS))


def test_a_larger_share_keeps_every_member() -> None:
    small, large = DRAWS < 0.05, DRAWS < 0.1
    assert (large[small]).all()
    assert small.mean() == pytest.approx(0.05, abs=0.006)


def test_a_draw_hangs_on_salt_shop_and_user_and_on_nothing_else() -> None:
    assert draw(SALT, "shop", "user 1") == DRAWS[1]
    assert draw(SALT[::-1], "shop", "user 1") != DRAWS[1]
    assert draw(SALT, "other", "user 1") != DRAWS[1]


def test_what_is_said_to_be_seen_is_seen_in_four_of_five_experiments() -> None:
    held_out, others, base = 400, 4000, 0.4
    seen = detectable_difference(held_out, others, base)
    assert seen is not None
    rng = np.random.default_rng(20260101)
    a = rng.binomial(held_out, base, 20_000) / held_out
    b = rng.binomial(others, base - seen, 20_000) / others
    pooled = (a * held_out + b * others) / (held_out + others)
    z = np.abs(a - b) / np.sqrt(pooled * (1 - pooled) * (1 / held_out + 1 / others))
    assert (z > 1.96).mean() == pytest.approx(0.8, abs=0.03)


def test_without_one_of_the_groups_nothing_is_seen() -> None:
    assert detectable_difference(0, 100, 0.4) is None
    assert detectable_difference(100, 0, 0.4) is None
