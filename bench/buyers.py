"""Part of `make bench`: when buyers come back and what they are worth, of 100,000 made-up ones and of a million.

Times are whole days, as shops' are, so many buyers are alike and are one row. Nothing here has a reference that does
the same; what is shown is how the time grows.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
from rich.console import Console
from rich.table import Table

from rekindle.methods import buy_till_you_die, gamma_gamma
from rekindle.methods.buy_till_you_die import Buyers
from rekindle.methods.lifetime_value import Terms, value

SEED = 20260101
SIZES = (100_000, 1_000_000)
YEAR = 365.0


def lived(n: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Repeat purchases, day of the last, and age in days of buyers who buy and leave as BG/NBD tells it."""
    made = np.random.default_rng(SEED)
    rate, loss, age = made.gamma(0.5, 1 / 60.0, n), made.beta(0.8, 2.5, n), np.ceil(made.uniform(30, 2 * YEAR, n))
    there, at, repeats, last = np.ones(n, dtype=bool), np.zeros(n), np.zeros(n), np.zeros(n)
    while there.any():
        at = at + made.exponential(1 / np.maximum(rate, 1e-12))
        there &= np.ceil(at) <= age
        repeats, last = repeats + there, np.where(there, np.ceil(at), last)
        there &= made.random(n) >= loss
    return repeats, last, age


def measured(n: int) -> dict[str, float]:
    """Seconds by piece of work, for n buyers."""
    seconds: dict[str, float] = {}

    @contextmanager
    def clock(name: str) -> Iterator[None]:
        started = time.perf_counter()
        yield
        seconds[name] = time.perf_counter() - started

    repeats, last, age = lived(n)
    worth, bought = np.random.default_rng(SEED).gamma(4.0, 10.0, n), repeats > 0
    with clock("equal buyers as one row"):
        rows, row = Buyers.grouped(repeats, last, age)
    with clock("BG/NBD fitted"):
        model = buy_till_you_die.fit(rows)
    with clock("no purchase in a year, and purchases expected"):
        _ = model.none_within(rows, YEAR)[row], model.expected(rows, YEAR)[row]
    with clock("gamma-gamma fitted"):
        money = gamma_gamma.fit(repeats[bought], worth[bought])
    with clock("value of a year with its interval, 100 draws"):
        value(model, money, Buyers(repeats, last, age, np.ones(n)), worth, Terms(YEAR, 0.0003, 0.4), draws=100, seed=1)
    return seconds


def main() -> None:
    """Fit and score both sizes; print how the time grew."""
    few, many = (measured(n) for n in SIZES)
    table = Table("work", *(f"{n:,} buyers" for n in SIZES), "times", title="Buyers")
    for name, before in few.items():
        table.add_row(name, f"{before:.2f} s", f"{many[name]:.2f} s", f"{many[name] / before:.1f}")
    Console(width=110).print(table)


if __name__ == "__main__":
    main()
