"""What must hold of the landing days' figures: their contract, and that tonight's fit those before (`drift`)."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date

from pyspark.sql import functions as F

from expectations.drift.checks import findings, severities
from expectations.drift.days import Days
from rekindle.quality import Figure, Suite, suite_for
from rekindle.settings import Source
from schemas.day_profiles import DAY_PROFILES


def suite(source: Source, days: Days, judged: Sequence[date]) -> Suite:
    """The checks; `judged` are the landing days that no accepted night has judged yet.

    Raises:
        SettingsError: the source's `severities` name a check that there is not.
    """
    chosen = severities(source.name, source.severities)
    return suite_for(
        DAY_PROFILES,
        *[
            Figure(
                check.check_id,
                f"{check.what} ({check.reason})",
                F.max(F.lit(reading.value)),
                check.minimum,
                check.maximum,
                severity=chosen[check.check_id],
                note=f"{day}: {reading.note}" if reading.note else str(day),
            )
            for check, day, reading in findings(days, judged)
        ],
    )
