"""What must hold of the segments, beyond their contract. A shop with too few users has none."""

from __future__ import annotations

from datetime import date

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from rekindle.methods.segmenting import IDS
from rekindle.quality import Figure, Suite, always, row_count, suite_for
from schemas.segments import SEGMENTS

ROUNDING = 1e-9  # of shares added as doubles


def suite(business_date: date) -> Suite:
    """The checks on rows."""
    status, before, users = F.col("status"), F.col("users_before"), F.col("users")
    compared = F.col("compared_date").isNotNull()
    lengths = [F.size(name) for name in ("features", "feature_means", "overall_means", "z_differences")]
    gone = status == "dissolved"
    letter = F.when(F.col("method") == "k_means", "s").when(F.col("method") == "bisecting", "b").otherwise("t")
    return suite_for(
        SEGMENTS,
        always("of_this_night", f"rows of another date than {business_date}", F.col("business_date") == business_date),
        # Who came and who went explain every change of size; a figure that does not is counted on other users.
        always(
            "movements_add_up",
            "segments whose users are not those before, those who entered and those who left",
            users == before + F.col("users_entered") - F.col("users_left"),
            where=compared,
        ),
        always(
            "compared_or_first",
            "segments with figures of the publication before and no date of it, or the other way round",
            (before.isNotNull() == compared)
            & (F.col("users_entered").isNotNull() == compared)
            & (F.col("users_left").isNotNull() == compared),
        ),
        always(
            "status_fits",
            "dissolved segments with users, new ones with users before, or old ones with nothing to be older than",
            F.when(gone, (users == 0) & compared)
            .when(status == "new", F.coalesce(before == 0, ~compared))
            .otherwise(compared),
        ),
        always(
            "means_have_users",
            "segments with a mean and no users, or the other way round",
            F.col("spend_90d_mean").isNotNull() == (users > 0),
        ),
        always(
            "each_feature_has_its_figures",
            "segments with another number of means or differences than of features",
            (lengths[1] == lengths[0]) & (lengths[2] == lengths[0]) & (lengths[3] == lengths[0]),
        ),
        always(
            "id_of_the_method",
            "segments whose id does not begin with the method's letter, or is above the highest number given",
            F.expr("try_cast(substring(segment_id, 2) AS bigint)").between(1, F.col("highest_number"))
            & (F.substring("segment_id", 1, 1) == letter),
        ),
        always(
            "drawn_by_tonight",
            "segments whose borders were drawn after tonight",
            F.col("fitted_date") <= F.lit(business_date),
        ),
        Figure(
            "names_differ",
            "segments of a method with the name of another one",
            F.count_if(~gone) - F.count_distinct(F.when(~gone, F.concat_ws(" ", "method", "name"))),
            0,
            0,
        ),
        # The methods that have users have them all: shares add up to 1 for each.
        Figure(
            "shares_add_up",
            "shares of the methods' segments, less the number of methods that have users",
            F.coalesce(F.sum("share"), F.lit(0.0)) - F.count_distinct(F.when(users > 0, F.col("method"))),
            -ROUNDING,
            ROUNDING,
        ),
        may_be_empty=True,
    )


def by_segment(segments: DataFrame, members: DataFrame) -> DataFrame:
    """One row per segment and method that is told or has users: `users` as told, `counted` in user_segments, and
    whether the `name` told is the one that its users have."""
    counted = None
    for method, column in IDS.items():
        each = members.where(F.col(column).isNotNull()).groupBy(
            F.lit(method).alias("method"), F.col(column).alias("segment_id")
        )
        name = column.replace("_id", "_name")
        found = each.agg(F.count(F.lit(1)).alias("counted"), F.min(name).alias("low"), F.max(name).alias("high"))
        counted = found if counted is None else counted.unionByName(found)
    if counted is None:
        raise ValueError("no method of segmentation is declared")
    told = segments.select("method", "segment_id", "users", "name")
    return told.join(counted, ["method", "segment_id"], "full")


def suite_by_segment() -> Suite:
    """The checks beside the users' segments."""
    users, counted = F.col("users"), F.col("counted")
    return Suite(
        SEGMENTS.name,
        (
            row_count(0, what="segments told or counted"),
            always(
                "users_are_counted",
                "segments with another number of users than have them in user_segments",
                users == F.coalesce(counted, F.lit(0)),
            ),
            always(
                "name_is_its_users",
                "segments whose users have them by another name",
                (F.col("low") == F.col("name")) & (F.col("high") == F.col("name")),
                where=counted.isNotNull(),
            ),
        ),
        part="by_segment",
    )
