"""Imports flow one way, nothing asks the clock, and every test can fail: read from the sources, nothing is run."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from functools import cache
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
MAY_IMPORT: dict[str, set[str]] = {
    "rekindle": set(),
    "schemas": {"rekindle"},
    "expectations": {"rekindle", "schemas"},
    "report": {"rekindle", "schemas"},
    "jobs": {"rekindle", "schemas", "expectations", "report"},
    "dags": set(),
}
PACKAGES = ("rekindle", "schemas", "expectations", "report", "jobs")
# Formats whose reading runs code, and modules that read them.
PICKLING = {"pickle", "cloudpickle", "dill", "joblib", "marshal", "shelve", "pickle5"}
# What asks the clock or throws dice. Durations (time.monotonic) are measured, never stored in a table.
CLOCK = {
    *("datetime.now", "datetime.utcnow", "datetime.today", "date.today"),
    *("time.time", "time.time_ns", "time.localtime", "time.gmtime", "time.strftime"),
    *("pd.Timestamp.now", "pandas.Timestamp.now", "Timestamp.now", "np.datetime64.now"),
    *("uuid.uuid1", "uuid.uuid4", "random.random", "np.random.seed", "numpy.random.seed"),
}
# Methods of frames and functions of Spark that make a rerun differ, or that lose or double rows (docs/decisions).
SPARK = {
    "rand": "a repartition or sample by chance lost 7 to 12 % of the rows of a write when an executor died",
    "randn": "as rand",
    "uuid": "a retried task makes other ids",
    "monotonically_increasing_id": "depends on partitions",
    "current_timestamp": "asks the clock",
    "current_date": "asks the clock",
    "now": "asks the clock",
    "overwritePartitions": "an empty result keeps the old rows; use overwrite(condition)",
    "dropDuplicates": "keeps any of the equal rows; choose by an order",
    "foreachPartition": "writes twice when an executor dies after its commit",
}


@cache
def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), filename=str(path))


def files(*folders: str) -> list[Path]:
    found = [path for folder in folders for path in sorted((ROOT / folder).rglob("*.py"))]
    assert found, f"no Python file in {', '.join(folders)}"
    return found


def name(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def imported(path: Path) -> Iterator[str]:
    """Every module imported anywhere in a file, those inside functions and for type checking included."""
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{name(path)}:{node.lineno}: a relative import; name the package"
            yield node.module or ""
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def called(path: Path) -> Iterator[tuple[str, ast.Call]]:
    """The dotted name of every call, as written."""
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Call):
            parts: list[str] = []
            target: ast.expr = node.func
            while isinstance(target, ast.Attribute):
                parts.append(target.attr)
                target = target.value
            if isinstance(target, ast.Name):
                parts.append(target.id)
            yield ".".join(reversed(parts)), node


def test_imports_flow_one_way() -> None:
    against = [
        f"{name(path)} imports {module}"
        for layer, allowed in MAY_IMPORT.items()
        for path in files(layer)
        for module in imported(path)
        if (top := module.split(".")[0]) in MAY_IMPORT and top not in allowed | {layer}
    ]
    assert against == []


def test_a_job_never_imports_a_job() -> None:
    against = [f"{name(path)} imports {m}" for path in files("jobs") for m in imported(path) if m.startswith("jobs")]
    assert against == []


def test_algorithms_know_no_table_and_no_job_of_ours() -> None:
    against = [
        f"{name(path)} imports {module}"
        for path in files("rekindle/methods")
        for module in imported(path)
        if module.split(".")[0] in MAY_IMPORT and not (module + ".").startswith("rekindle.methods.")
    ]
    assert against == []


def test_the_scheduler_loads_nothing_heavy_and_jobs_know_no_scheduler() -> None:
    heavy = {"pyspark", "pandas", "numpy", "mlflow", "great_expectations", "xgboost"}
    in_dags = [f"{name(p)}: {m}" for p in files("dags") for m in imported(p) if m.split(".")[0] in heavy]
    in_jobs = [f"{name(p)}: {m}" for p in files(*PACKAGES) for m in imported(p) if m.split(".")[0] == "airflow"]
    assert in_dags + in_jobs == []


def test_great_expectations_and_mlflow_are_imported_in_one_place_each() -> None:
    """Their first import takes seconds (GX 29 s on a cold disk); only the nights and stages that need them pay."""
    found = {
        (top, name(path))
        for path in files(*PACKAGES)
        for module in imported(path)
        if (top := module.split(".")[0]) in ("great_expectations", "mlflow")
    }
    assert found == {("great_expectations", "rekindle/quality.py"), ("mlflow", "rekindle/tracking.py")}


def test_nothing_reads_a_pickle() -> None:
    modules = [f"{name(p)}: {m}" for p in files(*PACKAGES, "dags", "bin") for m in imported(p) if m in PICKLING]
    flags = [
        f"{name(path)}:{call.lineno}: {target}"
        for path in files(*PACKAGES, "dags", "bin")
        for target, call in called(path)
        for keyword in call.keywords
        if keyword.arg == "allow_pickle" and not (isinstance(keyword.value, ast.Constant) and not keyword.value.value)
    ]
    unguarded = [
        f"{name(path)}:{call.lineno}: {target} without allow_pickle=False"
        for path in files(*PACKAGES)
        for target, call in called(path)
        if target in ("np.load", "numpy.load") and "allow_pickle" not in {keyword.arg for keyword in call.keywords}
    ]
    assert modules + flags + unguarded == []


def test_a_session_is_made_in_one_place_and_in_the_tests_fixture() -> None:
    """And in two drivers of their own: what loads classes for the JVM's archive, and a job of the tests."""
    found = {name(p) for p in files(*PACKAGES, "dags", "bin", "tests") for t, _ in called(p) if "getOrCreate" in t}
    assert found == {"rekindle/cli.py", "rekindle/warm_up.py", "tests/conftest.py", "tests/methods/fit_on_cluster.py"}


