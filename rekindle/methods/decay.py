"""What an event of some age still weighs, and sums of such weights that do not depend on the order of rows.

Floating-point sums change in the last digits with the order in which a shuffle delivers rows, and a changed
digit changes a fingerprint. So each weight is rounded to a whole number of millionths and integers are summed.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from pyspark.sql import Column

MICRO = 1_000_000  # parts of one unit of weight; 2**63 millionths hold 9.2e12 units, far beyond any shop's sum


def decayed_micro(
    weight: NDArray[np.float64], age_days: NDArray[np.float64], half_life_days: float
) -> NDArray[np.int64]:
    """weight · 2^(−age / half-life) in whole millionths, int64, same shape.

    Raises:
        ValueError: an age is negative (it would be the future), NaN, or the half-life is not positive.
    """
    _check_half_life(half_life_days)
    if len(age_days) and not (age_days >= 0).all():
        raise ValueError(f"age_days: {int((~(age_days >= 0)).sum())} ages are negative or NaN, expected 0 or more")
    if not np.isfinite(weight).all():
        raise ValueError(f"weight: {int((~np.isfinite(weight)).sum())} weights are NaN or infinite")
    return np.rint(weight * np.exp2(-age_days / half_life_days) * MICRO).astype(np.int64)


def decayed_sum(weight: Column, age_days: Column, half_life_days: float) -> Column:
    """Aggregate: Σ weight · 2^(−age / half-life) of a group, double, to a millionth an event.

    Rows whose weight or age is null count nothing; a group of only such rows sums to null.
    A negative age stops the query: an event after `as_of` must never be looked at.
    """
    from pyspark.sql import functions as F

    _check_half_life(half_life_days)
    past = F.when(
        age_days < 0,
        F.raise_error(F.concat(F.lit("age_days is "), age_days.cast("string"), F.lit(", expected 0 or more"))).cast(
            "double"
        ),
    ).otherwise(age_days.cast("double"))
    decayed = weight.cast("double") * F.pow(F.lit(2.0), -past / F.lit(float(half_life_days)))
    # rint rounds halves to even, as numpy's does
    return F.sum(F.rint(decayed * F.lit(float(MICRO))).cast("bigint")) / F.lit(float(MICRO))


def event_weight(event: Column, weights: Mapping[str, float]) -> Column:
    """The weight of an event's type, double; null for a type that `weights` does not name."""
    from pyspark.sql import functions as F

    if not weights:
        raise ValueError("weights: empty, expected at least one event type with its weight")
    pairs = [F.lit(part) for name in sorted(weights) for part in (name, float(weights[name]))]
    return F.create_map(*pairs)[event]


def _check_half_life(half_life_days: float) -> None:
    if not half_life_days > 0:
        raise ValueError(f"half_life_days is {half_life_days}, expected more than 0")
