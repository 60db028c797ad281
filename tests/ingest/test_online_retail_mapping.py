"""The mapping of UCI Online Retail gives every line of real day files the fate that pandas counts for it."""

from __future__ import annotations

import csv
from datetime import date
from pathlib import Path
from typing import Any

import pandas
import pytest

from rekindle import line_cleaning, settings
from rekindle.contract import conform
from rekindle.settings import ROOT
from schemas.events import EVENTS
from tests.ingest.landed_files import cleaned, inspected

FOLDER = ROOT.parent / "shared/data/online-retail"
DAYS = (date(2010, 12, 1), date(2010, 12, 5), date(2011, 2, 6), date(2011, 8, 31))


@pytest.fixture(scope="module")
def landed() -> pandas.DataFrame:
    """All lines of the chosen days as text, with their place."""
    whole = []
    for day in DAYS:
        lines = pandas.read_csv(FOLDER / f"{day}.csv", dtype=str, keep_default_na=False)
        whole.append(lines.assign(day=day, line_number=range(2, len(lines) + 2)))
    return pandas.concat(whole, ignore_index=True)


@pytest.mark.skipif(not FOLDER.is_dir(), reason="the Online Retail day files do not lie beside the clone")
def test_every_line_of_real_days_has_the_fate_that_pandas_counts(
    spark: Any, tmp_path: Path, landed: pandas.DataFrame
) -> None:
    source = settings.load("online_retail").source
    files = inspected(FOLDER, source, tmp_path, *(f"{day}.csv" for day in DAYS))
    fated = cleaned(spark, source, tmp_path, files)
    fates = line_cleaning.counted({"events": fated}, files).fates
    assert line_cleaning.unbalanced(fates, {f.sha256: f.name for f in files}) == []
    assert sum(f.landed for f in fates) == len(landed)

    no_user = landed["CustomerID"] == ""
    is_item = landed["StockCode"].str.strip().str.fullmatch(r"\d{5}[A-Za-z]{0,2}")
    is_return = landed["InvoiceNo"].str.startswith("C") | (landed["Quantity"].astype(float) < 0)
    free = (landed["UnitPrice"].astype(float) <= 0) & ~is_return
    fields = list(source.files["invoices"].format.fields)
    usable = ~no_user & is_item & ~free
    again = usable & landed[usable].duplicated(fields).reindex(landed.index, fill_value=False)
    expected = {
        "no_user": int(no_user.sum()),
        "non_item_code": int((~no_user & ~is_item).sum()),
        "bad_price": int((~no_user & is_item & free).sum()),
    }
    assert all(expected.values()), "the chosen days hold lines of each kind"
    counted = fated.groupBy("fate", "rule").count().collect()
    assert {r.rule: r["count"] for r in counted if r.rule} == expected
    assert {r.fate: r["count"] for r in counted if not r.rule} == {
        "clean": int((usable & ~again).sum()),
        "duplicate": int(again.sum()),
    }

    day_of = {f.sha256: f.landing_date for f in files}
    clean = conform(fated.where("fate = 'clean'"), EVENTS)
    local = "date_format(from_utc_timestamp(event_ts, 'Europe/London'), 'HH:mm') AS at"
    rows = {(day_of[r.file_sha256], r.line_number): r for r in clean.selectExpr("*", local).collect()}
    kept = landed[usable & ~again]
    assert set(rows) == set(zip(kept["day"], kept["line_number"], strict=True))
    returns = 0
    line: Any
    for line in kept.itertuples():
        row = rows[line.day, line.line_number]
        returned = line.InvoiceNo.startswith("C")
        returns += returned
        assert row.event_type == ("return" if returned else "purchase")
        assert row.quantity == abs(float(line.Quantity)) > 0
        assert (row.order_id, row.item_id) == (line.InvoiceNo, line.StockCode.strip().upper())
        assert (row.unit_price, row.title) == (float(line.UnitPrice), line.Description.strip())
        assert (row.event_date, row.at) == (line.day, line.InvoiceDate[11:16])
    assert returns > 10


def test_a_field_may_hold_commas_and_quotes_and_a_ragged_line_is_no_record(spark: Any, tmp_path: Path) -> None:
    source = settings.load("online_retail").source
    rest = ',1,2010-12-01 08:26:00,2.5,17850.0,"France"'
    titles = ['"7"" FRAME"', '"A ""B"", C"', '"FRAME, 7"', "PLAIN ", "BACK\\SLASH", '"BACK\\"', '""']
    lines = [f"{n},22421,{title}{rest}".encode() for n, title in enumerate(titles)]
    ragged = [
        b"9,22421,TIN,1,2010-12-01 08:26:00,2.5,17850.0",
        lines[0] + b",more",
        b'9,22421,"TIN' + rest.encode(),
        b"",
    ]
    header = ",".join(source.files["invoices"].format.fields).encode()
    (tmp_path / "landing").mkdir()
    content = b"".join(line + b"\n" for line in (header, *lines, lines[2] + b"\r", *ragged))
    (tmp_path / "landing/2010-12-01.csv").write_bytes(content)
    files = inspected(tmp_path / "landing", source, tmp_path / "bronze", "2010-12-01.csv")
    rows = cleaned(spark, source, tmp_path / "bronze", files).orderBy("line_number").collect()
    expected = [next(csv.reader([line.decode()]))[2].strip() or None for line in lines]
    assert [r.title for r in rows[: len(lines)]] == expected
    assert [r.fate for r in rows[: len(lines) + 1]] == ["clean"] * len(lines) + ["duplicate"]
    *cut, blank = rows[len(lines) + 1 :]
    assert [r.rule for r in cut] == ["malformed"] * 3
    assert (blank.fate, blank.rule) == ("quarantined", "malformed"), "an empty line is no record"
