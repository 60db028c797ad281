"""Who a user is, as plain Python counts it from the same log in any order, and never from the future."""

from __future__ import annotations

import math
import random
from collections import Counter, defaultdict
from datetime import UTC, date, datetime, timedelta
from functools import partial
from itertools import pairwise
from statistics import median
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from jobs.profile.build_features import item_features, life_cycle_rule, user_features, user_profiles
from rekindle import settings
from rekindle.contract import conform, frame
from rekindle.methods import rfm
from rekindle.methods.life_cycle import STAGES, Rule, Silence
from rekindle.methods.words import telling_words
from schemas.events import EVENTS
from schemas.excluded_users import EXCLUDED_USERS
from schemas.items import ITEMS
from schemas.user_profiles import USER_PROFILES

ZONE = ZoneInfo("Europe/Berlin")
AS_OF, DAY = date(2026, 4, 20), date(2026, 4, 19)  # the clocks change within the log
KINDS = ("view", "view", "cart", "favourite", "purchase", "purchase", "search", "return", "review", "contact")
NOUNS = ("kettle", "teapot", "水壶", "socks", "hammer", "lamp")
SOURCE = settings.load("simulated_shop").source
SOURCE = SOURCE.model_copy(update={"profiles": SOURCE.profiles.model_copy(update={"keyword_users": 3})})
WEIGHTS, HALF_LIFE = SOURCE.recommend.event_weights, SOURCE.recommend.half_life_days
RULE = life_cycle_rule(SOURCE)
Rows = list[dict[str, Any]]


def log(seed: int) -> Rows:
    """Twelve users of all stages over 200 days, two of them of one day; 24 items of three categories or of none."""
    dice = random.Random(seed)  # noqa: S311 - the same log every time
    rows = []
    for n in range(600):
        user = f"u{int(12 * dice.random() ** 1.5):02d}"
        begins, ends = {"u00": (0, 120), "u01": (60, 190), "u02": (0, 9), "u03": (20, 60)}.get(user, (0, 200))
        back = 33.4 if user in ("u10", "u11") else dice.choice([dice.uniform(begins, ends), ends - 0.5])
        if user == "u04" and 8 < back < 190:
            back = 190 + back / 100  # comes back from a long silence
        at = datetime(2026, 4, 20, tzinfo=ZONE) - timedelta(days=back, seconds=1)
        kind, number = dice.choice(KINDS), dice.randrange(24)
        kind = dice.choice(["view", "search"]) if user == "u06" else kind  # who never bought
        on_item = kind not in ("search", "contact")
        told = dice.random()
        rows.append(
            {
                "event_id": f"e{n}",
                "user_key": user,
                "event_type": kind,
                "event_ts": at.replace(microsecond=0).astimezone(UTC),
                "event_date": at.date(),
                "item_id": f"i{number:02d}" if on_item else None,
                "title": f"{NOUNS[number % 6]} no. {number}" if on_item and told < 0.7 else None,
                "category": f"c{number % 3}" if on_item and number < 20 else None,
                "brand": f"b{number % 5}" if on_item and told < 0.5 else None,
                "order_id": f"o{n}" if kind == "purchase" else None,
                "quantity": float(dice.randint(1, 3)) if kind in ("purchase", "return") else None,
                "unit_price": round((10.0 + number) * dice.choice([1.0, 1.0, 0.97, 0.8]), 2) if on_item else None,
                "stars": float(dice.randint(1, 5)) if kind == "review" else None,
                "text": f"the {dice.choice(NOUNS)}" if kind == "search" else None,
                "channel": dice.choice(["app", "web"]) if user != "u05" else None,
            }
        )
    return rows


PAST = log(5)
FUTURE = [
    r
    | {"event_id": f"f{n}", "event_date": AS_OF, "event_ts": datetime(2026, 4, 20, 9, tzinfo=UTC), "unit_price": 999.0}
    for n, r in enumerate(log(6)[:200])
]
TOLD = [
    {"item_id": f"i{n:02d}", "brand": f"told{n % 2}", "title": f"{NOUNS[n % 6]} told", "landing_date": day}
    | {"row_id": f"{n} {day}", "file_sha256": "f", "line_number": n}
    | {"category": f"later {day}" if day == AS_OF else None}
    for n in range(24) for day in (date(2026, 1, 1), AS_OF)
]  # fmt: skip


