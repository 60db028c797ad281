"""make replay-quarantine: lines that a mended mapping understands are told by rule and place, and nothing is kept."""

from __future__ import annotations

import io
import json
import shutil
from collections import Counter
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from jobs.ingest import replay_quarantine
from jobs.ingest.replay_quarantine import Night, Replayed, fitting, grid, night_of, replay, words
from rekindle import contract, line_cleaning, settings, warehouse
from rekindle.fingerprint import Fingerprint
from rekindle.ledger import LandedFile, Ledger, RunKey, TableVersion
from rekindle.refusals import DataRefused, UsageError
from schemas.catalogue import SERVED
from schemas.events import EVENTS
from schemas.quarantine import QUARANTINE
from tests.ingest.landed_files import SECRET, cleaned, inspected
from tests.rekindle import conftest as warehouse_server

environment = warehouse_server.environment

MONDAY, TUESDAY = date(2026, 2, 9), date(2026, 2, 10)


def line(number: int, **other: Any) -> dict[str, Any]:
    told = {"event_id": f"e{number}", "ts": "2026-02-09T12:00:00+01:00", "type": "order", "customer": f"c{number}"}
    return told | {"sku": "s1", "price": 9.5, "qty": 1} | other


def mapped(without: str | None = None) -> settings.Source:
    """The simulated shop, with a mapping that lacks one word for an action."""
    told = settings.load("simulated_shop").source.model_dump(mode="json")
    told["files"]["events"]["landing"]["pattern"] = r"events-(?P<date>\d{4}-\d{2}-\d{2})\.jsonl"
    told["files"]["events"]["mapping"]["event_types"].pop(without, None)
    return settings.Source.model_validate(told)


# Of every line: what it became without the word `wishlist`, and what it becomes with it.
FILES: dict[str, list[tuple[dict[str, Any], str, str]]] = {
    f"events-{MONDAY}.jsonl": [
        (line(1), "clean", "clean"),
        (line(2, type="wishlist"), "unknown_action", "clean"),
        (line(2, type="wishlist"), "unknown_action", "duplicate"),
        (line(3, type="wishlist", sku=None), "unknown_action", "no_item"),
        (line(4, type="heartbeat"), "unknown_action", "unknown_action"),
        (line(5, customer=None, type="wishlist"), "no_user", "no_user"),
        (line(6, type="wishlist"), "unknown_action", "clean"),
    ],
    f"events-{TUESDAY}.jsonl": [
        (line(7), "clean", "clean"),
        (line(6, type="wishlist", sku="s9"), "unknown_action", "id_conflict"),
        (line(8, price=-1), "bad_price", "bad_price"),
    ],
    f"events-{date(2026, 2, 11)}.jsonl": [(line(9), "clean", "clean")],
    f"events-{date(2026, 2, 12)}.jsonl": [(line(9, type="wishlist"), "unknown_action", "id_conflict")],
}
REPLAYED = Counter((then, now) for lines in FILES.values() for _, then, now in lines if then != "clean")


@dataclass
class Cleaned:
    """A night cleaned by the mapping that lacks the word."""

    files: list[LandedFile]
    bronze: Path
    lines: Any

    @property
    def quarantine(self) -> Any:
        return contract.conform(self.lines.where("fate = 'quarantined'"), QUARANTINE)

    @property
    def events(self) -> Any:
        return contract.conform(self.lines.where("fate = 'clean'"), EVENTS)

    def fates(self, lines: Any) -> dict[str, list[str]]:
        """By file's name, what became of its lines in their order."""
        names, found = {f.sha256: f.name for f in self.files}, {name: {} for name in FILES}  # type: ignore[var-annotated]
        for row in lines.drop("event_ts").collect():
            found[names[row.file_sha256]][row.line_number] = row.rule or row.fate
        return {name: [told[n] for n in sorted(told)] for name, told in found.items()}


