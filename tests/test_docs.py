"""The documents say what is there: generated pages are fresh, and every path, target and table they name exists."""

from __future__ import annotations

import ast
import importlib
import json
import re
import subprocess
from pathlib import Path

import pytest

from jobs.publish import write_docs
from rekindle import settings
from rekindle.contract import Table
from rekindle.inbox_tables import INBOX
from rekindle.warehouse_tables import LEDGER, PUBLICATIONS, SCHEMAS, SERVING
from rekindle.warehouse_views import ABOUT
from schemas.catalogue import LAKE, SERVED
from schemas.events import EVENT_TYPES

ROOT = Path(__file__).resolve().parent.parent
# Jobs that people start, and `make` for them; every other job is a task of a DAG.
MANUAL_JOBS = {
    *("jobs/publish/prepare_warehouse.py", "jobs/publish/write_docs.py"),
    *("jobs/ingest/backtest_expectations.py", "jobs/ingest/draft_source.py", "jobs/ingest/check_source.py"),
    *("jobs/recommend/explain_item.py", "jobs/churn/compare_definitions.py", "jobs/publish/rebuild_report.py"),
}
# What a job may read or write besides tables: how its docstring begins to name it.
PLACES = (
    *("the landing folder", "landing/", "truth/", "bronze", "conf/", "reports/", "docs/tables", "schemas"),
    *("alerts/", "dags/lineage.json"),
    *("the registry", "the champion", "the run's champion", "MLflow", "the lake's main"),
    *("the warehouse's roles", "the same tables of the warehouse", "for the CRM's views", "nothing"),
    *("night.html", "summary.json", "index.html"),
    "with --replace-views the lake's new columns",
)
# First parts of paths in the repository, by which a word in a document is known to be one.
TOP = ("bin", "conf", "dags", "docs", "expectations", "jobs", "rekindle", "report", "requirements", "schemas", "tests")


