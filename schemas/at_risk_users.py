"""Who is about to leave, how sure that is, and why."""

from rekindle.contract import Column, Table
from rekindle.methods.suppression import REASONS

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
            "Up to three features that weigh most for this user, in words with their numbers, heaviest first, and by"
            " how many points of probability each goes with what is predicted.",
        ),
        Column(
            "lowers_risk",
            "array<string>",
            "For users at risk up to two things that go with a lower probability among users like them: an association,"
            " not an effect; null for the others.",
            nullable=True,
        ),
        Column(
            "recency_days", "double", "Days from the last purchase to the end of the business date.", "days", minimum=0
        ),
        Column("frequency", "bigint", "Distinct orders ever.", "orders", minimum=1),
        Column("monetary", "double", "Money spent ever, net of returns; a line without price is 0.", "shop currency"),
        Column(
            "expected_days_to_purchase",
            "double",
            "Days by which the next purchase is as likely as not to have come, by the user's own rhythm (BG/NBD);"
            " null where it is more likely than not that none comes within a year, or nobody's rhythm is known.",
            "days",
            nullable=True,
            minimum=0,
        ),
        Column(
            "value_at_stake",
            "double",
            "Net margin that the user is expected to bring within the value horizon in conf, discounted, net of returns"
            " (BG/NBD and gamma-gamma): what may be lost; null where no rhythm is known.",
            "shop currency",
            nullable=True,
            minimum=0,
        ),
        Column(
            "value_at_stake_low",
            "double",
            "What nineteen in twenty such users bring at least; null as value_at_stake.",
            "shop currency",
            nullable=True,
            minimum=0,
        ),
        Column(
            "value_at_stake_high",
            "double",
            "What nineteen in twenty such users bring at most; null as value_at_stake.",
            "shop currency",
            nullable=True,
            minimum=0,
        ),
        Column(
            "days_since_contact",
            "double",
            "Days from the last contact by the shop to the end of the business date; null for users never contacted.",
            "days",
            nullable=True,
            minimum=0,
        ),
        Column(
            "suggested_action",
            "string",
            "First action of conf's catalogue whose bands and least value the user meets; do_nothing where none does,"
            " the last contact is too recent or nobody may contact the user.",
        ),
        Column(
            "calibrated_as_of",
            "date",
            "Cut-off whose outcomes the probability is calibrated on; null where it is the calibration of training.",
            nullable=True,
        ),
        Column("horizon_days", "int", "Length of the outcome window the probability speaks of.", "days", minimum=1),
        Column("model_version", "string", "Digest of the champion that scored the user."),
        Column("business_date", "date", "The shop's local day whose night wrote this row."),
        Column(
            "suppressed_by",
            "string",
            "Why nobody may contact the user now, as in suppressed_users; null where anybody may.",
            nullable=True,
            allowed=REASONS,
        ),
    ),
)
