"""Say of every eligible user how likely they are to leave, why, what is at stake and what could be done.

Reads   events, user_features, excluded_users, suppressed_users, the run's champion,
        at_risk_users (of the publication before)
Writes  at_risk_users, churn_changes, churn_health
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import date, timedelta
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from rekindle import contract, night, registry
from rekindle.cli import Context, DataRefused, main
from rekindle.methods import calibration, churn_drift, purchase_summaries
from rekindle.methods.calibration import Calibrator
from rekindle.methods.churn_changes import changes
from rekindle.methods.churn_examples import chosen
from rekindle.methods.churn_judging import fewest_of_a_class
from rekindle.methods.churn_labels import base_rates, eligible, labels, tracked, weekly
from rekindle.methods.churn_models import ChurnModel, ChurnModelError, from_files
from rekindle.methods.churn_scoring import SCORED, Bands, Before, Words, scorer
from rekindle.methods.lifetime_value import Terms
from rekindle.methods.not_customers import customers
from rekindle.methods.purchase_summaries import Fits
from rekindle.methods.user_features import expected
from rekindle.settings import DO_NOTHING, RiskBands, WinBack
from schemas.at_risk_users import AT_RISK_USERS, RISK_BANDS
from schemas.churn_changes import CHURN_CHANGES
from schemas.churn_health import CHURN_HEALTH
from schemas.events import EVENTS
from schemas.excluded_users import EXCLUDED_USERS
from schemas.suppressed_users import SUPPRESSED_USERS
from schemas.user_features import AGEING, MODEL_INPUTS, USER_FEATURES

if TYPE_CHECKING:
    import pandas as pd

# Carried past the scorer unchanged, so that no join has to find them again; their DDL.
KEPT = {
    "user_key": "user_key string",
    "recency_days": "recency_days double",
    "frequency": "frequency double",
    "monetary": "monetary double",
    "days_since_contact": "days_since_contact double",
}
# What calibrates and what drift is measured on comes to the driver: so many users, by the hash of their key.
LARGEST_SAMPLE = 100_000
FEWEST_TO_CALIBRATE = 100  # of each class; with fewer the calibration of training, on more, stays
YEAR = 365.0


@dataclass(frozen=True)
class Outcomes:
    """Users of the newest cut-off with known outcomes, and those of tonight, with all inputs (NaN is null).

    `rates` are the base rates of that cut-off and of earlier weekly ones: users, and the share that left.
    """

    as_of: date
    label: NDArray[np.float64]
    then: pd.DataFrame
    tonight: pd.DataFrame
    rates: Mapping[date, tuple[int, float]]

    @property
    def base_rate(self) -> float | None:
        """The base rate of late; None where too few outcomes are known to calibrate on or to follow."""
        if not len(self.tonight) or fewest_of_a_class(self.label) < FEWEST_TO_CALIBRATE:
            return None
        return tracked(self.rates, 2 * FEWEST_TO_CALIBRATE)


def bands_of(conf: RiskBands) -> Bands:
    """The contract's bands with conf's cut points."""
    return Bands(RISK_BANDS, (conf.medium, conf.high, conf.critical), conf.at_risk_from)


def sampled(users: DataFrame, *columns: str) -> pd.DataFrame:
    """All inputs and these columns of the users, or of about LARGEST_SAMPLE chosen by hash, in the order of keys."""
    inputs = [F.col(name).cast("float").alias(name) for name in MODEL_INPUTS]
    users = users.select("user_key", *columns, *inputs).persist()  # counted and then brought: joined once
    some = chosen(users, users.count(), LARGEST_SAMPLE).toPandas()
    users.unpersist()
    return some.sort_values("user_key", ignore_index=True)


def outcomes(context: Context, features: DataFrame) -> Outcomes:
    """What became of the users of the newest cut-off whose outcome window has ended."""
    churn, as_of = context.source.churn, context.settings.as_of(context.business_date)
    cut = as_of - timedelta(days=churn.gap_days + churn.horizon_days)
    excluded = night.read(context, EXCLUDED_USERS)
    events = customers(night.read(context, EVENTS), excluded)
    known = labels(events, [cut], churn.horizon_days, churn.gap_days, as_of)
    then, tonight = (
        customers(eligible(features.where(F.col("as_of") == F.lit(day)), churn.eligibility_days), excluded)
        for day in (cut, as_of)
    )
    found = sampled(then.join(known.select("user_key", "is_churned", "spend"), "user_key"), "is_churned", "spend")
    days = weekly(cut, context.source.first_date + timedelta(days=churn.settled_days))
    rates = base_rates(events, days, churn.horizon_days, churn.gap_days, churn.eligibility_days, as_of)
    return Outcomes(cut, found["is_churned"].to_numpy(dtype=np.float64), found, sampled(tonight), rates)


def recalibrated(model: ChurnModel, found: Outcomes) -> Calibrator:
    """A calibrator fitted on the newest known outcomes and moved to the base rate of late among tonight's users.

    The model's own where too few outcomes are known.
    """
    if found.base_rate is None:
        return model.calibrator
    fitted = calibration.choose(model.margins(found.then), found.label)
    return calibration.tracking(fitted, model.margins(found.tonight), found.base_rate)


def health(model: ChurnModel, tonight: ChurnModel, found: Outcomes, context: Context) -> list[churn_drift.Figure]:
    """What is watched: calibration on known outcomes, base rates, and drift of inputs and score; empty without them.

    `model` is calibrated as training left it, `tonight` as it scores.
    """
    if found.base_rate is None:
        return []
    limits = context.settings.business.drift
    before, now = (
        {name: frame[name].to_numpy(dtype=np.float64, na_value=np.nan) for name in MODEL_INPUTS}
        for frame in (found.then, found.tonight)
    )
    margin, margin_now = model.margins(found.then), model.margins(found.tonight)
    fitted = calibration.choose(margin, found.label)
    told = churn_drift.calibration_figures(
        found.label, model.calibrator.apply(margin), fitted.apply(margin), limits.ece, limits.in_the_large
    )
    told += [churn_drift.Figure("base_rate", f"left_as_of_{day}", share) for day, (_, share) in found.rates.items()]
    told.append(churn_drift.Figure("base_rate", "said_tonight", float(tonight.calibrator.apply(margin_now).mean())))
    told.append(
        churn_drift.Figure(
            "base_rate", "said_tonight_without_tracking", float(model.calibrator.apply(margin_now).mean())
        )
    )
    told.append(churn_drift.Figure("score_drift", "margin", churn_drift.psi(margin, margin_now), limits.psi))
    return told + churn_drift.drift(before, now, AGEING, limits.psi) + value_health(context, found)


def value_health(context: Context, found: Outcomes) -> list[churn_drift.Figure]:
    """How good what was expected of the users' spending was; empty, and a word in the log, where nothing was."""
    buyers = found.then[found.then["expected_purchases"].notna()]
    try:
        said = purchase_summaries.spend_expected(buyers, buyers["expected_purchases"].to_numpy(dtype=np.float64))
        return churn_drift.value_watched(said, buyers["spend"].to_numpy(dtype=np.float64))
    except ValueError as error:
        context.log.warning("value is not compared with what came: %s", error)
        return []


