"""Checks on data: suites from contracts, and their evaluation by Great Expectations.

A suite holds two kinds of checks. A `RowCheck` is about rows and counts those that break it. A `Figure` is one number
of the whole table, such as a share or the count of distinct keys. What Great Expectations has no fitting expectation
for becomes a helper column of the batch that must be true, so that all checks of a table are aggregates of one Spark
job; the figures of all tables are one job a table and then a single batch of one row.

No value of any row reaches a result, a page or the driver: the expectations used here count, and collect nothing.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from copy import copy
from dataclasses import dataclass, field
from pathlib import Path
from queue import SimpleQueue
from threading import Lock
from typing import Any

os.environ["GX_ANALYTICS_ENABLED"] = "false"  # read at import: it would send usage to its maker

import great_expectations as gx
import great_expectations.expectations as gxe
from great_expectations.core import RunIdentifier
from great_expectations.data_context.types.base import (
    DataContextConfig,
    InMemoryStoreBackendDefaults,
    ProgressBarsConfig,
)
from great_expectations.expectations.expectation import BatchExpectation, ColumnMapExpectation
from great_expectations.expectations.metadata_types import FailureSeverity
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from rekindle.contract import Table
from rekindle.gate import Result, Severity

# As large as a double can be: infinities, and NaN (which Spark orders above them), lie outside.
FINITE = 1.7976931348623157e308
# The form of `rekindle.identity.pseudonym`: a raw user id that slipped into a table does not have it.
PSEUDONYM = "^[0-9a-f]{64}$"
# Counts only. BASIC has them; its sample of offending values is what `_Counting` and this leave out.
RESULT_FORMAT = {"result_format": "BASIC", "exclude_unexpected_values": True}
# Batches that are examined side by side: while the library prepares one, Spark counts another.
AT_A_TIME = 2
# Pictures of a guided tour that our pages do not show: 2 of each site's 4 MB.
TOUR = ("glossary_scroller.gif", "iterative-dev-loop.png", "validation_failed_unexpected_values.gif")


class _Counting(ColumnMapExpectation):
    """Counts offending rows and fetches none of them.

    The library's own fetch a sample, one Spark job an expectation: 52 of them on 300,000 rows took 17.6 s, and
    4.7 s as one job without the samples.
    """

    def get_validation_dependencies(self, *args: Any, **kwargs: Any) -> Any:
        needed = super().get_validation_dependencies(*args, **kwargs)
        samples = f"{self.map_metric}.unexpected_values"
        if samples in needed.get_metric_names():
            needed.remove_metric_configuration(samples)
        return needed


class NotNull(_Counting, gxe.ExpectColumnValuesToNotBeNull):
    """No value is null."""


class InSet(_Counting, gxe.ExpectColumnValuesToBeInSet):
    """Every value that is not null is one of a set."""


class Between(_Counting, gxe.ExpectColumnValuesToBeBetween):
    """Every value that is not null lies between two bounds."""


@dataclass(frozen=True)
class RowCheck:
    """A check that counts rows. `what` names the rows that break it; `measure` is its helper column, if it has one."""

    check_id: str
    what: str
    expected: str
    severity: Severity
    expectation: BatchExpectation
    measure: Column | None = None


@dataclass(frozen=True)
class Figure:
    """A check on one number of the whole table: `value` is an aggregate. A null or NaN value fails.

    `note` is told beside the found value, for whoever reads a refusal.
    """

    check_id: str
    what: str
    value: Column
    minimum: float | None = None
    maximum: float | None = None
    severity: Severity = "critical"
    note: str = ""

    @property
    def expected(self) -> str:
        """The bounds in words."""
        if self.minimum is not None and self.minimum == self.maximum:
            return _number(self.minimum)
        if self.minimum is None or self.maximum is None:
            return (
                f"at least {_number(self.minimum)}" if self.minimum is not None else f"at most {_number(self.maximum)}"
            )
        return f"{_number(self.minimum)} to {_number(self.maximum)}"


Check = RowCheck | Figure


@dataclass(frozen=True)
class Suite:
    """All checks of one batch. `part` tells a derived frame of the table (its users, say) from the table itself."""

    table: str
    checks: tuple[Check, ...]
    part: str = ""

    def __post_init__(self) -> None:
        ids = [c.check_id for c in self.checks]
        twice = sorted({i for i in ids if ids.count(i) > 1})
        if twice:
            raise ValueError(f"suite {self.name}: check {', '.join(twice)} is declared twice")

    @property
    def name(self) -> str:
        """The suite's name on its page."""
        return f"{self.table}_{self.part}" if self.part else self.table

    def told_id(self, check: Check) -> str:
        """The check's id in the ledger: a derived frame's are told from the table's own."""
        return f"{self.part}_{check.check_id}" if self.part else check.check_id

    @property
    def row_checks(self) -> list[RowCheck]:
        """The checks on rows."""
        return [c for c in self.checks if isinstance(c, RowCheck)]

    @property
    def figures(self) -> list[Figure]:
        """The checks on figures."""
        return [c for c in self.checks if isinstance(c, Figure)]


