"""Tastes learnt on Spark: the same factors however the work is dealt out, and as good as Spark's own."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from rekindle.methods import als, als_packing, spark_als
from rekindle.methods.als_blocks import Basis, Block, Equation, solved
from rekindle.methods.ragged import Ragged

N_USERS, N_ITEMS, RANK = 120, 60, 6
REGULARISATION, ALPHA = 0.08, 2.5
SETTINGS = {
    "n_items": N_ITEMS,
    "rank": RANK,
    "regularisation": REGULARISATION,
    "alpha": ALPHA,
    "iterations": 4,
    "seed": 7,
}
ROOT = Path(__file__).resolve().parent.parent.parent
FEW = SETTINGS | {"iterations": 2}  # a half-step costs a Spark job or two, of about a second each
Rows = list[tuple[int, int, float]]


def shop(seed: int = 1) -> Rows:
    """(user, item, strength): three tastes, a few returns that outweigh what came before, ids with gaps."""
    made = np.random.default_rng(seed)
    rows = []
    for user in range(N_USERS):
        liked = np.arange(N_ITEMS) % 3 == user % 3
        for item in np.flatnonzero(made.random(N_ITEMS) < np.where(liked, 0.5, 0.04)):
            strength = float(np.float32(made.gamma(2.0, 1.5)))
            rows.append((user * 7 + 1, int(item), -strength if made.random() < 0.06 else strength))
    return rows


def frame_of(spark: Any, rows: Rows) -> Any:
    return spark.createDataFrame(rows, "user int, item int, strength float")


def loss(rows: Rows, items: NDArray[np.float32]) -> float:
    """What implicit ALS minimises, of these items and the users that fit them best."""
    users = sorted({user for user, _, _ in rows})
    place = {user: n for n, user in enumerate(users)}
    strengths = np.zeros((len(users), N_ITEMS))
    for user, item, strength in rows:
        strengths[place[user], item] = strength
    mine = [np.flatnonzero(row) for row in strengths]
    tastes = Ragged.from_lists(
        [m.tolist() for m in mine], [r[m].tolist() for r, m in zip(strengths, mine, strict=True)]
    )
    folded = als.fold_in(tastes, items, regularisation=REGULARISATION, alpha=ALPHA).astype(np.float64)
    wanted = strengths > 0
    error = (1 + ALPHA * np.abs(strengths)) * (wanted - folded @ items.T.astype(np.float64)) ** 2
    ridge = (wanted.sum(axis=1) @ (folded**2).sum(axis=1)) + (
        wanted.sum(axis=0) @ (items.astype(float) ** 2).sum(axis=1)
    )
    return float(error.sum() + REGULARISATION * ridge)


@pytest.fixture
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Several blocks for a small shop."""
    monkeypatch.setattr(als_packing, "BLOCK_ENTRIES", 250)


@pytest.mark.usefixtures("small_blocks")
def test_partitions_order_and_the_way_of_the_factors_change_no_bit(spark: Any) -> None:
    rows = shop()
    on_driver = spark_als.fit_item_factors(frame_of(spark, rows), **FEW)
    assert np.abs(on_driver).max() > 0.3
    one = spark_als.fit_item_factors(frame_of(spark, rows), partitions=1, driver_entries=0, **FEW)
    np.testing.assert_array_equal(one, on_driver)
    shuffled = [rows[n] for n in np.random.default_rng(3).permutation(len(rows))]
    three = spark_als.fit_item_factors(frame_of(spark, shuffled), partitions=3, driver_entries=0, **FEW)
    np.testing.assert_array_equal(three, on_driver)
    sent = spark_als.fit_item_factors(frame_of(spark, rows), partitions=3, driver_entries=0, broadcast_bytes=0, **FEW)
    np.testing.assert_array_equal(sent, on_driver)


