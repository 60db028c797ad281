"""What to offer to whom."""

from rekindle.contract import Column, Table

# What may have proposed an item: a method of rekindle/methods, or a rung below the champion.
CANDIDATE_SOURCES = (
    *("als", "item_neighbours", "content", "repeat_last", "popularity"),
    *("newcomers", "new_item"),
)
PLACES = ("by_score", "due_again", "new_item")

RECOMMENDATIONS = Table(
    name="recommendations",
    doc="One row per user and rank: the items to offer, best first, twenty for every user.",
    key=("user_key", "rank"),
    readers="jobs, CRM (through crm.recommendations)",
    served=True,
    columns=(
        Column("user_key", "string", "Keyed pseudonym of the user.", privacy="pseudonym"),
        Column("rank", "int", "Place in the user's list, from 1.", minimum=1, maximum=100),
        Column("item_id", "string", "The shop's item number."),
        Column("title", "string", "Title last logged; null if no line ever had one.", nullable=True),
        Column("category", "string", "Category last logged; null if no line ever had one.", nullable=True),
        Column("last_price", "double", "Latest unit price; null if never priced.", "shop currency", nullable=True),
        Column(
            "score",
            "double",
            "The scorer's own number: comparable within one list and candidate source only; null: drawn without one.",
            nullable=True,
        ),
        Column("reason", "string", "Why this item, in words."),
        Column(
            "candidate_source",
            "string",
            "Which method proposed the item; newcomers: what first-time buyers take; new_item: drawn among new items.",
            allowed=CANDIDATE_SOURCES,
        ),
        Column(
            "place",
            "string",
            "Why it has this place: by its score, because it is due to be bought again, or kept for a new item.",
            allowed=PLACES,
        ),
        Column(
            "propensity",
            "double",
            "Probability with which this item was drawn into this list; 1 where nothing was drawn.",
            minimum=0,
            maximum=1,
        ),
        Column(
            "rank_before_rules",
            "int",
            "Rank by score alone, before any rule moved or removed items; null: no score ranked it.",
            nullable=True,
            minimum=1,
        ),
        Column("model_version", "string", "Digest of the champion that made the list."),
        Column("business_date", "date", "The shop's local day whose night wrote this row."),
    ),
)
