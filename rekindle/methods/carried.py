"""What a function that runs on Spark's workers needs of a broadcast, so that algorithms name no Spark."""

from __future__ import annotations

from typing import Protocol, TypeVar

T_co = TypeVar("T_co", covariant=True)


class HasValue(Protocol[T_co]):
    """A Spark broadcast, or anything else that carries one value."""

    @property
    def value(self) -> T_co:
        """The value carried; on a worker it is fetched at the first use."""
        ...
