"""The lists that a shop sends: the champion's scores and what stands below them, through the rules of the conf.

A user is asked about in this order, and the first that speaks of an item gives its score: the champion; items that go
with the history (item_neighbours, of tonight); items that read like it (content); for a user without history what
first-time buyers take (newcomers); what is popular. From which amount of history each is asked, conf says
(`rules.history_items`), by these names.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from rekindle.methods import reasons
from rekindle.methods.arrow_rows import ragged_of
from rekindle.methods.carried import HasValue, broadcast
from rekindle.methods.content import FittedContent
from rekindle.methods.interactions import Fitted, Users
from rekindle.methods.list_batch import Batch, ItemFacts, Rung
from rekindle.methods.list_rules import Lists, make_lists
from rekindle.methods.list_settings import Rules
from rekindle.methods.listing import Tastes, scores_of, tastes_of
from rekindle.methods.neighbours import FittedItemNeighbours
from rekindle.methods.ragged import Ragged
from rekindle.methods.recommenders import POPULARITY, Recommender, relabelled
from rekindle.methods.repurchase import Clocks, GapSums, past_of

if TYPE_CHECKING:
    import pyarrow as pa
    from pyspark.sql import DataFrame

CHAMPION, NEIGHBOURS, CONTENT, NEWCOMERS = "champion", "item_neighbours", "content", "newcomers"
LADDER = (CHAMPION, NEIGHBOURS, CONTENT, NEWCOMERS, POPULARITY)
# Names of list_rules.KINDS in the table.
PLACES = ("by_score", "due_again", "new_item")
LISTED = (
    "user_key string, rank int, item int, score double, candidate_source string, because int, place string,"
    " propensity double, rank_before_rules int, bought_days double, seen_days double"
)
SUMMED = "item int, days double, gaps double, watched double, rebought double"
# Below this many items of which the champion speaks, those below it are asked too, in lists of k.
FEW = 4


@dataclass(frozen=True, eq=False)
class Served:
    """All that lists are made of, but users; what is by item is by the night's catalogue.

    Attributes:
        model: the champion.
        place: its `place_in` of the night's catalogue.
        neighbours, content: the methods below it, on the night's catalogue; content is None where no item has a text.
        newcomers: float64 [n_items], what first-time buyers took; 0 without.
        popularity: float64 [n_items]; 0 without.
        eligible: bool [n_items].
    """

    model: Recommender
    place: NDArray[np.int64]
    neighbours: FittedItemNeighbours
    content: FittedContent | None
    newcomers: NDArray[np.float64]
    popularity: NDArray[np.float64]
    eligible: NDArray[np.bool_]
    items: ItemFacts
    clocks: Clocks
    rules: Rules

    def batch(self, tastes: Tastes, shown: Ragged, seeds: NDArray[np.uint64], k: int) -> Batch:
        """The scores of every rung for these users, and what rules ask for."""
        shape = (len(tastes), len(self.eligible))

        def offered(scores: NDArray[np.float64]) -> NDArray[np.float64]:
            return np.where(self.eligible, scores, -np.inf)

        def only(rows: NDArray[np.bool_], fitted: Fitted | None) -> NDArray[np.float64]:
            found = np.full(shape, -np.inf)
            if fitted is not None and rows.any():
                # Their own rounding beside other users must not show.
                found[rows] = offered(fitted.scores(tastes.plain).astype(np.float32).astype(np.float64)[rows])
            return found

        champion = offered(scores_of(self.model, tastes, self.place, self.popularity))
        stranger = tastes.plain.histories.lengths() == 0
        champion[stranger] = -np.inf  # nothing that anybody says of him is his own
        few = (champion > -np.inf).sum(axis=1) < FEW * k
        newcomers = np.where(self.eligible & (self.newcomers > 0), self.newcomers, -np.inf)
        popular = np.where(self.eligible & (self.popularity > 0), self.popularity, -np.inf)
        # What nobody bought lately stands last, in the order of the catalogue: lists are whole while there are items.
        popular = np.where(self.eligible & np.isneginf(popular), 0.0, popular)
        return Batch(
            ladder=[
                Rung(CHAMPION, champion),
                Rung(NEIGHBOURS, only(few, self.neighbours)),
                Rung(CONTENT, only(few, self.content)),
                Rung(NEWCOMERS, np.where(stranger[:, None], newcomers, -np.inf)),
                Rung(POPULARITY, np.broadcast_to(popular, shape)),
            ],
            users=tastes.plain,
            bought=tastes.bought,
            shown=shown,
            seeds=seeds,
            items=self.items,
            clocks=self.clocks,
        )

    def causes(self, tastes: Tastes, lists: Lists) -> tuple[NDArray[np.str_], NDArray[np.int64]]:
        """What each place of the lists owes itself to: the method's name and the item of the history that weighs most
        (−1: none), both [users, k]; of items of the night's catalogue."""
        # The champion's own are told below, unless it is what is popular.
        name = np.array([POPULARITY, NEIGHBOURS, CONTENT, NEWCOMERS, POPULARITY])
        source = np.where(lists.source >= 0, name[lists.source], "new_item").astype("<U20")
        because = np.full(lists.item.shape, -1, dtype=np.int64)
        own = relabelled(tastes.of(self.model), self.place)
        night = np.flatnonzero(self.place >= 0)  # place is a bijection of these onto the model's items that exist yet
        back = np.full(max(len(self.model.items), 1), -1, dtype=np.int64)
        back[self.place[night]] = night
        fitted = self.model.fitted
        if fitted is not None:
            of_champion = np.where((lists.source == 0) & (lists.item >= 0), self.place[lists.item], -1)
            proposer = reasons.proposers(fitted, own, of_champion)
            for number, proposing in enumerate(reasons.sources_of(fitted)):
                mine = proposer == number
                source[mine] = reasons.method_of(proposing)
                part, seen = reasons.inside(proposing, own)
                for row in np.flatnonzero(mine.any(axis=1)).tolist():
                    listed = np.where(mine[row], of_champion[row], -1)
                    cause = reasons.heaviest(part, seen.histories.between(row, row + 1), listed)
                    because[row, mine[row]] = np.where(cause >= 0, back[cause], -1)[mine[row]]
        for number, below in ((1, self.neighbours), (2, self.content)):
            mine = lists.source == number
            for row in np.flatnonzero(mine.any(axis=1)).tolist():
                assert below is not None  # noqa: S101 - a type for mypy: only what is there gave scores
                listed = np.where(mine[row], lists.item[row], -1)
                cause = reasons.heaviest(below, tastes.plain.histories.between(row, row + 1), listed)
                because[row, mine[row]] = cause[mine[row]]
        source[lists.kind == PLACES.index("new_item")] = "new_item"
        return source, because


