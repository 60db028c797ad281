"""What must hold of cohorts, beyond their contract."""

from __future__ import annotations

from datetime import date
from functools import reduce

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from rekindle.methods.retention_periods import ALL, GROUP_KINDS, OF_GROUPS, by_unit, shifted, starts
from rekindle.quality import Check, Suite, always, row_count, suite_for
from schemas.cohort_retention import COHORT_RETENTION
from schemas.period_metrics import PERIOD_METRICS

# What is counted of a cohort.
USERS = ("cohort_users", "active_users", "active_or_later_users")


def of_this_night(business_date: date) -> Check:
    """Rows are of the night that wrote them."""
    return always(
        "of_this_night",
        f"rows of another business date than {business_date}",
        F.col("business_date") == F.lit(business_date),
    )


def is_share(part: str, share: str) -> Column:
    """Whether the share is that of the cohort's users."""
    return F.abs(F.col(share) - F.col(part) / F.col("cohort_users")) < 1e-9


def of_groups() -> tuple[Check, ...]:
    """Everybody is one group, and other groups are told by month."""
    is_all = F.col("group_kind") == ALL
    return (
        always("all_is_one", f"groups of everybody that are not named {ALL}", F.col("group_name") == ALL, where=is_all),
        always(
            "groups_by_month",
            f"groups with another period than a {OF_GROUPS}",
            is_all | (F.col("period_unit") == OF_GROUPS),
        ),
    )


def suite(business_date: date) -> Suite:
    """The checks."""
    n, p, later = F.col("active_users"), F.col("period_over_period"), F.col("active_or_later_users")
    at_zero = F.col("period_number") == 0
    starts_here = by_unit(lambda unit: starts(unit, F.col("cohort_start"))) == F.col("cohort_start")
    ended = by_unit(lambda unit: shifted(unit, F.col("cohort_start"), 1)) <= F.lit(business_date) + 1
    return suite_for(
        COHORT_RETENTION,
        of_this_night(business_date),
        *of_groups(),
        always("starts_a_period", "cohorts that begin on another day than their unit does", starts_here),
        always("has_ended", "cohorts whose period had not ended by the business date", ended),
        always(
            "whole_at_first",
            "cohorts not all of whose users acted in period 0",
            n == F.col("cohort_users"),
            where=at_zero,
        ),
        always("parts_within_whole", "cohorts with more users in a period than there are", n <= F.col("cohort_users")),
        always(
            "later_counts_more",
            "periods with more users than in them or later",
            (n <= later) & (later <= F.col("cohort_users")),
        ),
        always(
            "shares_fit",
            "periods whose retention is not that of their users",
            is_share("active_users", "retention") & is_share("active_or_later_users", "unbounded_retention"),
        ),
        # docs/definitions.md: L(t) = N(t) / N(0) = p(1) x ... x p(t).
        always(
            "product_agrees",
            "periods whose retention is not the product of those period over period",
            F.abs(F.col("product_retention") - F.col("retention")) < 1e-9,
            where=F.col("product_retention").isNotNull(),
        ),
        always(
            "attrition_fits",
            "periods whose attrition is not 1 - p",
            F.abs(F.col("attrition") + p - 1) < 1e-9,
            where=p.isNotNull(),
        ),
        may_be_empty=True,  # no new users for as long as cohorts are followed; by_period says whether one is missing
    )


def by_period(cohorts: DataFrame, periods: DataFrame) -> DataFrame:
    """One row per cohort of first actions, with the new users of its period as period_metrics tells them."""
    sizes = cohorts.where("basis = 'activity' AND period_number = 0 AND group_kind = 'all'").select(
        "period_unit", F.col("cohort_start").alias("period_start"), "cohort_users"
    )
    begun = periods.where("group_kind = 'all' AND new_users > 0").select("period_unit", "period_start", "new_users")
    # Each table tells as far back as its conf says: where both reach, they agree.
    oldest = (
        sizes.groupBy("period_unit")
        .agg(F.min("period_start").alias("cohort_start"))
        .join(periods.groupBy("period_unit").agg(F.min("period_start").alias("period_start")), "period_unit")
        .groupBy("period_unit")
        .agg(F.greatest(F.min("cohort_start"), F.min("period_start")).alias("oldest"))
    )
    return (
        sizes.join(begun, ["period_unit", "period_start"], "full")
        .join(F.broadcast(oldest), "period_unit")
        .where(F.col("period_start") >= F.col("oldest"))
    )


def suite_by_period() -> Suite:
    """The checks on `by_period`."""
    return Suite(
        COHORT_RETENTION.name,
        (
            row_count(minimum=0, what="cohorts"),  # none where nobody began for as long as cohorts are followed
            always(
                "users_began",
                f"cohorts with other users than {PERIOD_METRICS.name} says began in their period",
                F.col("cohort_users") == F.col("new_users"),
            ),
        ),
        "by_period",
    )


def by_kind(cohorts: DataFrame) -> DataFrame:
    """One row per cohort, period and kind of group: the users of the told groups beside those of everybody."""
    cell = ("basis", "period_unit", "cohort_start", "period_number")
    totals = cohorts.groupBy(*cell).agg(
        *[
            F.sum(F.when(F.col("group_kind") == kind, F.col(name))).alias(f"{kind}_{name}")
            for kind in GROUP_KINDS
            for name in USERS
        ]
    )
    kinds = [
        F.struct(F.lit(kind).alias("group_kind"), *[F.col(f"{kind}_{name}").alias(name) for name in USERS])
        for kind in GROUP_KINDS
        if kind != ALL
    ]
    told = totals.select(*[F.col(f"{ALL}_{name}") for name in USERS], F.explode(F.array(*kinds)).alias("of"))
    return told.select("*", "of.*").where("cohort_users IS NOT NULL")


def suite_by_kind() -> Suite:
    """The checks on `by_kind`."""
    within = [F.coalesce(F.col(name) <= F.col(f"{ALL}_{name}"), F.lit(False)) for name in USERS]
    return Suite(
        COHORT_RETENTION.name,
        (
            row_count(minimum=0, what="cohorts by kind of group"),  # a shop may log neither channel nor category
            # A user came by one channel and one category, and is in one segment.
            always(
                "groups_within_all",
                "cohorts whose groups of a kind have more users than everybody",
                reduce(Column.__and__, within),
            ),
        ),
        "by_kind",
    )
