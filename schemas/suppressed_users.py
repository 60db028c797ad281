"""Whom nobody may contact now, and why."""

from rekindle.contract import Column, Table
from rekindle.methods.suppression import REASONS

SUPPRESSED_USERS = Table(
    name="suppressed_users",
    doc="One row per user whom nobody may contact now.",
    key=("user_key",),
    readers="jobs, CRM (through crm.suppressed_users)",
    served=True,
    columns=(
        Column("user_key", "string", "Keyed pseudonym of the user.", privacy="pseudonym"),
        Column(
            "reason",
            "string",
            "The first that holds: consent (the latest word of the user is opt_out), complaint (within the days in"
            " conf), contacted (within the quiet days in conf).",
            allowed=REASONS,
        ),
        Column("since", "timestamp", "When the event that is the reason was.", unit="UTC instant"),
        Column(
            "until",
            "date",
            "First local day on which the reason no longer holds; null for consent: that holds until the user opts in.",
            nullable=True,
        ),
        Column("business_date", "date", "The shop's local day whose night wrote this row."),
    ),
)
