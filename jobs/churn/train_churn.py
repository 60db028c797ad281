"""Offer a recency baseline and the declared churn models, all judged side by side on a later slice.

Reads   events, user_features, excluded_users, the champion
Writes  the registry (recency as baseline, each declared method that offers as candidate), ops.models

Excluded users are neither learnt from nor judged on.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import date, timedelta

import numpy as np
from numpy.typing import NDArray
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from rekindle import churn_conf, night, registry
from rekindle.churn_conf import SparkGbt
from rekindle.cli import Context, DataRefused, main
from rekindle.ledger import Model
from rekindle.methods import (
    churn_candidates,
    churn_comparing,
    churn_judging,
    churn_leaks,
    churn_models,
    churn_pictures,
    churn_profit,
    churn_search,
    churn_table,
    churn_trees,
    cutoffs,
)
from rekindle.methods.bootstrap import auc_draws
from rekindle.methods.churn_candidates import CHALLENGER, Candidate, Material, Slice
from rekindle.methods.churn_comparing import Other, compare
from rekindle.methods.churn_examples import Count, bring, count
from rekindle.methods.churn_inputs import finite_matrix
from rekindle.methods.churn_labels import base_rates, eligible, labels, sees_the_future, tracked, weekly
from rekindle.methods.churn_models import RecencyModel
from rekindle.methods.churn_profit import Threshold
from rekindle.methods.cutoffs import Cutoffs, TooLittleHistory
from rekindle.methods.not_customers import customers
from rekindle.settings import Churn
from schemas.events import EVENTS
from schemas.excluded_users import EXCLUDED_USERS
from schemas.user_features import MODEL_INPUTS, USER_FEATURES

LEAST_TO_TRAIN = 50  # of each class
# The driver holds no more users than this, of each slice, chosen by the hash of their key.
LARGEST_SLICE = 200_000
LARGEST_TRAINING_SAMPLE = 50_000
NULLABLE_INPUTS = tuple(c.name for c in USER_FEATURES.columns if c.nullable and c.name in MODEL_INPUTS)
KEY = ("as_of", "user_key")


class TooFewExamples(Exception):
    """Training or judging would rest on too little; the message says on how little."""


def examples(events: DataFrame, features: DataFrame, cuts: Cutoffs, conf: Churn, known_before: date) -> DataFrame:
    """The features of every user eligible at a cut-off with what they did next.

    Columns: those of user_features, of `labels`, and whether the row `sees_the_future`.
    """
    known = labels(events, cuts.all, conf.horizon_days, conf.gap_days, known_before)
    at_cutoffs = features.where(F.col("as_of").isin(*cuts.all))
    return (
        eligible(at_cutoffs, conf.eligibility_days)
        .join(known, list(KEY))
        .withColumn("sees_the_future", sees_the_future())
        .drop("last_action_date", "last_purchase_date")
    )


def check_counts(counts: dict[date, Count], cuts: Cutoffs) -> None:
    """Nothing, when there is enough to learn from and to judge on.

    Raises:
        DataRefused: a feature knows of events after its cut-off, or is infinite.
        TooFewExamples: a class is too small in training, calibration or judging; all counts in one message.
    """
    ahead = {day: c.ahead_of_time for day, c in counts.items() if c.ahead_of_time}
    if ahead:
        told = ", ".join(f"{n} rows as of {day}" for day, n in sorted(ahead.items()))
        raise DataRefused(
            f"table {USER_FEATURES.name}: features are computed from events after their as_of: expected 0 rows,"
            f" found {told}; build_features must not look past as_of"
        )
    endless = {day: c.infinite for day, c in counts.items() if c.infinite}
    if endless:
        told = ", ".join(
            f"{name} in {n} rows as of {day}" for day, c in sorted(endless.items()) for name, n in c.items()
        )
        raise DataRefused(
            f"table {USER_FEATURES.name}: infinite values: expected finite numbers or null, found {told};"
            " build_features must not divide by zero"
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


def check_leaks(training: Slice, judging: Slice, seed: int) -> dict[str, float]:
    """The leak alarms' figures, when none is raised.

    Raises:
        DataRefused: an input knows the answer, or the judged rows were made from those that teach.
    """
    learnt, judged = (finite_matrix(s.frame, MODEL_INPUTS) for s in (training, judging))
    single = churn_leaks.single_feature_aucs(judged, judging.label, MODEL_INPUTS)
    permuted = churn_leaks.permuted_aucs(learnt, training.label, judged, judging.label, seed)
    made = churn_leaks.resampled(learnt, judged, judging.label, seed)
    refuse(churn_leaks.alarms(single, permuted) + churn_leaks.resampling_alarms(made), judging)
    return {
        "best_single_feature_roc_auc": max(single.values()),
        "permuted_labels_roc_auc": float(permuted.mean()),
        "resampled_excess": made.excess,
    }


def refuse(raised: Sequence[churn_leaks.Alarm], judging: Slice) -> None:
    """Nothing, without an alarm.

    Raises:
        DataRefused: all alarms in one message.
    """
    if raised:
        told = "; ".join(f"{alarm.found}, expected {alarm.limit}" for alarm in raised)
        raise DataRefused(
            f"table {USER_FEATURES.name}: the inputs know the outcome: {told}"
            f" (judged on {len(judging.label)} rows); look for a feature of the outcome window, then train anew"
        )


@dataclass(frozen=True)
class Trained:
    """What the fits and the slices gave, before anything is offered."""

    baseline: Candidate
    candidates: dict[str, Candidate]
    scores: dict[str, Candidate]
    methods: Mapping[str, churn_conf.Declared]
    later: Slice
    judging: Slice
    leaks: dict[str, float]
    params: dict[str, str | int | float]


def base_rate_of_late(context: Context, events: DataFrame, cuts: Cutoffs) -> float | None:
    """What `score_churn` would have followed as of the judging cut-off: nothing later is looked at."""
    conf = context.source.churn
    days = weekly(cuts.calibration, context.source.first_date + timedelta(days=conf.settled_days))
    about = (conf.horizon_days, conf.gap_days, conf.eligibility_days, cuts.judging)
    return tracked(base_rates(events, days, *about), LEAST_TO_TRAIN)


def fit(
    found: DataFrame, counts: dict[date, Count], cuts: Cutoffs, base_rate: float | None, context: Context
) -> Trained:
    """Fit the baseline and every declared method on the training cut-offs, calibrate and judge them later.

    `base_rate`: that of late as of the judging cut-off, which calibrators are moved to.

    Raises:
        DataRefused: the inputs know the outcome.
    """
    conf, seed = context.source.churn, context.settings.business.seed
    at = F.col("as_of")
    rows = sum(counts[day].rows for day in cuts.training if day in counts)
    before = found.where(at.isin(*cuts.training))
    training = bring(before, rows, LARGEST_TRAINING_SAMPLE, MODEL_INPUTS, "days_to_purchase")
    workers = churn_trees.workers_for(rows, context.spark.sparkContext.defaultParallelism)
    placed = churn_trees.place(before, KEY, workers)
    given = Material(training, placed, MODEL_INPUTS, conf.horizon_days, conf.gap_days, seed, workers)

    started = time.monotonic()
    challenger = None
    if any(isinstance(declared, SparkGbt) for declared in conf.methods.values()):
        challenger = churn_trees.fit_challenger(placed, MODEL_INPUTS, NULLABLE_INPUTS, "is_churned", seed)
    challenger_seconds = time.monotonic() - started

    def scored(day: date) -> Slice:
        rows_then, extra = found.where(at == F.lit(day)), ["spend"]
        if challenger is not None:
            rows_then = challenger.transform(rows_then).withColumn(CHALLENGER, churn_trees.challenger_margin())
            extra.append(CHALLENGER)
        return bring(rows_then, counts[day].rows, LARGEST_SLICE, MODEL_INPUTS, *extra)

    later, judging = replace(scored(cuts.calibration), base_rate=base_rate), scored(cuts.judging)
    leaks = check_leaks(training, judging, seed)
    methods = searched(context, training, later, cuts)
    newest = training.of_days(max(cuts.training))
    baseline = churn_candidates.stored(
        RecencyModel.method,
        churn_candidates.recency_model(training, conf.horizon_days, conf.gap_days),
        *(later, judging, newest, 0.0, True),
    )
    candidates = churn_conf.learn(methods, given, later, judging, newest, challenger_seconds)
    for name, one in candidates.items():
        context.log.info("fitted method=%s seconds=%.1f rows=%d", name, one.fit_seconds, rows)
    params: dict[str, str | int | float] = {
        "trained_as_of": ", ".join(map(str, cuts.training)),
        "calibrated_as_of": str(cuts.calibration),
        "judged_as_of": str(cuts.judging),
        "training_rows": rows,
        "training_churned": sum(counts[day].churned for day in cuts.training if day in counts),
        "calibration_rows": counts[cuts.calibration].rows,
        "judging_rows": counts[cuts.judging].rows,
        "judged_rows": len(judging.label),
        "seed": seed,
        "workers": workers,
        **conf.model_dump(exclude={"methods", "offer", "search_trials"}),
        **{f"offer_{key}": value for key, value in conf.offer.model_dump().items()},
    }
    scores = churn_candidates.plain_scores(later, judging)
    return Trained(baseline, candidates, scores, methods, later, judging, leaks, params)


def searched(context: Context, training: Slice, later: Slice, cuts: Cutoffs) -> Mapping[str, churn_conf.Declared]:
    """The declared methods, with settings searched for where training was asked for; the trials are in the detail."""
    conf, seed = context.source.churn, context.settings.business.seed
    if not (context.this_run.retrain and conf.search_trials):
        return conf.methods
    times = cutoffs.time_folds(cuts, conf.horizon_days, conf.gap_days)
    folds = churn_search.folds(times, training, later, MODEL_INPUTS, LARGEST_TRAINING_SAMPLE)
    found = dict(conf.methods)
    told = context.detail["search"] = {}
    for name, declared in conf.methods.items():
        if declared.method not in churn_search.SEARCHED:
            continue
        started = time.monotonic()
        default = declared.model_dump(exclude={"method", "offers"})
        best, tried = churn_search.search(declared.method, default, folds, seed, conf.search_trials)
        found[name] = declared.model_copy(update=best)
        told[name] = {"folds": len(folds), "chosen": best, "trials": [asdict(one) for one in tried]}
        context.log.info(
            "searched method=%s trials=%d folds=%d log_loss=%.5f default=%.5f seconds=%.1f chosen=%s",
            *(name, len(tried), len(folds), min(one.log_loss for one in tried), tried[0].log_loss),
            *(time.monotonic() - started, best),
        )
    return found


def threshold_of(conf: Churn, later: Slice) -> Threshold:
    """From which probability on the conf's offer pays, by what those who stayed spent on the calibration slice."""
    spent = later.frame["spend"].to_numpy(dtype=np.float64)[later.label == 0]
    return churn_profit.threshold(**conf.offer.model_dump(), stayers_spend=float(spent.mean()))


