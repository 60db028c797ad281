"""What the suites' tests share: what did not hold, by check."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from rekindle import quality
from schemas.catalogue import LAKE

RUN = "r" + "1" * 16


@pytest.fixture
def broken() -> Callable[..., dict[str, str]]:
    """`broken(suite, df)`: what each check beyond the contract found that did not hold, by check id.

    The contract's own are left out: rows here mention only the columns a test is about, so that others are null.
    """

    def run(suite: quality.Suite, df: Any) -> dict[str, str]:
        table = next((t for t in LAKE if t.name == suite.table and not suite.part), None)
        given = {c.check_id for c in quality.suite_for(table).checks} - {"row_count"} if table else set()
        own = replace(suite, checks=tuple(c for c in suite.checks if c.check_id not in given))
        results = quality.evaluate([quality.Batch(own, df, None)], RUN)
        return {r.check_id: r.found if r.error is None else r.error for r in results if not r.success}

    return run
