"""Offer a recency baseline and boosted trees that say who is about to leave, both judged on a later slice.

Reads   events, user_features, excluded_users, the champion
Writes  the registry: two candidates with their records

Excluded users are neither learnt from nor judged on.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from datetime import date, timedelta

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from rekindle import night, registry
from rekindle.cli import Context, DataRefused, main
from rekindle.ledger import Model
from rekindle.methods import calibration, churn_figures, churn_judging, churn_models, cutoffs
from rekindle.methods.bootstrap import paired_auc_difference
from rekindle.methods.churn_labels import eligible, labels, sees_the_future
from rekindle.methods.churn_models import ChurnModel, RecencyModel, TreeModel, TreeParams
from rekindle.methods.classification import reliability
from rekindle.methods.cutoffs import Cutoffs, TooLittleHistory
from rekindle.methods.not_customers import customers
from rekindle.methods.xgboost_scoring import feature_matrix
from rekindle.settings import Churn
from schemas.events import EVENTS
from schemas.excluded_users import EXCLUDED_USERS
from schemas.user_features import MODEL_INPUTS, USER_FEATURES

LEAST_TO_TRAIN = 50  # of each class
# The driver holds no more users than this, of each slice, chosen by the hash of their key.
LARGEST_SLICE = 200_000
LARGEST_TRAINING_SAMPLE = 50_000
NULLABLE_INPUTS = tuple(c.name for c in USER_FEATURES.columns if c.nullable)


class TooFewExamples(Exception):
    """Training or judging would rest on too little; the message says on how little."""


@dataclass(frozen=True)
class Count:
    """Examples at one cut-off. `regret` is null where the days after the outcome window are not known yet."""

    rows: int
    churned: int
    ahead_of_time: int
    regret: float | None

    @property
    def fewest(self) -> int:
        """Examples of the smaller class."""
        return min(self.churned, self.rows - self.churned)


@dataclass(frozen=True)
class Slice:
    """Examples on the driver: inputs as float32 columns by name (NaN is null), and the label."""

    frame: pd.DataFrame
    label: NDArray[np.float64]


@dataclass(frozen=True)
class Judged:
    """A model with its margins and figures on the judging slice."""

    model: ChurnModel
    margin: NDArray[np.float64]
    probability: NDArray[np.float64]
    metrics: dict[str, float]


def examples(events: DataFrame, features: DataFrame, cuts: Cutoffs, conf: Churn, known_before: date) -> DataFrame:
    """The features of every user eligible at a cut-off with what they did next.

    Columns: those of user_features, `is_churned`, `bought_again`, and whether the row `sees_the_future`.
    """
    known = labels(events, cuts.all, conf.horizon_days, conf.gap_days, known_before)
    at_cutoffs = features.where(F.col("as_of").isin(*cuts.all))
    return (
        eligible(at_cutoffs, conf.eligibility_days)
        .join(known, ["as_of", "user_key"])
        .withColumn("sees_the_future", sees_the_future())
        .drop("last_action_date", "last_purchase_date")
    )


def count(found: DataFrame) -> dict[date, Count]:
    """How many examples there are at each cut-off; a handful of rows."""
    counted = found.groupBy("as_of").agg(
        F.count(F.lit(1)).alias("rows"),
        F.sum("is_churned").cast("int").alias("churned"),
        F.count_if("sees_the_future").alias("ahead_of_time"),
        F.avg(F.when(F.col("is_churned") == 1, F.col("bought_again"))).alias("regret"),
    )
    return {r["as_of"]: Count(r["rows"], r["churned"], r["ahead_of_time"], r["regret"]) for r in counted.collect()}


def check_counts(counts: dict[date, Count], cuts: Cutoffs) -> None:
    """Nothing, when there is enough to learn from and to judge on.

    Raises:
        DataRefused: a feature knows of events after its cut-off.
        TooFewExamples: a class is too small in training, calibration or judging; all counts in one message.
    """
    ahead = {day: c.ahead_of_time for day, c in counts.items() if c.ahead_of_time}
    if ahead:
        told = ", ".join(f"{n} rows as of {day}" for day, n in sorted(ahead.items()))
        raise DataRefused(
            f"table {USER_FEATURES.name}: features are computed from events after their as_of: expected 0 rows,"
            f" found {told}; build_features must not look past as_of"
        )
    none = Count(0, 0, 0, None)
    churned = sum(counts.get(day, none).churned for day in cuts.training)
    stayed = sum(counts.get(day, none).rows for day in cuts.training) - churned
    faults = []
    if min(churned, stayed) < LEAST_TO_TRAIN:
        faults.append(f"training has {churned} who left and {stayed} who stayed, expected {LEAST_TO_TRAIN} of each")
    for name, day in (("calibration", cuts.calibration), ("judging", cuts.judging)):
        found = counts.get(day, none)
        if found.fewest < churn_judging.FEWEST_TO_JUDGE:
            faults.append(
                f"{name} as of {day} has {found.churned} who left and {found.rows - found.churned} who stayed,"
                f" expected {churn_judging.FEWEST_TO_JUDGE} of each"
            )
    if faults:
        raise TooFewExamples("; ".join(faults))


def bring(found: DataFrame, rows: int, most: int, *extra: str) -> Slice:
    """A slice on the driver, in the order of its keys: all of it, or about `most` users chosen by hash."""
    if rows > most:
        share = int(1_000_000 * most / rows)
        found = found.where(F.pmod(F.xxhash64("user_key"), F.lit(1_000_000)) < share)
    frame = (
        found.select(
            "as_of",
            "user_key",
            F.col("is_churned").alias("label"),
            *[F.col(name).cast("float").alias(name) for name in MODEL_INPUTS],
            *extra,
        )
        .toPandas()
        .sort_values(["as_of", "user_key"], ignore_index=True)
    )
    return Slice(frame, frame["label"].to_numpy(dtype=np.float64))


def check_leaks(training: Slice, judging: Slice, seed: int) -> dict[str, float]:
    """The leak alarms' figures, when none is raised.

    Raises:
        DataRefused: an input knows the answer.
    """
    learnt, judged = (feature_matrix(s.frame, MODEL_INPUTS) for s in (training, judging))
    single = churn_judging.single_feature_aucs(judged, judging.label, MODEL_INPUTS)
    permuted = churn_judging.permuted_aucs(learnt, training.label, judged, judging.label, seed)
    raised = churn_judging.alarms(single, permuted)
    if raised:
        told = "; ".join(f"{alarm.found}, expected {alarm.limit}" for alarm in raised)
        raise DataRefused(
            f"table {USER_FEATURES.name}: the inputs know the outcome: {told}"
            f" (judged on {len(judging.label)} rows); look for a feature of the outcome window, then train anew"
        )
    return {"best_single_feature_roc_auc": max(single.values()), "permuted_labels_roc_auc": float(permuted.mean())}


def judge(model: ChurnModel, judging: Slice, threshold: float) -> Judged:
    """A model's figures on the judging slice, for all and for newcomers, one-time buyers and regulars apart."""
    margin = model.margins(judging.frame)
    probability = model.calibrator.apply(margin)
    metrics = churn_judging.figures(judging.label, margin, probability, threshold)
    member = churn_judging.groups(
        judging.frame["tenure_days"].to_numpy(dtype=np.float64), judging.frame["frequency"].to_numpy(dtype=np.float64)
    )
    metrics |= churn_judging.figures_by_group(judging.label, margin, member)
    return Judged(model, margin, probability, metrics)


