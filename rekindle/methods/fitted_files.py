"""Every fitted method read from its files, by the name in its model.json; and which of them may go to the registry.

What the registry holds is copied, kept and shown: no person may lie in it. A fitted method says so by `keeps_users`,
False where its artefact is of items only. One that does not say is taken to keep them.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from importlib import import_module

from rekindle.methods.interactions import Fitted

MODEL = "model.json"
# Method of model.json: module and class with `from_files`. Read when needed: some need libraries that not every
# machine has.
READERS: Mapping[str, tuple[str, str]] = {
    "bpr": ("factors", "FactorModel"),
    "content": ("content", "FittedContent"),
    "factorization_machine": ("factorization_machine", "FittedFactorizationMachine"),
    "faded": ("faded", "FittedFaded"),
    "implicit_als": ("factors", "FactorModel"),
    "item2vec": ("item2vec", "FittedItem2Vec"),
    "item_neighbours": ("neighbours", "FittedItemNeighbours"),
    "popularity": ("baselines", "FittedPopularity"),
    "repeat_last": ("baselines", "FittedRepeatLast"),
    "repeat_most": ("baselines", "FittedRepeatMost"),
    "sasrec": ("sasrec", "FittedSasrec"),
    "session_neighbours": ("session_neighbours", "FittedSessionNeighbours"),
    "transfer": ("transfer", "FittedTransfer"),
    "two_stage": ("two_stage", "FittedTwoStage"),
    "two_tower": ("two_tower", "FittedTwoTower"),
    "uniform": ("baselines", "FittedUniform"),
    "user_neighbours": ("neighbours", "FittedUserNeighbours"),
}


class UnknownMethod(Exception):
    """The artefact is of a method that this code does not know."""


class KeepsUsers(ValueError):
    """The artefact of a fitted method holds persons, or does not say that it holds none."""


def from_files(files: Mapping[str, bytes]) -> Fitted:
    """The fitted method that wrote these files.

    Raises:
        UnknownMethod: model.json is absent or names a method that READERS does not.
    """
    if MODEL not in files:
        raise UnknownMethod(f"files {sorted(files)} hold no {MODEL}; they are no fitted method's")
    method = json.loads(files[MODEL]).get("method")
    if method not in READERS:
        raise UnknownMethod(f"a fitted method {method!r}; expected one of {', '.join(READERS)}")
    module, name = READERS[method]
    fitted: Fitted = getattr(import_module(f"rekindle.methods.{module}"), name).from_files(files)
    return fitted


def keeps_users(fitted: Fitted) -> bool:
    """Whether persons lie in the artefact; True where the method does not say."""
    return bool(getattr(fitted, "keeps_users", True))


def registry_files(fitted: Fitted) -> dict[str, bytes]:
    """The artefact, for `registry.save`.

    Raises:
        KeepsUsers: persons lie in it, or it does not say that none do.
    """
    if keeps_users(fitted):
        what = type(fitted).__name__
        said = "keeps users" if hasattr(fitted, "keeps_users") else "does not say whether it keeps users"
        raise KeepsUsers(f"registry: {what} {said}; only a model of items may be stored (keeps_users = False)")
    return fitted.to_files()
