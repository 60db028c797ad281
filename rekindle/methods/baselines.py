"""Methods that learn next to nothing: what any other must beat before anyone believes it.

Popularity knows no user, repetition knows no other user, and chance knows nothing at all.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from rekindle.methods.interactions import Interactions, Users
from rekindle.methods.model_arrays import packed, unpacked
from rekindle.methods.popularity import popularity
from rekindle.methods.ragged import Ragged


@dataclass(frozen=True)
class Popularity:
    """The same list for everybody: Σ strength · 2^(−age / half-life) over events younger than the window.

    Raises:
        ValueError: a half-life or window that is not above 0.
    """

    half_life_days: float
    window_days: float

    def __post_init__(self) -> None:
        if not (self.half_life_days > 0 and self.window_days > 0):
            raise ValueError(
                f"Popularity: half-life {self.half_life_days} and window {self.window_days} days, expected above 0"
            )

    @property
    def name(self) -> str:
        """What tables and records call it."""
        return "popularity"

    def fit(self, known: Interactions) -> FittedPopularity:
        """Each item's popularity.

        Raises:
            ValueError: no event is younger than the window.
        """
        found = popularity(
            known.item,
            known.age_days,
            known.strength,
            n_items=known.n_items,
            window_days=self.window_days,
            half_life_days=self.half_life_days,
        )
        if not found.any():
            raise ValueError(f"Popularity: none of {len(known)} events is younger than {self.window_days} days")
        return FittedPopularity(found)


@dataclass(frozen=True, eq=False)
class FittedPopularity:
    """Popularity float64 [n_items] in the unit of strengths; 0: nobody wanted it within the window."""

    popularity: NDArray[np.float64]
    keeps_users: ClassVar[bool] = False

    @property
    def n_items(self) -> int:
        """Items of the catalogue it was fitted on."""
        return len(self.popularity)

    def scores(self, users: Users) -> NDArray[np.float64]:
        """[users, n_items]: the popularity in every row, −inf where it is 0."""
        return np.tile(np.where(self.popularity > 0, self.popularity, -np.inf), (len(users), 1))

    def explain(self, history: Ragged, item: int) -> dict[int, float]:
        """Empty: no history takes part."""
        return {}

    def to_files(self) -> dict[str, bytes]:
        """One array and the method's name."""
        return {
            "model.json": json.dumps({"method": "popularity"}).encode(),
            "arrays.npz": packed(popularity=self.popularity),
        }

    @classmethod
    def from_files(cls, files: Mapping[str, bytes]) -> FittedPopularity:
        """The model that `to_files` wrote."""
        return cls(unpacked(files["arrays.npz"])["popularity"].astype(np.float64))


@dataclass(frozen=True)
class RepeatLast:
    """A user's own items, the most recent first: what a shop of consumables must beat."""

    @property
    def name(self) -> str:
        """What tables and records call it."""
        return "repeat_last"

    def fit(self, known: Interactions) -> FittedRepeatLast:
        """Only the size of the catalogue is learnt: what somebody did, and when, comes with him.

        Raises:
            ValueError: there are no interactions.
        """
        if not len(known):
            raise ValueError("RepeatLast: no interactions")
        return FittedRepeatLast(known.n_items)


@dataclass(frozen=True, eq=False)
class FittedRepeatLast:
    """Histories by recency."""

    n_items: int
    keeps_users: ClassVar[bool] = False

    def scores(self, users: Users) -> NDArray[np.float64]:
        """[users, n_items]: minus the days since the last event, 0 for an item touched at the instant itself; −inf
        for what is not in the history.

        Raises:
            ValueError: users come without their past.
        """
        past, own = users.told_past("repeat_last"), users.histories
        found = np.full((len(users), self.n_items), -np.inf)
        found[own.rows(), own.items] = -past.last_days
        return found

    def explain(self, history: Ragged, item: int) -> dict[int, float]:
        """Empty: a score is an age, no sum over a history."""
        return {}

    def to_files(self) -> dict[str, bytes]:
        """The size of the catalogue."""
        return {"model.json": json.dumps({"method": "repeat_last", "n_items": self.n_items}).encode()}

    @classmethod
    def from_files(cls, files: Mapping[str, bytes]) -> FittedRepeatLast:
        """The model that `to_files` wrote."""
        return cls(int(json.loads(files["model.json"])["n_items"]))


