"""Checks on data: every kind the contract gives fails when it should, on real Spark frames and the real library."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from pyspark.sql import functions as F

from rekindle import checking, quality
from rekindle.contract import Column, Table
from rekindle.gate import Result, gate
from rekindle.quality import Batch, Figure, always, row_count, suite_for

RUN = "r" + "1" * 16
ORDERS = Table(
    name="orders",
    doc="One row per order line.",
    key=("order_id", "line"),
    columns=(
        Column("order_id", "string", "The order."),
        Column("line", "int", "Line of the order.", minimum=1),
        Column("state", "string", "Where it is; null if unknown.", nullable=True, allowed=("open", "paid")),
        Column("price", "double", "Price; null if free.", nullable=True, minimum=0),
        Column("margin", "double", "What is left, or lost."),
        Column("tags", "array<string>", "Words; null if none.", nullable=True),
        Column("shares", "array<double>", "Parts; null if none.", nullable=True),
        Column("user_key", "string", "Who.", privacy="pseudonym"),
    ),
)
USER = "ab" * 32
GOOD = {
    "order_id": "o1",
    "line": 1,
    "state": "open",
    "price": 1.0,
    "margin": -1.0,
    "tags": ["a"],
    "shares": [0.5],
    "user_key": USER,
}
FAULTS: dict[str, dict[str, Any]] = {
    "order_id_not_null": {"order_id": None},
    "line_bounds": {"line": 0},
    "state_allowed": {"state": "lost"},
    "price_bounds": {"price": float("nan")},
    "margin_bounds": {"margin": float("inf")},
    "margin_not_null": {"margin": None},
    "tags_elements": {"tags": ["a", None]},
    "shares_elements": {"shares": [0.5, float("nan")]},
    "user_key_is_pseudonym": {"user_key": "jane@example.org"},
}


def by_id(results: list[Result]) -> dict[str, Result]:
    return {r.check_id: r for r in results}


@pytest.fixture
def evaluated(frame: Callable[..., Any]) -> Callable[..., dict[str, Result]]:
    """`evaluated(row, …, checks=…)`: results of the orders' suite on those rows, by check."""

    def run(*rows: dict[str, Any], checks: tuple[quality.Check, ...] = ()) -> dict[str, Result]:
        return by_id(quality.evaluate([Batch(suite_for(ORDERS, *checks), frame(ORDERS, *rows), len(rows))], RUN))

    return run


def test_good_rows_pass_and_each_fault_of_the_contract_is_counted_by_its_own_check(
    evaluated: Callable[..., dict[str, Result]],
) -> None:
    good = [GOOD, GOOD | {"line": 2, "state": None, "price": None, "tags": None, "shares": None}]
    fine = evaluated(*good)
    assert [str(r) for r in fine.values() if not r.success] == []
    bad = evaluated(
        *good, *[GOOD | fault | {"order_id": fault.get("order_id", name)} for name, fault in FAULTS.items()]
    )
    assert {name for name, r in bad.items() if not r.success} == set(FAULTS)
    assert {bad[name].unexpected_rows for name in FAULTS} == {1}
    assert str(bad["state_allowed"]) == (
        "table orders: rows whose state is none of open, paid: expected 0 rows, found 1 of 10"
    )
    assert {r.rows for r in bad.values()} == {11}, "every result says on how many rows it ran"


def test_a_repeated_key_is_found_even_with_a_null_in_it(evaluated: Callable[..., dict[str, Result]]) -> None:
    found = evaluated(GOOD, GOOD, GOOD | {"line": None}, GOOD | {"line": None})["key_is_unique"]
    assert not found.success
    assert str(found) == "table orders: rows that repeat the key order_id, line: expected 0, found 2"


def test_an_empty_table_fails_by_its_row_count_alone(frame: Callable[..., Any]) -> None:
    strict, lenient = suite_for(ORDERS), suite_for(ORDERS, may_be_empty=True)
    refused = by_id(quality.evaluate([Batch(strict, frame(ORDERS), 0)], RUN))
    assert [r.check_id for r in refused.values() if not r.success] == ["row_count"]
    assert str(refused["row_count"]) == "table orders: rows: expected at least 1, found 0"
    assert all(r.success for r in quality.evaluate([Batch(lenient, frame(ORDERS), 0)], RUN))


def test_a_column_that_is_null_throughout_passes_bounds_and_fails_completeness(
    evaluated: Callable[..., dict[str, Result]],
) -> None:
    found = evaluated(GOOD | {"margin": None}, GOOD | {"line": 2, "margin": None})
    assert found["margin_bounds"].success, "as the library has it: nothing to compare"
    assert found["margin_not_null"].found == "2 of 2"
    assert not found["margin_not_null"].success


