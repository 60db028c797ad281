"""Exact counts of users from which cohorts and second purchases are told."""

from rekindle.contract import Column, Table
from rekindle.methods.retention_counted import MEASURES
from rekindle.methods.retention_periods import BASES, GROUP_KINDS, UNITS

RETENTION_COUNTS = Table(
    name="retention_counts",
    doc="One row per cell in which users are counted: counts that a night corrects by its users' difference.",
    key=("measure", "kind", "name", "group_kind", "group_name", "start_date", "number"),
    columns=(
        Column(
            "measure",
            "string",
            "active: users of a cohort in a period. last: whose last period it is. window: seen in a window of days."
            " repeat: buyers by days to the second order. waiting: buyers of one order, by its day.",
            allowed=MEASURES,
        ),
        Column("kind", "string", "Which actions count: the cohorts' basis; purchase of second orders.", allowed=BASES),
        Column("name", "string", "What the number counts: the cohorts' period; day of second orders.", allowed=UNITS),
        Column(
            "group_kind",
            "string",
            "Whose users: of cohorts as in cohort_retention, of second orders as in period_metrics.",
            allowed=GROUP_KINDS,
        ),
        Column("group_name", "string", "The segment's id, the channel or the category as logged; all for everybody."),
        Column(
            "start_date", "date", "First day of the cohort; day of the waiting buyers' order; 1970-01-01 of repeats."
        ),
        Column(
            "number", "int", "Of active and last the period, of window its place in conf, of repeat the days; else 0."
        ),
        Column("users", "bigint", "How many users.", "users", minimum=1),
    ),
)
