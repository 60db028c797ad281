"""How long until buyers buy a second time."""

from rekindle.contract import Column, Table
from schemas.cohort_retention import NIGHT, share
from schemas.period_metrics import GROUP

REPURCHASE_CURVES = Table(
    name="repurchase_curves",
    doc="One row per group and day after the first order: the Kaplan-Meier estimate of who has ordered again by then.",
    key=("group_kind", "group_name", "day_number"),
    readers="jobs, CRM (through crm.repurchase_curves)",
    served=True,
    columns=(
        *GROUP,
        Column("day_number", "int", "Local days since the day of the first order.", "days", minimum=0),
        NIGHT,
        Column("buyers", "bigint", "Users of the group with a first order.", "users", minimum=1),
        Column(
            "at_risk",
            "bigint",
            "Buyers who have been followed for so many days and had not ordered again before.",
            "users",
            minimum=0,
        ),
        Column("repeats", "bigint", "Those of them whose second order came on this day.", "users", minimum=0),
        share("repurchased", "1 - S(t): share that has ordered again by this day, as estimated."),
        share(
            "repurchased_low",
            "Lower end of its 95 % interval (Greenwood, log-log); null before the first repeat and once S(t) is 0.",
            nullable=True,
        ),
        share(
            "repurchased_high",
            "Upper end of its 95 % interval (Greenwood, log-log); null before the first repeat and once S(t) is 0.",
            nullable=True,
        ),
        Column(
            "median_days",
            "int",
            "First day by which half have ordered again, the same on all rows of a group; null if fewer have.",
            "days",
            nullable=True,
            minimum=0,
        ),
    ),
)
