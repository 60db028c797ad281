"""Transfer against NumPy's least squares and a shop whose tastes are known, and what must stay true."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import sparse

from rekindle.methods.interactions import Interactions, Users
from rekindle.methods.ragged import Ragged
from rekindle.methods.splits import Events, at_instant, cold_in_target
from rekindle.methods.transfer import FittedTransfer, Transfer, coefficients

DOMAIN = np.repeat([1, 2, 0], [8, 4, 10])  # two sources, and the target
METHOD = Transfer(DOMAIN, 3, 1.0)


def shop(seed: int = 0) -> Interactions:
    """200 people of two tastes in all three domains."""
    drawn = np.random.default_rng(seed)
    taste = np.arange(200) % 2
    chance = np.full((200, 22), 0.05)
    for first, size in ((0, 4), (8, 2), (12, 5)):
        for side in (0, 1):
            chance[np.ix_(taste == side, np.arange(first + side * size, first + (side + 1) * size))] = 0.6
    user, item = np.nonzero(drawn.random((200, 22)) < chance)
    return Interactions(user, item, np.ones(len(user)), np.zeros(len(user)), 200, 22)


def test_coefficients_are_those_of_least_squares_on_one_long_table() -> None:
    drawn = np.random.default_rng(1)
    theta, phi, wanted = drawn.normal(size=(20, 3)), drawn.normal(size=(6, 2)), drawn.random((20, 6))
    v, w = coefficients(theta, sparse.csr_matrix(wanted), phi, 0.7)
    table = [np.concatenate([np.kron(np.eye(6)[i], theta[u]), phi[i]]) for i in range(6) for u in range(20)]
    ridge = np.sqrt(0.7) * np.eye(20)
    right = np.concatenate([wanted.T.ravel(), np.zeros(20)])
    found = np.linalg.lstsq(np.concatenate([np.array(table), ridge]), right)[0]
    np.testing.assert_allclose(v.ravel(), found[:18], atol=1e-10)
    np.testing.assert_allclose(w, found[18:], atol=1e-10)


def test_known_tastes_of_known_items_are_found_again() -> None:
    drawn = np.random.default_rng(2)
    theta, true = drawn.normal(size=(500, 3)), drawn.normal(size=(4, 3))
    v, _ = coefficients(theta, sparse.csr_matrix(theta @ true.T), np.zeros((4, 0)), 1e-9)
    np.testing.assert_allclose(v, true, atol=1e-8)


@pytest.mark.parametrize("history", [[0, 1], [8], [0, 9]])
def test_who_is_new_to_the_target_is_offered_the_taste_of_the_sources(history: list[int]) -> None:
    scores = METHOD.fit(shop()).scores(Users(np.array([-1]), Ragged.from_lists([history])))[0]
    assert (scores[:12] == -np.inf).all()
    assert scores[12:17].min() > scores[17:].max()


def test_what_he_did_in_the_target_changes_nothing_and_alone_says_nothing() -> None:
    rows = Users(np.full(3, -1), Ragged.from_lists([[0], [0, 20], [20]]))
    scores = METHOD.fit(shop()).scores(rows)
    assert (scores[0] == scores[1]).all()
    assert (scores[2] == -np.inf).all()


def test_who_is_in_one_domain_alone_teaches_no_coefficient() -> None:
    whole = shop()
    theta = METHOD.fit(whole)
    alone = Interactions(
        np.append(whole.user, 200),
        np.append(whole.item, 21),
        np.ones(len(whole) + 1),
        np.zeros(len(whole) + 1),
        201,
        22,
    )
    np.testing.assert_allclose(METHOD.fit(alone).item_factors, theta.item_factors, atol=1e-5)


def test_order_changes_no_bit_and_storage_and_company_no_score() -> None:
    known = shop()
    order = np.random.default_rng(3).permutation(len(known))
    other = Interactions(known.user[order], known.item[order], known.strength, known.age_days, 200, 22)
    method = Transfer(DOMAIN, 3, 1.0, sparse.csr_matrix(np.eye(2)[np.arange(22) % 2]))
    fitted = method.fit(known)
    assert fitted.to_files() == method.fit(other).to_files()
    people = Users(np.full(200, -1), known.histories())
    together = fitted.scores(people)
    assert (FittedTransfer.from_files(fitted.to_files()).scores(people) == together).all()
    for n in range(0, 200, 7):
        assert (fitted.scores(people.between(n, n + 1))[0] == together[n]).all()


def test_what_cannot_be_learnt_from_is_refused() -> None:
    with pytest.raises(ValueError, match="domains of 22 items for 5 items"):
        METHOD.fit(Interactions(np.zeros(1, dtype=int), np.zeros(1, dtype=int), np.ones(1), np.zeros(1), 1, 5))
    with pytest.raises(ValueError, match="none of 1 users is in the target and in a source"):
        METHOD.fit(Interactions(np.zeros(1, dtype=int), np.zeros(1, dtype=int), np.ones(1), np.zeros(1), 1, 22))
    with pytest.raises(ValueError, match="domain 0"):
        Transfer(np.ones(3, dtype=np.int64), 3, 1.0)
    with pytest.raises(ValueError, match="rank 0"):
        Transfer(DOMAIN, 0, 1.0)


def test_who_is_cold_is_known_by_the_sources_alone_and_asked_about_the_target() -> None:
    drawn = np.random.default_rng(6)
    events = Events(
        drawn.integers(0, 40, 900), drawn.integers(0, 22, 900), np.ones(900), drawn.uniform(0, 30, 900), 40, 22
    )
    whole, target = at_instant(events, 20.0), DOMAIN == 0
    split = cold_in_target(whole, target, seed=1)
    assert 10 < len(split.users) < 30
    assert target[split.truth.items].all()
    assert not target[split.users.histories.items].any()
    assert not target[split.known.item[np.isin(split.known.user, split.served)]].any()
    assert (split.eligible == target).all()
    assert (split.faded(5.0).users.histories.items == split.users.histories.items).all()
    assert sum(split.counts.values()) == len(whole.known)
