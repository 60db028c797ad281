"""Train the recommender and judge it on later days beside popularity and the champion.

Reads   events, excluded_users
Writes  the registry (popularity as baseline, ALS as candidate), ops.models

Excluded users are neither learnt from nor judged on. Does nothing in a night where training is not due.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import date, timedelta

import numpy as np
from numpy.typing import NDArray
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from rekindle import night, registry
from rekindle.cli import Context, DataRefused, main
from rekindle.ledger import Model
from rekindle.methods import als, bootstrap, listing, ranking
from rekindle.methods.dense_ids import dense_ids
from rekindle.methods.not_customers import customers
from rekindle.methods.ragged import Ragged
from rekindle.methods.recommenders import Recommender
from rekindle.settings import Recommend
from schemas.events import EVENTS
from schemas.excluded_users import EXCLUDED_USERS

K = 10
# Judging holds lists of this many users on the driver at most (a hash sample): 50,000 x 10 x 8 bytes are 4 MB.
JUDGED_USERS = 50_000


@dataclass(frozen=True)
class Judged:
    """The lists of one model for the judged users, and the NDCG of each."""

    lists: NDArray[np.int64]
    ndcg: NDArray[np.float64]
    metrics: dict[str, float]


def truth(events: DataFrame, prepared: listing.Prepared, first: date, last: date) -> dict[str, list[int]]:
    """What each judged user bought on the days from `first` to before `last`: item indexes of the catalogue.

    Judged are users with a taste before `first`; a hash sample where there are more than JUDGED_USERS.
    """
    place = {item: n for n, item in enumerate(prepared.catalogue)}
    bought = (
        events.where((F.col("event_type") == "purchase") & (F.col("event_date") >= F.lit(first)))
        .where(F.col("event_date") < F.lit(last))
        .join(prepared.tastes.where(F.size("items") > 0).select("user_key"), "user_key")
        .groupBy("user_key")
        .agg(F.array_sort(F.collect_set("item_id")).alias("items"))
        .orderBy(F.xxhash64("user_key"), "user_key")
        .limit(JUDGED_USERS)
    )
    known = {r.user_key: [place[i] for i in r["items"] if i in place] for r in bought.collect()}
    return {user: items for user, items in sorted(known.items()) if items}


def judge(prepared: listing.Prepared, wanted: Mapping[str, list[int]], model: Recommender) -> Judged:
    """Figures at 10 of the lists that this model would have served the judged users; the whole catalogue is ranked."""
    spark = prepared.tastes.sparkSession
    users = F.broadcast(spark.createDataFrame([(u,) for u in wanted], "user_key string"))
    rows = listing.lists(prepared, prepared.tastes.join(users, "user_key"), K, model).collect()
    index = {user: n for n, user in enumerate(wanted)}
    lists = np.full((len(wanted), K), -1, dtype=np.int64)
    for row in rows:
        lists[index[row.user_key], row.rank - 1] = row.item
    judged = ranking.judge(lists, Ragged.from_lists(list(wanted.values())), K)
    ndcg = ranking.ndcg(judged)
    metrics = {
        "ndcg_at_10": ranking.mean_over_users(ndcg),
        "recall_at_10": ranking.mean_over_users(ranking.recall(judged)),
        "precision_at_10": ranking.mean_over_users(ranking.precision(judged)),
        "map_at_10": ranking.mean_over_users(ranking.average_precision(judged)),
        "hit_rate_at_10": ranking.mean_over_users(ranking.hit(judged)),
        "coverage": ranking.coverage(lists, len(prepared.catalogue)),
        "gini": ranking.gini(lists, len(prepared.catalogue)),
        "judged_users": float(len(wanted)),
        "catalogue_items": float(len(prepared.catalogue)),
    }
    return Judged(lists, ndcg, metrics)


def compare(other: str, name: str, candidate: Judged, standing: Judged, seed: int, draws: int) -> registry.Comparison:
    """The candidate's NDCG@10 against another model's, paired by user."""
    found = bootstrap.paired_mean_difference(candidate.ndcg, standing.ndcg, seed=seed, draws=draws)
    return registry.Comparison(
        other=other,
        other_name=name,
        metric="ndcg_at_10",
        candidate_value=candidate.metrics["ndcg_at_10"],
        other_value=standing.metrics["ndcg_at_10"],
        difference=found.point,
        low=found.low,
        high=found.high,
        rows=len(candidate.ndcg),
    )


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


def train(prepared: listing.Prepared, conf: Recommend, seed: int) -> Recommender:
    """Implicit ALS on everything known as of the split. No user is inside the model."""
    users = dense_ids(prepared.strengths, "user_key", "user")
    params = conf.model_dump(include={"rank", "iterations", "regularisation", "alpha"})
    factors = als.fit_item_factors(
        prepared.strengths.join(users, "user_key").select("user", "item", "strength"),
        n_items=len(prepared.catalogue),
        seed=seed,
        **params,
    )
    return Recommender("als", params | {"seed": seed}, prepared.catalogue, factors)


def run(context: Context) -> None:
    """Offer popularity and ALS, both judged on the last days before the night."""
    if not context.this_run.plan["train"]:
        context.log.info("training is not due")
        return
    source, conf, business = context.source, context.source.recommend, context.settings.business
    as_of = context.settings.as_of(context.business_date)
    split = as_of - timedelta(days=conf.judge_days)
    events = customers(night.read(context, EVENTS), night.read(context, EXCLUDED_USERS)).persist()
    counting = listing.Counting(**conf.model_dump(include=set(listing.Counting.__annotations__)))
    prepared = listing.prepare(events, split, source.zone, counting)
    prepared = replace(prepared, strengths=prepared.strengths.persist(), tastes=prepared.tastes.persist())
    wanted = truth(events, prepared, split, as_of)
    if not wanted:
        raise DataRefused(
            f"{source.name} {context.business_date}: nobody seen before {split} bought anything from then on;"
            f" a recommender cannot be judged on {conf.judge_days} days"
        )
    popularity = Recommender("popularity", conf.model_dump(include={"popularity_days", "half_life_days"}))
    candidate = train(prepared, conf, business.seed)
    standing, offered = judge(prepared, wanted, popularity), judge(prepared, wanted, candidate)
    common = registry.Record(
        kind="recommender",
        name=popularity.method,
        source=source.name,
        run_id=context.run_id,
        trained_through=split - timedelta(days=1),
        judged_on=f"{split} to {context.business_date}",
        params=dict(popularity.params),
        metrics=standing.metrics,
        tables={EVENTS.name: context.ledger.tables(context.run_id)[EVENTS.name].snapshot_id},
        is_baseline=True,
    )
    baseline_digest = offer(context, popularity, common)
    against = {baseline_digest: (popularity.method, standing)}
    champion = context.ledger.champion(source.name, "recommender")
    if champion is not None and champion.digest not in against:
        files = registry.load(context.settings.environment.lake.artefacts, champion.digest)
        against[champion.digest] = (champion.method, judge(prepared, wanted, Recommender.from_files(files)))
    comparisons = [
        compare(digest, name, offered, other, business.seed, business.bootstrap_draws)
        for digest, (name, other) in against.items()
    ]
    record = replace(
        common,
        name=candidate.method,
        params=dict(candidate.params),
        metrics=offered.metrics,
        is_baseline=False,
        comparisons=comparisons,
    )
    digest = offer(context, candidate, record)
    context.detail.update(candidate=digest, ndcg_at_10=offered.metrics["ndcg_at_10"])
    for found in comparisons:
        context.log.info(
            "judged candidate=als other=%s ndcg_at_10=%.4f against=%.4f difference=%.4f interval=[%.4f, %.4f] users=%d",
            found.other_name,
            found.candidate_value,
            found.other_value,
            found.difference,
            found.low,
            found.high,
            found.rows,
        )


if __name__ == "__main__":
    main(run, "train_recommender")
