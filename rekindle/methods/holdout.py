"""The persistent holdout: users whom nobody contacts, so that what contacting brings can be told at all.

Membership hangs on a salted hash of who the user is and on nothing that a score knows. A user's draw never changes;
a larger share keeps all members and adds some.
"""

from __future__ import annotations

import hashlib
import hmac
from math import sqrt
from statistics import NormalDist

DRAW_BITS = 53  # what a double holds exactly


def draw(salt: bytes, source: str, user_id: str) -> float:
    """The user's place in [0, 1), uniform over users and the same for ever: below the share they are held out.

    HMAC-SHA-256 (RFC 2104) of source and raw id: a new version of the pseudonyms' key moves nobody.
    """
    digest = hmac.new(salt, f"holdout\x1f{source}\x1f{user_id}".encode(), hashlib.sha256).digest()
    return (int.from_bytes(digest[:8], "big") >> 64 - DRAW_BITS) * 2.0**-DRAW_BITS


def detectable_difference(
    held_out: int, others: int, base_rate: float, power: float = 0.8, significance: float = 0.05
) -> float | None:
    """The least true difference of two shares that a two-sided test of both groups would see with this power.

    Normal approximation with the base rate's variance in both groups: (z(1 - significance/2) + z(power)) times
    sqrt(p (1 - p) (1/n + 1/m)) (Fleiss, Levin and Paik, Statistical Methods for Rates and Proportions, chapter 4,
    without the correction for continuity). In the unit of `base_rate`; null where a group is empty.
    """
    if not held_out or not others:
        return None
    normal = NormalDist()
    z = normal.inv_cdf(1 - significance / 2) + normal.inv_cdf(power)
    return z * sqrt(base_rate * (1 - base_rate) * (1 / held_out + 1 / others))
