"""`make export` writes one run of a view, whole or not at all, and says what is in the file."""

from __future__ import annotations

import csv
import json
import tracemalloc
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest

from rekindle import crm_export, settings
from rekindle.csv_cells import as_it_was
from rekindle.old_runs import remove_old_runs
from rekindle.refusals import UsageError
from tests.rekindle.test_csv_cells import FORMULAS, is_formula
from tests.rekindle.warehouse_shop import DAY, LISTS, Shop, through

Exported = Callable[..., crm_export.Export]


@pytest.fixture
def exported(shop: Shop, tmp_path: Path) -> Exported:
    """`exported(view)`: the export of that view of the test's own source."""

    def export(view: str, source: str = "", **more: Any) -> crm_export.Export:
        return crm_export.export(shop.environment, tmp_path / "exports", view, source or shop.source, **more)

    return export


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file, strict=True))


def test_the_file_has_the_served_runs_rows_and_says_which_night_it_is(shop: Shop, exported: Exported) -> None:
    shop.publish(shop.run(DAY - timedelta(days=1)))
    run = shop.run()
    shop.publish(run)
    done = exported("lists")
    rows = rows_of(done.path)
    assert {row["run_id"] for row in rows} == {run.run_id}
    assert sorted((row["user_id"], row["place"], row["score"]) for row in rows)[:3] == [
        ("user 0", "1", "0.0"),
        ("user 0", "2", "0.0"),
        ("user 1", "1", repr(1 / 3)),
    ]
    assert json.loads(rows[0]["reasons"]) == [run.run_id, "b"]
    assert done.path.name == f"lists-{DAY}-{run.run_id}.csv"
    assert done.path.parent.name == shop.source
    assert done.path.stat().st_mode & 0o777 == 0o600, "it names users"
    assert done.path.read_bytes().startswith(b"source,user_id,place,title,score,reasons,run_id,published_at")
    assert str(done).startswith(f"lists: 6 rows of run {run.run_id} ({DAY}, data through {through(DAY)}) in /")


def test_an_earlier_kept_run_is_had_by_its_id(shop: Shop, exported: Exported) -> None:
    earlier, later = shop.run(DAY - timedelta(days=1)), shop.run()
    shop.publish(earlier)
    shop.publish(later)
    for view in ("lists", "lists_by_run"):
        done = exported(view, run_id=earlier.run_id)
        assert {row["run_id"] for row in rows_of(done.path)} == {earlier.run_id}
        assert (done.rows, done.publication.business_date) == (6, earlier.business_date)
    history = exported("publications")
    assert [row["run_id"] for row in rows_of(history.path)] == [earlier.run_id, later.run_id]


def test_a_shops_own_texts_are_no_formulas_and_can_be_had_back(shop: Shop, exported: Exported) -> None:
    titles = [text for text in FORMULAS if "\0" not in text]
    run = shop.run()
    with shop.connect() as conn:
        conn.execute(
            "INSERT INTO vault.user_keys SELECT %s, 1, 'f' || n, t, 0.5"
            " FROM unnest(%s::text[]) WITH ORDINALITY AS x(t, n)",
            [shop.source, titles],
        )
    rows = shop.rows(run)
    rows[LISTS] += [
        {"user_key": f"f{n}", "place": 1, "title": title, "score": -1.5, "reasons": [title]}
        for n, title in enumerate(titles, 1)
    ]
    shop.publish(run, shop.stage(run, rows))
    found = [row for row in rows_of(exported("lists").path) if row["title"] != run.run_id]
    assert len(found) == len(titles) >= 40
    for name in ("title", "user_id"):
        assert not [row[name] for row in found if is_formula(row[name])]
        assert {as_it_was(row[name]) for row in found} == set(titles)
    assert {json.loads(as_it_was(row["reasons"]))[0] for row in found} == set(titles)
    assert {row["score"] for row in found} == {"-1.5"}, "a negative number is a number"
    assert {t for (t,) in shop.read(f"SELECT title FROM lists WHERE source = '{shop.source}'")} > set(titles), (
        "the warehouse keeps the texts as they are"
    )


