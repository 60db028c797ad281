"""The stage's tests have a PostgreSQL server of their own; it costs a second."""

from tests.rekindle.conftest import environment

__all__ = ["environment"]
