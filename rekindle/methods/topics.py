"""What users look at, as topics: latent Dirichlet allocation over words, and each user's mix of topics.

Blei, Ng & Jordan, JMLR 3 (2003), by batch variational inference as in Hoffman, Blei & Bach, Online learning for LDA,
NIPS (2010), algorithm 1 with all documents in one batch; equations are that paper's. Fitted here rather than by
scikit-learn, which cannot begin at the topics of the night before; a test compares the two.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import psi
from threadpoolctl import threadpool_limits

STARTS, FIRST_ROUNDS = 4, 10  # of as many beginnings the best after as many rounds goes on
ROUNDS = 30  # of all documents at a fit
STEPS = 5  # for each document in a round; it goes on from where the round before left it
MIX_STEPS = 100  # for the mix of a user, from nothing
PRIOR = 0.1  # of a topic in a mix (alpha) and of a word in a topic (eta)
DECIMALS = 6
TINY = 1e-12
WARM_GAIN = 0.005  # topics found afresh take the place of old ones if words are so much likelier, in nats
HELD_OUT = 5  # every fifth document is left out where numbers of topics are compared
NAMED = 8  # words told of a topic


@dataclass(frozen=True, eq=False)
class Topics:
    """Each topic's pseudo-counts of words, float64 [topics, words], rounded; `words` in their order.

    `usual` is each word's share among all words of the fit.
    """

    words: tuple[str, ...]
    counts: NDArray[np.float64]
    usual: NDArray[np.float64]

    @property
    def count(self) -> int:
        """How many topics."""
        return len(self.counts)

    @property
    def shares(self) -> NDArray[np.float64]:
        """Each topic's distribution over words, [topics, words]."""
        return np.asarray(self.counts / self.counts.sum(axis=1, keepdims=True))

    def mixes(self, documents: NDArray[np.float64]) -> NDArray[np.float64]:
        """Each document's share of each topic, [documents, topics], rounded; equal shares for one without words."""
        with threadpool_limits(limits=1):
            found = _mixed(documents, _spoken(self.counts), None, MIX_STEPS)
        return np.asarray(np.round(found / found.sum(axis=1, keepdims=True), DECIMALS))

    def labels(self, documents: NDArray[np.float64]) -> NDArray[np.int64]:
        """Each document's main topic (the first of equal ones)."""
        return np.asarray(self.mixes(documents).argmax(axis=1), dtype=np.int64)

    def likelihood(self, documents: NDArray[np.float64]) -> NDArray[np.float64]:
        """Mean log probability of a document's words of odd numbers, by the mix that those of even numbers give; NaN
        for a document that lacks either. In nats; the higher the better."""
        even = np.arange(len(self.words)) % 2 == 0
        seen, asked = np.where(even, documents, 0.0), np.where(even, 0.0, documents)
        said = np.log(np.maximum(self.mixes(seen) @ self.shares, TINY))
        words = asked.sum(axis=1)
        known = (words > 0) & (seen.sum(axis=1) > 0)
        return np.where(known, (asked * said).sum(axis=1) / np.maximum(words, 1.0), np.nan)

    def leading(self, topic: int) -> list[int]:
        """Numbers of the topic's NAMED most telling words, best first.

        Relevance of Sievert & Shirley, LDAvis (2014), formula 1, at their lambda 0.6: 0.6 · log share in the topic
        + 0.4 · log of that share over the usual one.
        """
        share = self.shares[topic]
        relevance = np.round(0.6 * np.log(share) + 0.4 * self.lift(topic) * np.log(2), DECIMALS)
        return [int(n) for n in np.lexsort((np.arange(len(share)), -relevance))[:NAMED]]

    def lift(self, topic: int) -> NDArray[np.float64]:
        """Binary logarithm of each word's share in the topic over its usual share."""
        return np.asarray(np.log2(self.shares[topic] / np.maximum(self.usual, TINY)))

    def to_json(self) -> dict[str, Any]:
        """Words and numbers."""
        return {"words": list(self.words), "counts": self.counts.tolist(), "usual": self.usual.tolist()}

    @classmethod
    def from_json(cls, told: Mapping[str, Any]) -> Topics:
        """What `to_json` wrote."""
        return cls(tuple(told["words"]), np.array(told["counts"]), np.array(told["usual"]))


