"""What must hold of movements between segments, beyond their contract. A source's first night has none."""

from __future__ import annotations

from datetime import date

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from rekindle.quality import Figure, Suite, always, row_count, suite_for
from schemas.segment_movements import SEGMENT_MOVEMENTS


def suite(business_date: date) -> Suite:
    """The checks on rows."""
    change, before, after = F.col("change"), F.col("segment_before"), F.col("segment_after")
    return suite_for(
        SEGMENT_MOVEMENTS,
        always(
            "segments_fit_the_change",
            "users whose segments are not those of who entered, left or moved",
            F.when(change == "entered", before.isNull() & after.isNotNull())
            .when(change == "left", before.isNotNull() & after.isNull())
            .otherwise(before.isNotNull() & after.isNotNull() & (before != after)),
        ),
        always(
            "names_fit_the_segments",
            "users with a segment and no name of it, or the other way round",
            (before.isNull() == F.col("name_before").isNull()) & (after.isNull() == F.col("name_after").isNull()),
        ),
        always(
            "borders_move_only_who_stayed",
            "users who entered or left by another cause than behaviour",
            (change == "moved") | (F.col("cause") == "behaviour"),
        ),
        always("of_this_night", f"rows of another date than {business_date}", F.col("business_date") == business_date),
        Figure("one_publication", "publications compared with", F.count_distinct("compared_date"), 0, 1),
        may_be_empty=True,
    )


def by_user(movements: DataFrame, members: DataFrame) -> DataFrame:
    """One row per user who changed or has segments tonight: `change`, `segment_after`, and tonight's `segment_id`."""
    told = movements.select("user_key", "change", "segment_after")
    return told.join(members.select("user_key", "segment_id"), "user_key", "full")


def suite_by_user() -> Suite:
    """The checks beside tonight's segments."""
    return Suite(
        SEGMENT_MOVEMENTS.name,
        (
            row_count(1, what="users who moved or have a row in user_segments"),
            always(
                "segment_is_tonights",
                "movements whose segment after is not that of user_segments",
                F.col("segment_after").eqNullSafe(F.col("segment_id")),
                where=F.col("change").isNotNull(),
            ),
        ),
        part="by_user",
    )
