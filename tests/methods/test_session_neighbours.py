"""Session neighbours against plain loops over sets."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from rekindle.methods import ranking, session_neighbours
from rekindle.methods.interactions import Interactions, Users, lists
from rekindle.methods.ragged import Ragged
from rekindle.methods.session_neighbours import FittedSessionNeighbours, SessionNeighbours
from rekindle.methods.splits import Events, random_per_user

ML_100K = Path(__file__).parents[3] / "shared/data/ml-100k/u.data"


def some_shop(seed: int, rows: int = 150, n_users: int = 12, n_items: int = 15) -> Interactions:
    """Random events of few days; nobody touched the last item. Some ages are equal, so that ties occur."""
    made = np.random.default_rng(seed)
    age = np.where(made.random(rows) < 0.5, made.integers(0, 6, rows), made.uniform(0, 6, rows))
    return Interactions(
        made.integers(0, n_users, rows), made.integers(0, n_items - 1, rows), np.ones(rows), age, n_users, n_items
    )


def some_histories(seed: int) -> Ragged:
    """Eight histories, the first one empty."""
    made = np.random.default_rng(100 + seed)
    rows = [made.choice(15, size, replace=False).tolist() for size in (0, 1, 2, 3, 5, 8, 13, 15)]
    return Ragged.from_lists(rows)


def served(histories: Ragged) -> Users:
    return Users(np.full(len(histories), -1, dtype=np.int64), histories)


def by_loops(known: Interactions, history: list[int], neighbours: int, sample: int) -> NDArray[np.float64]:
    sessions: dict[tuple[int, int], set[int]] = {}
    latest: dict[tuple[int, int], float] = {}
    for user, item, age in zip(known.user, known.item, known.age_days, strict=True):
        key = (int(user), math.floor(age))
        sessions.setdefault(key, set()).add(int(item))
        latest[key] = min(latest.get(key, math.inf), float(age))
    recent = sorted(sessions, key=lambda key: (latest[key], key[0], key[1]))
    candidates = [sessions[key] for key in recent if sessions[key] & set(history)][:sample]
    likeness = [len(s & set(history)) / math.sqrt(len(s) * len(history)) for s in candidates]
    nearest = sorted(range(len(candidates)), key=lambda n: (-likeness[n], n))[:neighbours]
    scores = np.full(known.n_items, -np.inf)
    for n in nearest:
        for item in candidates[n]:
            scores[item] = max(scores[item], 0.0) + likeness[n]
    return scores


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize(("neighbours", "sample"), [(1, 1), (3, 5), (5, 4), (2, 1000), (1000, 1000)])
def test_items_of_similar_visits_score_what_plain_loops_say(seed: int, neighbours: int, sample: int) -> None:
    known, histories = some_shop(seed), some_histories(seed)
    scores = SessionNeighbours(neighbours, sample).fit(known).scores(served(histories))
    for n in range(len(histories)):
        history = histories.between(n, n + 1).items.tolist()
        assert np.allclose(scores[n], by_loops(known, history, neighbours, sample), atol=1e-12)


def test_the_more_recent_of_two_equal_visits_is_the_neighbour() -> None:
    """Two visits hold item 0 and one other; yesterday's wins, and on one day at one time the lower user's."""
    known = Interactions(
        np.array([0, 0, 1, 1]), np.array([0, 1, 0, 2]), np.ones(4), np.array([5.5, 5.0, 1.2, 1.0]), 2, 3
    )
    one = served(Ragged.from_lists([[0]]))
    near = 1 / math.sqrt(2)
    assert SessionNeighbours(1, 10).fit(known).scores(one)[0].tolist() == [near, -math.inf, near]
    assert SessionNeighbours(10, 1).fit(known).scores(one)[0].tolist() == [near, -math.inf, near]
    at_once = Interactions(known.user, known.item, known.strength, np.ones(4), 2, 3)
    assert SessionNeighbours(1, 10).fit(at_once).scores(one)[0].tolist() == [near, near, -math.inf]


def test_two_days_of_one_user_are_two_visits() -> None:
    known = Interactions(np.array([0, 0]), np.array([0, 1]), np.ones(2), np.array([0.9, 1.1]), 1, 2)
    scores = SessionNeighbours(5, 5).fit(known).scores(served(Ragged.from_lists([[0]])))
    assert scores[0].tolist() == [1.0, -math.inf]


def test_visits_too_old_to_be_compared_are_not_stored() -> None:
    known = Interactions(np.arange(50) % 5, np.arange(50) % 2, np.ones(50), np.arange(50) + 0.5, 5, 2)
    assert SessionNeighbours(2, 3).fit(known).sessions.shape == (6, 2)


def test_nobody_without_history_is_guessed_at() -> None:
    histories = Ragged.from_lists([[], [14], [3]], [[], [1.0], [-1.0]])  # nothing, an item nobody touched, a return
    scores = SessionNeighbours(3, 5).fit(some_shop(0)).scores(served(histories))
    assert (scores == -np.inf).all()
    nobody = SessionNeighbours(3, 5).fit(some_shop(0)).scores(served(Ragged.empty(0)))
    assert nobody.shape == (0, 15)


def test_the_order_of_events_changes_no_bit() -> None:
    some = some_shop(1)
    order = np.random.default_rng(0).permutation(len(some))
    other = Interactions(some.user[order], some.item[order], some.strength[order], some.age_days[order], 12, 15)
    method = SessionNeighbours(4, 9)
    assert method.fit(some).to_files() == method.fit(other).to_files()


def test_what_was_saved_scores_the_same() -> None:
    fitted, users = SessionNeighbours(4, 9).fit(some_shop(2)), served(some_histories(2))
    loaded = FittedSessionNeighbours.from_files(fitted.to_files())
    assert loaded.scores(users).tobytes() == fitted.scores(users).tobytes()
    assert loaded.to_files() == fitted.to_files()


def test_a_score_is_the_sum_of_what_the_history_adds() -> None:
    fitted, histories = SessionNeighbours(4, 9).fit(some_shop(3)), some_histories(3)
    scores = fitted.scores(served(histories))
    for n in range(len(histories)):
        history = histories.between(n, n + 1)
        for item in range(15):
            added = fitted.explain(history, item)
            assert set(added) <= set(history.items.tolist())
            assert sum(added.values()) == pytest.approx(max(scores[n, item], 0.0), abs=1e-12)


def test_a_user_is_served_alone_as_among_others(monkeypatch: pytest.MonkeyPatch) -> None:
    fitted, users = SessionNeighbours(4, 9).fit(some_shop(4)), served(some_histories(4))
    together = fitted.scores(users)
    alone = np.vstack([fitted.scores(users.between(n, n + 1)) for n in range(len(users))])
    assert together.tobytes() == alone.tobytes()
    for cells in (1, 20, 50):
        monkeypatch.setattr(session_neighbours, "CELLS", cells)
        assert fitted.scores(users).tobytes() == together.tobytes()


def test_what_cannot_be_is_refused() -> None:
    with pytest.raises(ValueError, match="expected 1 or more"):
        SessionNeighbours(0, 5)
    with pytest.raises(ValueError, match="no interactions"):
        SessionNeighbours(1, 1).fit(Interactions(*[np.zeros(0, dtype=np.int64)] * 2, *[np.zeros(0)] * 2, 1, 1))
    with pytest.raises(ValueError, match="item 15 in a history"):
        SessionNeighbours(1, 1).fit(some_shop(0)).scores(served(Ragged.from_lists([[15]])))


@pytest.mark.skipif(not ML_100K.exists(), reason=f"{ML_100K} is not here: fetch MovieLens 100k")
def test_movielens_visits_say_more_than_popularity() -> None:
    """75/25 of every user's items, seen removed. Most users there have one session, so these are users, nearly."""
    raw = np.loadtxt(ML_100K, dtype=np.int64)
    split = random_per_user(
        Events(raw[:, 0] - 1, raw[:, 1] - 1, np.ones(len(raw)), raw[:, 3] / 86400.0, 943, 1682), seed=42
    )
    shown = lists(SessionNeighbours(50, 5000).fit(split.known), split.users, 10, blocked=split.blocked)
    assert ranking.mean_over_users(ranking.ndcg(ranking.judge(shown, split.truth, 10))) >= 0.42
