"""How a cohort stays: its users period by period after their first one."""

from rekindle.contract import Column, Table
from rekindle.methods.retention_periods import ALL, BASES, GROUP_KINDS, UNITS

# What every table of cohorts is about.
COHORT = (
    Column(
        "basis",
        "string",
        "Which actions count, for the first and for all later periods: any action in the shop, or purchases alone.",
        allowed=BASES,
    ),
    Column("period_unit", "string", "Length of a period: a local day, a week from Monday, a month.", allowed=UNITS),
    Column(
        "group_kind",
        "string",
        "all: everybody. segment: by tonight's segment of the user, for the whole past. channel, category: by which the"
        " user came, that of the first action (basis purchase: purchase) of the first day that names one; of several at"
        " one instant the first by name. A user is in one group of a kind or in none. Groups have months alone.",
        allowed=GROUP_KINDS,
        earlier=ALL,
    ),
    Column(
        "group_name",
        "string",
        "The segment's id, the channel or the category as logged; all for everybody.",
        earlier=ALL,
    ),
)
COHORT_START = Column("cohort_start", "date", "First day of the period in which the cohort's users acted first.")
NIGHT = Column("business_date", "date", "The shop's local day whose night wrote this row.")


def share(name: str, doc: str, nullable: bool = False) -> Column:
    """A column that holds a share."""
    return Column(name, "double", doc, "share", nullable=nullable, minimum=0, maximum=1)


COHORT_RETENTION = Table(
    name="cohort_retention",
    doc="One row per group's cohort and period since its first, of cohorts that conf follows and periods that ended.",
    key=("basis", "period_unit", "group_kind", "group_name", "cohort_start", "period_number"),
    readers="jobs, CRM (through crm.cohort_retention)",
    served=True,
    columns=(
        *COHORT,
        COHORT_START,
        Column("period_number", "int", "Periods since the cohort's own, which is number 0.", "periods", minimum=0),
        NIGHT,
        Column("cohort_users", "bigint", "N(0): users who acted first in the cohort's period.", "users", minimum=1),
        Column("active_users", "bigint", "N(t): users of the cohort who acted in this period.", "users", minimum=0),
        Column(
            "active_or_later_users",
            "bigint",
            "Users of the cohort who acted in this period or in a later one, as known by the business date.",
            "users",
            minimum=0,
        ),
        share("retention", "L(t) = N(t) / N(0): bounded retention."),
        share("unbounded_retention", "Active in this period or later, over N(0): an old cohort's last periods fall."),
        Column(
            "period_over_period",
            "double",
            "p(t) = N(t) / N(t-1), above 1 where users came back; null in period 0 and after a period without users.",
            "share",
            nullable=True,
            minimum=0,
        ),
        Column(
            "attrition",
            "double",
            "A(t) = 1 - p(t), below 0 where users came back; null where p(t) is.",
            "share",
            nullable=True,
            maximum=1,
        ),
        Column(
            "product_retention",
            "double",
            "p(1) x ... x p(t), which is L(t); null from the period on that follows one without users.",
            "share",
            nullable=True,
            minimum=0,
        ),
    ),
)
