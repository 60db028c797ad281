"""What must hold of the metrics of days, weeks and months, beyond their contract."""

from __future__ import annotations

from datetime import date
from functools import reduce
from itertools import pairwise

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from rekindle.methods.retention_periods import by_unit, shifted, starts
from rekindle.quality import Suite, always, row_count, suite_for
from schemas.period_metrics import PERIOD_METRICS
from schemas.retention_metrics import RETENTION_METRICS

COUNTED_TWICE = ("active_users", "new_users", "buyers", "orders")


def rising(*columns: Column) -> Column:
    """Whether no column is above the next; one that is null is passed over."""
    # A null compares as null, which a check takes for broken; what is no figure breaks nothing.
    return reduce(Column.__and__, [F.coalesce(low <= high, F.lit(True)) for low, high in pairwise(columns)])


def suite(business_date: date) -> Suite:
    """The checks."""
    names = ("active_users", "new_users", "retained_users", "resurrected_users", "lost_users")
    active, new, retained, resurrected, lost = (F.col(name) for name in names)
    next_start = by_unit(lambda unit: shifted(unit, F.col("period_start"), 1))
    net = F.col("gross_revenue") - F.col("returned_revenue")
    return suite_for(
        PERIOD_METRICS,
        always(
            "starts_a_period",
            "periods that begin on another day than their unit does",
            by_unit(lambda unit: starts(unit, F.col("period_start"))) == F.col("period_start"),
        ),
        always("has_ended", "periods that had not ended by the business date", next_start <= F.lit(business_date) + 1),
        always(
            "of_this_night",
            f"rows of another business date than {business_date}",
            F.col("business_date") == F.lit(business_date),
        ),
        # Who acts is new, stayed or came back, and nobody is two of these.
        always(
            "lines_add_up", "periods whose parts are not their active users", active == new + retained + resurrected
        ),
        always(
            "churn_fits",
            "periods whose churn rate is not that of their lost users",
            F.abs(F.col("churn_rate") - lost / F.nullif(lost + retained, F.lit(0))) < 1e-9,
            where=F.col("churn_rate").isNotNull(),
        ),
        always(
            "rates_are_two_sides",
            "periods whose churn and retention do not make 1",
            F.abs(F.col("churn_rate") + F.col("retention_rate") - 1) < 1e-9,
            where=F.col("churn_rate").isNotNull() | F.col("retention_rate").isNotNull(),
        ),
        always(
            "parts_within_whole",
            "periods with more viewers or buyers than active users",
            F.greatest("viewers", "buyers") <= active,
        ),
        always(
            "funnel_narrows",
            "periods whose funnel has more users at a later step",
            rising(F.col("funnel_buyers"), F.col("funnel_carters"), F.col("viewers"))
            & rising(F.col("funnel_buyers"), F.col("view_buyers"), F.col("viewers")),
        ),
        always("orders_fit_buyers", "periods with fewer orders than buyers", F.col("orders") >= F.col("buyers")),
        always(
            "windows_nest",
            "days with fewer users in 7 or 30 days than on the day",
            rising(active, F.col("users_7d"), F.col("users_30d")),
        ),
        always(
            "repeaters_bought",
            "periods with more repeat buyers than buyers so far",
            F.col("repeat_buyers_so_far") <= F.col("buyers_so_far"),
        ),
        always(
            "revenue_adds_up",
            "periods whose net revenue is not gross less returned",
            F.abs(F.col("net_revenue") - net) <= 1e-9 * F.greatest(F.lit(1.0), F.abs("gross_revenue")),
        ),
        always(
            "cap_lowers",
            "periods whose gross revenue retention is above the net one",
            rising(F.col("gross_revenue_retention"), F.col("net_revenue_retention") + 1e-9),
        ),
        may_be_empty=True,  # before the shop's first event; by_week says whether a week is missing
    )


def by_week(periods: DataFrame, weeks: DataFrame) -> DataFrame:
    """One row a week of all users, as far as both tables tell: retention_metrics counts all events anew."""
    own = periods.where("period_unit = 'week' AND group_kind = 'all'")
    oldest = own.agg(F.min("period_start").alias("oldest"))
    counted = own.select("period_start", *[F.col(name).alias(f"own_{name}") for name in COUNTED_TWICE])
    told = weeks.select(F.col("week_start").alias("period_start"), *COUNTED_TWICE)
    return (
        told.join(counted, "period_start", "full")
        .crossJoin(F.broadcast(oldest))
        .where(F.col("oldest").isNull() | (F.col("period_start") >= F.col("oldest")))
    )


def suite_by_week() -> Suite:
    """The checks on `by_week`."""
    same = [F.col(name) == F.col(f"own_{name}") for name in COUNTED_TWICE]
    whole = same[0] & same[1] & same[2] & same[3]
    return Suite(
        PERIOD_METRICS.name,
        (
            row_count(minimum=0, what="weeks"),  # a shop's first days have none
            always(
                "as_counted_anew",
                f"weeks in which {RETENTION_METRICS.name}, counted from all events, says other users, buyers or orders",
                whole,
            ),
        ),
        "by_week",
    )
