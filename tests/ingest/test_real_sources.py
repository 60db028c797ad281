"""The shipped mappings on the real files: every line has the fate that reading the raw file without our code gives it.

The quirks are those of each folder's SOURCE.md; where a copy differs from what is said there, the test says so.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pandas
import pytest

from rekindle import settings
from tests.ingest.landed_files import cleaned, inspected
from tests.ingest.raw_files import (
    DATA,
    Judge,
    RawLine,
    csv_lines,
    fixed_lines,
    of,
    parquet_rows,
    plain_lines,
    text_of,
    whole,
)

pytestmark = pytest.mark.skipif(not DATA.is_dir(), reason="the real files do not lie beside the clone (../shared/data)")

LANDED: dict[str, tuple[str, dict[str, tuple[str, str] | None]]] = {
    "retailrocket": (
        "retailrocket-sample",
        {"events_sample.parquet": ("events", "2015-09-18"), "category_tree.csv": None},
    ),
    "jdata": (
        "jdata-sample",
        {
            "JData_Action_201602.csv": ("actions", "2016-02-29"),
            "JData_Action_201603.csv": ("actions", "2016-03-31"),
            "JData_Action_201604.csv": ("actions", "2016-04-30"),
            "JData_User.csv": ("users", "2016-04-30"),
            "JData_Comment.csv": ("comments", "2016-04-30"),
        },
    ),
    "rees46": (
        "rees46-head",
        {
            "2019-Oct.csv": ("general_store", "2019-10-31"),
            "electronics_duplicates.csv": ("electronics_store", "2021-02-28"),
        },
    ),
    "complete_journey": (
        "complete-journey",
        {
            "transactions_sample.csv.gz": ("transactions", "2017-12-31"),
            "coupon_redemptions.csv.gz": ("redemptions", "2017-12-31"),
            "products.csv.gz": ("products", "2017-12-31"),
            "campaigns.csv.gz": ("campaign_targets", "2017-12-31"),
            "campaign_descriptions.csv.gz": ("campaigns", "2017-12-31"),
            "coupons.csv.gz": ("coupons", "2017-12-31"),
            "demographics.csv.gz": ("households", "2017-12-31"),
            "promotions_sample.csv.gz": None,
        },
    ),
    "ml_100k": (
        "ml-100k",
        {
            "u.data": ("ratings", "1998-04-23"),
            "u.item": ("films", "1998-04-23"),
            "u.user": ("users", "1998-04-23"),
            **dict.fromkeys(("u.genre", "u.info", "u.occupation", "README")),
        },
    ),
    "cdnow": ("cdnow", {"CDNOW_sample.txt": ("purchases", "1998-06-30"), "cdnow_customers_summary.csv": None}),
}


@pytest.mark.parametrize("source", LANDED)
def test_each_real_file_is_of_one_kind_and_landed_on_a_day_or_is_of_none(source: str) -> None:
    folder, expected = LANDED[source]
    kinds = settings.load(source).source.files
    found: dict[str, list[tuple[str, str]]] = {}
    for name in sorted(p.name for p in (DATA / folder).iterdir() if p.name != "SOURCE.md"):
        days = {kind: file.landing.landing_date(name) for kind, file in kinds.items()}
        found[name] = [(kind, str(day)) for kind, day in days.items() if day]
    assert found == {name: [kind] if kind else [] for name, kind in expected.items()}


Told = Callable[..., dict[str, pandas.DataFrame]]


@pytest.fixture
def told(spark: Any, tmp_path: Path) -> Told:
    """`told(source, name, …, columns=…)`: by file name, its lines in order, cleaned by the source's mapping.

    They have line_number, `fate` as in RawLine, repairs, landing_date, and `columns` (SQL).
    """

    def clean(name: str, *names: str, columns: Iterable[str]) -> dict[str, pandas.DataFrame]:
        source = settings.load(name).source
        files = inspected(DATA / LANDED[name][0], source, tmp_path, *names)
        frame = cleaned(spark, source, tmp_path, files).selectExpr(
            "file_sha256", "line_number", "coalesce(rule, fate) AS fate", "fate = 'quarantined' AS out", *columns
        )
        rows = frame.toArrow().to_pandas().sort_values("line_number")
        assert (rows["fate"].isin(["clean", "duplicate"]) != rows["out"]).all()
        found = {f.name: rows[rows["file_sha256"] == f.sha256] for f in files}
        assert {f.name: f.lines - f.header_lines for f in files} == {n: len(x) for n, x in found.items()}
        return found

    return clean


def check(found: pandas.DataFrame, raw: list[RawLine], pinned: dict[str, int]) -> list[tuple[Any, RawLine]]:
    """The clean lines beside their raw ones, after checking that all lines have the fates that `raw` tells."""
    lines = dict(zip(found["line_number"], found.itertuples(), strict=True))
    assert len(lines) == len(found), "a line has one fate"
    assert set(lines) == {line.number for line in raw}, "every landed line, and none twice"
    wrong = [(x.number, lines[x.number].fate, x.fate) for x in raw if lines[x.number].fate != x.fate]
    assert wrong == [], f"(line, found, expected): {len(wrong)} lines"
    assert dict(Counter(x.fate for x in raw)) == pinned
    return [(lines[x.number], x) for x in raw if x.fate == "clean"]


def micros(moment: datetime) -> int:
    """Microseconds since 1970, by whole numbers."""
    return (moment - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)


EVENT = ("event_type", "user_id", "item_id", "order_id", "quantity", "unit_price", "stars", "category", "session_id")
WHEN = ("unix_micros(event_ts) AS micros", "event_date")


def test_retailrocket_all_rows_are_events_but_three_carts_sent_twice(told: Told) -> None:
    name = "events_sample.parquet"
    found = told("retailrocket", name, columns=(*EVENT, *WHEN))[name]
    rows = list(enumerate(parquet_rows(DATA / "retailrocket-sample" / name), 1))
    raw = Judge(of("timestamp", "visitorid", "event", "itemid", "transactionid")).judged(iter(rows))
    kept = check(found, raw, {"clean": 5166, "duplicate": 3})
    for line, x in kept:
        assert line.event_type == ("view", "cart", "purchase")[x.fields["event"]]
        assert (line.user_id, line.item_id) == (str(x.fields["visitorid"]), str(x.fields["itemid"]))
        assert line.micros == micros(x.fields["timestamp"].replace(tzinfo=UTC))
        assert line.order_id == x.fields["transactionid"], "null but for transactions (SOURCE.md has '')"
    assert Counter(line.event_type for line, _ in kept) == {"view": 4732, "cart": 374, "purchase": 60}
    assert {x.fields["event"] for x in raw if x.fate == "duplicate"} == {1}


def test_jdata_a_removal_from_the_cart_is_set_aside_and_repeated_lines_are_counted(told: Told) -> None:
    months = {
        "201602": {"clean": 22185, "duplicate": 7639, "cart_removal": 175},
        "201603": {"clean": 22251, "duplicate": 7538, "cart_removal": 210},
        "201604": {"clean": 21108, "duplicate": 8686, "cart_removal": 205},
    }
    names = {month: f"JData_Action_{month}.csv" for month in months}
    found = told("jdata", *names.values(), columns=(*EVENT, *WHEN, "landing_date"))
    judge = Judge(whole, {"cart_removal": lambda x: x["type"] == "3"})
    types = {"1": "view", "2": "cart", "4": "purchase", "5": "favourite", "6": "view"}
    twice: Counter[str] = Counter()
    for month, pinned in months.items():
        raw = judge.judged(csv_lines(DATA / "jdata-sample" / names[month]))
        twice.update(x.fields["type"] for x in raw if x.fate == "duplicate")
        landed = (date(int(month[:4]), int(month[4:]), 28) + timedelta(days=4)).replace(day=1) - timedelta(days=1)
        for line, x in check(found[names[month]], raw, pinned):
            local = datetime.fromisoformat(x.fields["time"]).replace(tzinfo=ZoneInfo("Asia/Shanghai"))
            assert (line.micros, line.event_date) == (micros(local.astimezone(UTC)), local.date())
            assert line.user_id + ".0" == x.fields["user_id"], "ids are printed as floats"
            assert (line.item_id, line.category) == (x.fields["sku_id"], x.fields["cate"])
            assert (line.event_type, line.landing_date) == (types[x.fields["type"]], landed)
    # SOURCE.md calls them bursts of clicks (6); most of them are page views (1).
    assert (twice["1"], twice["6"]) == (17003, 6836)


def test_jdata_users_in_gbk_have_ages_in_bands_and_comments_are_measures(told: Told) -> None:
    columns = ("user_id", "age_band", "gender", "tier", "registered_date", "repairs")
    found = told("jdata", "JData_User.csv", columns=columns)["JData_User.csv"]
    raw = Judge(of("user_id")).judged(csv_lines(DATA / "jdata-sample/JData_User.csv", "gbk"))
    bands = {f"{band}岁": band for band in ("16-25", "26-35", "36-45", "46-55")} | {"-1": None, "56岁以上": "56+"}
    unbelievable = 0
    for line, x in check(found, raw, {"clean": 29999}):
        assert (line.user_id, line.tier) == (x.fields["user_id"], x.fields["user_lv_cd"])
        assert line.age_band == bands[x.fields["age"]]
        assert line.gender == {"0": "male", "1": "female", "2": None}[x.fields["sex"]]
        day = date.fromisoformat(x.fields["user_reg_tm"])
        later = day > date(2016, 4, 30)
        unbelievable += later
        assert line.registered_date == (None if later else day)
        repairs = set((line.repairs or "").split(",")) - {""}
        assert ("registered_after_log" in repairs) == later
        assert ("transcoded_gbk" in repairs) == (not x.fields["age"].isascii())
    assert unbelievable == 8

    comments = told("jdata", "JData_Comment.csv", columns=("item_id", "measured_date", "measure", "value"))
    raw = Judge(of("dt", "sku_id")).judged(csv_lines(DATA / "jdata-sample/JData_Comment.csv"))
    for line, x in check(comments["JData_Comment.csv"], raw, {"clean": 29999}):
        assert (line.item_id, line.measure) == (x.fields["sku_id"], "bad_comment_rate")
        assert (str(line.measured_date), line.value) == (x.fields["dt"], float(x.fields["bad_comment_rate"]))


def test_rees46_a_line_cut_short_is_no_record_and_long_ids_stay_whole(told: Told) -> None:
    pinned = {
        "2019-Oct.csv": {"clean": 17429, "duplicate": 5, "malformed": 1},
        "electronics_duplicates.csv": {"clean": 629, "duplicate": 655},
    }
    found = told("rees46", *pinned, columns=(*EVENT, *WHEN))
    key = of("event_time", "event_type", "product_id", "user_id", "user_session")
    judge = Judge(key, {"malformed": lambda x: len(x) < 9})
    free, ids = 0, set()
    for name, counts in pinned.items():
        raw = judge.judged(csv_lines(DATA / "rees46-head" / name))
        cut = [x.number for x in raw if x.fate == "malformed"]
        assert cut == ([17436] if name == "2019-Oct.csv" else []), "the last line stops within the user"
        for line, x in check(found[name], raw, counts):
            moment = datetime.fromisoformat(x.fields["event_time"].replace(" UTC", "+00:00"))
            assert (line.micros, line.event_date) == (micros(moment), moment.date())
            assert (line.user_id, line.item_id) == (x.fields["user_id"], x.fields["product_id"])
            assert (line.event_type, line.unit_price) == (x.fields["event_type"], float(x.fields["price"]))
            assert (line.category or "", line.session_id or "") == (x.fields["category_code"], x.fields["user_session"])
            free += line.unit_price == 0
            ids.add(line.user_id)
    assert free == 19, "only views are free of charge: an unknown price, no fault of the line"
    long = {i for i in ids if int(i) > 2**53}
    assert len(long) == 570
    assert any(int(float(i)) != int(i) for i in long), "as floats, they would be other users"


def test_complete_journey_lines_without_pieces_or_money_are_no_purchases(told: Told) -> None:
    name = "transactions_sample.csv.gz"
    found = told("complete_journey", name, columns=(*EVENT, *WHEN))[name]
    judge = Judge(
        of("household_id", "basket_id", "product_id"),
        {
            "bad_quantity": lambda x: float(x["quantity"]) <= 0,
            "bad_price": lambda x: float(x["sales_value"]) <= 0,
        },
    )
    raw = judge.judged(csv_lines(DATA / "complete-journey" / name))
    weeks_begin = date(2016, 12, 26)
    # All 416 lines of SOURCE.md's "quantity <= 0" have exactly 0: the sample holds no returns.
    for line, x in check(found, raw, {"clean": 74471, "bad_quantity": 416, "bad_price": 113}):
        assert line.micros == micros(datetime.fromisoformat(x.fields["transaction_timestamp"]))
        assert (line.event_date - weeks_begin).days // 7 + 1 == int(x.fields["week"]), "the zone is the grocer's"
        assert (line.event_type, line.quantity) == ("purchase", float(x.fields["quantity"]))
        assert line.unit_price * line.quantity == pytest.approx(float(x.fields["sales_value"]))
        assert (line.user_id, line.item_id) == (x.fields["household_id"], x.fields["product_id"])
        assert line.order_id == x.fields["basket_id"]


def test_complete_journey_campaigns_coupons_and_products_come_along(told: Told) -> None:
    folder = DATA / "complete-journey"
    name = "coupon_redemptions.csv.gz"
    found = told("complete_journey", name, columns=("event_type", "user_id", "item_id", "title", "event_date"))
    for line, x in check(found[name], Judge(whole).judged(csv_lines(folder / name)), {"clean": 2102}):
        assert (line.event_type, line.item_id, str(line.event_date)) == ("redeem", None, x.fields["redemption_date"])
        assert (line.user_id, line.title) == (x.fields["household_id"], "coupon " + x.fields["coupon_upc"])

    name = "products.csv.gz"
    found = told("complete_journey", name, columns=("item_id", "title", "category", "brand"))
    for line, x in check(found[name], Judge(of("product_id")).judged(csv_lines(folder / name)), {"clean": 92331}):
        title = ", ".join(t for t in (x.fields["product_type"], x.fields["package_size"]) if t)
        category = x.fields["product_category"] or x.fields["department"]
        assert (line.item_id, line.title or "", line.category) == (x.fields["product_id"], title, category)
        assert line.brand == x.fields["brand"]

    name = "coupons.csv.gz"
    found = told("complete_journey", name, columns=("coupon_id", "item_id", "campaign_id"))
    raw = Judge(whole).judged(csv_lines(folder / name))
    for line, x in check(found[name], raw, {"clean": 111332, "duplicate": 4872}):
        assert (line.coupon_id, line.item_id, line.campaign_id) == tuple(x.fields.values())

    name = "campaigns.csv.gz"
    found = told("complete_journey", name, columns=("campaign_id", "user_id"))
    for line, x in check(found[name], Judge(whole).judged(csv_lines(folder / name)), {"clean": 6589}):
        assert (line.campaign_id, line.user_id) == tuple(x.fields.values())

    name = "campaign_descriptions.csv.gz"
    found = told("complete_journey", name, columns=("campaign_id", "category", "start_date", "end_date"))
    for line, x in check(found[name], Judge(whole).judged(csv_lines(folder / name)), {"clean": 27}):
        dates = (str(line.start_date), str(line.end_date))
        assert (line.campaign_id, line.category, *dates) == tuple(x.fields.values())

    name = "demographics.csv.gz"
    found = told("complete_journey", name, columns=("user_id", "age_band"))
    for line, x in check(found[name], Judge(whole).judged(csv_lines(folder / name)), {"clean": 801}):
        assert (line.user_id, line.age_band) == (x.fields["household_id"], x.fields["age"])


def test_ml_100k_every_rating_film_and_user_is_told(told: Told) -> None:
    folder = DATA / "ml-100k"
    found = told("ml_100k", "u.data", columns=(*EVENT, *WHEN))["u.data"]
    raw = Judge(of("user", "item")).judged(plain_lines(folder / "u.data", ["user", "item", "stars", "seconds"], "\t"))
    kept = check(found, raw, {"clean": 100000})
    assert Counter(line.stars for line, _ in kept) == {1: 6110, 2: 11370, 3: 27145, 4: 34174, 5: 21201}, "as published"
    for line, x in kept:
        assert (line.event_type, line.micros) == ("rating", int(x.fields["seconds"]) * 1_000_000)
        assert (line.user_id, line.item_id, line.stars) == (x.fields["user"], x.fields["item"], int(x.fields["stars"]))

    found = told("ml_100k", "u.item", columns=("item_id", "title", "category"))["u.item"]
    genres = [line.split("|")[0] for line in text_of(folder / "u.genre").splitlines() if line]
    names = ["film", "title", "released", "video", "url", *genres]
    raw = Judge(of("film")).judged(plain_lines(folder / "u.item", names, "|", "latin-1"))
    for line, x in check(found, raw, {"clean": 1682}):
        has = "|".join(g for g in genres[1:] if x.fields[g] == "1")
        assert (line.item_id, line.title, line.category) == (x.fields["film"], x.fields["title"].strip(), has or None)

    found = told("ml_100k", "u.user", columns=("user_id", "age_band", "gender", "occupation", "region"))["u.user"]
    raw = Judge(of("user")).judged(plain_lines(folder / "u.user", ["user", "age", "gender", "job", "zip"], "|"))
    bands: Counter[str] = Counter()
    for line, x in check(found, raw, {"clean": 943}):
        assert (line.user_id, line.region) == (x.fields["user"], x.fields["zip"][:3])
        assert line.gender == {"M": "male", "F": "female"}[x.fields["gender"]]
        assert line.occupation == (None if x.fields["job"] == "none" else x.fields["job"])
        low, _, high = line.age_band.replace("+", "-999").partition("-")
        assert int(low) <= int(x.fields["age"]) <= int(high)
        bands[line.age_band] += 1
    assert len(bands) == 6


def test_cdnow_purchases_of_nothing_are_set_aside_and_a_day_is_an_order(told: Told) -> None:
    name = "CDNOW_sample.txt"
    found = told("cdnow", name, columns=(*EVENT, *WHEN))[name]
    judge = Judge(whole, {"bad_price": lambda x: float(x["amount"]) == 0})
    raw = judge.judged(fixed_lines(DATA / "cdnow" / name, ["customer", "sample", "day", "pieces", "amount"]))
    kept = check(found, raw, {"clean": 6890, "duplicate": 21, "bad_price": 8})
    for line, x in kept:
        assert (line.event_type, line.user_id, line.item_id) == ("purchase", x.fields["customer"], "cd")
        assert f"{line.event_date:%Y%m%d}" == x.fields["day"]
        assert line.quantity == int(x.fields["pieces"])
        assert line.unit_price * line.quantity == pytest.approx(float(x.fields["amount"]))
    days = {(x.fields["customer"], x.fields["day"]) for _, x in kept}
    assert len({line.order_id for line, _ in kept}) == len(days) < len(kept)
