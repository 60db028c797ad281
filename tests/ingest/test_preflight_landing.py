"""What landed is taken or refused by name, and the same work has the same run id."""

from __future__ import annotations

import gzip
import io
import json
import logging
import os
import sys
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from jobs.ingest import preflight_landing as preflight
from rekindle import landing_copies, landing_inspection, settings
from rekindle.cli import Context, DataRefused
from rekindle.ledger import LandedFile, Ledger
from tests.rekindle.conftest import environment as environment
from tests.rekindle.warehouse_shop import landed

DAY = date(2026, 1, 3)
HEADER = b"InvoiceNo,StockCode,Description,Quantity,InvoiceDate,UnitPrice,CustomerID,Country"


def shop(home: Path, source: str, **source_parts: Any) -> settings.Settings:
    """Settings whose landing folder and bronze lie in `home`."""
    loaded = settings.load(source)
    lake = loaded.environment.lake.model_copy(update={"bronze": home / "bronze"})
    made = loaded.model_copy(
        update={
            "home": home,
            "environment": loaded.environment.model_copy(update={"lake": lake}),
            "source": loaded.source.model_copy(update=source_parts),
        }
    )
    (home / "landing" / made.source.name).mkdir(parents=True)
    return made


def other(loaded: settings.Settings, **parts: Any) -> settings.Settings:
    """Settings with other parts, and no digest remembered from before."""
    return settings.Settings(**({name: getattr(loaded, name) for name in settings.Settings.model_fields} | parts))


def put(loaded: settings.Settings, name: str, content: bytes) -> Path:
    path = loaded.landing / name
    path.write_bytes(content)
    return path


def inspected(loaded: settings.Settings, day: date = DAY, known: tuple[LandedFile, ...] = ()) -> list[LandedFile]:
    """Every file that is due, accepted or refused."""
    return preflight.inspect_landing(
        loaded, landing_inspection.list_landing(loaded.landing, loaded.source, day), day, known
    )


def looked_at(loaded: settings.Settings, day: date = DAY, known: tuple[LandedFile, ...] = ()) -> dict[str, str]:
    """What became of each file listed: accepted, or the reason's id."""
    files = inspected(loaded, day, known)
    return {f.name: (f.reason or "?").split(":")[0] if f.status == "refused" else "accepted" for f in files}


def test_every_file_of_the_landing_folder_is_taken_or_refused_by_its_name(tmp_path: Path) -> None:
    made = shop(tmp_path, "simulated_shop")
    whole = gzip.compress(b"{}\n")
    put(made, "events-2026-01-01.jsonl.gz", whole)
    put(made, "events-2026-01-02.jsonl.gz", gzip.compress(b"{}\n{}\n")[:-9])
    put(made, "events-2026-01-03.jsonl.gz", b"")
    put(made, ".events-2026-01-03.jsonl.gz.part", whole)
    put(made, "events-2026-01-03.jsonl.gz.tmp", whole)
    put(made, "events-2026-02-31.jsonl.gz", whole)
    put(made, "events-2026-01-04.jsonl.gz", whole)
    put(made, "README.txt", b"for people")
    os.mkfifo(made.landing / "events-2025-12-30.jsonl.gz")
    (made.landing / "events-2025-12-31.jsonl.gz").symlink_to("events-2026-01-01.jsonl.gz")
    (made.landing / "archive").mkdir()
    assert looked_at(made) == {
        ".events-2026-01-03.jsonl.gz.part": "name",
        "archive": "not_a_file",
        "events-2025-12-30.jsonl.gz": "not_a_file",
        "events-2025-12-31.jsonl.gz": "link",
        "events-2026-01-01.jsonl.gz": "accepted",
        "events-2026-01-02.jsonl.gz": "gzip_truncated",
        "events-2026-01-03.jsonl.gz": "empty_file",
        "events-2026-01-03.jsonl.gz.tmp": "name",
        "events-2026-02-31.jsonl.gz": "name",
    }, "all but what is for people and what lands after the day"


def test_the_same_content_under_another_name_is_a_duplicate_delivery(tmp_path: Path) -> None:
    made = shop(tmp_path, "simulated_shop")
    for day in ("01", "02"):
        put(made, f"events-2026-01-{day}.jsonl.gz", gzip.compress(b"{}\n", mtime=0))
    assert looked_at(made) == {
        "events-2026-01-01.jsonl.gz": "accepted",
        "events-2026-01-02.jsonl.gz": "duplicate_delivery",
    }


