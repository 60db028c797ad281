"""Popularity with a window and a half-life: what everybody wants now. The baseline that a recommender must beat."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from rekindle.methods.decay import MICRO, decayed_micro, decayed_sum

if TYPE_CHECKING:
    from pyspark.sql import DataFrame


def popularity(
    item: NDArray[np.int64],
    age_days: NDArray[np.float64],
    weight: NDArray[np.float64],
    *,
    n_items: int,
    window_days: float,
    half_life_days: float,
) -> NDArray[np.float64]:
    """Σ weight · 2^(−age / half-life) of each item over events younger than the window, float64 [n_items].

    The order of events does not matter to the last bit. 0 means no event inside the window (or weights that cancel).

    Raises:
        ValueError: arrays of unequal length, an item outside 0 … n_items − 1, a negative age (the future), NaN.
    """
    if not len(item) == len(age_days) == len(weight):
        raise ValueError(f"popularity: {len(item)} items, {len(age_days)} ages, {len(weight)} weights; expected equal")
    if len(item) and (item.min() < 0 or item.max() >= n_items):
        raise ValueError(f"popularity: item indexes {item.min()} to {item.max()} found, expected 0 to {n_items - 1}")
    micro = decayed_micro(weight, age_days, half_life_days)
    inside = age_days < window_days
    total = np.zeros(n_items, dtype=np.int64)
    np.add.at(total, item[inside], micro[inside])
    return total / MICRO


def popularity_frame(
    events: DataFrame, *, item: str, age_days: str, weight: str, window_days: float, half_life_days: float
) -> DataFrame:
    """One row an item that is popular within the window: `item`'s column, popularity (double, above 0).

    Equal to `popularity` on the same events. An age below 0 stops the query.
    """
    from pyspark.sql import functions as F

    # Not a filter on age ≥ 0: the future must stop the query, not vanish.
    recent = events.where(F.col(age_days) < F.lit(float(window_days)))
    summed = recent.groupBy(item).agg(decayed_sum(F.col(weight), F.col(age_days), half_life_days).alias("popularity"))
    return summed.where("popularity > 0")
