"""What to offer to whom."""

from rekindle.contract import Column, Table

CANDIDATE_SOURCES = ("als", "popularity")

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
        Column("score", "double", "The candidate source's own score: comparable within one list and source only."),
        Column("reason", "string", "Why this item, in words."),
        Column("candidate_source", "string", "Which method proposed the item.", allowed=CANDIDATE_SOURCES),
        Column("model_version", "string", "Digest of the champion that made the list."),
        Column("business_date", "date", "The shop's local day whose night wrote this row."),
    ),
)
