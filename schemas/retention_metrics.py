"""How users stay, by week."""

from rekindle.contract import Column, Table

RETENTION_METRICS = Table(
    name="retention_metrics",
    doc="One row per whole local week (Monday to Sunday) that ended by the business date.",
    key=("week_start",),
    readers="jobs, CRM (through crm.retention_metrics)",
    served=True,
    columns=(
        Column("week_start", "date", "The week's Monday, shop time."),
        Column("business_date", "date", "The shop's local day whose night wrote this row."),
        Column("active_users", "bigint", "Users with any action in the week.", "users", minimum=0),
        Column("new_users", "bigint", "Users whose first action ever lies in the week.", "users", minimum=0),
        Column("buyers", "bigint", "Users with a purchase in the week.", "users", minimum=0),
        Column("orders", "bigint", "Distinct orders of the week.", "orders", minimum=0),
        Column(
            "conversion_rate",
            "double",
            "Users who bought after a view within the week over users who viewed; null if the source logs no views.",
            "share",
            nullable=True,
            minimum=0,
            maximum=1,
        ),
        Column(
            "repurchase_rate",
            "double",
            "Buyers so far with two orders or more over buyers so far; null before the first buyer.",
            "share",
            nullable=True,
            minimum=0,
            maximum=1,
        ),
        Column(
            "retained_users",
            "bigint",
            "Users active in this week and the week before; null in the first week.",
            "users",
            nullable=True,
            minimum=0,
        ),
        Column(
            "churn_rate",
            "double",
            "1 - retained users over the users active the week before; null in the first week or after an empty one.",
            "share",
            nullable=True,
            minimum=0,
            maximum=1,
        ),
    ),
)
