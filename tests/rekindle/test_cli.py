"""A command that is no stage ends with one line and the code that says whether trying again can help."""

from __future__ import annotations

from collections.abc import Callable

import psycopg
import pytest

from rekindle import cli, embedded, identity, warehouse
from rekindle.ledger import LedgerError
from rekindle.refusals import DataRefused, UsageError
from rekindle.settings import SettingsError


def raising(error: Exception) -> Callable[[], None]:
    def action() -> None:
        raise error

    return action


@pytest.mark.parametrize(
    ("error", "code", "told"),
    [
        (SettingsError("one", "two"), cli.USAGE, "error: one\nerror: two\n"),
        (UsageError("no such user"), cli.USAGE, "error: no such user\n"),
        (identity.IdentityError("no key"), cli.USAGE, "error: no key\n"),
        (warehouse.WarehouseError("no role"), cli.USAGE, "error: no role\n"),
        (DataRefused("too\nshort"), cli.REFUSED, "error: too short\n"),
        (LedgerError("no run"), cli.REFUSED, "error: no run\n"),
        (psycopg.OperationalError("gone"), cli.TEMPORARY, "error: temporary: the warehouse did not answer: gone\n"),
        (embedded.EmbeddedError("gone"), cli.TEMPORARY, "error: temporary: the warehouse did not answer: gone\n"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_each_error_has_its_line_and_its_code(
    error: Exception, code: int, told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.ended(raising(error)) == code
    assert capsys.readouterr().err == told


def test_what_ends_well_is_done_and_a_fault_of_ours_is_not_hidden() -> None:
    assert cli.ended(lambda: None) == cli.DONE
    with pytest.raises(ZeroDivisionError):
        cli.ended(raising(ZeroDivisionError()))
