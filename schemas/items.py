"""What the shop told of its items, day by day."""

from rekindle.contract import Column, Table
from schemas import LINE, ROW_ID

ITEMS = Table(
    name="items",
    doc="One row per item and landing day on which the shop told of it; the newest up to a day holds on that day.",
    key=("row_id",),
    columns=(
        ROW_ID,
        Column("item_id", "string", "The shop's item number."),
        Column("title", "string", "Title; null where not told.", nullable=True),
        Column("category", "string", "Category; null where not told.", nullable=True),
        Column("brand", "string", "Brand or maker; null where not told.", nullable=True),
        Column(
            "unit_price",
            "double",
            "List price of one unit; null where not told.",
            unit="shop currency",
            minimum=0,
            nullable=True,
        ),
        Column("text", "string", "Description; null where not told.", nullable=True),
        *LINE,
    ),
)
