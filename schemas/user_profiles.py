"""Who a user is to the shop, for people and the CRM."""

from rekindle.contract import Column, Table
from rekindle.methods.life_cycle import STAGES
from rekindle.methods.rfm import CLASSES

USER_PROFILES = Table(
    name="user_profiles",
    doc="One row per user seen before the end of the business date: RFM, activity, preferences, habits, stage of life.",
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
            "Up to three categories with the largest share of all the user's weighted actions ever, largest first, an"
            " old action as good as a new one (`current_categories` fade); the item's category counts where the action"
            " names none; null if neither had one.",
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
            "rfm_class",
            "string",
            "Class by the three scores, of a fixed table: recency against the mean of frequency and money (rounded up);"
            " null for users who never bought.",
            nullable=True,
            allowed=CLASSES,
        ),
        Column(
            "life_cycle",
            "string",
            "Stage by the days since the last action and by the user's own rhythm, rule in conf"
            " (`profiles.life_cycle`): `lapsed` and `slipping` are silent for longer than their limits; of the others"
            " `returned` came back lately from a silence as long as a lapsed user's, `new` was first seen lately,"
            " `active` is everybody else.",
            allowed=STAGES,
        ),
        Column(
            "usual_interval_days",
            "double",
            "Median days from one active day to the next; null for users with one active day.",
            "days",
            nullable=True,
            minimum=1,
        ),
        Column(
            "current_streak_days",
            "int",
            "Active days in a row up to the business date; 0 if that day was none.",
            "days",
            minimum=0,
        ),
        Column("longest_streak_days", "int", "Longest run of active days in a row, ever.", "days", minimum=1),
        Column(
            "usual_hour",
            "double",
            "Usual time of day, shop time: circular mean of the hours with an action, each hour of a day once, so that"
            " 23:30 and 0:30 make midnight; 13.5 is half past one; null where they point nowhere (6:00 and 18:00).",
            "hours",
            nullable=True,
            minimum=0,
            maximum=24,
        ),
        Column(
            "usual_hour_strength",
            "double",
            "How much the user keeps to that time: length of the mean vector, 1 always the same hour, 0 any hour.",
            minimum=0,
            maximum=1,
        ),
        Column(
            "usual_weekday",
            "int",
            "Weekday with the most active days, 1 Monday to 7 Sunday; of equals the earlier.",
            minimum=1,
            maximum=7,
        ),
        Column("usual_weekday_share", "double", "Its share of the active days.", minimum=0, maximum=1),
        Column(
            "usual_channel",
            "string",
            "Device or sales channel of most actions, as logged, of equals the first by name; null where no action"
            " named one.",
            nullable=True,
        ),
        Column(
            "usual_channel_share",
            "double",
            "Its share of the actions that named one; null where none did.",
            nullable=True,
            minimum=0,
            maximum=1,
        ),
        Column(
            "current_categories",
            "array<string>",
            "As `top_categories`, where an action weighs half for every `recommend.half_life_days` of its age; null if"
            " no action had a category.",
            nullable=True,
        ),
        Column(
            "current_category_shares",
            "array<double>",
            "Their shares of the faded weight, in the same order; null if no action had a category.",
            "share, 0 to 1",
            nullable=True,
        ),
        Column(
            "current_brands",
            "array<string>",
            "Up to three brands by the same faded weight, largest first; a brand is the event's, else the one last told"
            " of the item; null if no action had a brand.",
            nullable=True,
        ),
        Column(
            "current_brand_shares",
            "array<double>",
            "Their shares of the faded weight, in the same order; null if no action had a brand.",
            "share, 0 to 1",
            nullable=True,
        ),
        Column(
            "price_band",
            "int",
            "Which fifth of its category's prices the user buys in, 1 the cheapest: `price_level` rounded; null if"
            " nothing bought has a place among prices.",
            nullable=True,
            minimum=1,
            maximum=5,
        ),
        Column(
            "price_level",
            "double",
            "Mean fifth of the lines bought, faded as above: an item's place is that of its usual price among the usual"
            " prices of its category's items, in categories of five priced items or more; null if nothing bought has"
            " one.",
            "fifths",
            nullable=True,
            minimum=1,
            maximum=5,
        ),
        Column(
            "keywords",
            "array<string>",
            "Up to ten words that set the user apart, strongest first: TF-IDF over titles touched and searches, faded"
            " as above, of words that at least `profiles.keyword_users` users have; null if there is none.",
            nullable=True,
            privacy="personal",
        ),
        Column(
            "keyword_weights",
            "array<double>",
            "Their weights, in the same order: parts of a vector of all the user's words of length 1; null if there is"
            " none.",
            nullable=True,
        ),
        Column(
            "discount_line_share",
            "double",
            "Share of the priced lines bought for `profiles.discount_from` or more below the item's usual price, the"
            " median over the days on which it was priced; null without a priced line.",
            nullable=True,
            minimum=0,
            maximum=1,
        ),
        Column(
            "discount_spend_share",
            "double",
            "The same share of the money paid for them; null for users who paid nothing.",
            nullable=True,
            minimum=0,
            maximum=1,
        ),
        Column(
            "return_rate",
            "double",
            "Return lines over purchase lines, ever; null for users who never bought.",
            nullable=True,
            minimum=0,
        ),
        Column(
            "stars_mean",
            "double",
            "Mean stars of reviews and ratings, ever; null for users who gave none.",
            "stars",
            nullable=True,
            minimum=1,
            maximum=5,
        ),
        Column("stars_count", "bigint", "Reviews and ratings with stars, ever.", "events", minimum=0),
        Column(
            "excluded_as",
            "string",
            "Rules by which no model learns from this user (a machine, a test account), by comma, as in excluded_users;"
            " null if taken for a customer.",
            nullable=True,
        ),
    ),
)
