"""A recommender's artefact gives the same recommender back, holds no user, and is never pickle."""

from __future__ import annotations

import io
import json

import numpy as np
import pytest

from rekindle.methods.factors import AlsFold, FactorModel
from rekindle.methods.fitted_files import KeepsUsers, UnknownMethod
from rekindle.methods.interactions import Interactions, Past, Users, best
from rekindle.methods.neighbours import UserNeighbours
from rekindle.methods.ragged import Ragged
from rekindle.methods.recommenders import Recommender, relabelled

FACTORS = np.arange(1, 7, dtype=np.float32).reshape(3, 2)
ALS = Recommender("als", {"rank": 2, "seed": 3}, ["a", "b", "ü"], FactorModel(FACTORS, AlsFold(0.1, 2.0)), fades=True)


def users(*histories: list[int]) -> Users:
    rows = Ragged.from_lists(histories, [[1.0 + n for n in range(len(items))] for items in histories])
    entries = np.arange(len(rows.items), dtype=np.float64)
    past = Past(entries, entries + 1, np.full(len(entries), np.nan), np.ones(len(histories)))
    return Users(np.full(len(histories), -1), rows, past)


def test_an_artefact_gives_the_same_model_back() -> None:
    again = Recommender.from_files(ALS.to_files())
    assert (again.name, again.params, list(again.items), again.fades) == ("als", ALS.params, ["a", "b", "ü"], True)
    assert again.to_files() == ALS.to_files()
    place = ALS.place_in(["a", "b", "ü"])
    assert again.scores(users([0], [1, 2]), place).tolist() == ALS.scores(users([0], [1, 2]), place).tolist()
    baseline = Recommender("popularity", {"popularity_days": 28})
    assert set(baseline.to_files()) == {"recommender.json"}
    again = Recommender.from_files(baseline.to_files())
    assert (again.name, again.params, again.fitted, again.fades) == ("popularity", baseline.params, None, False)


def test_a_model_that_keeps_users_is_not_stored() -> None:
    one = np.zeros(2, dtype=np.int64)
    known = Interactions(one, np.array([0, 1]), np.ones(2), np.ones(2), 1, 2)
    with pytest.raises(KeepsUsers, match="keeps users; only a model of items may be stored"):
        Recommender("neighbours", {}, ["a", "b"], UserNeighbours(2, "cosine").fit(known)).to_files()
    with pytest.raises(ValueError, match="3 items fitted, 2 named"):
        Recommender("als", {}, ["a", "b"], ALS.fitted)


def test_scores_follow_the_nights_catalogue_and_nothing_is_said_of_new_items() -> None:
    tonight = ["a", "new", "ü"]
    place = ALS.place_in(tonight)
    assert place.tolist() == [0, -1, 2]
    found = ALS.scores(users([0, 1, 2]), place)
    assert np.isneginf(found[0]).tolist() == [False, True, False]
    alone = ALS.scores(users([0, 2]), np.arange(3))
    # The new item of the history is not known to the model: the history is that of the others, strengths as they were.
    strengths = Users(np.array([-1]), Ragged.from_lists([[0, 2]], [[1.0, 3.0]]))
    assert found[0, [0, 2]].tolist() == ALS.scores(strengths, np.arange(3))[0, [0, 2]].tolist()
    assert found[0, [0, 2]].tolist() != alone[0, [0, 2]].tolist(), "strengths count"


def test_the_best_by_factors_are_the_highest_scores_of_what_may_be_offered() -> None:
    made = np.random.default_rng(5)
    factors = made.normal(size=(60, 4)).astype(np.float32)
    factors[7] = 0  # an item without a strength in training
    model = Recommender("als", {}, [f"i{n:02}" for n in range(60)], FactorModel(factors, AlsFold(0.1, 2.0)), fades=True)
    tonight = [*(f"i{n:02}" for n in range(5, 60)), "new", "newer"]
    place, eligible = model.place_in(tonight), made.random(57) < 0.7
    served = users(*([int(i) for i in made.choice(57, n, replace=False)] for n in (0, 1, 3, 40)), [55, 56])
    blocked = Ragged.from_lists([[3], [1, 2, 50], [], list(range(57)), []])
    scores = model.scores(served, place)
    scores[:, ~eligible] = -np.inf
    scores[blocked.rows(), blocked.items] = -np.inf
    found = model.best_by_factors(served, place, 50, blocked, eligible)
    assert found is not None
    assert found.tolist() == best(scores, 50).tolist()
    assert (found[0] == -1).all(), "no history"
    assert (found[3] == -1).all(), "everything is blocked"
    assert (found[1] >= 0).sum() == (np.isfinite(scores[1])).sum()


def test_a_history_keeps_its_days_when_items_change_their_names() -> None:
    served = relabelled(users([0, 1, 2], [1], []), np.array([4, -1, 7]))
    assert served.histories.items.tolist() == [4, 7]
    assert served.histories.lengths().tolist() == [2, 0, 0]
    assert served.past is not None
    assert served.past.last_days.tolist() == [0.0, 2.0]


def test_a_champion_of_the_first_form_goes_on_serving() -> None:
    packed = io.BytesIO()
    np.save(packed, FACTORS, allow_pickle=False)
    model = {"method": "als", "regularisation": 0.1, "alpha": 2.0, "rank": 2}
    files = {
        "model.json": json.dumps(model).encode(),
        "items.json": b'["a", "b", "c"]',
        "item_factors.npy": packed.getvalue(),
    }
    old = Recommender.from_files(files)
    place = np.arange(3)
    assert old.scores(users([1]), place).tolist() == ALS.scores(users([1]), place).tolist()
    assert old.fades
    assert Recommender.from_files({"model.json": b'{"method": "popularity"}'}).fitted is None


def test_an_unknown_method_is_refused_by_name() -> None:
    with pytest.raises(UnknownMethod, match="a recommender of method 'magic'"):
        Recommender.from_files({"model.json": b'{"method": "magic"}'})
    files = ALS.to_files() | {"model.json": b'{"method": "magic"}'}
    with pytest.raises(UnknownMethod, match="'magic'"):
        Recommender.from_files(files)


def test_an_array_that_holds_objects_is_refused() -> None:
    packed = io.BytesIO()
    np.savez(packed, item_factors=np.array([{"any": "object"}], dtype=object))
    with pytest.raises(ValueError, match="allow_pickle=False"):
        Recommender.from_files(ALS.to_files() | {"arrays.npz": packed.getvalue()})
