"""What is recommended: who has a list, where its items come from, what changed first, and one list as an example."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from report.asking import Ask

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


def read(ask: Ask) -> Offers | None:
    """The night's lists; None where the run has none."""
    if not ask.has("recommendations", "user_profiles"):
        return None
    whole = ask.row(
        "SELECT count(*) AS rows, count(DISTINCT user_key) AS listed, count(DISTINCT item_id) AS items,"
        " (SELECT count(*) FROM serve.user_profiles WHERE run_id = %(run)s) AS users FROM serve.recommendations"
        " WHERE run_id = %(run)s"
    )
    return Offers(
        **whole,
        sources=ask.rows(
            "SELECT candidate_source, count(*) AS rows, count(DISTINCT user_key) AS users,"
            " count(DISTINCT item_id) AS items, count(*) FILTER (WHERE rank = 1) AS first FROM serve.recommendations"
            " WHERE run_id = %(run)s GROUP BY 1 ORDER BY 2 DESC, 1"
        ),
        places=ask.rows(
            "SELECT place, count(*) AS rows FROM serve.recommendations WHERE run_id = %(run)s GROUP BY 1"
            " ORDER BY 2 DESC, 1"
        ),
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
