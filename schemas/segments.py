"""The segments themselves: how large, what they are worth, what sets each apart, and whether it can be relied on."""

from rekindle.contract import Column, Table

METHODS = ("k_means", "bisecting", "topics")
STATUSES = ("kept", "new", "dissolved")

SEGMENTS = Table(
    name="segments",
    doc="One row per segment of each method, and one per segment of the publication before that dissolved tonight."
    " docs/segments.md says how to read them.",
    key=("segment_id",),
    readers="jobs, CRM (through crm.segments)",
    served=True,
    columns=(
        Column(
            "segment_id",
            "string",
            "s001 … of k_means, b001 … of bisecting, t001 … of topics; stays as long as the segment does and is never"
            " given again.",
        ),
        Column("method", "string", "What found it.", allowed=METHODS),
        Column("name", "string", "What sets it apart, in words; unique within the method."),
        Column(
            "name_parts",
            "array<string>",
            "What the name is made of: codes of rekindle/methods/segment_names.py, or a topic's words; after them a"
            " number where only it tells two segments apart.",
        ),
        Column(
            "status",
            "string",
            "Beside the publication before: kept (the same segment), new, or dissolved (its last row).",
            allowed=STATUSES,
        ),
        Column("users", "bigint", "Users in it tonight; 0 for a dissolved one.", "users", minimum=0),
        Column("share", "double", "Of the users who are in a segment of the method.", minimum=0, maximum=1),
        Column(
            "users_before",
            "bigint",
            "Users in it in the publication before, 0 for a new one; null where there is none to compare with.",
            "users",
            nullable=True,
            minimum=0,
        ),
        Column(
            "users_entered",
            "bigint",
            "Users in it now who were not; null where there is no publication to compare with.",
            "users",
            nullable=True,
            minimum=0,
        ),
        Column(
            "users_left",
            "bigint",
            "Users who were in it and are not; null where there is no publication to compare with. users ="
            " users_before + users_entered - users_left.",
            "users",
            nullable=True,
            minimum=0,
        ),
        Column("spend_90d", "double", "Money of its users in the last 90 days, net of returns.", "shop currency"),
        Column("spend_90d_mean", "double", "The same, of a user; null for a dissolved one.", "shop currency", True),
        Column(
            "value_at_stake",
            "double",
            "Money of the last 90 days times the probability of no purchase in the outcome window (user_features),"
            " summed over its users who spent; null where no user has such a probability.",
            "shop currency",
            nullable=True,
            minimum=0,
        ),
        Column(
            "features",
            "array<string>",
            "What sets it apart most, strongest first: columns of user_features, or a topic's words.",
        ),
        Column(
            "feature_means",
            "array<double>",
            "Its users' mean of each feature, in the feature's unit, of users who have it; of a topic's word the share"
            " of all words in it.",
        ),
        Column("overall_means", "array<double>", "The same, of all users in a segment."),
        Column(
            "z_differences",
            "array<double>",
            "How far its mean lies from that of all, on the scale that clustering uses, in standard deviations; of a"
            " topic's word the binary logarithm of its share over that among all words.",
        ),
        Column(
            "tree_path",
            "string",
            "Of bisecting, the halvings that lead to it, 1 or 2 each: 1.2 and 1.1 are halves of one group; null for"
            " the other methods.",
            nullable=True,
        ),
        Column(
            "tree_steps",
            "array<string>",
            "Of bisecting, what each of these halvings was about, feature:high or feature:low; null for the other"
            " methods.",
            nullable=True,
        ),
        Column(
            "stability",
            "double",
            "Of the method's fit: mean adjusted Rand index between it and fits on bootstrap samples of users; 1: always"
            " the same segments, about 0: as by chance; null for a dissolved one.",
            nullable=True,
            minimum=-1,
            maximum=1,
        ),
        Column(
            "adjusted_rand",
            "double",
            "Of the method: adjusted Rand index between the segments of the publication before and tonight's, over"
            " users with both; null where there is none to compare with.",
            nullable=True,
            minimum=-1,
            maximum=1,
        ),
        Column(
            "silhouette",
            "double",
            "Mean silhouette of its users at the fit: 1 far from all others, 0 on a border, below 0 nearer to another;"
            " null for topics, and for a segment without users in the sample.",
            nullable=True,
            minimum=-1,
            maximum=1,
        ),
        Column(
            "highest_number",
            "bigint",
            "Highest number that an id of the method was ever given; the next new segment has the one after.",
            minimum=1,
        ),
        Column("fitted_date", "date", "Business date of the night that drew the borders."),
        Column(
            "compared_date",
            "date",
            "Business date of the publication before; null where there is none to compare with.",
            nullable=True,
        ),
        Column("business_date", "date", "The shop's local day whose night wrote this row."),
    ),
)
