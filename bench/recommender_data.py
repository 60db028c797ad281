"""The shops that recommenders are judged on: public data, read from a folder, split as docs/recommenders.md says.

One shop is simulated, for there the users' tastes are known; no row of the others is in the repository. A data set
whose files are absent raises FileNotFoundError and is left out.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import duckdb
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from bench.simulated_tastes import DAYS, JUDGED_DAYS, live, weights
from rekindle.methods.interactions import Interactions
from rekindle.methods.shop_catalogue import CATEGORIES
from rekindle.methods.splits import Events, Split, at_instant, cold_in_target, random_per_user

SEED = 42  # of the random split
TRUTH_DAYS = 28
TASTES = "planted tastes"
KNOWN_SHARE = 0.8
HOUSEHOLD_ZONE = "America/New_York"  # the authors' zone; the file is in UTC


@dataclass(frozen=True, eq=False)
class DataSet:
    """One data set, split and described.

    Attributes:
        title: a heading.
        told: how it was read and split, a sentence or two.
        splits: what was asked, by the words of the tables; all share one `known`.
        texts: title and categories of each item, "" where there is none.
        category: int64 [n_items], or None where the data set has none.
        half_life_days, window_days: for popularity.
        least_strength: the weight of the events that truth is made of, where known events of less weight are no truth.
        rated: what is known with the ratings as strengths, where explicit ALS is to be shown.
        domain: int64 [n_items], 0: the target, 1 and more: sources, where transfer is asked; else None.
    """

    title: str
    told: str
    splits: Mapping[str, Split]
    texts: list[str]
    category: NDArray[np.int64] | None
    half_life_days: float
    window_days: float
    least_strength: float = 0.0
    rated: Interactions | None = None
    domain: NDArray[np.int64] | None = None


def movielens(folder: Path) -> tuple[Events, list[str], NDArray[np.int64]]:
    """ML-100k with the rating as strength; texts are title and genres, the category is a film's first genre."""
    here = folder / "ml-100k"
    columns = ["user", "item", "rating", "second"]
    rows = pd.read_csv(here / "u.data", sep="\t", names=columns)
    genres = pd.read_csv(here / "u.genre", sep="|", names=["genre", "number"])["genre"].astype(str).tolist()
    names = ["item", "title", "released", "on_video", "address", *genres]
    films = pd.read_csv(here / "u.item", sep="|", names=names, encoding="latin-1").sort_values("item")
    flags = films[genres].to_numpy(dtype=bool)
    texts = [
        " ".join([str(title), *(g for g, has in zip(genres, row, strict=True) if has)])
        for title, row in zip(films["title"], flags, strict=True)
    ]
    events = Events(
        rows["user"].to_numpy(np.int64) - 1,
        rows["item"].to_numpy(np.int64) - 1,
        rows["rating"].to_numpy(np.float64),
        rows["second"].to_numpy(np.float64) / 86_400,
        int(rows["user"].max()),
        len(films),
    )
    return events, texts, flags.argmax(axis=1).astype(np.int64)


def alike(events: Events) -> Events:
    """The same events, each of strength 1."""
    return replace(events, strength=np.ones(len(events)))


def ml_100k_random(folder: Path) -> DataSet:
    """The published protocol."""
    events, texts, genre = movielens(folder)
    return DataSet(
        "ML-100k, 75/25 at random",
        "MovieLens 100K, 100,000 ratings of 1,682 films by 943 users; every rating counts 1, whatever its stars. A "
        "quarter of each user's films, drawn at random, is the truth; films seen are removed. Published for this "
        "protocol (Microsoft Recommenders, another draw): BiVAE 0.475, BPR 0.442, LightGCN 0.420, SAR 0.382, explicit "
        "ALS of Spark 0.044. The draw sees the future: these figures say that a method is made right, not what a shop "
        "gets.",
        {"films not seen": random_per_user(alike(events), seed=SEED)},
        texts,
        genre,
        half_life_days=10_000,
        window_days=10_000,
        rated=random_per_user(events, seed=SEED).known,
    )


def ml_100k_time(folder: Path) -> DataSet:
    """The same ratings with one instant for everybody."""
    events, texts, genre = movielens(folder)
    instant = float(np.quantile(events.day, KNOWN_SHARE))
    split = at_instant(alike(events), instant, block_seen=True)
    return DataSet(
        "ML-100k, split in time",
        "The same ratings; the first 80 % in time are known, and truth is what users with a history rated afterwards. "
        "Films seen are removed. Most users of this site rated everything in one sitting, so few have both sides.",
        {"films not seen": split},
        texts,
        genre,
        half_life_days=60,
        window_days=240,
    )


def online_retail(folder: Path) -> DataSet:
    """A gift shop's invoices, as conf/sources/online_retail.yaml reads them."""
    here = folder / "online-retail"
    if not any(here.glob("*.csv")):
        raise FileNotFoundError(here / "*.csv")
    with duckdb.connect() as connection:
        rows = connection.execute(
            r"""
            SELECT DISTINCT regexp_replace(trim(CustomerID), '\.0$', '') AS user, upper(trim(StockCode)) AS item,
                Description AS text, InvoiceNo, Quantity, UnitPrice, CAST(InvoiceDate AS TIMESTAMP) AS at
            FROM read_csv($files, all_varchar = true, header = true)
            WHERE CustomerID IS NOT NULL AND trim(CustomerID) <> '' AND InvoiceNo NOT LIKE 'C%'
                AND CAST(Quantity AS DOUBLE) > 0 AND regexp_matches(upper(trim(StockCode)), '^[0-9]{5}[A-Z]{0,2}$')
            """,
            {"files": str(here / "*.csv")},
        ).df()
    last = rows["at"].max().normalize() + pd.Timedelta(days=1)
    instant = _days(pd.Series([last]))[0] - TRUTH_DAYS
    events, items = _events(rows)
    split = at_instant(events, instant)
    texts = rows.dropna(subset=["text"]).sort_values("text").groupby("item")["text"].first()
    return DataSet(
        "Online Retail",
        f"UCI Online Retail, a gift shop whose customers are mostly other shops: {len(events):,} purchases of "
        f"{events.n_items:,} items by {events.n_users:,} customers, December 2010 to August 2011. Known until "
        f"{_date(instant)}; truth is the {TRUTH_DAYS} days from then on.",
        _tasks(split),
        [str(texts.get(item, "")) for item in items],
        None,
        half_life_days=90,
        window_days=28,
    )