def compare(
    offered: Judged, other: str, name: str, margin: NDArray[np.float64], judging: Slice, seed: int, draws: int
) -> registry.Comparison:
    """The candidate's ROC-AUC against another's on the same users, by paired bootstrap."""
    found = paired_auc_difference(judging.label.astype(bool), offered.margin, margin, seed=seed, draws=draws)
    candidate = offered.metrics["roc_auc"]
    return registry.Comparison(
        other=other,
        other_name=name,
        metric="roc_auc",
        candidate_value=candidate,
        other_value=candidate - found.point,
        difference=found.point,
        low=found.low,
        high=found.high,
        rows=len(judging.label),
    )


def recency_model(training: Slice, later: Slice, conf: Churn) -> RecencyModel:
    """The baseline: a logistic curve of recency alone, calibrated on the later slice."""
    recency = training.frame["recency_days"].to_numpy(dtype=np.float64)
    slope, intercept = churn_models.fit_recency(recency, training.label)
    raw = RecencyModel(slope, intercept, calibration.Logistic(1.0, 0.0), conf.horizon_days, conf.gap_days)
    return replace(raw, calibrator=calibration.choose(raw.margins(later.frame), later.label))


def tree_model(booster: bytes, later: Slice, conf: Churn) -> TreeModel:
    """The trees, calibrated from raw margins on the later slice."""
    raw = TreeModel(booster, MODEL_INPUTS, calibration.Logistic(1.0, 0.0), conf.horizon_days, conf.gap_days)
    return replace(raw, calibrator=calibration.choose(raw.margins(later.frame), later.label))


