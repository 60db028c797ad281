"""Every user gets a full list of distinct items: their own taste's first, the popular ones where that ends."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pytest

from rekindle.contract import frame
from rekindle.methods import als, listing
from rekindle.methods.dense_ids import dense_ids
from rekindle.methods.ragged import Ragged
from rekindle.methods.recommenders import Recommender
from schemas.events import EVENTS

AS_OF = date(2026, 4, 20)
COUNTING = listing.Counting({"view": 1.0, "cart": 3.0, "purchase": 5.0}, 30.0, 28, 60, ("sofa",))
K = 6


def did(user: str, kind: str, item: str | None, days_ago: float, category: str = "tea") -> dict[str, Any]:
    at = datetime(2026, 4, 20, tzinfo=UTC) - timedelta(days=days_ago)
    return {
        "event_id": f"{user} {kind} {item} {days_ago}",
        "user_key": user,
        "event_type": kind,
        "event_ts": at,
        "event_date": at.date(),
        "item_id": item,
        "category": category,
    }


def two_tastes() -> list[dict[str, Any]]:
    """Two groups of ten users who never touch the other's eight items, and some who are special.

    Each user of a group knows six of its items; `a0` bought two sofas of group a, `stranger` only searched, `looker`
    only knows an item gone from the catalogue.
    """
    dice = np.random.default_rng(4)
    rows = []
    for group in "ab":
        for user in range(10):
            for item in dice.permutation(8)[:6]:
                rows.append(did(f"{group}{user}", "view", f"{group}{item}", float(dice.uniform(1, 20))))
                if item < 3:
                    rows.append(did(f"{group}{user}", "purchase", f"{group}{item}", float(dice.uniform(1, 20))))
    rows += [did("a0", "purchase", f"a{n}", 3.5, "sofa") for n in (6, 7)]
    rows += [did("b0", "view", f"b{n}", 1.0) for n in range(8)]
    rows += [did("stranger", "search", None, 2.0), did("looker", "view", "gone", 70.0)]
    return rows


@pytest.fixture(scope="module")
def prepared(_session: Any) -> listing.Prepared:
    return listing.prepare(frame(_session, EVENTS, *two_tastes()), AS_OF, ZoneInfo("UTC"), COUNTING)


@pytest.fixture(scope="module")
def trained(prepared: listing.Prepared) -> Recommender:
    pairs = prepared.strengths.join(dense_ids(prepared.strengths, "user_key", "user"), "user_key")
    factors = als.fit_item_factors(
        pairs.select("user", "item", "strength"),
        n_items=len(prepared.catalogue), rank=4, iterations=5, regularisation=0.05, alpha=2.0, seed=1,
    )  # fmt: skip
    return Recommender("als", {"regularisation": 0.05, "alpha": 2.0}, prepared.catalogue, factors)


def listed(prepared: listing.Prepared, model: Recommender) -> dict[str, list[Any]]:
    """Rows by user in order of rank; every user seen has one list without a gap or an item twice."""
    found: dict[str, list[Any]] = {}
    for row in sorted(listing.lists(prepared, prepared.tastes, K, model).collect()):
        found.setdefault(row.user_key, []).append(row)
    assert set(found) == {row["user_key"] for row in two_tastes()}
    for rows in found.values():
        assert [row.rank for row in rows] == list(range(1, K + 1))
        assert len({row.item for row in rows}) == K
    return found


def test_als_lists_the_items_of_the_users_own_group(prepared: listing.Prepared, trained: Recommender) -> None:
    found = listed(prepared, trained)
    items = {user: [prepared.catalogue[row.item] for row in rows] for user, rows in found.items()}
    for user in (f"{group}{n}" for group in "ab" for n in range(1, 10)):
        assert {item[0] for item in items[user]} == {user[0]}, user
        assert {row.candidate_source for row in found[user]} == {"als"}
    for rows in found.values():
        scores = [row.score for row in rows if row.candidate_source == "als"]
        assert scores == sorted(scores, reverse=True)
    history = {row["item_id"] for row in two_tastes() if row["user_key"] == "b1"}
    assert {prepared.catalogue[row.because] for row in found["b1"]} <= history
    assert all(row.because != row.item for row in found["b1"]), "an item is no reason for itself"


def test_a_bought_durable_is_never_offered_again_and_a_gone_item_to_nobody(
    prepared: listing.Prepared, trained: Recommender
) -> None:
    for model in (trained, Recommender("popularity", {})):
        found = listed(prepared, model)
        assert not {"a6", "a7"} & {prepared.catalogue[row.item] for row in found["a0"]}
        assert "gone" not in {prepared.catalogue[row.item] for rows in found.values() for row in rows}
        if model is trained:
            others = [row for user, rows in found.items() if user.startswith("a") and user != "a0" for row in rows]
            assert {prepared.catalogue[row.item] for row in others} >= {"a6", "a7"}, "only who bought it does without"


def test_whoever_has_no_known_taste_gets_what_is_popular_in_its_order(
    prepared: listing.Prepared, trained: Recommender
) -> None:
    best = np.lexsort((np.arange(len(prepared.catalogue)), -prepared.popularity))[:K]
    rows = listed(prepared, trained)["stranger"]
    assert [row.item for row in rows] == best.tolist()
    assert {(row.candidate_source, row.because) for row in rows} == {("popularity", -1)}
    assert [row.score for row in rows] == pytest.approx(prepared.popularity[best])
    without = [n for n, item in enumerate(trained.items) if item != "gone"]
    assert trained.factors is not None
    forgetful = Recommender("als", trained.params, [trained.items[n] for n in without], trained.factors[without])
    assert [row.item for row in listed(prepared, forgetful)["looker"]] == best.tolist()


def test_what_is_known_is_what_happened_before_the_instant(prepared: listing.Prepared, spark: Any) -> None:
    later = [did("a1", "purchase", f"b{n}", -0.5 * (n + 1), "sofa") for n in range(4)]
    later += [did("newcomer", "view", "new item", 0.0)]
    again = listing.prepare(frame(spark, EVENTS, *reversed(two_tastes()), *later), AS_OF, ZoneInfo("UTC"), COUNTING)
    assert again.catalogue == prepared.catalogue
    assert again.popularity.tolist() == prepared.popularity.tolist()
    assert again.eligible.tolist() == prepared.eligible.tolist()
    assert sorted(again.tastes.collect()) == sorted(prepared.tastes.collect())
    assert sorted(again.strengths.collect()) == sorted(prepared.strengths.collect())


def test_a_taste_is_weighted_by_action_and_age(spark: Any) -> None:
    rows = [did("u", "view", "x", 30.0), did("u", "purchase", "x", 0.25), did("u", "cart", "y", 60.0)]
    rows += [did("u", "search", None, 1.0), did("u", "review", "z", 1.0)]
    made = listing.prepare(frame(spark, EVENTS, *rows), AS_OF, ZoneInfo("UTC"), COUNTING)
    (taste,) = made.tastes.collect()
    assert made.catalogue == ["x", "y", "z"]
    assert (taste["items"], taste.blocked) == ([0, 1], None)
    assert taste.strengths == pytest.approx([0.5 + 5 * 2 ** (-0.25 / 30), 3 * 0.25], abs=1e-5)
    assert made.eligible.tolist() == [True, True, True], "sixty days are inside a window of sixty"
    assert made.popularity == pytest.approx([2 ** (-0.25 / 30), 0, 0], abs=1e-5)


@pytest.mark.parametrize("seed", range(4))
def test_the_heaviest_reason_is_the_largest_share_of_the_score(seed: int) -> None:
    dice = np.random.default_rng(seed)
    factors = dice.normal(size=(15, 4)).astype(np.float32)
    factors[3] = 0  # an item the model does not know
    history, strengths = [1, 3, 5, 7, 9], dice.uniform(0.1, 6, size=5)
    taste = Ragged.from_lists([history], [strengths.tolist()])
    shared, alpha, ridge = als.gram(factors), 2.0, 0.05
    user = als.fold_in(taste, factors, regularisation=ridge, alpha=alpha, shared=shared)[0].astype(np.float64)
    wide = factors.astype(np.float64)
    wanted = np.array([0, 2, 5, 14, -1])

    known = [(item, r) for item, r in zip(history, strengths, strict=True) if item != 3]
    matrix = wide.T @ wide + ridge * len(known) * np.eye(4)
    for item, r in known:
        matrix += alpha * r * np.outer(wide[item], wide[item])
    inverse = np.linalg.inv(matrix)
    shares = {j: (1 + alpha * r) * wide @ inverse @ wide[j] for j, r in known}
    assert sum(shares.values()) == pytest.approx(wide @ user, abs=1e-4), "the shares add up to the score"
    expected = [max((j for j in shares if j != item), key=lambda j: float(shares[j][item])) for item in wanted[:-1]]

    slots = slice(0, len(history))
    found = listing.heaviest(wide, shared, taste, slots, wanted, ridge, alpha)
    assert found.tolist() == [*expected, -1]
    alone = Ragged.from_lists([[5]], [[1.0]])
    assert listing.heaviest(wide, shared, alone, slice(0, 1), np.array([5, 0]), ridge, alpha).tolist() == [5, 5]


def test_empty_places_are_filled_by_popular_items_that_are_not_there_yet() -> None:
    chosen = np.array([[4, 2, -1, -1], [1, 2, 3, 4], [-1, -1, -1, -1]])
    popular = np.array([[2, 9, 8, 7], [9, 8, 7, 6], [5, 6, -1, -1]])
    scores, because = np.where(chosen < 0, np.nan, 0.5), np.where(chosen < 0, -1, 0)
    items, filled_scores, _, is_popular = listing.filled(chosen, scores, because, popular, popular * 10.0)
    assert items.tolist() == [[4, 2, 9, 8], [1, 2, 3, 4], [5, 6, -1, -1]]
    assert is_popular.tolist() == [[False, False, True, True], [False] * 4, [True, True, False, False]]
    assert filled_scores[0].tolist() == [0.5, 0.5, 90, 80]


def test_rows_of_arrays_that_do_not_fit_together_are_refused() -> None:
    import pyarrow as pa

    good = pa.RecordBatch.from_pydict({"items": [[1, 2], None, []], "strengths": [[0.5, 1.0], [], []]})
    assert listing.ragged_of(good, "items").lengths().tolist() == [2, 0, 0]
    for strengths in ([0.5], None):
        uneven = pa.RecordBatch.from_pydict({"items": [[1, 2], []], "strengths": [strengths, []]})
        with pytest.raises(ValueError, match="items and strengths must be arrays of equal length"):
            listing.ragged_of(uneven, "items", "strengths")
    with pytest.raises(ValueError, match="1 entries of items are null"):
        listing.ragged_of(pa.RecordBatch.from_pydict({"items": [[1, None]]}), "items")


def test_when_all_items_were_replaced_overnight_everybody_still_has_a_full_list_of_what_there_is(
    prepared: listing.Prepared, trained: Recommender
) -> None:
    """F80 and F81: to a model that knows none of the items, every user is a stranger."""
    outdated = Recommender("als", trained.params, ["x1", "x2"], np.ones((2, 4), np.float32))
    found = listed(prepared, outdated)
    assert {row.candidate_source for rows in found.values() for row in rows} == {"popularity"}
    assert all(0 <= row.item < len(prepared.catalogue) for rows in found.values() for row in rows)
