"""Say of every eligible user how likely they are to leave, and why.

Reads   user_features, the run's champion
Writes  at_risk_users
"""

from __future__ import annotations

from datetime import date

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from rekindle import night, registry
from rekindle.cli import Context, DataRefused, main
from rekindle.methods.churn_labels import eligible
from rekindle.methods.churn_models import ChurnModel, ChurnModelError, from_files
from rekindle.methods.churn_scoring import SCORED, Bands, scorer
from rekindle.settings import RiskBands
from schemas.at_risk_users import AT_RISK_USERS, RISK_BANDS
from schemas.user_features import MODEL_INPUTS, USER_FEATURES

# Carried past the scorer unchanged, so that no join has to find them again; their DDL.
KEPT = {
    "user_key": "user_key string",
    "recency_days": "recency_days double",
    "frequency": "frequency double",
    "monetary": "monetary double",
}


def bands_of(conf: RiskBands) -> Bands:
    """The contract's bands with conf's cut points."""
    return Bands(RISK_BANDS, (conf.medium, conf.high, conf.critical), conf.at_risk_from)


def at_risk_users(
    tonight: DataFrame,
    model: ChurnModel,
    model_version: str,
    bands: Bands,
    currency: str,
    eligibility_days: int,
    business_date: date,
) -> DataFrame:
    """One row for each eligible user of tonight's features, by the contract of at_risk_users."""
    chosen = eligible(tonight, eligibility_days).select("user_key", *MODEL_INPUTS)
    scored = chosen.mapInPandas(scorer(model, bands, currency, tuple(KEPT)), ", ".join([*KEPT.values(), SCORED]))
    return scored.withColumns(
        {
            "frequency": F.col("frequency").cast("bigint"),
            "horizon_days": F.lit(model.horizon_days),
            "model_version": F.lit(model_version),
            "business_date": F.lit(business_date),
        }
    )


def run(context: Context) -> None:
    """Score tonight's eligible users with the champion that judging recorded for this run.

    Raises:
        DataRefused: the run has no churn champion, or nobody is eligible.
    """
    source, settings = context.source, context.settings
    champion = context.ledger.run_champions(context.run_id).get("churn")
    if champion is None:
        raise DataRefused(
            f"{source.name} {context.business_date}: run {context.run_id} has no churn champion;"
            " judge_models records it: run that stage first, with training due"
        )
    try:
        model = from_files(registry.load(settings.environment.lake.artefacts, champion.digest))
    except (registry.RegistryError, ChurnModelError) as error:
        raise DataRefused(f"{source.name}: the churn champion cannot score: {error}") from error
    as_of = settings.as_of(context.business_date)
    tonight = night.read(context, USER_FEATURES).where(F.col("as_of") == F.lit(as_of))
    scored = at_risk_users(
        tonight,
        model,
        champion.digest,
        bands_of(settings.business.risk_bands),
        source.currency,
        source.churn.eligibility_days,
        context.business_date,
    )
    version = night.store(context, AT_RISK_USERS, scored)
    rows = version.fingerprint.rows
    if rows == 0:
        raise DataRefused(
            f"table {AT_RISK_USERS.name}: nobody bought and was active in the {source.churn.eligibility_days} days"
            f" before {as_of}; expected at least 1 eligible user, found 0"
        )
    context.detail.update(model_version=champion.digest, method=model.method, rows=rows)
    context.log.info("scored model=%s method=%s users=%d", champion.digest, model.method, rows)


if __name__ == "__main__":
    main(run, "score_churn")
