"""What is counted of users for retention. Contracts name it, too, so nothing here needs Spark."""

COUNTS = {
    "active_users": "Users with any action.",
    "new_users": "Users whose first action in the group lies here.",
    "retained_users": "Users also active in the period before.",
    "active_days": "Days with any action, summed over users.",
    "change_7d": "Users who enter the window of 7 days on this day less those who leave it; 0 but for days.",
    "change_30d": "Users who enter the window of 30 days on this day less those who leave it; 0 but for days.",
    "viewers": "Users with a view.",
    "funnel_carters": "Viewers with a cart after a view, within the funnel's days.",
    "funnel_buyers": "Viewers with a purchase after a cart after a view, within the funnel's days.",
    "view_buyers": "Viewers with a purchase after a view, within the funnel's days.",
    "buyers": "Users with a purchase.",
    "orders": "Distinct orders of each user.",
    "new_buyers": "Users whose first order begins here.",
    "new_repeaters": "Users whose second order begins here.",
}
MONEYS = {
    "gross": "Money of purchases.",
    "returned": "Money of returns.",
    "base": "Net revenue of the period before, of the users for whom it was above 0.",
    "kept_capped": "Net revenue of those users here, each capped at that of the period before.",
    "kept": "Net revenue of those users here.",
}
# Of cells: who acted in a period, acted last in it, acted in a window; who ordered again, and who has not yet.
MEASURES = ("active", "last", "window", "repeat", "waiting")
