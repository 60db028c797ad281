"""Whose list of items begins with another one than in the publication before, and what did it."""

from rekindle.contract import Changes, Column, Table

KINDS = ("entered", "left", "moved")
CAUSES = ("behaviour", "model", "rules")

LIST_CHANGES = Table(
    name="list_changes",
    doc="One row per user who has a list and had none, had one and has none, or whose list has another first item since"
    " the publication before.",
    key=("user_key",),
    readers="jobs, CRM (through crm.list_changes)",
    served=True,
    changes=Changes(of="recommendations", before="item_before", after="item_after"),
    columns=(
        Column("user_key", "string", "Keyed pseudonym of the user.", privacy="pseudonym"),
        Column(
            "change",
            "string",
            "Entered: a list now and none before. Left: one before and none now. Moved: another first item.",
            allowed=KINDS,
        ),
        Column("item_before", "string", "First item then; null for who entered.", nullable=True),
        Column("item_after", "string", "First item now; null for who left.", nullable=True),
        Column(
            "cause",
            "string",
            "The first that holds: behaviour (events of the user landed after the compared date), model (another"
            " champion serves), rules (all else: what others did, what was shown before, age, the catalogue, conf).",
            allowed=CAUSES,
        ),
        Column("compared_date", "date", "Business date of the publication before."),
        Column("business_date", "date", "The shop's local day whose night wrote this row."),
    ),
)
