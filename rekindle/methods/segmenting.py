"""Users on their way into segments: who takes part, the sample that borders are drawn on, and everybody's segment.

Frames: events as the contract `events` has them, users as `user_features` of one `as_of`; no other table is known.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd  # not for type checking alone: Spark reads the hints of a pandas function
from numpy.typing import NDArray
from pyspark.sql import functions as F
from pyspark.sql.pandas.functions import pandas_udf

from rekindle.methods.activity import activity
from rekindle.methods.churn_examples import chosen
from rekindle.methods.clusters import squares
from rekindle.methods.segment_features import NAMES
from rekindle.methods.segment_models import BISECTING, K_MEANS, METHODS, TOPICS, Documents, Model, dense
from rekindle.methods.segment_settings import Segments
from rekindle.methods.words import telling_words

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame

EXCLUDED, SILENT, TOO_FEW_ACTIONS, TOO_FEW_USERS = ("excluded", "silent", "too_few_actions", "too_few_users")
CATEGORISED = 0.5  # share of what users touched that needs a category for topics to be made of categories
COMMON = 0.5  # share of users beyond which a word of a title says nothing of taste
LARGEST_DAYS = 30  # an item that is looked at every day counts no more than this
MONEY = "decimal(28,4)"
# What `assigned` gives beside the user's key: groups are numbers within the model, null where there is none.
ASSIGNED = (
    "user_key string, spend_90d double, at_stake double, k_means int, nearness double, next int, then int,"
    " bisecting int, topics int, topic_share double"
)
CARRIED = ("spend_90d", "no_purchase_probability")


@dataclass(frozen=True)
class Vocabulary:
    """What documents are made of: words of items' categories or titles. No words: not chosen yet."""

    words_of: str
    words: tuple[str, ...] = ()


def touched(events: DataFrame, as_of: date, window_days: int) -> DataFrame:
    """One row per user and item (null: none) of the window: on how many days, and in how many actions."""
    return (
        activity(events, as_of)
        .where(F.col("event_date") >= F.lit(as_of - timedelta(days=window_days)))
        .groupBy("user_key", "item_id")
        .agg(
            F.least(F.size(F.collect_set("event_date")), F.lit(LARGEST_DAYS)).alias("days"),
            F.count(F.lit(1)).alias("actions"),
        )
    )


def categorised(actions: DataFrame, items: DataFrame) -> bool:
    """Whether so much of what users touch has a category that topics are made of these; of title words otherwise."""
    found = actions.join(items.select("item_id", "category"), "item_id").agg(
        F.try_divide(F.sum(F.when(F.col("category").isNotNull(), F.col("days"))), F.sum("days")).alias("share")
    )
    return bool((found.collect()[0]["share"] or 0.0) >= CATEGORISED)


def telling(text: str) -> list[str]:
    """The words of a title that may name a topic, each once: no numbers, no words that stand in every text, none of
    fewer than three Latin letters."""
    found = dict.fromkeys(telling_words(text))
    return [w for w in found if not any(c.isdigit() for c in w) and len(w) >= (3 if w.isascii() else 2)]


def item_words(items: DataFrame, words_of: str) -> DataFrame:
    """Each item's words: its category as one word, or those of its title."""
    if words_of == "category":
        words: Column = F.when(F.col("category").isNotNull(), F.array("category"))
    else:

        def split(titles: pd.Series) -> pd.Series:
            return titles.map(lambda title: telling(title) if title is not None else [])

        words = pandas_udf(split, "array<string>")("title")  # type: ignore[call-overload]
    return items.select("item_id", words.alias("words"))


def described(actions: DataFrame, items: DataFrame, vocabulary: Vocabulary) -> DataFrame:
    """One row per user: `actions` in the window, and `words` beside `times`, on how many days an item of each was
    touched, of the vocabulary's words in their order."""
    known = item_words(items, vocabulary.words_of)
    if vocabulary.words:
        known = known.withColumn("words", F.array_intersect("words", F.array(*[F.lit(w) for w in vocabulary.words])))
    else:
        known = known.withColumn("words", F.lit(None).cast("array<string>"))
    each = actions.join(known, "item_id", "left").select(
        "user_key", "days", "actions", F.posexplode_outer("words").alias("place", "word")
    )
    # An item of several words has several rows; its actions count in the first.
    first = F.coalesce(F.col("place"), F.lit(0)) == 0
    pairs = F.array_sort(F.collect_list(F.when(F.col("word").isNotNull(), F.struct("word", "times"))))
    return (
        each.groupBy("user_key", "word")
        .agg(F.sum("days").alias("times"), F.sum(F.when(first, F.col("actions"))).alias("actions"))
        .groupBy("user_key")
        .agg(F.sum("actions").alias("actions"), pairs.alias("pairs"))
        .select("user_key", "actions", F.col("pairs.word").alias("words"), F.col("pairs.times").alias("times"))
    )


