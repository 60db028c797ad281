"""Who counts as having left: inferred from silence, since a shop has no cancellation event.

Churned at t means no purchase in the outcome window of `horizon_days` local days that begins `gap_days` after t, where
t is the first local day that is not looked at. Eligible at t are buyers whose last action is recent enough for their
silence to be news. Days are the shop's local calendar days, so a day lies on one side of a cut-off only.
"""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from datetime import date, timedelta

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from rekindle.methods.activity import activity
from rekindle.methods.user_features import amount

# A local day may be 23 or 25 hours long; a feature may differ from whole calendar days by a day and such an hour.
SLACK_DAYS = 1 + 1.5 / 24


def eligible(features: DataFrame, eligibility_days: int) -> DataFrame:
    """The rows of buyers whose last action lies at most `eligibility_days` before `as_of`.

    Training and scoring both choose by this, so that a model is asked about the kind of users it has learnt from.
    """
    return features.where((F.col("frequency") > 0) & (F.col("days_since_activity") <= eligibility_days))


def labels(
    events: DataFrame, as_ofs: Sequence[date], horizon_days: int, gap_days: int, known_before: date
) -> DataFrame:
    """One row per `as_of` and user who bought before it:

    - `is_churned` (double): 1 if nothing was bought in [as_of + gap, as_of + gap + horizon), else 0;
    - `bought_again` (double): 1 if something was bought in the `horizon_days` after that window, else 0; null where
      those days reach beyond `known_before`. Among the churned its mean is the regret rate;
    - `days_to_purchase` (double): days from `as_of` to the end of the first day of that window with a purchase, from
      gap + 1 to gap + horizon; null for the churned, of whom it is only known that it is more;
    - `spend` (double): money spent in that window, net of returns, summed as exact decimals; shop currency;
    - `last_action_date`, `last_purchase_date`: the newest local days before `as_of`, to check the features by.

    `events` needs `user_key`, `event_type`, `event_date`, `quantity` and `unit_price`; what happened after the later
    window changes nothing.

    Raises:
        ValueError: an outcome window ends after `known_before`, the first day nothing is known of.
    """
    early = [day for day in as_ofs if (known_before - day).days < gap_days + horizon_days]
    if early:
        raise ValueError(
            f"labels as of {', '.join(map(str, early))} need {gap_days + horizon_days} days after, "
            f"and nothing is known from {known_before} on"
        )
    day, bought = F.col("event_date"), F.col("event_type") == "purchase"
    ahead = F.date_diff(day, F.col("as_of"))
    past = ahead < 0

    def inside(first: int) -> Column:
        return (ahead >= first) & (ahead < first + horizon_days)

    def during(first: int) -> Column:
        return F.coalesce(F.max(F.when(bought & inside(first), F.lit(1.0))), F.lit(0.0))

    first_after = gap_days + horizon_days
    last_known = F.date_diff(F.lit(known_before), F.col("as_of"))
    return (
        activity(events)  # as for features, what passes between shop and user keeps nobody active
        .where(day < F.lit(known_before))
        # A user's day counts once: a year of visits becomes a few hundred rows a user before the cut-offs multiply.
        .groupBy("user_key", "event_type", "event_date")
        .agg(F.sum(amount()).alias("net"))
        .withColumn("as_of", F.explode(F.array(*[F.lit(day) for day in as_ofs])))
        .groupBy("as_of", "user_key")
        .agg(
            (F.lit(1.0) - during(gap_days)).alias("is_churned"),
            during(first_after).alias("later"),
            F.min(F.when(bought & inside(gap_days), ahead + 1)).cast("double").alias("days_to_purchase"),
            F.coalesce(F.sum(F.when(inside(gap_days), F.col("net"))), F.lit(0)).cast("double").alias("spend"),
            F.max(F.when(past, day)).alias("last_action_date"),
            F.max(F.when(past & bought, day)).alias("last_purchase_date"),
        )
        .where("last_purchase_date IS NOT NULL")
        .withColumn("bought_again", F.when(last_known >= first_after + horizon_days, F.col("later")))
        .drop("later")
    )


def weekly(newest: date, earliest: date) -> tuple[date, ...]:
    """The newest cut-off and up to six before it, a week apart, none before `earliest` but the newest."""
    back = (newest - timedelta(days=7 * k) for k in range(7))
    return tuple(day for day in back if day == newest or day >= earliest)


def base_rates(
    events: DataFrame,
    as_ofs: Sequence[date],
    horizon_days: int,
    gap_days: int,
    eligibility_days: int,
    known_before: date,
) -> dict[date, tuple[int, float]]:
    """By cut-off with anybody eligible: (users eligible, share of them that left); a row a cut-off reaches the driver.

    Eligible by whole calendar days, which may differ from `eligible` by users on the last day.

    Raises:
        ValueError: as `labels`.
    """
    known = labels(events, as_ofs, horizon_days, gap_days, known_before)
    recent = known.where(F.date_diff("as_of", "last_action_date") <= eligibility_days)
    counted = recent.groupBy("as_of").agg(F.count(F.lit(1)).alias("rows"), F.avg("is_churned").alias("share"))
    return {row["as_of"]: (row["rows"], row["share"]) for row in counted.collect()}


def tracked(rates: Mapping[date, tuple[int, float]], fewest: int) -> float | None:
    """The base rate to reckon with: the median over the cut-offs with at least `fewest` users; None without any.

    One cut-off's share is noisy (a holiday in its window). On Online Retail, eight days of judging, the mean error of
    probabilities moved to the newest share was 0.024, to the median of seven weekly ones 0.013.
    """
    told = [share for rows, share in rates.values() if rows >= fewest]
    return statistics.median(told) if told else None


def sees_the_future() -> Column:
    """Whether a row of features joined with `labels` says more than its user's events before `as_of` can.

    An age that is negative, or shorter than the days since the newest such event, was computed from a later one.
    """

    def ahead_of(age: str, last: str) -> Column:
        days = F.date_diff(F.col("as_of"), F.col(last))
        return F.coalesce((F.col(age) < 0) | (F.col(age) < days - F.lit(SLACK_DAYS)), F.lit(False))

    return (
        ahead_of("days_since_activity", "last_action_date")
        | ahead_of("recency_days", "last_purchase_date")
        | (F.col("tenure_days") < 0)
    )