def test_conditions_and_figures_fail_when_they_do_not_hold_or_are_null(
    evaluated: Callable[..., dict[str, Result]],
) -> None:
    checks = (
        always("paid_has_price", "paid lines without a price", F.col("price") > 0, where=F.col("state") == "paid"),
        always("mostly_open", "lines not open", F.col("state") == "open", at_least=0.5, severity="warning"),
        always("never", "lines not in Atlantis", F.col("state") == "atlantis", at_least=0.9),
        Figure("mean_price", "mean price", F.avg("price"), 2, 3, note="see the price list"),
        Figure("nothing", "sum over no line", F.sum(F.when(F.col("line") > 9, 1)), maximum=5),
        Figure("nan", "a share of nothing", F.max(F.lit(float("nan"))), maximum=5),
        Figure("share", "share of lines", F.max(F.lit(0.25)), maximum=0.25),
    )
    found = evaluated(
        GOOD | {"state": "paid", "price": None},
        *[GOOD | {"line": 2 + n, "state": state} for n, state in enumerate(["paid", "open", "open", None])],
        checks=checks,
    )
    failed = {check.check_id for check in checks if not found[check.check_id].success}
    assert failed == {"paid_has_price", "mostly_open", "never", "mean_price", "nothing", "nan"}
    assert str(found["paid_has_price"]) == "table orders: paid lines without a price: expected 0 rows, found 1 of 2"
    assert found["mostly_open"].expected == "at most 50 % of rows"
    assert str(found["mean_price"]) == "table orders: mean price: expected 2 to 3, found 1 (see the price list)"
    assert found["nothing"].found == "nothing (null)"


def test_a_check_on_a_missing_column_raises_in_the_library_and_holds_the_night(frame: Callable[..., Any]) -> None:
    batch = Batch(suite_for(ORDERS), frame(ORDERS, GOOD).drop("price"), 1)
    results = quality.evaluate([batch], RUN)
    raised = by_id(results)["price_bounds"]
    assert raised.error is not None
    assert "price" in raised.error
    verdict = gate(checking.declared([batch], RUN), results)
    assert any("price_bounds" in line for line in verdict.not_run)
    assert not verdict.passed


def test_a_frame_of_other_rows_than_the_ledgers_does_not_pass(frame: Callable[..., Any]) -> None:
    batch = Batch(suite_for(ORDERS), frame(ORDERS, GOOD), 2)
    verdict = gate(checking.declared([batch], RUN), quality.evaluate([batch], RUN))
    assert not verdict.passed
    assert any("it ran on 1 rows, the ledger holds 2" in line for line in verdict.not_run)


def test_batches_that_are_examined_side_by_side_are_not_mistaken_for_each_other(frame: Callable[..., Any]) -> None:
    lost = always("is_found", "rows that are lost", F.col("state") != "lost")
    counted = Figure("lines", "lines", F.count("line"), 0, 99)
    sizes = range(1, 9)
    batches = []
    for size in sizes:
        rows = [GOOD | {"line": n, "state": "lost" if n < size else "open"} for n in range(1, 10)]
        batches.append(Batch(quality.Suite("orders", (lost, counted), part=f"with_{size}"), frame(ORDERS, *rows), None))
    found = by_id(quality.evaluate(batches, RUN))
    assert [found[f"with_{size}_is_found"].unexpected_rows for size in sizes] == [size - 1 for size in sizes]
    assert {found[f"with_{size}_lines"].found for size in sizes} == {"9"}


def test_pages_hold_sentences_and_counts_but_no_value_of_a_row(frame: Callable[..., Any], tmp_path: Path) -> None:
    canary = "canary@example.org"
    rows = frame(ORDERS, GOOD, GOOD | {"user_key": canary, "state": canary, "order_id": canary})
    users = quality.Suite("orders", (row_count(1, 1, "users"),), part="by_user")
    batches = [Batch(suite_for(ORDERS), rows, 2), Batch(users, rows.select("user_key").distinct(), None)]
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs/earlier.html").touch()
    results = by_id(quality.evaluate(batches, RUN, tmp_path / "docs"))
    assert not results["state_allowed"].success
    assert results["by_user_row_count"].found == "2"
    pages = list((tmp_path / "docs").rglob("*.html"))
    assert {"index.html"} < {p.name for p in pages}
    text = "".join(p.read_text(encoding="utf-8") for p in pages)
    assert "no rows whose state is none of open, paid" in text
    assert canary not in text
    assert not (tmp_path / "docs/earlier.html").exists(), "a retry's pages replace the earlier ones"


def test_every_declared_check_is_recorded_and_a_missing_one_as_failed(
    evaluated: Callable[..., dict[str, Result]],
) -> None:
    results = evaluated(GOOD | {"state": "lost"})
    batch_checks = [replace(d, rows=1) for d in checking.declared([Batch(suite_for(ORDERS), None, 1)], RUN)]  # type: ignore[arg-type]
    kept = {
        r.check_id: r
        for r in checking.records(batch_checks, [r for r in results.values() if r.check_id != "line_bounds"])
    }
    assert set(kept) == set(results)
    assert not kept["line_bounds"].success
    assert (kept["state_allowed"].success, kept["state_allowed"].unexpected_rows) == (False, 1)
    assert kept["state_allowed"].found == "1 of 1"


def test_a_check_may_not_be_declared_twice_or_hide_a_column(spark: Any) -> None:
    again = always("line_bounds", "again", F.col("line") > 0)
    with pytest.raises(ValueError, match="line_bounds is declared twice"):
        suite_for(ORDERS, again)
    with pytest.raises(ValueError, match="check price has the name of a column"):
        suite_for(ORDERS, always("price", "prices", F.col("price") > 0))
