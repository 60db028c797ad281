"""What `serving` needs, made of a night's frames: numbers by item on the driver, users in frames."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, timedelta
from typing import TYPE_CHECKING, Any, Protocol
from zoneinfo import ZoneInfo

import numpy as np
from numpy.typing import NDArray

from rekindle.methods import similarities, tastes
from rekindle.methods.content import Content, FittedContent
from rekindle.methods.decay import decayed_sum
from rekindle.methods.interactions import Interactions
from rekindle.methods.list_batch import ItemFacts as ListedItems
from rekindle.methods.list_settings import Rules
from rekindle.methods.neighbours import FittedItemNeighbours
from rekindle.methods.not_customers import customers
from rekindle.methods.pair_features import ItemFacts
from rekindle.methods.recommenders import Recommender
from rekindle.methods.repurchase import Clocks
from rekindle.methods.serving import Served, gap_sums
from rekindle.methods.two_stage import FittedTwoStage
from rekindle.methods.words import words

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

# Of the measures that a shop tells of its items, those that rules may ask for.
MEASURES = ("stock", "margin", "sentiment")


class Conf(Protocol):
    """What is asked of the conf of a source; see `settings.Recommend`."""

    event_weights: dict[str, float]
    half_life_days: float
    popularity_days: int
    catalogue_days: int
    durable_categories: tuple[str, ...]
    in_memory_events: int
    rules: Rules


@dataclass(frozen=True, eq=False)
class Night:
    """A night's lists before they are made.

    Attributes:
        similar: as `similarities.similar_items`.
        users: as `with_shown`.
    """

    prepared: tastes.Prepared
    similar: DataFrame
    served: Served
    users: DataFrame

    @classmethod
    def of(
        cls,
        model: Recommender,
        events: DataFrame,
        excluded: DataFrame,
        items: DataFrame,
        measures: DataFrame | None,
        earlier: Sequence[tuple[date, DataFrame]],
        as_of: date,
        zone: ZoneInfo,
        conf: Conf,
    ) -> Night:
        """From the night's events, excluded_users, item_features and item_measures, and the recommendations of
        `earlier` nights by business date, the latest first. What is popular, current or alike, customers decide."""
        counting = tastes.Counting(
            conf.event_weights,
            conf.half_life_days,
            conf.popularity_days,
            conf.catalogue_days,
            conf.durable_categories,
        )
        made = tastes.prepare(events, as_of, zone, counting, customers(events, excluded))
        prepared = replace(made, events=made.events.persist(), tastes=made.tastes.persist())
        users, n_items = customers(prepared.tastes, excluded), len(prepared.catalogue)
        similar = similarities.similar_items(users, n_items, similarities.KEPT, similarities.SHRINKAGE).persist()
        described = Described.of(items, measures, prepared.catalogue, as_of)
        facts = described.facts(conf.durable_categories)
        sums = gap_sums(users, n_items, conf.rules.repurchase.watch_days)
        heard = customers(prepared.events, excluded)
        served = Served(
            model=as_of_tonight(model, prepared, heard, conf.in_memory_events),
            place=model.place_in(prepared.catalogue),
            neighbours=neighbours_of(similar, n_items),
            content=described.content(),
            newcomers=newcomers(heard, n_items, conf.popularity_days, conf.half_life_days),
            popularity=prepared.popularity,
            eligible=prepared.eligible,
            items=facts,
            clocks=Clocks.learn(sums, facts.category, len(facts.categories), conf.rules.repurchase),
            rules=conf.rules,
        )
        return cls(prepared, similar, served, with_shown(prepared, events, earlier, as_of))


def numbered(spark: SparkSession, catalogue: Sequence[str]) -> DataFrame:
    """item_id and item, its place."""
    return spark.createDataFrame([(item, n) for n, item in enumerate(catalogue)], "item_id string, item int")


@dataclass(frozen=True, eq=False)
class Described:
    """The items of a catalogue, in its order; None, NaN where nothing is told."""

    ids: Sequence[str]
    text: Sequence[str]
    category: Sequence[str | None]
    numbers: Mapping[str, NDArray[np.float64]]

    @classmethod
    def of(cls, items: DataFrame, measures: DataFrame | None, catalogue: Sequence[str], as_of: date) -> Described:
        """From item_features and the latest of each of MEASURES in item_measures, if there are any."""
        from pyspark.sql import functions as F

        place = {item: n for n, item in enumerate(catalogue)}
        text, category = [""] * len(catalogue), [None] * len(catalogue)
        names = ("price", "age_days", "unseen_days", "events", *MEASURES)
        numbers = {name: np.full(len(catalogue), np.nan) for name in names}
        for row in items.where("item_id IS NOT NULL").toLocalIterator():
            n = place.get(row.item_id)
            if n is None:
                continue
            text[n] = " ".join(part for part in (row.title, row.category) if part)
            category[n] = row.category
            numbers["price"][n] = np.nan if row.last_price is None else row.last_price
            numbers["age_days"][n] = (as_of - row.first_seen_date).days
            numbers["unseen_days"][n] = (as_of - row.last_seen_date).days
            numbers["events"][n] = row.views_28d + row.carts_28d + row.purchases_28d
        if measures is not None:
            latest = measures.where(F.col("measure").isin(*MEASURES) & (F.col("measured_date") < F.lit(as_of)))
            told = latest.groupBy("item_id", "measure").agg(
                F.max(F.struct("measured_date", "row_id", "value")).alias("last")
            )
            for row in told.toLocalIterator():
                if row.item_id in place:
                    numbers[row.measure][place[row.item_id]] = row["last"]["value"]
        return cls(catalogue, text, category, numbers)

    def facts(self, durable_categories: Sequence[str]) -> ListedItems:
        """As rules ask for them."""
        names = sorted({name for name in self.category if name is not None})
        place: dict[str | None, int] = {name: n for n, name in enumerate(names)}
        numbers: dict[str, Any] = dict(self.numbers)
        for name in MEASURES:  # None says that the shop has no such table
            if np.isnan(numbers[name]).all():
                numbers[name] = None
        return ListedItems(
            category=np.array([place.get(name, -1) for name in self.category], dtype=np.int64),
            categories=names,
            listed_durable=np.array([name in durable_categories for name in names], dtype=np.bool_),
            ids=self.ids,
            **numbers,
        )

    def content(self) -> FittedContent | None:
        """What reads alike; None where no item has a word."""
        if not any(words(text) for text in self.text):
            return None
        nothing = np.zeros(0, dtype=np.int64)
        empty = Interactions(nothing, nothing, np.zeros(0), np.zeros(0), 0, len(self.text))
        return Content(self.text).fit(empty)


def neighbours_of(similar: DataFrame, n_items: int) -> FittedItemNeighbours:
    """The night's neighbours as a method."""
    rows = similar.select("item", "other", "similarity").toArrow()
    item, other = (rows.column(name).to_numpy().astype(np.int64) for name in ("item", "other"))
    return FittedItemNeighbours(similarities.as_matrix(item, other, rows.column("similarity").to_numpy(), n_items))


