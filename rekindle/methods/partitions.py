"""How much two ways of putting the same users into groups agree, and which group of one goes on as which of the other.

A contingency table counts the users of group i of the one and group j of the other.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def contingency(
    first: NDArray[np.int64], second: NDArray[np.int64], rows: int | None = None, columns: int | None = None
) -> NDArray[np.int64]:
    """Users by group of the first and of the second, int64 [groups, groups]; groups are numbered from 0."""
    high = int(rows if rows is not None else first.max(initial=-1) + 1)
    wide = int(columns if columns is not None else second.max(initial=-1) + 1)
    counted = np.bincount(first * wide + second, minlength=high * wide)
    return np.asarray(counted.reshape(high, wide), dtype=np.int64)


def adjusted_rand(table: NDArray[np.int64]) -> float:
    """Adjusted Rand index: 1 for the same groups, 0 on average for groups by chance, never below -0.5.

    Hubert & Arabie, Comparing partitions, Journal of Classification 2 (1985), formula 5: pairs of users that are
    together in both, less what chance would have, over the most less what chance would have. 1 where both put all
    users into one group, or each into its own, and for fewer than two users. Integers until the last division.
    """
    users = int(table.sum())
    both = sum(int(n) * (int(n) - 1) // 2 for n in table.ravel())
    of_first = sum(int(n) * (int(n) - 1) // 2 for n in table.sum(axis=1))
    of_second = sum(int(n) * (int(n) - 1) // 2 for n in table.sum(axis=0))
    pairs = users * (users - 1) // 2
    # Numerator and denominator times 2 · pairs, so that both stay whole.
    above = 2 * (both * pairs - of_first * of_second)
    below = (of_first + of_second) * pairs - 2 * of_first * of_second
    return above / below if below else 1.0


def jaccard(table: NDArray[np.int64]) -> NDArray[np.float64]:
    """Users in both groups over users in either, float64 as the table; 0 for two empty groups."""
    either = table.sum(axis=1, keepdims=True) + table.sum(axis=0, keepdims=True) - table
    return np.asarray(table / np.maximum(either, 1), dtype=np.float64)


def matched(table: NDArray[np.int64], least_overlap: float) -> dict[int, int]:
    """Which group of the second goes on as which of the first, by the second's number; one to one.

    The pairing with the largest sum of Jaccard indexes (Hungarian method: Kuhn, Naval Research Logistics Quarterly 2,
    1955, by scipy); of it only the pairs that reach `least_overlap`. The order of groups plays no part unless two
    pairings are exactly as good.
    """
    from scipy.optimize import linear_sum_assignment

    overlap = jaccard(table)
    first, second = linear_sum_assignment(-overlap)
    return {
        int(j): int(i) for i, j in zip(first, second, strict=True) if table[i, j] and overlap[i, j] >= least_overlap
    }
