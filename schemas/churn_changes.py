"""Who came under watch, went out of it or changed the risk band since the publication before, and what did it."""

from rekindle.contract import Changes, Column, Table
from schemas.at_risk_users import RISK_BANDS

KINDS = ("entered", "left", "moved")
CAUSES = ("behaviour", "labels", "model")

CHURN_CHANGES = Table(
    name="churn_changes",
    doc="One row per user who entered, left or moved between bands of at_risk_users since the publication before.",
    key=("user_key",),
    readers="jobs, CRM (through crm.churn_changes)",
    served=True,
    changes=Changes(of="at_risk_users", before="band_before", after="band_after"),
    columns=(
        Column("user_key", "string", "Keyed pseudonym of the user.", privacy="pseudonym"),
        Column(
            "change",
            "string",
            "Entered: eligible now and not before. Left: before and not now. Moved: another band.",
            allowed=KINDS,
        ),
        Column("band_before", "string", "Band then; null for who entered.", nullable=True, allowed=RISK_BANDS),
        Column("band_after", "string", "Band now; null for who left.", nullable=True, allowed=RISK_BANDS),
        Column(
            "probability_before",
            "double",
            "Probability then; null for who entered.",
            nullable=True,
            minimum=0,
            maximum=1,
        ),
        Column(
            "probability_after", "double", "Probability now; null for who left.", nullable=True, minimum=0, maximum=1
        ),
        Column(
            "cause",
            "string",
            "What decided: behaviour (of the user, time passing included), labels (outcomes that became known moved the"
            " calibration, or the horizon changed), or model (another one serves).",
            allowed=CAUSES,
        ),
        Column("compared_date", "date", "Business date of the publication before."),
        Column("business_date", "date", "The shop's local day whose night wrote this row."),
    ),
)