def suggested_action(conf: WinBack) -> Column:
    """The first action that fits, by `risk_band`, `value_at_stake`, `days_since_contact` and `suppressed_by`."""
    value = F.coalesce(F.col("value_at_stake"), F.lit(0.0))
    quiet = F.coalesce(F.col("days_since_contact") < conf.quiet_days, F.lit(False))
    chosen = F.when(quiet | F.col("suppressed_by").isNotNull(), F.lit(DO_NOTHING))
    for one in conf.actions:
        fits = F.col("risk_band").isin(*one.bands) & (value >= one.least_value)
        chosen = chosen.when(fits, F.lit(one.action))
    return chosen.otherwise(F.lit(DO_NOTHING))


def terms_of(conf: WinBack, margin: float) -> Terms:
    """Over how many days value is counted, the discount of a day, and the margin."""
    return Terms(conf.value_days, (1 + conf.yearly_discount) ** (1 / YEAR) - 1, margin)


def scoring(
    model: ChurnModel, bands: Bands, words: Words, before: Before | None, fits: Fits | None, terms: Terms
) -> tuple[Callable[[Iterable[pd.DataFrame]], Iterator[pd.DataFrame]], str]:
    """A function for `mapInPandas` and its schema: risk and value of a user side by side, one row a row."""
    risk = scorer(model, bands, words, tuple(KEPT), before)
    schema = ", ".join([*KEPT.values(), SCORED, purchase_summaries.SCORED])
    asked = {"horizon_days": model.horizon_days, "gap_days": model.gap_days}
    worth = purchase_summaries.scorer(fits, terms, **asked, keys=()) if fits else None
    of_value = [part.split()[0] for part in purchase_summaries.SCORED.split(", ")]

    def score(frames: Iterable[pd.DataFrame]) -> Iterator[pd.DataFrame]:
        for frame in frames:
            (scored,) = risk([frame])
            if worth is None:
                yield scored.assign(**dict.fromkeys(of_value, np.nan))
                continue
            (valued,) = worth([frame])
            yield scored.assign(**{name: valued[name].to_numpy() for name in of_value})

    return score, schema


