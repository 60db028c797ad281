"""Features become points on a stated scale; models are kept without loss; ids are never given twice."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from rekindle.methods.segment_features import FEATURES, NAMES, Scale, logged
from rekindle.methods.segment_models import (
    BISECTING,
    K_MEANS,
    METHODS,
    TOPICS,
    Documents,
    Model,
    dense,
    describe,
    fitted,
    is_worse,
    steps,
    why_fit,
    with_ids,
)
from rekindle.methods.segment_settings import Segments

CONF = Segments(least_users=20, fewest=2, most=4, resamples=2, fewest_topics=2, most_topics=3)


def shop(**more: NDArray[np.float64]) -> NDArray[np.float64]:
    """300 users of whom the first half buys and the others never did; other columns are 0."""
    dice = np.random.default_rng(2)
    values = np.zeros((300, len(NAMES)))
    buys = np.arange(300) < 150
    told: dict[str, Any] = {
        "frequency": np.where(buys, dice.integers(4, 9, 300), 0),
        "recency_days": np.where(buys, dice.uniform(1, 30, 300), np.nan),
        "days_since_activity": dice.uniform(1, 30, 300),
        "order_value_mean": np.where(buys, dice.uniform(20, 60, 300), np.nan),
        "spend_90d": np.where(buys, dice.uniform(50, 400, 300), 0),
    }
    for name, column in (told | more).items():
        values[:, NAMES.index(name)] = column
    return values[dice.permutation(300)]


@pytest.fixture(scope="module")
def models() -> dict[str, Model]:
    """Fitted on the shop, whose users look at tea and mugs or at wool and needles."""
    words = ("mugs", "needles", "tea", "wool")
    counts = np.random.default_rng(3).poisson(np.tile([[3.0, 0.1, 3.0, 0.1], [0.1, 3.0, 0.1, 3.0]], (100, 1)))
    return fitted(shop(), Documents(words, counts.astype(np.float64), "category"), CONF, 1, {})


def test_a_null_is_what_the_feature_says_and_a_column_without_differences_is_left_out() -> None:
    values = shop()
    scale = Scale.fit(values)
    assert scale.names == ("days_since_activity", "recency_days", "frequency", "spend_90d", "order_value_mean")
    # Each theme weighs as told, whatever the number of its columns that differ.
    weight = dict(zip(scale.names, scale.weight**2, strict=True))
    assert weight["frequency"] == pytest.approx(1.0)
    assert weight["spend_90d"] + weight["order_value_mean"] == pytest.approx(1.0)
    never = np.isnan(values[:, NAMES.index("recency_days")])
    standard = dict(zip(scale.names, scale.standard(values).T, strict=True))
    assert (standard["recency_days"][never] == standard["recency_days"].max()).all(), "as long silent as anybody"
    assert (standard["order_value_mean"][never] == standard["order_value_mean"].min()).all(), "0 an order"
    assert logged(np.array([-np.e + 1, 0.0, np.e - 1])).tolist() == pytest.approx([-1.0, 0.0, 1.0])
    with pytest.raises(ValueError, match="no feature differs between 300 users; looked at days_since_activity"):
        Scale.fit(np.zeros((300, len(NAMES))))


def test_one_user_beyond_all_measure_moves_nobody_else() -> None:
    values = shop()
    far = values.copy()
    far[0, NAMES.index("spend_90d")] = 1e9
    assert np.abs(Scale.fit(far).points(values[1:]) - Scale.fit(values).points(values[1:])).max() < 0.1
    assert np.abs(Scale.fit(far).points(far)).max() < 10


def test_a_model_is_read_as_it_was_written(models: dict[str, Model]) -> None:
    assert set(models) == set(METHODS)
    values = shop()
    for method, model in models.items():
        named = replace(model, ids=("x001",) * model.count, parts=(("茶", "tea"),) * model.count, highest=7)
        again = Model.from_json(method, named.to_json())
        assert again.to_json() == named.to_json()
        if method != TOPICS:
            assert (again.groups.labels(again.points(values)) == model.groups.labels(model.points(values))).all()
    assert models[K_MEANS].count == 2
    assert models[TOPICS].count == 2
    with pytest.raises(ValueError, match="topics has no scale"):
        models[TOPICS].points(values)


def test_an_id_is_given_once_and_goes_on_with_the_users(models: dict[str, Model]) -> None:
    model = models[K_MEANS]
    first = with_ids(model, None, np.zeros((0, 2), dtype=np.int64), 0.3)
    assert first.ids == ("s001", "s002")
    # The order of groups is turned, and one old segment fell apart.
    turned = with_ids(model, first, np.array([[0, 90], [10, 0]]), 0.3)
    assert turned.ids == ("s002", "s001")
    other = with_ids(model, first, np.array([[0, 90], [10, 50]]), 0.3)
    assert (other.ids, other.highest) == (("s003", "s001"), 3)
    assert with_ids(model, replace(other, ids=(), parts=()), np.zeros((0, 2), dtype=np.int64), 0.3).ids == (
        "s004",
        "s005",
    )
    assert with_ids(model, first, np.array([[0, 90], [10, 50]]), 0.3, given=7).ids == ("s008", "s001")
    assert with_ids(model, None, np.zeros((0, 2), dtype=np.int64), 0.3, given=7).ids == ("s008", "s009")


def test_borders_are_drawn_anew_for_a_reason_only(models: dict[str, Model]) -> None:
    assert why_fit({}, True, False) == "first"
    assert why_fit(models, False, True) == "conf"
    assert why_fit(models, True, True) == "training"
    assert why_fit(models, True, False) is None
    assert not is_worse(models, shop(), CONF)
    assert is_worse(models, shop(views_30d=np.arange(300.0), frequency=np.full(300, 40.0)), CONF)


def test_what_sets_a_group_apart_is_told_in_the_unit_of_the_feature(models: dict[str, Model]) -> None:
    values, model = shop(), models[K_MEANS]
    labels = model.groups.labels(model.points(values))
    told = describe(values, labels, model.features, model.count)
    buyers = int(np.argmax([one["means"]["frequency"] for one in told]))
    assert told[buyers]["means"]["frequency"] == pytest.approx(
        values[labels == buyers, NAMES.index("frequency")].mean()
    )
    assert told[buyers]["z"]["frequency"] == pytest.approx(1.0, abs=0.05)
    assert "order_value_mean" not in told[1 - buyers]["means"], "nobody there has one"
    tree = models[BISECTING]
    assert [path[0].split(":")[1] for path in steps(tree) if len(path) == 1] in (["high", "low"], ["low", "high"], [])
    assert {one.name for one in FEATURES} >= {path[0].split(":")[0] for path in steps(tree)}


def test_a_shop_whose_users_are_all_alike_or_look_at_nothing_has_no_segments() -> None:
    alike = np.ones((300, len(NAMES)))
    nothing = Documents((), np.zeros((300, 0)), "title")
    assert fitted(alike, nothing, CONF, 1, {}) == {}
    assert set(fitted(shop(), nothing, CONF, 1, {})) == {K_MEANS, BISECTING}
    assert dense(("a", "b"), [["b", "x"], None], [[2, 5], None]).tolist() == [[0.0, 2.0], [0.0, 0.0]]
