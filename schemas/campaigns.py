"""The shop's campaigns."""

from rekindle.contract import Column, Table
from schemas import LINE, ROW_ID

CAMPAIGNS = Table(
    name="campaigns",
    doc="One row per campaign and landing day on which the shop told of it.",
    key=("row_id",),
    columns=(
        ROW_ID,
        Column("campaign_id", "string", "The shop's campaign number."),
        Column("title", "string", "Name; null where not told.", nullable=True),
        Column("category", "string", "Type of the campaign; null where not told.", nullable=True),
        Column("start_date", "date", "First day; null where not told.", nullable=True),
        Column("end_date", "date", "Last day; null where not told.", nullable=True),
        *LINE,
    ),
)
