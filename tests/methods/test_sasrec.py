"""SASRec: a planted order is learnt, the future is not seen, and what NumPy serves is what JAX trained."""

from __future__ import annotations

import sys
from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from rekindle.methods import deep
from rekindle.methods.baselines import Popularity
from rekindle.methods.deep import Descent, NeedsExtra, extra_is_missing
from rekindle.methods.interactions import Interactions, Past, Users, lists
from rekindle.methods.ragged import Ragged
from rekindle.methods.sasrec import FittedSasrec, Sasrec, forward

needs_extra = pytest.mark.skipif(bool(extra_is_missing()), reason=f"training {extra_is_missing()}")
SMALL = Sasrec(16, 1, 2, 8, 0.0, Descent(30, 0.01, 16, 100, 0.1, 0.0, seed=3))


def shop_in_order(seed: int = 0, n_users: int = 80) -> Interactions:
    """After item n mostly comes n + 1 of twelve, now and then any of the first three; item 12 is never touched."""
    made = np.random.default_rng(seed)
    sequence = np.empty((n_users, 9), dtype=np.int64)
    sequence[:, 0] = made.integers(0, 12, n_users)
    for t in range(1, 9):
        astray = made.random(n_users) < 0.2
        sequence[:, t] = np.where(astray, made.integers(0, 3, n_users), (sequence[:, t - 1] + 1) % 12)
    age = np.tile(np.arange(9)[::-1], n_users) + made.uniform(0, 0.5, n_users * 9)
    return Interactions(np.repeat(np.arange(n_users), 9), sequence.ravel(), np.ones(len(age)), age, n_users, 13)


def served(*histories: list[int]) -> Users:
    """Strangers with these histories, oldest first, an item a day."""
    items = [sorted(row) for row in histories]
    last = [float(len(row) - row.index(item)) for row, own in zip(histories, items, strict=True) for item in own]
    past = Past(np.array(last), np.ones(len(last)), np.full(len(last), np.nan), np.array([len(r) * 1.0 for r in items]))
    return Users(np.full(len(items), -1), Ragged.from_lists(items), past)


@pytest.fixture(scope="module")
def fitted() -> FittedSasrec:
    return SMALL.fit(shop_in_order())


@needs_extra
def test_what_comes_next_is_first(fitted: FittedSasrec) -> None:
    """In whatever order the history's items are numbered: what counts is what was done last."""
    assert lists(fitted, served([4], [3, 4], [11, 0], [5, 6, 7], [7, 6, 5]), 1).ravel().tolist() == [5, 5, 1, 8, 6]


@needs_extra
def test_the_loss_falls(fitted: FittedSasrec) -> None:
    assert fitted.loss[0] > 2.0 > fitted.loss[-1] * 1.4
    assert len(fitted.loss) == 30


@needs_extra
def test_lists_are_better_than_popularity_where_there_is_an_order(fitted: FittedSasrec) -> None:
    after = shop_in_order(seed=9, n_users=200)
    rows = after.item.reshape(200, 9)
    users = served(*[list(dict.fromkeys(row[5:8][::-1].tolist()))[::-1] for row in rows])
    hits = [
        float((lists(model, users, 2) == rows[:, 8, None]).any(axis=1).mean())
        for model in (fitted, Popularity(100.0, 100.0).fit(shop_in_order()))
    ]
    assert hits[0] > hits[1] + 0.3


@needs_extra
def test_numpy_serves_what_jax_trained(fitted: FittedSasrec) -> None:
    import jax
    import jax.numpy as jnp

    windows = some_windows()
    by_jax = jax.jit(lambda params, told: forward(jnp, params, told, 2))(dict(fitted.params), windows)
    np.testing.assert_allclose(forward(np, fitted.params, windows, 2), by_jax, atol=1e-5, rtol=0)


def some_windows(seed: int = 0) -> tuple[NDArray[np.generic], ...]:
    made = np.random.default_rng(seed)
    until = np.minimum(np.arange(8) + made.integers(1, 9, (5, 8)), 8).astype(np.int32)
    until[0, 3:] = 0  # a short one
    return (
        made.integers(0, 12, (5, 8)).astype(np.int32),
        until,
        np.zeros((5, 8), np.float32),
        np.ones((5, 8), np.float32),
    )


def some_params(seed: int = 1) -> dict[str, NDArray[np.float32]]:
    made = np.random.default_rng(seed)
    shapes = {"items": (12, 4), "places": (8, 4), "last_gain": (4,), "last_shift": (4,)}
    for name in ("query", "key", "value", "out", "first", "second"):
        shapes[f"0_{name}"] = (4, 4)
    for name in ("first_bias", "second_bias", "attention_shift", "feed_shift", "attention_gain", "feed_gain"):
        shapes[f"0_{name}"] = (4,)
    return {name: made.normal(size=shape).astype(np.float32) for name, shape in shapes.items()}


def norm(x: NDArray[np.float64], gain: NDArray[np.float32], shift: NDArray[np.float32]) -> NDArray[np.float64]:
    found: NDArray[np.float64] = (x - x.mean()) / np.sqrt(x.var() + 1e-6) * gain + shift
    return found


