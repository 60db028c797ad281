"""Histories that fade by the age of their last events: training and serving alike, and no person inside."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from rekindle.methods.faded import Faded, FittedFaded
from rekindle.methods.fitted_files import keeps_users, registry_files
from rekindle.methods.implicit_als import ImplicitAls
from rekindle.methods.interactions import Interactions, Users
from rekindle.methods.neighbours import ItemNeighbours, UserNeighbours

ALS = ImplicitAls(4, 0.1, 2.0, 3, seed=1)


def drawn(seed: int) -> Interactions:
    made = np.random.default_rng(seed)
    rows = 200
    return Interactions(
        made.integers(0, 12, rows),
        made.integers(0, 9, rows),
        made.uniform(0.5, 3, rows),
        made.uniform(0, 60, rows),
        12,
        9,
    )


def strangers(known: Interactions) -> Users:
    return Users(np.full(known.n_users, -1, dtype=np.int64), known.histories(), known.past())


def test_a_history_served_weighs_what_it_weighed_in_training() -> None:
    """Summed strength, halved for every ten days since the last event on the item, pair by pair."""
    known = drawn(1)
    want: dict[tuple[int, int], float] = {}
    for user, item in {(int(u), int(i)) for u, i in zip(known.user, known.item, strict=True)}:
        own = (known.user == user) & (known.item == item)
        want[user, item] = known.strength[own].sum() * 0.5 ** (known.age_days[own].min() / 10)
    user, item = (np.array(column, dtype=np.int64) for column in zip(*want, strict=True))
    strength = np.array(list(want.values()))
    by_hand = replace(known, user=user, item=item, strength=strength, age_days=np.zeros(len(user)))
    expected = ItemNeighbours(5, "cosine").fit(by_hand).scores(Users(np.full(12, -1), by_hand.histories()))
    found = Faded(ItemNeighbours(5, "cosine"), 10.0).fit(known).scores(strangers(known))
    np.testing.assert_allclose(found, expected, rtol=1e-12)


def test_a_stored_model_gives_the_same_scores_and_holds_nobody() -> None:
    known = drawn(2)
    fitted = Faded(ALS, 20.0).fit(known)
    again = FittedFaded.from_files(registry_files(fitted))
    assert (again.scores(strangers(known)) == fitted.scores(strangers(known))).all()
    assert again.to_files() == fitted.to_files()
    assert again.explain(known.histories().between(0, 1), 3) == {}
    assert keeps_users(Faded(UserNeighbours(3, "cosine"), 20.0).fit(known))


def test_users_without_a_past_cannot_be_served() -> None:
    known = drawn(3)
    with pytest.raises(ValueError, match="faded: 12 users come without their past"):
        Faded(ALS, 20.0).fit(known).scores(replace(strangers(known), past=None))


def test_what_fades_twice_or_in_no_time_is_refused() -> None:
    with pytest.raises(ValueError, match="implicit_als fades by itself"):
        Faded(replace(ALS, half_life_days=5.0), 20.0)
    with pytest.raises(ValueError, match=r"half-life 0\.0 days"):
        Faded(ALS, 0.0)
