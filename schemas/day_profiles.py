"""What each landing day looked like, in figures small enough to compare a night with all nights before it."""

from rekindle.contract import Column, Table
from rekindle.methods.activity import WITHOUT_ITEM

MEASURES = (
    *("landed_lines", "clean_lines", "duplicate_lines", "quarantined_lines", "files"),
    *("rule_lines", "event_lines", "due_lines", "given_lines"),
    *("column_share", "newest_age_hours", "median_price"),
)
# Clean events on which a column is expected; elsewhere null says nothing (a search has no item).
DUE = {
    "event_ts": "true",
    "item_id": f"event_type NOT IN ({', '.join(map(repr, WITHOUT_ITEM))})",
    "title": "item_id IS NOT NULL",
    "category": "item_id IS NOT NULL",
    "brand": "item_id IS NOT NULL",
    "order_id": "event_type = 'purchase'",
    "quantity": "event_type IN ('purchase', 'return')",
    "unit_price": "item_id IS NOT NULL",
    "stars": "event_type IN ('review', 'rating')",
    "text": "event_type IN ('review', 'search')",
    "session_id": "true",
    "channel": "true",
}

DAY_PROFILES = Table(
    name="day_profiles",
    doc="One row per landing day, measure and name: what the lines that landed on that day looked like.",
    key=("landing_date", "measure", "name"),
    columns=(
        Column("landing_date", "date", "Day on which the measured files landed."),
        Column(
            "measure",
            "string",
            "What is measured. Lines landed, clean, duplicate, quarantined, and files, are by kind of file; rule_lines"
            " are quarantined lines by rule; event_lines are clean events by event type; due_lines and given_lines are"
            " clean events on which a column is expected, and those of them that have it, by column; column_share is"
            " the share of a kind's files that have a column, by kind and the shop's name of it; newest_age_hours is"
            " the age of the newest event at the end of the day; median_price is of purchase lines, in shop currency.",
            allowed=MEASURES,
        ),
        Column("name", "string", "Of what: a kind of files, a rule, an event type or a column, as `measure` says."),
        Column("value", "double", "The figure; what was not there that day has no row.", minimum=0),
    ),
)