def test_nothing_that_is_stored_asks_the_clock() -> None:
    found = [f"{name(p)}:{c.lineno}: {t}" for p in files(*PACKAGES, "dags") for t, c in called(p) if t in CLOCK]
    assert found == []


def test_no_spark_call_that_makes_a_rerun_differ() -> None:
    found = [
        f"{name(path)}:{call.lineno}: {target}: {SPARK[last]}"
        for path in files(*PACKAGES)
        for target, call in called(path)
        if "." in target and (last := target.rsplit(".", 1)[-1]) in SPARK
    ]
    assert found == []


def test_frames_are_split_by_a_key_never_round_robin() -> None:
    """`repartition(n)` deals rows out in the order they arrive; after a lost executor that order is another."""
    found = [
        f"{name(path)}:{call.lineno}"
        for path in files(*PACKAGES)
        for target, call in called(path)
        if target.endswith(".repartition") and len(call.args) < 2
    ]
    assert found == []


def test_every_test_can_fail() -> None:
    """Each has an assert, or expects an error to be raised."""
    toothless = []
    for path in files("tests"):
        if not path.name.startswith("test_"):
            continue
        for node in ast.walk(tree(path)):
            if isinstance(node, ast.FunctionDef) and node.name.startswith("test_"):
                inside = list(ast.walk(node))
                asserts = any(isinstance(n, ast.Assert) for n in inside)
                calls = {
                    n.func.attr if isinstance(n.func, ast.Attribute) else getattr(n.func, "id", "")
                    for n in inside
                    if isinstance(n, ast.Call)
                }
                asserts |= any(call.startswith(("assert", "raises")) for call in calls)  # NumPy's and pyspark's own
                if not asserts and not _checks(calls, path):
                    toothless.append(f"{name(path)}:{node.lineno}: {node.name}")
    assert toothless == []


def _checks(calls: set[str], path: Path) -> bool:
    """Whether one of the called functions of the same file asserts."""
    helpers = [node for node in tree(path).body if isinstance(node, ast.FunctionDef) and node.name in calls]
    return any(isinstance(n, ast.Assert) for helper in helpers for n in ast.walk(helper))


def test_no_fault_is_swallowed() -> None:
    """No bare except, and no handler that does nothing at all with a broad error."""
    found = []
    for path in files(*PACKAGES, "dags", "bin"):
        for node in ast.walk(tree(path)):
            if isinstance(node, ast.ExceptHandler):
                broad = node.type is None or (isinstance(node.type, ast.Name) and "Exception" in node.type.id)
                silent = all(isinstance(n, ast.Pass | ast.Continue) for n in node.body)
                if node.type is None or (broad and silent):
                    found.append(f"{name(path)}:{node.lineno}")
    assert found == []


def test_no_file_is_longer_than_500_lines_or_named_for_what_it_does_not_know() -> None:
    everywhere = files(*PACKAGES, "dags", "bin", "tests")
    long = {name(p): n for p in everywhere if (n := p.read_text(encoding="utf-8").count("\n")) > 500}
    vague = [name(p) for p in everywhere if p.stem in ("utils", "util", "helpers", "common", "misc")]
    assert (long, vague) == ({}, [])


@pytest.mark.parametrize("folder", ["jobs", "dags"])
def test_no_script_hides_a_module(folder: str) -> None:
    """spark-submit puts the job's folder first on the path, Airflow its dags: `calendar.py` would hide Python's own."""
    taken = set(sys.stdlib_module_names) | set(PACKAGES)
    scripts = [path for path in files(folder) if path.stem != "__init__"]
    assert [name(path) for path in scripts if path.stem in taken] == []
    assert [name(path) for path in scripts if "_" not in path.stem] == [], "a script is verb_noun"


def test_nothing_installed_has_a_name_of_our_packages() -> None:
    owners = packages_distributions()
    others = {package: owners[package] for package in PACKAGES if set(owners.get(package, [])) - {"rekindle"}}
    assert others == {}
