"""What must hold of whom nobody may contact, beyond the contract."""

from __future__ import annotations

from datetime import date

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from rekindle.quality import Suite, always, row_count, suite_for
from schemas.suppressed_users import SUPPRESSED_USERS


def suite(business_date: date, as_of: date) -> Suite:
    """The checks on rows. Nobody suppressed is a legal night."""
    until = F.col("until")
    return suite_for(
        SUPPRESSED_USERS,
        always(
            "of_this_night",
            f"rows of another business date than {business_date}",
            F.col("business_date") == F.lit(business_date),
        ),
        always(
            "ends_but_for_consent",
            "users suppressed by consent with an end, or otherwise without one",
            until.isNull() == (F.col("reason") == "consent"),
        ),
        always(
            "still_holds",
            f"users whose reason held no longer on {as_of}",
            until >= F.lit(as_of),
            where=until.isNotNull(),
        ),
        may_be_empty=True,
    )


def by_user(suppressed: DataFrame, at_risk: DataFrame) -> DataFrame:
    """One row per scored user, with `suppressed_by` and the reason why nobody may contact them, null where none."""
    reasons = suppressed.select("user_key", "reason")
    return at_risk.select("user_key", "suppressed_by").join(reasons, "user_key", "left")


def suite_by_user() -> Suite:
    """The checks on who is told to be left alone."""
    return Suite(
        SUPPRESSED_USERS.name,
        (
            row_count(1, what="scored users"),
            always(
                "scores_say_so",
                "scored users who are suppressed by another reason than their score tells",
                F.col("suppressed_by").eqNullSafe(F.col("reason")),
            ),
        ),
        part="by_user",
    )
