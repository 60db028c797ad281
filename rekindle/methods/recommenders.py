"""Recommender models as artefacts: popularity counts tonight's purchases; ALS carries item factors, never users."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray


class UnknownMethod(Exception):
    """The artefact is of a method that this code does not know."""


@dataclass(frozen=True, eq=False)
class Recommender:
    """A model that can list items.

    Attributes:
        method: "popularity" or "als".
        items: item ids, row n of `factors` is items[n]; empty for popularity.
        factors: float32 [items, rank]; None for popularity.
        params: what it was trained with; ALS needs `regularisation` and `alpha` to fold users in.
    """

    method: str
    params: Mapping[str, str | int | float]
    items: Sequence[str] = ()
    factors: NDArray[np.float32] | None = field(default=None)

    @property
    def regularisation(self) -> float:
        """The ridge of folding in; 1 where nothing is folded in."""
        return float(self.params.get("regularisation", 1.0))

    @property
    def alpha(self) -> float:
        """The confidence a unit of strength adds; 0 where nothing is folded in."""
        return float(self.params.get("alpha", 0.0))

    def on(self, catalogue: Sequence[str]) -> NDArray[np.float32]:
        """The item factors in another catalogue's order; zeros for items the model does not know."""
        if self.factors is None:
            return np.zeros((len(catalogue), 1), dtype=np.float32)
        place = {item: n for n, item in enumerate(self.items)}
        result = np.zeros((len(catalogue), self.factors.shape[1]), dtype=np.float32)
        for n, item in enumerate(catalogue):
            if item in place:
                result[n] = self.factors[place[item]]
        return result

    def to_files(self) -> dict[str, bytes]:
        """The artefact: JSON and, for ALS, one array without objects."""
        files = {"model.json": json.dumps({"method": self.method, **self.params}, sort_keys=True).encode()}
        if self.factors is not None:
            packed = io.BytesIO()
            np.save(packed, self.factors, allow_pickle=False)
            files |= {"items.json": json.dumps(list(self.items)).encode(), "item_factors.npy": packed.getvalue()}
        return files

    @classmethod
    def from_files(cls, files: Mapping[str, bytes]) -> Recommender:
        """The model that `to_files` wrote.

        Raises:
            UnknownMethod: the artefact is of another method.
        """
        params = json.loads(files["model.json"])
        method = params.pop("method")
        if method == "popularity":
            return cls(method, params)
        if method != "als":
            raise UnknownMethod(f"a recommender of method {method!r}; expected als or popularity")
        factors = np.load(io.BytesIO(files["item_factors.npy"]), allow_pickle=False)
        return cls(method, params, json.loads(files["items.json"]), factors)