def at_risk_users(
    tonight: DataFrame,
    suppressed: DataFrame,
    model: ChurnModel,
    *,
    model_version: str,
    bands: Bands,
    words: Words,
    win_back: WinBack,
    terms: Terms,
    fits: Fits | None,
    before: Before | None,
    calibrated_as_of: date | None,
    eligibility_days: int,
    business_date: date,
) -> DataFrame:
    """One row for each eligible user of tonight's features: the columns of at_risk_users and the bands of `before`."""
    chosen = eligible(tonight, eligibility_days).select("user_key", "days_since_contact", *MODEL_INPUTS)
    score, schema = scoring(model, bands, words, before, fits, terms)
    scored = chosen.mapInPandas(score, schema).withColumnsRenamed(
        {
            "value": "value_at_stake",
            "value_low": "value_at_stake_low",
            "value_high": "value_at_stake_high",
            "next_purchase_days": "expected_days_to_purchase",
        }
    )
    nullable = [c.name for c in AT_RISK_USERS.columns if c.type == "double" and c.nullable]
    described = scored.withColumns(
        # What pandas gives as NaN is null in a table.
        {name: F.nanvl(F.col(name), F.lit(None).cast("double")) for name in nullable}
        | {
            "frequency": F.col("frequency").cast("bigint"),
            "horizon_days": F.lit(model.horizon_days),
            "model_version": F.lit(model_version),
            "calibrated_as_of": F.lit(calibrated_as_of).cast("date"),
            "business_date": F.lit(business_date),
        }
    )
    reasons = suppressed.select("user_key", F.col("reason").alias("suppressed_by"))
    return described.join(reasons, "user_key", "left").withColumn("suggested_action", suggested_action(win_back))


def model_of(context: Context, digest: str) -> ChurnModel:
    """The model of a digest.

    Raises:
        DataRefused: its artefact is missing, damaged or no churn model.
    """
    try:
        return from_files(registry.load(context.settings.environment.lake.artefacts, digest))
    except (registry.RegistryError, ChurnModelError) as error:
        raise DataRefused(f"{context.source.name}: the churn champion cannot score: {error}") from error


def model_before(context: Context, run_id: str, found: Outcomes) -> Before | None:
    """The model of that run as it scored then and as it would tonight; None, and a word in the log, if it is gone."""
    champion = context.ledger.run_champions(run_id).get("churn")
    told = [s.detail for s in context.ledger.stages(run_id) if s.name == "score_churn" and "calibrator" in s.detail]
    if champion is None or not told:
        return None
    try:
        model = model_of(context, champion.digest)
    except DataRefused as gone:
        context.log.warning("changes of bands cannot be told from those of the model: %s", gone)
        return None
    return Before(
        replace(model, calibrator=calibration.from_json(told[-1]["calibrator"])),
        replace(model, calibrator=recalibrated(model, found)),
    )


