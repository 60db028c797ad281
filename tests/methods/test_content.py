"""Content against scikit-learn's TfidfVectorizer and plain loops, and what must stay true of it."""

from __future__ import annotations

import math

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.feature_extraction.text import TfidfVectorizer

from rekindle.methods.content import Content, FittedContent
from rekindle.methods.interactions import Interactions, Users, lists
from rekindle.methods.ragged import Ragged
from rekindle.methods.words import words

SHOP = (
    "Electric kettle, kitchen",
    "Teapot of glass, kitchen",
    "Travel kettle, kitchen",
    "Wool socks, clothing",
    "",
    "?!",
    "Hammer",
)
KETTLE, TEAPOT, TRAVEL_KETTLE, SOCKS, NAMELESS, MARKS, HAMMER = range(7)
VOCABULARY = ["kettle", "Kettle", "tea", "TEA", "pot", "éclair", "straße", "x", "2", "blue", "red", "wool", "of"]


def untouched(n_items: int) -> Interactions:
    """A catalogue that nobody has touched yet."""
    return Interactions(*(np.zeros(0, dtype=kind) for kind in (int, int, float, float)), 0, n_items)  # type: ignore[arg-type]


def fitted(texts: tuple[str, ...] = SHOP) -> FittedContent:
    return Content(texts).fit(untouched(len(texts)))


def users(*histories: dict[int, float]) -> Users:
    rows = Ragged.from_lists([list(h) for h in histories], [list(h.values()) for h in histories])
    return Users(np.full(len(histories), -1, dtype=np.int64), rows)


def catalogue(seed: int, n_items: int = 15) -> tuple[str, ...]:
    """Random titles; some items have none."""
    rng = np.random.default_rng(seed)
    titles = [", ".join(rng.choice(VOCABULARY, rng.integers(1, 6))) for _ in range(n_items - 2)]
    return (*titles[:4], "", *titles[4:], " - ")


def buyers(seed: int, n_items: int = 15) -> Users:
    rng = np.random.default_rng(seed)
    chosen = [rng.choice(n_items, rng.integers(0, 6), replace=False) for _ in range(12)]
    return users(*({int(item): float(rng.uniform(0.1, 9)) for item in row} for row in chosen))


def by_scikit_learn(texts: tuple[str, ...]) -> NDArray[np.float64]:
    """Vectors of all items, zeros for those without a word; only texts with a word are documents."""
    some = [n for n, text in enumerate(texts) if words(text)]
    vectors = TfidfVectorizer(token_pattern=r"(?u)\w+").fit_transform([texts[n] for n in some]).toarray()
    found = np.zeros((len(texts), vectors.shape[1]))
    found[some] = vectors
    return found


def test_who_bought_a_kettle_is_offered_the_new_kettle_that_nobody_has_bought_yet() -> None:
    found = lists(fitted(), users({KETTLE: 1.0}), 4, blocked=Ragged.from_lists([[KETTLE]]))
    assert found.tolist() == [[TRAVEL_KETTLE, TEAPOT, -1, -1]]


def test_an_item_without_a_word_or_without_a_word_in_common_is_not_offered() -> None:
    scores = fitted().scores(users({KETTLE: 1.0}))[0]
    assert np.isneginf(scores[[SOCKS, NAMELESS, MARKS, HAMMER]]).all()
    assert (scores[[KETTLE, TEAPOT, TRAVEL_KETTLE]] > 0).all()
    assert scores[KETTLE] == pytest.approx(1.0, abs=1e-12)


@pytest.mark.parametrize("history", [{}, {NAMELESS: 2.0}, {MARKS: 1.0, NAMELESS: 1.0}])
def test_who_has_no_history_of_words_is_offered_nothing(history: dict[int, float]) -> None:
    assert np.isneginf(fitted().scores(users(history, {KETTLE: 1.0}))[0]).all()


def test_what_was_wanted_more_weighs_more() -> None:
    mostly_socks = fitted().scores(users({KETTLE: 1.0, SOCKS: 9.0}))[0]
    mostly_kettle = fitted().scores(users({KETTLE: 9.0, SOCKS: 1.0}))[0]
    assert mostly_socks[SOCKS] > mostly_socks[KETTLE]
    assert mostly_kettle[KETTLE] > mostly_kettle[SOCKS]


@pytest.mark.parametrize("seed", range(10))
def test_vectors_are_those_of_scikit_learn(seed: int) -> None:
    texts = catalogue(seed)
    np.testing.assert_allclose(fitted(texts).vectors.toarray(), by_scikit_learn(texts), atol=1e-12)