def challenger_figures(later: Slice, judging: Slice, threshold: float) -> dict[str, float]:
    """Spark ML's GBT, whose margins came with the slices as `challenger`, calibrated and judged the same way."""
    fitted, margin = (s.frame["challenger"].to_numpy(dtype=np.float64) for s in (later, judging))
    probability = calibration.choose(fitted, later.label).apply(margin)
    told = churn_judging.figures(judging.label, margin, probability, threshold)
    return {f"spark_gbt_{k}": told[k] for k in ("roc_auc", "pr_auc", "brier", "ece", "lift_top_decile")}


@dataclass(frozen=True)
class Trained:
    """What the fits and the slices gave, before anything is offered."""

    standing: Judged
    offered: Judged
    judging: Slice
    extra: dict[str, float]
    params: dict[str, str | int | float]


def fit(found: DataFrame, counts: dict[date, Count], cuts: Cutoffs, context: Context) -> Trained:
    """Fit the baseline, the trees and the challenger on the training cut-offs, calibrate and judge them later.

    Raises:
        DataRefused: the inputs know the outcome.
    """
    conf, business = context.source.churn, context.settings.business
    at, threshold = F.col("as_of"), business.risk_bands.at_risk_from
    rows = sum(counts[day].rows for day in cuts.training if day in counts)
    before = found.where(at.isin(*cuts.training))
    training = bring(before, rows, LARGEST_TRAINING_SAMPLE)
    trees = TreeParams()
    workers = churn_models.workers_for(rows, context.spark.sparkContext.defaultParallelism)
    learnt = churn_models.place(before, ("as_of", "user_key"), workers)
    booster = churn_models.fit_trees(learnt, MODEL_INPUTS, "is_churned", trees, business.seed, workers)
    challenger = churn_models.fit_challenger(learnt, MODEL_INPUTS, NULLABLE_INPUTS, "is_churned", business.seed)

    def scored(day: date) -> Slice:
        rows_then = found.where(at == F.lit(day))
        margin = challenger.transform(rows_then).withColumn("challenger", churn_models.challenger_margin())
        return bring(margin, counts[day].rows, LARGEST_SLICE, "challenger")

    later, judging = scored(cuts.calibration), scored(cuts.judging)
    leaks = check_leaks(training, judging, business.seed)
    params: dict[str, str | int | float] = {
        "trained_as_of": ", ".join(map(str, cuts.training)),
        "calibrated_as_of": str(cuts.calibration),
        "judged_as_of": str(cuts.judging),
        "training_rows": rows,
        "training_churned": sum(counts[day].churned for day in cuts.training if day in counts),
        "calibration_rows": counts[cuts.calibration].rows,
        "judging_rows": counts[cuts.judging].rows,
        "judged_rows": len(judging.label),
        "seed": business.seed,
        "workers": workers,
        **conf.model_dump(),
        **asdict(trees),
    }
    return Trained(
        standing=judge(recency_model(training, later, conf), judging, threshold),
        offered=judge(tree_model(booster, later, conf), judging, threshold),
        judging=judging,
        extra=leaks | challenger_figures(later, judging, threshold),
        params=params,
    )


def pictures(models: Sequence[Judged], label: NDArray[np.float64], title: str) -> dict[str, bytes]:
    """PNGs by name: the first model's confusion matrix, and the reliability of all."""
    first = models[0]
    points = {one.model.method: reliability(label, one.probability) for one in models}
    return {
        "confusion_matrix.png": churn_figures.confusion_matrix(first.metrics, f"{first.model.method}: {title}"),
        "reliability.png": churn_figures.reliability_plot(points, title),
    }


def offer(context: Context, model: ChurnModel, record: registry.Record, pictures: dict[str, bytes]) -> str:
    """Store a model with its record and tell the ledger; its digest."""
    artefacts = context.settings.environment.lake.artefacts
    digest = registry.save(artefacts, model.files() | pictures | {registry.RECORD: record.to_json()})
    context.ledger.add_model(
        Model(
            source=context.source.name,
            kind="churn",
            digest=digest,
            path=str(artefacts / digest),
            metrics=record.metrics,
            trained_through=record.trained_through,
            run_id=context.run_id,
            method=record.name,
        )
    )
    context.log.info("offered model=%s method=%s roc_auc=%.4f", digest, record.name, record.metrics["roc_auc"])
    return digest


