"""What users did in a day, a week or a month, in all and by group."""

from rekindle.contract import Column, Table
from rekindle.methods.retention_periods import GROUP_KINDS, UNITS
from schemas.cohort_retention import NIGHT, share

# Who is counted together.
GROUP = (
    Column(
        "group_kind",
        "string",
        "all: everybody. segment: by tonight's segment of the user, for the whole past. channel, category: what was"
        " done there alone, by the event's own; a user may be in several, so these do not add up to all.",
        allowed=GROUP_KINDS,
    ),
    Column("group_name", "string", "The segment's id, the channel or the category as logged; all for everybody."),
)


def users(name: str, doc: str, nullable: bool = False) -> Column:
    """A column that counts users."""
    return Column(name, "bigint", doc, "users", nullable=nullable, minimum=0)


def rate(name: str, doc: str) -> Column:
    """A column that holds a share, or null."""
    return share(name, doc, nullable=True)


PERIOD_METRICS = Table(
    name="period_metrics",
    doc="One row per ended day, week or month and group, from the group's first action on; no days of categories.",
    key=("period_unit", "period_start", "group_kind", "group_name"),
    readers="jobs, CRM (through crm.period_metrics)",
    served=True,
    columns=(
        Column(
            "period_unit", "string", "Length of the period: a local day, a week from Monday, a month.", allowed=UNITS
        ),
        Column("period_start", "date", "First local day of the period."),
        *GROUP,
        NIGHT,
        users("active_users", "Users with any action in the period."),
        users("new_users", "Those whose first action ever, in the group, lies in the period."),
        users("retained_users", "Those who also acted in the period before."),
        users("resurrected_users", "Those who acted before, and not in the period before."),
        users("lost_users", "Users of the period before without any action in this one."),
        rate("churn_rate", "Lost users over the users of the period before; null where that had none."),
        rate("retention_rate", "1 - churn rate; null where it is."),
        Column("active_days", "bigint", "Days with any action, summed over users.", "user days", minimum=0),
        users("users_7d", "WAU: users with any action in the 7 days that end with this; null but for days.", True),
        users("users_30d", "MAU: users with any action in the 30 days that end with this; null but for days.", True),
        rate(
            "stickiness",
            "Of a day: its users over those of the 30 days that end with it. Of a week or month: mean users of a day"
            " over users of the period; null where nobody acted.",
        ),
        users("viewers", "Users with a view in the period."),
        users(
            "funnel_carters",
            "Viewers who put something into the cart after, in the funnel's days; null until they ended.",
            True,
        ),
        users(
            "funnel_buyers", "Funnel carters who bought after that, in the funnel's days; null until they ended.", True
        ),
        users(
            "view_buyers",
            "Viewers who bought after a view, by cart or not, in the funnel's days; null until they ended.",
            True,
        ),
        rate("view_to_cart", "Funnel carters over viewers; null without viewers or until the funnel's days ended."),
        rate(
            "cart_to_purchase",
            "Funnel buyers over funnel carters; null without carters or until the funnel's days ended.",
        ),
        rate("view_to_purchase", "View buyers over viewers; null without viewers or until the funnel's days ended."),
        users("buyers", "Users with a purchase in the period."),
        Column("orders", "bigint", "Distinct orders of the period.", "orders", minimum=0),
        Column(
            "gross_revenue", "double", "Money of the period's purchases; a line without price is 0.", "shop currency"
        ),
        Column(
            "returned_revenue", "double", "Money of the period's returns, by the day of the return.", "shop currency"
        ),
        Column("net_revenue", "double", "Gross less returned.", "shop currency"),
        users("buyers_so_far", "Users with an order by the end of the period."),
        users("repeat_buyers_so_far", "Users with two orders or more by the end of the period."),
        rate("repurchase_rate", "Repeat buyers over buyers, both so far; null before the first buyer."),
        Column(
            "base_revenue",
            "double",
            "Net revenue of the period before from the users whose net revenue in it was above 0.",
            "shop currency",
            minimum=0,
        ),
        Column(
            "gross_revenue_retention",
            "double",
            "Net revenue of those users in this period, each capped at that of the period before, over base revenue;"
            " below 0 where they returned more than they bought; null without base revenue.",
            "share",
            nullable=True,
            maximum=1,
        ),
        Column(
            "net_revenue_retention",
            "double",
            "Net revenue of those users in this period, not capped, over base revenue; null without base revenue.",
            "share",
            nullable=True,
        ),
    ),
)
