"""make check-source: what it says of a folder of files, and that nothing stays behind."""

from __future__ import annotations

import io
import shutil
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from jobs.ingest import check_source
from rekindle import settings
from rekindle.settings import ROOT

MAPPING = """
name: tried
description: A log of a test.
time_zone: UTC
currency: EUR
first_date: 2026-01-01
on_missing_day: accept
quarantine_share_limit: 1.0
files:
  log:
    table: events
    landing: {pattern: 'log-(?P<date>[0-9-]+)\\.csv'}
    format: {kind: csv, header: true, fields: [id, who, what, did, at], optional: [note]}
    mapping:
      event_id: {column: id}
      event_time: {expression: at, format: "yyyy-MM-dd HH:mm"}
      event_type: did
      event_types: {look: view}
      user_id: who
      item_id: what
      denied_user_ids: ["null"]
  goods:
    table: items
    landing: {pattern: 'goods\\.csv', landed_on: 2026-04-01}
    format: {kind: csv, fields: [what, name]}
    mapping: {item_id: what, title: name}
churn: {horizon_days: 21, gap_days: 0, eligibility_days: 45, history_days: 30, cutoff_step_days: 7, training_cutoffs: 5}
recommend:
  {event_weights: {view: 1}, half_life_days: 30, judge_days: 7, popularity_days: 28, catalogue_days: 60,
   methods: {near: {method: item_neighbours, neighbours: 50, weighting: cosine}}}
"""
LINES = [
    "id,who,what,did,at,colour",
    *(f"e{n},ann,i{n},look,2026-04-01 10:{n},red" for n in range(10, 24)),
    "e10,ann,i10,look,2026-04-01 10:10,red",
    *(f"f{n},ann,i{n},[bold]jump,2026-04-01 10:{n},red" for n in range(10, 24)),
    "x1,,i1,look,2026-04-01 10:00,red",
    "x2,bob" + "y" * 300,
]


@pytest.fixture
def conf(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An installation's own conf with the mapping to try."""
    shutil.copytree(ROOT / "conf", tmp_path / "conf")
    path = tmp_path / "conf/sources/tried.yaml"
    path.write_text(MAPPING, encoding="utf-8")
    monkeypatch.setenv("REKINDLE_CONF", str(tmp_path / "conf"))
    return path


def landed(folder: Path) -> Path:
    """A landing folder: two files to take, two to refuse."""
    folder.mkdir()
    (folder / "log-2026-04-01.csv").write_text("\n".join(LINES), encoding="utf-8")
    shutil.copy(folder / "log-2026-04-01.csv", folder / "log-2026-04-02.csv")
    (folder / "goods.csv").write_text("i10,Kettle\ni11,Lamp\n", encoding="utf-8")
    (folder / "notes.txt").write_text("hello", encoding="utf-8")
    return folder


def shown(tried: check_source.Tried, source: Any) -> str:
    page = io.StringIO()
    check_source.show(tried, source, Console(file=page, width=140, highlight=False))
    return page.getvalue()


def test_a_dry_run_tells_every_fate_reason_and_ten_lines_of_each_and_changes_nothing(
    spark: Any, tmp_path: Path, conf: Path
) -> None:
    source = settings.load("tried").source
    folder = landed(tmp_path / "landing")
    tried = check_source.try_out(spark, source, folder, tmp_path / "bronze")
    assert tried.fates == {
        ("log", "clean"): 14,
        ("log", "duplicate"): 1,
        ("log", "quarantined"): 16,
        ("goods", "clean"): 2,
    }
    assert tried.rules == {("log", "unknown_action"): 14, ("log", "no_user"): 1, ("log", "malformed"): 1}
    accepted = [f for f in tried.files if f.status == "accepted"]
    assert sum(tried.fates.values()) == sum(f.lines - f.header_lines for f in accepted) == 33
    page = shown(tried, source)
    assert "Files: 2 taken, 2 refused" in page
    assert "refused log-2026-04-02.csv: duplicate_delivery" in page
    assert "refused notes.txt: name: it does not match" in page
    assert page.count("event_type=view") == 10
    assert page.count("[bold]jump,2026") == 10, "ten of each reason, and nothing in a log is markup"
    assert "log-2026-04-01.csv:16 repeats log-2026-04-01.csv:2" in page
    assert "log: colour is in 1 of 1 files, not in the mapping" in page
    assert "log: note is in the mapping, not in 1 of 1 files" in page
    assert f"x2,bob{'y' * 194}…" in page
    assert "item_id=i10 title=Kettle" in page
    assert page.rstrip().endswith("Nothing was written: no table, no ledger, no bronze. The lines above hold raw ids.")
    assert (tmp_path / "landing/log-2026-04-01.csv").read_text(encoding="utf-8") == "\n".join(LINES)


def test_a_folder_of_which_no_file_is_the_source_s_asks_nothing_of_spark_and_has_no_clean_line(
    tmp_path: Path, conf: Path
) -> None:
    source = settings.load("tried").source
    (tmp_path / "landing").mkdir()
    (tmp_path / "landing/notes.txt").write_text("hello", encoding="utf-8")
    tried = check_source.try_out(None, source, tmp_path / "landing", tmp_path / "bronze")
    assert tried.clean == 0
    assert "Files: 0 taken, 1 refused" in shown(tried, source)


def test_a_faulty_mapping_exits_2_with_one_line_a_fault(
    tmp_path: Path, conf: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    faulty = MAPPING.replace("user_id: who", "user_id: hwo").replace("item_id: what\n", "item_id: trimm(what)\n")
    conf.write_text(faulty.replace("currency: EUR", "curency: EUR"), encoding="utf-8")
    code = check_source.main(["--source", "tried", "--landing", str(tmp_path), "--mapping-only"])
    said = capsys.readouterr().err.splitlines()
    assert code == 2
    assert all(line.startswith("error: ") for line in said)
    for fault in ("unknown field `hwo`", "unknown function trimm, did you mean trim?", "did you mean currency?"):
        assert [fault in line for line in said].count(True) == 1, fault
    assert not any("found {" in line for line in said), "a fault does not quote the whole file"


def test_a_mapping_that_loads_exits_0_and_a_folder_that_is_not_there_2(
    tmp_path: Path, conf: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = ["--source", "tried", "--mapping-only", "--landing"]
    assert check_source.main([*given, str(tmp_path)]) == 0
    assert check_source.main([*given, str(tmp_path / "absent")]) == 2
    assert "no such folder" in capsys.readouterr().err
