"""What must hold of users' segments, beyond their contract."""

from __future__ import annotations

from datetime import date

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from rekindle.quality import Suite, always, row_count, suite_for
from schemas.user_segments import USER_SEGMENTS

OF_SEGMENT = ("segment_id", "segment_name", "nearness", "next_segment_id", "group_id", "group_name")


def suite(business_date: date) -> Suite:
    """The checks on rows."""
    inside = F.col("unsegmented_as").isNull()
    return suite_for(
        USER_SEGMENTS,
        always("of_this_night", f"rows of another date than {business_date}", F.col("business_date") == business_date),
        # Nobody is left out without a reason, and nobody who has one is in a segment.
        *[
            always(
                f"{name}_or_reason",
                f"users with neither {name} nor a reason to be in no segment, or with both",
                F.col(name).isNotNull() == inside,
            )
            for name in OF_SEGMENT
        ],
        always(
            "topic_is_whole",
            "users with a part of topic_id, topic_name and topic_share, or with a topic and in no segment",
            (F.col("topic_id").isNull() == F.col("topic_name").isNull())
            & (F.col("topic_id").isNull() == F.col("topic_share").isNull())
            & (F.col("topic_id").isNull() | inside),
        ),
        always(
            "next_is_another",
            "users whose next segment is their own",
            F.col("segment_id") != F.col("next_segment_id"),
            where=inside,
        ),
    )


def by_user(members: DataFrame, profiles: DataFrame) -> DataFrame:
    """One row per user with a row here, a profile or both, with `has_row` and `has_profile`, null where not."""
    here = members.select("user_key", F.lit(True).alias("has_row"))
    return profiles.select("user_key", F.lit(True).alias("has_profile")).join(here, "user_key", "full")


def suite_by_user() -> Suite:
    """The checks on who has a row."""
    return Suite(
        USER_SEGMENTS.name,
        (
            row_count(1, what="users with a profile or a row"),
            always("has_row", "users with a profile but without a row", F.col("has_row"), where=F.col("has_profile")),
            always(
                "has_profile", "users with a row but without a profile", F.col("has_profile"), where=F.col("has_row")
            ),
        ),
        part="by_user",
    )
