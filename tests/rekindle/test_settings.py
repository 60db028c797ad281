"""A wrong key or value in conf/ is one line that names the file, the line, the key and what is legal."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from datetime import date
from pathlib import Path

import pytest

from rekindle import settings
from rekindle.settings import SettingsError

Edit = Callable[[str, str, str], Path]


@pytest.fixture
def edited(tmp_path: Path) -> Edit:
    """`edited(file, old, new)`: a copy of conf/ with that text replaced; its root."""

    def edit(file: str, old: str, new: str) -> Path:
        root = tmp_path / "root"
        if not root.exists():
            shutil.copytree(settings.ROOT / "conf", root / "conf")
        path = root / "conf" / file
        text = path.read_text(encoding="utf-8")
        assert old in text
        path.write_text(text.replace(old, new, 1), encoding="utf-8")
        return root

    return edit


def refusal(root: Path, source: str = "simulated_shop", environment: str = "local") -> str:
    with pytest.raises(SettingsError) as refused:
        settings.load(source, environment, root)
    told = str(refused.value)
    assert "\n" not in told
    return told


def test_every_source_loads_in_every_environment() -> None:
    loaded = [settings.load(s, e) for s in settings.source_names() for e in settings.environment_names()]
    assert {(x.source.name, x.environment.name) for x in loaded} == {
        (s, e) for s in ("online_retail", "simulated_shop") for e in ("cluster", "local")
    }
    assert loaded[0].as_of(date(2026, 12, 31)) == date(2027, 1, 1)


@pytest.mark.parametrize(
    ("file", "old", "new", "place", "hint"),
    [
        ("sources/simulated_shop.yaml", "  horizon_days: 21", "  horizn_days: 21", "churn.horizn_days", "horizon_days"),
        ("sources/simulated_shop.yaml", "currency:", "currencies:", "currencies", "currency"),
        ("business.yaml", "  critical:", "  critcal:", "risk_bands.critcal", "critical"),
        ("environments/local.yaml", "  catalog_uri:", "  catalogue_uri:", "lake.catalogue_uri", "catalog_uri"),
        ("sources/simulated_shop.yaml", "    - {id: ev", "    - {note: x, id: ev", "mapping.repairs.0.note", ""),
    ],
)
def test_an_unknown_key_is_named_with_file_line_and_the_nearest(
    edited: Edit, file: str, old: str, new: str, place: str, hint: str
) -> None:
    root = edited(file, old, new)
    text = (root / "conf" / file).read_text(encoding="utf-8")
    line = text[: text.index(new)].count("\n") + 1
    told = refusal(root)
    assert f"conf/{file}:{line}: {place}: unknown key" in told
    assert f"did you mean {hint}?" in told or not hint
    assert "Legal: " in told


@pytest.mark.parametrize(
    ("file", "old", "new", "message"),
    [
        ("sources/simulated_shop.yaml", "time_zone: Europe/Berlin", "time_zone: Europe/Berln", "mean Europe/Berlin?"),
        (
            "sources/simulated_shop.yaml",
            "horizon_days: 21",
            "horizon_days: many",
            "churn.horizon_days: Input should",
        ),
        ("sources/simulated_shop.yaml", "horizon_days: 21", "horizon_days: 0", "greater than or equal to 1, found 0"),
        (
            "sources/simulated_shop.yaml",
            "on_missing_day: refuse",
            "on_missing_day: hope",
            "'refuse' or 'accept', fo",
        ),
        ("sources/simulated_shop.yaml", "(?P<date>", "(?P<day>", "must capture the landing date as (?P<date>"),
        ("sources/simulated_shop.yaml", "{column: event_id}", "{column: a, hash_of: [b]}", "either column or hash_of"),
        ("business.yaml", "high: 0.55", "high: 0.95", "the cut points must rise: medium < high < critical"),
        ("business.yaml", "list_length: 20", "list_length: [20", "conf/business.yaml: not YAML: "),
        ("business.yaml", "seed: 20260101", "", "conf/business.yaml: seed: Field required"),
    ],
)
def test_a_value_that_is_not_legal_says_what_is(edited: Edit, file: str, old: str, new: str, message: str) -> None:
    assert message in refusal(edited(file, old, new))


def test_all_faults_of_a_file_are_told_at_once(edited: Edit) -> None:
    edited("business.yaml", "list_length: 20", "list_length: 0")
    told = refusal(edited("business.yaml", "kept_runs: 7", "kept_runs: 1"))
    assert "business.yaml:2: list_length: " in told
    assert "kept_runs: Input should be greater than or equal to 2, found 1" in told


def test_a_wrong_name_on_the_command_line_lists_the_legal_ones() -> None:
    told = refusal(settings.ROOT, source="onlin_retail")
    assert told == "SOURCE='onlin_retail' is unknown; legal values: online_retail, simulated_shop"
    told = refusal(settings.ROOT, environment="prod")
    assert told == "ENVIRONMENT='prod' is unknown; legal values: cluster, local"
    assert "is unknown" in refusal(settings.ROOT, source="../../etc/passwd")


@pytest.mark.parametrize(
    "text", ["2026-02-30", "20260430", "2026-4-3", "yesterday", "", "2026-04-30T00:00", "２０２６-04-30"]
)
def test_what_is_no_calendar_day_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(SettingsError, match="is not a calendar day; expected YYYY-MM-DD, as in 2026-04-30"):
        settings.parse_date(text)
    assert settings.parse_date("2028-02-29") == date(2028, 2, 29)


def test_state_lies_where_rekindle_home_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REKINDLE_HOME", str(tmp_path))
    loaded = settings.load("simulated_shop")
    assert loaded.landing == tmp_path.resolve() / "landing/simulated_shop"
    assert loaded.environment.lake.bronze == tmp_path.resolve() / "bronze"
    monkeypatch.delenv("REKINDLE_HOME")
    assert settings.home() == settings.ROOT / "var"


def test_the_fingerprint_of_conf_changes_with_conf_and_with_nothing_else(edited: Edit) -> None:
    comment = edited("business.yaml", "list_length: 20 ", "# said otherwise\nlist_length: 20 ")
    before = settings.load("simulated_shop").conf_fingerprint
    assert settings.load("simulated_shop", "cluster").conf_fingerprint == before, "where it runs is not what it does"
    assert settings.load("simulated_shop", "local", comment).conf_fingerprint == before
    root = edited("business.yaml", "list_length: 20", "list_length: 19")
    fewer = settings.load("simulated_shop", "local", root).conf_fingerprint
    root = edited("sources/simulated_shop.yaml", "alpha: 2.0", "alpha: 2.5")
    assert len({before, fewer, settings.load("simulated_shop", "local", root).conf_fingerprint}) == 3


def test_the_ingest_version_changes_with_the_mapping_and_not_with_a_horizon(edited: Edit) -> None:
    def version(root: Path) -> str:
        loaded = settings.load("simulated_shop", "local", root)
        return loaded.model_copy(update={"root": settings.ROOT}).ingest_version

    before = version(edited("sources/simulated_shop.yaml", "horizon_days: 21", "horizon_days: 28"))
    assert before == settings.load("simulated_shop").ingest_version
    assert version(edited("sources/simulated_shop.yaml", "title: title", "title: upper(title)")) != before


def test_the_digest_of_code_sees_every_python_file(tmp_path: Path) -> None:
    (tmp_path / "jobs/deep").mkdir(parents=True)
    (tmp_path / "jobs/deep/a.py").write_text("a")
    told = [settings.digest_of_code(tmp_path, "jobs")]
    (tmp_path / "jobs/notes.md").write_text("for people")
    assert settings.digest_of_code(tmp_path, "jobs") == told[0]
    (tmp_path / "jobs/deep/a.py").rename(tmp_path / "jobs/deep/b.py")
    told.append(settings.digest_of_code(tmp_path, "jobs"))
    (tmp_path / "jobs/deep/b.py").write_text("b")
    told.append(settings.digest_of_code(tmp_path, "jobs", "jobs/deep/b.py"))
    assert len(set(told)) == 3
