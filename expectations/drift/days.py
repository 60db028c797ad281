"""The rows of `day_profiles`, as the checks of drift ask for them: a day, and the days before it."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date

LOOK_BACK = 28  # landing days, or same weekdays, that a day is compared with

Row = tuple[date, str, str, float]  # landing date, measure, name, value


@dataclass(frozen=True)
class Days:
    """Figures by landing day, measure and name. A figure without a row is 0."""

    figures: Mapping[date, Mapping[str, Mapping[str, float]]]
    order: tuple[date, ...] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "order", tuple(sorted(self.figures)))

    @classmethod
    def of(cls, rows: Iterable[Row]) -> Days:
        """The same, from rows in any order."""
        figures: dict[date, dict[str, dict[str, float]]] = {}
        for day, measure, name, value in rows:
            figures.setdefault(day, {}).setdefault(measure, {})[name] = value
        return cls(figures)

    def named(self, day: date, measure: str) -> Mapping[str, float]:
        """The measure's figures of that day by name; empty where it has none."""
        return self.figures.get(day, {}).get(measure, {})

    def value(self, day: date, measure: str, name: str) -> float:
        """One figure, or 0."""
        return self.named(day, measure).get(name, 0.0)

    def total(self, day: date, measure: str) -> float:
        """The sum over all names."""
        return sum(self.named(day, measure).values())

    def before(self, day: date) -> list[date]:
        """The last 28 landing days before that one, newest first; fewer where there are fewer."""
        end = bisect_left(self.order, day)
        return list(reversed(self.order[max(0, end - LOOK_BACK) : end]))

    def same_weekdays(self, day: date) -> list[date]:
        """The last 28 landing days of the same weekday before that one, newest first."""
        same = [d for d in self.order[: bisect_left(self.order, day)] if d.weekday() == day.weekday()]
        return same[-LOOK_BACK:][::-1]