def vocabulary(actions: DataFrame, items: DataFrame, users: int, conf: Segments) -> Vocabulary:
    """The words that the most of the `users` touched, in alphabetical order: `topic_words` of them reach the driver.

    Counted on about `topic_users` users. A title's word that COMMON of them touched says nothing of anybody.
    """
    some = chosen(actions, users, conf.topic_users)
    words_of = "category" if categorised(some, items) else "title"
    counted = (
        some.join(item_words(items, words_of), "item_id")
        .select("user_key", F.explode("words").alias("word"))
        .groupBy("word")
        .agg(F.count_distinct("user_key").alias("users"))
        .where(F.col("users") > 1)
    )
    if words_of == "title":
        asked = some.agg(F.count_distinct("user_key").alias("n")).collect()[0]["n"]
        counted = counted.where(F.col("users") < max(2, COMMON * asked))
    rows = counted.orderBy(F.desc("users"), "word").limit(conf.topic_words).collect()
    return Vocabulary(words_of, tuple(sorted(row["word"] for row in rows)))


def people(features: DataFrame, excluded: DataFrame, told: DataFrame, conf: Segments) -> DataFrame:
    """Everybody with features: these, words, and `unsegmented_as`, why they are in no segment (null: they are in one);
    that a shop has too few users is not known yet."""
    out = excluded.select("user_key").distinct().withColumn("is_excluded", F.lit(True))
    why = (
        F.when(F.col("is_excluded"), EXCLUDED)
        .when(F.col("days_since_activity") > conf.window_days, SILENT)
        .when(F.coalesce(F.col("actions"), F.lit(0)) < conf.least_actions, TOO_FEW_ACTIONS)
    )
    return (
        features.select("user_key", *dict.fromkeys((*NAMES, *CARRIED)))
        .join(out, "user_key", "left")
        .join(told, "user_key", "left")
        .withColumn("unsegmented_as", why)
        .drop("is_excluded", "actions")
    )


@dataclass(frozen=True, eq=False)
class Sample:
    """About `sample_users` users in the order of their keys, which is no meaningful one: features [users, NAMES] (NaN
    is null); what about `topic_users` of them looked at."""

    values: NDArray[np.float64]
    documents: Documents


def sample(segmented: DataFrame, users: int, conf: Segments, vocabulary: Vocabulary) -> Sample:
    """The sample of `users` users, chosen by the hash of the key: the same ones every night."""
    threshold = int(1_000_000 * min(1.0, conf.topic_users / max(users, 1)))
    looked_at = F.pmod(F.xxhash64("user_key"), F.lit(1_000_000)) < threshold
    found = (
        chosen(segmented, users, conf.sample_users)
        .select("user_key", *NAMES, *[F.when(looked_at, F.col(name)).alias(name) for name in ("words", "times")])
        .toPandas()
        .sort_values("user_key", ignore_index=True)
    )
    values = found[list(NAMES)].to_numpy(dtype=np.float64, na_value=np.nan)
    spoken = dense(vocabulary.words, list(found["words"]), list(found["times"]))
    return Sample(values, Documents(vocabulary.words, spoken, vocabulary.words_of))


def assigned(segmented: DataFrame, models: Mapping[str, Model], then: Model | None) -> DataFrame:
    """Each user's groups by the models, as ASSIGNED; `then` is the k-means model of the publication before, whose group
    says where the user would be if no border had moved.

    Computed on the executors in batches; what comes out for a user depends on that user alone.
    """
    told = {method: model.to_json() for method, model in models.items()}
    earlier = then.to_json() if then else None

    def put(batches: Iterable[pd.DataFrame]) -> Iterable[pd.DataFrame]:
        made = {method: Model.from_json(method, text) for method, text in told.items()}
        old = Model.from_json(K_MEANS, earlier) if earlier else None
        for batch in batches:
            yield _put(batch, made, old)

    columns = dict.fromkeys(("user_key", *NAMES, *CARRIED, "words", "times"))
    return segmented.select(*columns).mapInPandas(put, ASSIGNED)