def largest(found: dict[str, float], most: int) -> tuple[list[str] | None, list[float] | None]:
    ranked = sorted(found.items(), key=lambda pair: (-pair[1], pair[0]))[:most]
    return ([n for n, _ in ranked], [v for _, v in ranked]) if ranked else (None, None)


def shares_of(rows: Rows, name: str, half_life: float | None) -> tuple[list[str] | None, list[float] | None]:
    summed: dict[str, float] = defaultdict(float)
    for r in rows:
        if r[name] is not None and r["event_type"] in WEIGHTS:
            summed[r[name]] += parts_of(r, half_life)
    return largest({k: v / sum(summed.values()) for k, v in summed.items()}, 3)


def parts_of(row: dict[str, Any], half_life: float | None = HALF_LIFE) -> int:
    age = (AS_OF - row["event_date"]).days
    faded = 1.0 if half_life is None else 2.0 ** (-age / half_life)
    return max(1, round({"search": 1.0, **WEIGHTS}[row["event_type"]] * faded * 1e9))


def prices(log: Rows) -> dict[str, tuple[float, int | None]]:
    """By item its usual price and its fifth."""
    by_day: dict[str, dict[date, float]] = defaultdict(dict)
    category = {}
    for r in sorted(log, key=lambda r: (r["event_ts"], r["event_id"])):
        if r["item_id"]:
            by_day[r["item_id"]][r["event_date"]] = max(r["unit_price"], by_day[r["item_id"]].get(r["event_date"], 0))
            category[r["item_id"]] = r["category"]
    usual = {item: median(days.values()) for item, days in by_day.items()}
    fifth = {}
    for item, price in usual.items():
        alike = [usual[other] for other in usual if category[other] == category[item]]
        rank = sum(other < price for other in alike)
        fifth[item] = 1 + 5 * rank // len(alike) if category[item] and len(alike) >= 5 else None
    return {item: (usual[item], fifth[item]) for item in usual}


def stage_of(rule: Rule, silent: int, known: int, interval: float | None, back: int | None) -> str:
    """The words of the rule, one by one."""

    def limit(silence: Silence) -> float:
        own = silence.most_days if interval is None else silence.intervals * interval
        return min(max(own, silence.least_days), silence.most_days)

    if silent >= limit(rule.lapsed):
        return "lapsed"
    if silent >= limit(rule.slipping):
        return "slipping"
    if back is not None and back < rule.returned_days:
        return "returned"
    return "new" if known < rule.new_days else "active"


def rhythm_of(rows: Rows) -> dict[str, Any]:
    days = sorted({r["event_date"] for r in rows})
    gaps = [(after - before).days for before, after in pairwise(days)]
    runs = [1]
    for gap in gaps:
        runs.append(runs[-1] + 1 if gap == 1 else 1)
    hours = {(r["event_date"], r["event_ts"].astimezone(ZONE).hour) for r in rows}
    east, north = (sum(f(2 * math.pi * (h + 0.5) / 24) for _, h in hours) for f in (math.sin, math.cos))
    weekdays = Counter(d.isoweekday() for d in days)
    weekday = min(weekdays, key=lambda w: (-weekdays[w], w))
    channels = Counter(r["channel"] for r in rows if r["channel"])
    channel = min(channels, key=lambda c: (-channels[c], c)) if channels else None
    interval = float(median(gaps)) if gaps else None
    silence = RULE.lapsed
    longest = silence.most_days if interval is None else silence.intervals * interval
    longest = min(max(longest, silence.least_days), silence.most_days)
    ended = [day for day, gap in zip(days[1:], gaps, strict=True) if gap - 1 >= longest]
    silent, known = (DAY - days[-1]).days, (DAY - days[0]).days
    return {
        "first_seen_date": days[0],
        "last_activity_date": days[-1],
        "usual_interval_days": interval,
        "current_streak_days": 0 if silent else runs[-1],
        "longest_streak_days": max(runs),
        "usual_hour": math.atan2(east, north) * 12 / math.pi % 24,
        "usual_hour_strength": math.hypot(east, north) / len(hours),
        "usual_weekday": weekday,
        "usual_weekday_share": weekdays[weekday] / len(days),
        "usual_channel": channel,
        "usual_channel_share": channels[channel] / channels.total() if channel else None,
        "life_cycle": stage_of(RULE, silent, known, interval, (DAY - ended[-1]).days if ended else None),
    }


