"""Examples of churn on their way from Spark to the driver: counted, and as many as the driver holds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import TYPE_CHECKING

import numpy as np

from rekindle.methods.churn_candidates import Slice

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, Row


@dataclass(frozen=True)
class Count:
    """Examples at one cut-off. `regret` is null where the days after the outcome window are not known yet; `infinite`
    has the inputs that no float32 holds, with their rows."""

    rows: int
    churned: int
    ahead_of_time: int
    regret: float | None
    infinite: Mapping[str, int] = field(default_factory=dict)

    @property
    def fewest(self) -> int:
        """Examples of the smaller class."""
        return min(self.churned, self.rows - self.churned)


def count(found: DataFrame, inputs: Sequence[str]) -> dict[date, Count]:
    """How many examples there are at each cut-off; a handful of rows."""
    from pyspark.sql import functions as F

    counted = found.groupBy("as_of").agg(
        F.count(F.lit(1)).alias("rows"),
        F.sum("is_churned").cast("int").alias("churned"),
        F.count_if("sees_the_future").alias("ahead_of_time"),
        F.avg(F.when(F.col("is_churned") == 1, F.col("bought_again"))).alias("regret"),
        *[F.count_if(F.abs(F.col(name).cast("float")) == float("inf")).alias(name) for name in inputs],
    )

    def told(row: Row) -> Count:
        infinite = {name: row[name] for name in inputs if row[name]}
        return Count(row["rows"], row["churned"], row["ahead_of_time"], row["regret"], infinite)

    return {row["as_of"]: told(row) for row in counted.collect()}


def chosen(users: DataFrame, rows: int, most: int) -> DataFrame:
    """All of the `rows` users, or about `most` of them by the hash of their key: the same ones each time."""
    from pyspark.sql import functions as F

    if rows <= most:
        return users
    return users.where(F.pmod(F.xxhash64("user_key"), F.lit(1_000_000)) < int(1_000_000 * most / rows))


def bring(found: DataFrame, rows: int, most: int, inputs: Sequence[str], *extra: str) -> Slice:
    """A slice on the driver, in the order of its keys: all of it, or about `most` users chosen by hash."""
    from pyspark.sql import functions as F

    frame = (
        chosen(found, rows, most)
        .select(
            "as_of",
            "user_key",
            F.col("is_churned").alias("label"),
            *[F.col(name).cast("float").alias(name) for name in inputs],
            *extra,
        )
        .toPandas()
        .sort_values(["as_of", "user_key"], ignore_index=True)
    )
    return Slice(frame, frame["label"].to_numpy(dtype=np.float64))