def complete_journey(folder: Path) -> DataSet:
    """A grocer's purchases."""
    here = folder / "complete-journey"
    rows = pd.read_csv(here / "transactions_sample.csv.gz").query("quantity > 0")
    at = pd.to_datetime(rows["transaction_timestamp"], utc=True).dt.tz_convert(HOUSEHOLD_ZONE).dt.tz_localize(None)
    rows = rows.assign(user=rows["household_id"], item=rows["product_id"], at=at)
    events, items = _events(rows)
    first, last = np.floor(events.day.min()), np.floor(events.day.max()) + 1
    instant = float(first + np.floor(KNOWN_SHARE * (last - first)))
    split = at_instant(events, instant, truth_days=TRUTH_DAYS)
    products = pd.read_csv(here / "products.csv.gz").set_index("product_id").reindex(items).fillna("")
    words = products[["department", "product_category", "product_type"]].astype(str)
    return DataSet(
        "The Complete Journey",
        f"84.51°/dunnhumby, a grocer: {len(events):,} purchases of {events.n_items:,} products by {events.n_users:,} "
        f"households in 2017, one in twenty of all rows, drawn by the authors: most of what a household bought again "
        f"is not in the sample, so repeats are too few here. Known until {_date(instant)} (80 % of the days); truth "
        f"is the {TRUTH_DAYS} days from then on.",
        _tasks(split),
        words.agg(" ".join, axis=1).tolist(),
        pd.factorize(products["product_category"])[0].astype(np.int64),
        half_life_days=90,
        window_days=90,
    )


def complete_journey_cold(folder: Path) -> DataSet:
    """The same grocer, asked about everything but groceries for households of which only groceries are known."""
    data = complete_journey(folder)
    grocery = np.array([text.startswith("GROCERY ") for text in data.texts])
    split = cold_in_target(data.splits["everything"], ~grocery, seed=SEED)
    return replace(
        data,
        title="The Complete Journey, cold in the target",
        told="The same purchases and instant. The source is the department GROCERY, the target all other ones; half of "
        "the households, drawn at random, lose what is known of them in the target and are served from the source.",
        splits={"cold in the target": split},
        domain=grocery.astype(np.int64),
    )


def simulated_shop(_: Path) -> DataSet:
    """The simulated shop, lived through in memory; the folder holds nothing of it."""
    lived = live()
    split, catalogue = lived.split, lived.catalogue
    return DataSet(
        "The simulated shop",
        f"Everything in it is made up: {split.counts['known']:,} views, favourites, carts and purchases (weights as in "
        f"conf/sources/simulated_shop.yaml) of {DAYS - JUDGED_DAYS} days are known, and truth is what users bought in "
        f"the {JUDGED_DAYS} days from then on. Planted tastes is another truth for the same users: of the items that a "
        "user had nothing to do with before, the tenth that he likes best. How much he likes an item is the "
        "probability that one look around the shop on the morning of the first judged day would end at it, by the "
        "tastes and style that the simulation gave him: the category by exp(1.3 taste + season), the item in it by "
        "exp(2.2 fit of styles + appeal), without offers and without what he bought lately. What he had, durables too, "
        "is left out. No method sees any of this.",
        _tasks(split) | {TASTES: lived.tastes()},
        [f"{title} {CATEGORIES[c].name}" for title, c in zip(catalogue.title, catalogue.category, strict=True)],
        catalogue.category,
        half_life_days=30,
        window_days=28,
        least_strength=weights()["order"],
    )


DATA_SETS: Mapping[str, Callable[[Path], DataSet]] = {
    "ml-100k-random": ml_100k_random,
    "ml-100k-time": ml_100k_time,
    "online-retail": online_retail,
    "complete-journey": complete_journey,
    "complete-journey-cold": complete_journey_cold,
    "simulated-shop": simulated_shop,
}


def _tasks(split: Split) -> dict[str, Split]:
    return {"everything": split, "repeat": split.repeat(), "explore": split.explore()}


def _events(rows: pd.DataFrame) -> tuple[Events, list[object]]:
    """Events of strength 1 from columns user, item and at (local time), and the items in the order of their index."""
    user, users = pd.factorize(rows["user"], sort=True)
    item, items = pd.factorize(rows["item"], sort=True)
    events = Events(
        user.astype(np.int64), item.astype(np.int64), np.ones(len(rows)), _days(rows["at"]), len(users), len(items)
    )
    return events, list(items)


def _days(at: pd.Series) -> NDArray[np.float64]:
    """Days since 1970-01-01 of local times without a zone."""
    return ((at - pd.Timestamp("1970-01-01")) / pd.Timedelta(days=1)).to_numpy(np.float64).astype(np.float64)


def _date(day: float) -> str:
    """The last day before an instant, as 2011-08-03."""
    return (pd.Timestamp("1970-01-01") + pd.Timedelta(days=day - 1)).strftime("%Y-%m-%d")
