"""What the shop told of its users, day by day."""

from rekindle.contract import Column, Table
from schemas import LINE, ROW_ID, USER

USERS = Table(
    name="users",
    doc="One row per user and landing day on which the shop told of them; the newest up to a day holds on that day.",
    key=("row_id",),
    columns=(
        ROW_ID,
        *USER,
        Column("registered_date", "date", "Day of registration; null where not told.", nullable=True),
        Column(
            "age_band",
            "string",
            "Age or band of ages, in the shop's words; null where not told.",
            privacy="personal",
            nullable=True,
        ),
        Column(
            "gender", "string", "Gender, in the shop's words; null where not told.", privacy="personal", nullable=True
        ),
        Column("region", "string", "Region or postal code; null where not told.", privacy="personal", nullable=True),
        Column("occupation", "string", "Occupation; null where not told.", privacy="personal", nullable=True),
        Column(
            "tier",
            "string",
            "The shop's own level or class of the user; null where not told.",
            privacy="personal",
            nullable=True,
        ),
        *LINE,
    ),
)
