"""Which items the same users want."""

from rekindle.contract import Column, Table

ITEM_SIMILARITIES = Table(
    name="item_similarities",
    doc="One row per item and neighbour, nearest first, at most fifty an item; an item nobody shares has none.",
    key=("item_id", "rank"),
    readers="jobs, CRM (through crm.item_similarities)",
    served=True,
    columns=(
        Column("item_id", "string", "The shop's item number."),
        Column("rank", "int", "Place of the neighbour, from 1.", minimum=1, maximum=50),
        Column("similar_item_id", "string", "The neighbour's item number."),
        Column("similar_title", "string", "Its title last logged; null if no line ever had one.", nullable=True),
        Column(
            "similarity",
            "double",
            "Cosine of the two items' sets of users, taken down where few are in common: common / sqrt(users · users)"
            " · common / (common + 10).",
            minimum=0,
            maximum=1,
        ),
        Column("common_users", "bigint", "Users who did something with both.", "users", minimum=1),
        Column("business_date", "date", "The shop's local day whose night wrote this row."),
    ),
)
