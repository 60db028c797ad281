"""What became of what the CRM wrote back."""

from rekindle.contract import Column, Table
from rekindle.methods.activity import OUTCOME_FATES, WRITTEN_BACK

OUTCOMES = Table(
    name="outcomes",
    doc="One row per outcome that the CRM wrote back and a night has taken, of the days in conf (90). An outcome that"
    " is not here yet waits for its day, or for the log to name its user.",
    key=("outcome_id",),
    readers="CRM (through crm.outcomes)",
    served=True,
    columns=(
        Column("outcome_id", "string", "The CRM's own id of the outcome."),
        Column(
            "kind", "string", "What it tells; null where it was none of the kinds.", nullable=True, allowed=WRITTEN_BACK
        ),
        Column("happened_at", "timestamp", "When it happened, as the CRM wrote it.", unit="UTC instant"),
        Column(
            "fate",
            "string",
            "What became of it: an event, which counts; a duplicate of an event told before; or quarantined, which does"
            " not count.",
            allowed=OUTCOME_FATES,
        ),
        Column(
            "rule",
            "string",
            "The first rule that it broke (docs/crm.md has them in words); null unless it is quarantined.",
            nullable=True,
        ),
        Column("landing_date", "date", "The business date whose night took it."),
    ),
)
