"""Whose list begins otherwise than in the publication before, and what did it."""

from __future__ import annotations

from typing import Any

from rekindle.methods.list_changes import changes

LISTS = "user_key string, rank int, item_id string"


def found(
    spark: Any, now: dict[str, str], then: dict[str, str], active: list[str], is_another_model: bool = False
) -> dict[str, tuple[Any, ...]]:
    """Every change by user; each list has its first item and, as second, the same for everybody."""

    def lists(first: dict[str, str]) -> Any:
        rows = [(user, rank, item) for user, one in first.items() for rank, item in ((1, one), (2, "same"))]
        return spark.createDataFrame(rows, LISTS)

    acted = spark.createDataFrame([(user,) for user in active], "user_key string")
    rows = changes(lists(now), lists(then), acted, is_another_model).collect()
    told = {r.user_key: (r.change, r.item_before, r.item_after, r.cause) for r in rows}
    assert len(told) == len(rows), "a user changes once"
    return told


def test_a_change_is_told_once_with_the_first_cause_that_holds(spark: Any) -> None:
    then = {"stays": "tea", "clicks": "tea", "idle": "tea", "goes": "mat", "clicks_and_stays": "pot"}
    now = {"stays": "tea", "clicks": "pot", "idle": "mat", "comes": "tea", "back": "tea", "clicks_and_stays": "pot"}
    acted = ["clicks", "clicks", "comes", "clicks_and_stays", "nobody"]
    assert found(spark, now, then, acted) == {
        "clicks": ("moved", "tea", "pot", "behaviour"),
        "idle": ("moved", "tea", "mat", "rules"),
        "comes": ("entered", None, "tea", "behaviour"),
        "back": ("entered", None, "tea", "rules"),
        "goes": ("left", "mat", None, "rules"),
    }
    causes = {user: told[-1] for user, told in found(spark, now, then, acted, is_another_model=True).items()}
    assert causes == {
        "clicks": "behaviour",
        "idle": "model",
        "comes": "behaviour",
        "back": "model",
        "goes": "model",
    }, "what the user did is told before another champion is"


def test_lists_that_begin_alike_have_not_changed(spark: Any) -> None:
    lists = {"a": "tea", "b": "mat"}
    assert found(spark, lists, lists, ["a", "b"], is_another_model=True) == {}
    assert found(spark, {}, {}, []) == {}