def offer(context: Context, model: churn_models.ChurnModel, record: registry.Record, beside: dict[str, bytes]) -> str:
    """Store a model with its record and what lies beside it, and tell the ledger; its digest."""
    artefacts = context.settings.environment.lake.artefacts
    digest = registry.save(artefacts, model.files() | beside | {registry.RECORD: record.to_json()})
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


@dataclass(frozen=True)
class Standing:
    """The champion on the judging slice. Its probabilities are calibrated as the candidates' are: what differs then is
    the model's doing."""

    digest: str
    method: str
    margin: NDArray[np.float64]
    probability: NDArray[np.float64]


def champion(context: Context, later: Slice, judging: Slice) -> Standing | None:
    """The champion, judged beside the candidates; None without one.

    A champion whose artefact is damaged, or that asks for a feature there is no more, is left out with an error in the
    log: judging then keeps it or falls back, and training, the way to a whole one, goes on.
    """
    known = context.ledger.champion(context.source.name, "churn")
    if known is None:
        return None
    try:
        files = registry.load(context.settings.environment.lake.artefacts, known.digest)
        serving = churn_models.from_files(files)
        made, _ = churn_candidates.calibrated(serving.method, serving, later, judging)
    except (registry.RegistryError, churn_models.ChurnModelError, ValueError) as error:
        context.detail["champion_not_compared"] = str(error)
        context.log.error("champion not compared: %s", error)
        return None
    return Standing(known.digest, serving.method, made.judging, made.probability)


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
    """Fit, calibrate, judge and offer the models.

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
    excluded = night.read(context, EXCLUDED_USERS)
    features, events = (customers(night.read(context, table), excluded) for table in (USER_FEATURES, EVENTS))
    found = examples(events, features, cuts, conf, as_of).persist()
    counts = count(found, MODEL_INPUTS)
    check_counts(counts, cuts)
    made = fit(found, counts, cuts, base_rate_of_late(context, events, cuts), context)
    found.unpersist()

    label, standing = made.judging.label, champion(context, made.later, made.judging)
    offered = [made.baseline, *(one for one in made.candidates.values() if one.is_offered)]
    at = threshold_of(conf, made.later)
    member = churn_judging.groups(
        *(made.judging.frame[name].to_numpy(dtype=np.float64) for name in ("tenure_days", "frequency"))
    )
    metrics = {one.name: churn_comparing.figures(one, made.judging, member, at) for one in offered}
    refuse(churn_leaks.model_alarms({name: told["roc_auc"] for name, told in metrics.items()}), made.judging)
    ranked = {one.name: one.judging for one in (*offered, *made.scores.values())}
    if standing is not None:
        ranked[standing.digest] = standing.margin
    aucs = auc_draws(label.astype(bool), ranked, seed=business.seed, draws=business.bootstrap_draws)

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
    said = [one.said for one in (made.baseline, *made.candidates.values(), *made.scores.values())]
    beside = churn_pictures.shared(offered, label, title) | {
        registry.JUDGED: churn_table.to_json(
            churn_table.rows(label, member, said, at, business.seed, business.bootstrap_draws),
            judged_on=common.judged_on,
            threshold=asdict(at),
            offer=conf.offer.model_dump(),
            leaks=made.leaks,
            search=context.detail.get("search", {}),
            curves=churn_pictures.curves(offered, label),
        )
    }
    if not at.pays:
        context.log.warning("no contact pays: it costs %.2f and gains %.2f at most", at.cost, at.gain)

    bands = business.risk_bands
    limits = (bands.medium, bands.high, bands.critical)
    others = [Other(one.name, one.name, aucs[one.name]) for one in made.scores.values()]
    if standing is not None:
        others.insert(0, Other(standing.digest, standing.method, aucs[standing.digest], standing.probability))
    digests = {}
    for one in offered:
        is_baseline = one is made.baseline
        assert one.model is not None  # noqa: S101 - for mypy: only what can be stored is offered
        mine = registry.digest_of(one.model.files())
        against = [o for o in others if o.key != mine and not (is_baseline and o.probability is None)]
        comparisons = [compare(one.probability, aucs[one.name], other, limits) for other in against]
        log_comparisons(context, one.name, comparisons)
        calibrator = type(one.model.calibrator).__name__.lower()
        record = replace(
            common,
            name=one.name,
            params=common.params | churn_conf.settings_of(made.methods.get(one.name)) | {"calibrator": calibrator},
            metrics=metrics[one.name] | known | ({} if is_baseline else made.leaks),
            is_baseline=is_baseline,
            comparisons=comparisons,
        )
        pictures = churn_pictures.own(one, metrics[one.name], made.judging, title)
        digests[one.name] = offer(context, one.model, record, beside | pictures)
        if is_baseline and digests[one.name] not in {o.key for o in others}:
            others.insert(0, Other(digests[one.name], one.name, aucs[one.name], one.probability))
    context.detail.update(
        candidates={n: {"digest": d, "roc_auc": metrics[n]["roc_auc"]} for n, d in digests.items()},
        examples=made.params["training_rows"],
        threshold=asdict(at),
        seconds={one.name: one.fit_seconds for one in made.candidates.values()},
    )


def log_comparisons(context: Context, name: str, comparisons: Sequence[registry.Comparison]) -> None:
    """A line each."""
    for other in comparisons:
        context.log.info(
            "judged candidate=%s other=%s roc_auc=%.4f against=%.4f difference=%.4f interval=[%.4f, %.4f] users=%d"
            " band_flips=%s",
            *(name, other.other_name, other.candidate_value, other.other_value),
            *(other.difference, other.low, other.high, other.rows, other.flip_rate),
        )


if __name__ == "__main__":
    main(run, "train_churn")
