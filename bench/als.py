"""`make bench-als`: implicit ALS and its lists beside Spark ML and the library `implicit`, and how both grow.

Everything is made up: users with a taste of two of 64 kinds, 34 pairs a user. All read the same Parquet file, with one
rank, one number of iterations and both cores, in one run; only the ratios carry over between machines. Quality stands
beside every figure: nDCG@10 of an item held out of training, and the loss that ours and Spark ML's both minimise. The
library's equation has one ridge for everybody, so its λ is ours times the mean length of a history.

Our lists start from histories, as in a night (`listing.ranked`: fold in, mask what was seen, rank); Spark's and the
library's from user factors that are there. Nothing is told of lists that differ in more than one of 1,000 places.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # the library's own threads would fight with BLAS's

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from implicit.cpu.als import AlternatingLeastSquares
from rich.console import Console
from rich.table import Table
from scipy import sparse

from bench.ingest import session
from rekindle.methods import als, listing, spark_als, tastes
from rekindle.methods.factors import AlsFold, FactorModel
from rekindle.methods.ragged import Ragged, offsets_of
from rekindle.methods.recommenders import Recommender

SEED = 20260101
TASTES, PAIRS_A_USER, ITEMS = 64, 31.25, 20_000
RANK, ITERATIONS, REGULARISATION, ALPHA = 64, 10, 0.05, 2.0
LISTED = 50
TRIED_USERS = 10_000

Made = tuple[np.ndarray, np.ndarray]  # users' factors, items' factors


@dataclass(frozen=True, eq=False)
class Shop:
    """Pairs (user, item, strength), each once, by user and item; and an item of each of the first users held out."""

    user: np.ndarray
    item: np.ndarray
    strength: np.ndarray
    held_out: np.ndarray
    n_users: int

    @classmethod
    def made(cls, n_users: int, seed: int = SEED) -> Shop:
        """A user likes a kind with 70 %, another with 30 %; a kind's items are wanted by rank^-0.8."""
        draw = np.random.default_rng(seed)
        order = np.stack([draw.permutation(ITEMS) for _ in range(TASTES)])
        reach = np.cumsum(np.arange(1, ITEMS + 1) ** -0.8)
        lengths = np.maximum(5, draw.lognormal(np.log(PAIRS_A_USER * 1.16) - 0.32, 0.8, n_users)).astype(np.int64)
        likes = draw.integers(0, TASTES, (n_users, 2))
        user = np.repeat(np.arange(n_users), lengths)
        kind = likes[user, (draw.random(len(user)) < 0.3).astype(np.int64)]
        item = order[kind, np.searchsorted(reach, draw.random(len(user)) * reach[-1])]
        key = np.unique(user * ITEMS + item)
        user, item = np.divmod(key, ITEMS)
        held = np.zeros(len(key), dtype=bool)
        # A user's first pair is that of the lowest item, which says nothing of his taste.
        held[np.searchsorted(user, np.arange(min(TRIED_USERS, n_users)))] = True
        kept = ~held
        strength = draw.gamma(2.0, 1.0, len(key)).astype(np.float32) + 0.1
        return cls(user[kept], item[kept], strength[kept], item[held], n_users)

    def histories(self) -> Ragged:
        """A row a user."""
        lengths = np.bincount(self.user, minlength=self.n_users).astype(np.int64)
        return Ragged(offsets_of(lengths), self.item, self.strength.astype(np.float64))

    def write(self, path: Path) -> str:
        """The pairs as Parquet."""
        columns = {"user": self.user.astype(np.int32), "item": self.item.astype(np.int32), "strength": self.strength}
        pq.write_table(pa.table(columns), path, row_group_size=500_000)
        return str(path)

    def write_tastes(self, path: Path) -> str:
        """Rows as `tastes.Prepared.tastes`, what was seen blocked."""
        rows = self.histories()
        offsets = pa.array(rows.offsets.astype(np.int32))
        item = pa.ListArray.from_arrays(offsets, pa.array(rows.items.astype(np.int32)))
        number = pa.ListArray.from_arrays(offsets, pa.array(rows.values))
        columns = {"user_key": pa.array([f"{n:09}" for n in range(self.n_users)])}
        columns |= {name: item if name == "item" else number for name in tastes.ENTRIES}
        columns |= dict.fromkeys(("active_days", "purchase_days"), pa.array(np.ones(self.n_users)))
        pq.write_table(pa.table(columns | {"blocked": item}), path, row_group_size=20_000)
        return str(path)


@dataclass(frozen=True)
class Row:
    """One piece of work by one of three."""

    work: str
    by: str
    seconds: float
    quality: str = ""


