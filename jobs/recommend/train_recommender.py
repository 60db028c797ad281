"""Train the declared recommenders and judge them on later days beside popularity and the champion.

Reads   events, item_features, excluded_users
Writes  the registry (popularity as baseline, each declared method as candidate), ops.models

Excluded users are neither learnt from nor judged on. Does nothing in a night where training is not due.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, timedelta

import numpy as np
from numpy.typing import NDArray
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from rekindle import night, registry
from rekindle.cli import Context, DataRefused, main
from rekindle.ledger import Model
from rekindle.methods import listing, model_gate, ranking, spark_als, tastes, training_faults
from rekindle.methods.activity import activity
from rekindle.methods.factors import AlsFold, FactorModel
from rekindle.methods.interactions import Interactions, Users
from rekindle.methods.not_customers import customers
from rekindle.methods.ragged import Ragged
from rekindle.methods.recommenders import POPULARITY, Recommender
from rekindle.methods.splits import GROUPS
from rekindle.recommender_conf import Als, InMemory
from rekindle.settings import Recommend
from schemas.events import EVENTS
from schemas.excluded_users import EXCLUDED_USERS
from schemas.item_features import ITEM_FEATURES

K = 10
# Judging holds lists of this many users on the driver at most (a hash sample): 50,000 x 10 x 8 bytes are 4 MB a model.
JUDGED_USERS = 50_000
TRIED_USERS = 500  # whose scores are looked at before a method is offered


@dataclass(frozen=True)
class Truth:
    """What the judged users bought later.

    Attributes:
        wanted: item indexes of the catalogue by user, users sorted.
        purchase_days: float64 [users], days with a purchase before.
    """

    wanted: Mapping[str, list[int]]
    purchase_days: NDArray[np.float64]

    @property
    def groups(self) -> dict[str, NDArray[np.bool_]]:
        """Which users are in each of splits.GROUPS."""
        number = np.minimum(self.purchase_days, 2)
        return {name: number == n for n, name in enumerate(GROUPS)}


@dataclass(frozen=True)
class Judged:
    """The lists of one model for the judged users, and the NDCG of each."""

    lists: NDArray[np.int64]
    ndcg: NDArray[np.float64]
    metrics: dict[str, float]


def truth(events: DataFrame, prepared: tastes.Prepared, first: date, last: date) -> Truth:
    """What each judged user bought on the days from `first` to before `last`.

    Judged are users with a taste before `first`; a hash sample where there are more than JUDGED_USERS.
    """
    place = {item: n for n, item in enumerate(prepared.catalogue)}
    bought = (
        events.where((F.col("event_type") == "purchase") & (F.col("event_date") >= F.lit(first)))
        .where(F.col("event_date") < F.lit(last))
        .join(prepared.tastes.where(F.size("item") > 0).select("user_key", "purchase_days"), "user_key")
        .groupBy("user_key", "purchase_days")
        .agg(F.array_sort(F.collect_set("item_id")).alias("items"))
        .orderBy(F.xxhash64("user_key"), "user_key")
        .limit(JUDGED_USERS)
    )
    known = {r.user_key: ([place[i] for i in r["items"] if i in place], r.purchase_days) for r in bought.collect()}
    kept = {user: told for user, told in sorted(known.items()) if told[0]}
    return Truth({user: items for user, (items, _) in kept.items()}, np.array([days for _, days in kept.values()]))


def judge(
    prepared: tastes.Prepared, wanted: Mapping[str, list[int]], models: Mapping[str, Recommender]
) -> dict[str, Judged]:
    """Figures at 10 of the lists that each model gives the judged users, by the key of the model.

    The whole eligible catalogue is ranked, as the model orders it and before the rules of the conf.
    """
    spark = prepared.tastes.sparkSession
    users = F.broadcast(spark.createDataFrame([(u,) for u in wanted], "user_key string"))
    index = {user: n for n, user in enumerate(wanted)}
    lists = {key: np.full((len(wanted), K), -1, dtype=np.int64) for key in models}
    rows = listing.ranked(prepared, prepared.tastes.join(users, "user_key"), K, models)
    for row in rows.toLocalIterator():
        lists[row.model][index[row.user_key], row.rank - 1] = row.item
    relevant = Ragged.from_lists(list(wanted.values()))
    return {key: judged(found, relevant, len(prepared.catalogue)) for key, found in lists.items()}


def judged(lists: NDArray[np.int64], relevant: Ragged, items: int) -> Judged:
    """The figures of these lists."""
    hits = ranking.judge(lists, relevant, K)
    ndcg = ranking.ndcg(hits)
    filled = bool((lists >= 0).any())
    metrics = {
        "ndcg_at_10": ranking.mean_over_users(ndcg),
        "recall_at_10": ranking.mean_over_users(ranking.recall(hits)),
        "precision_at_10": ranking.mean_over_users(ranking.precision(hits)),
        "map_at_10": ranking.mean_over_users(ranking.average_precision(hits)),
        "hit_rate_at_10": ranking.mean_over_users(ranking.hit(hits)),
        "coverage": ranking.coverage(lists, items),
        **({"gini": ranking.gini(lists, items)} if filled else {}),
        "judged_users": float(len(lists)),
        "catalogue_items": float(items),
    }
    return Judged(lists, ndcg, metrics)


def offer(context: Context, model: Recommender, record: registry.Record) -> str:
    """Store a model with its record and tell the ledger; its digest."""
    artefacts = context.settings.environment.lake.artefacts
    digest = registry.save(artefacts, model.to_files() | {registry.RECORD: record.to_json()})
    context.ledger.add_model(
        Model(
            source=context.source.name,
            kind="recommender",
            digest=digest,
            path=str(artefacts / digest),
            metrics=record.metrics,
            trained_through=record.trained_through,
            run_id=context.run_id,
            method=record.name,
        )
    )
    return digest


def train_als(prepared: tastes.Prepared, name: str, conf: Als, seed: int) -> Recommender:
    """Implicit ALS by Spark on everything known as of the split. No user is inside the model."""
    users = tastes.numbered(prepared.strengths)
    params = conf.model_dump(exclude={"method"})
    factors = spark_als.fit_item_factors(
        prepared.strengths.join(users, "user_key").select("user", "item", "strength"),
        n_items=len(prepared.catalogue),
        seed=seed,
        **params,
    )
    fitted = FactorModel(factors, AlsFold(conf.regularisation, conf.alpha))
    return Recommender(name, params | {"seed": seed}, prepared.catalogue, fitted, fades=True)


def train(
    prepared: tastes.Prepared, conf: Recommend, texts: Sequence[str], seed: int
) -> tuple[dict[str, Recommender], dict[str, str]]:
    """The declared methods that could learn, by name, and why the others could not.

    Methods other than ALS learn in the driver's memory, and only up to `in_memory_events` events.
    """
    found, refused = {}, {}
    in_memory: dict[str, InMemory] = {}
    for name, declared in conf.methods.items():
        if not isinstance(declared, Als):
            in_memory[name] = declared
            continue
        try:
            found[name] = train_als(prepared, name, declared, seed)
        except ValueError as fault:
            refused[name] = str(fault)
    events = prepared.events.where("weight > 0")
    if in_memory and (rows := events.count()) > conf.in_memory_events:
        told = f"{rows:,} events are more than in_memory_events allows ({conf.in_memory_events:,})"
        return found, refused | dict.fromkeys(in_memory, told)
    known = tastes.interactions(events, tastes.numbered(events), len(prepared.catalogue)) if in_memory else None
    for name, declared in in_memory.items():
        assert known is not None  # noqa: S101 - a type for mypy: it was read because there is one
        try:
            fitted = declared.build(seed, texts).fit(known)
        except ValueError as fault:
            refused[name] = str(fault)
            continue
        if silent := training_faults.of_scores(fitted, some_of(known)):
            refused[name] = "; ".join(silent)
            continue
        params = {k: v for k, v in declared.model_dump(exclude={"method"}).items() if isinstance(v, (int, float, str))}
        found[name] = Recommender(name, params | {"seed": seed}, prepared.catalogue, fitted)
    return found, refused


def some_of(known: Interactions) -> Users:
    """The first of its users, with their past, as they would be served."""
    kept = known.user < TRIED_USERS
    many = min(known.n_users, TRIED_USERS)
    first = Interactions(
        known.user[kept], known.item[kept], known.strength[kept], known.age_days[kept], many, known.n_items
    )
    return Users(np.full(first.n_users, -1), first.histories(), first.past())


def run(context: Context) -> None:
    """Offer popularity and every declared method that could learn, all judged on the last days before the night."""
    if not context.this_run.plan["train"]:
        context.log.info("training is not due")
        return
    source, conf, business = context.source, context.source.recommend, context.settings.business
    as_of = context.settings.as_of(context.business_date)
    split = as_of - timedelta(days=conf.judge_days)
    events = customers(activity(night.read(context, EVENTS)), night.read(context, EXCLUDED_USERS)).persist()
    counting = tastes.Counting(**conf.model_dump(include=set(tastes.Counting.__annotations__)))
    prepared = tastes.prepare(events, split, source.zone, counting)
    prepared = replace(prepared, strengths=prepared.strengths.persist(), tastes=prepared.tastes.persist())
    asked = truth(events, prepared, split, as_of)
    popularity = Recommender(POPULARITY, conf.model_dump(include={"popularity_days", "half_life_days"}))
    common = registry.Record(
        kind="recommender",
        name=POPULARITY,
        source=source.name,
        run_id=context.run_id,
        trained_through=split - timedelta(days=1),
        judged_on=f"{split} to {context.business_date}",
        params=dict(popularity.params),
        metrics={},
        tables={EVENTS.name: context.ledger.tables(context.run_id)[EVENTS.name].snapshot_id},
        is_baseline=True,
    )
    counted = training_faults.count_frame(prepared.strengths, prepared.eligible)
    faults = training_faults.find(counted, len(asked.wanted), common.judged_on)
    if faults.night:
        raise DataRefused(f"{source.name} {context.business_date}: {'; '.join(faults.night)}")
    if faults.fallback:
        context.log.warning("no candidate is trained: %s", faults.fallback)
        context.detail["not_trained"] = faults.fallback
        offer(context, popularity, common)
        return
    texts = texts_of(night.read(context, ITEM_FEATURES), prepared.catalogue)
    candidates, refused = train(prepared, conf, texts, business.seed)
    for name, reason in refused.items():
        context.log.warning("method=%s takes no part: %s", name, reason)
    models = {POPULARITY: popularity, **candidates}
    champion = context.ledger.champion(source.name, "recommender")
    if champion is not None:
        try:
            files = registry.load(context.settings.environment.lake.artefacts, champion.digest)
            models[champion.digest] = Recommender.from_files(files)
        except registry.RegistryError as error:
            context.log.error("the champion cannot be judged: %s", error)  # it cannot serve either: judging falls back
            champion = None
    found = judge(prepared, asked.wanted, models)
    baseline = offer(context, popularity, replace(common, metrics=found[POPULARITY].metrics))
    against = {baseline: (POPULARITY, found[POPULARITY])}
    if champion is not None:
        against.setdefault(champion.digest, (champion.method, found[champion.digest]))
    context.detail.update(refused=refused, candidates={})
    for name, model in candidates.items():
        comparisons = [
            model_gate.compare(
                *(digest, other, found[name], standing),
                seed=business.seed,
                draws=business.bootstrap_draws,
                groups=asked.groups,
            )
            for digest, (other, standing) in against.items()
        ]
        record = replace(
            common,
            name=name,
            params=dict(model.params),
            metrics=found[name].metrics,
            is_baseline=False,
            comparisons=comparisons,
        )
        digest = offer(context, model, record)
        context.detail["candidates"][name] = {"digest": digest, "ndcg_at_10": found[name].metrics["ndcg_at_10"]}
        for against_one in comparisons:
            context.log.info(
                "judged candidate=%s other=%s ndcg_at_10=%.4f against=%.4f difference=%.4f interval=[%.4f, %.4f]"
                " coverage=%.3f overlap=%.3f users=%d",
                *(name, against_one.other_name, against_one.candidate_value, against_one.other_value),
                *(against_one.difference, against_one.low, against_one.high),
                *(against_one.coverage, against_one.overlap, against_one.rows),
            )


def texts_of(items: DataFrame, catalogue: Sequence[str]) -> list[str]:
    """Title and category of each item of the catalogue, "" where there is none."""
    rows = items.select("item_id", F.concat_ws(" ", "title", "category").alias("text")).toLocalIterator()
    told = {row.item_id: row.text for row in rows}
    return [told.get(item, "") for item in catalogue]


if __name__ == "__main__":
    main(run, "train_recommender")
