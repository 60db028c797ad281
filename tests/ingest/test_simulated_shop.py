"""The simulated shop at its real size, 120 days: what the pipeline's models and rules have to work with."""

from __future__ import annotations

import gzip
import json
from collections import Counter
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.metrics import roc_auc_score

from jobs.ingest.land_simulated_day import SOURCE, land, read_conf
from rekindle.methods.shop_catalogue import CATEGORIES
from rekindle.methods.shop_dirt import FATES
from rekindle.methods.shop_simulation import channel_of
from rekindle.settings import ROOT

LAST = date(2026, 4, 30)
TYPES = {"pageview", "add_to_cart", "wishlist", "order", "refund", "review", "search"}
WITH_ITEM = TYPES - {"search"}
CONSUMABLES = {c.name: c.clock_days for c in CATEGORIES if c.kind == "consumable"}


@dataclass
class Shop:
    """What landed, and the truth about it."""

    lines: dict[date, list[bytes]]
    truth: dict[date, dict[str, Any]]
    people: pd.DataFrame


def record(line: bytes, landed: date) -> dict[str, Any] | None:
    """The line as a reader of the shop's documentation would take it; null if it breaks a rule."""
    try:
        found = json.loads(line.decode("utf-8"))
        when = datetime.fromisoformat(found["ts"])
        kind = found["type"].strip().lower()
    except (UnicodeDecodeError, json.JSONDecodeError, ValueError, KeyError):
        return None
    fault = (
        kind not in TYPES
        or when.date() > landed
        or found["customer"].strip() in ("", "null", "undefined")
        or (kind in WITH_ITEM and found.get("sku") in (None, "null", "undefined"))
        or (kind in WITH_ITEM and found["price"] <= 0)
        or (kind == "order" and found["qty"] <= 0)
    )
    return None if fault else found | {"kind": kind, "when": when}


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Shop:
    home: Path = tmp_path_factory.mktemp("home")
    land(read_conf(ROOT / "conf/simulation.yaml"), home, LAST)
    lines, truth = {}, {}
    for path in sorted((home / "landing" / SOURCE).glob("events-*.jsonl.gz")):
        day = date.fromisoformat(path.name[7:17])
        lines[day] = gzip.decompress(path.read_bytes()).split(b"\n")[:-1]
        truth[day] = json.loads((home / "truth" / SOURCE / "days" / f"{day}.json").read_text(encoding="utf-8"))
    people = pd.read_json(home / "truth" / SOURCE / "people.jsonl.gz", lines=True, convert_dates=False)
    return Shop(lines, truth, people)


@pytest.fixture(scope="module")
def events(shop: Shop) -> pd.DataFrame:
    """The clean events, each once; `day` counts from the first."""
    rows: dict[str, dict[str, Any]] = {}
    for landed, lines in shop.lines.items():
        for line in lines:
            found = record(line, landed)
            if found:
                rows.setdefault(found["event_id"], found)
    frame = pd.DataFrame(list(rows.values()))
    frame["date"] = [when.date() for when in frame["when"]]
    frame["day"] = [(each - date(2026, 1, 1)).days for each in frame["date"]]
    return frame


def test_the_shop_is_as_large_as_promised(shop: Shop, events: pd.DataFrame) -> None:
    assert len(shop.lines) == 120
    assert 250_000 <= sum(map(len, shop.lines.values())) <= 350_000
    assert events["customer"].nunique() >= 3_000
    assert events["sku"].nunique() >= 800
    assert events["category"].nunique() == 20
    assert set(events["kind"]) == TYPES


def test_between_one_and_two_percent_are_dirt_of_every_kind(shop: Shop) -> None:
    counts = Counter({kind: sum(len(day["kinds"].get(kind, ())) for day in shop.truth.values()) for kind in FATES})
    share = sum(counts.values()) / sum(map(len, shop.lines.values()))
    assert 0.01 <= share <= 0.02
    assert min(counts.values()) >= 100
    assert all(0.003 < day_share < 0.04 for day_share in _dirt_by_day(shop))


