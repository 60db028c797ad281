"""Who came back within a window of days after the first."""

from rekindle.contract import Column, Table
from schemas.cohort_retention import COHORT, COHORT_START, NIGHT, share

RETENTION_WINDOWS = Table(
    name="retention_windows",
    doc="One row per group's cohort and window of conf, once the window has ended for all of the cohort's users.",
    key=("basis", "period_unit", "group_kind", "group_name", "cohort_start", "first_day", "last_day"),
    readers="jobs, CRM (through crm.retention_windows)",
    served=True,
    columns=(
        *COHORT,
        COHORT_START,
        Column("first_day", "int", "First day of the window after a user's own first day.", "days", minimum=1),
        Column("last_day", "int", "Last day of the window after a user's own first day.", "days", minimum=1),
        NIGHT,
        Column("cohort_users", "bigint", "Users who acted first in the cohort's period.", "users", minimum=1),
        Column("active_users", "bigint", "Those who acted on any day of the window.", "users", minimum=0),
        share("retention", "n-m retention: active users over the cohort's."),
    ),
)
