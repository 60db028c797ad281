"""Popularity, repetition and chance against plain loops, SplitMix64's published numbers, and what must stay true."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from rekindle.methods.baselines import (
    FittedPopularity,
    FittedRepeatLast,
    FittedRepeatMost,
    FittedUniform,
    Popularity,
    RepeatLast,
    RepeatMost,
    Uniform,
    packed,
    unpacked,
)
from rekindle.methods.interactions import Fitted, Interactions, Method, Users, lists
from rekindle.methods.ragged import Ragged

N_USERS, N_ITEMS = 9, 14
METHODS: list[Method] = [Popularity(10.0, 60.0), RepeatLast(), RepeatMost(), Uniform(7)]
READERS = {
    Popularity: FittedPopularity,
    RepeatLast: FittedRepeatLast,
    RepeatMost: FittedRepeatMost,
    Uniform: FittedUniform,
}
KETTLE, TEAPOT, TEA = 0, 1, 2


def drawn(seed: int, rows: int = 80) -> Interactions:
    rng = np.random.default_rng(seed)
    user, item = rng.integers(0, N_USERS, rows), rng.integers(0, N_ITEMS - 1, rows)  # nobody wants the last item
    return Interactions(user, item, rng.uniform(0.1, 5, rows), rng.integers(0, 90, rows) / 1.0, N_USERS, N_ITEMS)


def shuffled(known: Interactions, seed: int) -> Interactions:
    order = np.random.default_rng(seed).permutation(len(known))
    columns = (known.user[order], known.item[order], known.strength[order], known.age_days[order])
    return Interactions(*columns, known.n_users, known.n_items)


def everybody(known: Interactions) -> Users:
    """All users of the interactions and one that is not in them."""
    index = np.append(np.arange(known.n_users), -1)
    rows, past = known.histories(), known.past()
    none = Ragged(np.append(rows.offsets, rows.offsets[-1]), rows.items, rows.values)
    return Users(index, none, replace(past, active_days=np.append(past.active_days, 0.0)))


def bought(*events: tuple[int, int, float]) -> Interactions:
    """(user, item, age in days), each of strength 1."""
    user, item, age = (np.array(column) for column in zip(*events, strict=True))
    return Interactions(user, item, np.ones(len(user)), age.astype(np.float64), 3, 4)


def served(fitted: Fitted, *index: int, k: int = 3) -> NDArray[np.int64]:
    return lists(fitted, Users(np.array(index, dtype=np.int64), Ragged.empty(len(index))), k)


def strangers(known: Interactions) -> Users:
    """The users of the interactions, as if training had seen none of them."""
    return Users(np.full(known.n_users, -1, dtype=np.int64), known.histories(), known.past())


def test_everybody_is_offered_what_most_want_now_and_never_what_nobody_wants() -> None:
    known = bought((0, KETTLE, 50), (1, KETTLE, 50), (2, KETTLE, 50), (0, TEAPOT, 0), (1, TEA, 10))
    assert served(Popularity(10.0, 60.0).fit(known), 0, -1).tolist() == [[TEAPOT, TEA, KETTLE]] * 2
    assert served(Popularity(1000.0, 60.0).fit(known), 0).tolist() == [[KETTLE, TEAPOT, TEA]]
    assert served(Popularity(1000.0, 50.0).fit(known), 0).tolist() == [[TEAPOT, TEA, -1]]


@pytest.mark.parametrize("seed", range(5))
def test_popularity_is_the_sum_of_strengths_halved_every_half_life(seed: int) -> None:
    known, want = drawn(seed), np.zeros(N_ITEMS)
    for item, strength, age in zip(known.item, known.strength, known.age_days, strict=True):
        if age < 60:
            want[item] += strength * 0.5 ** (age / 10)
    scores = Popularity(10.0, 60.0).fit(known).scores(everybody(known))
    assert (np.isneginf(scores) == (want == 0)).all()
    # Each event is rounded to a millionth.
    np.testing.assert_allclose(np.where(np.isneginf(scores), 0, scores), np.tile(want, (10, 1)), atol=1e-6 * 80)


def test_a_buyer_is_offered_again_what_was_bought_last() -> None:
    known = bought((0, TEA, 90), (0, KETTLE, 30), (0, TEA, 2), (1, TEAPOT, 5))
    assert lists(RepeatLast().fit(known), strangers(known), 3).tolist() == [
        [TEA, KETTLE, -1],
        [TEAPOT, -1, -1],
        [-1, -1, -1],
    ]


def test_repetition_asks_for_the_past_of_whom_it_serves() -> None:
    with pytest.raises(ValueError, match=r"repeat_last: 2 users come without their past; .*Users\.past"):
        served(RepeatLast().fit(bought((0, TEA, 90))), 0, 1)


@pytest.mark.parametrize("seed", range(5))
def test_repeated_items_are_ordered_by_the_days_since_their_last_event(seed: int) -> None:
    known = drawn(seed)
    want = np.full((N_USERS + 1, N_ITEMS), -np.inf)
    for user, item, age in zip(known.user, known.item, known.age_days, strict=True):
        want[user, item] = max(want[user, item], -age)
    assert (RepeatLast().fit(known).scores(everybody(known)) == want).all()


def test_what_was_bought_most_often_comes_first_and_what_is_popular_among_equals() -> None:
    user, item = np.array([0, 0, 0, 0, 1, 2]), np.array([3, 3, 1, 2, 2, 2])
    known = Interactions(user, item, np.ones(6), np.zeros(6), 3, 5)
    own = known.histories().between(0, 1)
    served = Users(np.array([0, -1]), Ragged(np.array([0, 3, 3]), own.items, own.values))
    assert lists(RepeatMost().fit(known), served, 4).tolist() == [[3, 2, 1, -1], [-1, -1, -1, -1]]


def test_chance_is_splitmix64_and_so_the_same_on_every_machine() -> None:
    """The generator's published first number from 1234567, and the hash written a second time in whole numbers."""

    def mixed(state: int) -> int:
        z = (state + 0x9E3779B97F4A7C15) % 2**64
        z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9 % 2**64
        z = (z ^ (z >> 27)) * 0x94D049BB133111EB % 2**64
        return z ^ (z >> 31)

    assert mixed(1234567) == 6457827717110365317
    scores = FittedUniform(1234567, 3).scores(Users(np.array([5, -1]), Ragged.empty(2)))
    for row, user in enumerate((5, 2**64 - 1)):
        for item in range(3):
            assert scores[row, item] == (mixed(mixed(mixed(1234567) ^ user) ^ item) >> 11) / 2**53


