"""`make bench`: our parts beside a reference in the same run, as ratios; only the ratios carry over between machines.

Each pair does the same work on the same made-up data and is checked to give the same answer before it is timed.
"""

from __future__ import annotations

import gzip
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table
from sklearn.metrics import roc_auc_score

from rekindle import landing_lines
from rekindle.methods import als, bootstrap
from rekindle.methods.ragged import Ragged

SEED = 20260101


@dataclass(frozen=True)
class Pair:
    """One piece of work, done by us and by the reference."""

    name: str
    reference: str
    ours_seconds: float
    reference_seconds: float


def timed(work: Callable[[], object]) -> float:
    """Seconds of the faster of two runs."""
    seconds = []
    for _ in range(2):
        started = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - started)
    return min(seconds)


def exact_lines(folder: Path) -> Pair:
    """Every line with number and offset, against Python's own plain iteration over the same gzip."""
    path = folder / "day.jsonl.gz"
    with gzip.open(path, "wb", compresslevel=6) as out:
        for n in range(400_000):
            out.write(
                b'{"event_id": "e%d", "type": "pageview", "customer": "u%d", "sku": "CA-%d"}\n' % (n, n % 997, n % 89)
            )

    def ours() -> int:
        return sum(1 for _ in landing_lines.lines(path))

    def plain() -> int:
        with gzip.open(path) as stream:
            return sum(1 for _ in stream)

    assert ours() == plain() == 400_000  # noqa: S101 - a benchmark of unequal work would say nothing
    return Pair("400,000 lines with place, exactly", "plain gzip iteration", timed(ours), timed(plain))


def fold_in() -> Pair:
    """10,000 users folded in (rank 32), against one np.linalg.solve a user."""
    made = np.random.default_rng(SEED)
    factors = made.normal(size=(5_000, 32)).astype(np.float32)
    lengths = made.integers(5, 60, 10_000)
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    items = np.concatenate([made.choice(5_000, n, replace=False) for n in lengths])
    taste = Ragged(offsets, items, made.uniform(1, 5, len(items)))
    shared, wide = als.gram(factors), factors.astype(np.float64)

    def ours() -> np.ndarray:
        return als.fold_in(taste, factors, regularisation=0.05, alpha=2.0)

    def one_by_one() -> np.ndarray:
        found = np.zeros((len(lengths), 32))
        for u in range(len(lengths)):
            part = slice(offsets[u], offsets[u + 1])
            y, r = wide[items[part]], taste.values[part]
            left = shared + (y.T * (2.0 * r)) @ y + 0.05 * len(r) * np.eye(32)
            found[u] = np.linalg.solve(left, (1 + 2.0 * r) @ y)
        return found

    np.testing.assert_allclose(ours(), one_by_one(), rtol=1e-3, atol=1e-4)
    return Pair("fold in 10,000 users", "one solve a user", timed(ours), timed(one_by_one))


def top_twenty() -> Pair:
    """The best 20 of 5,000 items for 10,000 users, against a full sort."""
    made = np.random.default_rng(SEED)
    users = made.normal(size=(10_000, 32)).astype(np.float32)
    items = made.normal(size=(5_000, 32)).astype(np.float32)

    def ours() -> np.ndarray:
        return als.top_k(users, items, 20)[0]

    def sort() -> np.ndarray:
        blocks = [np.argsort(-(users[n : n + 500] @ items.T), axis=1)[:, :20] for n in range(0, len(users), 500)]
        return np.concatenate(blocks)

    assert (ours() == sort()).mean() > 0.999  # noqa: S101
    return Pair("top 20 for 10,000 users", "full sort in blocks", timed(ours), timed(sort))


def paired_auc() -> Pair:
    """200 paired bootstrap draws of an AUC difference on 20,000 rows, against scikit-learn's AUC in a loop."""
    made = np.random.default_rng(SEED)
    label = made.random(20_000) < 0.4
    left, right = made.normal(label, 1.0), made.normal(0.5 * label, 1.0)

    def ours() -> float:
        return bootstrap.paired_auc_difference(label, left, right, seed=SEED, draws=200).low

    def loop() -> float:
        drawn = np.random.default_rng(SEED)
        found = []
        for _ in range(200):
            rows = drawn.integers(0, len(label), len(label))
            found.append(roc_auc_score(label[rows], left[rows]) - roc_auc_score(label[rows], right[rows]))
        return float(np.quantile(found, 0.025))

    assert abs(ours() - loop()) < 0.005  # noqa: S101
    return Pair("paired AUC interval, 200 draws", "scikit-learn in a loop", timed(ours), timed(loop))


def main() -> None:
    """Run every pair and print the table."""
    console = Console()
    table = Table("work", "ours", "reference", "reference takes", "times ours", title="Benchmarks")
    with tempfile.TemporaryDirectory() as folder:
        for make in (lambda: exact_lines(Path(folder)), fold_in, top_twenty, paired_auc):
            with console.status("measuring"):
                pair = make()
            ratio = pair.reference_seconds / pair.ours_seconds
            table.add_row(
                pair.name,
                f"{pair.ours_seconds:.2f} s",
                pair.reference,
                f"{pair.reference_seconds:.2f} s",
                f"{ratio:.2f}",
            )
    console.print(table)


if __name__ == "__main__":
    main()
