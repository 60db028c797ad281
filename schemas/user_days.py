"""What a user did on a day, from which retention is counted."""

from rekindle.contract import Column, Table

USER_DAYS = Table(
    name="user_days",
    doc="One row per user, local day, channel, category and landing date: sums to which nights add rows.",
    key=("user_number", "event_date", "channel", "category", "landing_date"),
    # As in events, and for the same reason.
    partition_by="months(event_date)",
    columns=(
        Column(
            "user_number",
            "bigint",
            "64 bits of the pseudonym, an eighth of its size: of ten million users two share one with probability"
            " 3e-6, and would count as one.",
            privacy="pseudonym",
        ),
        Column("event_date", "date", "The shop's local day."),
        Column("channel", "string", "Channel as logged; empty where the event has none."),
        Column("category", "string", "Category as logged; empty where the event has none."),
        Column("landing_date", "date", "Day on which the events landed."),
        Column("first_ts", "timestamp", "First action of any kind.", "UTC instant"),
        Column("first_purchase_ts", "timestamp", "First purchase; null if none.", "UTC instant", nullable=True),
        Column("view_ts", "timestamp", "First view; null if none.", "UTC instant", nullable=True),
        Column(
            "cart_s",
            "array<double>",
            "When something was put into the cart, rising; null if nothing was.",
            "seconds since 1970-01-01 UTC",
            nullable=True,
        ),
        Column("purchase_ts", "timestamp", "Last purchase; null if none.", "UTC instant", nullable=True),
        Column("orders", "array<string>", "Orders with a purchase, rising; null if none.", nullable=True),
        Column("gross", "decimal(38,6)", "Money of the purchases; null if none.", "shop currency", nullable=True),
        Column("returned", "decimal(38,6)", "Money of the returns; null if none.", "shop currency", nullable=True),
    ),
)