def tracked() -> list[Path]:
    """The files of the repository: known to git, or new and not ignored. A copy without git has all its text files."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    try:
        listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.split("\0")
        found = [ROOT / name for name in listed if name]
    except (OSError, subprocess.CalledProcessError):
        found = [p for top in TOP for p in (ROOT / top).rglob("*") if "__pycache__" not in p.parts]
        found += [p for p in ROOT.iterdir() if p.suffix in (".md", ".toml") or p.name in ("Makefile", "LICENSE")]
    return sorted(path for path in found if path.is_file())


def documents() -> list[Path]:
    """The pages people write and read; generated ones are checked by themselves."""
    found = [*ROOT.glob("*.md"), *(p for p in (ROOT / "docs").rglob("*.md") if p.parent.name != "tables")]
    assert found
    return sorted(found)


def name(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def make_targets() -> set[str]:
    return set(re.findall(r"^([a-z][a-z-]*):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.M))


def jobs() -> list[Path]:
    return sorted(p for p in (ROOT / "jobs").rglob("*.py") if p.name != "__init__.py")


def contracts() -> dict[str, Table]:
    """Every contract that a file of schemas/ declares, by the name of the file."""
    found = {}
    for path in sorted((ROOT / "schemas").glob("*.py")):
        if path.stem not in ("__init__", "catalogue"):
            module = importlib.import_module(f"schemas.{path.stem}")
            tables = [value for value in vars(module).values() if isinstance(value, Table)]
            assert len(tables) == 1, f"{name(path)} declares {len(tables)} contracts, expected one"
            found[path.stem] = tables[0]
    return found


def test_the_pages_of_the_tables_are_what_the_contracts_say() -> None:
    """If this fails: make docs, and read the diff."""
    found = {p.name: p.read_text(encoding="utf-8") for p in (ROOT / write_docs.FOLDER).glob("*")}
    assert found == write_docs.pages()


def test_writing_the_pages_twice_changes_nothing_and_removes_pages_of_tables_that_went(tmp_path: Path) -> None:
    assert set(write_docs.write(tmp_path)) == set(write_docs.pages())
    (tmp_path / "gone.md").write_text("# gone")
    (tmp_path / "events.md").write_text("stale")
    assert sorted(write_docs.write(tmp_path)) == ["events.md", "gone.md"]
    assert write_docs.write(tmp_path) == []


def test_every_contract_is_in_the_catalogue_under_the_name_of_its_file_and_has_a_page() -> None:
    declared = contracts()
    assert {stem: table.name for stem, table in declared.items()} == {stem: stem for stem in declared}
    assert set(declared.values()) == set(LAKE)
    assert {f"{table.name}.md" for table in (*LAKE, PUBLICATIONS, *ABOUT)} | {"README.md"} == set(write_docs.pages())


def test_every_table_that_the_crm_reads_is_explained_on_its_page() -> None:
    page = (ROOT / "docs/crm.md").read_text(encoding="utf-8")
    missing = [table.name for table in (*SERVED, PUBLICATIONS, *ABOUT) if f"| `{table.name}` |" not in page]
    assert missing == []


@pytest.mark.parametrize("document", documents(), ids=name)
def test_a_document_names_only_what_is_there(document: Path) -> None:
    text = document.read_text(encoding="utf-8")
    faults = []
    for link in re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", text):
        if not (document.parent / link).exists():
            faults.append(f"link {link}")
    for span in re.findall(r"`([^`\n]+)`", text):
        for word in span.split():
            path = word.strip(",.;:()'\"").split(":")[0]
            ours = path.split("/")[0] in TOP and "/" in path and not re.search(r"[<>*{}…=]", path)
            if ours and not (ROOT / path).exists():
                faults.append(f"path {path}")
    for target in re.findall(r"(?:`|^ {4})make ([a-z][a-z-]*)", text, re.M):
        if target not in make_targets():
            faults.append(f"make {target}")
    assert faults == []


def test_what_the_makefile_runs_is_there() -> None:
    recipes = re.findall(r"^\t.*$", (ROOT / "Makefile").read_text(encoding="utf-8"), re.M)
    paths = {path for line in recipes for path in re.findall(r"\b(?:bin|jobs|bench|tests)/[\w/.-]+", line)}
    modules = {
        module.replace(".", "/") + ".py" for line in recipes for module in re.findall(r"-m (rekindle[\w.]+)", line)
    }
    assert paths
    assert sorted(p for p in paths | modules if not (ROOT / p).exists()) == []


def test_every_make_target_explains_itself() -> None:
    explained = re.findall(r"^([a-z][a-z-]*):.*## .{8,}", (ROOT / "Makefile").read_text(encoding="utf-8"), re.M)
    assert set(explained) == make_targets()


def test_every_job_is_a_task_of_a_dag_or_on_the_list_of_manual_ones() -> None:
    commands = json.loads((ROOT / "tests/golden/commands.json").read_text(encoding="utf-8"))
    scheduled = {command[1] for command in commands.values()}
    assert scheduled & MANUAL_JOBS == set()
    assert {name(path) for path in jobs()} == scheduled | MANUAL_JOBS


def named(job: Path, what: str) -> list[str]:
    """What a job's docstring names under Reads or Writes, asides in brackets left out."""
    doc = ast.get_docstring(ast.parse(job.read_text(encoding="utf-8"))) or ""
    line = re.search(rf"^{what}\s+(.+(?:\n +.+)*)$", doc, re.M)
    assert line, f"{name(job)}: its docstring has no line {what}"
    return [part.strip() for part in re.split(r"[,;]\s+| and ", re.sub(r"\s?\([^)]*\)", "", line[1]))]


@pytest.mark.parametrize("job", jobs(), ids=lambda path: path.stem)
def test_a_job_names_under_reads_and_writes_only_what_exists(job: Path) -> None:
    statements = " ".join((*LEDGER, *SERVING, *INBOX))
    tables = {table.name for table in LAKE} | set(SCHEMAS)
    tables |= set(re.findall(r"CREATE TABLE IF NOT EXISTS (\w+\.\w+)", statements))
    derived = {"ops.fates": "ops.file_fates", "tables": "", "views": ""}
    assert set(filter(None, derived.values())) <= tables
    unknown = [
        part
        for what in ("Reads", "Writes")
        for part in named(job, what)
        if part not in tables and part not in derived and not part.startswith(PLACES)
    ]
    assert unknown == []


def test_each_table_of_the_lake_has_one_writer() -> None:
    """publish_night copies tables into the warehouse and says so; it writes none of the lake."""
    writers: dict[str, list[str]] = {table.name: [] for table in LAKE}
    for job in jobs():
        for part in named(job, "Writes"):
            if part in writers:
                writers[part].append(job.stem)
    assert {table: jobs for table, jobs in writers.items() if len(jobs) != 1} == {}