@pytest.fixture
def night(spark: Any, tmp_path: Path) -> Cleaned:
    landing, bronze = tmp_path / "landing", tmp_path / "bronze"
    landing.mkdir()
    for name, lines in FILES.items():
        (landing / name).write_text("".join(json.dumps(told) + "\n" for told, _, _ in lines), encoding="utf-8")
    source = mapped(without="wishlist")
    files = inspected(landing, source, bronze, *FILES)
    return Cleaned(files, bronze, cleaned(spark, source, bronze, files))


def test_a_word_added_to_the_mapping_makes_clean_exactly_the_lines_that_replay_says(spark: Any, night: Cleaned) -> None:
    assert night.fates(night.lines) == {name: [then for _, then, _ in lines] for name, lines in FILES.items()}
    mended = mapped()
    found = replay(spark, mended, night.quarantine, night.files, str(night.bronze), SECRET, night.events)
    assert Counter({(r.rule, r.rule_now or r.fate): r.lines for r in found}) == REPLAYED
    shas = {f.name: f.sha256 for f in night.files}
    (gained,) = [r for r in found if r.fate == "clean"]
    first = f"events-{MONDAY}.jsonl"
    assert gained.places == ((shas[first], 2), (shas[first], 7))
    assert [r.lines for r in found] == sorted((r.lines for r in found), reverse=True)

    again = cleaned(spark, mended, night.bronze, night.files)
    assert night.fates(again) == {name: [now for _, _, now in lines] for name, lines in FILES.items()}
    fates = line_cleaning.counted({"events": again}, night.files).fates
    assert line_cleaning.unbalanced(fates, {f.sha256: f.name for f in night.files}) == []
    assert sum(f.clean for f in fates) == night.events.count() + gained.lines
    assert sum(f.landed for f in fates) == sum(map(len, FILES.values()))


def test_by_the_same_mapping_every_line_meets_its_rule_again(spark: Any, night: Cleaned) -> None:
    source = mapped(without="wishlist")
    found = replay(spark, source, night.quarantine, night.files, str(night.bronze), SECRET, night.events)
    assert {(r.rule, r.rule_now) for r in found} == {(rule, rule) for rule, _ in REPLAYED}
    assert sum(r.lines for r in found) == sum(REPLAYED.values())
    assert replay(spark, source, night.quarantine.limit(0), night.files, str(night.bronze), SECRET) == []


def test_lines_that_are_no_longer_in_bronze_are_refused_and_no_fate_is_made_up(spark: Any, night: Cleaned) -> None:
    (night.bronze / night.files[1].sha256).unlink()
    lost = sum(then != "clean" for _, then, _ in FILES[night.files[1].name])
    total = sum(REPLAYED.values())
    with pytest.raises(DataRefused, match=f"{total - lost} of {total} quarantined lines stand at their places"):
        replay(spark, mapped(), night.quarantine, night.files, str(night.bronze), SECRET, night.events)
    shutil.rmtree(night.bronze)
    with pytest.raises(DataRefused, match=f"0 of {total} quarantined lines"):
        replay(spark, mapped(), night.quarantine, night.files, str(night.bronze), SECRET, night.events)


def landed(name: str, **other: Any) -> LandedFile:
    file = LandedFile(name, MONDAY, "a" * 64, 1, 1, 1, 0, "accepted", kind="events")
    return replace(file, **other)


def test_a_file_that_the_conf_now_declares_otherwise_is_refused_by_name() -> None:
    source = mapped()
    as_it_was = [landed(f"events-{MONDAY}.jsonl")]
    assert fitting(as_it_was, source) == as_it_was
    for other in ({"kind": "orders"}, {"landing_date": TUESDAY}, {"header_lines": 1}):
        with pytest.raises(UsageError, match=rf"file events-{MONDAY}.jsonl was taken as .* run make check-source"):
            fitting([landed(f"events-{MONDAY}.jsonl", **other)], source)


RUN = RunKey("r" + "9" * 16, "replayed_shop", MONDAY, "code", "conf", "ingest", 1, False)


