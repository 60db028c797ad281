"""A date, a source, a run, a digest or a file's name never leads out of its folder: it is refused by name (F108)."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from jobs.ingest import draft_source
from rekindle import crm_export, lake, registry, settings, show_line
from rekindle.contract import IDENTIFIER, Column, Table
from rekindle.ledger import LedgerError
from rekindle.refusals import UsageError
from tests.hostile_texts import COMMANDS, PATHS, aimed
from tests.rekindle.warehouse_shop import Shop

NOTES = Table("notes", "One row per note.", ("id",), (Column("id", "string", "Id."),))


@pytest.fixture
def texts(tmp_path: Path) -> list[str]:
    """Paths that lead elsewhere, and commands; each names a canary beside the test's own folders."""
    canary = str(tmp_path / "canary")
    found = aimed((*PATHS, *COMMANDS, "../canary", canary, f"x/../../{'../' * 20}{canary}"), canary)
    assert len(set(found) - set(aimed(COMMANDS, canary))) >= 60
    return found


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A state folder with something beside it that a path could lead to."""
    digest = registry.save(tmp_path / "elsewhere", {"model.json": b"{}"})
    (tmp_path / "elsewhere" / digest).rename(tmp_path / "canary_model")
    (tmp_path / "secret.yaml").write_text("name: secret\n")
    (tmp_path / "home" / "artefacts").mkdir(parents=True)
    return tmp_path / "home"


def everything(folder: Path) -> dict[str, bytes]:
    return {str(p): p.read_bytes() if p.is_file() else b"" for p in sorted(folder.rglob("*"))}


def test_no_text_but_a_day_is_a_date(texts: list[str]) -> None:
    for text in texts:
        with pytest.raises(settings.SettingsError, match="is not a calendar day"):
            settings.parse_date(text)


def test_no_text_but_a_known_name_is_a_source_or_an_environment(texts: list[str]) -> None:
    for text in texts:
        with pytest.raises(settings.SettingsError, match=r"SOURCE=.* is unknown; legal values: cdnow, "):
            settings.load(text)
        with pytest.raises(settings.SettingsError, match=r"ENVIRONMENT=.* is unknown; legal values: cluster, local"):
            settings.load_environment(text)


def test_a_source_in_the_lake_is_one_namespace_below_it(texts: list[str]) -> None:
    for text in texts:
        if IDENTIFIER.fullmatch(text):
            assert lake.qualified(text, NOTES) == f"lake.{text}.notes"
            continue
        with pytest.raises(lake.LakeError, match="is not an identifier"):
            lake.qualified(text, NOTES)


def test_a_run_is_one_that_the_ledger_knows(shop: Shop, texts: list[str]) -> None:
    run = shop.run()
    shop.publish(run)
    ledger = shop.ledger
    for text in [one for one in texts if "\0" not in one][::2]:  # a command line holds none; a connection each
        assert not lake.RUN_ID.fullmatch(text)
        with pytest.raises(LedgerError, match="is not in the ledger"):
            ledger.run(text)


def test_an_export_goes_where_its_names_say(shop: Shop, texts: list[str], tmp_path: Path) -> None:
    shop.publish(shop.run())
    asked: tuple[Callable[[str], object], ...] = (
        lambda text: crm_export.export(shop.environment, tmp_path / "exports", text, shop.source),
        lambda text: crm_export.export(shop.environment, tmp_path / "exports", "lists", text),
        lambda text: crm_export.export(shop.environment, tmp_path / "exports", "lists", shop.source, text or " "),
    )
    for at, text in enumerate([one for one in texts if "\0" not in one][::2]):
        with pytest.raises(UsageError, match=r"(VIEW|SOURCE|RUN)=.* legal: "):
            asked[at % 3](text)
    assert list(tmp_path.iterdir()) == []


def test_a_model_is_asked_for_by_its_digest(home: Path, texts: list[str]) -> None:
    before = everything(home.parent)
    artefacts = home / "artefacts"
    for text in [*texts, "../../canary_model", str(home.parent / "canary_model")]:
        with pytest.raises(registry.RegistryError, match="no artefact in"):
            registry.load(artefacts, text)
    digest = registry.save(artefacts, {"model.json": b"{}"})
    assert json.loads(registry.load(artefacts, digest)["model.json"]) == {}
    assert everything(home.parent).items() >= before.items()


def test_a_line_is_shown_of_a_file_in_bronze(home: Path, texts: list[str]) -> None:
    bronze = home / "bronze"
    bronze.mkdir()
    (bronze / "nul").write_text("x")
    lake_conf = settings.load_environment("local").lake.model_copy(update={"bronze": bronze})
    environment = settings.load_environment("local").model_copy(update={"lake": lake_conf})
    for text in texts:
        with pytest.raises(LookupError, match=r"FILE="):
            show_line.find(text, environment)


def test_a_drafted_source_has_a_plain_name(texts: list[str]) -> None:
    for text in [one for one in texts if one and not IDENTIFIER.fullmatch(one)]:
        with pytest.raises(UsageError, match=r"NAME=.*expected small letters, digits and _"):
            draft_source.name_of("log.csv", text)


def test_a_name_made_of_a_files_name_is_plain_too(texts: list[str]) -> None:
    made = []
    for text in texts:
        with suppress(UsageError):
            made.append(draft_source.name_of(text, None))
    assert made
    assert [name for name in made if not IDENTIFIER.fullmatch(name)] == []


def test_a_file_of_another_name_has_not_landed(texts: list[str]) -> None:
    loaded = [settings.load(name).source for name in settings.source_names()]
    kinds = [kind for source in loaded for kind in source.files.values()]
    endings = ("", ".csv", ".jsonl.gz", "/events-2026-04-30.jsonl.gz", "\n")
    taken = [
        (text, ending, kind.landing.pattern)
        for text in texts
        for ending in endings
        for kind in kinds
        if kind.landing.landing_date(text + ending) is not None
    ]
    assert taken == []
