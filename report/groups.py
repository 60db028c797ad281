"""Segments of users, what sets each apart, and who went from where to where."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from report.asking import Ask

Rows = list[dict[str, Any]]
MOST = 12  # movements told one by one; the rest is counted


@dataclass(frozen=True)
class Groups:
    """Segments of all methods, largest first, and the movements between those of k_means.

    `unsegmented` counts users without a segment by why; `by_cause` the movements by change and cause.
    """

    segments: Rows
    movements: Rows
    by_cause: Rows
    unsegmented: Rows

    def of(self, method: str) -> Rows:
        """The segments of one method."""
        return [one for one in self.segments if one["method"] == method]

    @property
    def methods(self) -> list[str]:
        """Methods that found segments, in the order of the contract."""
        return [name for name in ("k_means", "bisecting", "topics") if self.of(name)]


def read(ask: Ask) -> Groups | None:
    """Tonight's segments; None where the run has no such tables."""
    if not ask.has("segments", "user_segments", "segment_movements"):
        return None
    return Groups(
        segments=ask.rows(
            "SELECT segment_id, method, name, name_parts, status, users, share, users_before, users_entered,"
            " users_left, spend_90d, spend_90d_mean, value_at_stake, features, feature_means, overall_means,"
            " z_differences, stability, adjusted_rand, silhouette, compared_date FROM serve.segments"
            " WHERE run_id = %(run)s ORDER BY method, users DESC, segment_id"
        ),
        movements=ask.rows(
            "SELECT change, segment_before, segment_after, min(name_before) AS name_before,"
            " min(name_after) AS name_after, count(*) AS users FROM serve.segment_movements WHERE run_id = %(run)s"
            " GROUP BY 1, 2, 3 ORDER BY users DESC, 1, 2, 3"
        ),
        by_cause=ask.rows(
            "SELECT change, cause, count(*) AS users FROM serve.segment_movements WHERE run_id = %(run)s"
            " GROUP BY 1, 2 ORDER BY 3 DESC, 1, 2"
        ),
        unsegmented=ask.rows(
            "SELECT unsegmented_as AS why, count(*) AS users FROM serve.user_segments WHERE run_id = %(run)s"
            " AND unsegmented_as IS NOT NULL GROUP BY 1 ORDER BY 2 DESC, 1"
        ),
    )
