"""`make bench-rules`: what the rules of lists cost, or win, in nDCG@20 on what users then did, one rule at a time.

Lists are those of two stages, filled up by what is popular, before and after a rule; paired by user. With --write the
table stands in docs/recommenders.md, between two markers.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from bench.recommender_data import DATA_SETS, DataSet
from bench.recommenders import BASELINE, PAGE, ROOT, TWO_STAGES, between_markers, line_up, spread
from rekindle.methods.interactions import Fitted, Interactions, Users
from rekindle.methods.list_batch import Batch, ItemFacts, Rung
from rekindle.methods.list_rules import make_lists
from rekindle.methods.list_settings import Rules
from rekindle.methods.ragged import Ragged
from rekindle.methods.repurchase import Clocks, GapSums
from rekindle.methods.reranking import Cost, cost

K = 20
BEGIN = "<!-- begin: made by bench/list_costs.py -->"
END = "<!-- end: made by bench/list_costs.py -->"
SHOPS = ("online-retail", "complete-journey", "simulated-shop")
MOST_USERS = 1_000
# Rules by the words of the table; each is the only one.
RULES: Mapping[str, dict[str, object]] = {
    "not due is held back: below 0.3 of the interval": {"repurchase": {"held_below": 0.3}},
    "not due is held back: below 0.7": {"repurchase": {"held_below": 0.7}},
    "what is due gets half a standard deviation": {"repurchase": {"due_boost": 0.5}},
    "half of the places for repeats": {"repurchase": {"repeat_places": 0.5}},
    "at most 6 of a category": {"most_of_category": 6},
    "at most 3 of a category": {"most_of_category": 3},
    "MMR by category, relevance 0.9": {"diversity": {"relevance": 0.9}},
    "MMR by category, relevance 0.7": {"diversity": {"relevance": 0.7}},
    "one place for a new item": {"exploration": {"places": 1, "ranks": [10]}},
    "nothing bought within 7 days": {"filters": [{"id": "just_bought", "drop": "history.bought_days < 7"}]},
}


class Shop:
    """A data set with its fitted methods: lists by rules for those who then did something."""

    def __init__(self, data: DataSet) -> None:
        methods = dict(line_up(data))
        split = next(iter(data.splits.values()))
        known = split.known
        self.champion, self.popular = methods[TWO_STAGES].fit(known), methods[BASELINE].fit(known)
        who = np.flatnonzero(split.truth.lengths() > 0)[:MOST_USERS]
        self.truth = of_rows(split.truth, who)
        self.users = served(split.past, split.served[who])
        purchases = rows_of(split.past, split.past.strength >= data.least_strength)
        self.bought = served(purchases, split.served[who])
        everybody = Users(np.arange(known.n_users), purchases.histories(), purchases.past())
        self.everybody, self.eligible = everybody, split.eligible
        n = known.n_items
        category = np.full(n, -1, dtype=np.int64) if data.category is None else data.category
        names = [str(c) for c in range(int(category.max(initial=-1)) + 1)]
        oldest = np.zeros(n)
        np.maximum.at(oldest, split.past.item, split.past.age_days)
        events = np.bincount(split.past.item, minlength=n).astype(np.float64)
        durable = np.zeros(len(names), dtype=np.bool_)
        self.items = ItemFacts(category, names, durable, oldest, events=events)

    def lists(self, rules: Rules) -> NDArray[np.int64]:
        """Item indexes [users, K], padded with −1."""
        items, told = self.items, rules.repurchase
        sums = GapSums.of(self.everybody, len(items), told.watch_days)
        clocks = Clocks.learn(sums, items.category, len(items.categories), told)
        found = []
        for start, some in self.users.blocks(len(items)):
            stop = start + len(some)
            batch = Batch(
                [
                    Rung("two stages", self._scores(self.champion, some)),
                    Rung(BASELINE, self._scores(self.popular, some)),
                ],
                some,
                self.bought.between(start, stop),
                Ragged.empty(len(some)),
                np.arange(start, stop).astype(np.uint64),
                items,
                clocks,
            )
            found.append(make_lists(batch, rules, K).item)
        return np.concatenate(found)

    def _scores(self, fitted: Fitted, users: Users) -> NDArray[np.float64]:
        return np.where(self.eligible, fitted.scores(users), -np.inf)


def rows_of(log: Interactions, kept: NDArray[np.bool_]) -> Interactions:
    """Some of the rows."""
    return replace(
        log, user=log.user[kept], item=log.item[kept], strength=log.strength[kept], age_days=log.age_days[kept]
    )


def of_rows(rows: Ragged, chosen: NDArray[np.int64]) -> Ragged:
    """The chosen rows without values, in their order."""
    return Ragged.from_lists([rows.items[rows.offsets[r] : rows.offsets[r + 1]].tolist() for r in chosen])


def served(log: Interactions, who: NDArray[np.int64]) -> Users:
    """These users as they are served: histories and past, no index."""
    place = np.full(log.n_users, -1, dtype=np.int64)
    place[who] = np.arange(len(who))
    kept = place[log.user] >= 0
    mine = replace(rows_of(log, kept), user=place[log.user[kept]], n_users=len(who))
    return Users(np.full(len(who), -1), mine.histories(), mine.past())


def costs(data: DataSet) -> dict[str, Cost]:
    """The cost of each of RULES."""
    shop = Shop(data)
    before = shop.lists(Rules(filters=()))
    return {
        label: cost(before, shop.lists(Rules.model_validate({"filters": [], **rules})), shop.truth, K)
        for label, rules in RULES.items()
    }


def page(found: Mapping[str, Mapping[str, Cost]]) -> str:
    """The table as Markdown; a rule about categories is left open where a shop has none."""
    heads = [f"{title} ({next(iter(told.values())).before:.3f})" for title, told in found.items()]
    lines = [f"| rule | {' | '.join(heads)} |", f"|---|{'---:|' * len(heads)}"]
    for label in RULES:
        lines.append(f"| {label} | {' | '.join(spread(told[label].difference, '+') for told in found.values())} |")
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> None:
    """Judge and show, or write the page."""
    parser = argparse.ArgumentParser(description="What the rules of lists cost in nDCG.")
    parser.add_argument("--data", type=Path, default=ROOT.parent / "shared/data", help="the folder of the data sets")
    parser.add_argument("--write", action="store_true", help=f"write {PAGE.relative_to(ROOT)} instead of showing")
    given = parser.parse_args(arguments)
    console = Console()
    found: dict[str, dict[str, Cost]] = {}
    for name in SHOPS:
        try:
            data = DATA_SETS[name](given.data)
        except FileNotFoundError as fault:
            console.print(f"{name}: skipped, there is no {fault.filename or fault}")
            continue
        found[data.title] = costs(data)
        console.print(f"{data.title}: done")
    if given.write:
        text = PAGE.read_text(encoding="utf-8")
        PAGE.write_text(between_markers(text, page(found), BEGIN, END), encoding="utf-8")
        console.print(f"wrote {PAGE.relative_to(ROOT)}")
        return
    table = Table("rule", *found, title=f"nDCG@{K} after a rule less before, 95 % interval")
    for label in RULES:
        table.add_row(label, *(spread(told[label].difference, "+") for told in found.values()))
    console.print(table)


if __name__ == "__main__":
    main()