def test_the_listing_counts_every_name_once(tmp_path: Path) -> None:
    made = shop(tmp_path, "simulated_shop")
    for name in ("events-2026-01-01.jsonl.gz", "events-2026-01-04.jsonl.gz", "README.txt", "SOURCE.md", "x"):
        put(made, name, gzip.compress(b"{}\n"))
    listing = landing_inspection.list_landing(made.landing, made.source, DAY)
    assert [one.path.name for one in listing.due] == ["events-2026-01-01.jsonl.gz", "x"]
    assert (listing.later, listing.ignored) == (("events-2026-01-04.jsonl.gz",), ("README.txt", "SOURCE.md"))


def test_what_copying_programs_write_into_is_refused_as_unfinished(tmp_path: Path) -> None:
    made = shop(tmp_path, "simulated_shop")
    for name in ("events-2026-01-01.jsonl.gz._COPYING_", "events-2026-01-02.jsonl.gz.part", "a.crdownload"):
        put(made, name, b"{}\n")
    assert {f.reason for f in inspected(made)} == {
        f"name: by its ending {ending} it is still being written" for ending in ("._copying_", ".part", ".crdownload")
    }


def test_a_header_is_met_by_name_in_any_order_and_a_new_name_is_kept(tmp_path: Path) -> None:
    made = shop(tmp_path, "online_retail")
    names = HEADER.decode().split(",")
    turned = ",".join([*names[::-1], "Channel", ""])
    put(made, "2026-01-01.csv", b"\xef\xbb\xbf" + HEADER + b"\r\n1,2,3,4,5,6,7,8\n")
    put(made, "2026-01-02.csv", turned.encode() + b"\n8,7,6,5,4,3,2,1,shop,\n")
    plain, other = inspected(made)
    assert (plain.status, plain.lines, plain.header_lines, plain.kind) == ("accepted", 2, 1, "invoices")
    assert plain.columns == tuple(names)
    assert (other.status, other.columns) == ("accepted", tuple(turned.split(",")))


@pytest.mark.parametrize(
    ("header", "told"),
    [
        (HEADER.replace(b"Country", b"Land"), "missing Country; found InvoiceNo,"),
        (HEADER.replace(b"Country", b"country"), "missing Country; found "),
        (HEADER + b",Quantity", "more than once (in whatever case) Quantity; found "),
        (HEADER + b",QUANTITY", "more than once (in whatever case) QUANTITY, Quantity; found "),
        (HEADER.replace(b",", b";"), "missing InvoiceNo, StockCode, "),
        (b"\xff\xfe", "missing InvoiceNo, "),
    ],
)
def test_a_header_that_lacks_or_doubles_a_name_refuses_the_file_and_says_which(
    tmp_path: Path, header: bytes, told: str
) -> None:
    made = shop(tmp_path, "online_retail")
    put(made, "2026-01-02.csv", b"\n" * header.startswith(b"\xff") + header + b"\n1,2,3,4,5,6,7,8\n")
    (wrong,) = inspected(made)
    assert wrong.status == "refused"
    assert (wrong.reason or "").replace(", ", ",").startswith(f"header: {told}".replace(", ", ","))


def with_kinds(made: settings.Settings, **kinds: dict[str, Any]) -> settings.Settings:
    """The shop with these kinds of files besides its own; each told as a mapping of conf would tell it."""
    source = made.source
    files = source.model_dump(mode="json")["files"] | kinds
    return other(made, source=type(source).model_validate(source.model_dump(mode="json") | {"files": files}))


ITEMS = {
    "table": "items",
    "landing": {"pattern": r"items-(?P<date>\d{8})\.csv", "date_format": "%Y%m%d"},
    "format": {"kind": "csv", "header": True, "fields": ["sku"]},
    "mapping": {"item_id": "sku"},
}