def described(log: Rows) -> Rows:
    """The events with what the log, else the shop, says of their items where they say nothing."""
    last: dict[str, dict[str, Any]] = defaultdict(dict)
    for r in sorted(log, key=lambda r: (r["event_ts"], r["event_id"])):
        if r["item_id"]:
            last[r["item_id"]] |= {name: r[name] for name in ("title", "category") if r[name] is not None}
    told = {r["item_id"]: r for r in TOLD if r["landing_date"] < AS_OF}
    return [
        r | {n: r[n] or last[r["item_id"]].get(n) or told[r["item_id"]][n] for n in ("title", "category", "brand")}
        if r["item_id"]
        else r
        for r in log
    ]


def expected(log: Rows) -> dict[str, dict[str, Any]]:
    """Every new column but the scores, by user."""
    done = [r for r in log if r["event_type"] != "contact"]
    known, priced = described(done), prices(done)
    texts: dict[str, dict[str, float]] = defaultdict(lambda: defaultdict(float))
    for r in known:
        text = r["text"] if r["event_type"] == "search" else r["title"]
        if text and r["event_type"] in {"search", *WEIGHTS}:
            for word in telling_words(text):
                texts[r["user_key"]][word] += parts_of(r)
    having = Counter(word for words in texts.values() for word in words)
    found = {}
    for user in sorted({r["user_key"] for r in done}):
        rows, mine = ([r for r in some if r["user_key"] == user] for some in (done, known))
        lines = [r for r in rows if r["event_type"] == "purchase"]
        level = [(parts_of(r), priced[r["item_id"]][1]) for r in lines if priced[r["item_id"]][1]]
        offers = [r for r in lines if round(1 - r["unit_price"] / priced[r["item_id"]][0], 4) >= 0.05]
        stars = [r["stars"] for r in rows if r["stars"]]
        paid = sum(r["unit_price"] * r["quantity"] for r in lines)
        weighed = {
            word: weight * (math.log((1 + len(texts)) / (1 + having[word])) + 1)
            for word, weight in texts[user].items()
            if having[word] >= 3
        }
        length = math.sqrt(sum(w**2 for w in weighed.values()))
        found[user] = rhythm_of(rows) | {
            "price_level": sum(w * f for w, f in level) / sum(w for w, _ in level) if level else None,
            "discount_line_share": len(offers) / len(lines) if lines else None,
            "discount_spend_share": sum(r["unit_price"] * r["quantity"] for r in offers) / paid if lines else None,
            "return_rate": sum(r["event_type"] == "return" for r in rows) / len(lines) if lines else None,
            "stars_mean": sum(stars) / len(stars) if stars else None,
            "stars_count": len(stars),
        }
        for names, shares, (top, parts) in (
            ("top_categories", "top_category_shares", shares_of(mine, "category", None)),
            ("current_categories", "current_category_shares", shares_of(mine, "category", HALF_LIFE)),
            ("current_brands", "current_brand_shares", shares_of(mine, "brand", HALF_LIFE)),
            ("keywords", "keyword_weights", largest({k: v / length for k, v in weighed.items()}, 10)),
        ):
            found[user] |= {names: top, shares: parts}
    return found


