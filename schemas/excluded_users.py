"""Whose events no model learns from: machines and test accounts, by the source's own rules."""

from rekindle.contract import Column, Table
from rekindle.methods.not_customers import RULES

EXCLUDED_USERS = Table(
    name="excluded_users",
    doc="One row per user and rule by which the user is taken for a machine or a test account, not for a customer.",
    key=("user_key", "rule"),
    columns=(
        Column("user_key", "string", "Keyed pseudonym of the user.", privacy="pseudonym"),
        Column(
            "rule",
            "string",
            f"The rule that was met: {', '.join(RULES)} of the source's not_customers, or flag_ and the id of one of"
            " its mapping's flags.",
        ),
        Column(
            "value",
            "double",
            "What was found: the most events within any hour, the user's share of all events, the events of one item;"
            " for a flag the events that bear it.",
            minimum=0,
        ),
        Column(
            "threshold", "double", "The least value that meets the rule; null for a flag.", nullable=True, minimum=0
        ),
        Column("as_of", "date", "The first local day that was not looked at."),
    ),
)
