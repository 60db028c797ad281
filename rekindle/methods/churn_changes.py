"""What became of every user's risk band since the publication before, and what decided it."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame


def cause() -> Column:
    """What decided a band that changed: the first step after which it is tonight's and stays so.

    The steps lead from the publication before to tonight one at a time: the user's features of tonight
    (`band_by_behaviour`), then the outcomes that became known (`band_by_labels`), then the model that serves. Where
    the model of before cannot be asked any more both bands are null, and the model it is.
    """
    from pyspark.sql import functions as F

    after, behaviour, labels = F.col("band_after"), F.col("band_by_behaviour"), F.col("band_by_labels")
    return (
        F.when((behaviour == after) & (labels == after), F.lit("behaviour"))
        .when(labels == after, F.lit("labels"))
        .otherwise(F.lit("model"))
    )


def changes(tonight: DataFrame, before: DataFrame) -> DataFrame:
    """One row a user who entered, left or moved: the columns of churn_changes but for the two dates.

    `tonight` has user_key, risk_band, churn_probability, horizon_days and the two bands that `cause` asks for;
    `before` has the first four of the publication before. Another horizon is another question: labels changed.
    """
    from pyspark.sql import functions as F

    then = before.select(
        "user_key",
        F.col("risk_band").alias("band_before"),
        F.col("churn_probability").alias("probability_before"),
        F.col("horizon_days").alias("horizon_before"),
    )
    now = tonight.select(
        "user_key",
        F.col("risk_band").alias("band_after"),
        F.col("churn_probability").alias("probability_after"),
        "horizon_days",
        "band_by_behaviour",
        "band_by_labels",
    )
    entered, left = F.col("band_before").isNull(), F.col("band_after").isNull()
    another = F.col("horizon_days") != F.col("horizon_before")
    return (
        now.join(then, "user_key", "full")
        .where(entered | left | (F.col("band_before") != F.col("band_after")))
        .withColumns(
            {
                "change": F.when(entered, F.lit("entered")).when(left, F.lit("left")).otherwise(F.lit("moved")),
                "cause": F.when(entered | left, F.lit("behaviour")).when(another, F.lit("labels")).otherwise(cause()),
            }
        )
        .drop("horizon_days", "horizon_before", "band_by_behaviour", "band_by_labels")
    )
