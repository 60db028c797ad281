"""Exact counts of users from which cohorts and second purchases are told."""

from rekindle.contract import Column, Table
from rekindle.methods.retention_counted import MEASURES

RETENTION_COUNTS = Table(
    name="retention_counts",
    doc="One row per cell in which users are counted: counts that a night corrects by its users' difference.",
    key=("measure", "kind", "name", "start_date", "number"),
    columns=(
        Column(
            "measure",
            "string",
            "active: users of a cohort in a period. last: whose last period it is. window: seen in a window of days."
            " repeat: buyers by days to the second order. waiting: buyers of one order, by its day.",
            allowed=MEASURES,
        ),
        Column("kind", "string", "Of cohorts the basis, of second orders the kind of group."),
        Column("name", "string", "Of cohorts the length of a period, of second orders the group."),
        Column(
            "start_date", "date", "First day of the cohort; day of the waiting buyers' order; 1970-01-01 of repeats."
        ),
        Column(
            "number", "int", "Of active and last the period, of window its place in conf, of repeat the days; else 0."
        ),
        Column("users", "bigint", "How many users.", "users", minimum=1),
    ),
)