def test_every_table_has_a_suite_and_every_suite_a_table() -> None:
    suites = [p for p in (ROOT / "expectations").glob("*.py") if p.stem != "__init__"]
    assert {p.stem for p in suites} == set(contracts())
    for path in suites:
        tree = ast.parse(path.read_text(encoding="utf-8"))
        modules = {node.module for node in tree.body if isinstance(node, ast.ImportFrom)}
        functions = {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}
        assert f"schemas.{path.stem}" in modules, f"{name(path)} does not import its contract"
        assert "suite" in functions, f"{name(path)} has no suite()"


def test_every_source_loads_in_every_environment() -> None:
    loaded = [
        settings.load(source, environment)
        for source in settings.source_names()
        for environment in settings.environment_names()
    ]
    assert {one.source.name for one in loaded} == set(settings.source_names())
    assert {one.environment.name for one in loaded} == {"local", "cluster"}


def test_the_mappings_lead_to_event_types_that_there_are() -> None:
    for source in settings.source_names():
        told = settings.load(source).source
        for kind in told.events:
            assert set(kind.mapping.event_types.values()) <= set(EVENT_TYPES)
        assert set(told.recommend.event_weights) <= set(EVENT_TYPES)


def test_the_definitions_have_every_event_type_and_every_risk_band() -> None:
    page = (ROOT / "docs/definitions.md").read_text(encoding="utf-8")
    bands = contracts()["at_risk_users"].by_name["risk_band"].allowed or ()
    assert [word for word in (*EVENT_TYPES, *bands) if f"`{word}`" not in page] == []


def test_the_decisions_are_numbered_listed_and_say_what_was_refused() -> None:
    records = sorted(p for p in (ROOT / "docs/decisions").glob("[0-9]*.md"))
    assert [p.name[:4] for p in records] == [f"{n:04}" for n in range(1, len(records) + 1)]
    index = (ROOT / "docs/decisions/README.md").read_text(encoding="utf-8")
    for path in records:
        text = path.read_text(encoding="utf-8")
        assert text.startswith(f"# {int(path.name[:4])}. "), name(path)
        assert f"({path.name})" in index, f"{name(path)} is not in the index"
        assert "**Refused**" in text, f"{name(path)} names no refused alternative"


def test_the_changelog_has_the_version_that_is_built() -> None:
    version = re.search(r'^version = "(.+)"$', (ROOT / "pyproject.toml").read_text(encoding="utf-8"), re.M)
    assert version is not None
    assert f"## {version[1]}" in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")


def test_no_file_names_a_machine_s_path_or_a_download_address() -> None:
    """The licence's own text apart. Loopback is no address of anybody."""
    address = re.compile(r"(?:https?|ftp|git\+ssh)" + r"://(?!127\.0\.0\.1|localhost|[{<\[$\"'])[\w.-]+")
    folder = re.compile(r"(?<![\w.])/(?:work|root|Users|home)/" + r"[\w.]")
    faults = []
    for path in tracked():
        if path.name == "LICENSE" or path.suffix in (".png", ".gz"):
            continue
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
            if address.search(line) or folder.search(line):
                faults.append(f"{name(path)}:{number}: {line.strip()[:120]}")
    assert faults == []


def test_no_generated_clutter_is_tracked() -> None:
    clutter = re.compile(r"__pycache__|\.pyc$|^var/|\.log$|\.ipynb$|\.hypothesis|_cache/|\.egg-info|spark-warehouse")
    assert [name(p) for p in tracked() if clutter.search(name(p))] == []
    assert [name(p) for p in tracked() if p.stat().st_size > 700_000] == []
    assert [name(p) for p in tracked() if p.suffix == ".png" and p.stat().st_size > 200_000] == []


def test_the_pins_carry_hashes_and_no_address() -> None:
    for path in sorted((ROOT / "requirements").glob("*.txt")):
        text = path.read_text(encoding="utf-8")
        pinned = re.findall(r"^[A-Za-z0-9._-]+(?:\[[\w,]+\])?==", text, re.M)
        assert pinned, f"{name(path)} pins nothing"
        assert text.count("--hash=sha256:") >= len(pinned), f"{name(path)} has pins without a hash"
        assert "index-url" not in text, f"{name(path)} names an index"