def _dirt_by_day(shop: Shop) -> list[float]:
    return [sum(day["fates"].values()) / day["lines"] for day in shop.truth.values()]


def test_the_truth_knows_the_fate_of_every_line(shop: Shop) -> None:
    seen: set[str] = set()
    for day, lines in shop.lines.items():
        kinds = {number: kind for kind, numbers in shop.truth[day]["kinds"].items() for number in numbers}
        assert len(lines) == shop.truth[day]["lines"]
        found: dict[str, list[int]] = {"quarantined": [], "repaired": [], "duplicate": []}
        for number, line in enumerate(lines, start=1):
            good = record(line, day)
            if good is None:
                found["quarantined"].append(number)
            elif good["event_id"] in seen:
                found["duplicate"].append(number)
            elif good["type"] not in TYPES:
                found["repaired"].append(number)
            if good:
                seen.add(good["event_id"])
        for fate, numbers in found.items():
            assert numbers == sorted(n for n, kind in kinds.items() if FATES.get(kind) == fate), (day, fate)


def test_events_are_of_the_landing_day_or_a_day_late(shop: Shop) -> None:
    for landed, lines in shop.lines.items():
        late = set(shop.truth[landed]["kinds"].get("late_line", ()))
        late |= set(shop.truth[landed]["kinds"].get("duplicate_next_day", ()))
        for number, line in enumerate(lines, start=1):
            good = record(line, landed)
            if good:
                assert good["when"].date() == landed - timedelta(days=number in late)


def test_local_time_follows_the_shops_zone_through_the_clock_change(events: pd.DataFrame) -> None:
    offsets = events["ts"].str[-6:]
    assert set(offsets[events["date"] < date(2026, 3, 29)]) == {"+01:00"}
    assert set(offsets[events["date"] > date(2026, 3, 29)]) == {"+02:00"}
    spring = events[events["date"] == date(2026, 3, 29)]
    assert len(spring) > 500
    assert "02" not in set(spring["ts"].str[11:13])


def test_an_order_is_one_moment_of_one_person(events: pd.DataFrame) -> None:
    orders = events[events["kind"] == "order"].groupby("order_id")
    assert orders["customer"].nunique().max() == 1
    assert orders["ts"].nunique().max() == 1
    assert orders.size().max() > 1
    assert not events[events["kind"] == "order"].duplicated(["order_id", "sku"]).any()


def test_a_visit_comes_by_one_channel_and_a_person_mostly_by_the_same(events: pd.DataFrame) -> None:
    visits = events[["customer", "session", "device", "channel"]].drop_duplicates()
    assert len(visits) == events["session"].nunique()
    pure = [channel_of(d, c, s) for c, s, d in visits[["customer", "session", "device"]].itertuples(index=False)]
    assert visits["channel"].tolist() == pure, "a hash of person and visit: no draw of the shop's has moved"
    assert visits["channel"].value_counts(normalize=True).between(0.2, 0.5).all()
    busy = visits.groupby("customer").filter(lambda own: len(own) >= 10)
    usual = busy.groupby("customer")["channel"].agg(lambda own: own.value_counts(normalize=True).iloc[0])
    assert 0.75 < usual.mean() < 0.9


def test_who_has_left_makes_no_more_events(shop: Shop, events: pd.DataFrame) -> None:
    gone = shop.people.dropna(subset=["left"]).set_index("customer")["left"]
    last = events.groupby("customer")["date"].max().astype(str)
    both = pd.concat([last, gone], axis=1, join="inner")
    assert len(gone) > 1_000
    assert (both["date"] < both["left"]).all()
    here = shop.people[shop.people["left"].isna()]
    assert len(here) > 1_500


