"""How users stay on the whole: means over cohorts, weighted by their size."""

from rekindle.contract import Column, Table
from schemas.cohort_retention import COHORT, NIGHT, share

RETENTION_CURVES = Table(
    name="retention_curves",
    doc="One row per group and period since the first: means over the cohorts that have reached it, weighted by size.",
    key=("basis", "period_unit", "group_kind", "group_name", "period_number"),
    readers="jobs, CRM (through crm.retention_curves)",
    served=True,
    columns=(
        *COHORT,
        Column("period_number", "int", "Periods since the cohorts' own, which is number 0.", "periods", minimum=0),
        NIGHT,
        Column("cohorts", "bigint", "Cohorts that have reached this period.", "cohorts", minimum=1),
        Column("cohort_users", "bigint", "Their users: the weight of the means.", "users", minimum=1),
        Column("active_users", "bigint", "Those who acted in this period.", "users", minimum=0),
        Column("active_or_later_users", "bigint", "Those who acted in this period or later.", "users", minimum=0),
        share("retention", "Mean of L(t) over the cohorts, weighted by N(0)."),
        share("unbounded_retention", "Mean of unbounded retention, weighted by N(0)."),
        Column(
            "period_over_period",
            "double",
            "Active users of this period over those of the one before, of the cohorts that reached this one; null in"
            " period 0 and where there were none before.",
            "share",
            nullable=True,
            minimum=0,
        ),
    ),
)