def test_the_table_names_rules_and_places_and_the_sentence_says_what_to_run(environment: settings.Environment) -> None:
    found = [
        Replayed("unknown_action", "clean", None, 7, (("a" * 64, 3), ("a" * 64, 9), ("b" * 64, 1))),
        Replayed("unknown_action", "quarantined", "no_item", 2, (("b" * 64, 4),)),
        Replayed("no_user", "duplicate", None, 1, (("b" * 64, 5),)),
    ]
    files = [landed("monday"), landed("[red]tuesday", sha256="b" * 64)]
    page = io.StringIO()
    Console(file=page, width=120, markup=False).print(grid(found, files))
    rows = [" ".join(text.split()) for text in page.getvalue().splitlines() if text.strip()]
    assert rows[-3:] == [
        f"unknown_action clean 7 {'a' * 12} 3, 9 (monday); {'b' * 12} 1 ([red]tuesday)",
        f"unknown_action quarantined: no_item 2 {'b' * 12} 4 ([red]tuesday)",
        f"no_user duplicate 1 {'b' * 12} 5 ([red]tuesday)",
    ]
    warehouse.migrate(environment, SERVED)
    ledger = Ledger(lambda: warehouse.connect(environment, "writer"))
    served = Night(ledger.open_run(replace(RUN, run_id="r" + "8" * 16), [], {"base": None}), {}, files, True)
    assert words("replayed_shop", served, found, "other").endswith(
        "publishes it: make nightly SOURCE=replayed_shop DATE=2026-02-09"
    )
    assert "7 of 10 quarantined lines would be clean" in words("replayed_shop", served, found, "other")
    assert "make nightly" not in words("replayed_shop", served, found, "ingest")
    assert "stores it beside" in words("replayed_shop", replace(served, is_served=False), found, "other")


def test_it_replays_the_served_night_or_the_newest_of_a_day_and_says_which_there_are(
    environment: settings.Environment,
) -> None:
    warehouse.migrate(environment, SERVED)
    ledger = Ledger(lambda: warehouse.connect(environment, "writer"))
    with pytest.raises(UsageError, match="no night of replayed_shop is published; there are: none"):
        night_of(ledger, "replayed_shop", None)
    later = replace(RUN, run_id="r" + "a" * 16, business_date=TUESDAY)
    without = replace(RUN, run_id="r" + "b" * 16, business_date=date(2026, 2, 11))
    with warehouse.connect(environment, "writer") as connection:
        for key in (RUN, later, without):
            ledger.open_run(key, [], {"base": None})
            connection.execute(
                "INSERT INTO serve.publications (run_id, source, business_date, data_through, key_version, attempt,"
                " status, manifest) VALUES (%s, %s, %s, now(), 1, 1, 'served', '{}')",
                [key.run_id, key.source, key.business_date],
            )
        connection.execute("INSERT INTO serve.pointers (source, run_id) VALUES (%s, %s)", [RUN.source, later.run_id])
    for key in (RUN, later):
        version = TableVersion(QUARANTINE.name, 5, "memory", Fingerprint(0, 0, 0, 0), True)
        ledger.record_table(key.run_id, version)
    assert (night_of(ledger, RUN.source, None).run.run_id, night_of(ledger, RUN.source, None).is_served) == (
        later.run_id,
        True,
    )
    assert (night_of(ledger, RUN.source, MONDAY).run.run_id, night_of(ledger, RUN.source, MONDAY).is_served) == (
        RUN.run_id,
        False,
    )
    with pytest.raises(UsageError, match="no night of replayed_shop of 2026-03-01 is published; there are: 2026-02-11"):
        night_of(ledger, RUN.source, date(2026, 3, 1))
    with pytest.raises(UsageError, match="2026-02-11 has no table quarantine"):
        night_of(ledger, RUN.source, date(2026, 2, 11))


def test_an_unknown_source_or_a_day_that_there_is_not_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert replay_quarantine.main(["--source", "simulated_shopp"]) == 2
    assert replay_quarantine.main(["--source", "simulated_shop", "--date", "2026-02-30"]) == 2
    told = capsys.readouterr().err.splitlines()
    assert [text.split(":")[0] for text in told] == ["error", "error"]
    assert "SOURCE='simulated_shopp' is unknown" in told[0]
    assert "DATE='2026-02-30' is not a calendar day" in told[1]