def test_leaving_casts_its_shadow(shop: Shop, events: pd.DataFrame) -> None:
    """In the ten days before leaving, visits are rarer and carts are abandoned more than a month earlier.

    Among those who were there for both: known, and logged, for more than fifty days before they left.
    """
    left = pd.to_datetime(shop.people.set_index("customer")["left"])
    since = pd.to_datetime(shop.people.set_index("customer")["arrived"]).clip(lower=pd.Timestamp(2026, 1, 1))
    seen = events.join(left[left - since > pd.Timedelta(days=50)].rename("left"), on="customer").dropna(subset=["left"])
    before = (seen["left"] - pd.to_datetime(seen["date"])).dt.days
    near, far = seen[before.between(1, 10)], seen[before.between(41, 50)]
    assert near["session"].nunique() < 0.6 * far["session"].nunique()

    def orders_per_cart(some: pd.DataFrame) -> float:
        return float((some["kind"] == "order").sum() / (some["kind"] == "add_to_cart").sum())

    assert orders_per_cart(near) < 0.8 * orders_per_cart(far)


def test_week_day_and_season_have_their_shape(events: pd.DataFrame) -> None:
    by_weekday = events.groupby(pd.to_datetime(events["date"]).dt.weekday).size()
    assert by_weekday[6] > 1.1 * by_weekday[4]
    by_hour = events["ts"].str[11:13].value_counts()
    assert by_hour["20"] > 10 * by_hour["04"]
    garden = events[events["kind"] == "pageview"].assign(garden=events["category"] == "garden tools")
    month = garden["ts"].str[5:7]
    assert garden[month == "04"]["garden"].mean() > 2 * garden[month == "01"]["garden"].mean()


def test_nobody_buys_the_same_durable_twice(events: pd.DataFrame) -> None:
    durable = events[(events["kind"] == "order") & ~events["category"].isin(CONSUMABLES)]
    assert len(durable) > 5_000
    assert not durable.duplicated(["customer", "sku"]).any()


def test_consumables_come_back_near_their_clock(events: pd.DataFrame) -> None:
    bought = events[(events["kind"] == "order") & events["category"].isin(CONSUMABLES)]
    bought = bought.drop_duplicates(["customer", "category", "day"]).sort_values("day")
    gap = bought.groupby(["customer", "category"])["day"].diff()
    median = gap.groupby(bought["category"]).median()
    clock = pd.Series(CONSUMABLES)
    assert ((median / clock).between(0.5, 1.5)).all(), median
    assert median.corr(clock, method="spearman") > 0.9
    again = bought.groupby(["customer", "category"])["sku"].agg(lambda skus: (skus == skus.shift()).sum())
    assert again.sum() > 0.5 * gap.notna().sum()


def test_stars_and_words_of_a_review_agree(events: pd.DataFrame) -> None:
    reviews = events[(events["kind"] == "review") & events["text"].notna()]
    kind_word = reviews["text"].str.contains("love it|Excellent|Perfect|Wonderful|Fantastic|Highly recommended")
    harsh_word = reviews["text"].str.contains("Terrible|Awful|Do not buy|disappoint|Poor|worst|waste")
    assert set(reviews["stars"]) == {1, 2, 3, 4, 5}
    assert kind_word[reviews["stars"] == 5].mean() > 0.8
    assert not kind_word[reviews["stars"] <= 2].any()
    assert not harsh_word[reviews["stars"] >= 4].any()
    assert harsh_word[reviews["stars"] == 1].mean() > 0.4


def test_people_buy_at_very_different_intervals(events: pd.DataFrame) -> None:
    orders = events[events["kind"] == "order"].drop_duplicates("order_id").groupby("customer")["day"]
    often = orders.size() >= 3
    interval = ((orders.max() - orders.min()) / (orders.size() - 1))[often]
    low, high = interval.quantile([0.05, 0.95])
    assert low < 6
    assert high > 20


