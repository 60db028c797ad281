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
SHOP = "sources/simulated_shop.yaml"
SOURCES = (
    *("cdnow", "complete_journey", "jdata", "ml_100k", "online_retail", "rees46", "retailrocket"),
    "simulated_shop",
)


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
        (s, e) for s in SOURCES for e in ("cluster", "local")
    }
    assert loaded[0].as_of(date(2026, 12, 31)) == date(2027, 1, 1)


@pytest.mark.parametrize(
    ("file", "old", "new", "place", "hint"),
    [
        (SHOP, "  horizon_days: 21", "  horizn_days: 21", "churn.horizn_days", "horizon_days"),
        (SHOP, "currency:", "currencies:", "currencies", "currency"),
        ("business.yaml", "  critical:", "  critcal:", "risk_bands.critcal", "critical"),
        ("environments/local.yaml", "  catalog_uri:", "  catalogue_uri:", "lake.catalogue_uri", "catalog_uri"),
        (SHOP, "    - {id: ev", "    - {note: x, id: ev", "files.events.mapping.repairs.0.note", ""),
        (SHOP, "  title:", "  titel:", "files.events.mapping.titel", "title"),
        (
            SHOP,
            "{expression: ts, format:",
            "{expression: ts, formats:",
            "files.events.mapping.event_time.formats",
            "format",
        ),
        (SHOP, "      optional: [", "      optionl: [", "files.events.format.optionl", "optional"),
        (SHOP, "    landing: {pattern:", "    landing: {patern:", "files.events.landing.patern", "pattern"),
        (SHOP, "    landing: {", "    landings: {", "files.events.landings", "landing"),
        (SHOP, "files:", "filess:", "filess", "files"),
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
    ("old", "new", "place", "message"),
    [
        ("table: events", "table: evnts", "table", "unknown table 'evnts', did you mean events? Legal: events, items"),
        ("title: title", "title: titel", "mapping.title", "unknown field `titel`, did you mean title? Fields: "),
        ("number(price)", "numbr(price)", "mapping.unit_price", "unknown function numbr, did you mean number? Legal: "),
        ("stars: CASE", "stars: text # CASE", "mapping.stars", "`text` gives text, expected a number"),
        ("expression: ts", "expression: tz", "mapping.event_time.expression", "unknown field `tz`"),
        ('when: "type <>', 'when: "typ <>', "mapping.repairs.0.when", "unknown field `typ`, did you mean type?"),
        ("{column: event_id}", "{column: evnt_id}", "mapping.event_id", "unknown field `evnt_id`, did you mean event"),
        ("kind: json_lines", "kind: json", "format.kind", "Input should be 'json_lines', 'csv', 'fixed_width'"),
        ("pageview: view", "pageview: [view]", "mapping.event_types.pageview", "Input should be a valid string"),
    ],
)  # fmt: skip
def test_a_fault_in_a_kind_of_files_is_told_where_it_stands(
    edited: Edit, old: str, new: str, place: str, message: str
) -> None:
    root = edited(SHOP, old, new)
    text = (root / "conf" / SHOP).read_text(encoding="utf-8")
    line = text[: text.index(new)].count("\n") + 1
    told = refusal(root)
    assert told.startswith(f"conf/{SHOP}:{line}: files.events.{place}: {message}")
    assert "Value error" not in told


def test_a_kind_of_files_without_its_table_says_which_tables_there_are(edited: Edit) -> None:
    told = refusal(edited(SHOP, "    table: events\n", ""))
    assert "files.events.table: table is missing. Legal: events, items, users, campaigns" in told


def test_no_kind_of_files_takes_the_name_of_what_the_crm_writes_back(edited: Edit) -> None:
    told = refusal(edited(SHOP, "files:\n  events:\n", "files:\n  inbox:\n"))
    assert "files: inbox is the kind of what the CRM writes back; name yours otherwise" in told
    source = settings.load("simulated_shop").source
    assert [*source.files] == ["events"]
    assert [*source.kinds] == ["events", "inbox"]


def test_a_fault_in_a_part_that_another_uses_too_is_told_where_it_is_written(edited: Edit) -> None:
    """rees46's second kind of files takes over the first one's mapping by YAML's own means."""
    root = edited("sources/rees46.yaml", "category: category_code", "category: category_cod")
    text = (root / "conf/sources/rees46.yaml").read_text(encoding="utf-8")
    line = text[: text.index("category: category_cod")].count("\n") + 1
    told = refusal(root, source="rees46")
    for kind in ("general_store", "electronics_store"):
        assert f"conf/sources/rees46.yaml:{line}: files.{kind}.mapping.category: unknown field `category_cod`" in told


def test_a_key_that_stands_twice_is_refused_and_not_silently_overruled(edited: Edit) -> None:
    root = edited(SHOP, "      title: title\n", "      title: title\n      title: sku\n")
    lines = (root / "conf" / SHOP).read_text(encoding="utf-8").splitlines()
    at = lines.index("      title: sku") + 1
    told = f"conf/{SHOP}:{at}: files.events.mapping.title: the key stands in line {at - 1} already"
    assert refusal(root) == told


def test_several_faulty_expressions_are_several_faults(edited: Edit) -> None:
    edited(SHOP, "title: title", "title: titel")
    root = edited(SHOP, "number(price)", "price")
    with pytest.raises(SettingsError) as refused:
        settings.load("simulated_shop", "local", root)
    assert [fault.split(": ")[1] for fault in refused.value.faults] == [
        "files.events.mapping.title",
        "files.events.mapping.unit_price",
    ]


@pytest.mark.parametrize(
    ("file", "old", "new", "message"),
    [
        (SHOP, "time_zone: Europe/Berlin", "time_zone: Europe/Berln", "mean Europe/Berlin?"),
        (
            SHOP,
            "horizon_days: 21",
            "horizon_days: many",
            "churn.horizon_days: Input should",
        ),
        (SHOP, "horizon_days: 21", "horizon_days: 0", "greater than or equal to 1, found 0"),
        (
            SHOP,
            "on_missing_day: refuse",
            "on_missing_day: hope",
            "'refuse' or 'accept', fo",
        ),
        (SHOP, "(?P<date>", "(?P<day>", "must capture the landing date as (?P<date>"),
        (SHOP, "{column: event_id}", "{column: a, hash_of: [b]}", "either column or hash_of"),
        (SHOP, "files:\n  events:", "files:\n  my events:", "files.my events: String should match"),
        (SHOP, "name: simulated_shop", "name: simulated shop", "name: String should match pattern"),
        ("business.yaml", "high: 0.55", "high: 0.95", "the cut points must rise: medium < high < critical"),
        ("business.yaml", "list_length: 20", "list_length: [20", "conf/business.yaml: not YAML: "),
        ("business.yaml", "[en, zh]", "[en, fr]", "report_language.1: Input should be 'en' or 'zh', found 'fr'"),
        ("business.yaml", "[en, zh]", "[en, en]", "report_language: en, en: each language once"),
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
    assert told == "SOURCE='onlin_retail' is unknown; legal values: " + ", ".join(SOURCES)
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
    chinese = settings.load("simulated_shop", "local", edited("business.yaml", "[en, zh]", "zh"))
    assert chinese.business.report_language == ("zh",)
    assert chinese.conf_fingerprint == before, "what the report is written in makes no other night"
    root = edited("business.yaml", "list_length: 20", "list_length: 19")
    fewer = settings.load("simulated_shop", "local", root).conf_fingerprint
    root = edited(SHOP, "alpha: 2.0", "alpha: 2.5")
    assert len({before, fewer, settings.load("simulated_shop", "local", root).conf_fingerprint}) == 3


def test_the_ingest_version_changes_with_the_mapping_and_not_with_a_horizon(edited: Edit) -> None:
    def version(root: Path) -> str:
        loaded = settings.load("simulated_shop", "local", root)
        return loaded.model_copy(update={"root": settings.ROOT}).ingest_version

    before = version(edited(SHOP, "horizon_days: 21", "horizon_days: 28"))
    assert before == settings.load("simulated_shop").ingest_version
    assert version(edited(SHOP, "title: title", "title: upper(title)")) != before


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