@dataclass(frozen=True)
class Batch:
    """A frame and its suite. `rows` is what the ledger holds for the table; null for a derived frame."""

    suite: Suite
    df: DataFrame = field(repr=False)
    rows: int | None


def suite_for(table: Table, *more: Check, may_be_empty: bool = False) -> Suite:
    """The contract as checks, and what only this suite knows.

    Raises:
        ValueError: a check is declared twice, or has a column's name, which its helper column would hide.
    """
    found: list[Check] = [row_count(minimum=0 if may_be_empty else 1)]
    for column in table.columns:
        name = column.name
        if not column.nullable:
            found.append(_native(f"{name}_not_null", f"rows with {name} null", NotNull, column=name))
        if column.allowed:
            legal = list(column.allowed)
            what = f"rows whose {name} is none of {', '.join(legal)}"
            found.append(_native(f"{name}_allowed", what, InSet, column=name, value_set=legal))
        if column.type == "double" or column.minimum is not None or column.maximum is not None:
            low = -FINITE if column.minimum is None else column.minimum
            high = FINITE if column.maximum is None else column.maximum
            what = f"rows whose {name} is {_outside(column.minimum, column.maximum)}"
            found.append(_native(f"{name}_bounds", what, Between, column=name, min_value=low, max_value=high))
        if column.type.startswith("array<"):
            is_bad = _nan_or_null if column.type == "array<double>" else F.isnull
            whole = ~F.exists(name, is_bad)
            what = f"rows whose {name} holds an element that is null or not a number"
            found.append(always(f"{name}_elements", what, whole, where=F.col(name).isNotNull()))
        if column.privacy == "pseudonym" and column.type == "string":
            what = f"rows whose {name} is not a pseudonym (64 hex digits)"
            found.append(always(f"{name}_is_pseudonym", what, F.col(name).rlike(PSEUDONYM)))
    if table.key:
        repeated = F.count(F.lit(1)) - F.count_distinct(
            *[F.coalesce(F.col(k).cast("string"), F.lit("")) for k in table.key]
        )
        found.append(Figure("key_is_unique", f"rows that repeat the key {', '.join(table.key)}", repeated, 0, 0))
    hidden = [c.check_id for c in more if c.check_id in table.by_name]
    if hidden:
        raise ValueError(f"suite {table.name}: check {', '.join(hidden)} has the name of a column; choose another")
    return Suite(table.name, (*found, *more))


def row_count(minimum: int | None = None, maximum: int | None = None, what: str = "rows") -> RowCheck:
    """How many rows there must be; every suite has it, since the library passes all else on an empty batch."""
    expected = Figure("", "", F.lit(0), minimum, maximum).expected
    expectation = gxe.ExpectTableRowCountToBeBetween(
        min_value=minimum, max_value=maximum, severity=FailureSeverity.CRITICAL, **_told("row_count", what)
    )
    return RowCheck("row_count", what, expected, "critical", expectation)


def always(
    check_id: str,
    what: str,
    condition: Column,
    *,
    where: Column | None = None,
    at_least: float = 1.0,
    severity: Severity = "critical",
) -> RowCheck:
    """A condition that must be true (null is not) on every row, or on a share of those for which `where` holds."""
    held = F.coalesce(condition, F.lit(False))
    return RowCheck(
        check_id,
        what,
        "0 rows" if at_least == 1 else f"at most {_number(100 * (1 - at_least))} % of rows",
        severity,
        InSet(
            column=check_id,
            value_set=[True],
            mostly=at_least,
            severity=FailureSeverity(severity),
            **_told(check_id, f"no {what}" if at_least == 1 else what),
        ),
        held if where is None else F.when(where, held),
    )


