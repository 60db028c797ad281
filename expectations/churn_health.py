"""What must hold of the churn model's health, beyond its contract: an alarm warns, and stops nothing."""

from __future__ import annotations

from datetime import date, timedelta

from pyspark.sql import functions as F

from rekindle.quality import Figure, Suite, always, suite_for
from schemas.churn_health import CHURN_HEALTH


def suite(business_date: date, window_days: int) -> Suite:
    """The checks; `window_days` is gap and horizon. A night that knows too few outcomes watches nothing."""
    known = business_date + timedelta(days=1 - window_days)
    size, limit = F.abs(F.col("value")), F.col("alarm_above")
    return suite_for(
        CHURN_HEALTH,
        always(
            "alarm_fits",
            "figures whose alarm is not what value and limit say",
            F.col("is_alarm") == F.coalesce(size > limit, F.lit(False)),
        ),
        always(
            "outcomes_are_known",
            f"figures of another cut-off than {known}, the newest with known outcomes",
            F.col("known_as_of") == F.lit(known),
        ),
        always("of_this_night", f"rows of another date than {business_date}", F.col("business_date") == business_date),
        # Whoever reads the probabilities has to know: the night is published, and its report tells which.
        Figure(
            "believable",
            "alarms of calibration or drift",
            F.coalesce(F.count_if("is_alarm"), F.lit(0)),
            0,
            0,
            severity="warning",
        ),
        may_be_empty=True,
    )
