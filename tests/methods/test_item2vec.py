"""item2vec against the shifted PMI that it factorises, planted groups, and what must stay true."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from rekindle.methods.exact_products import coarse, product
from rekindle.methods.interactions import Interactions, Users
from rekindle.methods.item2vec import FittedItem2Vec, Item2Vec, baskets
from rekindle.methods.ragged import Ragged

SMALL = Item2Vec(8, 0.2, 20, 3, 2, 1)


def groups(seed: int = 0) -> Interactions:
    """300 baskets of three of the items 0 to 5 or of 6 to 11; item 12 is always bought alone."""
    drawn = np.random.default_rng(seed)
    item = np.concatenate([drawn.choice(6, 3, replace=False) + 6 * (n % 2) for n in range(300)] + [np.full(1, 12)])
    user = np.append(np.repeat(np.arange(300), 3) % 40, 40)
    age = np.append(np.repeat(np.arange(300), 3) // 40, 0).astype(np.float64)
    return Interactions(user, item, np.ones(901), age, 41, 13)


def people() -> Users:
    return Users(np.full(3, -1), Ragged.from_lists([[0, 1], [7], [2, 8, 9]], [[1.0, 3.0], [2.0], [1.0, 0.5, 4.0]]))


def test_products_of_vectors_are_pmi_less_the_log_of_the_negatives() -> None:
    """Levy and Goldberg 2014, equation 8, on baskets of two drawn from pairs of unequal frequency."""
    drawn = np.random.default_rng(4)
    chance = drawn.dirichlet(np.full(15, 1.5))
    first, second = np.triu_indices(6, 1)
    chosen = drawn.choice(15, 3000, p=chance)
    item = np.stack([first[chosen], second[chosen]], axis=1).ravel()
    known = Interactions(np.repeat(np.arange(3000), 2), item, np.ones(6000), np.zeros(6000), 3000, 6)
    v, c = Item2Vec(12, 0.3, 40, 2, 1, 0, smoothing=1.0).vectors(known)
    together = np.bincount(chosen, minlength=15) / 6000  # of ordered pairs
    share = np.bincount(item, minlength=6) / 6000
    want = np.log(together / (share[first] * share[second])) - np.log(2)
    often = together > 0.005
    got = ((v @ c.T) + (v @ c.T).T)[first, second] / 2
    assert np.corrcoef(got[often], want[often])[0, 1] > 0.97
    assert np.abs(got - want)[often].max() < 0.35


def test_items_bought_together_end_up_together_and_one_bought_alone_has_no_vector() -> None:
    scores = SMALL.fit(groups()).scores(Users(np.array([-1, -1]), Ragged.from_lists([[0], [7]])))
    assert scores[0, :6].min() > scores[0, 6:12].max()
    assert scores[1, 6:12].min() > scores[1, :6].max()
    assert (scores[:, 12] == -np.inf).all()


def test_what_the_history_adds_sums_to_the_score() -> None:
    fitted, users = SMALL.fit(groups()), people()
    scores = fitted.scores(users)
    for n in range(3):
        for item in range(12):
            added = fitted.explain(users.histories.between(n, n + 1), item)
            assert sum(added.values()) == pytest.approx(scores[n, item], abs=1e-11)
    assert fitted.explain(users.histories.between(0, 1), 12) == {}


def test_a_basket_is_what_one_user_bought_on_one_day() -> None:
    item, age = np.array([3, 3, 1, 2, 5, 4]), np.array([1.2, 1.9, 1.5, 2.0, 0.1, 0.3])
    known = Interactions(np.array([0, 0, 0, 0, 1, 1]), item, np.ones(6), age, 2, 6)
    item, first, size = baskets(known)
    assert (item.tolist(), first.tolist(), size.tolist()) == ([1, 3, 4, 5], [0, 0, 2, 2], [2, 2, 2, 2])


def test_order_changes_no_bit_and_storage_no_score() -> None:
    known = groups()
    order = np.random.default_rng(2).permutation(len(known))
    other = Interactions(known.user[order], known.item[order], known.strength, known.age_days[order], 41, 13)
    fitted = SMALL.fit(known)
    assert fitted.to_files() == SMALL.fit(other).to_files()
    again = FittedItem2Vec.from_files(fitted.to_files())
    assert (again.scores(people()) == fitted.scores(people())).all()


def test_a_user_is_served_alone_as_among_others_to_the_last_bit() -> None:
    fitted = SMALL.fit(groups())
    together = fitted.scores(people())
    for n in range(3):
        assert (fitted.scores(people().between(n, n + 1))[0] == together[n]).all()


def test_who_has_no_item_with_a_vector_is_offered_nothing() -> None:
    assert (SMALL.fit(groups()).scores(Users(np.full(2, -1), Ragged.from_lists([[], [12]]))) == -np.inf).all()


def test_products_are_the_same_bits_in_any_company_and_close_to_float64s() -> None:
    drawn = np.random.default_rng(0)
    left, right = drawn.normal(size=(200, 96)), coarse(drawn.normal(size=(150, 96)))
    together = product(left, right)
    assert all((product(left[n : n + 1], right)[0] == together[n]).all() for n in range(200))
    np.testing.assert_allclose(together, left @ right.T, atol=1e-10)
    with pytest.raises(ValueError, match="vectors of 513 numbers"):
        product(np.ones((1, 513)), np.ones((1, 513)))


def test_what_cannot_be_learnt_from_is_refused() -> None:
    with pytest.raises(ValueError, match="no basket of two items in 1 interactions"):
        SMALL.fit(Interactions(np.zeros(1, dtype=int), np.zeros(1, dtype=int), np.ones(1), np.zeros(1), 1, 4))
    with pytest.raises(ValueError, match="0 epochs"):
        replace(SMALL, epochs=0)
    with pytest.raises(ValueError, match="smoothing 2"):
        replace(SMALL, smoothing=2.0)
    with pytest.raises(ValueError, match="half-life 0"):
        replace(SMALL, half_life_days=0.0)
