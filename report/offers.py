"""What is recommended: who has a list, where its items come from, what changed first, and one list as an example."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from report.asking import Ask
from report.headline import Figures
from schemas.recommendations import CANDIDATE_SOURCES

SAMPLE = 5
Rows = list[dict[str, Any]]


@dataclass(frozen=True)
class Offers:
    """Recommendations of the night.

    Attributes:
        users, listed: users with a profile, and those with a list. items: different items in lists.
        sources: by candidate source the rows, the users and items, and how many lists it leads.
        places: rows by why they have their place.
        changes: users by change and cause since the publication before; null where the run has no such table.
        sample: the first items of one user.
    """

    users: int
    listed: int
    items: int
    rows: int
    sources: Rows
    places: Rows
    changes: Rows | None
    sample: Rows

    @property
    def share(self) -> float | None:
        """Users with a list over users with a profile."""
        return self.listed / self.users if self.users else None


def reached(ask: Ask) -> dict[str, int]:
    """Users who have an item of the source in their list, by source; a user is kept once, with a mark a source."""
    marks = ", ".join(f"bool_or(candidate_source = '{name}') AS {name}" for name in CANDIDATE_SOURCES)
    counts = ", ".join(f"count(*) FILTER (WHERE {name}) AS {name}" for name in CANDIDATE_SOURCES)
    return ask.row(
        f"SELECT {counts} FROM (SELECT {marks} FROM serve.recommendations WHERE run_id = %(run)s"  # noqa: S608 - our own
        " GROUP BY user_key) t"
    )


def read(ask: Ask, figures: Figures) -> Offers | None:
    """The night's lists; None where the run has none. `figures` has how many users there are and have a list."""
    users, listed = figures.get("users"), figures.get("listed")
    if not ask.has("recommendations", "user_profiles") or users is None or listed is None:
        return None
    # Rows of few items first, then groups of those: each DISTINCT over five million rows sorts them all.
    counted = ask.rows(
        "SELECT candidate_source, place, coalesce(sum(rows), 0)::bigint AS rows, count(DISTINCT item_id) AS items,"
        " sum(first)::bigint AS first FROM (SELECT candidate_source, place, item_id, count(*) AS rows,"
        " count(*) FILTER (WHERE rank = 1) AS first FROM serve.recommendations WHERE run_id = %(run)s GROUP BY 1, 2, 3)"
        " t GROUP BY GROUPING SETS ((candidate_source), (place), ()) ORDER BY rows DESC, 1, 2"
    )
    users_of = reached(ask)
    [whole] = [row for row in counted if row["candidate_source"] is None and row["place"] is None]
    return Offers(
        users=int(users),
        listed=int(listed),
        items=whole["items"],
        rows=whole["rows"],
        sources=[
            row | {"users": users_of[row["candidate_source"]]} for row in counted if row["candidate_source"] is not None
        ],
        places=[row for row in counted if row["place"] is not None],
        changes=ask.rows(
            "SELECT change, cause, count(*) AS users, min(compared_date) AS compared_date FROM serve.list_changes"
            " WHERE run_id = %(run)s GROUP BY 1, 2 ORDER BY 3 DESC, 1, 2"
        )
        if ask.has("list_changes")
        else None,
        sample=ask.rows(
            "SELECT left(user_key, 8) AS user, rank, coalesce(title, item_id) AS item, category, last_price, reason"
            " FROM serve.recommendations WHERE run_id = %(run)s AND user_key = (SELECT min(user_key) FROM"
            " serve.recommendations WHERE run_id = %(run)s AND candidate_source <> 'popularity') AND rank <= %(n)s"
            " ORDER BY rank",
            n=SAMPLE,
        ),
    )
