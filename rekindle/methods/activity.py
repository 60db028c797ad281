"""Which events are a user's doing in the shop, and which pass between shop and user beside it.

A message, its opening, a complaint or a word on consent is no visit: it makes nobody active, keeps nobody, and says
nothing of taste. Events are a frame with event_type; nothing else is assumed.
"""

from __future__ import annotations

from datetime import date
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame

DIALOGUE = ("contact", "open", "complaint", "opt_out", "opt_in")
# What the CRM may write back: a redemption is a user's doing in the shop, whoever tells of it.
WRITTEN_BACK = ("contact", "open", "redeem", "complaint", "opt_out", "opt_in")
OUTCOME_FATES = ("event", "duplicate", "quarantined")
WITHOUT_ITEM = ("search", "redeem", *DIALOGUE)


def acted() -> Column:
    """Whether the event is the user's own doing in the shop."""
    from pyspark.sql import functions as F

    return ~F.col("event_type").isin(*DIALOGUE)


def activity(events: DataFrame, as_of: date | None = None) -> DataFrame:
    """The events that are users' doing in the shop; with `as_of` those before that local day, which have event_date."""
    from pyspark.sql import functions as F

    own = events.where(acted())
    return own if as_of is None else own.where(F.col("event_date") < F.lit(as_of))