def _native(check_id: str, what: str, kind: type[_Counting], **arguments: Any) -> RowCheck:
    expectation = kind(severity=FailureSeverity.CRITICAL, **arguments, **_told(check_id, f"no {what}"))
    return RowCheck(check_id, what, "0 rows", "critical", expectation)


def _nan_or_null(element: Column) -> Column:
    return element.isNull() | F.isnan(element)


def _told(check_id: str, sentence: str) -> dict[str, Any]:
    """How a result is found again, and the sentence that the page shows in place of a generated one."""
    return {"meta": {"check": check_id}, "description": sentence}


def _outside(low: float | None, high: float | None) -> str:
    if low is None and high is None:
        return "not a finite number"
    if low is None or high is None:
        bound = f"below {_number(low)}" if low is not None else f"above {_number(high)}"
        return f"{bound} or not a finite number"
    return f"outside {_number(low)} to {_number(high)} or not a number"


def _number(value: float | None) -> str:
    """A number as people write it: thousands parted, at most four decimals, or what a null is."""
    if value is None:
        return "nothing (null)"
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return f"{value:,}" if isinstance(value, int) else f"{value:,.4f}".rstrip("0")


# ---------------------------------------------------------------------- evaluation


def evaluate(batches: Sequence[Batch], run_id: str, docs: Path | None = None) -> list[Result]:
    """Every check's result on these frames.

    With `docs`, also a page for each suite and an index (Great Expectations' Data Docs) in that folder, whose
    earlier content is removed. Frames are read twice: persist those that are expensive to compute.
    """
    context = gx.get_context(
        mode="ephemeral",
        project_config=DataContextConfig(
            # Without its own site, for which it would leave a folder in the temporary directory every time.
            store_backend_defaults=InMemoryStoreBackendDefaults(init_temp_docs_sites=False),
            progress_bars=ProgressBarsConfig(globally=False),
        ),
    )
    library = _Library(context)
    with ThreadPoolExecutor(AT_A_TIME) as pool:
        found = list(pool.map(lambda batch: _examined(library, batch, run_id), batches))
    results = [result for by_row, _ in found for result in by_row]
    seen = [(batch.suite, row) for batch, (_, row) in zip(batches, found, strict=True) if row is not None]
    if seen:
        results += _figure_results(library, batches[0].df, seen, run_id)
    if docs is not None:
        _write_pages(context, docs)
    return results


class _Library:
    """Great Expectations for several threads: each batch has a data source to itself, whose engine knows one batch at
    a time, and what changes the context waits for its turn."""

    def __init__(self, context: Any) -> None:
        self._context, self._lock = context, Lock()
        self._sources: SimpleQueue[Any] = SimpleQueue()
        for number in range(1, AT_A_TIME + 1):
            self._sources.put(context.data_sources.add_spark(f"lake_{number}"))

    def run(
        self, name: str, expectations: Sequence[BatchExpectation], df: DataFrame, run_id: str
    ) -> dict[str, dict[str, Any]]:
        """The results by check id, as plain dictionaries. The library marks expectations as its own: it gets copies."""
        source = self._sources.get()
        try:
            with self._lock:
                batch = source.add_dataframe_asset(name).add_batch_definition_whole_dataframe("whole")
                asked = gx.ExpectationSuite(name=name, expectations=[copy(e) for e in expectations])
                suite = self._context.suites.add(asked)
                validation = gx.ValidationDefinition(name=name, data=batch, suite=suite)
                validation = self._context.validation_definitions.add(validation)
            found = validation.run(
                batch_parameters={"dataframe": df}, result_format=RESULT_FORMAT, run_id=RunIdentifier(run_name=run_id)
            )
        finally:
            self._sources.put(source)
        told = [result.to_json_dict() for result in found.results]
        return {one["expectation_config"]["meta"]["check"]: one for one in told}