def timed(work: Callable[[], Any], times: int) -> tuple[float, Any]:
    """(seconds of the fastest, what the last gave)."""
    seconds: list[float] = []
    for _ in range(times):
        started = time.perf_counter()
        given = work()
        seconds.append(time.perf_counter() - started)
    return min(seconds), given


def ours(spark: Any, path: str) -> np.ndarray:
    return spark_als.fit_item_factors(
        spark.read.parquet(path),
        n_items=ITEMS,
        rank=RANK,
        regularisation=REGULARISATION,
        alpha=ALPHA,
        iterations=ITERATIONS,
        seed=SEED,
    )


def of_spark_ml(spark: Any, path: str) -> Any:
    from pyspark.ml.recommendation import ALS

    method = ALS(rank=RANK, maxIter=ITERATIONS, regParam=REGULARISATION, alpha=ALPHA, implicitPrefs=True, seed=SEED)
    return method.setUserCol("user").setItemCol("item").setRatingCol("strength").fit(spark.read.parquet(path))


def of_the_library(path: str, n_users: int) -> AlternatingLeastSquares:
    read = pq.read_table(path)
    user, item, strength = (read.column(name).to_numpy() for name in ("user", "item", "strength"))
    matrix = sparse.csr_matrix((1 + ALPHA * strength, (user, item)), shape=(n_users, ITEMS))
    ridge = REGULARISATION * len(user) / n_users
    model = AlternatingLeastSquares(
        RANK, ridge, 1.0, iterations=ITERATIONS, num_threads=os.cpu_count() or 1, random_state=SEED
    )
    model.fit(matrix, show_progress=False)
    return model


def collected(model: Any, n_users: int) -> Made:
    """Spark ML's factors as arrays."""
    found = []
    for frame, rows in ((model.userFactors, n_users), (model.itemFactors, ITEMS)):
        told = frame.toArrow()
        table = np.zeros((rows, RANK), dtype=np.float32)
        table[told.column("id").to_numpy()] = (
            told.column("features").combine_chunks().flatten().to_numpy().reshape(-1, RANK)
        )
        found.append(table)
    return found[0], found[1]


def folded(histories: Ragged, items: np.ndarray) -> np.ndarray:
    """Users' factors, by threads."""
    step = 10_000
    parts = [histories.between(n, min(n + step, len(histories))) for n in range(0, len(histories), step)]
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        done = pool.map(lambda part: als.fold_in(part, items, regularisation=REGULARISATION, alpha=ALPHA), parts)
        return np.concatenate(list(done))


def ndcg(shop: Shop, made: Made) -> float:
    """nDCG@10 of the one item held out, all others but those seen ranked."""
    tried = len(shop.held_out)
    found, _ = als.top_k(made[0][:tried], made[1], 10, blocked=shop.histories().between(0, tried))
    place = np.nonzero(found == shop.held_out[:, None])[1]
    return float((1 / np.log2(place + 2)).sum() / tried)


def loss(shop: Shop, made: Made) -> float:
    """What ALS minimises (implicit_als.py), a pair."""
    users, items = (table.astype(np.float64) for table in made)
    total = float((users.T @ users * (items.T @ items)).sum())
    for start in range(0, len(shop.user), 1_000_000):
        part = slice(start, start + 1_000_000)
        found = np.einsum("nk,nk->n", users[shop.user[part]], items[shop.item[part]])
        total += float(((1 + ALPHA * shop.strength[part]) * (1 - found) ** 2 - found**2).sum())
    for table, ids in ((users, shop.user), (items, shop.item)):
        total += REGULARISATION * float(np.bincount(ids, minlength=len(table)) @ (table**2).sum(axis=1))
    return total / len(shop.user)


def quality(shop: Shop, made: Made, same_equation: bool = True) -> str:
    told = f"nDCG@10 {ndcg(shop, made):.4f}"
    return f"{told}, loss {loss(shop, made):.4f}" if same_equation else told


def fits(spark: Any, folder: Path, n_users: int, console: Console) -> tuple[list[Row], Any, np.ndarray]:
    """Rows of the three; Spark ML's model and our item factors."""
    shop = Shop.made(n_users)
    path = shop.write(folder / f"pairs-{n_users}.parquet")
    work = f"ALS, {len(shop.user) / 1e6:.2f} million pairs, {n_users:,} x {ITEMS:,}, rank {RANK}"
    with console.status(f"ours: {work}"):
        seconds, items = timed(lambda: ours(spark, path), 2)
        rows = [Row(work, "ours", seconds, quality(shop, (folded(shop.histories(), items), items)))]
    with console.status(f"implicit: {work}"):
        seconds, library = timed(lambda: of_the_library(path, n_users), 2)
        rows.append(Row(work, "implicit", seconds, quality(shop, (library.user_factors, library.item_factors), False)))
    with console.status(f"Spark ML: {work}"):
        seconds, model = timed(lambda: of_spark_ml(spark, path), 1)
        rows.append(Row(work, "Spark ML", seconds, quality(shop, collected(model, n_users))))
    return rows, model, items