def champion_margins(context: Context, judging: Slice) -> dict[str, tuple[str, NDArray[np.float64]]]:
    """The champion's method and margins on the judging slice, by its digest; empty without a champion.

    A champion whose artefact is damaged is left out with an error in the log: judging then keeps it or falls back,
    and training, the way to a whole one, goes on.
    """
    champion = context.ledger.champion(context.source.name, "churn")
    if champion is None:
        return {}
    try:
        files = registry.load(context.settings.environment.lake.artefacts, champion.digest)
        serving = churn_models.from_files(files)
    except (registry.RegistryError, churn_models.ChurnModelError) as error:
        context.detail["champion_not_compared"] = str(error)
        context.log.error("champion not compared: %s", error)
        return {}
    return {champion.digest: (serving.method, serving.margins(judging.frame))}


def run(context: Context) -> None:
    """Train and offer; with too little to learn from, a champion that exists goes on serving.

    Raises:
        DataRefused: the inputs know the outcome, or there is too little to learn from and no champion either.
    """
    if not context.this_run.plan["train"]:
        context.log.info("training is not due")
        return
    source = context.source
    try:
        train(context)
    except (TooLittleHistory, TooFewExamples) as error:
        champion = context.ledger.champion(source.name, "churn")
        if champion is None:
            raise DataRefused(
                f"{source.name} {context.business_date}: too little to train the first churn model: {error};"
                " run a later night, or shorten churn's horizon_days or history_days in conf"
            ) from error
        context.detail["not_trained"] = str(error)
        context.log.warning("not trained: %s; champion %s goes on serving", error, champion.digest)


def train(context: Context) -> None:
    """Fit, calibrate, judge and offer both models.

    Raises:
        DataRefused: the inputs know the outcome.
        TooLittleHistory: no training cut-off fits into the log.
        TooFewExamples: a class is too small.
    """
    source, conf, business = context.source, context.source.churn, context.settings.business
    as_of = context.settings.as_of(context.business_date)
    cuts = cutoffs.plan(
        as_of,
        source.first_date,
        conf.horizon_days,
        conf.gap_days,
        conf.history_days,
        conf.cutoff_step_days,
        conf.training_cutoffs,
    )
    features = customers(night.read(context, USER_FEATURES), night.read(context, EXCLUDED_USERS))
    found = examples(night.read(context, EVENTS), features, cuts, conf, as_of).persist()
    counts = count(found)
    check_counts(counts, cuts)
    made = fit(found, counts, cuts, context)
    found.unpersist()

    against = champion_margins(context, made.judging)
    regret = counts[cuts.calibration].regret
    known = {} if regret is None else {"regret_rate": regret}
    versions = context.ledger.tables(context.run_id)
    common = registry.Record(
        kind="churn",
        name=RecencyModel.method,
        source=source.name,
        run_id=context.run_id,
        # Calibration's outcome window ends where judging begins.
        trained_through=cuts.judging - timedelta(days=1),
        judged_on=f"{cuts.judging} to {context.business_date}",
        params=made.params,
        metrics={},
        tables={name: versions[name].snapshot_id for name in (EVENTS.name, USER_FEATURES.name)},
    )
    title = f"{source.name}, {common.judged_on}"

    def offered(one: Judged, extra: dict[str, float], is_baseline: bool, beside: Sequence[Judged]) -> str:
        comparisons = [
            compare(one, digest, name, margin, made.judging, business.seed, business.bootstrap_draws)
            for digest, (name, margin) in against.items()
            if digest != registry.digest_of(one.model.files())
        ]
        for other in comparisons:
            context.log.info(
                "judged candidate=%s other=%s roc_auc=%.4f against=%.4f difference=%.4f interval=[%.4f, %.4f] users=%d",
                one.model.method,
                other.other_name,
                other.candidate_value,
                other.other_value,
                other.difference,
                other.low,
                other.high,
                other.rows,
            )
        record = replace(
            common,
            name=one.model.method,
            params=common.params | {"calibrator": type(one.model.calibrator).__name__.lower()},
            metrics=one.metrics | known | extra,
            is_baseline=is_baseline,
            comparisons=comparisons,
        )
        return offer(context, one.model, record, pictures([one, *beside], made.judging.label, title))

    baseline = offered(made.standing, {}, True, [])
    against[baseline] = (RecencyModel.method, made.standing.margin)
    digest = offered(made.offered, made.extra, False, [made.standing])
    context.detail.update(
        candidate=digest,
        baseline=baseline,
        examples=made.params["training_rows"],
        roc_auc=made.offered.metrics["roc_auc"],
        spark_gbt_roc_auc=made.extra["spark_gbt_roc_auc"],
    )


if __name__ == "__main__":
    main(run, "train_churn")