def test_what_cannot_be_exported_is_answered_with_what_can(shop: Shop, exported: Exported, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"SOURCE='.*' has published nothing; legal: "):
        exported("lists")
    run = shop.run()
    shop.publish(run)
    with pytest.raises(UsageError, match=r"VIEW='list' is no view of the CRM; legal: .*lists, lists_by_run, .*weeks"):
        exported("list")
    with pytest.raises(UsageError, match=rf"RUN='nowhere': .* no such run; legal: {run.run_id} \({DAY}\)"):
        exported("lists", run_id="nowhere")
    with pytest.raises(UsageError, match=rf"RUN='': .* keeps no such run; legal: {run.run_id}"):
        exported("lists_by_run")
    with pytest.raises(UsageError, match="is a folder; expected the name of a file"):
        exported("lists", out=tmp_path)
    with pytest.raises(FileNotFoundError):
        exported("lists", out=tmp_path / "nowhere" / "a.csv")
    assert [p for p in tmp_path.rglob("*") if p.is_file()] == []


def test_a_file_that_stood_there_is_replaced_whole_or_stays(
    shop: Shop, exported: Exported, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop.publish(shop.run())
    out = tmp_path / "lists.csv"
    out.write_text("what was there")
    with monkeypatch.context() as patch:
        patch.setattr(crm_export, "_written", lambda rows, file: file.write("half") and 1 / 0)
        with pytest.raises(ZeroDivisionError):
            exported("lists", out=out)
    assert out.read_text() == "what was there"
    assert [p.name for p in tmp_path.iterdir()] == ["lists.csv"], "nothing is left behind"
    assert exported("lists", out=out).path == out
    assert len(rows_of(out)) == 6


def test_a_night_that_is_published_meanwhile_is_not_mixed_in(
    shop: Shop, exported: Exported, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = shop.run(), shop.run()
    shop.publish(first)
    write = crm_export._written

    def publish_then_write(rows: Any, file: Any) -> int:
        shop.publish(second)
        with shop.connect() as conn:
            remove_old_runs(conn, shop.source, (LISTS,), 1, timedelta(0))
        return write(rows, file)

    monkeypatch.setattr(crm_export, "_written", publish_then_write)
    done = exported("lists")
    assert {row["run_id"] for row in rows_of(done.path)} == {first.run_id} == {done.publication.run_id}
    assert done.rows == 6


def test_memory_does_not_grow_with_rows(shop: Shop, exported: Exported, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(crm_export, "FETCHED_ROWS", 500)
    run = shop.run()
    rows = shop.rows(run)
    rows[LISTS] = [{"user_key": "k0", "place": n, "title": f"item {n} " + "x" * 1_000} for n in range(10_000)]
    shop.publish(run, shop.stage(run, rows))
    del rows
    tracemalloc.start()
    done = exported("lists")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert done.rows == 10_000
    assert done.path.stat().st_size > 10_000_000
    assert peak < 3_000_000


@pytest.fixture
def command(environment: settings.Environment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., int]:
    """`make export` with the tests' warehouse and a home of its own."""
    monkeypatch.setenv("REKINDLE_HOME", str(tmp_path))
    monkeypatch.setattr(settings, "load_environment", lambda name: environment)
    return lambda *words: crm_export.main(words)


def test_the_command_says_what_it_wrote_or_in_one_line_why_not(
    shop: Shop, command: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    run = shop.run()
    shop.publish(run)
    assert command("--view", "weeks", "--source", shop.source) == 0
    path = tmp_path / "exports" / shop.source / f"weeks-{DAY}-{run.run_id}.csv"
    assert capsys.readouterr().out.endswith(f" in {path}\n")
    assert path.exists()
    assert command("--view", "weks", "--source", shop.source) == 2
    assert command("--view", "weeks", "--source", shop.source, "--out", f"{tmp_path}/no/where.csv") == 2

    def unreachable(*_: Any) -> None:
        raise psycopg.OperationalError("connection refused")

    monkeypatch.setattr(crm_export, "export", unreachable)
    assert command("--view", "weeks", "--source", shop.source) == 75
    told = capsys.readouterr().err.splitlines()
    assert [line.split(":")[0] for line in told] == ["error"] * 3
    assert "VIEW='weks' is no view of the CRM; legal: " in told[0]
    assert "No such file or directory" in told[1]
    assert "the warehouse did not answer" in told[2]
