"""SASRec (Kang and McAuley 2018, "Self-Attentive Sequential Recommendation"): what comes next in a user's sequence.

    x_t = e(item t)·√rank + p_t                     items and places as vectors
    x  ← x + attention(norm(x)),  x ← x + feed-forward(norm(x))     repeated; a place sees itself and what was before
    score of item j after t = norm(x_t)·e_j + b_j   the same e

The order of a sequence is that of the ages when training (oldest first, events at one time in an order drawn anew each
epoch) and that of `Users.past.last_days` when serving: an item stands once, at its last time, and of equals the lower
index first. What an item's return makes of its earlier event in training is told in sequences.py.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from rekindle.methods.deep import Array, Descent, Dropout, Params, learn, scores, softmax, untouched, visible
from rekindle.methods.interactions import Interactions, Users
from rekindle.methods.model_arrays import packed, unpacked
from rekindle.methods.ragged import Ragged
from rekindle.methods.sequences import Log, batches, served

SERVED_AT_ONCE = 64  # users; 64 · 2 heads · 100² attention weights are 5 MB


@dataclass(frozen=True)
class Sasrec:
    """SASRec and its settings. Strengths do not take part.

    Attributes:
        rank: length of a vector, a multiple of `heads`.
        blocks: of attention and feed-forward, 1 or more.
        heads: of an attention, 1 or more.
        length: of a window; of a longer history the last so many items count, 2 or more.
        horizon_days: a place is to foretell any event up to so many days later, best as many as lists are made for; 0:
            the next event; inf: any other event of the user, and no order is learnt (a random split has none).
        descent: how it is learnt.

    Raises:
        ValueError: a setting out of its bounds.
    """

    rank: int
    blocks: int
    heads: int
    length: int
    horizon_days: float
    descent: Descent

    def __post_init__(self) -> None:
        if min(self.rank, self.blocks, self.heads) < 1 or self.length < 2 or self.rank % self.heads:
            told = f"rank {self.rank}, {self.blocks} blocks, {self.heads} heads, length {self.length}"
            raise ValueError(f"Sasrec: {told}; expected 1 or more, heads a divisor of the rank, length 2 or more")
        if not self.horizon_days >= 0:
            raise ValueError(f"Sasrec: a horizon of {self.horizon_days} days, expected 0 or more")

    @property
    def name(self) -> str:
        """What tables and records call it."""
        return "sasrec"

    def fit(self, known: Interactions) -> FittedSasrec:
        """Learn with JAX; one thread, so that the same interactions in any order give the same bytes on one machine.

        Raises:
            NeedsExtra: JAX is not installed.
            ValueError: nobody did anything after anything else, or the descent ran away.
        """
        log = Log.of(known, self.horizon_days)
        params, loss = learn(self, self._start(log), log, self.length, self.horizon_days, self.descent)
        return FittedSasrec(log.known, known.n_items, self.heads, params, loss)

    def encode(self, xp: Any, params: Params, windows: Sequence[Array], dropout: Dropout) -> Array:
        """As `forward`."""
        return forward(xp, params, windows, self.heads, dropout)

    def items(self, xp: Any, params: Params) -> tuple[Array, Array]:
        """The same vectors as of the history."""
        return params["items"], params["bias"]

    def _start(self, log: Log) -> dict[str, NDArray[np.float32]]:
        made = np.random.default_rng(self.descent.seed)
        rank, count = self.rank, len(log.known)
        shares = np.bincount(log.item, minlength=count) / len(log.item)

        def drawn(*shape: int, scale: float) -> NDArray[np.float32]:
            return (made.normal(size=shape) * scale).astype(np.float32)

        found = {
            "items": drawn(count, rank, scale=1 / rank),
            "bias": np.log(shares).astype(np.float32),
            "places": drawn(self.length, rank, scale=1 / rank),
            "last_gain": np.ones(rank, np.float32),
            "last_shift": np.zeros(rank, np.float32),
        }
        for n in range(self.blocks):
            for name in ("query", "key", "value", "out", "first", "second"):
                found[f"{n}_{name}"] = drawn(rank, rank, scale=rank**-0.5)
            for name in ("first_bias", "second_bias", "attention_shift", "feed_shift"):
                found[f"{n}_{name}"] = np.zeros(rank, np.float32)
            for name in ("attention_gain", "feed_gain"):
                found[f"{n}_{name}"] = np.ones(rank, np.float32)
        return found


def forward(xp: Any, params: Params, windows: Sequence[Array], heads: int, drop: Dropout = untouched) -> Array:
    """The user at each place of each window, float32 [windows, length, rank], with NumPy or jax.numpy."""
    item, until = windows[:2]
    rank = params["items"].shape[1]
    x = params["items"][item] * np.float32(rank**0.5) + params["places"]
    x = drop(x, 0)
    seen = visible(xp, until)
    blocks = sum(name.endswith("_query") for name in params)
    for n in range(blocks):
        p = {name.removeprefix(f"{n}_"): value for name, value in params.items() if name.startswith(f"{n}_")}
        normed = _norm(x, p["attention_gain"], p["attention_shift"])
        x = x + drop(_attention(xp, normed, seen, p, heads), 3 * n + 1)
        normed = _norm(x, p["feed_gain"], p["feed_shift"])
        hidden = drop(xp.maximum(normed @ p["first"] + p["first_bias"], np.float32(0)), 3 * n + 2)
        x = x + drop(hidden @ p["second"] + p["second_bias"], 3 * n + 3)
    return _norm(x, params["last_gain"], params["last_shift"])


def _attention(xp: Any, x: Array, seen: Array, p: Params, heads: int) -> Array:
    windows, length, rank = x.shape
    width = rank // heads

    def split(name: str) -> Array:
        return (x @ p[name]).reshape(windows, length, heads, width).transpose(0, 2, 1, 3)

    fit = split("query") @ split("key").transpose(0, 1, 3, 2) * np.float32(width**-0.5)
    mixed = softmax(xp, fit, seen[:, None]) @ split("value")
    return mixed.transpose(0, 2, 1, 3).reshape(windows, length, rank) @ p["out"]


def _norm(x: Array, gain: Array, shift: Array) -> Array:
    centred = x - x.mean(-1, keepdims=True)
    return centred / ((centred**2).mean(-1, keepdims=True) + np.float32(1e-6)) ** np.float32(0.5) * gain + shift


@dataclass(frozen=True, eq=False)
class FittedSasrec:
    """A fitted SASRec, of items only.

    Attributes:
        known: int64 [m], the items with an interaction, ascending; row n of `items` is item known[n].
        n_items: items of the catalogue.
        heads: as `Sasrec`.
        params: float32 arrays by name, as `forward` takes them.
        loss: mean over the aims of each epoch, nats; not in the artefact.
    """

    known: NDArray[np.int64]
    n_items: int
    heads: int
    params: Mapping[str, NDArray[np.float32]]
    loss: tuple[float, ...] = field(default=())
    keeps_users: ClassVar[bool] = False

    def scores(self, users: Users) -> NDArray[np.float64]:
        """[users, n_items]: the score after the last event of the history, ln p(item) up to a number of the user's.

        −inf for an item without interactions, and everywhere for a user whose history has no known item of a strength
        above 0.

        Raises:
            ValueError: `users.past` is None, or an item beyond the catalogue.
        """
        length = len(self.params["places"])
        found = np.full((len(users), self.n_items), -np.inf)
        windows = served(users, self.known, self.n_items, length, timed=True)
        last = (windows.until > 0).sum(axis=1) - 1
        for rows in batches(len(users), SERVED_AT_ONCE):
            states = forward(np, self.params, windows.of(rows).arrays(), self.heads)
            mine = states[np.arange(len(states)), last[rows]]
            found[rows, self.known] = scores(mine, self.params["items"], self.params["bias"])
        found[last < 0] = -np.inf
        return found

    def explain(self, history: Ragged, item: int) -> dict[int, float]:
        """Empty: a score is no sum over the history."""
        return {}

    def to_files(self) -> dict[str, bytes]:
        """The arrays and the settings."""
        settings = {"method": "sasrec", "n_items": self.n_items, "heads": self.heads}
        return {
            "model.json": json.dumps(settings, sort_keys=True).encode(),
            "arrays.npz": packed(known=self.known, **self.params),
        }

    @classmethod
    def from_files(cls, files: Mapping[str, bytes]) -> FittedSasrec:
        """The model that `to_files` wrote."""
        settings, found = json.loads(files["model.json"]), unpacked(files["arrays.npz"])
        known = found.pop("known").astype(np.int64)
        params = {name: value.astype(np.float32) for name, value in found.items()}
        return cls(known, int(settings["n_items"]), int(settings["heads"]), params)
