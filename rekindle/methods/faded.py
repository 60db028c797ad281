"""A method whose histories fade: what somebody last did long ago weighs less, also of who came after the training.

A history entry's strength is multiplied by 2^(−days since the user's last event on the item / half-life), which
`Users.past` tells of everybody. Training fades each pair's summed strength by the same rule, so that what is learnt and
what is served are alike to the last bit; `Interactions.matrix(half_life)` fades event by event, which no history tells.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from rekindle.methods.fitted_files import from_files, keeps_users
from rekindle.methods.interactions import Fitted, Interactions, Method, Users
from rekindle.methods.ragged import Ragged

INNER = "faded."  # before the names of the inner method's files


@dataclass(frozen=True)
class Faded:
    """Another method on faded strengths.

    Attributes:
        method: any; one that reads strengths, for else nothing changes.
        last_half_life_days: above 0.

    Raises:
        ValueError: a half-life that is not above 0, or a method that fades by itself.
    """

    method: Method
    last_half_life_days: float

    def __post_init__(self) -> None:
        if not 0 < self.last_half_life_days < np.inf:
            raise ValueError(f"Faded: half-life {self.last_half_life_days} days, expected above 0")
        if getattr(self.method, "half_life_days", None) is not None:
            raise ValueError(f"Faded: {self.method.name} fades by itself; leave out its half-life")

    @property
    def name(self) -> str:
        """What tables and records call it."""
        return f"faded_{self.method.name}"

    def fit(self, known: Interactions) -> FittedFaded:
        """The method, fitted on one row a pair: its summed strength faded, as old as its last event."""
        matrix, past = known.matrix(), known.past()
        user = np.repeat(np.arange(known.n_users, dtype=np.int64), np.diff(matrix.indptr))
        strength = _faded(matrix.data, past.last_days, self.last_half_life_days)
        kept = strength > 0  # else it has faded below what a float64 holds
        pairs = Interactions(
            user[kept],
            matrix.indices.astype(np.int64)[kept],
            strength[kept],
            past.last_days[kept],
            known.n_users,
            known.n_items,
        )
        return FittedFaded(self.method.fit(pairs), self.last_half_life_days)


@dataclass(frozen=True, eq=False)
class FittedFaded:
    """A fitted method, served histories that fade."""

    fitted: Fitted
    last_half_life_days: float

    @property
    def keeps_users(self) -> bool:
        """As the method inside."""
        return keeps_users(self.fitted)

    @property
    def n_items(self) -> int:
        """Items of the catalogue it was fitted on."""
        return self.fitted.n_items

    def scores(self, users: Users) -> NDArray[np.float64]:
        """As the method inside, of the histories faded; what they were faded by before is not asked.

        Raises:
            ValueError: users come without their past.
        """
        past = users.told_past("faded")
        own = users.histories
        strength = np.ones(len(own.items)) if own.values is None else own.values
        values = _faded(strength, past.last_days, self.last_half_life_days)
        return self.fitted.scores(replace(users, histories=replace(own, values=values)))

    def explain(self, history: Ragged, item: int) -> dict[int, float]:
        """Empty: a history alone does not say how old it is."""
        return {}

    def to_files(self) -> dict[str, bytes]:
        """The half-life, and the files of the method inside."""
        settings = {"method": "faded", "last_half_life_days": self.last_half_life_days}
        inner = {INNER + name: content for name, content in self.fitted.to_files().items()}
        return {"model.json": json.dumps(settings, sort_keys=True).encode(), **inner}

    @classmethod
    def from_files(cls, files: Mapping[str, bytes]) -> FittedFaded:
        """The model that `to_files` wrote.

        Raises:
            UnknownMethod: the method inside is none that can be read.
        """
        inner = {name.removeprefix(INNER): content for name, content in files.items() if name.startswith(INNER)}
        return cls(from_files(inner), float(json.loads(files["model.json"])["last_half_life_days"]))


def _faded(strength: NDArray[np.float64], last_days: NDArray[np.float64], half_life_days: float) -> NDArray[np.float64]:
    return strength * np.exp2(-last_days / half_life_days)