def test_each_kind_of_file_has_its_names_and_only_events_make_a_day(tmp_path: Path) -> None:
    made = with_kinds(shop(tmp_path, "simulated_shop"), items=ITEMS)
    put(made, "items-20260103.csv", b"sku\na\nb\n")
    put(made, "items-20260104.csv", b"sku\na\n")
    (items,) = inspected(made)
    assert (items.kind, items.status, items.lines, items.columns) == ("items", "accepted", 3, ("sku",))
    assert items.landing_date == DAY
    missing = preflight.missing_day(context_of(made, Served(None)), [items])
    assert missing is not None
    assert missing.startswith("no file of simulated_shop has landed for 2026-01-03")
    put(made, "events-2026-01-03.jsonl.gz", gzip.compress(b'{"b": 1, "a": 2}\n'))
    files = inspected(made)
    assert [(f.kind, f.columns) for f in files] == [("events", ("a", "b")), ("items", ("sku",))]
    assert preflight.missing_day(context_of(made, Served(None)), files) is None


def test_a_name_that_two_kinds_claim_is_refused(tmp_path: Path) -> None:
    greedy = ITEMS | {"landing": {"pattern": r".*(?P<date>\d{4}-\d{2}-\d{2}).*"}}
    made = with_kinds(shop(tmp_path, "simulated_shop"), items=greedy)
    put(made, "events-2026-01-01.jsonl.gz", gzip.compress(b"{}\n"))
    (file,) = inspected(made)
    assert (file.status, file.reason, file.kind) == (
        "refused",
        "name: matches kinds events and items; expected one",
        "",
    )


def test_a_file_that_the_ledger_knows_is_not_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = shop(tmp_path, "simulated_shop")
    path = put(made, "events-2026-01-01.jsonl.gz", gzip.compress(b"{}\n"))
    (known,) = inspected(made)
    read: list[Path] = []
    real = landing_copies.take

    def noted(landed_path: Path, *others: Any) -> Any:
        read.append(landed_path)
        return real(landed_path, *others)

    monkeypatch.setattr(landing_inspection, "take", noted)
    assert inspected(made, known=(known,)) == [known]
    assert read == []
    path.write_bytes(gzip.compress(b"{}\n{}\n"))
    os.utime(path, ns=(1, 1))
    (other,) = inspected(made, known=(known,))
    assert (read, other.lines) == ([path], 2)
    assert other.sha256 != known.sha256


def test_a_known_file_is_read_again_when_the_conf_means_something_else_by_it(tmp_path: Path) -> None:
    made = shop(tmp_path, "online_retail")
    put(made, "2026-01-02.csv", HEADER + b"\n1,2,3,4,5,6,7,8\n")
    (known,) = inspected(made)
    assert inspected(made, known=(known,)) == [known]
    for before in (
        replace(known, kind="", columns=()),  # as the ledger knew it before files had kinds
        replace(known, landing_date=date(2026, 1, 1)),
        replace(known, header_lines=0, columns=()),
        replace(known, columns=known.columns[1:]),
    ):
        assert inspected(made, known=(before,)) == [known]