def _put(batch: pd.DataFrame, models: Mapping[str, Model], then: Model | None) -> pd.DataFrame:
    values = batch[list(NAMES)].to_numpy(dtype=np.float64, na_value=np.nan)
    spend = batch["spend_90d"].to_numpy(dtype=np.float64)
    leaves = batch["no_purchase_probability"].to_numpy(dtype=np.float64, na_value=np.nan)
    found = pd.DataFrame({"user_key": batch["user_key"], "spend_90d": spend})
    found["at_stake"] = np.round(np.maximum(spend, 0.0) * leaves, 4)
    for name in ("nearness", "topic_share"):
        found[name] = np.nan
    for name in (*METHODS, "next", "then"):
        found[name] = pd.array([None] * len(batch), dtype="Int32")
    if K_MEANS in models:
        label, nearness, following = near(models[K_MEANS], values)
        found[K_MEANS], found["nearness"], found["next"] = _whole(label), nearness, _whole(following)
    if then is not None:
        found["then"] = _whole(then.centres.labels(then.points(values)))
    if BISECTING in models:
        found[BISECTING] = _whole(models[BISECTING].groups.labels(models[BISECTING].points(values)))
    if TOPICS in models:
        groups = models[TOPICS].topics
        spoken = dense(groups.words, list(batch["words"]), list(batch["times"]))
        mixes, heard = groups.mixes(spoken), spoken.sum(axis=1) > 0
        found["topic_share"] = np.where(heard, mixes.max(axis=1), np.nan)
        found[TOPICS] = _whole(np.where(heard, mixes.argmax(axis=1), -1))
    return found[[part.split()[0] for part in ASSIGNED.split(", ")]]


def near(model: Model, values: NDArray[np.float64]) -> tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.int64]]:
    """Of each user the nearest centre, 1 less its distance over that of the next, and the next."""
    distances = squares(model.points(values), model.centres.centres)
    order = np.argsort(distances, axis=1, kind="stable")
    rows = np.arange(len(distances))
    first, second = distances[rows, order[:, 0]], distances[rows, order[:, 1]]
    nearness = 1.0 - np.sqrt(first / np.where(second > 0, second, 1.0))
    told = np.round(np.where(second > 0, nearness, 0.0), 6).astype(np.float64)
    return order[:, 0].astype(np.int64), told, order[:, 1].astype(np.int64)


def _whole(labels: NDArray[np.int64]) -> pd.Series:
    """Group numbers, below 0 as null."""
    found = pd.Series(labels).astype("Int32")
    return found.mask(found < 0)


def members(found: DataFrame, everybody: DataFrame, models: Mapping[str, Model], few: bool) -> DataFrame:
    """The columns of user_segments of everybody; `few` says that the shop has too few users for segments."""
    from rekindle.methods import segment_names

    def told(method: str, number: str, what: Sequence[str]) -> Column:
        values = F.array(*[F.lit(value) for value in what]) if what else F.array(F.lit(None).cast("string"))
        return F.when(F.col(number).isNotNull(), F.get(values, F.col(number))) if method in models else _null("string")

    def names(method: str) -> list[str]:
        return [segment_names.name(parts) for parts in models[method].parts] if method in models else []

    def ids(method: str) -> Sequence[str]:
        return models[method].ids if method in models else ()

    why = F.coalesce("unsegmented_as", F.lit(TOO_FEW_USERS)) if few else F.col("unsegmented_as")
    joined = everybody.select("user_key", why.alias("unsegmented_as")).join(found, "user_key", "left")
    return joined.select(
        "user_key",
        told(K_MEANS, K_MEANS, ids(K_MEANS)).alias("segment_id"),
        told(K_MEANS, K_MEANS, names(K_MEANS)).alias("segment_name"),
        _or_null("nearness").alias("nearness"),
        told(K_MEANS, "next", ids(K_MEANS)).alias("next_segment_id"),
        told(BISECTING, BISECTING, ids(BISECTING)).alias("group_id"),
        told(BISECTING, BISECTING, names(BISECTING)).alias("group_name"),
        told(TOPICS, TOPICS, ids(TOPICS)).alias("topic_id"),
        told(TOPICS, TOPICS, names(TOPICS)).alias("topic_name"),
        _or_null("topic_share").alias("topic_share"),
        "unsegmented_as",
    )


