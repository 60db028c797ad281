"""A recommender's artefact gives the same recommender back, and is never pickle."""

from __future__ import annotations

import io
import json

import numpy as np
import pytest

from rekindle.methods.recommenders import Recommender, UnknownMethod

FACTORS = np.arange(6, dtype=np.float32).reshape(3, 2)
ALS = Recommender("als", {"regularisation": 0.1, "alpha": 2.0, "seed": 3}, ["a", "b", "ü"], FACTORS)


def test_an_artefact_gives_the_same_model_back() -> None:
    again = Recommender.from_files(ALS.to_files())
    assert (again.method, again.params, list(again.items)) == (ALS.method, ALS.params, ["a", "b", "ü"])
    assert again.factors is not None
    assert again.factors.tolist() == FACTORS.tolist()
    assert again.factors.dtype == np.float32
    assert again.to_files() == ALS.to_files()
    baseline = Recommender("popularity", {"popularity_days": 28})
    assert set(baseline.to_files()) == {"model.json"}
    again = Recommender.from_files(baseline.to_files())
    assert (again.method, again.params, again.factors, again.alpha) == ("popularity", baseline.params, None, 0.0)


def test_no_user_is_inside_the_artefact() -> None:
    assert set(ALS.to_files()) == {"model.json", "items.json", "item_factors.npy"}


def test_factors_follow_another_catalogue_and_unknown_items_are_zero() -> None:
    assert ALS.on(["ü", "new", "a"]).tolist() == [[4, 5], [0, 0], [0, 1]]
    assert Recommender("popularity", {}).on(["a", "b"]).tolist() == [[0], [0]]


def test_an_unknown_method_is_refused_by_name() -> None:
    with pytest.raises(UnknownMethod, match="a recommender of method 'magic'; expected als or popularity"):
        Recommender.from_files({"model.json": json.dumps({"method": "magic"}).encode()})


def test_an_array_that_holds_objects_is_refused() -> None:
    packed = io.BytesIO()
    np.save(packed, np.array([{"any": "object"}], dtype=object), allow_pickle=True)
    with pytest.raises(ValueError, match="allow_pickle=False"):
        Recommender.from_files(ALS.to_files() | {"item_factors.npy": packed.getvalue()})
