"""Whom the shop's campaigns were to reach."""

from rekindle.contract import Column, Table
from schemas import LINE, ROW_ID, USER

CAMPAIGN_TARGETS = Table(
    name="campaign_targets",
    doc="One row per campaign and user it was to reach.",
    key=("row_id",),
    columns=(
        ROW_ID,
        Column("campaign_id", "string", "The shop's campaign number."),
        *USER,
        *LINE,
    ),
)