def newcomers(events: DataFrame, n_items: int, window_days: int, half_life_days: float) -> NDArray[np.float64]:
    """Decayed purchases on the first day on which a user bought anything, float64 [n_items], within the window."""
    from pyspark.sql import Window
    from pyspark.sql import functions as F

    first = F.max(F.floor("age_days")).over(Window.partitionBy("user_key"))
    bought = events.where("event_type = 'purchase'").withColumn("first", first)
    counted = bought.where((F.floor("age_days") == F.col("first")) & (F.col("age_days") < F.lit(float(window_days))))
    found = np.zeros(n_items)
    weight = decayed_sum(F.lit(1.0), F.col("age_days"), half_life_days).alias("weight")
    for row in counted.groupBy("item").agg(weight).toLocalIterator():
        found[row["item"]] = row.weight
    return found


def as_of_tonight(model: Recommender, prepared: tastes.Prepared, events: DataFrame, most_events: int) -> Recommender:
    """The model with what it knows of items as of tonight; what it learnt stays.

    Two stages ask how popular an item is and when it was last wanted: that ages by the day, as tastes do. Where the
    events are more than may be read into memory, it stays as of training.
    """
    if not isinstance(model.fitted, FittedTwoStage):
        return model
    named = events.where("weight > 0")
    if named.count() > most_events:
        return model
    told = ItemFacts.of(tastes.interactions(named, tastes.numbered(named), len(prepared.catalogue)))
    place, stage = model.place_in(prepared.catalogue), model.fitted.stage
    still = place >= 0
    item, usual = stage.facts.item.copy(), stage.facts.usual.copy()
    item[place[still]], usual[place[still]] = told.item[still], told.usual[still]
    return replace(model, fitted=replace(model.fitted, stage=replace(stage, facts=ItemFacts(item, usual))))


def with_shown(
    prepared: tastes.Prepared, events: DataFrame, earlier: Sequence[tuple[date, DataFrame]], as_of: date
) -> DataFrame:
    """The users of `prepared.tastes` with shown array<int> and shown_nights array<double>: the items of lists that were
    served on earlier nights since the user last did anything with the item, and on how many of them (both null:
    none); and with seed bigint, of user and night.

    `earlier` are recommendations by business date. A list of night D is seen on the day after.
    """
    from pyspark.sql import functions as F

    seed = F.xxhash64("user_key", F.lit(str(as_of)))
    if not earlier:
        nothing = {"shown": F.lit(None).cast("array<int>"), "shown_nights": F.lit(None).cast("array<double>")}
        return prepared.tastes.withColumns(nothing | {"seed": seed})
    lists = [
        frame.select("user_key", "item_id", F.lit(day + timedelta(days=1)).alias("seen_date")) for day, frame in earlier
    ]
    shown = lists[0]
    for more in lists[1:]:
        shown = shown.unionAll(more)
    index = numbered(events.sparkSession, prepared.catalogue)
    oldest = earlier[-1][0]
    last = (
        events.where((F.col("event_date") >= F.lit(oldest)) & F.col("item_id").isNotNull())
        .groupBy("user_key", "item_id")
        .agg(F.max("event_date").alias("last_date"))
    )
    counted = (
        shown.join(last, ["user_key", "item_id"], "left")
        .where("last_date IS NULL OR seen_date > last_date")
        .groupBy("user_key", "item_id")
        .agg(F.count(F.lit(1)).cast("double").alias("nights"))
        .join(F.broadcast(index), "item_id")
        .groupBy("user_key")
        .agg(F.array_sort(F.collect_list(F.struct("item", "nights"))).alias("told"))
    )
    return (
        prepared.tastes.join(counted, "user_key", "left")
        .withColumns({"shown": F.col("told.item"), "shown_nights": F.col("told.nights"), "seed": seed})
        .drop("told")
    )
