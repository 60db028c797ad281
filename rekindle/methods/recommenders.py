"""Recommender models as artefacts: a fitted method with the catalogue it speaks of, and no user."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from rekindle.methods.als import top_k
from rekindle.methods.factors import AlsFold, FactorModel
from rekindle.methods.fitted_files import UnknownMethod, registry_files
from rekindle.methods.fitted_files import from_files as fitted_from
from rekindle.methods.interactions import Fitted, Users
from rekindle.methods.ragged import Ragged, offsets_of

POPULARITY = "popularity"


@dataclass(frozen=True, eq=False)
class Recommender:
    """A model that can list items.

    Attributes:
        name: what conf calls it; POPULARITY for what is popular on the night it serves.
        params: what it was trained with, for people.
        items: item ids; item n of `fitted` is items[n].
        fitted: what was learnt; None for POPULARITY, which learns nothing before the night it serves.
        fades: whether the histories that it is served are faded by the source's half-life, as those it learnt from.

    Raises:
        ValueError: another number of items than the method was fitted on.
    """

    name: str
    params: Mapping[str, str | int | float] = field(default_factory=dict)
    items: Sequence[str] = ()
    fitted: Fitted | None = None
    fades: bool = False

    def __post_init__(self) -> None:
        if self.fitted is not None and self.fitted.n_items != len(self.items):
            raise ValueError(f"recommender {self.name}: {self.fitted.n_items} items fitted, {len(self.items)} named")

    def to_files(self) -> dict[str, bytes]:
        """The method's own files, the catalogue, and how it is served.

        Raises:
            KeepsUsers: users are in the artefact; it may be compared, not stored.
        """
        served = {"name": self.name, "params": dict(self.params), "fades": self.fades}
        files = {"recommender.json": json.dumps(served, sort_keys=True).encode()}
        if self.fitted is None:
            return files
        return files | registry_files(self.fitted) | {"items.json": json.dumps(list(self.items)).encode()}

    @classmethod
    def from_files(cls, files: Mapping[str, bytes]) -> Recommender:
        """The model that `to_files` wrote.

        Raises:
            UnknownMethod: the artefact is of a method that this code does not know.
        """
        if "recommender.json" not in files:
            return _first_form(files)
        served = json.loads(files["recommender.json"])
        if "items.json" not in files:
            return cls(served["name"], served["params"])
        return cls(
            served["name"], served["params"], json.loads(files["items.json"]), fitted_from(files), served["fades"]
        )

    def place_in(self, catalogue: Sequence[str]) -> NDArray[np.int64]:
        """The index in `items` of each item of a catalogue, −1 for one that the model does not know."""
        own = {item: n for n, item in enumerate(self.items)}
        return np.array([own.get(item, -1) for item in catalogue], dtype=np.int64)

    def scores(self, users: Users, place: NDArray[np.int64]) -> NDArray[np.float64]:
        """[users, len(place)] for users whose histories are on the catalogue of `place` (`place_in` of it).

        −inf for what the model does not know. Rounded to float32, so that a method's own rounding beside other users
        does not show (their order may differ only where two scores agree to seven digits).
        """
        found = np.full((len(users), len(place)), -np.inf)
        if self.fitted is not None:
            known = np.flatnonzero(place >= 0)
            found[:, known] = self.fitted.scores(relabelled(users, place)).astype(np.float32)[:, place[known]]
        return found

    def best_by_factors(
        self, users: Users, place: NDArray[np.int64], k: int, blocked: Ragged, eligible: NDArray[np.bool_]
    ) -> NDArray[np.int64] | None:
        """int64 [users, k]: the k best items by their number in the catalogue of `place`, best first, without a user's
        `blocked` ones and those that are not `eligible` (bool [len(place)]); −1 where the model speaks of fewer.

        The order of `scores`, but for two that agree to seven digits, without scoring every item (`als.top_k`). None
        where scores are not inner products alone. What is done once for all users costs as much as many of them: give
        many.
        """
        fitted = self.fitted
        if not isinstance(fitted, FactorModel) or fitted.item_bias is not None:
            return None
        factors = np.zeros((len(place), fitted.item_factors.shape[1]), dtype=np.float32)
        factors[place >= 0] = fitted.item_factors[place[place >= 0]]
        mine = fitted.vectors(relabelled(users, place)).astype(np.float32)
        offered = eligible & (factors != 0).any(axis=1)
        found, _ = top_k(mine, factors, k, blocked=blocked, eligible=offered)
        found[~(mine != 0).any(axis=1)] = -1
        return found


def _first_form(files: Mapping[str, bytes]) -> Recommender:
    """What was stored while there were two methods: a champion of then goes on serving until another beats it."""
    params = json.loads(files["model.json"])
    method = params.pop("method")
    if method == POPULARITY:
        return Recommender(POPULARITY, params)
    if method != "als" or "item_factors.npy" not in files:
        raise UnknownMethod(f"a recommender of method {method!r}; train anew (retrain)")
    factors = np.load(io.BytesIO(files["item_factors.npy"]), allow_pickle=False)
    fitted = FactorModel(factors, AlsFold(float(params["regularisation"]), float(params["alpha"])))
    return Recommender(method, params, json.loads(files["items.json"]), fitted, fades=True)


def relabelled(users: Users, place: NDArray[np.int64]) -> Users:
    """The same users with item n called place[n], and without the items whose place is −1.

    Places of known items ascend, as both catalogues are sorted; so histories stay in order.
    """
    rows, new = users.histories, place[users.histories.items]
    kept = new >= 0
    lengths = np.bincount(rows.rows()[kept], minlength=len(rows)).astype(np.int64)
    values = None if rows.values is None else rows.values[kept]
    past = None if users.past is None else users.past.of(slice(None), kept)
    return Users(users.index, Ragged(offsets_of(lengths), new[kept], values), past)
