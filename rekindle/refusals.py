"""What a job raises when it must not go on; `rekindle.cli` turns each into its exit code."""

from __future__ import annotations


class DataRefused(Exception):
    """The data must not go on: the message names table, check, what was expected, what was found, how many rows."""


class UsageError(Exception):
    """The command line does not fit: one line that says what would."""
