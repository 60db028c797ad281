"""Lists for judging: each model's best eligible items for the user's own taste, as the model orders them."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pyarrow as pa
import pytest

from rekindle.contract import frame
from rekindle.methods import listing, spark_als, tastes
from rekindle.methods.arrow_rows import ragged_of
from rekindle.methods.factors import AlsFold, FactorModel
from rekindle.methods.recommenders import POPULARITY, Recommender
from schemas.events import EVENTS

AS_OF = date(2026, 4, 20)
COUNTING = tastes.Counting({"view": 1.0, "cart": 3.0, "purchase": 5.0}, 30.0, 28, 60, ("sofa",))
K = 6
POPULAR = Recommender(POPULARITY)


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
def prepared(_session: Any) -> tastes.Prepared:
    return tastes.prepare(frame(_session, EVENTS, *two_tastes()), AS_OF, ZoneInfo("UTC"), COUNTING)


@pytest.fixture(scope="module")
def trained(prepared: tastes.Prepared) -> Recommender:
    pairs = prepared.strengths.join(tastes.numbered(prepared.strengths), "user_key")
    factors = spark_als.fit_item_factors(
        pairs.select("user", "item", "strength"),
        n_items=len(prepared.catalogue), rank=4, iterations=5, regularisation=0.05, alpha=2.0, seed=1,
    )  # fmt: skip
    return Recommender("als", {}, prepared.catalogue, FactorModel(factors, AlsFold(0.05, 2.0)), fades=True)


def test_als_lists_the_group_and_popularity_what_sells_and_neither_a_bought_sofa_nor_what_is_gone(
    prepared: tastes.Prepared, trained: Recommender
) -> None:
    outdated = Recommender("old", {}, ["x1", "x2"], FactorModel(np.ones((2, 4), np.float32), AlsFold(0.05, 2.0)))
    rows = listing.ranked(prepared, prepared.tastes, K, {"als": trained, "popular": POPULAR, "old": outdated}).collect()
    found: dict[str, dict[str, list[str]]] = {"als": {}, "popular": {}}
    assert {row.model for row in rows} == {"als", "popular"}, "F80, F81: a model that knows no item lists none"
    for row in sorted(rows, key=lambda r: (r.user_key, r["rank"])):
        mine = found[row.model].setdefault(row.user_key, [])
        mine.append(prepared.catalogue[row["item"]])
        assert len(mine) == row["rank"]
    for user in (f"{group}{n}" for group in "ab" for n in range(1, 10)):
        assert {item[0] for item in found["als"][user]} == {user[0]}, user
        assert len(set(found["als"][user])) == K
    assert "stranger" not in found["als"], "no taste, no list of one's own"
    best = np.lexsort((np.arange(len(prepared.catalogue)), -prepared.popularity))[:K]
    assert found["popular"]["stranger"] == [prepared.catalogue[n] for n in best]
    for lists in found.values():
        assert not {"a6", "a7"} & set(lists["a0"])
        assert "gone" not in {item for items in lists.values() for item in items}
    others = {item for user, items in found["als"].items() if user.startswith("a") and user != "a0" for item in items}
    assert others >= {"a6", "a7"}, "only who bought it does without"


def test_rows_of_arrays_that_do_not_fit_together_are_refused() -> None:
    good = pa.RecordBatch.from_pydict({"items": [[1, 2], None, []], "strengths": [[0.5, 1.0], [], []]})
    assert ragged_of(good, "items").lengths().tolist() == [2, 0, 0]
    for strengths in ([0.5], None):
        uneven = pa.RecordBatch.from_pydict({"items": [[1, 2], []], "strengths": [strengths, []]})
        with pytest.raises(ValueError, match="items and strengths must be arrays of equal length"):
            ragged_of(uneven, "items", "strengths")
    with pytest.raises(ValueError, match="1 entries of items are null"):
        ragged_of(pa.RecordBatch.from_pydict({"items": [[1, None]]}), "items")
