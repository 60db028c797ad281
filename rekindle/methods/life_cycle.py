"""Where a user stands between the first visit and the last: one stage for everybody, by days of silence.

A silence is long by the user's own rhythm (the median days from one active day to the next) within bounds in days.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pyspark.sql import Column

STAGES = ("new", "active", "slipping", "lapsed", "returned")


@dataclass(frozen=True)
class Silence:
    """From which silence on: `intervals` times the user's own interval, but from `least_days` to `most_days`; the
    latter for who has no interval."""

    intervals: float
    least_days: int
    most_days: int

    def limit(self, interval_days: Column) -> Column:
        """The limit of each user, in days; `interval_days` null: none."""
        from pyspark.sql import functions as F

        own = F.coalesce(F.lit(float(self.intervals)) * interval_days, F.lit(float(self.most_days)))
        return F.least(F.greatest(own, F.lit(float(self.least_days))), F.lit(float(self.most_days)))


@dataclass(frozen=True)
class Rule:
    """When a user is in which stage.

    Attributes:
        new_days: so long after the first active day a user is new, that day counted.
        returned_days: so long after the day that ended a silence of `lapsed` a user is returned, that day counted.
        slipping, lapsed: the limits of silence; a user's limit of `lapsed` is the longer one.
    """

    new_days: int
    returned_days: int
    slipping: Silence
    lapsed: Silence

    def stage(self, silent_days: Column, known_days: Column, interval_days: Column, back_days: Column) -> Column:
        """The stage, of STAGES: the first that fits of lapsed, slipping, returned, new, and else active.

        Arguments in days before the business date: of the last active day, of the first, and of the latest one that
        ended a silence of `lapsed` (null: none did); `interval_days` is null with one active day.
        """
        from pyspark.sql import functions as F

        return (
            F.when(silent_days >= self.lapsed.limit(interval_days), "lapsed")
            .when(silent_days >= self.slipping.limit(interval_days), "slipping")
            .when(F.coalesce(back_days < self.returned_days, F.lit(False)), "returned")
            .when(known_days < self.new_days, "new")
            .otherwise("active")
        )
