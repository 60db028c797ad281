"""Sets of interactions that teach nothing, and models that say nothing, told in words before they do harm.

A fault of the training set or of the judging days is no fault of the night: the champion or popularity serves, and
every eligible user has a list. Only a shop without a single item to list has a night without lists.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from rekindle.methods.interactions import Fitted, Users
from rekindle.methods.model_gate import FEWEST_JUDGED

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

# A model that knows fewer of tonight's items leaves most of each list to popularity.
LEAST_KNOWN_SHARE = 0.01
# Beyond it, what is left teaches less than a tenth of what one user does. Machines are left out before (F79).
LARGEST_USER_SHARE = 0.9


@dataclass(frozen=True)
class Counts:
    """What a training set is made of.

    Attributes:
        users, items: with any interaction that counts.
        pairs: different (user, item) among these.
        largest_user_pairs: those of the user who has the most; 0 where there are none.
        unusable: rows whose strength or age is no number, or is a strength not above 0 or an age below 0.
        eligible: items that may be listed.
        eligible_known: of these, items with any interaction that counts.
    """

    users: int
    items: int
    pairs: int
    largest_user_pairs: int
    unusable: int
    eligible: int
    eligible_known: int


@dataclass(frozen=True)
class Faults:
    """Why things cannot be done tonight; all empty on a normal night.

    Attributes:
        night: no list can be made at all.
        training: no candidate is to be fitted; the champion or popularity serves.
        judging: nothing can be judged, so no candidate could take over; as above.
    """

    night: tuple[str, ...]
    training: tuple[str, ...]
    judging: tuple[str, ...]

    @property
    def fallback(self) -> str:
        """Why no candidate is trained, in words; empty where one is."""
        return "; ".join((*self.training, *self.judging))


def count(
    user: NDArray[np.int64],
    item: NDArray[np.int64],
    strength: NDArray[np.float64],
    age_days: NDArray[np.float64],
    eligible: NDArray[np.bool_],
) -> Counts:
    """The counts of raw rows, before `Interactions` refuses what is unusable. `eligible` is bool [items]."""
    usable = np.isfinite(strength) & (strength > 0) & np.isfinite(age_days) & (age_days >= 0)
    pairs = np.unique(user[usable] * len(eligible) + item[usable])
    _, each = np.unique(pairs // max(len(eligible), 1), return_counts=True)
    known = np.zeros(len(eligible), dtype=np.bool_)
    known[item[usable]] = True
    return Counts(
        users=len(each),
        items=int(known.sum()),
        pairs=len(pairs),
        largest_user_pairs=int(each.max(initial=0)),
        unusable=int((~usable).sum()),
        eligible=int(eligible.sum()),
        eligible_known=int((known & eligible).sum()),
    )


def count_frame(strengths: DataFrame, eligible: NDArray[np.bool_]) -> Counts:
    """The same of a frame (user_key, item int, strength): a number a known item reaches the driver, users never do."""
    from pyspark.sql import functions as F

    strength = F.col("strength")
    usable = strength.isNotNull() & ~F.isnan(strength) & (strength > 0) & (strength < float("inf"))
    pairs = strengths.where(usable).select("user_key", "item").distinct()
    of_users = pairs.groupBy("user_key").count().agg(F.count(F.lit(1)), F.sum("count"), F.max("count")).first()
    users, total, largest = of_users or (0, None, None)
    known = np.zeros(len(eligible), dtype=np.bool_)
    known[[row.item for row in pairs.select("item").distinct().toLocalIterator()]] = True
    return Counts(
        users=users,
        items=int(known.sum()),
        pairs=total or 0,
        largest_user_pairs=largest or 0,
        unusable=strengths.where(~F.coalesce(usable, F.lit(False))).count(),
        eligible=int(eligible.sum()),
        eligible_known=int((known & eligible).sum()),
    )


def find(found: Counts, judged_users: int, judging_days: str) -> Faults:
    """What keeps tonight's set from being learnt from or judged on. `judging_days` names them in the message.

    Each sentence says what was found and what was expected.
    """
    night, training = [], []
    if not found.eligible:
        night.append("no item may be listed: expected at least one with an event within catalogue_days")
    if found.unusable:
        training.append(f"{found.unusable} strengths or ages are no usable number (F94), expected none")
    if not found.users:
        training.append("nobody did anything that counts with an item (F94)")
    elif found.users == 1 or found.items == 1:
        training.append(f"{found.users} users and {found.items} items (F94), expected at least two of each")
    elif found.pairs == found.users * found.items:
        training.append(f"all {found.users} users know the same {found.items} items (F94): nobody's taste differs")
    elif found.largest_user_pairs > LARGEST_USER_SHARE * found.pairs:
        training.append(
            f"one of {found.users} users has {found.largest_user_pairs} of {found.pairs} interactions (F94),"
            f" expected at most {LARGEST_USER_SHARE:.0%}"
        )
    if found.users and found.eligible_known < LEAST_KNOWN_SHARE * found.eligible:
        training.append(
            f"of {found.eligible} items that may be listed {found.eligible_known} were seen before the judging days"
            f" (F81), expected at least {LEAST_KNOWN_SHARE:.0%}: the catalogue was replaced"
        )
    judging = []
    if judged_users < FEWEST_JUDGED:
        judging.append(
            f"{judged_users} users seen before bought something known on the judging days {judging_days},"
            f" expected at least {FEWEST_JUDGED}"
        )
    return Faults(tuple(night), tuple(training), tuple(judging))


def of_scores(fitted: Fitted, users: Users) -> list[str]:
    """What is wrong with a model's scores for these users, in words; a model with any is not to be offered.

    NaN or +inf anywhere; no user for whom it says anything; the same score for all items of every user it says
    something for, so that its lists are the order of the catalogue.
    """
    broken = silent = flat = 0
    for _, some in users.blocks(fitted.n_items):
        scores = fitted.scores(some)
        broken += int((np.isnan(scores) | (scores == np.inf)).any(axis=1).sum())
        said = scores > -np.inf
        lowest = np.where(said, scores, np.inf).min(axis=1, initial=np.inf)
        highest = np.where(said, scores, -np.inf).max(axis=1, initial=-np.inf)
        silent += int((~said.any(axis=1)).sum())
        flat += int((said.any(axis=1) & (lowest == highest) & (said.sum(axis=1) > 1)).sum())
    told = []
    if broken:
        told.append(f"scores of {broken} of {len(users)} users are not numbers (F94)")
    if silent == len(users):
        told.append(f"it says nothing of any item for any of {len(users)} users (F80)")
    elif not broken and flat and flat + silent == len(users):
        told.append(f"it scores all items alike for each of {len(users)} users (F94)")
    return told


def of_lists(lists: NDArray[np.int64], eligible: NDArray[np.bool_], users: int) -> list[str]:
    """What is wrong with finished lists [rows, k], in words: users without one, items that may not be listed."""
    told = []
    empty = users - int((lists >= 0).any(axis=1).sum())
    if empty:
        told.append(f"{empty} of {users} users have no list (F80)")
    listed = np.unique(lists[lists >= 0])
    outside = listed[listed >= len(eligible)]
    foreign = len(outside) + int((~eligible[listed[listed < len(eligible)]]).sum())
    if foreign:
        told.append(f"{foreign} items are listed that are not in the current catalogue (F81)")
    return told
