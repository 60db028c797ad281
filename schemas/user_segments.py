"""Which segment each user is in, by each of three ways of looking at them."""

from rekindle.contract import Column, Table

# Why a user is in no segment.
UNSEGMENTED = ("excluded", "silent", "too_few_actions", "too_few_users")

USER_SEGMENTS = Table(
    name="user_segments",
    doc="One row per user with a profile: segment by behaviour, group by hierarchical clustering, topic of interest."
    " docs/segments.md says how to read them.",
    key=("user_key",),
    readers="jobs, CRM (through crm.user_segments)",
    served=True,
    columns=(
        Column("user_key", "string", "Keyed pseudonym of the user.", privacy="pseudonym"),
        Column(
            "segment_id",
            "string",
            "Segment of k_means in `segments`, the nearest centre; null for users in no segment.",
            nullable=True,
        ),
        Column("segment_name", "string", "Its name tonight; null for users in no segment.", nullable=True),
        Column(
            "nearness",
            "double",
            "1 less distance to the own centre over distance to the next: 1 at the centre, 0 on the border; null for"
            " users in no segment.",
            nullable=True,
            minimum=0,
            maximum=1,
        ),
        Column(
            "next_segment_id",
            "string",
            "The segment whose centre is the next: where the user would go; null for users in no segment.",
            nullable=True,
        ),
        Column(
            "group_id",
            "string",
            "Segment of bisecting in `segments`: what the halvings of all users lead to; null for users in no segment.",
            nullable=True,
        ),
        Column("group_name", "string", "Its name tonight; null for users in no segment.", nullable=True),
        Column(
            "topic_id",
            "string",
            "Segment of topics in `segments`: the topic with the largest share of what the user looked at; null for"
            " users in no segment, and for those who looked at nothing with a word that topics are made of.",
            nullable=True,
        ),
        Column("topic_name", "string", "Its name tonight; null where the topic is.", nullable=True),
        Column(
            "topic_share",
            "double",
            "That topic's share of what the user looked at; null where the topic is.",
            "share, 0 to 1",
            nullable=True,
            minimum=0,
            maximum=1,
        ),
        Column(
            "unsegmented_as",
            "string",
            "Why the user is in no segment, the first that holds: excluded (taken for a machine or a test account),"
            " silent (no action within conf's window_days), too_few_actions (fewer in it than least_actions),"
            " too_few_users (the shop has fewer such users than least_users, or all are alike); null for users in a"
            " segment.",
            nullable=True,
            allowed=UNSEGMENTED,
        ),
        Column("business_date", "date", "The shop's local day whose night wrote this row."),
    ),
)
