"""Clean events: what every user did, in the shop-independent vocabulary of docs/definitions."""

from rekindle.contract import Column, Table
from rekindle.methods.activity import DIALOGUE
from schemas import USER

EVENT_TYPES = (
    *("view", "cart", "favourite", "purchase", "return", "review", "search", "rating", "redeem"),
    *DIALOGUE,
)

EVENTS = Table(
    name="events",
    doc="One row per distinct action of a user, as the shop's log told it; each event id exists once.",
    key=("event_id",),
    # A month, not a day: the backlog of a first night would be hundreds of small files, and each later night's file
    # holds one day, so Iceberg's column bounds prune by day all the same.
    partition_by="months(event_date)",
    columns=(
        Column(
            "event_id",
            "string",
            "The source's own event id, or a hash of the event's business key; inbox/ and the outcome's id where the"
            " CRM wrote it back.",
        ),
        *USER,
        Column(
            "event_type",
            "string",
            "What the user did; contact, open, complaint, opt_out and opt_in pass between shop and user: no activity.",
            allowed=EVENT_TYPES,
        ),
        Column("event_ts", "timestamp", "When the user acted.", unit="UTC instant"),
        Column("event_date", "date", "The shop's local calendar day of `event_ts`."),
        Column(
            "item_id", "string", "The shop's item number; null for actions without an item (search).", nullable=True
        ),
        Column("title", "string", "The item's title as logged; null where the line has none.", nullable=True),
        Column("category", "string", "The item's category as logged; null where the line has none.", nullable=True),
        Column("brand", "string", "The item's brand or maker as logged; null where the line has none.", nullable=True),
        Column("order_id", "string", "The order this line belongs to; null outside orders.", nullable=True),
        Column(
            "quantity",
            "double",
            "Units bought or returned, always positive; null where units have no meaning.",
            unit="pieces",
            nullable=True,
            minimum=0,
        ),
        Column(
            "unit_price",
            "double",
            "Price of one unit as logged; null where the line has none.",
            unit="shop currency",
            nullable=True,
            minimum=0,
        ),
        Column(
            "stars", "double", "Stars given; null unless a review or a rating.", nullable=True, minimum=1, maximum=5
        ),
        Column(
            "text",
            "string",
            "Review text or search words; null where there is none.",
            nullable=True,
            privacy="personal",
        ),
        Column("session_id", "string", "The visit this action belongs to; null where not logged.", nullable=True),
        Column(
            "channel",
            "string",
            "The device or the sales channel by which the user acted, as logged; null where the line has none.",
            nullable=True,
        ),
        Column("repairs", "string", "Ids of the repairs made to the line, by comma; null if none.", nullable=True),
        Column(
            "flags",
            "string",
            "Ids of the source's flags that hold, by comma: no model learns from such users; null if none.",
            nullable=True,
        ),
        Column("landing_date", "date", "Day on which the file with this line landed."),
        Column("file_sha256", "string", "Digest of the landed file."),
        Column("line_number", "bigint", "Line in that file, from 1, a header counted.", minimum=1),
    ),
)