def test_a_file_that_changes_while_it_is_read_is_not_ready(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = shop(tmp_path, "simulated_shop")
    path = put(made, "events-2026-01-01.jsonl.gz", gzip.compress(b"{}\n"))
    last = put(made, "events-2026-01-02.jsonl.gz", gzip.compress(b"{ }\n"))
    real = landing_copies.take

    def written_meanwhile(landed_path: Path, *others: Any) -> Any:
        copy = real(landed_path, *others)
        with path.open("ab") as still_open:
            still_open.write(gzip.compress(b"{}\n"))
        return copy

    monkeypatch.setattr(landing_inspection, "take", written_meanwhile)
    assert looked_at(made) == {path.name: "not_ready", last.name: "accepted"}

    def written_later(landed_path: Path, *others: Any) -> Any:
        return (written_meanwhile if landed_path == last else real)(landed_path, *others)

    monkeypatch.setattr(landing_inspection, "take", written_later)
    assert looked_at(made) == {path.name: "not_ready", last.name: "accepted"}, "while another one was read"


def test_the_run_id_is_a_function_of_the_work_and_of_nothing_else() -> None:
    made = settings.load("simulated_shop")
    files = [landed(f"f{n}", str(n) * 64, landing_date=DAY + timedelta(days=n)) for n in (1, 2, 3)]
    one = preflight.run_id(made, DAY, files, False)
    assert one == preflight.run_id(made, DAY, files[::-1], False)
    assert one == preflight.run_id(made, DAY, [replace(f, name="other", mtime_ns=9) for f in files], False)
    assert len(one) == 17
    environment = made.environment
    identity = environment.identity.model_copy(update={"key_version": 2})
    ids = {
        one,
        preflight.run_id(made, DAY, files, True),
        preflight.run_id(made, DAY + timedelta(days=1), files, False),
        preflight.run_id(made, DAY, files[:2], False),
        preflight.run_id(made, DAY, [*files[:2], replace(files[2], landing_date=DAY)], False),
        preflight.run_id(made, DAY, [*files[:2], replace(files[2], kind="items")], False),
        preflight.run_id(settings.load("online_retail"), DAY, files, False),
        preflight.run_id(other(made, business=made.business.model_copy(update={"list_length": 21})), DAY, files, False),
        preflight.run_id(
            other(made, environment=environment.model_copy(update={"identity": identity})), DAY, files, False
        ),
    }
    assert len(ids) == 9, "each ingredient makes another run"


def test_the_code_is_part_of_the_run_id(tmp_path: Path) -> None:
    for folder in ("rekindle", "schemas", "expectations", "jobs"):
        (tmp_path / folder).mkdir()
    (tmp_path / "jobs" / "a.py").write_text("x = 1\n")
    made = other(settings.load("simulated_shop"), root=tmp_path)
    ids = [preflight.run_id(made, DAY, [], False)]
    (tmp_path / "jobs" / "a.py").write_text("x = 2\n")
    ids.append(preflight.run_id(other(made), DAY, [], False))
    assert ids[0] != ids[1]


def test_a_night_builds_on_another_only_if_nothing_is_gone_and_all_that_is_new_landed_later() -> None:
    a, b, c = (landed(n, n * 64, landing_date=DAY + timedelta(days=k)) for k, n in enumerate("abc"))
    late = landed("late", "d" * 64, landing_date=DAY + timedelta(days=1))
    assert preflight.is_base([a, b], [a, b, c])
    assert preflight.is_base([a, b], [a, b])
    assert preflight.is_base([], [a])
    assert not preflight.is_base([a, b], [a, c]), "a file is gone"
    assert not preflight.is_base([a, c], [a, b, c]), "a file landed in between"
    assert not preflight.is_base([a, b], [a, b, late]), "a second file of a day that was already cleaned"


class Served:
    """A ledger that only says what is served."""

    def __init__(self, day: date | None) -> None:
        self.day = day

    def served(self, source: str) -> Any:
        return SimpleNamespace(business_date=self.day) if self.day else None


def context_of(loaded: settings.Settings, ledger: Any, day: date = DAY, retrain: bool = False) -> Context:
    return Context(loaded, day, ledger, retrain, None, None, {}, logging.getLogger("preflight"))


def test_a_day_without_lines_says_which_files_came_and_what_stays_served(tmp_path: Path) -> None:
    context = context_of(shop(tmp_path, "simulated_shop"), Served(date(2026, 1, 2)))
    stays = "nothing is published, the last good night (2026-01-02) stays served"
    yesterday = landed("y", "a" * 64, landing_date=date(2026, 1, 2), kind="events")
    empty = landed("x.csv", "b" * 64, landing_date=DAY, lines=1, header_lines=1, kind="events")
    refused = replace(empty, name="z.gz", status="refused", reason="gzip_truncated: ends after 0 whole lines")
    nothing = preflight.missing_day(context, [yesterday])
    assert nothing is not None
    assert nothing.startswith("no file of simulated_shop has landed for 2026-01-03 in ")
    assert nothing.endswith(stays)
    assert preflight.missing_day(context, [yesterday, empty, refused]) == (
        "the files of simulated_shop for 2026-01-03 hold nothing to clean"
        f" (x.csv: no lines; z.gz: gzip_truncated: ends after 0 whole lines); {stays}"
    )
    assert preflight.missing_day(context, [replace(empty, lines=2)]) is None
    first = preflight.missing_day(context_of(context.settings, Served(None)), [yesterday])
    assert first is not None
    assert first.endswith("nothing is published, nothing was served before")


def said(context: Context, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What preflight tells the scheduler."""
    out = io.StringIO()
    monkeypatch.setattr(sys, "stdout", out)
    preflight.run(context)
    return dict(json.loads(out.getvalue().splitlines()[-1]))


def test_a_night_is_opened_once_and_a_missing_day_is_the_sources_to_judge(
    tmp_path: Path,
    environment: settings.Environment,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    from rekindle import warehouse

    ledger = Ledger(lambda: warehouse.connect(environment, "writer"))
    made = shop(tmp_path, "simulated_shop", name="preflight_shop")
    put(made, "events-2026-01-01.jsonl.gz", gzip.compress(b"{}\n"))
    first = said(context_of(made, ledger, date(2026, 1, 1)), monkeypatch)
    assert first == said(context_of(made, ledger, date(2026, 1, 1)), monkeypatch), "the same work is the same run"
    assert (first["due"], first["train"], ledger.run(first["run_id"]).attempt) == (True, True, 2)
    assert [f.name for f in ledger.run_files(first["run_id"])] == ["events-2026-01-01.jsonl.gz"]
    ledger.mark(first["run_id"], "published")
    assert not said(context_of(made, ledger, date(2026, 1, 1)), monkeypatch)["due"], "already published"

    with pytest.raises(DataRefused, match=r"no file of preflight_shop has landed for 2026-01-02 in .*; nothing is"):
        preflight.run(context_of(made, ledger, date(2026, 1, 2)))
    calm = made.model_copy(update={"source": made.source.model_copy(update={"on_missing_day": "accept"})})
    with caplog.at_level("WARNING"):
        told = said(context_of(calm, ledger, date(2026, 1, 2)), monkeypatch)
    assert told == {"run_id": "", "due": False, "train": False}
    assert "no file of preflight_shop has landed for 2026-01-02" in caplog.text
    put(calm, "events-2026-01-02.jsonl.gz", b"")
    with pytest.raises(DataRefused, match=r"hold nothing to clean \(events-2026-01-02.jsonl.gz: empty_file"):
        preflight.run(context_of(calm, ledger, date(2026, 1, 2)))


def test_what_the_crm_wrote_back_is_a_file_of_the_night_and_makes_no_day(
    tmp_path: Path, environment: settings.Environment, monkeypatch: pytest.MonkeyPatch
) -> None:
    from rekindle import warehouse

    ledger = Ledger(lambda: warehouse.connect(environment, "writer"))
    made = shop(tmp_path, "simulated_shop", name="outcome_shop")
    day, after = date(2026, 1, 1), date(2026, 1, 2)
    put(made, "events-2026-01-01.jsonl.gz", gzip.compress(b"{}\n"))
    silent = said(context_of(made, ledger, day), monkeypatch)["run_id"]
    accepted = [f for f in ledger.files("outcome_shop") if f.status == "accepted"]
    assert silent == preflight.run_id(made, day, accepted, False), "without a word of the CRM the id is as ever"

    at = datetime(2026, 1, 1, 12, tzinfo=UTC)
    with warehouse.connect(environment, "writer") as conn:
        warehouse.add_user_keys(conn, "outcome_shop", 1, [("a", "anna")], lambda user_id: 0.5)
    write = "INSERT INTO outcomes (source, outcome_id, kind, user_id, happened_at) VALUES (%s, %s, 'open', 'anna', %s)"
    with warehouse.connect(environment, "crm_writer") as conn:
        conn.execute(write, ["outcome_shop", "o1", at + timedelta(days=1)])
    assert said(context_of(made, ledger, day), monkeypatch)["run_id"] == silent
    with pytest.raises(DataRefused, match="no file of outcome_shop has landed for 2026-01-02"):
        preflight.run(context_of(made, ledger, after))
    put(made, "events-2026-01-02.jsonl.gz", gzip.compress(b"{}\n{}\n"))
    next_night = said(context_of(made, ledger, after), monkeypatch)["run_id"]
    with warehouse.connect(environment, "crm_writer") as conn:
        conn.execute(write, ["outcome_shop", "o2", at])
    assert said(context_of(made, ledger, after), monkeypatch)["run_id"] == next_night, "whatever was written since"
    names = [f.name for f in ledger.run_files(next_night)]
    assert names == ["events-2026-01-01.jsonl.gz", "events-2026-01-02.jsonl.gz", "inbox-2026-01-02-1.jsonl"]
    assert preflight.is_base(ledger.run_files(silent), ledger.run_files(next_night)), (
        "the next night builds on the last"
    )


def test_a_landing_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    made = shop(tmp_path, "simulated_shop")
    made.landing.rmdir()
    with pytest.raises(DataRefused, match=r"landing folder .* does not exist; give LANDING=<folder>"):
        preflight.run(context_of(made, Served(None)))
    with pytest.raises(DataRefused, match="No such file or directory; give LANDING=<folder>"):
        landing_inspection.list_landing(made.landing, made.source, DAY)
