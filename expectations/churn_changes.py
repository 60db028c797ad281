"""What must hold of the changes of risk bands, beyond their contract. A source's first night has none."""

from __future__ import annotations

from datetime import date

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from rekindle.quality import Figure, Suite, always, row_count, suite_for
from schemas.churn_changes import CHURN_CHANGES


def suite(business_date: date) -> Suite:
    """The checks on rows."""
    change, before, after = F.col("change"), F.col("band_before"), F.col("band_after")
    return suite_for(
        CHURN_CHANGES,
        always(
            "bands_fit_the_change",
            "users whose bands are not those of who entered, left or moved",
            F.when(change == "entered", before.isNull() & after.isNotNull())
            .when(change == "left", before.isNotNull() & after.isNull())
            .otherwise(before.isNotNull() & after.isNotNull() & (before != after)),
        ),
        always(
            "probabilities_fit_the_bands",
            "users with a band and no probability, or the other way round",
            (before.isNull() == F.col("probability_before").isNull())
            & (after.isNull() == F.col("probability_after").isNull()),
        ),
        always("of_this_night", f"rows of another date than {business_date}", F.col("business_date") == business_date),
        Figure("one_publication", "publications compared with", F.count_distinct("compared_date"), 0, 1),
        may_be_empty=True,
    )


def by_user(changes: DataFrame, at_risk: DataFrame) -> DataFrame:
    """One row per user who changed or is scored tonight: `band_after`, `change`, and tonight's `risk_band`."""
    changed = changes.select("user_key", "change", "band_after")
    return changed.join(at_risk.select("user_key", "risk_band"), "user_key", "full")


def suite_by_user() -> Suite:
    """The checks beside tonight's scores."""
    return Suite(
        CHURN_CHANGES.name,
        (
            row_count(1, what="users who changed or are scored"),
            always(
                "band_is_tonights",
                "changes whose band after is not that of at_risk_users",
                F.col("band_after").eqNullSafe(F.col("risk_band")),
                where=F.col("change").isNotNull(),
            ),
        ),
        part="by_user",
    )
