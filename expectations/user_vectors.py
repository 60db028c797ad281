"""What must hold of users' directions, beyond their contract."""

from __future__ import annotations

from datetime import date

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from rekindle.quality import Suite, always, row_count, suite_for
from schemas.user_vectors import USER_VECTORS

ROUNDING = 1e-4  # of a length: each of at most 256 numbers is rounded to a millionth


def suite(business_date: date, dimension: int) -> Suite:
    """The checks on rows. A shop whose days never hold two items has none."""
    squares = F.aggregate("vector", F.lit(0.0), lambda so_far, x: so_far + x * x)
    return suite_for(
        USER_VECTORS,
        always(
            "of_this_night",
            f"rows of another business date than {business_date}",
            F.col("business_date") == F.lit(business_date),
        ),
        always("of_one_space", f"vectors that are not of {dimension} numbers", F.size("vector") == dimension),
        # Likeness is told by the inner product, which is a cosine for vectors of length 1 alone.
        always("of_length_one", "vectors whose length is not 1", F.abs(F.sqrt(squares) - 1) <= ROUNDING),
        may_be_empty=True,
    )


def by_user(vectors: DataFrame, profiles: DataFrame) -> DataFrame:
    """One row per user with a vector, with `has_profile`, null where there is none."""
    described = profiles.select("user_key", F.lit(True).alias("has_profile"))
    return vectors.select("user_key").join(described, "user_key", "left")


def suite_by_user() -> Suite:
    """The checks on who has a vector."""
    known = always("has_profile", "users with a vector but without a profile", F.coalesce("has_profile", F.lit(False)))
    return Suite(USER_VECTORS.name, (row_count(0, what="users with a vector"), known), part="by_user")
