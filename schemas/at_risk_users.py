"""Who is about to leave, how sure that is, and why."""

from rekindle.contract import Column, Table

RISK_BANDS = ("low", "medium", "high", "critical")

AT_RISK_USERS = Table(
    name="at_risk_users",
    doc="One row per eligible user (see conf: a buyer, active within the eligibility window), at risk or not.",
    key=("user_key",),
    readers="jobs, CRM (through crm.at_risk_users)",
    served=True,
    columns=(
        Column("user_key", "string", "Keyed pseudonym of the user.", privacy="pseudonym"),
        Column(
            "churn_probability",
            "double",
            "Calibrated probability of no purchase within the horizon after the gap.",
            minimum=0,
            maximum=1,
        ),
        Column("is_at_risk", "boolean", "Whether the probability reaches the cut point in conf."),
        Column("risk_band", "string", "Band of the probability, by the cut points in conf.", allowed=RISK_BANDS),
        Column(
            "reasons",
            "array<string>",
            "Up to three features that weigh most for this user, in words with their numbers, heaviest first.",
        ),
        Column(
            "recency_days", "double", "Days from the last purchase to the end of the business date.", "days", minimum=0
        ),
        Column("frequency", "bigint", "Distinct orders ever.", "orders", minimum=1),
        Column("monetary", "double", "Money spent ever, net of returns; a line without price is 0.", "shop currency"),
        Column("horizon_days", "int", "Length of the outcome window the probability speaks of.", "days", minimum=1),
        Column("model_version", "string", "Digest of the champion that scored the user."),
        Column("business_date", "date", "The shop's local day whose night wrote this row."),
    ),
)
