"""The methods of recommendation that a source's conf may declare, each with its settings and what it builds.

Only methods whose artefact holds items alone are here: a model in the registry outlives the erasure of its users, so
those that keep users' vectors or sessions (user and session neighbours, BPR) are compared in the bench and not served.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from rekindle.sources import Strict

if TYPE_CHECKING:
    from rekindle.methods.interactions import Method

Count = Annotated[int, Field(ge=1)]
Positive = Annotated[float, Field(gt=0)]


class Als(Strict):
    """Implicit ALS, trained by Spark on strengths faded by the source's half-life. See rekindle/methods/als.py."""

    method: Literal["implicit_als"]
    rank: Count
    iterations: Count
    regularisation: Positive
    alpha: Positive


class ItemNeighbours(Strict):
    """Items touched by the same users. See rekindle/methods/neighbours.py."""

    method: Literal["item_neighbours"]
    neighbours: Count
    weighting: Literal["cosine", "bm25", "tfidf", "jaccard"]
    shrinkage: Annotated[float, Field(ge=0)] = 0.0

    def build(self, seed: int, texts: Sequence[str]) -> Method:
        """The method."""
        from rekindle.methods.neighbours import ItemNeighbours as Built

        return Built(self.neighbours, self.weighting, self.shrinkage)


class Content(Strict):
    """Items whose title and category read like the history. See rekindle/methods/content.py."""

    method: Literal["content"]

    def build(self, seed: int, texts: Sequence[str]) -> Method:
        """The method on these texts."""
        from rekindle.methods.content import Content as Built

        return Built(texts)


class Popular(Strict):
    """What many did lately, as a source of candidates."""

    method: Literal["popularity"]
    half_life_days: Positive
    window_days: Positive

    def build(self, seed: int, texts: Sequence[str]) -> Method:
        """The method."""
        from rekindle.methods.baselines import Popularity

        return Popularity(self.half_life_days, self.window_days)


class RepeatLast(Strict):
    """The user's own items, the latest first."""

    method: Literal["repeat_last"]

    def build(self, seed: int, texts: Sequence[str]) -> Method:
        """The method."""
        from rekindle.methods.baselines import RepeatLast as Built

        return Built()


class FadedAls(Als):
    """ALS as a source of two stages, on strengths faded by the days since the last event (rekindle/methods/faded.py).

    `last_half_life_days`: null fades nothing.
    """

    last_half_life_days: Positive | None = None

    def build(self, seed: int, texts: Sequence[str]) -> Method:
        """In memory."""
        from rekindle.methods.faded import Faded
        from rekindle.methods.implicit_als import ImplicitAls

        built = ImplicitAls(self.rank, self.regularisation, self.alpha, self.iterations, seed)
        return built if self.last_half_life_days is None else Faded(built, self.last_half_life_days)


Source = Annotated[FadedAls | ItemNeighbours | Content | Popular | RepeatLast, Field(discriminator="method")]


class TwoStages(Strict):
    """Boosted trees over the candidates of `sources`. See rekindle/methods/two_stage.py."""

    method: Literal["two_stage"]
    sources: Annotated[tuple[Source, ...], Field(min_length=1)]
    candidates: Count
    holdout_days: Positive
    rounds: Count
    least_strength: Annotated[float, Field(ge=0)] = 0.0

    def build(self, seed: int, texts: Sequence[str]) -> Method:
        """The method over its sources."""
        from rekindle.methods.two_stage import TwoStage

        built = [source.build(seed, texts) for source in self.sources]
        return TwoStage(built, self.candidates, self.holdout_days, self.rounds, seed, self.least_strength)


InMemory = ItemNeighbours | Content | TwoStages
Declared = Annotated[Als | ItemNeighbours | Content | TwoStages, Field(discriminator="method")]
