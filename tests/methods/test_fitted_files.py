"""One reader for every fitted method, and no person in the registry."""

from __future__ import annotations

import json
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest

from rekindle import registry
from rekindle.methods.baselines import FittedPopularity, Popularity, RepeatLast, Uniform
from rekindle.methods.content import Content
from rekindle.methods.faded import Faded
from rekindle.methods.fitted_files import READERS, KeepsUsers, from_files, keeps_users, registry_files
from rekindle.methods.implicit_als import ImplicitAls
from rekindle.methods.interactions import Interactions, Method, Users
from rekindle.methods.neighbours import ItemNeighbours, UserNeighbours
from rekindle.methods.recommenders import UnknownMethod
from rekindle.methods.session_neighbours import SessionNeighbours
from rekindle.methods.two_stage import TwoStage

ALS = ImplicitAls(3, 0.1, 2.0, 2, seed=1)
OF_ITEMS: list[Method] = [
    Popularity(20, 60),
    RepeatLast(),
    Uniform(3),
    ItemNeighbours(5, "cosine"),
    Content([f"word{n % 3}" for n in range(8)]),
    ALS,
    Faded(ALS, 20.0),
    TwoStage([RepeatLast(), Popularity(20, 60), Faded(ALS, 20.0)], 3, 10.0, 5, seed=1),
]
OF_USERS: list[Method] = [
    UserNeighbours(5, "cosine"),
    SessionNeighbours(5, 20),
    TwoStage([Popularity(20, 60), SessionNeighbours(5, 20)], 3, 10.0, 5, seed=1),
]


def known() -> Interactions:
    made = np.random.default_rng(4)
    rows = 160
    user, item = made.integers(0, 10, rows), made.integers(0, 8, rows)
    return Interactions(user, item, np.ones(rows), made.uniform(0, 40, rows), 10, 8)


def strangers() -> Users:
    return Users(np.full(10, -1, dtype=np.int64), known().histories(), known().past())


@pytest.mark.parametrize("method", OF_ITEMS, ids=lambda m: m.name)
def test_a_model_of_items_goes_through_the_registry_and_scores_as_before(method: Method, tmp_path: Path) -> None:
    fitted = method.fit(known())
    files = registry_files(fitted)
    again = from_files(registry.load(tmp_path, registry.save(tmp_path, files)))
    assert again.scores(strangers()).tobytes() == fitted.scores(strangers()).tobytes()
    assert again.n_items == 8
    assert again.to_files() == files
    assert not keeps_users(again)


@pytest.mark.parametrize("method", OF_USERS, ids=lambda m: m.name)
def test_a_model_that_keeps_users_is_refused_by_the_registry(method: Method) -> None:
    fitted = method.fit(known())
    assert keeps_users(from_files(fitted.to_files()))
    with pytest.raises(KeepsUsers, match=rf"{type(fitted).__name__} keeps users"):
        registry_files(fitted)


def test_a_model_that_does_not_say_is_refused_too() -> None:
    class Silent:
        n_items = 3

    with pytest.raises(KeepsUsers, match="Silent does not say whether it keeps users"):
        registry_files(Silent())  # type: ignore[arg-type]


def test_an_artefact_does_not_change_with_its_users_names() -> None:
    """Models of items are the same whoever did what: users are numbered the other way round."""
    interactions = known()
    renamed = Interactions(
        9 - interactions.user, interactions.item, interactions.strength, interactions.age_days, 10, 8
    )
    for method in (Popularity(20, 60), RepeatLast(), ItemNeighbours(5, "jaccard")):
        assert method.fit(interactions).to_files() == method.fit(renamed).to_files()


@pytest.mark.parametrize(
    ("files", "words"),
    [
        ({"model.json": json.dumps({"method": "magic"}).encode()}, "method 'magic'; expected one of bpr, "),
        ({"model.json": b"{}"}, "method None"),
        ({"arrays.npz": b""}, r"files \['arrays.npz'\] hold no model.json"),
    ],
)
def test_files_of_no_method_are_named(files: dict[str, bytes], words: str) -> None:
    with pytest.raises(UnknownMethod, match=words):
        from_files(files)


def test_every_reader_is_there_and_can_read() -> None:
    for module, name in READERS.values():
        assert callable(getattr(import_module(f"rekindle.methods.{module}"), name).from_files)
    assert isinstance(from_files(Popularity(20, 60).fit(known()).to_files()), FittedPopularity)
