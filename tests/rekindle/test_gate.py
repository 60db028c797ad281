"""The gate: nothing passes unless every declared critical check ran on this run's data and held."""

from __future__ import annotations

from dataclasses import replace
from itertools import permutations

import pytest

from rekindle.cli import DataRefused
from rekindle.gate import ChecksNotRun, Declared, Result, Verdict, gate, settle

RUN, OTHER = "r" + "1" * 16, "r" + "2" * 16
PRICE = Declared("events", "price_given", "critical", RUN, 2410)
ROWS = Declared("events", "row_count", "critical", RUN, 2410)
VOLUME = Declared("events", "usual_volume", "warning", RUN, 2410)


def held(check: Declared) -> Result:
    return Result(check.table, check.check_id, RUN, 2410, True, "lines", "0 rows", "0 of 2,410", 0)


FAILED = replace(held(PRICE), success=False, what="purchase lines with unit_price null", found="312 of 2,410")


def test_it_passes_when_every_critical_check_ran_on_this_data_and_held() -> None:
    assert gate([ROWS, PRICE], [held(ROWS), held(PRICE)]) == Verdict((), (), ())
    assert gate([ROWS, PRICE], [held(ROWS), held(PRICE)]).passed


def test_a_refusal_names_table_check_expected_found_and_rows() -> None:
    verdict = gate([ROWS, PRICE], [held(ROWS), FAILED])
    assert not verdict.passed
    assert verdict.failed == ("table events: purchase lines with unit_price null: expected 0 rows, found 312 of 2,410",)


@pytest.mark.parametrize(
    ("results", "reason"),
    [
        ([held(ROWS)], "it gave no result"),
        ([held(ROWS), replace(held(PRICE), error="column not found")], "it raised column not found"),
        ([held(ROWS), replace(held(PRICE), run_id=OTHER)], f"it ran for run {OTHER}"),
        ([held(ROWS), replace(held(PRICE), rows=2409)], "it ran on 2,409 rows, the ledger holds 2,410"),
        ([held(ROWS), replace(held(PRICE), rows=None)], "it does not say on how many rows"),
        ([held(ROWS), held(PRICE), replace(held(PRICE), check_id="unheard_of")], "nobody declared it"),
    ],
    ids=["missing", "raised", "another run", "other rows", "unknown rows", "undeclared"],
)
def test_a_check_without_a_usable_result_holds_the_night(results: list[Result], reason: str) -> None:
    verdict = gate([ROWS, PRICE], results)
    assert not verdict.passed
    assert not verdict.failed, "the data is not to blame"
    assert len(verdict.not_run) == 1
    assert reason in verdict.not_run[0]


@pytest.mark.parametrize("declared", [[], [VOLUME]], ids=["nothing declared", "only a warning"])
def test_a_stage_that_checks_nothing_does_not_pass(declared: list[Declared]) -> None:
    assert not gate(declared, [held(d) for d in declared]).passed


def test_a_warning_is_told_and_holds_nothing() -> None:
    verdict = gate([ROWS, VOLUME], [held(ROWS), replace(held(VOLUME), success=False)])
    assert verdict.passed
    assert len(verdict.warnings) == 1


def test_a_warning_that_raised_is_told_and_holds_nothing() -> None:
    verdict = gate([ROWS, VOLUME], [held(ROWS), replace(held(VOLUME), success=False, error="no such column")])
    assert verdict.passed
    assert "no such column" in verdict.warnings[0]


def test_the_order_of_results_does_not_matter() -> None:
    results = [held(ROWS), FAILED, replace(held(VOLUME), success=False)]
    assert len({gate([ROWS, PRICE, VOLUME], order) for order in permutations(results)}) == 1


def test_one_failure_among_two_results_of_a_check_fails_it() -> None:
    assert not gate([ROWS, PRICE], [held(ROWS), held(PRICE), FAILED]).passed


def test_a_refusal_shows_ten_failures_a_line_each_and_counts_the_rest() -> None:
    with pytest.raises(DataRefused) as refused:
        settle(Verdict(tuple(f"failure {n}" for n in range(13)), (), ()))
    lines = str(refused.value).splitlines()
    assert lines == [*(f"failure {n}" for n in range(10)), "and 3 more critical checks"]


def test_checks_that_did_not_run_are_a_fault_of_ours_and_not_of_the_data() -> None:
    with pytest.raises(ChecksNotRun, match="it raised"):
        settle(Verdict((), ("table events: check row_count: it raised",), ()))