def _examined(library: _Library, batch: Batch, run_id: str) -> tuple[list[Result], dict[str, Any] | None]:
    """The results of the checks on rows, and a row of figures; None where the suite has none."""
    suite = batch.suite
    helped = batch.df.withColumns({c.check_id: c.measure for c in suite.row_checks if c.measure is not None})
    evaluated = library.run(suite.name, [c.expectation for c in suite.row_checks], helped, run_id)
    rows = evaluated.get("row_count", {}).get("result", {}).get("observed_value")
    results = [_row_result(suite, c, evaluated.get(c.check_id), run_id, rows) for c in suite.row_checks]
    if not suite.figures:
        return results, None
    # The count of the same job says on which data the figures were made.
    values = [F.count(F.lit(1)).alias("rows"), *[f.value.cast("double").alias(f.check_id) for f in suite.figures]]
    [row] = batch.df.agg(*values).collect()  # an aggregation without groups has one row
    return results, row.asDict()


def _row_result(suite: Suite, check: RowCheck, raw: dict[str, Any] | None, run_id: str, rows: int | None) -> Result:
    told = (suite.table, suite.told_id(check), run_id, rows)
    error = _error(raw)
    if raw is None or error is not None:
        return Result(*told, False, check.what, check.expected, "no result", error=error or "no result")
    counts = raw["result"]
    if "observed_value" in counts:
        return Result(*told, raw["success"], check.what, check.expected, _number(counts["observed_value"]))
    # Of no rows the library counts nothing; None beside rows would be a result that says nothing, and raises here.
    unexpected = int(counts["unexpected_count"]) if counts["element_count"] else 0
    of = int(counts["element_count"]) - int(counts.get("missing_count") or 0)
    return Result(
        *told, raw["success"], check.what, check.expected, f"{unexpected:,} of {of:,}", unexpected_rows=unexpected
    )


def _figure_results(
    library: _Library, df: DataFrame, seen: Sequence[tuple[Suite, Mapping[str, Any]]], run_id: str
) -> list[Result]:
    """The figures of all suites, checked as one batch of one row."""
    figures = {f"{suite.name}__{f.check_id}": (suite, f, row) for suite, row in seen for f in suite.figures}
    # Literals, not rows sent to Spark: those would start a Python worker, a second or more on a busy machine.
    values = [F.lit(row[f.check_id]).cast("double").alias(name) for name, (_, f, row) in figures.items()]
    one_row = df.sparkSession.range(0, 1, 1, 1).select(*values)
    expectations = [
        gxe.ExpectColumnMaxToBeBetween(
            column=name,
            min_value=f.minimum,
            max_value=f.maximum,
            severity=FailureSeverity(f.severity),
            **_told(name, f"{suite.table}: {f.what}: {f.expected}"),
        )
        for name, (suite, f, _) in figures.items()
    ]
    evaluated = library.run("figures", expectations, one_row, run_id)
    results = []
    for name, (suite, f, row) in figures.items():
        raw = evaluated.get(name)
        error = "no result" if raw is None else _error(raw)
        found = f"{_number(row[f.check_id])}{f' ({f.note})' if f.note else ''}"
        # A value that is null gives the library nothing to compare; here it is a failure whatever the library says.
        held = raw is not None and bool(raw["success"]) and row[f.check_id] is not None
        results.append(
            Result(suite.table, suite.told_id(f), run_id, row["rows"], held, f.what, f.expected, found, error=error)
        )
    return results


def _error(raw: dict[str, Any] | None) -> str | None:
    """The first line of what the check raised; null if it did not. The library nests it by metric, or not."""
    info = (raw or {}).get("exception_info") or {}
    for told in [info, *[v for v in info.values() if isinstance(v, dict)]]:
        if told.get("raised_exception"):
            return str(told.get("exception_message") or "an exception without a message").strip().splitlines()[0][:300]
    return None


def _write_pages(context: Any, folder: Path) -> None:
    if folder.exists():
        shutil.rmtree(folder)
    folder.mkdir(parents=True)
    context.add_data_docs_site(
        site_name="checks",
        site_config={
            "class_name": "SiteBuilder",
            "show_how_to_buttons": False,
            "store_backend": {"class_name": "TupleFilesystemStoreBackend", "base_directory": str(folder)},
            "site_index_builder": {"class_name": "DefaultSiteIndexBuilder"},
            "site_section_builders": {"expectations": "None"},
        },
    )
    context.build_data_docs(site_names=["checks"])
    for name in TOUR:
        (folder / "static/images" / name).unlink(missing_ok=True)