@dataclass(frozen=True)
class RepeatMost:
    """A user's own items, the one done most often first, of equals the most popular: a floor for lists of what to buy
    again that is hard to beat (Li et al. 2023, "A Next Basket Recommendation Reality Check")."""

    @property
    def name(self) -> str:
        """What tables and records call it."""
        return "repeat_most"

    def fit(self, known: Interactions) -> FittedRepeatMost:
        """How popular each item is.

        Raises:
            ValueError: there are no interactions.
        """
        if not len(known):
            raise ValueError("RepeatMost: no interactions")
        return FittedRepeatMost(np.bincount(known.item, minlength=known.n_items) / len(known))


@dataclass(frozen=True, eq=False)
class FittedRepeatMost:
    """Each item's share of all events, float64 [n_items]."""

    share: NDArray[np.float64]
    keeps_users: ClassVar[bool] = False

    @property
    def n_items(self) -> int:
        """Items of the catalogue it was fitted on."""
        return len(self.share)

    def scores(self, users: Users) -> NDArray[np.float64]:
        """[users, n_items]: strength of the item in the history (whole numbers) and half the share, −inf outside."""
        own = users.histories
        found = np.full((len(users), self.n_items), -np.inf)
        found[own.rows(), own.items] = (1.0 if own.values is None else own.values) + self.share[own.items] / 2
        return found

    def explain(self, history: Ragged, item: int) -> dict[int, float]:
        """Empty: the share is no part of the history."""
        return {}

    def to_files(self) -> dict[str, bytes]:
        """One array and the method's name."""
        return {
            "model.json": json.dumps({"method": "repeat_most"}).encode(),
            "arrays.npz": packed(share=self.share),
        }

    @classmethod
    def from_files(cls, files: Mapping[str, bytes]) -> FittedRepeatMost:
        """The model that `to_files` wrote."""
        return cls(unpacked(files["arrays.npz"])["share"].astype(np.float64))


@dataclass(frozen=True)
class Uniform:
    """Chance: the floor. A figure that is not above its figure on the same users shows nothing.

    Raises:
        ValueError: a seed outside 0 … 2^64 − 1.
    """

    seed: int

    def __post_init__(self) -> None:
        if not 0 <= self.seed < 2**64:
            raise ValueError(f"Uniform: seed {self.seed}, expected 0 to 2^64 − 1")

    @property
    def name(self) -> str:
        """What tables and records call it."""
        return "uniform"

    def fit(self, known: Interactions) -> FittedUniform:
        """Only the size of the catalogue is learnt.

        Raises:
            ValueError: the catalogue is empty.
        """
        if not known.n_items:
            raise ValueError("Uniform: a catalogue of 0 items")
        return FittedUniform(self.seed, known.n_items)


@dataclass(frozen=True, eq=False)
class FittedUniform:
    """A number in [0, 1) for each (user index, item) that depends on those two and the seed alone."""

    seed: int
    n_items: int
    keeps_users: ClassVar[bool] = False

    def scores(self, users: Users) -> NDArray[np.float64]:
        """[users, n_items], uniform in [0, 1). Users who were not in the interactions (index −1) all have one row."""
        start = _mixed(np.array([self.seed], dtype=np.uint64))
        of_user = _mixed(start ^ users.index.astype(np.uint64))
        of_pair = _mixed(of_user[:, None] ^ np.arange(self.n_items, dtype=np.uint64))
        # The 53 highest bits are what a float64 holds.
        return (of_pair >> np.uint64(11)).astype(np.float64) * 2.0**-53

    def explain(self, history: Ragged, item: int) -> dict[int, float]:
        """Empty: no history takes part."""
        return {}

    def to_files(self) -> dict[str, bytes]:
        """The seed and the size of the catalogue."""
        return {
            "model.json": json.dumps({"method": "uniform", "seed": self.seed, "n_items": self.n_items}).encode(),
        }

    @classmethod
    def from_files(cls, files: Mapping[str, bytes]) -> FittedUniform:
        """The model that `to_files` wrote."""
        params = json.loads(files["model.json"])
        return cls(int(params["seed"]), int(params["n_items"]))


def _mixed(number: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """One step of SplitMix64 from each state (Steele, Lea and Flood 2014): a hash, so no number waits for another."""
    mixed = number + np.uint64(0x9E3779B97F4A7C15)
    mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return mixed ^ (mixed >> np.uint64(31))
