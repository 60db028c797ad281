"""What the two deep recommenders share: the descent in JAX, and scores in NumPy of what it found.

JAX is the `deep` extra and only trains. The forward passes are written once, for NumPy or for jax.numpy: a model is
served where JAX is not installed.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, partial
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from rekindle.methods.sequences import Log, batches

# Arrays of NumPy or of JAX: the forward passes are written for both.
Array = Any
Params = Mapping[str, Array]
Dropout = Callable[[Array, int], Array]  # of an array, by the number of the place where it is asked for
FIXED = frozenset({"texts"})  # parameters that are given, not learnt
# So that the number of cores changes no bit.
ONE_THREAD = {"xla_cpu_multi_thread_eigen": False}


@dataclass(frozen=True)
class Descent:
    """How parameters are learnt: Adam with a learning rate that falls to 0 along a cosine.

    The loss is the cross-entropy of the aim among the catalogue (Klenitskiy and Vasilev 2023, "Turning Dross Into Gold
    Loss"), or among `negatives` items drawn for each batch with the logarithm of how often they are drawn taken off
    their scores (Bengio and Senécal 2008; Yi et al. 2019), so that scores rank by p(item | user) as without sampling.

    Attributes:
        epochs: passes over all windows, 1 or more.
        learning_rate: at the start, above 0.
        batch: windows a step, 1 or more.
        negatives: items drawn a step; a catalogue that has no more than these is taken whole.
        dropout: share of a vector that is left out while training, 0 to below 1.
        decay: of weights, taken a step times the learning rate, 0 or more.
        seed: of start and draws, 0 or more.

    Raises:
        ValueError: a setting out of its bounds.
    """

    epochs: int
    learning_rate: float
    batch: int
    negatives: int
    dropout: float
    decay: float
    seed: int

    def __post_init__(self) -> None:
        if min(self.epochs, self.batch, self.negatives) < 1 or self.seed < 0:
            told = f"{self.epochs} epochs, batches of {self.batch}, {self.negatives} negatives, seed {self.seed}"
            raise ValueError(f"Descent: {told}; expected 1, 1, 1, 0 or more")
        if not (0 < self.learning_rate < np.inf and 0 <= self.dropout < 1 and 0 <= self.decay < np.inf):
            told = f"learning rate {self.learning_rate}, dropout {self.dropout}, decay {self.decay}"
            raise ValueError(f"Descent: {told}; expected above 0, 0 to below 1, 0 or more")


class NeedsExtra(ImportError):
    """A deep method is asked to learn where JAX is not installed."""


def extra_is_missing() -> str:
    """Why nothing deep can be trained here; empty where it can."""
    try:
        import jax  # noqa: F401
        import optax  # noqa: F401
    except ImportError:
        return "needs the deep extra: bin/setup deep"
    return ""


class Model(Hashable, Protocol):
    """A frozen dataclass of settings whose forward passes are written for NumPy (`np`) and jax.numpy alike."""

    def encode(self, xp: Any, params: Params, windows: Sequence[Array], dropout: Dropout) -> Array:
        """The user at each place of each window, [windows, length, rank]; windows as by `Windows.arrays`."""

    def items(self, xp: Any, params: Params) -> tuple[Array, Array]:
        """Vectors [m, rank] and biases [m] of the known items."""


def learn(
    model: Model, start: Params, known: Log, length: int, horizon_days: float, how: Descent
) -> tuple[dict[str, NDArray[np.float32]], tuple[float, ...]]:
    """The parameters after the descent, and each epoch's mean loss in nats. Those named in FIXED stay as they were.

    Raises:
        NeedsExtra: JAX is not installed.
        ValueError: nobody did anything after anything else, or the descent ran away.
    """
    if missing := extra_is_missing():
        raise NeedsExtra(missing)
    import jax
    import jax.numpy as jnp

    if not known.foretells(horizon_days):
        raise ValueError(f"nobody did anything after anything else in {len(known.user)} events: there is no sequence")
    made = np.random.default_rng(how.seed)
    count = len(known.known)
    drawn = (np.bincount(known.item, minlength=count) / len(known.item) + 1 / count) / 2  # no item is never drawn
    sampled = count > how.negatives
    step, begin = _step(model, how, sampled)
    params: Any = {name: jnp.asarray(value) for name, value in start.items()}
    # XLA's own generator: the usual one takes as long to compile as all the rest.
    state, key, told = begin(params), jax.random.key(how.seed, impl="rbg"), []
    log_drawn = jnp.asarray(np.log(drawn), dtype=jnp.float32)
    for epoch in range(how.epochs):
        windows, aim = known.windows(length, horizon_days, made)
        steps = -(-len(windows) // how.batch)
        seen = []
        for n, rows in enumerate(batches(len(windows), how.batch)):
            data = [_padded(a, how.batch) for a in (*windows.of(rows).arrays(), aim.item[rows], aim.weight[rows])]
            negative = made.choice(count, how.negatives, p=drawn) if sampled else np.zeros(1)
            rate = how.learning_rate * (1 + np.cos(np.pi * (epoch + n / steps) / how.epochs)) / 2
            place = np.int32(epoch * 1_000_003 + n)
            params, state, value = step(
                params, state, key, place, np.float32(rate), log_drawn, negative.astype(np.int32), *data
            )
            seen.append(value)
        told.append(float(np.mean([float(value) for value in seen])))
        if not np.isfinite(told[-1]):
            raise ValueError(f"the descent ran away at learning rate {how.learning_rate}")
    return {name: np.asarray(value) for name, value in params.items()}, tuple(told)


@cache
def _step(model: Model, how: Descent, sampled: bool) -> tuple[Callable[..., Any], Callable[[Any], Any]]:
    """One step of the descent, compiled, and the state before the first. Kept, for compiling takes seconds."""
    import jax
    import jax.numpy as jnp
    import optax

    def loss(params: Params, log_drawn: Array, negative: Array, key: Array, windows: Any, aim: Any) -> Array:
        def dropout(x: Array, n: int) -> Array:
            kept = jax.random.bernoulli(jax.random.fold_in(key, n), 1 - how.dropout, x.shape)
            return x * kept / (1 - how.dropout)

        users = model.encode(jnp, params, windows, dropout if how.dropout else untouched)
        target, weight = (a.ravel() for a in aim)
        users = users.reshape(len(target), -1)
        vectors, bias = model.items(jnp, params)
        right = (users * vectors[target]).sum(-1) + bias[target]
        if sampled:
            # Σ exp(s) over the catalogue is exp(s) of the aim and the mean of exp(s − ln q) over draws of the others.
            others = users @ vectors[negative].T + (bias - log_drawn)[negative] - np.log(how.negatives)
            others = jnp.where(negative == target[:, None], -jnp.inf, others)
            top = jax.lax.stop_gradient(jnp.maximum(others.max(-1), right))
            total = jnp.exp(others - top[:, None]).sum(-1) + jnp.exp(right - top)
        else:
            everything = users @ vectors.T + bias
            top = jax.lax.stop_gradient(everything.max(-1))
            total = jnp.exp(everything - top[:, None]).sum(-1)
        return (weight * (jnp.log(total) + top - right)).sum() / jnp.maximum(weight.sum(), 1.0)

    adam = optax.chain(optax.scale_by_adam(), optax.add_decayed_weights(how.decay))

    @partial(jax.jit, compiler_options=ONE_THREAD)
    def step(
        params: Any, state: Any, key: Array, place: Array, rate: Array, log_drawn: Array, negative: Array, *data: Array
    ) -> tuple[Any, Any, Array]:
        now = jax.random.fold_in(key, place)
        value, slope = jax.value_and_grad(loss)(params, log_drawn, negative, now, data[:4], data[4:])
        change, state = adam.update(slope, state, params)
        moved = {name: p if name in FIXED else p - rate * change[name] for name, p in params.items()}
        return moved, state, value

    return step, adam.init


def untouched(x: Array, _: int) -> Array:
    """No dropout: what serves."""
    return x


def visible(xp: Any, until: Array) -> Array:
    """Whether place t (second last axis) sees place j (last axis): j ≤ t < until[j]; bool [windows, length, length]."""
    place = xp.arange(until.shape[-1])
    return (place[None, :] <= place[:, None]) & (place[:, None] < until[:, None, :])


def softmax(xp: Any, x: Array, wanted: Array) -> Array:
    """Shares over the wanted of the last axis; all alike where none is."""
    x = xp.where(wanted, x, np.float32(-1e9))
    x = xp.exp(x - x.max(-1, keepdims=True))
    return x / x.sum(-1, keepdims=True)


def scores(users: NDArray[np.float32], vectors: NDArray[np.float32], bias: NDArray[np.float32]) -> NDArray[np.float64]:
    """Dot products and biases, float64 [users, items], a product a user: one of many users at once would round a
    user's sums by how many there are."""
    found: NDArray[np.float32] = np.matmul(users[:, None, :], vectors.T)[:, 0, :] + bias
    return found.astype(np.float64)


def _padded(rows: NDArray[np.generic], size: int) -> NDArray[np.generic]:
    """The same with rows of zeros up to `size`: nothing is visible there, nothing has weight."""
    if len(rows) == size:
        return rows
    return np.concatenate([rows, np.zeros((size - len(rows), *rows.shape[1:]), rows.dtype)])
