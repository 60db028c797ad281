"""What a user likes: shares of categories and brands, with and without fading, and the words that set the user apart.

Events are a frame with user_key, event_type, event_date, item_id, title, category, brand and text, of what users did
before `as_of`; nothing else is assumed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import date
from typing import TYPE_CHECKING

import pandas as pd  # not for type checking alone: Spark reads the hints of a pandas function

from rekindle.methods.decay import event_weight

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame

MOST = 3  # categories and brands told
MOST_KEYWORDS = 10
# Whole parts of a weight of 1: sums of whole numbers are the same in every order. The oldest action keeps one part, so
# that who has not been here for thirty half-lives still has a taste.
PARTS = 1_000_000_000
DESCRIBED = ("title", "category", "brand")


def catalogue(logged: DataFrame, told: DataFrame | None, as_of: date) -> DataFrame:
    """By item: title, category and brand, as the log has them last (`logged`: item_id, title, category), else as the
    shop last told of its items before `as_of`; `told` (item_id, DESCRIBED, place) is None where the shop tells none.
    """
    from pyspark.sql import functions as F

    if told is None:
        return logged.select("item_id", "title", "category", F.lit(None).cast("string").alias("brand"))
    place = ("landing_date", "file_sha256", "line_number")
    last = [F.max(F.when(F.col(n).isNotNull(), F.struct(*place, n)))[n].alias(f"told_{n}") for n in DESCRIBED]
    known = told.where(F.col("landing_date") < F.lit(as_of)).groupBy("item_id").agg(*last)
    return logged.join(known, "item_id", "left").select(
        "item_id",
        F.coalesce("title", "told_title").alias("title"),
        F.coalesce("category", "told_category").alias("category"),
        F.col("told_brand").alias("brand"),
    )


def described(events: DataFrame, items: DataFrame) -> DataFrame:
    """The events, of which those without a title, a category or a brand have the item's of a `catalogue`."""
    from pyspark.sql import functions as F

    known = items.withColumnsRenamed({name: f"item_{name}" for name in DESCRIBED})
    return events.join(known, "item_id", "left").withColumns(
        {name: F.coalesce(name, f"item_{name}") for name in DESCRIBED}
    )


def faded_parts(as_of: date, weights: Mapping[str, float], half_life_days: float | None) -> Column:
    """weight · 2^(−days before as_of / half-life) in whole PARTS, at least 1; null for a type without a weight above 0.

    Without a half-life nothing fades.
    """
    from pyspark.sql import functions as F

    age = F.date_diff(F.lit(as_of), "event_date").cast("double")
    weight = event_weight(F.col("event_type"), {name: value for name, value in weights.items() if value > 0})
    faded = weight
    if half_life_days is not None:
        faded = weight * F.pow(F.lit(2.0), -age / F.lit(float(half_life_days)))
    whole = F.rint(faded * F.lit(float(PARTS))).cast("bigint")
    return F.when(weight.isNotNull(), F.greatest(whole, F.lit(1).cast("bigint")))  # `greatest` passes a null over


def shares(events: DataFrame, of: str, measures: Mapping[str, tuple[Column, str]]) -> DataFrame:
    """By user with any action that has a weight and a value in the column `of`, for each of `measures`: up to MOST of
    the values and their shares of the user's weight, largest first, of equals the first by name.

    A measure is named by its array of values, and has the weight in whole parts and the name of its array of shares.
    """
    from pyspark.sql import functions as F

    weights = {f"parts_of_{names}": parts for names, (parts, _) in measures.items()}
    summed = (
        events.where(F.col(of).isNotNull())
        .select("user_key", of, *[parts.alias(name) for name, parts in weights.items()])
        .where(" OR ".join(f"{name} IS NOT NULL" for name in weights))
        .groupBy("user_key", of)
        .agg(*[(-F.sum(name)).alias(name) for name in weights])
    )
    ranked = [F.array_sort(F.collect_list(F.struct(name, of))).alias(name) for name in weights]
    totals = [F.sum(name).cast("double").alias(f"all_{name}") for name in weights]
    listed = summed.groupBy("user_key").agg(*ranked, *totals)
    told = []
    for (names, (_, shared)), name in zip(measures.items(), weights, strict=True):
        top = F.slice(name, 1, MOST)
        told.append(top[of].alias(names))
        told.append(_parts_of(top[name], F.col(f"all_{name}")).alias(shared))
    return listed.select("user_key", *told)


