"""What retention is told from, brought up to tonight.

Every figure is a sum over users, of integers or exact decimals. So a night need not count the shop's history again: it
takes the sums of the night that it builds on, takes away what they hold of the users whose events or segment are new,
and adds what is known of these users now. What comes out is, to the last digit, what counting everything would give.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date

from pyspark import StorageLevel
from pyspark.sql import DataFrame

from rekindle.methods import retention_cells, retention_days, retention_members, retention_sums


@dataclass(frozen=True)
class Known:
    """What an earlier night stored: its user_days, period_counts and retention_counts, and its users' segments."""

    days: DataFrame
    sums: DataFrame
    cells: DataFrame
    segments: DataFrame | None


@dataclass(frozen=True)
class Counted:
    """Tonight's period_counts and retention_counts; `release` what they are made of, once both are stored."""

    sums: DataFrame
    cells: DataFrame
    sources: tuple[DataFrame, ...]

    def release(self) -> None:
        """Forget the rows of the users that were counted again."""
        for frame in self.sources:
            frame.unpersist()


def count(
    added: DataFrame,
    known: Known | None,
    segments: DataFrame | None,
    as_of: date,
    funnel_days: int,
    windows: Sequence[tuple[int, int]],
    cohorts: Mapping[str, int],
) -> Counted:
    """The sums as of `as_of`, from the rows of user_days that are new and what was known before them.

    Args:
        added: rows of user_days; all of them where nothing is known.
        known: the night whose rows these are added to; None counts everything.
        segments: `user_key` and `segment_id` of tonight; None where the shop has no segments.
        funnel_days, windows, cohorts: as in conf; `known` must be counted by the same.
    """
    before = None if known is None or known.segments is None else retention_days.segments_of(known.segments)
    after = None if segments is None else retention_days.segments_of(segments)
    users = retention_days.affected(added, before, after)
    rows = retention_days.rows_of(users, known.days if known else None, added, as_of)
    rows = rows.persist(StorageLevel.MEMORY_AND_DISK)
    firsts = retention_members.firsts(rows).persist(StorageLevel.MEMORY_AND_DISK)
    sums = retention_sums.period_parts(rows, firsts, funnel_days)
    cells = retention_cells.cell_parts(rows, firsts, windows)
    if known is not None:
        sums, cells = sums.unionByName(known.sums), cells.unionByName(known.cells)
    followed = retention_cells.followed(cells, as_of, cohorts)
    return Counted(retention_sums.summed(sums), retention_cells.summed(followed), (rows, firsts))