def lists(spark: Any, folder: Path, n_users: int, items: np.ndarray, console: Console) -> list[Row]:
    """Rows of ours and the library's, of the same factors; what was seen masked."""
    shop = Shop.made(n_users, SEED + 1)
    users = spark.read.parquet(shop.write_tastes(folder / f"tastes-{n_users}.parquet"))
    catalogue = [f"{n:06}" for n in range(ITEMS)]
    everything = np.ones(ITEMS, dtype=bool)
    prepared = tastes.Prepared(catalogue, users, users, users, everything, np.zeros(ITEMS))
    model = Recommender("als", {}, catalogue, FactorModel(items, AlsFold(REGULARISATION, ALPHA)), fades=True)
    work = f"top {LISTED} of {ITEMS:,} for {n_users:,} users"
    listed = listing.ranked(prepared, users, LISTED, {"als": model})
    with console.status(f"ours: {work}"):
        seconds, _ = timed(lambda: listed.write.format("noop").mode("overwrite").save(), 2)
    rows = [Row(work, "ours, from histories", seconds)]
    mine = folded(shop.histories(), items)
    with console.status(f"ours in one process: {work}"), ThreadPoolExecutor(os.cpu_count()) as pool:
        seen, step = shop.histories(), 5_000

        def part(n: int) -> np.ndarray:
            return als.top_k(mine[n : n + step], items, LISTED, blocked=seen.between(n, min(n + step, n_users)))[0]

        seconds, found = timed(lambda: np.concatenate(list(pool.map(part, range(0, n_users, step)))), 2)
    rows.append(Row(work, "ours, from factors, by threads", seconds))
    library = AlternatingLeastSquares(RANK, num_threads=os.cpu_count() or 1)
    library.user_factors, library.item_factors = mine, items
    matrix = sparse.csr_matrix((shop.strength, (shop.user, shop.item)), shape=(n_users, ITEMS))
    with console.status(f"implicit: {work}"):
        seconds, theirs = timed(lambda: library.recommend(np.arange(n_users), matrix, N=LISTED)[0], 2)
    rows.append(Row(work, "implicit, from factors", seconds))
    same = float((found == theirs).mean())
    if same < 0.999:
        raise SystemExit(f"error: ours and implicit list the same item in {same:.2%} of places; nothing to compare")
    of_spark = listed.where("user_key < '000000100'").orderBy("user_key", "rank").toArrow().column("item").to_numpy()
    if not (of_spark.reshape(100, LISTED) == found[:100]).mean() > 0.999:
        raise SystemExit("error: lists made on Spark differ from those made in one process")
    return rows


def told(title: str, rows: list[Row], console: Console) -> None:
    """A table; ratios are to the first row of the same work."""
    table = Table("work", "by", "seconds", "times ours", "quality", title=title)
    first: dict[str, float] = {}
    for row in rows:
        ratio = row.seconds / first.setdefault(row.work, row.seconds)
        table.add_row(row.work, row.by, f"{row.seconds:.1f}", f"{ratio:.2f}", row.quality)
    console.print(table)


def main() -> None:
    """Fit, list, grow; print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--whole", action="store_true", help="also 11 million pairs and 500,000 users (15 minutes)")
    whole = parser.parse_args().whole
    console = Console(width=150)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        spark = session(folder)
        warm = Shop.made(2_000).write(folder / "warm.parquet")
        ours(spark, warm)
        of_spark_ml(spark, warm)
        rows, model, items = fits(spark, folder, 50_000, console)
        told("Learning tastes", rows, console)
        rows = lists(spark, folder, 50_000, items, console)
        with console.status("Spark ML: lists"):
            every = model.recommendForAllUsers(LISTED)
            seconds, _ = timed(lambda: every.write.format("noop").mode("overwrite").save(), 1)
        told("Lists", [*rows, Row(rows[0].work, "Spark ML, nothing masked", seconds)], console)
        if whole:
            many = 320_000
            rows, *_ = fits(spark, folder, many, console)
            told("Learning tastes", rows, console)
            told("Lists", lists(spark, folder, 500_000, items, console), console)
            path = Shop.made(many // 10).write(folder / "tenth.parquet")
            seconds, _ = timed(lambda: ours(spark, path), 2)
            grown = [
                Row("ten times the users", f"{n:,} users", s)
                for n, s in ((many // 10, seconds), (many, rows[0].seconds))
            ]
            told("Growth of learning, ours", grown, console)
        spark.stop()


if __name__ == "__main__":
    main()