@pytest.mark.parametrize("seed", range(10))
def test_a_score_is_the_cosine_of_the_item_and_the_weighted_mean_of_the_history(seed: int) -> None:
    texts, people = catalogue(seed), buyers(seed)
    vectors, found = by_scikit_learn(texts), fitted(texts).scores(people)
    rows = people.histories
    assert rows.values is not None
    for user in range(len(people)):
        mine = slice(rows.offsets[user], rows.offsets[user + 1])
        strengths = rows.values[mine]
        profile = sum(
            (s * vectors[i] for i, s in zip(rows.items[mine], strengths, strict=True)), np.zeros(vectors.shape[1])
        )
        profile /= strengths.sum() if len(strengths) else 1
        for item in range(len(texts)):
            both = math.sqrt((profile**2).sum()) * math.sqrt((vectors[item] ** 2).sum())
            want = float(profile @ vectors[item]) / both if both else 0.0
            got = found[user, item]
            assert np.isneginf(got) if want == 0 else got == pytest.approx(want, abs=1e-12)


@pytest.mark.parametrize("seed", range(10))
def test_what_the_history_adds_sums_to_the_score(seed: int) -> None:
    model, people = fitted(catalogue(seed)), buyers(seed)
    scores = model.scores(people)
    for user in range(len(people)):
        history = people.histories.between(user, user + 1)
        for item in range(model.n_items):
            added = model.explain(history, item)
            assert set(added) <= set(history.items.tolist())
            want = 0.0 if np.isneginf(scores[user, item]) else scores[user, item]
            assert sum(added.values()) == pytest.approx(want, abs=1e-12)


def test_a_history_that_faded_long_ago_reads_as_a_fresh_one() -> None:
    fresh, faded = (users({KETTLE: size, SOCKS: 3 * size}) for size in (1.0, 1e-200))
    np.testing.assert_allclose(fitted().scores(faded), fitted().scores(fresh), rtol=1e-12)
    assert fitted().explain(faded.histories, TEAPOT) == pytest.approx(fitted().explain(fresh.histories, TEAPOT))
    assert fitted().explain(fresh.histories, TEAPOT)


def test_without_strengths_all_of_a_history_weighs_the_same() -> None:
    plain = Users(np.array([-1]), Ragged.from_lists([[KETTLE, SOCKS]]))
    assert (fitted().scores(plain) == fitted().scores(users({KETTLE: 1.0, SOCKS: 1.0}))).all()


@pytest.mark.parametrize("seed", range(5))
def test_neither_the_order_of_a_history_nor_the_users_beside_change_a_bit(seed: int) -> None:
    model, people = fitted(catalogue(seed)), buyers(seed)
    together = model.scores(people)
    rows = people.histories
    assert rows.values is not None
    for n in range(len(people)):
        one = rows.between(n, n + 1)
        assert one.values is not None
        turned = Ragged(one.offsets, one.items[::-1].copy(), one.values[::-1].copy())
        before = turned.items.tolist(), turned.values.tolist()  # type: ignore[union-attr]
        assert (model.scores(people.between(n, n + 1)) == together[n]).all()
        assert (model.scores(Users(np.array([-1]), turned)) == together[n]).all()
        assert before == (turned.items.tolist(), turned.values.tolist())  # type: ignore[union-attr]


def test_who_bought_what_changes_nothing() -> None:
    events = Interactions(np.array([0, 0]), np.array([1, 2]), np.ones(2), np.zeros(2), 1, len(SHOP))
    assert Content(SHOP).fit(events).to_files() == fitted().to_files()


def test_a_stored_model_gives_the_same_scores() -> None:
    model, people = fitted(catalogue(5)), buyers(5)
    again = FittedContent.from_files(model.to_files())
    assert again.n_items == model.n_items == 15
    assert (again.scores(people) == model.scores(people)).all()
    assert again.to_files() == model.to_files()


def test_a_word_is_the_same_however_it_was_typed() -> None:
    composed, taken_apart, wide = "CAFÉ", "cafe\u0301", "\uff23\uff21\uff26\u00c9"
    assert words(composed) == words(taken_apart) == words(wide) == ["caf\u00e9"]
    assert words("T-shirt, size_2 (BLUE)") == ["t", "shirt", "size_2", "blue"]
    assert words(" ?! ") == []


def test_texts_that_do_not_fit_the_catalogue_are_refused() -> None:
    with pytest.raises(ValueError, match="7 texts for 8 items"):
        Content(SHOP).fit(untouched(8))
    with pytest.raises(ValueError, match="none of 2 texts holds a word"):
        Content(("", "?!")).fit(untouched(2))
    with pytest.raises(ValueError, match="none of 0 texts"):
        Content(()).fit(untouched(0))


def test_an_item_beyond_the_catalogue_is_refused() -> None:
    with pytest.raises(ValueError, match="item index 7 found, expected 0 to 6"):
        fitted().scores(users({KETTLE: 1.0, len(SHOP): 1.0}))


def test_nobody_to_serve_is_no_fault() -> None:
    assert fitted().scores(users()).shape == (0, len(SHOP))
