"""What is known of an item at an instant."""

from rekindle.contract import Column, Table

ITEM_FEATURES = Table(
    name="item_features",
    doc="One row per item that any event before `as_of` names; the catalogue as the logs tell it.",
    key=("as_of", "item_id"),
    columns=(
        Column("as_of", "date", "The first local day that is not looked at."),
        Column("item_id", "string", "The shop's item number."),
        Column("title", "string", "Title last logged; null if no line ever had one.", nullable=True),
        Column("category", "string", "Category last logged; null if no line ever had one.", nullable=True),
        Column("is_durable", "boolean", "Bought once in years, by the source's conf: not offered again once bought."),
        Column(
            "last_price",
            "double",
            "Unit price of the latest purchase, else of the latest priced line; null if never priced.",
            "shop currency",
            nullable=True,
            minimum=0,
        ),
        Column("first_seen_date", "date", "Day of the first event with this item."),
        Column("last_seen_date", "date", "Day of the last event with this item."),
        Column("views_28d", "bigint", "Views in the last 28 days.", "events", minimum=0),
        Column("carts_28d", "bigint", "Cart events in the last 28 days.", "events", minimum=0),
        Column("buyers_28d", "bigint", "Distinct buyers in the last 28 days.", "users", minimum=0),
        Column("purchases_28d", "bigint", "Purchase lines in the last 28 days.", "lines", minimum=0),
    ),
)
