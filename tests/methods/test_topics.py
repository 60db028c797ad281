"""Topics are those that scikit-learn's inference finds, users' mixes too, and they stay where they were."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.decomposition import LatentDirichletAllocation

from rekindle.methods import topics
from rekindle.methods.topics import Topics

WORDS = tuple(f"w{n:02}" for n in range(24))


@pytest.fixture(scope="module")
def planted() -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.int64]]:
    """500 documents of 30 words from four topics of six words each; the topics; each document's main topic."""
    dice = np.random.default_rng(11)
    shares = np.full((4, 24), 0.005)
    for topic in range(4):
        shares[topic, topic * 6 : topic * 6 + 6] = 1.0 + np.arange(6) % 3
    shares /= shares.sum(axis=1, keepdims=True)
    mixes = dice.dirichlet(np.full(4, 0.15), 500)
    documents = np.stack([dice.multinomial(30, mix @ shares) for mix in mixes]).astype(np.float64)
    return documents, shares, mixes.argmax(axis=1)


def test_planted_topics_and_their_number_are_found(
    planted: tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.int64]],
) -> None:
    documents, shares, main = planted
    tried = topics.numbers_tried(documents, WORDS, range(2, 7), 1)
    assert topics.best(tried) == 4
    found = topics.fit(documents, WORDS, 4, 1)
    place = [int(((found.shares - true) ** 2).sum(axis=1).argmin()) for true in shares]
    assert sorted(place) == [0, 1, 2, 3]
    assert np.abs(found.shares[place] - shares).max() < 0.03
    assert (found.labels(documents) == np.array(place)[main]).mean() > 0.9
    for true, topic in enumerate(place):
        assert {WORDS[w] for w in found.leading(topic)[:6]} == set(WORDS[true * 6 : true * 6 + 6])


def test_mixes_are_those_of_scikit_learn_for_the_same_topics(
    planted: tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.int64]],
) -> None:
    documents, _, _ = planted
    found = topics.fit(documents, WORDS, 4, 1)
    theirs = LatentDirichletAllocation(
        4, doc_topic_prior=topics.PRIOR, topic_word_prior=topics.PRIOR, max_iter=1, random_state=0, mean_change_tol=1e-9
    ).fit(documents[:20])
    theirs.components_ = found.counts
    theirs.exp_dirichlet_component_ = topics._spoken(found.counts)
    assert np.abs(theirs.transform(documents) - found.mixes(documents)).max() < 1e-5
    # And fitted from the start, both make words about as likely.
    theirs = LatentDirichletAllocation(
        4, doc_topic_prior=topics.PRIOR, topic_word_prior=topics.PRIOR, max_iter=topics.ROUNDS, random_state=3
    ).fit(documents)
    other = Topics(WORDS, theirs.components_, found.usual)
    assert np.nanmean(found.likelihood(documents)) > np.nanmean(other.likelihood(documents)) - 0.01


def test_a_user_s_mix_depends_on_the_user_alone_and_nothing_looked_at_says_nothing(
    planted: tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.int64]],
) -> None:
    documents, _, _ = planted
    found = topics.fit(documents, WORDS, 4, 1)
    whole = found.mixes(documents)
    assert (found.mixes(documents[::-1])[::-1] == whole).all()
    assert (found.mixes(documents[3:4]) == whole[3:4]).all()
    assert np.abs(whole.sum(axis=1) - 1).max() < 1e-5
    assert (found.mixes(np.zeros((1, 24))) == 0.25).all()
    assert np.isnan(found.likelihood(np.zeros((1, 24)))).all()


def test_topics_go_on_in_their_order_with_another_vocabulary(
    planted: tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.int64]],
) -> None:
    documents, _, _ = planted
    first = topics.fit(documents, WORDS, 4, 1)
    turned = Topics(WORDS, first.counts[[2, 0, 3, 1]], first.usual)
    # A night later a word is new and one is gone.
    words = (*WORDS[1:], "x")
    later = np.concatenate([documents[:, 1:], np.ones((500, 1))], axis=1)
    moved = topics.fit(later, words, 4, 7, warm=turned)
    said = moved.shares[:, :-1] / moved.shares[:, :-1].sum(axis=1, keepdims=True)
    were = turned.shares[:, 1:] / turned.shares[:, 1:].sum(axis=1, keepdims=True)
    assert [int(np.abs(were - one).sum(axis=1).argmin()) for one in said] == [0, 1, 2, 3]


def test_the_number_of_topics_stays_while_it_is_as_good() -> None:
    dice = np.random.default_rng(1)
    noise = dice.normal(0, 0.2, 100)
    tried = {4: noise - 3.0, 5: noise - 2.80, 6: noise - 2.79, 7: noise - 2.9}
    assert topics.best(tried) == 5, "the fewest within one standard error of the best"
    assert topics.best(tried, before=6) == 6
    assert topics.best(tried, before=4) == 5
    assert topics.best({4: np.array([np.nan])}) == 4