def test_chance_favours_no_item_no_user_and_no_pair() -> None:
    scores = FittedUniform(1, 400).scores(Users(np.arange(500), Ragged.empty(500)))
    error = 1 / np.sqrt(12)  # the standard deviation of one number
    assert ((scores >= 0) & (scores < 1)).all()
    assert abs(scores.mean() - 0.5) < 5 * error / np.sqrt(scores.size)
    assert abs(scores.mean(axis=0) - 0.5).max() < 5 * error / np.sqrt(500)
    assert abs(scores.mean(axis=1) - 0.5).max() < 5 * error / np.sqrt(400)
    assert abs(np.corrcoef(scores[:-1].ravel(), scores[1:].ravel())[0, 1]) < 5 / np.sqrt(scores.size)
    assert np.bincount((scores * 20).astype(int).ravel(), minlength=20).std() < 5 * np.sqrt(scores.size / 20)


def test_another_seed_is_another_chance() -> None:
    users = Users(np.arange(3), Ragged.empty(3))
    assert (FittedUniform(1, 50).scores(users) != FittedUniform(2, 50).scores(users)).all()


@pytest.mark.parametrize("method", METHODS, ids=lambda m: m.name)
class TestWhatHoldsForAll:
    def test_the_order_of_events_changes_no_bit(self, method: Method) -> None:
        known = drawn(3)
        assert method.fit(known).to_files() == method.fit(shuffled(known, 4)).to_files()

    def test_a_stored_model_gives_the_same_scores(self, method: Method) -> None:
        known = drawn(5)
        fitted = method.fit(known)
        again = READERS[type(method)].from_files(fitted.to_files())
        assert again.n_items == fitted.n_items == N_ITEMS
        assert (again.scores(everybody(known)) == fitted.scores(everybody(known))).all()
        assert again.to_files() == fitted.to_files()

    def test_a_user_is_served_alone_as_among_others(self, method: Method) -> None:
        known = drawn(6)
        fitted, users = method.fit(known), everybody(known)
        together = fitted.scores(users)
        for n in range(len(users)):
            assert (fitted.scores(users.between(n, n + 1)) == together[n]).all()

    def test_what_one_caller_does_to_scores_the_next_does_not_see(self, method: Method) -> None:
        known = drawn(8)
        fitted = method.fit(known)
        first = fitted.scores(everybody(known))
        before = first.copy()
        first[:] = -np.inf
        assert (fitted.scores(everybody(known)) == before).all()

    def test_nobody_to_serve_is_no_fault(self, method: Method) -> None:
        fitted = method.fit(drawn(9))
        assert fitted.scores(Users(np.zeros(0, dtype=np.int64), Ragged.empty(0))).shape == (0, N_ITEMS)

    def test_no_history_explains_these_scores(self, method: Method) -> None:
        assert method.fit(drawn(9)).explain(Ragged.from_lists([[0, 1]]), 1) == {}


def test_nothing_to_learn_from_is_refused_with_what_was_found() -> None:
    nothing = Interactions(*(np.zeros(0, dtype=kind) for kind in (int, int, float, float)), 0, 0)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="none of 0 events"):
        Popularity(10.0, 60.0).fit(nothing)
    with pytest.raises(ValueError, match="none of 1 events is younger"):
        Popularity(10.0, 60.0).fit(bought((0, TEA, 60)))
    with pytest.raises(ValueError, match="no interactions"):
        RepeatLast().fit(nothing)
    with pytest.raises(ValueError, match="0 items"):
        Uniform(1).fit(nothing)


@pytest.mark.parametrize("days", [(0, 1), (1, 0), (-1, 1), (float("nan"), 1)])
def test_days_that_are_none_are_refused(days: tuple[float, float]) -> None:
    with pytest.raises(ValueError, match="expected above 0"):
        Popularity(*days)


@pytest.mark.parametrize("seed", [-1, 2**64])
def test_a_seed_that_does_not_fit_the_hash_is_refused(seed: int) -> None:
    with pytest.raises(ValueError, match="seed"):
        Uniform(seed)


def test_arrays_are_stored_without_pickle() -> None:
    arrays = {"a": np.arange(3), "b": np.zeros((2, 0))}
    found = unpacked(packed(**arrays))
    assert {name: (a.dtype, a.tolist()) for name, a in found.items()} == {
        name: (a.dtype, a.tolist()) for name, a in arrays.items()
    }
    with pytest.raises(ValueError, match="Object arrays"):
        packed(words=np.array(["kettle", None], dtype=object))
