"""Two towers: tastes from histories, texts of what nobody touched, and what NumPy serves is what JAX trained."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from rekindle.methods.content import Content
from rekindle.methods.deep import Descent, extra_is_missing
from rekindle.methods.interactions import Interactions, Past, Users, lists
from rekindle.methods.ragged import Ragged
from rekindle.methods.two_tower import FittedTwoTower, TwoTower, forward, shortened

needs_extra = pytest.mark.skipif(bool(extra_is_missing()), reason=f"training {extra_is_missing()}")
TEXTS = (*["tea"] * 10, *["rope"] * 10, "tea", "")
SMALL = TwoTower(8, 8, 8, 7.0, Descent(20, 0.02, 16, 100, 0.1, 0.0, seed=3), TEXTS)


def two_tastes(n_users: int = 60) -> Interactions:
    """Even users choose among tea, items 0 to 9, odd ones among rope, 10 to 19; nobody touched 20 (tea) and 21."""
    made = np.random.default_rng(0)
    item = np.concatenate([made.choice(10, 6, replace=False) + 10 * (n % 2) for n in range(n_users)])
    rows = len(item)
    return Interactions(
        np.repeat(np.arange(n_users), 6), item, made.uniform(0.5, 3, rows), made.uniform(0, 7, rows), n_users, 22
    )


def strangers(*rows: list[int], timed: bool = True) -> Users:
    entries = sum(map(len, rows))
    past = Past(np.arange(entries) + 1.0, np.ones(entries), np.full(entries, np.nan), np.ones(len(rows)))
    return Users(np.full(len(rows), -1), Ragged.from_lists(rows), past if timed else None)


@pytest.fixture(scope="module")
def fitted() -> FittedTwoTower:
    return SMALL.fit(two_tastes())


@needs_extra
@pytest.mark.parametrize("timed", [True, False])
def test_a_stranger_is_offered_the_taste_of_his_history(fitted: FittedTwoTower, timed: bool) -> None:
    scores = fitted.scores(strangers([4], [14], [1, 2], [11, 19], timed=timed))
    for row, tea in zip(scores, [True, False, True, False], strict=True):
        own, other = (row[:10], row[10:20]) if tea else (row[10:20], row[:10])
        assert own.min() > other.max()
    assert fitted.loss[0] > fitted.loss[-1] + 0.3


@needs_extra
def test_what_nobody_touched_is_offered_by_its_text(fitted: FittedTwoTower) -> None:
    scores = fitted.scores(strangers([4], [14]))
    assert scores[0, 20] > scores[1, 20]
    assert (scores[:, 21] == -np.inf).all()
    assert np.isfinite(scores[:, :21]).all()


@needs_extra
def test_events_in_any_order_give_the_same_bytes(fitted: FittedTwoTower) -> None:
    some = two_tastes()
    order = np.random.default_rng(1).permutation(len(some))
    columns = (some.user, some.item, some.strength, some.age_days)
    other = Interactions(*(column[order] for column in columns), some.n_users, some.n_items)
    assert SMALL.fit(other).to_files() == fitted.to_files()


@needs_extra
def test_numpy_serves_what_jax_trained(fitted: FittedTwoTower) -> None:
    import jax
    import jax.numpy as jnp

    made = np.random.default_rng(0)
    until = np.minimum(np.arange(8) + made.integers(1, 9, (5, 8)), 8).astype(np.int32)
    age = np.sort(made.uniform(0, 900, (5, 8)).astype(np.float32))[:, ::-1]
    windows = (made.integers(0, 20, (5, 8)).astype(np.int32), until, age, made.uniform(1, 5, (5, 8)).astype(np.float32))
    by_jax = jax.jit(lambda params, told: forward(jnp, params, told))(dict(fitted.params), windows)
    np.testing.assert_allclose(forward(np, fitted.params, windows), by_jax, atol=1e-5, rtol=0)


@needs_extra
def test_what_was_saved_scores_the_same_alone_as_among_others(fitted: FittedTwoTower) -> None:
    made = np.random.default_rng(4)
    users = strangers(*[made.permutation(20)[: made.integers(0, 13)].tolist() for _ in range(150)])
    loaded = FittedTwoTower.from_files(fitted.to_files())
    together = loaded.scores(users)
    assert together.tobytes() == fitted.scores(users).tobytes()
    alone = np.vstack([loaded.scores(users.between(n, n + 1)) for n in range(len(users))])
    assert together.tobytes() == alone.tobytes()
    assert loaded.to_files() == fitted.to_files()


@needs_extra
def test_nobody_without_history_is_guessed_at(fitted: FittedTwoTower) -> None:
    scores = fitted.scores(strangers([], [21], [3, 21]))
    assert (scores[:2] == -np.inf).all()
    assert (lists(fitted, strangers([], [21]), 3) == -1).all()
    assert np.isfinite(scores[2, :21]).all()
    assert fitted.explain(Ragged.from_lists([[3]]), 4) == {}


def test_shortened_texts_keep_their_cosines_where_there_are_few_words() -> None:
    vectors = Content(("a b", "b c", "c a", "", "d")).fit(two_words()).vectors
    short = shortened(vectors, 4)
    np.testing.assert_allclose(short @ short.T, (vectors @ vectors.T).toarray(), atol=1e-6)


def two_words() -> Interactions:
    return Interactions(np.zeros(1, int), np.zeros(1, int), np.ones(1), np.ones(1), 1, 5)


@pytest.mark.parametrize(
    ("wrong", "words"), [({"rank": 0}, "rank 0"), ({"length": 1}, "length 1"), ({"horizon_days": -1.0}, "-1.0 days")]
)
def test_a_setting_out_of_its_bounds_is_refused(wrong: dict[str, float], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        replace(SMALL, **wrong)  # type: ignore[arg-type]
