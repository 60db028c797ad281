"""What a user's taste is like, as a direction among those of all users."""

from rekindle.contract import Column, Likeness, Table

USER_VECTORS = Table(
    name="user_vectors",
    doc="One row per user who did something with an item that has a vector: the direction of the user's taste.",
    key=("user_key",),
    readers="jobs, CRM (through crm.user_vectors and crm.users_like)",
    served=True,
    likeness=Likeness(vector="vector", function="users_like"),
    columns=(
        Column("user_key", "string", "Keyed pseudonym of the user.", privacy="pseudonym"),
        Column("business_date", "date", "The shop's local day whose night wrote this row."),
        Column(
            "vector",
            "array<double>",
            "Mean of the vectors of the user's items, by weight of action faded by `recommend.half_life_days`, of"
            " length 1. Item vectors are word2vec's over what is touched together on a day, fitted anew every night:"
            " users compare within a night, never between two.",
        ),
        Column("items", "bigint", "Items with a vector that it is made of.", "items", minimum=1),
    ),
)