def test_a_user_is_described_as_plain_python_counts_it_in_any_order_and_never_by_the_future(spark: Any) -> None:
    rows = [*PAST, *FUTURE]
    random.Random(1).shuffle(rows)  # noqa: S311 - the same order every time
    events = frame(spark, EVENTS, *rows).persist()
    features = user_features(events, [AS_OF], SOURCE.time_zone, 0, 21)
    logged, told = item_features(events, AS_OF, []), frame(spark, ITEMS, *TOLD)
    profiles = user_profiles(features, events, frame(spark, EXCLUDED_USERS), AS_OF, DAY, SOURCE, logged, told)
    found = {row["user_key"]: row.asDict() for row in conform(profiles, USER_PROFILES).collect()}
    wanted = expected(PAST)
    assert set(found) == set(wanted)
    for user, columns in wanted.items():
        for name, value in columns.items():
            right = value
            if isinstance(value, float) or (isinstance(value, list) and isinstance(value[0], float)):
                right = pytest.approx(value, abs=2e-6)
            assert found[user][name] == right, (user, name)
        level = columns["price_level"]
        assert found[user]["price_band"] == (None if level is None else math.floor(level + 0.5))
        scores = [found[user][f"{part}_score"] for part in ("recency", "frequency", "monetary")]
        assert found[user]["rfm_class"] == (None if None in scores else rfm.rfm_class(*scores))
    assert {columns["life_cycle"] for columns in wanted.values()} == set(STAGES), "all stages occur"
    assert {n for row in found.values() for n, v in row.items() if v is None} >= {
        "usual_interval_days", "usual_channel", "usual_channel_share", "rfm_class", "price_level", "stars_mean"
    }  # fmt: skip


def test_every_user_is_in_one_stage_and_the_limits_belong_to_the_next(spark: Any) -> None:
    rule = Rule(new_days=30, returned_days=20, slipping=Silence(2, 14, 45), lapsed=Silence(4, 30, 90))
    cases = [
        (silent, known, interval, back)
        for interval in (None, 1.0, 10.0, 40.0)  # limits 45 and 90, 14 and 30, 20 and 40, 45 and 90
        for silent in (0, 13, 14, 19, 20, 29, 30, 39, 40, 44, 45, 89, 90, 400)
        for known in (silent, 29, 30, 500)
        for back in (None, 0, 19, 20)
        if known >= silent
    ]
    df = spark.createDataFrame(cases, "silent int, known int, interval double, back int")
    found = [row.stage for row in df.select(rule.stage(*map(df.__getitem__, df.columns)).alias("stage")).collect()]
    assert found == [stage_of(rule, *case) for case in cases]
    assert set(found) == set(STAGES)
    told = dict(zip(cases, found, strict=True))
    at = partial(told.__getitem__)
    assert [at((s, 500, 10.0, None)) for s in (19, 20, 39, 40)] == ["active", "slipping", "slipping", "lapsed"]
    assert [at((0, k, None, None)) for k in (29, 30)] == ["new", "active"]
    assert [at((0, 500, 10.0, b)) for b in (19, 20)] == ["returned", "active"]


def test_every_combination_of_scores_has_one_class_and_every_class_some() -> None:
    table = rfm.class_table()
    assert len(table) == 125
    assert set(table.values()) == set(rfm.CLASSES)
    assert table[5, 5, 5] == table[5, 4, 3] == "champions"
    assert (table[1, 5, 5], table[1, 1, 1], table[5, 1, 1], table[3, 1, 1]) == (
        *("cannot_lose", "lost", "new", "about_to_sleep"),
    )


@pytest.mark.parametrize(
    ("conf", "told"),
    [
        ({"slipping": {"intervals": 4, "least_days": 1, "most_days": 2}}, "lapsed.intervals 4"),
        ({"lapsed": {"intervals": 9, "least_days": 50, "most_days": 49}}, "least_days 50 is above most_days 49"),
        ({"lapsed": {"intervals": 9, "least_days": 14, "most_days": 490}}, "lapsed.least_days 14"),
    ],
)
def test_a_rule_in_which_stages_would_overlap_is_refused(conf: dict[str, Any], told: str) -> None:
    with pytest.raises(ValueError, match=told):
        settings.LifeCycle.model_validate(conf)