def test_a_block_is_what_plain_loops_say() -> None:
    """One block of two heads, place by place and head by head in double precision."""
    p, (item, until, *_) = some_params(), some_windows()
    found = forward(np, p, some_windows(), 2)
    for row in range(5):
        x = [p["items"][item[row, t]].astype(float) * 2 + p["places"][t] for t in range(8)]
        normed = [norm(v, p["0_attention_gain"], p["0_attention_shift"]) for v in x]
        for t in range(8):
            seen = [j for j in range(t + 1) if until[row, j] > t]
            if not seen:
                continue
            heads = []
            for h in (slice(0, 2), slice(2, 4)):
                q = (normed[t] @ p["0_query"])[h]
                weight = np.exp([q @ (normed[j] @ p["0_key"])[h] / np.sqrt(2) for j in seen])
                value = np.array([(normed[j] @ p["0_value"])[h] for j in seen])
                heads.append(weight @ value / weight.sum())
            y = x[t] + np.concatenate(heads) @ p["0_out"]
            inner = np.maximum(norm(y, p["0_feed_gain"], p["0_feed_shift"]) @ p["0_first"] + p["0_first_bias"], 0)
            y = y + inner @ p["0_second"] + p["0_second_bias"]
            np.testing.assert_allclose(found[row, t], norm(y, p["last_gain"], p["last_shift"]), atol=1e-4)


def test_the_future_in_a_sequence_changes_nothing_before_it() -> None:
    item, until, age, strength = some_windows()
    other = item.copy()
    other[:, 5:] = (other[:, 5:] + 1) % 12
    one, two = (forward(np, some_params(), (i, until, age, strength), 2) for i in (item, other))
    assert one[:, :5].tobytes() == two[:, :5].tobytes()
    assert not np.allclose(one[:, 5:], two[:, 5:])


@needs_extra
def test_events_in_any_order_give_the_same_bytes(fitted: FittedSasrec) -> None:
    some = shop_in_order()
    order = np.random.default_rng(1).permutation(len(some))
    columns = (some.user, some.item, some.strength, some.age_days)
    other = Interactions(*(column[order] for column in columns), some.n_users, some.n_items)
    assert SMALL.fit(other).to_files() == fitted.to_files()


@needs_extra
@pytest.mark.long
def test_an_order_is_learnt_from_drawn_items_as_well(fitted: FittedSasrec) -> None:
    """Four of twelve a step: scores are near those of the whole catalogue, for what is drawn often is not taken off."""
    sampled = replace(SMALL, descent=replace(SMALL.descent, negatives=4)).fit(shop_in_order())
    users = served([4], [3, 4], [11, 0], [5, 6, 7])
    assert lists(sampled, users, 1).ravel().tolist() == [5, 5, 1, 8]
    share = [np.exp(f.scores(users)[:, :12]) for f in (sampled, fitted)]
    one, two = (s / s.sum(axis=1, keepdims=True) for s in share)
    assert np.abs(one - two).sum(axis=1).mean() < 0.35


@needs_extra
def test_what_was_saved_scores_the_same_alone_as_among_others(fitted: FittedSasrec) -> None:
    made = np.random.default_rng(4)
    users = served(*[made.permutation(12)[: made.integers(0, 13)].tolist() for _ in range(150)])
    loaded = FittedSasrec.from_files(fitted.to_files())
    together = loaded.scores(users)
    assert together.tobytes() == fitted.scores(users).tobytes()
    alone = np.vstack([loaded.scores(users.between(n, n + 1)) for n in range(len(users))])
    assert together.tobytes() == alone.tobytes()
    assert loaded.to_files() == fitted.to_files()


@needs_extra
def test_nobody_without_history_is_guessed_at(fitted: FittedSasrec) -> None:
    """Nor is an item nobody touched; one in a history, or given back, says nothing."""
    past = Past(np.ones(3), np.ones(3), np.full(3, np.nan), np.ones(3))
    users = Users(np.full(3, -1), Ragged.from_lists([[], [12], [3, 12]], [[], [1.0], [1.0, 2.0]]), past)
    scores = fitted.scores(users)
    assert (scores[:2] == -np.inf).all()
    assert (scores[2, :12] == fitted.scores(served([3]))[0, :12]).all()
    assert scores[2, 12] == -np.inf
    assert fitted.scores(served()).shape == (0, 13)
    assert fitted.explain(Ragged.from_lists([[3]]), 4) == {}


@needs_extra
def test_who_does_not_say_when_is_refused(fitted: FittedSasrec) -> None:
    with pytest.raises(ValueError, match=r"Users\.past is None"):
        fitted.scores(Users(np.array([-1]), Ragged.from_lists([[3]])))


@needs_extra
def test_where_nobody_did_a_second_thing_there_is_nothing_to_learn() -> None:
    with pytest.raises(ValueError, match="there is no sequence"):
        SMALL.fit(Interactions(np.arange(5), np.arange(5), np.ones(5), np.ones(5), 5, 5))


def test_without_the_extra_one_line_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "jax", None)
    assert deep.extra_is_missing() == "needs the deep extra: bin/setup deep"
    with pytest.raises(NeedsExtra, match=r"^needs the deep extra: bin/setup deep$"):
        SMALL.fit(shop_in_order())


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"heads": 3}, "3 heads"),
        ({"length": 1}, "length 1"),
        ({"horizon_days": -1.0}, "horizon of -1.0 days"),
    ],
)
def test_a_setting_out_of_its_bounds_is_refused(wrong: dict[str, float], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        replace(SMALL, **wrong)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("wrong", "words"),
    [({"epochs": 0}, "0 epochs"), ({"dropout": 1.0}, "dropout 1.0"), ({"learning_rate": 0.0}, "learning rate 0.0")],
)
def test_a_descent_out_of_its_bounds_is_refused(wrong: dict[str, float], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        replace(SMALL.descent, **wrong)  # type: ignore[arg-type]