def fit(
    documents: NDArray[np.float64], words: Sequence[str], count: int, seed: int, warm: Topics | None = None
) -> Topics:
    """So many topics of documents [documents, words] of counts, the largest first.

    Where `warm` topics are given, these are moved on instead, in their order, unless fresh ones make the documents'
    words likelier by WARM_GAIN. A word that `warm` did not know begins as it is among all words.
    """
    usual = documents.sum(axis=0) / max(documents.sum(), 1.0)
    drawn = np.random.default_rng(seed)
    with threadpool_limits(limits=1):
        begun = [_moved(documents, drawn.gamma(100.0, 0.01, (count, len(words))), FIRST_ROUNDS) for _ in range(STARTS)]
        said = [_mean(_topics(words, one, usual).likelihood(documents)) for one in begun]
        fresh = _moved(documents, begun[int(np.argmax(said))], ROUNDS)
        largest = np.argsort(-fresh.sum(axis=1), kind="stable")
        found = _topics(words, fresh[largest], usual)
        if warm is None or warm.count != count:
            return found
        place = {word: n for n, word in enumerate(warm.words)}
        old = warm.counts / warm.counts.sum(axis=1, keepdims=True)
        start = np.stack([old[:, place[w]] if w in place else np.full(count, usual[n]) for n, w in enumerate(words)], 1)
        moved = _topics(words, _moved(documents, start * documents.sum() / count + PRIOR, ROUNDS), usual)
    better = _mean(found.likelihood(documents)) > _mean(moved.likelihood(documents)) + WARM_GAIN
    return found if better else moved


def numbers_tried(
    documents: NDArray[np.float64], words: Sequence[str], counts: Sequence[int], seed: int
) -> dict[int, NDArray[np.float64]]:
    """Of each number of topics, how likely left-out documents' words are: `likelihood` of every HELD_OUT-th document
    by topics of the others."""
    out = np.arange(len(documents)) % HELD_OUT == 0
    return {n: fit(documents[~out], words, n, seed).likelihood(documents[out]) for n in counts}


def best(tried: Mapping[int, NDArray[np.float64]], before: int | None = None) -> int:
    """The fewest topics that are within one standard error of the likeliest (Breiman et al., Classification and
    Regression Trees, 1984, section 3.4.3); the number there was `before` stays while it is within one, too."""
    mean = {n: _mean(found) for n, found in tried.items() if np.isfinite(found).any()}
    if not mean:
        return min(tried)
    top = max(sorted(mean), key=lambda n: mean[n])
    known = tried[top][np.isfinite(tried[top])]
    enough = mean[top] - float(known.std()) / np.sqrt(len(known))
    if before is not None and mean.get(before, -np.inf) >= enough:
        return before
    return min(n for n, value in mean.items() if value >= enough)


def _mean(likelihood: NDArray[np.float64]) -> float:
    """Of the documents that have one; -inf where none has."""
    known = likelihood[np.isfinite(likelihood)]
    return float(known.mean()) if len(known) else -np.inf


def _topics(words: Sequence[str], counts: NDArray[np.float64], usual: NDArray[np.float64]) -> Topics:
    return Topics(tuple(words), np.round(counts, DECIMALS), np.round(usual, 12))


def _moved(documents: NDArray[np.float64], counts: NDArray[np.float64], rounds: int) -> NDArray[np.float64]:
    """Topics after so many rounds of inference (equations 5 and 6)."""
    mix = np.ones((len(documents), len(counts)))
    for _ in range(rounds):
        spoken = _spoken(counts)
        mix = _mixed(documents, spoken, mix, STEPS)
        weight = np.exp(_expected_log(mix))
        said = documents / (weight @ spoken + TINY)
        counts = PRIOR + spoken * (weight.T @ said)
    return counts


def _mixed(
    documents: NDArray[np.float64], spoken: NDArray[np.float64], mix: NDArray[np.float64] | None, steps: int
) -> NDArray[np.float64]:
    """Pseudo-counts of topics in each document, [documents, topics] (equation 5)."""
    mix = np.ones((len(documents), len(spoken))) if mix is None else mix
    for _ in range(steps):
        weight = np.exp(_expected_log(mix))
        mix = PRIOR + weight * ((documents / (weight @ spoken + TINY)) @ spoken.T)
    return mix


def _spoken(counts: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(np.exp(_expected_log(counts)))


def _expected_log(counts: NDArray[np.float64]) -> NDArray[np.float64]:
    """E[log x] of Dirichlet distributions, one a row."""
    return np.asarray(psi(counts) - psi(counts.sum(axis=1, keepdims=True)))
