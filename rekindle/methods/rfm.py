"""Recency, frequency and money as fifths of the buyers, and the named class of every combination of the three.

Buyers are a frame with user_key, recency_days, frequency and monetary; nothing else is assumed.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import product
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame

CLASSES = (
    *("champions", "loyal", "potential_loyal", "new", "promising", "need_attention", "about_to_sleep"),
    *("at_risk", "cannot_lose", "hibernating", "lost"),
)
# Rows: recency score 5 (the most recent fifth) to 1. Columns: the mean of frequency and money, rounded up, 1 to 5.
GRID = {
    5: ("new", "potential_loyal", "potential_loyal", "champions", "champions"),
    4: ("promising", "potential_loyal", "potential_loyal", "loyal", "champions"),
    3: ("about_to_sleep", "need_attention", "need_attention", "loyal", "loyal"),
    2: ("hibernating", "hibernating", "at_risk", "at_risk", "cannot_lose"),
    1: ("lost", "lost", "hibernating", "at_risk", "cannot_lose"),
}
SCORES = range(1, 6)


def rfm_class(recency: int, frequency: int, monetary: int) -> str:
    """The class of three scores from 1 to 5."""
    return GRID[recency][(frequency + monetary + 1) // 2 - 1]


def class_table() -> Mapping[tuple[int, int, int], str]:
    """Every one of the 125 combinations of scores with its class."""
    return {(r, f, m): rfm_class(r, f, m) for r, f, m in product(SCORES, repeat=3)}


def class_of(recency: Column, frequency: Column, monetary: Column) -> Column:
    """The class of a row's scores; null where a score is null."""
    from pyspark.sql import functions as F

    rows = F.array(*[F.array(*[F.lit(name) for name in GRID[score]]) for score in SCORES])
    worth = F.floor((frequency + monetary + 1) / 2).cast("int")
    return F.element_at(F.element_at(rows, recency), worth)


def quintile(value: str, thresholds: Column) -> Column:
    """1 to 5: one more for each of the four quintile limits that the value lies above; null for a null value."""
    from pyspark.sql import functions as F

    above = F.size(F.filter(thresholds, lambda limit: F.col(value) > limit))
    return F.when(F.col(value).isNotNull(), 1 + above).cast("int")


def rfm(features: DataFrame) -> DataFrame:
    """By buyer: the three scores and the class. Quintile limits are exact percentiles over the buyers."""
    from pyspark.sql import functions as F

    fifths = F.array(*[F.lit(q) for q in (0.2, 0.4, 0.6, 0.8)])
    # Recency scores count the other way round: the fewer days, the higher.
    buyers = features.where("frequency > 0").select(
        "user_key", (-F.col("recency_days")).alias("freshness"), "frequency", "monetary"
    )
    limits = buyers.agg(
        *[F.percentile(F.col(c), fifths).alias(f"{c}_limits") for c in ("freshness", "frequency", "monetary")]
    )
    scores = buyers.crossJoin(F.broadcast(limits)).select(
        "user_key",
        quintile("freshness", F.col("freshness_limits")).alias("recency_score"),
        quintile("frequency", F.col("frequency_limits")).alias("frequency_score"),
        quintile("monetary", F.col("monetary_limits")).alias("monetary_score"),
    )
    named = class_of(F.col("recency_score"), F.col("frequency_score"), F.col("monetary_score"))
    return scores.withColumn("rfm_class", named)