def test_taste_tells_next_weeks_purchases_better_than_popularity(events: pd.DataFrame) -> None:
    """NDCG@10 of cosine neighbours of what a person touched, against the month's best sellers, on one time split."""
    events = events[events["sku"].notna()].assign(
        u=lambda f: f["customer"].astype("category").cat.codes, i=lambda f: f["sku"].astype("category").cat.codes
    )
    past, week = events[events["day"] < 113], events[(events["day"] >= 113) & (events["kind"] == "order")]
    shape = (events["u"].max() + 1, events["i"].max() + 1)
    touched = np.zeros(shape)
    np.add.at(
        touched, (past["u"], past["i"]), past["kind"].map({"order": 5, "add_to_cart": 3, "wishlist": 3}).fillna(1)
    )
    unit = np.log1p(touched)
    unit /= np.linalg.norm(unit, axis=0).clip(1e-9)
    likeness = unit.T @ unit
    np.fill_diagonal(likeness, 0)
    sold = past[(past["kind"] == "order") & (past["day"] >= 85)]
    popular = np.bincount(sold["i"], minlength=shape[1]).astype(float)

    def ndcg(scores: np.ndarray[Any, Any], hits: set[int]) -> float:
        top = np.argsort(-scores)[:10]
        gain = sum(1 / np.log2(rank + 2) for rank, item in enumerate(top) if item in hits)
        return float(gain / sum(1 / np.log2(rank + 2) for rank in range(min(10, len(hits)))))

    buyers = [(u, set(i)) for u, i in week.groupby("u")["i"] if touched[u].any()]
    by_taste = np.array([ndcg(np.log1p(touched[u]) @ likeness, hits) for u, hits in buyers])
    by_sales = np.array([ndcg(popular, hits) for _, hits in buyers])
    assert len(buyers) > 500
    assert by_taste.mean() > 2 * by_sales.mean(), (by_taste.mean(), by_sales.mean())


def _described(events: pd.DataFrame, day: int) -> tuple[pd.DataFrame, pd.Series]:
    """A few simple features of who bought and was here within 45 days before `day`; no order in the 21 days after."""
    past = events[events["day"] < day]
    orders = past[past["kind"] == "order"].drop_duplicates("order_id").groupby("customer")["day"]
    facts = pd.DataFrame({"recency": day - orders.max(), "orders": orders.size()})
    facts["interval"] = (orders.max() - orders.min()) / (facts["orders"] - 1).where(facts["orders"] > 1)
    facts["overdue"] = facts["recency"] / facts["interval"].clip(lower=1)
    facts["seen"] = day - past.groupby("customer")["day"].max()
    facts["known"] = day - past.groupby("customer")["day"].min()
    facts = facts[facts["seen"] <= 45]
    for window in (7, 14, 30):
        recent = past[past["day"] >= day - window]
        facts[f"visits_{window}"] = recent.groupby("customer")["session"].nunique()
        facts[f"categories_{window}"] = recent.groupby("customer")["category"].nunique()
        facts[f"carts_{window}"] = recent[recent["kind"] == "add_to_cart"].groupby("customer").size()
        facts[f"orders_{window}"] = recent[recent["kind"] == "order"].groupby("customer").size()
    after = events[(events["kind"] == "order") & events["day"].between(day, day + 20)]
    return facts, ~facts.index.to_series().isin(set(after["customer"]))


def test_habits_tell_who_will_not_come_back_better_than_recency_alone_but_not_perfectly(events: pd.DataFrame) -> None:
    past = [_described(events, day) for day in (50, 57, 64, 71, 78)]
    known, stayed_away = pd.concat([facts for facts, _ in past]), pd.concat([label for _, label in past])
    model = HistGradientBoostingClassifier(max_depth=4, learning_rate=0.05, max_iter=120, random_state=0)
    model.fit(known, stayed_away)
    facts, truth = _described(events, 99)
    by_habits = roc_auc_score(truth, model.predict_proba(facts)[:, 1])
    by_recency = roc_auc_score(truth, facts["recency"])
    assert 0.2 < truth.mean() < 0.5
    assert 0.68 < by_recency < 0.79
    assert 0.80 < by_habits < 0.90
    assert by_habits > by_recency + 0.04
