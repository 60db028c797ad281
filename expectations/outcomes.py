"""What must hold of what became of the CRM's outcomes, beyond their contract."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta

from pyspark.sql import functions as F

from rekindle.quality import Figure, Suite, always, suite_for
from schemas.outcomes import OUTCOMES


@dataclass(frozen=True)
class Taken:
    """What the night knows of the outcomes of the days that are told: their lines, and the events that came of them."""

    lines: int
    events: int


def first_told(business_date: date, outcome_days: int) -> date:
    """The first landing date that is told."""
    return business_date - timedelta(days=outcome_days - 1)


def suite(business_date: date, outcome_days: int, taken: Taken) -> Suite:
    """The checks. A shop whose CRM writes nothing back has no row."""
    first, rows, fate = first_told(business_date, outcome_days), F.count(F.lit(1)), F.col("fate")
    return suite_for(
        OUTCOMES,
        always(
            "taken_in_time",
            f"outcomes that were not taken from {first} to {business_date}",
            F.col("landing_date").between(F.lit(first), F.lit(business_date)),
        ),
        # Whoever is told that a row does not count must be able to learn why.
        always(
            "rule_of_the_quarantined",
            "outcomes quarantined without a rule, or with a rule and not quarantined",
            F.col("rule").isNotNull() == (fate == "quarantined"),
        ),
        # What the CRM wrote and is not told of, it would write again.
        Figure("every_line_is_told", "outcomes told, of the lines taken", rows, taken.lines, taken.lines),
        Figure(
            "events_are_events",
            "outcomes told to be events, of the events that came of them",
            F.count_if(fate == "event"),
            taken.events,
            taken.events,
        ),
        may_be_empty=True,
    )