@pytest.mark.usefixtures("small_blocks")
def test_two_executors_of_one_gigabyte_make_the_bits_of_one_process(spark: Any, tmp_path: Path) -> None:
    rows, once = shop(), FEW | {"iterations": 1}
    asked, found = tmp_path / "rows.json", tmp_path / "found.npy"
    asked.write_text(json.dumps({"rows": rows, "settings": once, "block_entries": als_packing.BLOCK_ENTRIES}))
    job = ["tests/methods/fit_on_cluster.py", "--env", "local", str(asked), str(found)]
    done = subprocess.run(
        ["bin/spark-submit", "--master", "local-cluster[2,1,1024]", *job],
        cwd=ROOT,
        capture_output=True,
        text=True,
        env=os.environ | {"SPARK_WORKER_DIR": str(tmp_path)},
        check=False,
    )
    assert done.returncode == 0, done.stderr
    by_broadcast, by_exchange = np.load(found)
    here = spark_als.fit_item_factors(frame_of(spark, rows), **once)
    np.testing.assert_array_equal(by_broadcast, here)
    np.testing.assert_array_equal(by_exchange, here)


def test_another_seed_is_another_start(spark: Any) -> None:
    rows = frame_of(spark, shop())
    assert (
        spark_als.fit_item_factors(rows, **SETTINGS) != spark_als.fit_item_factors(rows, **(SETTINGS | {"seed": 8}))
    ).any()


def test_it_fits_a_shop_as_well_as_sparks_own(spark: Any) -> None:
    from pyspark.ml.recommendation import ALS

    rows = shop()
    ours = spark_als.fit_item_factors(frame_of(spark, rows), **(SETTINGS | {"iterations": 10}))
    model = ALS(
        userCol="user",
        itemCol="item",
        ratingCol="strength",
        implicitPrefs=True,
        rank=RANK,
        regParam=REGULARISATION,
        alpha=ALPHA,
        maxIter=10,
        seed=7,
    ).fit(frame_of(spark, rows))
    theirs = np.zeros((N_ITEMS, RANK), dtype=np.float32)
    for row in model.itemFactors.collect():
        theirs[row.id] = row.features
    assert loss(rows, ours) < 1.01 * loss(rows, theirs)


def test_many_steps_solve_the_equation() -> None:
    made = np.random.default_rng(5)
    table = made.normal(0, 1, (30, RANK)).astype(np.float32)
    row = np.repeat(np.arange(9, dtype=np.int32), np.arange(2, 11))
    column = np.concatenate([np.sort(made.choice(30, n, replace=False)) for n in range(2, 11)]).astype(np.int32)
    strength = made.normal(1.5, 1.0, len(row)).astype(np.float32)
    block = Block.packed(0, row, column, strength)
    basis = Basis.of(als.gram(table))
    equation = Equation(REGULARISATION, ALPHA, steps=30)
    found = np.zeros((9, RANK), dtype=np.float32)
    found[block.ids] = solved(block, block.columns, table @ basis.turn, found, basis, equation)
    offsets = np.concatenate([[0], np.cumsum(np.arange(2, 11))])
    exact = als.fold_in(
        Ragged(offsets, column.astype(np.int64), strength.astype(np.float64)),
        table,
        regularisation=REGULARISATION,
        alpha=ALPHA,
    )
    np.testing.assert_allclose(found, exact, atol=2e-5)


def test_an_item_that_nobody_touched_has_no_factors(spark: Any) -> None:
    few = frame_of(spark, [(0, 0, 1.0), (0, 2, 2.0), (1, 2, 1.0)])
    found = spark_als.fit_item_factors(few, **(SETTINGS | {"n_items": 4, "rank": 2}))
    assert found.dtype == np.float32
    assert found.any(axis=1).tolist() == [True, False, True, False]


@pytest.mark.parametrize(
    ("rows", "fault"),
    [
        ([(0, 0, 1.0), (1, 1, 1.0), (0, 0, 2.0)], r"1 \(user, item\) pairs stand in more than one row"),
        ([(0, 0, 1.0), (1, 1, None), (2, 0, float("nan"))], "2 strengths are null, NaN"),
        ([(0, 0, 1.0), (1, 0, 1.0)], "fewer than two users or two items"),
        ([(0, 0, 1.0), (None, 1, 1.0)], "1 rows have no user or no item"),
        ([(0, 0, 1.0), (1, N_ITEMS, 1.0)], f"1 rows have an item outside 0 to {N_ITEMS - 1}"),
        ([], "fewer than two users or two items"),
    ],
)
def test_interactions_that_teach_nothing_are_refused(spark: Any, rows: Any, fault: str) -> None:
    with pytest.raises(ValueError, match=fault):
        spark_als.fit_item_factors(frame_of(spark, rows), **SETTINGS)