def _null(kind: str) -> Column:
    return F.lit(None).cast(kind)


def _or_null(column: str) -> Column:
    """What pandas gives as NaN is null in a table."""
    return F.nanvl(F.col(column), _null("double"))


IDS = {K_MEANS: "segment_id", BISECTING: "group_id", TOPICS: "topic_id"}


@dataclass(frozen=True)
class Passage:
    """Users who were in one segment and are in one group, None for none, and their worth: money of 90 days, and money
    at stake (None: no user has such a probability)."""

    before: str | None
    now: int | None
    users: int
    spend: Decimal
    stake: Decimal | None


def passages(found: DataFrame, before: DataFrame | None) -> dict[str, list[Passage]]:
    """Of each method who went where; `before` is user_segments of the publication before.

    One row for each pair of segment and group reaches the driver; sums are exact.
    """
    now = found.select("user_key", *METHODS, "spend_90d", "at_stake")
    then = [f"{m}_before" for m in METHODS]
    if before is None:
        both = now.withColumns(dict.fromkeys(then, _null("string")))
    else:
        old = before.select("user_key", *[F.col(IDS[m]).alias(f"{m}_before") for m in METHODS])
        both = old.join(now, "user_key", "full")
    each = [
        F.struct(F.lit(m).alias("method"), F.col(f"{m}_before").alias("before"), F.col(m).alias("now")) for m in METHODS
    ]
    stake = F.when(~F.isnan("at_stake"), F.col("at_stake").cast(MONEY))
    rows = (
        both.select(F.explode(F.array(*each)).alias("passage"), "spend_90d", stake.alias("at_stake"))
        .groupBy("passage")
        .agg(
            F.count(F.lit(1)).alias("users"),
            F.coalesce(F.sum(F.col("spend_90d").cast(MONEY)), F.lit(0).cast(MONEY)).alias("spend"),
            F.sum("at_stake").alias("stake"),
        )
        .select("passage.*", "users", "spend", "stake")
        .where("before IS NOT NULL OR now IS NOT NULL")
        .collect()
    )
    told: dict[str, list[Passage]] = {m: [] for m in METHODS}
    for row in rows:
        told[row["method"]].append(Passage(row["before"], row["now"], row["users"], row["spend"], row["stake"]))
    return told


def movements(
    now: DataFrame, found: DataFrame, before: DataFrame, model: Model | None, then: Model | None
) -> DataFrame:
    """Who is in another k-means segment than before, and why; `now` and `before` are user_segments of tonight and of
    the publication before, `found` tonight's as `assigned` gave them, the models those of either."""
    of_then, of_now = then.ids if then else (), model.ids if model else ()
    old = before.select(
        "user_key", F.col("segment_id").alias("segment_before"), F.col("segment_name").alias("name_before")
    )
    new = now.select("user_key", F.col("segment_id").alias("segment_after"), F.col("segment_name").alias("name_after"))
    would = found.select("user_key", F.get(F.array(*[F.lit(i) for i in of_then or ("",)]), "then").alias("would_be"))
    was, stands = F.col("segment_before"), F.col("segment_after")
    dissolved = [i for i in of_then if i not in of_now]
    born = [i for i in of_now if i not in of_then]
    return (
        old.join(new, "user_key", "full")
        .where(~was.eqNullSafe(stands))
        .join(would, "user_key", "left")
        .withColumns(
            {
                "change": F.when(was.isNull(), "entered").when(stands.isNull(), "left").otherwise("moved"),
                "cause": F.when(was.isNull() | stands.isNull() | ~F.col("would_be").eqNullSafe(was), "behaviour")
                .when(was.isin(*dissolved), "dissolved")
                .when(stands.isin(*born), "born")
                .otherwise("borders"),
            }
        )
    )
