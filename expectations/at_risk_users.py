"""What must hold of the churn scores, beyond their contract."""

from __future__ import annotations

from datetime import date

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from rekindle.quality import Figure, Suite, always, row_count, suite_for
from rekindle.settings import DO_NOTHING, RiskBands, WinBack
from schemas.at_risk_users import AT_RISK_USERS

MOST_REASONS = 3


def band(bands: RiskBands) -> Column:
    """The band that a probability belongs to, by the cut points in conf."""
    p = F.col("churn_probability")
    cuts = (("critical", bands.critical), ("high", bands.high), ("medium", bands.medium))
    return F.coalesce(*[F.when(p >= cut, F.lit(name)) for name, cut in cuts], F.lit("low"))


def suite(bands: RiskBands, win_back: WinBack, horizon_days: int, business_date: date) -> Suite:
    """The checks on rows."""
    words = F.col("reasons")
    value, low, high = (F.col(f"value_at_stake{end}") for end in ("", "_low", "_high"))
    actions = (*(one.action for one in win_back.actions), DO_NOTHING)
    return suite_for(
        AT_RISK_USERS,
        # A campaign selects by band, a report by probability: they must mean the same users.
        always(
            "band_fits", "users whose risk_band is not that of their probability", F.col("risk_band") == band(bands)
        ),
        always(
            "flag_fits",
            f"users whose is_at_risk does not say whether the probability reaches {bands.at_risk_from}",
            F.col("is_at_risk") == (F.col("churn_probability") >= bands.at_risk_from),
        ),
        always(
            "reasons_counted",
            f"users with no reason or more than {MOST_REASONS}",
            F.size(words).between(1, MOST_REASONS),
        ),
        always(
            "reasons_in_words",
            "users with a reason that is blank",
            ~F.exists(words, lambda reason: F.trim(reason) == ""),
        ),
        always(
            "reasons_associate",
            "users with a reason that does not say what it goes together with",
            ~F.exists(words, lambda reason: ~reason.rlike("is associated with|nothing stands out")),
        ),
        always(
            "advice_for_those_at_risk",
            "users with what lowers a risk that they do not run, or at risk without a word on it",
            F.col("lowers_risk").isNotNull() == F.col("is_at_risk"),
        ),
        always(
            "value_inside_its_interval",
            "users whose low value at stake is above the high one, or who have only one of them",
            F.when(value.isNull(), low.isNull() & high.isNull()).otherwise(F.coalesce(low <= high, F.lit(False))),
        ),
        always(
            "action_of_the_catalogue",
            f"users with another action than {', '.join(actions)}",
            F.col("suggested_action").isin(*actions),
        ),
        # Whom the shop has just written to is left in peace, whatever the band.
        always(
            "nobody_bothered_twice",
            f"users with an action within {win_back.quiet_days} days of the last contact",
            F.col("suggested_action") == DO_NOTHING,
            where=F.col("days_since_contact") < win_back.quiet_days,
        ),
        always(
            "suppressed_left_alone",
            "users with an action whom nobody may contact",
            F.col("suggested_action") == DO_NOTHING,
            where=F.col("suppressed_by").isNotNull(),
        ),
        always(
            "horizon_is_confs",
            f"users scored for another horizon than {horizon_days} days",
            F.col("horizon_days") == horizon_days,
        ),
        always(
            "of_this_night",
            f"rows of another business date than {business_date}",
            F.col("business_date") == F.lit(business_date),
        ),
        Figure("one_model", "models that scored", F.count_distinct("model_version"), 1, 1),
        # One probability for all is a model that saw no features; a lone user has no choice.
        Figure(
            "not_all_alike",
            "different probabilities (or the only user)",
            F.when(F.count(F.lit(1)) == 1, 2).otherwise(F.count_distinct("churn_probability")),
            2,
            severity="warning",
        ),
    )


def by_user(at_risk: DataFrame, eligible: DataFrame) -> DataFrame:
    """One row per user who is scored, eligible or both, with `is_scored` and `is_eligible`, null where not."""
    scored = at_risk.select("user_key", F.lit(True).alias("is_scored"))
    return eligible.select("user_key", F.lit(True).alias("is_eligible")).join(scored, "user_key", "full")


def suite_by_user() -> Suite:
    """The checks on who is scored."""
    return Suite(
        AT_RISK_USERS.name,
        (
            row_count(1, what="users eligible or scored"),
            always("is_scored", "eligible users without a score", F.col("is_scored"), where=F.col("is_eligible")),
            always("is_eligible", "scored users who are not eligible", F.col("is_eligible"), where=F.col("is_scored")),
        ),
        part="by_user",
    )
