"""What must hold of the changes of lists, beyond their contract. A source's first night has none."""

from __future__ import annotations

from datetime import date

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from rekindle.quality import Figure, Suite, always, row_count, suite_for
from schemas.list_changes import LIST_CHANGES


def suite(business_date: date) -> Suite:
    """The checks on rows."""
    change, before, after = F.col("change"), F.col("item_before"), F.col("item_after")
    return suite_for(
        LIST_CHANGES,
        always(
            "items_fit_the_change",
            "users whose items are not those of who entered, left or moved",
            F.when(change == "entered", before.isNull() & after.isNotNull())
            .when(change == "left", before.isNotNull() & after.isNull())
            .otherwise(before.isNotNull() & after.isNotNull() & (before != after)),
        ),
        always("of_this_night", f"rows of another date than {business_date}", F.col("business_date") == business_date),
        Figure("one_publication", "publications compared with", F.count_distinct("compared_date"), 0, 1),
        may_be_empty=True,
    )


def by_user(changes: DataFrame, recommendations: DataFrame) -> DataFrame:
    """One row per user who changed or has a list tonight: `change`, `item_after`, and the `first_item` of the list."""
    first = recommendations.where(F.col("rank") == 1).select("user_key", F.col("item_id").alias("first_item"))
    return changes.select("user_key", "change", "item_after").join(first, "user_key", "full")


def suite_by_user() -> Suite:
    """The checks beside tonight's lists."""
    return Suite(
        LIST_CHANGES.name,
        (
            row_count(1, what="users who changed or have a list"),
            always(
                "item_is_tonights",
                "changes whose item after is not the first of recommendations",
                F.col("item_after").eqNullSafe(F.col("first_item")),
                where=F.col("change").isNotNull(),
            ),
        ),
        part="by_user",
    )
