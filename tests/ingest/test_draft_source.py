"""make new-source: the draft that is written for a log, real ones beside the clone and small made-up ones."""

from __future__ import annotations

import gzip
import shutil
from datetime import date
from pathlib import Path

import pytest
import yaml
import zstandard

from jobs.ingest import draft_source
from rekindle import log_profile, settings
from rekindle.refusals import UsageError
from rekindle.settings import ROOT

DATA = ROOT.parent / "shared/data"


@pytest.fixture
def conf(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An installation's own conf, into which drafts are written; its folder of sources."""
    shutil.copytree(ROOT / "conf", tmp_path / "conf")
    monkeypatch.setenv("REKINDLE_CONF", str(tmp_path / "conf"))
    return tmp_path / "conf/sources"


# The log, and what of the draft must be so: paths into the YAML of its one kind of files.
REAL = {
    "online-retail/2010-12-01.csv": {
        "landing.pattern": r"(?P<date>\d{4}-\d{2}-\d{2})\.csv",
        "format.header": True,
        "format.delimiter": ",",
        "mapping.user_id": r"regexp_replace(trim(CustomerID), '\.0$', '')",
        "mapping.item_id": "StockCode",
        "mapping.order_id": "InvoiceNo",
        "mapping.event_time": {"expression": "InvoiceDate", "format": "yyyy-MM-dd HH:mm:ss"},
        "mapping.event_type": "CASE WHEN number(Quantity) < 0 THEN 'return' ELSE 'purchase' END",
        "mapping.quantity": "abs(number(Quantity))",
        "mapping.unit_price": "number(UnitPrice)",
        "mapping.title": "Description",
    },
    "retailrocket-sample/events_sample.parquet": {
        "format.kind": "parquet",
        "mapping.user_id": "visitorid",
        "mapping.item_id": "itemid",
        "mapping.order_id": "transactionid",
        "mapping.event_time": {"expression": "timestamp", "format": "yyyy-MM-dd'T'HH:mm:ss.SSS"},
        "mapping.event_type": "trim(event)",
        "mapping.event_types": {},  # codes 0, 1, 2 say nothing
    },
    "jdata-sample/JData_Action_201602.csv": {
        "landing.pattern": r"JData_Action_(?P<date>\d{6})\.csv",
        "landing.date_format": "%Y%m",
        "mapping.user_id": r"regexp_replace(trim(user_id), '\.0$', '')",
        "mapping.item_id": "sku_id",
        "mapping.category": "cate",
        "mapping.brand": "brand",
        "mapping.event_type": "trim(type)",
        "mapping.event_types": {},
    },
    "rees46-head/2019-Oct.csv": {
        "landing.date_format": "%Y-%b",
        "mapping.user_id": "user_id",
        "mapping.item_id": "product_id",
        "mapping.session_id": "user_session",
        "mapping.category": "category_code",
        "mapping.brand": "brand",
        "mapping.event_types": {"view": "view", "cart": "cart", "purchase": "purchase"},
        "mapping.event_time": {"expression": "event_time", "format": "yyyy-MM-dd HH:mm:ss 'UTC'", "zone": "UTC"},
    },
    "rees46-head/electronics_duplicates.csv": {
        "mapping.user_id": "user_id",
        "mapping.event_time": {"expression": "event_time", "format": "yyyy-MM-dd HH:mm:ssXXX", "has_offset": True},
    },
    "complete-journey/transactions_sample.csv.gz": {
        "mapping.user_id": "household_id",
        "mapping.item_id": "product_id",
        "mapping.order_id": "basket_id",
        "mapping.unit_price": "number(sales_value) / number(quantity)",
        "mapping.event_types": {"purchase": "purchase"},
    },
    "ml-100k/u.data": {
        "format.header": False,
        "format.delimiter": "\t",
        "landing.landed_on": date(1998, 4, 22),
        "mapping.user_id": "c1",
        "mapping.item_id": "c2",
        "mapping.stars": "number(c3)",
        "mapping.event_time": {"expression": "c4", "epoch": "seconds"},
        "mapping.event_types": {"rating": "rating"},
    },
}


@pytest.mark.skipif(not DATA.is_dir(), reason="../shared/data does not lie beside the clone")
@pytest.mark.parametrize("log", REAL)
def test_the_draft_for_a_real_log_loads_and_decides_what_the_log_says(log: str, conf: Path) -> None:
    told = list(draft_source.write(DATA / log, "drafted"))
    assert told[-1].startswith("It loads.")
    kind = yaml.safe_load((conf / "drafted.yaml").read_text(encoding="utf-8"))["files"]["events"]
    found = {path: kind[path.split(".")[0]].get(path.split(".")[1]) for path in REAL[log]}
    assert found == REAL[log]


@pytest.mark.skipif(not DATA.is_dir(), reason="../shared/data does not lie beside the clone")
def test_a_log_without_items_is_refused_by_the_loader_until_somebody_says_what_an_item_is(conf: Path) -> None:
    told = list(draft_source.write(DATA / "cdnow/CDNOW_sample.txt", "cdnow_draft"))
    assert len(told) == 3
    assert "mapping.item_id: unknown field `FILL IN`. Fields: c1, c2, c3, c4, c5" in told[2]
    kind = yaml.safe_load((conf / "cdnow_draft.yaml").read_text(encoding="utf-8"))["files"]["events"]
    assert (kind["format"]["kind"], kind["format"]["widths"]) == ("fixed_width", [6, 5, 9, 3, 8])
    assert (kind["mapping"]["user_id"], kind["mapping"]["event_time"]["format"]) == ("c1", "yyyyMMdd")
    with pytest.raises(settings.SettingsError, match="FILL IN"):
        settings.load("cdnow_draft")


@pytest.mark.skipif(not DATA.is_dir(), reason="../shared/data does not lie beside the clone")
def test_gbk_is_seen_in_the_users_of_jdata() -> None:
    found = log_profile.look(DATA / "jdata-sample/JData_User.csv")
    assert found.encoding.names == ("gbk",)
    assert next(c for c in found.columns if c.name == "age").counts[0][0].endswith("岁")


LINES = [
    "who;what;did;on;at;each",
    "a1;i1;page view;03-04-2026;10:00;1.234,50",
    "a2;i2;add to cart;03-04-2026;10:01;2,75",
    "a1;i2;compare;02-04-2026;10:02;3,25",
    "a3;i3;page view;03-04-2026;23:59;4,00",
]


def drafted(folder: Path, name: str, content: bytes, conf: Path) -> tuple[str, list[str]]:
    """The draft for a file of that name and content, and what was said."""
    (folder / name).write_bytes(content)
    said = list(draft_source.write(folder / name, "drafted"))
    return (conf / "drafted.yaml").read_text(encoding="utf-8"), said


def test_two_columns_of_time_decimal_commas_and_packing_are_seen_and_unknown_words_left_to_the_user(
    tmp_path: Path, conf: Path
) -> None:
    content = "\n".join(LINES).replace("who;what", "user_id;item_id").replace("did", "event").replace("on;", "date;")
    content = content.replace("each", "price")
    text, said = drafted(tmp_path, "log-20260404.csv.zst", zstandard.compress(content.encode()), conf)
    assert said[-1].startswith("It loads.")
    kind = settings.load("drafted").source.files["events"]
    assert kind.landing.landing_date("log-20260405.csv.zst") == date(2026, 4, 5)
    assert (kind.format.numbers.decimal, kind.format.numbers.grouping) == (",", ".")
    mapping = yaml.safe_load(text)["files"]["events"]["mapping"]
    assert mapping["event_time"] == {"expression": "concat(trim(date), ' ', trim(at))", "format": "dd-MM-yyyy HH:mm"}
    assert mapping["event_types"] == {"page view": "view", "add to cart": "cart"}
    assert "# compare: FILL IN   # 1 lines looked at" in text


def test_day_and_month_either_way_round_stop_the_loader_with_both_ways_in_the_draft(tmp_path: Path, conf: Path) -> None:
    lines = ["user_id,item_id,event,time", "a,i,view,03-04-2026 10:00:00", "b,j,view,04-05-2026 10:00:00"]
    text, said = drafted(tmp_path, "log.csv", "\n".join(lines).encode(), conf)
    assert "give either format or epoch" in " ".join(said)
    assert "# format: dd-MM-yyyy HH:mm:ss" in text
    assert "# format: MM-dd-yyyy HH:mm:ss" in text


def test_an_epoch_of_no_plausible_unit_stops_the_loader_with_every_unit_s_dates_in_the_draft(
    tmp_path: Path, conf: Path
) -> None:
    lines = ["user_id,item_id,event,time", "a,i,view,12", "b,j,view,14"]
    text, said = drafted(tmp_path, "log.csv", "\n".join(lines).encode(), conf)
    assert "give either format or epoch" in " ".join(said)
    assert "# epoch: seconds   # 1970-01-01 00:00:12 to 1970-01-01 00:00:14; 0.0 % between 1990 and 2100" in text
    lines = ["user_id,item_id,event,time", "a,i,view,1775124012000", "b,j,view,1775124014000"]
    (conf / "drafted.yaml").unlink()
    text, said = drafted(tmp_path, "log.csv", "\n".join(lines).encode(), conf)
    assert said[-1].startswith("It loads.")
    mapping = yaml.safe_load(text)["files"]["events"]["mapping"]
    assert mapping["event_time"] == {"expression": "time", "epoch": "milliseconds"}


def test_hostile_names_and_values_make_a_draft_that_is_still_yaml(tmp_path: Path, conf: Path) -> None:
    lines = [
        '{"user_id":"a: #b","item_id":"x\\u0085\\u2028y\\u0000","event":"view",'
        '"time":"2026-04-01T10:00:00Z","null":1,"a b":"- {"}',
        '{"user_id":"\'c\'","item_id":"z","event":"{{ 7 * 7 }}",'
        '"time":"2026-04-01T11:00:00Z","null":2,"a b":"\\ud83d\\ude00"}',
    ]
    text, said = drafted(tmp_path, "log-2026-04-01.jsonl.gz", gzip.compress("\n".join(lines).encode()), conf)
    assert said[-1].startswith("It loads.")
    fields = yaml.safe_load(text)["files"]["events"]["format"]["fields"]
    assert fields == ["user_id", "item_id", "event", "time", "null", "a b"]
    assert "{{ 7 * 7 }}" in text, "what stands in a log is never a template"


def test_a_mapping_that_exists_is_never_overwritten_and_a_name_is_legal(tmp_path: Path, conf: Path) -> None:
    log = tmp_path / "log.csv"
    log.write_text("\n".join(LINES))
    before = (conf / "online_retail.yaml").read_bytes()
    with pytest.raises(UsageError, match="exists and is not overwritten"):
        list(draft_source.write(log, "online_retail"))
    with pytest.raises(UsageError, match="expected small letters"):
        list(draft_source.write(log, "../evil"))
    assert (conf / "online_retail.yaml").read_bytes() == before
    with pytest.raises(UsageError, match="cannot be read: No such file"):
        list(draft_source.write(tmp_path / "absent.csv", "absent"))
    assert sorted(p.stem for p in conf.glob("*.yaml")) == sorted(p.stem for p in (ROOT / "conf/sources").glob("*.yaml"))


def test_three_samples_of_a_column_stand_in_the_draft_and_no_fourth(tmp_path: Path, conf: Path) -> None:
    lines = ["user_id,item_id,event,time", *(f"u{n}x,i,view,2026-04-0{n} 10:00:00" for n in range(1, 8))]
    text, _ = drafted(tmp_path, "log.csv", "\n".join(lines).encode(), conf)
    assert [n for n in range(1, 8) if f'"u{n}x"' in text] == [1, 2, 3, 7]  # three samples, and the largest
    assert "delete them before this file goes anywhere" in text


def test_a_large_file_is_sampled_from_its_beginning_and_from_all_over_the_rest(tmp_path: Path) -> None:
    log = tmp_path / "log.csv"
    log.write_text("".join(f"{n}\n" for n in range(1, 1001)))
    sample = log_profile.sample_of(log, first=10)
    numbers = [int(v) for v in sample.values]
    assert (sample.count, numbers[:10]) == (1000, list(range(1, 11)))
    assert 5 <= len(numbers) - 10 <= 10
    assert max(numbers) > 800


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("events-2026-04-30.jsonl.gz", date(2026, 4, 30)),
        ("JData_Action_201602.csv", date(2016, 2, 29)),
        ("2019-Oct.csv", date(2019, 10, 31)),
        ("log.20260401.txt", date(2026, 4, 1)),
        ("order-12345678.csv", None),
        ("u.data", None),
    ],
)
def test_the_day_in_a_file_s_name_is_found_if_it_is_one(name: str, told: date | None) -> None:
    found = log_profile.landing_of(name)
    assert (found and found[2]) == told
    if found:
        from rekindle.sources import Landing

        assert Landing(pattern=found[0], date_format=found[1]).landing_date(name) == told
