"""How far back the tables of retention tell, and the windows that they count in."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, model_validator

from rekindle.sources import Strict

Count = Annotated[int, Field(ge=1)]
# First and last day of a window, counted from a user's first day, which is day 0.
Window = tuple[Count, Count]


class Told(Strict):
    """How many periods of each length the served tables tell, the newest first; what is older stays in the lake."""

    day: Count = 92
    week: Count = 106
    month: Count = 60


class Cohorts(Strict):
    """How many cohorts of each length are followed, the newest first."""

    day: Count = 60
    week: Count = 106
    month: Count = 60


class Retention(Strict):
    """Windows of the tables of retention.

    A funnel's steps lie within `funnel_days` local days, that of the view counted. `windows` are days after a user's
    first: (1, 7) is the week after it. `repurchase_days` is how far the curve of second purchases is drawn. The largest
    `groups` segments, channels and categories are told.
    """

    funnel_days: Count = 7
    windows: tuple[Window, ...] = ((1, 7), (8, 30), (31, 90))
    repurchase_days: Count = 180
    groups: Count = 100
    told: Told = Told()
    cohorts: Cohorts = Cohorts()

    @model_validator(mode="after")
    def _windows_in_order(self) -> Retention:
        wrong = [w for w in self.windows if w[0] > w[1]]
        if wrong or len(set(self.windows)) < len(self.windows):
            raise ValueError(f"windows {self.windows}: each once, and its first day not after its last")
        return self