def serve(users: DataFrame, served: Served, k: int) -> DataFrame:
    """The lists, one row a place, as LISTED.

    `users` has the columns of `tastes.Prepared.tastes` and shown array<int>, shown_nights array<double> (both null for
    a user to whom nothing was shown) and seed bigint. `because` is the item of the user's own history that weighs most
    in the score (Hu, Koren and Volinsky 2008, section 5), −1 where there is none. Fewer than k rows only where fewer
    than k eligible items are left for the user.
    """
    carried = broadcast(users.sparkSession.sparkContext, served)
    return users.mapInArrow(server(carried, k), LISTED)


def server(carried: HasValue[Served], k: int) -> Callable[[Iterable[pa.RecordBatch]], Iterator[pa.RecordBatch]]:
    """The function for `mapInArrow` behind `serve`."""

    def make(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        served = carried.value
        for batch in batches:
            start = 0
            shown, seeds = shown_of(batch)
            for tastes in tastes_of(batch).blocks(len(served.eligible)):
                stop = start + len(tastes)
                asked = served.batch(tastes, shown.between(start, stop), seeds[start:stop], k)
                lists = make_lists(asked, served.rules, k)
                keys = batch.column("user_key").slice(start, len(tastes))
                days = [days_since(users, lists.item) for users in (tastes.bought, tastes.plain)]
                yield emitted(keys, lists, *served.causes(tastes, lists), *days)
                start = stop

    return make


def shown_of(batch: pa.RecordBatch) -> tuple[Ragged, NDArray[np.uint64]]:
    """What was shown to the users of a batch, and their seeds."""
    shown = ragged_of(batch, "shown")
    nights = batch.column("shown_nights").flatten().to_numpy(zero_copy_only=False).astype(np.float64)
    seeds: NDArray[np.uint64] = batch.column("seed").to_numpy(zero_copy_only=False).astype(np.int64).view(np.uint64)
    return Ragged(shown.offsets, shown.items, nights), seeds


def days_since(users: Users, items: NDArray[np.int64]) -> NDArray[np.float64]:
    """Days since each user last had what is in the history, of items [users, k]; NaN: never, and padding."""
    own, many = users.histories, int(items.max(initial=0)) + 1
    inside = own.items < many
    key = own.rows()[inside] * many + own.items[inside]
    if not len(key):
        return np.full(items.shape, np.nan)
    asked = np.arange(len(users))[:, None] * many + items
    place = np.minimum(np.searchsorted(key, asked), len(key) - 1)
    return np.where((key[place] == asked) & (items >= 0), past_of(users).last_days[inside][place], np.nan)


def emitted(
    keys: pa.Array,
    lists: Lists,
    source: NDArray[np.str_],
    because: NDArray[np.int64],
    bought: NDArray[np.float64],
    seen: NDArray[np.float64],
) -> pa.RecordBatch:
    """The lists as rows of LISTED; scores with five digits, as more of them may depend on who is served beside."""
    import pyarrow as pa

    row, place = np.nonzero(lists.item >= 0)
    score, before = five_digits(lists.score[row, place]), lists.rank_before_rules[row, place]
    kinds = np.array(PLACES)
    return pa.RecordBatch.from_arrays(
        [
            keys.take(pa.array(row)).cast(pa.string()),
            pa.array(place + 1, pa.int32()),
            pa.array(lists.item[row, place], pa.int32()),
            pa.array(score, pa.float64(), mask=np.isnan(score)),
            pa.array(source[row, place], pa.string()),
            pa.array(because[row, place], pa.int32()),
            pa.array(kinds[lists.kind[row, place]], pa.string()),
            pa.array(lists.propensity[row, place], pa.float64()),
            pa.array(before, pa.int32(), mask=before == 0),
            *(pa.array(days[row, place], pa.float64(), mask=np.isnan(days[row, place])) for days in (bought, seen)),
        ],
        names=[part.split()[0] for part in LISTED.split(", ")],
    )


def five_digits(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Each rounded to five significant digits; NaN stays."""
    size = np.floor(np.log10(np.abs(values), out=np.zeros(len(values)), where=np.abs(values) > 0))
    scale = 10.0 ** (4 - np.nan_to_num(size))
    return np.round(values * scale) / scale


def gap_sums(tastes: DataFrame, n_items: int, watch_days: float) -> GapSums:
    """What repurchase clocks are learnt from, over all users of a frame of tastes; numbers by item reach the driver."""
    from pyspark.sql import functions as F

    found = GapSums(*(np.zeros(n_items) for _ in range(4)))
    names = [part.split()[0] for part in SUMMED.split(", ")]
    summed = tastes.mapInArrow(gap_summer(n_items, watch_days), SUMMED).groupBy("item")
    for row in summed.agg(*(F.sum(name).alias(name) for name in names[1:])).toLocalIterator():
        for name in names[1:]:
            getattr(found, name)[row["item"]] = row[name]
    return found


def gap_summer(n_items: int, watch_days: float) -> Callable[[Iterable[pa.RecordBatch]], Iterator[pa.RecordBatch]]:
    """The function for `mapInArrow` behind `gap_sums`: whole numbers, so that order changes no bit."""

    def summed(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        import pyarrow as pa

        for batch in batches:
            sums = GapSums.of(tastes_of(batch).bought, n_items, watch_days)
            columns = [sums.days, sums.gaps, sums.watched, sums.rebought]
            item = np.flatnonzero(np.any(columns, axis=0))
            yield pa.RecordBatch.from_arrays(
                [pa.array(item, pa.int32()), *(pa.array(column[item]) for column in columns)],
                names=[part.split()[0] for part in SUMMED.split(", ")],
            )

    return summed