def keywords(
    events: DataFrame, as_of: date, weights: Mapping[str, float], half_life_days: float, least_users: int
) -> DataFrame:
    """By user with any: up to MOST_KEYWORDS words and their weights, strongest first, of equals the first by name.

    TF-IDF (Salton and Buckley 1988) with users for documents: a word's faded weight over all of the user's, times
    log((1 + n) / (1 + users with the word)) + 1 over the n users with a word; divided by the l2 norm of the user's.
    Words are of the titles of what the user did something with and of what was searched for, a search like an action of
    weight 1 where `weights` say nothing else. A word of fewer than `least_users` users takes no part.
    """
    from pyspark.sql import functions as F

    text = F.when(F.col("event_type") == "search", F.col("text")).otherwise(F.col("title"))
    parts = faded_parts(as_of, {"search": 1.0, **weights}, half_life_days)
    texts = (
        events.select("user_key", text.alias("words_of"), parts.alias("parts"))
        .where("words_of IS NOT NULL AND parts IS NOT NULL")
        .groupBy("user_key", "words_of")
        .agg(F.sum("parts").alias("parts"))
    )
    per_user = (
        texts.select("user_key", "parts", F.explode(_telling_words()(F.col("words_of"))).alias("word"))
        .groupBy("user_key", "word")
        .agg(F.sum("parts").alias("parts"))
        .persist()
    )
    users = per_user.agg(F.count_distinct("user_key").alias("n"))
    known = (
        per_user.groupBy("word")
        .agg(F.count(F.lit(1)).alias("users"))
        .where(F.col("users") >= least_users)
        .crossJoin(F.broadcast(users))
        .select("word", (F.log((F.col("n") + 1) / (F.col("users") + 1)) + 1).alias("idf"))
    )
    weight = F.col("parts").cast("double") * F.col("idf")
    weighed = per_user.join(known, "word").select("user_key", "word", weight.alias("weight"))
    strongest = F.array_sort(F.collect_list(F.struct((-F.col("weight")).alias("less"), "word")))
    listed = weighed.groupBy("user_key").agg(strongest.alias("ranked"))
    # The strongest first and by name: summed in that order, the squares are the same whatever the order of rows.
    largest = -F.col("ranked")[0]["less"]
    squares = F.aggregate("ranked", F.lit(0.0), lambda so_far, e: so_far + F.pow(e["less"] / largest, F.lit(2.0)))
    return listed.withColumn("length", F.sqrt(squares) * largest).select(
        "user_key",
        F.transform(F.slice("ranked", 1, MOST_KEYWORDS), lambda e: e["word"]).alias("keywords"),
        F.transform(F.slice("ranked", 1, MOST_KEYWORDS), lambda e: F.round(-e["less"] / F.col("length"), 6)).alias(
            "keyword_weights"
        ),
    )


def _parts_of(values: Column, whole: Column) -> Column:
    from pyspark.sql import functions as F

    return F.transform(values, lambda value: value.cast("double") / whole)


def _telling_words() -> Callable[[Column], Column]:
    """`words.telling_words` of a column; a text that stands in many rows of a batch is cut once."""
    from pyspark.sql.pandas.functions import pandas_udf

    def cut(texts: pd.Series) -> pd.Series:
        from rekindle.methods.words import telling_words

        return texts.map({text: telling_words(text) for text in texts.unique()})

    made: Callable[[Column], Column] = pandas_udf(cut, "array<string>")  # type: ignore[call-overload]
    return made
