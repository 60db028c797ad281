"""What a candidate is beside another model: figures that judging decides by and every record keeps."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Group:
    """The figures of `Comparison` for some of the users; `low` and `high` are None where they are too few."""

    name: str
    rows: int
    candidate_value: float
    other_value: float
    low: float | None
    high: float | None
    overlap: float
    flip_rate: float
    list_flip_rate: float


@dataclass(frozen=True)
class Comparison:
    """A candidate against the champion (or a baseline) on the same later days.

    `low` and `high` bound the paired bootstrap's 95 % interval of `difference` = candidate - other; `rows` are the
    users or examples both were judged on. Coverage is the share of the catalogue that is in any list; `overlap` the
    mean share of items that a user's two lists have in common; `flip_rate` the share of users whose first item (or
    risk band) is another, `list_flip_rate` of those whose list is. None: records of before they were told, and
    models to which a figure does not apply.
    """

    other: str
    other_name: str
    metric: str
    candidate_value: float
    other_value: float
    difference: float
    low: float
    high: float
    rows: int
    coverage: float | None = None
    other_coverage: float | None = None
    overlap: float | None = None
    flip_rate: float | None = None
    list_flip_rate: float | None = None
    groups: tuple[Group, ...] = ()

    @classmethod
    def from_told(cls, told: dict[str, Any]) -> Comparison:
        """The comparison that JSON tells of; what an older record does not know is None."""
        return cls(**told | {"groups": tuple(Group(**g) for g in told.get("groups", ()))})

    @property
    def is_better(self) -> bool:
        """Whether the interval lies above zero."""
        return self.low > 0
