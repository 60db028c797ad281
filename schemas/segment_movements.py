"""Who went from one segment to another since the publication before, and what did it."""

from rekindle.contract import Changes, Column, Table

KINDS = ("entered", "left", "moved")
CAUSES = ("behaviour", "dissolved", "born", "borders")

SEGMENT_MOVEMENTS = Table(
    name="segment_movements",
    doc="One row per user whose segment of k_means is another than in the publication before.",
    key=("user_key",),
    readers="jobs, CRM (through crm.segment_movements)",
    served=True,
    changes=Changes(of="user_segments", before="segment_before", after="segment_after"),
    columns=(
        Column("user_key", "string", "Keyed pseudonym of the user.", privacy="pseudonym"),
        Column(
            "change",
            "string",
            "Entered: in a segment now and in none before. Left: in one before and in none now. Moved: another one.",
            allowed=KINDS,
        ),
        Column("segment_before", "string", "Segment then; null for who entered.", nullable=True),
        Column("segment_after", "string", "Segment now; null for who left.", nullable=True),
        Column("name_before", "string", "Its name then; null for who entered.", nullable=True),
        Column("name_after", "string", "Its name now; null for who left.", nullable=True),
        Column(
            "cause",
            "string",
            "The first that holds: behaviour (by the borders of then, too, the user is no longer in the segment, time"
            " passing included), dissolved (the segment of then is no more), born (the one of now is new), borders"
            " (these were drawn anew).",
            allowed=CAUSES,
        ),
        Column("compared_date", "date", "Business date of the publication before."),
        Column("business_date", "date", "The shop's local day whose night wrote this row."),
    ),
)
