"""Who a user is to the shop, for people and the CRM."""

from rekindle.contract import Column, Table

USER_PROFILES = Table(
    name="user_profiles",
    doc="One row per user seen before the end of the business date: RFM, activity and preferred categories.",
    key=("user_key",),
    readers="jobs, CRM (through crm.user_profiles)",
    served=True,
    columns=(
        Column("user_key", "string", "Keyed pseudonym of the user.", privacy="pseudonym"),
        Column("business_date", "date", "The shop's local day whose night wrote this row."),
        Column(
            "recency_days",
            "double",
            "Days from the last purchase to the end of the business date; null for users who never bought.",
            "days",
            nullable=True,
            minimum=0,
        ),
        Column("frequency", "bigint", "Distinct orders ever.", "orders", minimum=0),
        Column("monetary", "double", "Money spent ever, net of returns; a line without price is 0.", "shop currency"),
        Column(
            "recency_score",
            "int",
            "Quintile of recency among buyers, 5 the most recent fifth; null for users who never bought.",
            nullable=True,
            minimum=1,
            maximum=5,
        ),
        Column(
            "frequency_score",
            "int",
            "Quintile of frequency among buyers, 5 the most frequent; null for users who never bought.",
            nullable=True,
            minimum=1,
            maximum=5,
        ),
        Column(
            "monetary_score",
            "int",
            "Quintile of money among buyers, 5 the highest; null for users who never bought.",
            nullable=True,
            minimum=1,
            maximum=5,
        ),
        Column("first_seen_date", "date", "Local day of the first action."),
        Column("last_activity_date", "date", "Local day of the last action."),
        Column(
            "last_purchase_date",
            "date",
            "Local day of the last purchase; null for users who never bought.",
            nullable=True,
        ),
        Column("active_days_7d", "int", "Days with any action in the last 7.", "days", minimum=0, maximum=7),
        Column("active_days_30d", "int", "Days with any action in the last 30.", "days", minimum=0, maximum=30),
        Column("active_days_90d", "int", "Days with any action in the last 90.", "days", minimum=0, maximum=90),
        Column(
            "top_categories",
            "array<string>",
            "Up to three categories with the largest share of the user's weighted actions, largest first;"
            " null if no action had a category.",
            nullable=True,
        ),
        Column(
            "top_category_shares",
            "array<double>",
            "Their shares, in the same order; null if no action had a category.",
            "share, 0 to 1",
            nullable=True,
        ),
        Column(
            "excluded_as",
            "string",
            "Rules by which no model learns from this user (a machine, a test account), by comma, as in excluded_users;"
            " null if taken for a customer.",
            nullable=True,
        ),
    ),
)
