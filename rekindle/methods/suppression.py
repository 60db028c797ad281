"""Whom nobody may contact: by their own word, because they complained, or because they were contacted a moment ago.

Events are a frame with user_key, event_type, event_ts and event_date; nothing else is assumed. Days are the shop's
local calendar days: what is to last n days from a day on lasts until that day + n, which is the first free one.
"""

from __future__ import annotations

from datetime import date
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame

# In the order in which they count: a user who may be suppressed by several is so by the first.
REASONS = ("consent", "complaint", "contacted")
ASKED = ("opt_out", "opt_in", "complaint", "contact")


def suppressed(events: DataFrame, as_of: date, *, complaint_days: int, quiet_days: int) -> DataFrame:
    """One row a user whom nobody may contact as of a night: user_key, reason, since (timestamp), until (date).

    consent: the latest word of the user is opt_out (of an opt_out and an opt_in at one instant the opt_out counts);
    complaint: the latest lies at most `complaint_days` days before `as_of`; contacted: so does the latest contact, by
    `quiet_days`. `since` is when that event was; `until` is the first local day on which the reason no longer holds,
    null for consent. Events on `as_of` or later are not looked at.
    """
    from pyspark.sql import functions as F

    def latest(*kinds: str) -> Column:
        told = F.struct("event_ts", (F.col("event_type") == "opt_out").alias("is_out"), "event_date")
        return F.max(F.when(F.col("event_type").isin(*kinds), told))

    def free(what: str, days: int) -> Column:
        return F.date_add(F.col(f"{what}.event_date"), days)

    last = (
        events.where(F.col("event_type").isin(*ASKED) & (F.col("event_date") < F.lit(as_of)))
        .groupBy("user_key")
        .agg(
            latest("opt_out", "opt_in").alias("consent"),
            latest("complaint").alias("complaint"),
            latest("contact").alias("contacted"),
        )
    )
    ends = {"complaint": free("complaint", complaint_days), "contacted": free("contacted", quiet_days)}
    holds = {"consent": F.col("consent.is_out")} | {what: end >= F.lit(as_of) for what, end in ends.items()}
    reason = F.coalesce(*[F.when(holds[what], F.lit(what)) for what in REASONS])
    of_reason = {what: F.col("reason") == what for what in REASONS}
    return (
        last.withColumn("reason", reason)
        .where("reason IS NOT NULL")
        .select(
            "user_key",
            "reason",
            F.coalesce(*[F.when(of_reason[what], F.col(f"{what}.event_ts")) for what in REASONS]).alias("since"),
            F.coalesce(*[F.when(of_reason[what], end) for what, end in ends.items()]).alias("until"),
        )
    )