def outlook_of(fits: Fits, model: ChurnModel) -> Callable[[pd.DataFrame], Mapping[str, NDArray[np.float64]]]:
    """What tonight's model of rhythms expects of users in the outcome window, by feature."""

    def outlook(frame: pd.DataFrame) -> Mapping[str, NDArray[np.float64]]:
        within, none = expected(fits.model, frame, model.gap_days, model.horizon_days)
        return {"expected_purchases": within, "no_purchase_probability": none}

    return outlook


def fit_rhythms(context: Context, tonight: DataFrame) -> Fits | None:
    """What tonight's buyers teach of purchases and their worth; None, and a word in the log, where nothing."""
    try:
        fits = purchase_summaries.fit_night(tonight)
    except ValueError as error:
        context.log.warning("no value is told: %s", error)
        context.detail["value"] = {"not_told": str(error)}
        return None
    for told in fits.degraded:
        context.log.warning("value: %s", told)
    kind = "NBD" if fits.model.a is None else "MBG/NBD" if fits.model.at_once else "BG/NBD"
    context.detail["value"] = {"buyers": fits.buyers, "model": kind, "degraded": list(fits.degraded)}
    return fits


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
    as_of = settings.as_of(context.business_date)
    features = night.read(context, USER_FEATURES).persist()
    tonight = features.where(F.col("as_of") == F.lit(as_of))
    trained = model_of(context, champion.digest)
    found = outcomes(context, features)
    model = replace(trained, calibrator=recalibrated(trained, found))
    fits = fit_rhythms(context, tonight)
    last = night.last_served(context, AT_RISK_USERS)
    has_visits = bool(found.tonight["views_30d"].sum() > 0)
    scored = at_risk_users(
        tonight,
        night.read(context, SUPPRESSED_USERS),
        model,
        model_version=champion.digest,
        bands=bands_of(settings.business.risk_bands),
        words=Words(source.currency, has_visits, outlook_of(fits, model) if fits else None),
        win_back=source.win_back,
        terms=Terms(
            source.win_back.value_days,
            (1 + source.win_back.yearly_discount) ** (1 / YEAR) - 1,
            source.churn.offer.margin,
        ),
        fits=fits,
        before=model_before(context, last.run_id, found) if last else None,
        calibrated_as_of=None if found.base_rate is None else found.as_of,
        eligibility_days=source.churn.eligibility_days,
        business_date=context.business_date,
    ).persist()
    version = night.store(context, AT_RISK_USERS, scored)
    rows = version.fingerprint.rows
    if rows == 0:
        raise DataRefused(
            f"table {AT_RISK_USERS.name}: nobody bought and was active in the {source.churn.eligibility_days} days"
            f" before {as_of}; expected at least 1 eligible user, found 0"
        )
    store_changes(context, scored, last)
    figures = health(trained, model, found, context)
    store_health(context, figures, found.as_of)
    context.detail.update(
        model_version=champion.digest,
        method=model.method,
        rows=rows,
        calibrator=model.calibrator.to_json(),
        alarms=[f"{one.kind} {one.name} {one.value:.3f}, limit {one.limit}" for one in figures if one.is_alarm],
    )
    context.log.info("scored model=%s method=%s users=%d", champion.digest, model.method, rows)


def store_changes(context: Context, scored: DataFrame, last: night.Past | None) -> None:
    """Write who entered, left or moved since the publication before; nobody on a source's first night."""
    if last is None:
        night.store(context, CHURN_CHANGES, contract.frame(context.spark, CHURN_CHANGES))
        return
    found = changes(scored, last.frame).withColumns(
        {"compared_date": F.lit(last.business_date), "business_date": F.lit(context.business_date)}
    )
    night.store(context, CHURN_CHANGES, found)


def store_health(context: Context, figures: list[churn_drift.Figure], known_as_of: date) -> None:
    """Write what the night watches of its model."""
    rows = [
        {
            "kind": one.kind,
            "name": one.name,
            "value": one.value,
            "alarm_above": one.limit,
            "is_alarm": one.is_alarm,
            "known_as_of": known_as_of,
            "business_date": context.business_date,
        }
        for one in figures
    ]
    night.store(context, CHURN_HEALTH, contract.frame(context.spark, CHURN_HEALTH, *rows))


if __name__ == "__main__":
    main(run, "score_churn")
