"""Two towers: a user's history and an item each become a vector, and a score is their product and the item's bias
(Yi et al. 2019, "Sampling-Bias-Corrected Neural Modeling for Large Corpus Item Recommendations").

    item j      y_j = e_j + P f_j,  b_j          f: TF-IDF of its text in few dimensions, where texts are given
    history     x = Σ_i w_i h_i,  w = softmax(a[days from i to the last event] + c · ln strength_i + g_i)
    user        u = x + W₂ relu(W₁ x + d₁)
    score       u · y_j + b_j

Nobody's index takes part: who came after the training is served from his history as everybody is. Where nobody told the
users' past the days are left out of w.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from rekindle.methods.content import Content
from rekindle.methods.deep import Array, Descent, Dropout, Params, learn, scores, softmax, untouched, visible
from rekindle.methods.interactions import Interactions, Users
from rekindle.methods.model_arrays import packed, unpacked
from rekindle.methods.ragged import Ragged
from rekindle.methods.sequences import Log, batches, served

SERVED_AT_ONCE = 64  # users
OF_HISTORY = ("history", "weight", "recency", "strength", "first", "first_bias", "second")
DOUBLINGS = 10  # of days: same day, up to 1, 3, 7, … 511, more


@dataclass(frozen=True)
class TwoTower:
    """Two towers and their settings.

    Attributes:
        rank: length of a vector, 1 or more.
        hidden: of the user's layer, 1 or more.
        length: of a window; of a longer history the last so many items count, 2 or more.
        horizon_days: a place is to foretell any event up to so many days later, best as many as lists are made for; 0:
            the next event; inf: any other event of the user, and no order is learnt (a random split has none).
        descent: how it is learnt.
        texts: of each item of the catalogue, "" where there is none; None: no item has one.

    Raises:
        ValueError: a setting out of its bounds.
    """

    rank: int
    hidden: int
    length: int
    horizon_days: float
    descent: Descent
    texts: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        if min(self.rank, self.hidden) < 1 or self.length < 2:
            told = f"rank {self.rank}, {self.hidden} hidden, length {self.length}"
            raise ValueError(f"TwoTower: {told}; expected 1, 1, 2 or more")
        if not self.horizon_days >= 0:
            raise ValueError(f"TwoTower: a horizon of {self.horizon_days} days, expected 0 or more")

    @property
    def name(self) -> str:
        """What tables and records call it."""
        return "two_tower"

    def fit(self, known: Interactions) -> FittedTwoTower:
        """Learn with JAX; one thread, so that the same interactions in any order give the same bytes on one machine.

        Raises:
            NeedsExtra: JAX is not installed.
            ValueError: nobody did anything after anything else, the descent ran away, or another number of texts
                than items.
        """
        log = Log.of(known, self.horizon_days)
        texts = None if self.texts is None else shortened(Content(self.texts).fit(known).vectors, self.rank)
        params, loss = learn(
            self,
            self._start(log, None if texts is None else texts[log.known]),
            log,
            self.length,
            self.horizon_days,
            self.descent,
        )
        vectors, bias = self.items(np, params)
        listed = log.known
        if texts is not None:
            others = np.setdiff1d(np.flatnonzero((texts != 0).any(axis=1)), log.known)
            listed = np.concatenate([log.known, others])
            vectors = np.concatenate([vectors, texts[others] @ params["of_text"]])
            bias = np.concatenate([bias, np.full(len(others), bias.min(), np.float32)])
        tower = {name: params[name] for name in OF_HISTORY}
        timed = self.horizon_days < np.inf
        return FittedTwoTower(log.known, known.n_items, self.length, timed, tower, listed, vectors, bias, loss)

    def encode(self, xp: Any, params: Params, windows: Sequence[Array], dropout: Dropout) -> Array:
        """As `forward`."""
        return forward(xp, params, windows, dropout)

    def items(self, xp: Any, params: Params) -> tuple[Array, Array]:
        """The item tower."""
        vectors = params["items"]
        if "texts" in params:
            vectors = vectors + params["texts"] @ params["of_text"]
        return vectors, params["bias"]

    def _start(self, log: Log, texts: NDArray[np.float32] | None) -> dict[str, NDArray[np.float32]]:
        made = np.random.default_rng(self.descent.seed)
        count, rank = len(log.known), self.rank

        def drawn(*shape: int, scale: float) -> NDArray[np.float32]:
            return (made.normal(size=shape) * scale).astype(np.float32)

        found = {
            "items": drawn(count, rank, scale=rank**-0.5),
            "bias": np.log(np.bincount(log.item, minlength=count) / len(log.item)).astype(np.float32),
            "history": drawn(count, rank, scale=rank**-0.5),
            "weight": np.zeros(count, np.float32),
            "recency": np.zeros(DOUBLINGS + 1, np.float32),
            "strength": np.zeros(1, np.float32),
            "first": drawn(rank, self.hidden, scale=rank**-0.5),
            "first_bias": np.zeros(self.hidden, np.float32),
            "second": drawn(self.hidden, rank, scale=self.hidden**-0.5 / 2),
        }
        if texts is not None:
            found |= {"texts": texts, "of_text": drawn(texts.shape[1], rank, scale=rank**-0.5)}
        return found


def forward(xp: Any, params: Params, windows: Sequence[Array], drop: Dropout = untouched) -> Array:
    """The user tower at each place of each window, float32 [windows, length, rank], with NumPy or jax.numpy."""
    item, until, age, strength = windows
    days = xp.maximum(age[:, None, :] - age[:, :, None], np.float32(0))
    doublings = xp.minimum(xp.ceil(xp.log2(np.float32(1) + days)), DOUBLINGS).astype(np.int32)
    weight = params["weight"][item] + params["strength"] * xp.log(xp.maximum(strength, np.float32(1e-9)))
    weight = softmax(xp, params["recency"][doublings] + weight[:, None, :], visible(xp, until))
    x = weight @ drop(params["history"][item], 0)
    hidden = drop(xp.maximum(x @ params["first"] + params["first_bias"], np.float32(0)), 1)
    return x + hidden @ params["second"]


@dataclass(frozen=True, eq=False)
class FittedTwoTower:
    """Fitted towers, of items only.

    Attributes:
        known: int64 [m], the items with an interaction, ascending; what a history is read by.
        n_items: items of the catalogue.
        length: as `TwoTower`.
        timed: whether days were learnt.
        params: float32 arrays of the user tower by name, as `forward` takes them.
        listed: int64 [p], `known` and then the items that nobody touched and that have a text.
        vectors, bias: float32 [p, rank] and [p], of `listed`. What nobody touched has the least bias of all and what
            its text says.
        loss: mean over the aims of each epoch, nats; not in the artefact.
    """

    known: NDArray[np.int64]
    n_items: int
    length: int
    timed: bool
    params: Mapping[str, NDArray[np.float32]]
    listed: NDArray[np.int64]
    vectors: NDArray[np.float32]
    bias: NDArray[np.float32]
    loss: tuple[float, ...] = field(default=())
    keeps_users: ClassVar[bool] = False

    def scores(self, users: Users) -> NDArray[np.float64]:
        """[users, n_items]: ln p(item) up to a number of the user's.

        −inf for an item that is not listed, and everywhere for a user whose history has no known item of a strength
        above 0. Strengths are to be as the interactions' are, not faded: what faded is told by days.

        Raises:
            ValueError: an item beyond the catalogue.
        """
        found = np.full((len(users), self.n_items), -np.inf)
        windows = served(users, self.known, self.n_items, self.length, timed=self.timed and users.past is not None)
        last = (windows.until > 0).sum(axis=1) - 1
        for rows in batches(len(users), SERVED_AT_ONCE):
            states = forward(np, self.params, windows.of(rows).arrays())
            mine = states[np.arange(len(states)), last[rows]]
            found[rows, self.listed] = scores(mine, self.vectors, self.bias)
        found[last < 0] = -np.inf
        return found

    def explain(self, history: Ragged, item: int) -> dict[int, float]:
        """Empty: a score is no sum over the history."""
        return {}

    def to_files(self) -> dict[str, bytes]:
        """The arrays and the settings."""
        settings = {"method": "two_tower", "n_items": self.n_items, "length": self.length, "timed": self.timed}
        own: dict[str, NDArray[np.generic]] = {
            "known": self.known,
            "listed": self.listed,
            "vectors": self.vectors,
            "bias": self.bias,
        }
        return {
            "model.json": json.dumps(settings, sort_keys=True).encode(),
            "arrays.npz": packed(**own, **self.params),
        }

    @classmethod
    def from_files(cls, files: Mapping[str, bytes]) -> FittedTwoTower:
        """The model that `to_files` wrote."""
        settings, found = json.loads(files["model.json"]), unpacked(files["arrays.npz"])
        return cls(
            known=found["known"].astype(np.int64),
            n_items=int(settings["n_items"]),
            length=int(settings["length"]),
            timed=bool(settings["timed"]),
            params={name: found[name].astype(np.float32) for name in OF_HISTORY},
            listed=found["listed"].astype(np.int64),
            vectors=found["vectors"].astype(np.float32),
            bias=found["bias"].astype(np.float32),
        )


def shortened(vectors: Any, rank: int) -> NDArray[np.float32]:
    """The rows' first `rank` principal directions (Halko et al. 2011, algorithm 4.4 with four passes), each row scaled
    to length 1 where it is not empty."""
    made = np.random.default_rng(0)
    width = min(rank, *vectors.shape)
    found = np.linalg.qr(vectors @ made.normal(size=(vectors.shape[1], width)))[0]
    for _ in range(4):
        found = np.linalg.qr(vectors @ (vectors.T @ found))[0]
    left, size, _ = np.linalg.svd((vectors.T @ found).T, full_matrices=False)
    short = (found @ left) * size
    length = np.sqrt((short**2).sum(axis=1, keepdims=True))
    return np.asarray(short / np.maximum(length, 1e-12), dtype=np.float32)
